"""The processes of one run as torchrun starts them: what they tell each other, and how they end together.

No other module touches ``torch.distributed``. Every exchange begins with a gather of sizes, in which a process that
ends says so instead; so wherever the others are, they end with its exit code and its words. What is exchanged is
bytes, JSON and tensors, never a pickle. Without torchrun there is no group, and an exchange is a function call.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from mtlfn.run.errors import BUG, RESUMABLE, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from mtlfn.core.ranks import Ranks

VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# The first start may tokenise for hours while the others wait. Who is gone is noticed at once, by the connection.
PATIENCE = timedelta(days=7)


class Ended(Exception):
    """Another process ends the run: its rank, its exit code, and what it says, if anything."""

    def __init__(self, rank: int, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.rank, self.exit_code, self.message = rank, exit_code, message


class Gone(Exception):
    """Another process of the run is gone without a word."""

    exit_code = RESUMABLE


@frozen(eq=False)
class Processes:
    """The processes of a run.

    Attributes:
        rank, size: which of them this one is, from 0, and how many they are.
        local_rank, local_size: the same among those of this machine.
        device: of this one; None where it is the one that the configuration names.
        tensors: torch's group for tensors on the device; None for the one of everything else.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    device: str | None = None
    tensors: Any = field(default=None, repr=False)

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    @property
    def turn(self) -> int:
        """When this one reads what others have made: after the first of all, and the first of its machine."""
        return 0 if self.first else 1 if self.local_rank == 0 else 2

    @property
    def ranks(self) -> Ranks:
        """What the core sees of them."""
        from mtlfn.core.ranks import Ranks

        return Ranks(self.rank, self.size, self.gather)

    def gather(self, vector: Tensor) -> list[Tensor]:
        """Every process's vector [n], in their order; each may be of another length. Ended, Gone."""
        if self.size == 1:
            return [vector]
        import torch.distributed as dist

        with _exchange():
            sizes = self._sizes(vector.numel())
            return _gathered(vector, sizes, dist.group.WORLD if self.tensors is None else self.tensors)

    def gather_bytes(self, data: bytes) -> list[bytes]:
        """What every process gave, in their order. Ended, Gone."""
        if self.size == 1:
            return [data]
        with _exchange():
            sizes = self._sizes(len(data))
            return self._bytes(data, sizes) if any(sizes) else [b""] * self.size

    def gather_json(self, value: Any) -> list[Any]:
        """What every process gave, as JSON has it, in their order. Ended, Gone."""
        return [json.loads(data) for data in self.gather_bytes(json.dumps(value).encode())]

    def share(self, data: bytes) -> bytes:
        """What the first process gave; what the others give has no say. Ended, Gone."""
        if self.size == 1:
            return data
        import torch
        import torch.distributed as dist

        with _exchange():
            size = self._sizes(len(data) if self.first else 0)[0]
            shared = _tensor(data) if self.first else torch.empty(size, dtype=torch.uint8)
            if size:
                dist.broadcast(shared, 0)
            return data if self.first else shared.numpy().tobytes()

    def share_json(self, value: Any) -> Any:
        """What the first process gave, as JSON has it. Ended, Gone."""
        return value if self.size == 1 else json.loads(self.share(json.dumps(value).encode()))

    def agree(self, yes: bool) -> bool:
        """Whether the first process says yes; what the others say has no say. Ended, Gone."""
        if self.size == 1:
            return yes
        with _exchange():
            return self._sizes(int(yes))[0] > 0

    def wait(self) -> None:
        """Waits for what the others do next. Ended, Gone."""
        self.gather_bytes(b"")

    def end(self, exit_code: int, message: str = "") -> None:
        """Tells the others, wherever they are, that the run ends. Gone where they cannot be reached."""
        if self.size == 1:
            return
        with _exchange(), suppress(Ended):
            self._sizes(0, json.dumps([exit_code, message]).encode())

    def _sizes(self, size: int, last: bytes = b"") -> list[int]:
        """What each process is about to send; Ended where one ends instead. ``last``: the last words of this one."""
        import torch
        import torch.distributed as dist

        own = torch.tensor([-len(last) if last else size])
        sizes = [int(each) for each in _gathered(own, [1] * self.size, dist.group.WORLD)]
        if min(sizes) >= 0:
            return sizes
        words = self._bytes(last, [max(-size, 0) for size in sizes])
        rank = next(rank for rank, said in enumerate(words) if said)
        raise Ended(rank, *json.loads(words[rank]))

    def _bytes(self, data: bytes, sizes: list[int]) -> list[bytes]:
        import torch.distributed as dist

        return [each.numpy().tobytes() for each in _gathered(_tensor(data), sizes, dist.group.WORLD)]


ALONE = Processes()


def several() -> bool:
    """Whether this process is one of several that torchrun started. UsageError where its variables are none."""
    if any(name not in os.environ for name in VARIABLES):
        return False
    return _number("WORLD_SIZE") > 1


