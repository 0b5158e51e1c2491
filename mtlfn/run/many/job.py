"""One run of a start, in a process of its own: ``python -m mtlfn.run.many.job START NUMBER``.

It takes a GPU, begins the run, passes on that it is to stop, and puts on record how the run ended. To the scheduler
that called it, an end on record is a success; the run's needs and the start look at what is on record.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mtlfn.data import cache
from mtlfn.run import documents
from mtlfn.run.disk import make_folder
from mtlfn.run.documents import typed
from mtlfn.run.errors import BUG, OK, RESUMABLE
from mtlfn.run.many import launch, lease, tied
from mtlfn.run.many.launch import Launch, Outcome
from mtlfn.run.storage import lock

TRIES = 3  # of a run that comes no further
MARK = "---"  # of a line in the log that is not the run's
POLL, POLL_SHARED = 0.2, 2.0  # seconds; the folder of a queue lies where hundreds of jobs look


def main(argv: Sequence[str]) -> int:
    """0 once the end of the run is on record, 75 where it is to be queued again."""
    start, number = Path(argv[0]), int(argv[1])
    stopping = _signals()
    if (what := typed.attempt(start, Launch)) is None:
        return RESUMABLE  # of a start that is no more

    def stop() -> bool:
        return stopping() or (start / launch.STOP).exists() or (not what.waits and _abandoned(start))

    make_folder(start / launch.RUNNING)
    running = start / launch.RUNNING / launch.name(number)
    with cache.locked(running.with_suffix(".lock")):
        try:
            outcome = _outcome(start, what, number, running, stop)
        finally:
            running.unlink(missing_ok=True)
    if not start.is_dir() or (outcome.state == "left" and what.waits and not stop()):
        return RESUMABLE
    launch.tell(start, number, outcome)
    return OK


def _outcome(start: Path, what: Launch, number: int, running: Path, stop: Callable[[], bool]) -> Outcome:
    item, began = what.runs[number], time.monotonic()
    for need in item.after:
        before = launch.told(start, need)
        if before is None or before.state != "finished":
            left = before is None or before.state == "left"
            why = f"not begun: it needs {what.runs[need].name}"
            return Outcome(state="left" if left else "not begun", code=RESUMABLE if left else BUG, why=why)
    if not _waited_for(Path(what.root) / item.name / lock.LOCK, stop):
        return Outcome(state="left", code=RESUMABLE, why="stopped before it began")
    gpu_lease = lease.take(lease.place(), what.gpus, lambda: not stop()) if what.gpus else None
    if stop():
        return Outcome(state="left", code=RESUMABLE, why="stopped before it began")
    gpu = "" if gpu_lease is None else gpu_lease.gpu
    documents.write(running, {"name": item.name, "gpu": gpu, "began": time.time(), "process": os.getpid()})
    try:
        return _tried(start, what, number, gpu_lease, stop, began)
    finally:
        if gpu_lease is not None:
            gpu_lease.end()


def _tried(
    start: Path, what: Launch, number: int, gpu_lease: lease.Lease | None, stop: Callable[[], bool], began: float
) -> Outcome:
    """Runs until it ends by itself, and again where it was killed, as long as each time brings it further."""
    item = what.runs[number]
    folder, log = Path(what.root) / item.name, launch.log(Path(what.root), item.name)
    make_folder(log.parent)
    while True:
        hours = _hours(what, item)
        if hours is not None and hours < 0.001:
            return Outcome(state="left", code=RESUMABLE, why="no time is left")
        if (tries := _count(start, number, launch.steps(folder))) > TRIES:
            why = f"ended {TRIES} times without coming further ({_last(log, 0)}); see {log}"
            return Outcome(state="failed", code=BUG, why=why)
        words = [*what.command, "--only", item.name, *(() if hours is None else ("--max-hours", f"{hours:.4f}"))]
        with log.open("ab") as output:
            output.write(f"{MARK} {time.strftime('%Y-%m-%d %H:%M:%S')}: start {tries} from here\n".encode())
            output.flush()
            at = output.tell()
            code = _run(words, what, gpu_lease, output, stop)
        seconds = time.monotonic() - began
        if code == OK:
            return Outcome(state="finished", code=OK, seconds=seconds)
        if code == RESUMABLE or stop():
            return Outcome(state="left", code=RESUMABLE, why=_last(log, at), seconds=seconds)
        if code > 0:
            return Outcome(state="failed", code=code, why=_last(log, at), seconds=seconds)


def _run(
    words: Sequence[str], what: Launch, gpu_lease: lease.Lease | None, output: Any, stop: Callable[[], bool]
) -> int:
    """The exit code of a run; below 0 where a signal killed it. It is asked to save and leave where all is to stop."""
    environment = {**os.environ, **what.environment}
    if gpu_lease is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu_lease.gpu
    handles = () if gpu_lease is None else (gpu_lease.handle,)
    process = subprocess.Popen(
        tied.command(words),
        cwd=what.working,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        pass_fds=handles,
    )
    asked = False
    while True:
        try:
            return process.wait(POLL_SHARED if what.waits else POLL)
        except subprocess.TimeoutExpired:
            if not asked and stop():
                process.terminate()
                asked = True


def _hours(what: Launch, item: launch.Item) -> float | None:
    """What a run may take: until its start is over, and its allocation."""
    ends = [] if what.ends is None else [what.ends - time.time()]
    ends += [60 * (item.minutes - launch.MARGIN_MINUTES)] if what.waits else []
    return min(ends) / 3600 if ends else None


def _count(start: Path, number: int, reached: int) -> int:
    """Puts on record that a run begins from where it is; how often it began from there."""
    path = start / launch.TRIES / launch.name(number)
    try:
        before: Mapping[str, Any] = documents.read(path)
    except (OSError, ValueError):
        before = {}
    count = before.get("count", 0) + 1 if before.get("reached") == reached else 1
    make_folder(path.parent)
    documents.write(path, {"reached": reached, "count": count})
    return count


def _waited_for(path: Path, stop: Callable[[], bool]) -> bool:
    """Whether the run is free: a process of an earlier start may still save it."""
    while lock.free(path) is False:
        if stop():
            return False
        time.sleep(POLL)
    return True


def _abandoned(start: Path) -> bool:
    """Whether the process that started all this is gone."""
    return not start.is_dir() or lock.free(start / launch.LOCK) is True


def _last(log: Path, at: int) -> str:
    """What a run said last: its complaint where there is one."""
    with log.open("rb") as file:
        file.seek(max(at, file.seek(0, 2) - 2**16))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(MARK)]
    said = [line for line in lines if line.startswith("mtlfn: ")] or lines or ["it said nothing"]
    return said[-1].removeprefix("mtlfn: ")[:1000]


def _signals() -> Callable[[], bool]:
    """Whether this process was asked to stop."""
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: asked.append(number))
    return lambda: bool(asked)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
