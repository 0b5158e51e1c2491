"""Monitors: observers that look for what goes wrong slowly, and say so once.

An alert goes to the console and ``train.log``, to ``metrics.jsonl`` as an event, and from there to the summary. The
rules are functions of numbers; probes are injected, so that none of this needs a GPU or a long wait to be tested.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from mtlfn.core.batch import Batch
from mtlfn.core.state import State
from mtlfn.run.machine.memory import Probe
from mtlfn.run.watch.observers import Observer

MEMORY_EVERY_STEPS = 50
WINDOW = 20  # memory readings that a slope is fitted to
LEAK_SHARE = 0.10  # of the mean over the window ...
LEAK_BYTES = 200 * 2**20  # ... and at least so much growth over it
BLOCK = 10  # steps whose mean loss is one point: single steps with a rare label stand out, and that is no explosion
BLOCKS = 10
EXPLOSION = 5.0  # times the running median of the blocks before

Write = Callable[[dict], None]  # a line of metrics.jsonl
Alert = Callable[[int, str, str], None]  # step, kind, message


def alerts(write: Write, say: Callable[[str], None]) -> Alert:
    """Where alerts go: the metrics and the console."""

    def alert(step: int, kind: str, message: str) -> None:
        write({"step": step, "event": "alert", "kind": kind, "message": message})
        say(f"ALERT     {kind} at step {step}: {message}")

    return alert


def growth(readings: Sequence[float]) -> float:
    """Growth over a window of equally spaced readings, by the median slope of all pairs (Theil, 1950; Sen, 1968)."""
    n = len(readings)
    slopes = [(readings[j] - readings[i]) / (j - i) for i in range(n) for j in range(i + 1, n)]
    return statistics.median(slopes) * (n - 1)


def leaking(readings: Sequence[float]) -> bool:
    """Whether memory climbs through the whole window: enough in all, and in both halves of it.

    A process that warms up climbs in the first half only; one that allocates and frees in waves climbs in one half.
    """
    half = len(readings) // 2
    enough = max(LEAK_BYTES, LEAK_SHARE * statistics.fmean(readings))
    return growth(readings) > enough and all(growth(part) > enough / 4 for part in (readings[:half], readings[half:]))


def exploding(blocks: Sequence[float]) -> bool:
    """Whether the newest block's mean loss stands far above the median of those before it."""
    *before, newest = blocks
    return newest > EXPLOSION * max(statistics.median(before), 1e-3)


def memory(probe: Probe, write: Write, alert: Alert, every: int = MEMORY_EVERY_STEPS) -> Observer:
    """A reading every so many steps, and an alert where it climbs and climbs."""
    readings: deque[float] = deque(maxlen=WINDOW)
    alarmed = False

    def observe(state: State, batch: Batch) -> None:
        nonlocal alarmed
        if state.step % every:
            return
        found = probe()
        write({"step": state.step, "event": "memory", **attrs.asdict(found)})
        readings.append(found.own)
        leak = len(readings) == WINDOW and leaking(list(readings))
        if leak and not alarmed:
            alert(
                state.step,
                "memory",
                f"grew by {growth(list(readings)) / 2**20:,.0f} MB over the last {(WINDOW - 1) * every} steps "
                f"to {found.own / 2**20:,.0f} of {found.total / 2**20:,.0f} MB",
            )
        alarmed = leak

    return observe


def losses(alert: Alert, before: Sequence[Mapping[str, Any]] = ()) -> Observer:
    """Alerts where a step was not finite, and where the loss explodes.

    ``before``: the lines of the steps that were taken already. A run that goes on looks on from there, so that it says
    what one that was never stopped says.
    """
    block: list[float] = []
    blocks: deque[float] = deque(maxlen=BLOCKS + 1)
    skipped, failing, alarmed = 0, False, False

    def look(step: int, loss: Mapping[str, float | None], nonfinite: int, alert: Alert) -> None:
        nonlocal skipped, failing, alarmed
        if nonfinite > skipped and not failing:
            alert(step, "nonfinite", "the loss or a gradient was not finite; this step changed no parameter")
        skipped, failing = nonfinite, nonfinite > skipped
        known = [v for v in loss.values() if v is not None and math.isfinite(v)]
        if not known:
            return
        block.append(statistics.fmean(known))
        if len(block) < BLOCK:
            return
        blocks.append(statistics.fmean(block))
        block.clear()
        explodes = len(blocks) > BLOCKS // 2 and exploding(list(blocks))
        if explodes and not alarmed:
            alert(
                step,
                "explosion",
                f"the mean loss of {BLOCK} steps is {blocks[-1]:.3g}, {EXPLOSION:g} times the median before it; "
                "a lower --learning-rate helps",
            )
        alarmed = explodes

    for line in before:
        look(line["step"], line["loss"], line["nonfinite"], lambda *_: None)
    return lambda state, _: look(state.step, state.last.loss, state.nonfinite.total, alert)
