"""A line of ``metrics.jsonl`` as the values that a tracker draws."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from mtlfn.run.storage.record import Line

SINGLE = (  # of a step, as they are called there
    "tokens",
    "tasks_in_step",
    "grad_norm",
    "learning_rate",
    "nonfinite",
    "loss_scale",
    "seconds_per_step",
    "tokens_per_second",
    "examples_per_second",
)
BY_TASK = {"loss": "loss", "weighted": "weighted_loss", "sigma": "sigma", "tokens_per_task": "tokens_of"}
EVALUATIONS = {"quick": "quick_dev", "full": "dev"}  # event -> how its scores are called


def points(line: Line) -> dict[str, float]:
    """Name -> value; empty for lines that hold no number to draw. Names are paths, as ``loss/ddi``."""
    event = line.get("event")
    if isinstance(event, str) and event in EVALUATIONS:
        return dict(_numbers(EVALUATIONS[event], line.get("scores")))
    if event == "memory":
        return dict(_numbers("memory", {key: line.get(key) for key in ("used", "resident", "own")}))
    if event is not None:
        return {}
    out = {name: line[name] for name in SINGLE if _number(line.get(name))}
    for field, name in BY_TASK.items():
        out |= _numbers(name, line.get(field))
    conflicts = line.get("conflicts")
    for pair, met in conflicts.items() if isinstance(conflicts, Mapping) else ():
        one, _, other = pair.partition(" > ")
        met = met if isinstance(met, Mapping) else {}
        out |= _numbers(f"conflicts/{one}/{other}", {key: met.get(key) for key in ("frequency", "cosine")})
    return out


def message(line: Line) -> str | None:
    """What an alert says, in text that can be sent."""
    if line.get("event") != "alert":
        return None
    return f"{line.get('kind')}: {line.get('message')}".encode("utf-8", "replace").decode()


def _numbers(name: str, values: Any) -> Iterator[tuple[str, float]]:
    for key, value in values.items() if isinstance(values, Mapping) else ():
        if isinstance(value, Mapping):
            yield from _numbers(f"{name}/{key}", value)
        elif _number(value):
            yield f"{name}/{key}", value


def _number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max
