"""Whether a task was learnt at all, whether more could be, and which seeds failed.

ceiling   every side scores so high on the test split that no gain beyond the margin is left above it
floor     no side beats the simple baselines, mean over seeds: that such models are equal is no finding
collapse  a seed at or below the simple baselines where other seeds of the same side are above

The baselines are of the dev split, as ``result.json`` has them, and so are the scores that they are compared with. The
estimand of the verdict is the mean over seeds, collapsed ones included: where one is seen, its difference is in D and
in the variance between seeds, and hardly anything is shown. Where none is seen among S seeds, a rate of collapse of up
to 1 - 0.05^(1/S) (63 % at 3, 45 % at 5, 26 % at 10) is not ruled out at 95 %, and claims are about seeds that learn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scipy.stats import beta

from mtlfn.analysis.runs import cells
from mtlfn.analysis.statistics.verdict import Level

HIGHEST = 1.0  # of every primary metric


def arms(study: cells.Study, task: str) -> dict[str, dict[int, cells.Run]]:
    """Side -> seed -> run."""
    return {cells.MULTI: dict(study.multi)} | {
        side: {seed: run for (c, t, seed), run in sorted(study.controls.items()) if (c, t) == (control, task)}
        for control, side in cells.CONTROLS.items()
    }


def level(study: cells.Study, task: str, scores: Mapping[str, Mapping[str, float]], margin: float) -> Level:
    """``scores``: side -> seed -> test score."""
    means = [sum(of.values()) / len(of) for of in scores.values() if of]
    if means and min(means) >= HIGHEST - margin:
        return "ceiling"
    sides = [
        [run.learning[task] for run in runs.values() if task in run.learning] for runs in arms(study, task).values()
    ]
    known = [side for side in sides if side]
    if known and all(sum(dev - simple for dev, simple in side) <= 0 for side in known):
        return "floor"
    return ""


def collapses(study: cells.Study, task: str) -> dict[str, dict[str, Any]]:
    """Side -> collapsed seeds, how many there are, and the 95 % interval of the rate (Clopper & Pearson 1934)."""
    out = {}
    for side, runs in arms(study, task).items():
        known = {seed: run.learning[task] for seed, run in runs.items() if task in run.learning}
        failed = [seed for seed, (dev, simple) in known.items() if dev <= simple]
        if failed and len(failed) < len(known):
            out[side] = {"seeds": failed, "of": len(known), "interval_95": list(rate(len(failed), len(known)))}
    return out


def mean(scores: Mapping[Any, float]) -> float | None:
    """None of nothing."""
    return sum(scores.values()) / len(scores) if scores else None


def rate(failed: int, count: int) -> tuple[float, float]:
    """The exact 95 % interval of a share."""
    low = float(beta.ppf(0.025, failed, count - failed + 1)) if failed else 0.0
    high = float(beta.ppf(0.975, failed + 1, count - failed)) if failed < count else 1.0
    return low, high


def words(row: Mapping[str, Any]) -> list[str]:
    """The collapses of a task in ``verdict.json``, a sentence a side."""
    return [
        f"{side}: {len(each['seeds'])} of {each['of']} seeds collapsed to the simple baseline or below (seed "
        f"{', '.join(map(str, each['seeds']))}; 95 % interval of the rate {each['interval_95'][0]:.0%} to "
        f"{each['interval_95'][1]:.0%}); they are in the mean"
        for side, each in row.get("collapses", {}).items()
    ]