def join() -> Processes:
    """Meets the other processes of the run."""
    import torch.distributed as dist

    rank, size = _number("RANK"), _number("WORLD_SIZE")
    local_rank, local_size = _number("LOCAL_RANK", rank), _number("LOCAL_WORLD_SIZE", size)
    with _exchange():
        dist.init_process_group("gloo", rank=rank, world_size=size, timeout=PATIENCE)
    return Processes(rank=rank, size=size, local_rank=local_rank, local_size=local_size)


def leave() -> None:
    """Lets go of the others, once they are told."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


def on_device(processes: Processes, name: str) -> Processes:
    """The processes with a device each, and a way to send its tensors.

    UsageError where the name is one GPU's, or there are fewer GPUs than processes on this machine.
    """
    import torch
    import torch.distributed as dist

    if processes.size == 1 or name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return processes
    if name not in ("auto", "cuda"):
        raise UsageError(
            f"--device {name}: is one device, and {processes.size} processes were started; give auto, cuda or cpu"
        )
    if processes.local_size > torch.cuda.device_count():
        raise UsageError(
            f"--device {name}: {processes.local_size} processes on this machine, which has {torch.cuda.device_count()} "
            "CUDA devices; start one process a device (--nproc_per_node), or give --device cpu"
        )
    torch.cuda.set_device(processes.local_rank)
    with _exchange():
        group = dist.new_group(backend="nccl")
    return evolve(processes, device=f"cuda:{processes.local_rank}", tensors=group)


def run_together(
    processes: Processes,
    work: Callable[[Processes], int],
    answer: Callable[[BaseException], tuple[str, int] | None],
    complain: Callable[[str], object],
) -> int:
    """Does the work of this process; all processes end, and with one exit code, once one of them does.

    Args:
        answer: what to say of an error and how to end; None where it is a bug, which is raised.
        complain: shows a line; that of the first process is seen.
    """
    try:
        code = work(processes)
        with suppress(Gone):
            processes.end(code)
        return code
    except Ended as ended:
        if ended.message:
            complain(f"process {ended.rank} of {processes.size}: {ended.message}" if ended.rank else ended.message)
        return ended.exit_code
    except Gone as gone:
        complain(str(gone))
        return RESUMABLE
    except (Exception, KeyboardInterrupt) as error:
        known = answer(error)
        message, code = known or (f"{type(error).__name__}: {error}", BUG)
        with suppress(Gone, KeyboardInterrupt):
            processes.end(code, message)
        if known is None:
            raise
        complain(message)
        return code


@contextmanager
def quiet(rank: int) -> Iterator[None]:
    """Only the first process is heard; a bug of another one is, since it is shown when this is over."""
    if rank == 0:
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def command(words: list[str], environment: Mapping[str, str] = os.environ) -> list[str]:
    """A command as torchrun takes it, where it started this process: with as many processes on as many machines."""
    if not several():
        return words
    size = _number("WORLD_SIZE")
    local = _number("LOCAL_WORLD_SIZE", size)
    machines = [f"--nnodes={size // local}"] if size > local else ["--standalone"]
    return ["torchrun", *machines, f"--nproc_per_node={local}", *words[1:]]


def rank() -> int:
    """The rank that torchrun gave this process."""
    return _number("RANK", 0)


def _number(name: str, default: int | None = None) -> int:
    value = os.environ.get(name)
    if value is None and default is not None:
        return default
    if value is None or not value.isdecimal() or len(value) > 9:
        raise UsageError(f"{name}={value}: expected a number, as torchrun sets it; start the run with torchrun")
    return int(value)


def _tensor(data: bytes) -> Tensor:
    import torch

    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)


def _gathered(vector: Tensor, sizes: list[int], group: Any) -> list[Tensor]:
    """Every process's vector of the sizes that all know; each is padded to the longest on its way."""
    import torch.distributed as dist

    longest = max(sizes)
    if longest == 0:
        return [vector[:0]] * len(sizes)
    padded = vector.new_zeros(longest)
    padded[: vector.numel()] = vector
    vectors = [vector.new_empty(longest) for _ in sizes]
    dist.all_gather(vectors, padded, group)
    return [each[:size] for each, size in zip(vectors, sizes, strict=True)]


@contextmanager
def _exchange() -> Iterator[None]:
    """An exchange is whole: Ctrl-C and SIGTERM come after it, and a connection that breaks is Gone."""
    late: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    main = threading.current_thread() is threading.main_thread()
    before = {n: signal.signal(n, lambda number, _: late.append(number)) for n in numbers} if main else {}
    try:
        yield
    except RuntimeError as error:  # torch.distributed's own errors are of this class
        words = str(error).splitlines() or [type(error).__name__]
        raise Gone(
            f"another process of this run is gone ({words[0]}); what was saved stands, and the same command goes on"
        ) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if late:
        signal.raise_signal(late[0])
