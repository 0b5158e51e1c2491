"""A job of a start, one run or short ones in turn, as a process: ``python -m mtlfn.run.many.job START NUMBER``.

It takes a GPU, begins the runs, passes on that they are to stop, and puts on record how each ended. To the scheduler
that called it, an end on record is a success; what needs a run and the start look at what is on record.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from mtlfn.data import cache
from mtlfn.run import documents
from mtlfn.run.disk import make_folder
from mtlfn.run.documents import typed
from mtlfn.run.errors import BUG, OK, RESUMABLE
from mtlfn.run.machine import deadline
from mtlfn.run.many import launch, lease, tied
from mtlfn.run.many.launch import Launch, Outcome
from mtlfn.run.storage import lock

TRIES = 3  # of a run that comes no further
MARK = "---"  # of a line in the log that is not the run's
LEAST = 3.6  # seconds, with less of which left no run begins
POLL, POLL_SHARED = 0.2, 2.0  # seconds; the folder of a queue lies where hundreds of jobs look


def main(argv: Sequence[str]) -> int:
    """0 once the ends of the job's runs are on record, 75 where it is to be queued again."""
    start, first = Path(argv[0]), int(argv[1])
    stopping = _signals()
    if (what := typed.attempt(start, Launch)) is None:
        return RESUMABLE  # of a start that is no more

    def stop() -> bool:
        return stopping() or (start / launch.STOP).exists() or (not what.waits and _abandoned(start))

    make_folder(start / launch.RUNNING)
    with cache.locked((start / launch.RUNNING / launch.name(first)).with_suffix(".lock")):
        left = _all(start, what, [n for n, item in enumerate(what.runs) if item.job == first], stop)
    if not start.is_dir() or (left and what.waits and not stop()):
        return RESUMABLE
    for number, outcome in left.items():
        launch.tell(start, number, outcome)
    return OK


def _all(start: Path, what: Launch, to_run: list[int], stop: Callable[[], bool]) -> dict[int, Outcome]:
    """Runs until the ends of the runs are on record, but of those that are left, which are returned."""
    began, left = time.time(), dict[int, Outcome]()

    def end(outcomes: Mapping[int, Outcome]) -> None:
        for number, outcome in outcomes.items():
            to_run.remove(number)
            if outcome.state == "left":
                left[number] = outcome
            elif start.is_dir():  # else nobody is left to read it
                launch.tell(start, number, outcome)

    end(_lacking(start, what, to_run))
    locks = [Path(what.root) / what.runs[number].name / lock.LOCK for number in to_run]
    if not all(_waited_for(path, stop) for path in locks):
        end(_left(to_run, "stopped before it began"))
    gpu_lease = lease.take(lease.place(), what.gpus, lambda: not stop()) if to_run and what.gpus else None
    try:
        if stop():
            end(_left(to_run, "stopped before it began"))
        while to_run:
            end(_lacking(start, what, to_run) or _turn(start, what, to_run, gpu_lease, stop, began, end))
    finally:
        if gpu_lease is not None:
            gpu_lease.end()
    return left


def _lacking(start: Path, what: Launch, to_run: Sequence[int]) -> dict[int, Outcome]:
    """The runs that cannot begin: what they need is not finished, and is not to be run before them."""
    out = {}
    for number in to_run:
        for need in set(what.runs[number].after).difference(to_run):
            before = launch.told(start, need)
            if before is None or before.state != "finished":
                left = before is None or before.state == "left"
                why = f"not begun: it needs {what.runs[need].name}"
                out[number] = Outcome(state="left" if left else "not begun", code=RESUMABLE if left else BUG, why=why)
    return out


def _left(numbers: Sequence[int], why: str, seconds: float = 0.0) -> dict[int, Outcome]:
    return {number: Outcome(state="left", code=RESUMABLE, why=why, seconds=seconds) for number in numbers}


