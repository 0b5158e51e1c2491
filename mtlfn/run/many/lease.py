"""GPUs of one machine by lease: a file a GPU, whose lock the kernel drops when the last process that has it ends.

The files lie in one place for all of a user's starts, so that two studies on one machine share its GPUs. The lock goes
with the open file: who begins a run hands it on, and a GPU stays leased as long as either lives.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import frozen

from mtlfn.run.errors import UsageError

MODE = 0o700
LEASED = "MTLFN_LEASED_GPU"  # in the environment of a run: the one that was leased for it
QUEUED = "asked of the cluster"  # in its place where a scheduler chooses it


@frozen
class Lease:
    """A GPU, and the open file that holds it."""

    gpu: str
    handle: int

    def end(self) -> None:
        """Gives it back, unless a child has it too."""
        os.close(self.handle)


def place() -> Path:
    """The folder of the leases of this user on this machine; UsageError where somebody else made it."""
    folder = Path(tempfile.gettempdir()) / f"mtlfn-gpus-{os.getuid()}"
    folder.mkdir(mode=MODE, exist_ok=True)
    about = folder.lstat()
    if about.st_uid != os.getuid() or about.st_mode & 0o077 or folder.is_symlink():
        raise UsageError(f"--gpus: {folder} is not a folder of yours alone; take it away, or set TMPDIR")
    return folder


def take(
    folder: Path, gpus: Sequence[str], patient: Callable[[], bool], sleep: Callable[[float], None] = time.sleep
) -> Lease | None:
    """A GPU that nobody has, as soon as there is one; None once ``patient`` is not any more."""
    while True:
        for gpu in gpus:
            if (lease := _try(folder / f"gpu-{gpu.replace('/', '_')}", gpu)) is not None:
                return lease
        if not patient():
            return None
        sleep(0.2)


def _try(path: Path, gpu: str) -> Lease | None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except OSError as error:
        os.close(handle)
        raise UsageError(f"--gpus: {path} cannot be locked ({error.strerror}); set TMPDIR to a local disk") from None
    return Lease(gpu, handle)


def seen() -> int:
    """The GPUs that a process with this environment can use."""
    import torch

    return torch.cuda.device_count()


def visible(count: int) -> tuple[str, ...]:
    """Ids of so many GPUs: those that this process may see, in its order; UsageError where there are fewer."""
    if count == 0:
        return ()
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    ids = [str(i) for i in range(count)] if listed is None else [p.strip() for p in listed.split(",") if p.strip()]
    if len(ids) < count:
        give = f"give --gpus {len(ids)}" if ids else "leave --gpus out"
        raise UsageError(
            f"--gpus {count}: CUDA_VISIBLE_DEVICES is {listed!r}, which are {len(ids) or 'none'}; {give}, or unset it"
        )
    if (there := seen()) < count:
        give = f"give --gpus {there}" if there else "leave --gpus out, or see what `nvidia-smi` says"
        raise UsageError(f"--gpus {count}: PyTorch can use {there} here; {give}")
    return tuple(ids[:count])


def queued(count: int) -> dict[str, str]:
    """What a run is told of the GPUs that a cluster was asked for."""
    return {LEASED: QUEUED} if count else {}


def check(device: str) -> None:
    """UsageError in a run that is to have a GPU, and that would train on the processor in its place."""
    if (gpu := os.environ.get(LEASED)) is not None and device == "auto" and not seen():
        whose = "a GPU was asked of the cluster" if gpu == QUEUED else f"GPU {gpu} was leased"
        raise UsageError(
            f"--gpus: {whose} for this run, and PyTorch cannot use it, so it would train on another device than the "
            "other runs; see what `nvidia-smi` says there, or leave --gpus out"
        )
