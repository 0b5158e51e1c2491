"""What a start of many runs hands to the processes that make them, and what each of these says at its end.

A start has a folder of its own, which is never taken up again: what is finished is read off the runs. So whatever was
killed, the next start begins with what is left, and processes of one before find their folder gone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Literal

from attrs import field, frozen

from mtlfn.run import documents
from mtlfn.run.storage import lock

FOLDER, LOGS = ".jobs", "logs"  # in the folder of the plan
DONE, RUNNING, TRIES = "done", "running", "tries"  # in that of a start: one file a run, named by its number
MARGIN_MINUTES = 1  # of an allocation, that are left to its end
STOP, LOCK = "STOP", "lock"
FINISHED = "{}: finished"  # what the command of nodes says of each that is
GOING_ON = "to go on: "  # begins the line with the command, which is no reason
State = Literal["finished", "failed", "left", "not begun"]


@frozen(kw_only=True)
class Item:
    """One run of a start.

    Attributes:
        name: of the node.
        after: numbers of the runs of this start that it needs.
        job: number of its job, which is that of the first run of the job.
        tokens: as the plan expects them.
        minutes, memory_mb: of its job, as the plan expects them; of a Slurm job, as they are asked for.
    """

    name: str
    after: tuple[int, ...]
    job: int
    tokens: int
    minutes: float
    memory_mb: int


@frozen(kw_only=True)
class Launch:
    """A start.

    Attributes:
        root: the folder of the plan.
        working: the folder to run in.
        command: what runs a node, less ``--only NODE``.
        environment: variables that the runs get.
        gpus: their ids, of which each run leases one; none: nothing is leased or set.
        ends: when the start's time is over, in seconds since the epoch.
        waits: whether a run that leaves in time is queued again by the scheduler of a cluster.
        runs: what is not finished.
    """

    FILE: ClassVar[str] = "launch.json"

    root: str
    working: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    gpus: tuple[str, ...] = ()
    ends: float | None = None
    waits: bool = False
    runs: tuple[Item, ...] = field(factory=tuple)


@frozen(kw_only=True)
class Outcome:
    """How a run ended, and in one line why; ``left``: it was stopped and goes on with the next start."""

    state: State
    code: int
    why: str = ""
    seconds: float = 0.0


def sweep(root: Path) -> None:
    """Removes what starts that were killed have left, unless one is under way; as far as that can be done."""
    place = root / FOLDER
    with suppress(OSError, lock.Busy):
        if any(path.is_dir() for path in place.iterdir()):
            with lock.held(place / LOCK, lambda _: None):
                clear(place)


def clear(place: Path) -> None:
    """Removes the folders of all starts; for who holds the lock beside them."""
    for path in place.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def name(number: int) -> str:
    """The name of the files of a run of a start."""
    return f"{number:05d}.json"


def log(root: Path, node: str) -> Path:
    """Where a run's console output goes."""
    return root / LOGS / f"{node}.log"


def tell(start: Path, number: int, outcome: Outcome) -> None:
    """Puts the end of a run on record."""
    said = {"state": outcome.state, "code": outcome.code, "why": outcome.why, "seconds": outcome.seconds}
    documents.write(start / DONE / name(number), said)


def told(start: Path, number: int) -> Outcome | None:
    """How a run of the start ended; None where it has not, or nobody knows."""
    try:
        return Outcome(**documents.read(start / DONE / name(number)))
    except (OSError, ValueError, TypeError):
        return None


def steps(run: Path) -> int:
    """How far a run is: lines of its ledger, which grows by a line a checkpoint."""
    try:
        with (run / documents.LEDGER).open("rb") as file:
            return sum(1 for _ in file)
    except OSError:
        return 0


def tokens(run: Path) -> int:
    """What a run has trained on so far, read off the end of its record of steps; 0 where nothing is written."""
    try:
        with (run / documents.METRICS).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 2**15))
            lines = file.read().splitlines()
    except OSError:
        return 0
    for line in reversed(lines):
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):  # cut by the window, or being written
            continue
        if isinstance(said, dict) and isinstance(said.get("tokens"), int) and "event" not in said:
            return said["tokens"]
    return 0
