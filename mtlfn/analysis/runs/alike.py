"""Whether two runs were scored on the same: one task, the same test units with the same gold, in the same order."""

from __future__ import annotations

from pathlib import Path

from mtlfn.data.task import Task
from mtlfn.data.units import UnitStatistics
from mtlfn.run.errors import UsageError

Scored = tuple[Task, UnitStatistics]


def check(one: Path, first: Scored, other: Path, second: Scored) -> None:
    """UsageError that names the first difference in what the runs of two folders were scored on."""
    (task, a), (again, b) = first, second
    pair = f"RUN {one} and RUN {other}: task {task.name}"
    if task != again:
        raise UsageError(f"{pair} is not the same in both: {task} and {again}")
    if len(a.units) != len(b.units):
        raise UsageError(f"{pair} has {len(a.units)} test units in one and {len(b.units)} in the other{_first(a, b)}")
    for i, (x, y) in enumerate(zip(a.units, b.units, strict=True)):
        if x != y:
            raise UsageError(f"{pair}: test unit {i} is {x!r} in one and {y!r} in the other; use the same data")
        if a.gold[i] != b.gold[i]:
            raise UsageError(f"{pair}: the gold of test unit {x!r} differs; use the same data")


def _first(a: UnitStatistics, b: UnitStatistics) -> str:
    here, there = set(a.units), set(b.units)
    odd = next(unit for unit in (*a.units, *b.units) if (unit in here) != (unit in there))
    return f"; {odd!r} is in one only; use the same data"