def _turn(
    start: Path,
    what: Launch,
    to_run: Sequence[int],
    gpu_lease: lease.Lease | None,
    stop: Callable[[], bool],
    began: float,
    end: Callable[[Mapping[int, Outcome]], None],
) -> dict[int, Outcome]:
    """One process for the runs, in turn: how those ended that it ended with. Of one that was killed nothing is said.

    ``end`` takes those off ``to_run`` that are finished while it goes on.
    """
    first = what.runs[to_run[0]]
    ends, now = _ends(what, first, began), time.time()
    if ends is not None and ends - now < LEAST:
        return _left(to_run, "no time is left")
    log = launch.log(Path(what.root), first.name)
    make_folder(log.parent)
    if (tries := _count(start, to_run[0], launch.steps(Path(what.root) / first.name))) > TRIES:
        why = f"ended {TRIES} times without coming further ({_last(log, 0)}); see {log}"
        return {to_run[0]: Outcome(state="failed", code=BUG, why=why)}
    names = ",".join(what.runs[number].name for number in to_run)
    words = [*what.command, "--only", names]
    if ends is not None:
        words += ["--max-hours", f"{(ends - deadline.counted_from(now)) / 3600:.4f}"]
    with log.open("ab") as output:
        output.write(f"{MARK} {time.strftime('%Y-%m-%d %H:%M:%S')}: start {tries} from here\n".encode())
        output.flush()
        at = output.tell()
        with _followed(start, what, to_run, partial(_lines, log, at), gpu_lease, end) as follow:
            code = _run(words, what, gpu_lease, output, stop, follow)
            follow()
    seconds = time.time() - began
    if code == OK:
        return {number: Outcome(state="finished", code=OK, seconds=seconds) for number in to_run}
    if code == RESUMABLE or stop():
        return _left(to_run, _last(log, at), seconds)
    if code > 0 and to_run:
        return {to_run[0]: Outcome(state="failed", code=code, why=_last(log, at), seconds=seconds)}
    return {}


@contextmanager
def _followed(
    start: Path,
    what: Launch,
    to_run: Sequence[int],
    said: Callable[[], list[str]],
    gpu_lease: lease.Lease | None,
    end: Callable[[Mapping[int, Outcome]], None],
) -> Iterator[Callable[[], None]]:
    """Shows which of the runs runs now, and ends those that are said to be finished, whenever it is called."""
    several, since = len(to_run) > 1, time.time()
    gpu = "" if gpu_lease is None else gpu_lease.gpu

    def show() -> Path:
        running = start / launch.RUNNING / launch.name(to_run[0])
        about = {"name": what.runs[to_run[0]].name, "gpu": gpu, "began": since, "process": os.getpid()}
        documents.write(running, about)
        return running

    def follow() -> None:
        nonlocal running, since
        lines = set(said()) if several and start.is_dir() else set()
        while to_run and launch.FINISHED.format(what.runs[to_run[0]].name) in lines:
            end({to_run[0]: Outcome(state="finished", code=OK, seconds=time.time() - since)})
            since = time.time()
            running.unlink(missing_ok=True)
            running = show() if to_run else running

    running = show()
    try:
        yield follow
    finally:
        running.unlink(missing_ok=True)


def _run(
    words: Sequence[str],
    what: Launch,
    gpu_lease: lease.Lease | None,
    output: Any,
    stop: Callable[[], bool],
    follow: Callable[[], object],
) -> int:
    """The exit code of a process; below 0 where a signal killed it. It is asked to save and leave where all stop."""
    environment = {**os.environ, **what.environment}
    if gpu_lease is not None:
        environment |= {"CUDA_VISIBLE_DEVICES": gpu_lease.gpu, lease.LEASED: gpu_lease.gpu}
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
            follow()
            if not asked and stop():
                process.terminate()
                asked = True


def _ends(what: Launch, item: launch.Item, began: float) -> float | None:
    """When runs have to have left: once their start is over, or the allocation of their job, which began then."""
    ends = [] if what.ends is None else [what.ends]
    ends += [began + 60 * (item.minutes - launch.MARGIN_MINUTES)] if what.waits else []
    return min(ends, default=None)


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


def _lines(log: Path, at: int) -> list[str]:
    """The last lines of a log, from a place in it on."""
    with log.open("rb") as file:
        file.seek(max(at, file.seek(0, 2) - 2**16))
        return [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]


def _last(log: Path, at: int) -> str:
    """What a run said last: its complaint where there is one."""
    lines = [line for line in _lines(log, at) if not line.startswith((MARK, launch.GOING_ON))]
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
