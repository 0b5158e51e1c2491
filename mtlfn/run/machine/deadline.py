"""Ending in time: before the host takes the machine away, with what a step, an evaluation and a save were seen to take.

Times are seconds since the epoch, since a notebook's limit is one of wall-clock time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from mtlfn.run.storage import notebook

SPARE = 1.5  # times what was seen: hosts slow down
SLACK = 20.0  # seconds to leave in

Clock = Callable[[], float]


def began() -> float:
    """When the time of this run began."""
    return counted_from(psutil.Process(os.getpid()).create_time())


def counted_from(start: float) -> float:
    """When the hours of a process that starts then begin: with it, or on Kaggle with the container, where that is
    readable. Who gives a process its hours counts them from here, too."""
    if notebook.here():
        with suppress(psutil.Error):
            return min(start, psutil.Process(1).create_time())
    return start


class Deadline:
    """When to stop, ``hours`` after ``start``. Fed with what things take; asked before each of them."""

    def __init__(self, start: float, hours: float, clock: Clock = time.time) -> None:
        self._start, self._ends, self._clock = start, start + 3600 * hours, clock
        self._expected: dict[str, float] = {}
        self._longest: dict[str, float] = {}

    @contextmanager
    def timing(self, what: str) -> Iterator[None]:
        """Times what happens inside: a "step", a "save", a full "evaluation" of one task or a "quick" one of all."""
        start = self._clock()
        try:
            yield
        finally:
            self._longest[what] = max(self._longest.get(what, 0.0), self._clock() - start)

    def expect(self, what: str, seconds: float) -> None:
        """What something should take, until it was seen."""
        self._expected[what] = seconds

    def left(self) -> float:
        """Seconds until the end."""
        return self._ends - self._clock()

    def told(self) -> str:
        """How much time is left, in words that follow the limit."""
        if (left := self.left()) >= 0:
            return f"is near ({left / 60:.1f} min left)"
        what = "notebook" if notebook.here() else "process"
        return f"are over since the {what} began, {(self._clock() - self._start) / 3600:.1f} h ago"

    def needed(self, *, evaluates: bool) -> float:
        """Seconds to keep for one more step, the evaluation of a task after it (the next can wait), and a save."""
        return self._kept_for("step", "save", "evaluation" if evaluates else "quick")

    def too_late(self, *, evaluates: bool) -> bool:
        """Whether one more step would not leave the time to save it."""
        return self.left() < self.needed(evaluates=evaluates)

    def too_late_for(self, *parts: str) -> bool:
        """Whether there is no time for these."""
        return self.left() < self._kept_for(*parts)

    def _kept_for(self, *parts: str) -> float:
        return SLACK + SPARE * sum(self._longest.get(part, self._expected.get(part, 0.0)) for part in parts)


def asked(folder: Path, name: str) -> bool:
    """Whether somebody put a file of this name ("STOP", "SAVE") into the run directory."""
    return (folder / name).exists()


def answered(folder: Path, name: str) -> None:
    """Takes the file away."""
    (folder / name).unlink(missing_ok=True)
