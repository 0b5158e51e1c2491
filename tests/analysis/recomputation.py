"""A verdict recomputed from prediction files, with numpy and scipy alone: nothing here comes from what it checks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

LABELS = ("left", "right")
DRAWS = 40_000


def correct(path: Path) -> np.ndarray:
    """[examples, 2 (gold), 2 (predicted)] of a prediction file, one example a unit."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    out = np.zeros((len(rows), 2, 2))
    for i, row in enumerate(rows):
        out[i, LABELS.index(row["gold"][0]), LABELS.index(row["prediction"])] = 1
    return out


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """[..., 2, 2] -> [...]."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return (2 * hits / (confusion.sum(-1) + confusion.sum(-2))).mean(-1)


def difference(multi: Sequence[Path], control: Sequence[Path], rng: np.random.Generator) -> tuple[float, np.ndarray]:
    """D, and what it could have been: [draws]."""
    one, other = (np.stack([correct(path) for path in side]) for side in (multi, control))
    seeds, units = one.shape[:2]
    observed = macro_f1(one.sum(1)) - macro_f1(other.sum(1))
    weights = rng.multinomial(units, np.full(units, 1 / units), size=DRAWS).astype(float)
    drawn = [
        macro_f1(np.einsum("du,ugp->dgp", weights, one[s])) - macro_f1(np.einsum("du,ugp->dgp", weights, other[s]))
        for s in range(seeds)
    ]
    replicated = np.stack(drawn, axis=1)
    whole = replicated.mean(1).var()
    common = max(whole - (replicated - observed).var(axis=1, ddof=1).mean() / seeds, 0.0)
    centred = (replicated.mean(1) - observed.mean()) * np.sqrt(common / whole)
    stretch = np.sqrt(units / (units - 1)) * np.sqrt((units - 1) / rng.chisquare(units - 1, size=DRAWS))
    of_mean = observed.var(ddof=1) / seeds
    share = np.sqrt(of_mean / (of_mean + common * units / (units - 1) / 40))
    upper = rng.uniform(0.5, 1, size=DRAWS)
    skewed = np.exp(0.5) - np.exp(rng.standard_normal((400_000, seeds)))
    skewed_t = skewed.mean(1) / (skewed.std(1, ddof=1) / np.sqrt(seeds))
    size = np.where(
        rng.uniform(size=DRAWS) < share, np.quantile(skewed_t, upper), stats.t.ppf(upper, seeds - 1)
    ) * rng.choice([-1, 1], size=DRAWS)
    return float(observed.mean()), observed.mean() + centred * stretch + np.sqrt(of_mean) * size


def cell(replicates: Sequence[np.ndarray], margin: float) -> dict[str, float]:
    """The p-values of three cells: controlled and plain above, controlled within and plain above, both within."""
    above = [float((each <= margin).mean()) for each in replicates]
    within = [max(float((each <= -margin).mean()), float((each >= margin).mean())) for each in replicates]
    return {
        "genuine transfer": max(above),
        "data exposure only": max(within[0], above[1]),
        "no effect": max(within),
    }


def recompute(folder: Path, task: str, seeds: int, margin: float) -> dict[str, Any]:
    """Of the runs multi-N, total-TASK-N and plain-TASK-N in a folder."""
    rng = np.random.default_rng(20261126)

    def files(name: str) -> list[Path]:
        return [folder / f"{name}-{seed}" / "predictions" / f"{task}.test.jsonl" for seed in range(seeds)]

    sides = [difference(files("multi"), files(f"{side}-{task}"), rng) for side in ("total", "plain")]
    return {
        "estimates": [estimate for estimate, _ in sides],
        "intervals": [np.quantile(each, [0.025, 0.975]).tolist() for _, each in sides],
        "p": cell([each for _, each in sides], margin),
    }
