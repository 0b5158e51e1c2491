"""Runs on several processes in tests: what torchrun does, without its agent, so that each exit code is seen.

The processes are forked from a server that has imported everything, so that a run on two takes seconds.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import attrs

METHOD = multiprocessing.get_context("forkserver")
METHOD.set_forkserver_preload(["tests.run.ranks_imports"])

Patch = Callable[[int], None]  # (rank): changes something in that process before the command begins


@attrs.frozen
class Ranks:
    """The processes of one command, and the files that their output goes to."""

    processes: Sequence
    outputs: Sequence[Path]

    def codes(self, seconds: float = 120) -> list[int]:
        """The exit codes; a process that does not end in time is killed, and has -9."""
        ends = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(ends - time.monotonic(), 0.1))
        for process in self.processes:
            if process.is_alive():
                process.kill()
                process.join()
        return [process.exitcode for process in self.processes]

    def said(self, rank: int = 0) -> str:
        """What a process printed, output and errors; less what torch 2.9's gloo says whenever it connects."""
        lines = self.outputs[rank].read_text().splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("[Gloo] Rank "))

    def wait_for(self, words: str, rank: int = 0, seconds: float = 120) -> None:
        """Waits until a process has printed words."""
        ends = time.monotonic() + seconds
        while words not in self.said(rank):
            assert time.monotonic() < ends, f"{words!r} was not said:\n{self.said(rank)}"
            assert self.processes[rank].is_alive(), self.said(rank)
            time.sleep(0.02)

    def send(self, number: int, *ranks: int) -> None:
        """A signal to these processes, all at once where none is named."""
        for rank in ranks or range(len(self.processes)):
            os.kill(self.processes[rank].pid, number)


def start(
    folder: Path,
    size: int,
    argv: Sequence[object],
    strategy: str = "s3b",
    patch: Patch | None = None,
    **of_rank: object,
) -> Ranks:
    """Starts a strategy on so many processes. ``of_rank``: ``rank1=[...]`` are flags for that process alone."""
    folder.mkdir(parents=True, exist_ok=True)
    port, number = free_port(), len(list(folder.glob("*.out")))
    outputs = [folder / f"{number + rank}.out" for rank in range(size)]
    processes = []
    for rank, output in enumerate(outputs):
        words = [*map(str, argv), *map(str, of_rank.get(f"rank{rank}", ()))]
        output.touch()
        process = METHOD.Process(target=member, args=(strategy, words, rank, size, port, output, patch))
        process.start()
        processes.append(process)
    return Ranks(processes, outputs)


def free_port() -> int:
    with closing(socket.socket()) as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1]


def member(strategy: str, argv: list[str], rank: int, size: int, port: int, output: Path, patch: Patch | None) -> None:
    """The life of one process."""
    import torch

    from mtlfn.run.commands.command import main

    handle = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(size))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    if patch is not None:
        patch(rank)
    sys.exit(main(strategy, "A test.", argv))
