"""Are the statistics of the verdict calibrated? Simulated studies, thousands of them, none of them trained.

    python scripts/calibrate_statistics.py [--quick] [--studies 1000] [--draws 1000]

Prints two tables. Coverage: how often the 95 % interval of a difference holds the true one, and how often a test at 5 %
calls it larger (smaller) than what it is: by seeds, units, and the variance between seeds against that of units.
Verdicts: what is said of a task in worlds where the truth is known, the last two of them exactly on the margin, where
every test errs most. A line is out of bounds, and the exit code 1, if a coverage is outside 93 to 97 % or more than 5 %
of the studies are given a wrong verdict, by more than two standard errors of the simulation.

A study has three sides (multi-task, token-controlled S1, plain S1) of S seeds and U units. The score of a unit is the
sum of what the unit, the side and unit, the seed, and the seed on this unit add. "mean" is a metric like MAP; "f1"
draws hits and false alarms from the logistic of that sum, for 1 to about 10 gold items a unit.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter

import numpy as np
from attrs import frozen

from mtlfn.analysis import verdict
from mtlfn.analysis.bootstrap import Difference, combine, interval, replicate, unit_weights
from mtlfn.analysis.equivalence import p_above, p_below
from mtlfn.core.keys import Key, fold, numpy_generator, root
from mtlfn.data import units
from mtlfn.data.task import Task

MARGIN = 0.02
TASKS = {"mean": Task(name="mean", kind="ranking", level=2), "f1": Task(name="f1", kind="spans", level=1)}
# Truth -> multi-task less token-controlled S1, less plain S1
WORLDS = {
    verdict.NO_EFFECT: (0.0, 0.0),
    verdict.EXPOSURE: (0.0, 0.08),
    verdict.GENUINE: (0.08, 0.1),
    verdict.NEGATIVE: (-0.08, 0.0),
    "at +m": (MARGIN, MARGIN),
    "at -m": (-MARGIN, -MARGIN),
}


@frozen(kw_only=True)
class World:
    """How scores come about. Standard deviations: of a unit, of a side on a unit, of a seed, of a seed on a unit; the
    last three are those of a difference of two sides."""

    metric: str
    seeds: int
    units: int
    unit: float = 0.2
    side: float
    seed: float
    interaction: float


def world(metric: str, seeds: int, count: int, ratio: float, interaction: float, side: float = 0.1) -> World:
    """``ratio``: standard error of the difference from seeds, by that from units; ``interaction``: by ``side``.

    On the logistic scale of "f1" everything is 5 times as large, as the slope there is about 1/5.
    """
    scale = 5.0 if metric == "f1" else 1.0
    seed = ratio * side * math.sqrt(seeds / count)
    return World(
        metric=metric,
        seeds=seeds,
        units=count,
        unit=0.2 * scale,
        side=side * scale,
        seed=seed * scale,
        interaction=interaction * side * scale,
    )


def latent(w: World, seeds: int, count: int, shifts: tuple[float, ...], rng: np.random.Generator) -> np.ndarray:
    """[sides, seeds, units], without the noise of counting."""
    half, sides = math.sqrt(0.5), len(shifts)
    return (
        0.5
        + np.asarray(shifts)[:, None, None]
        + w.unit * rng.standard_normal(count)
        + half * w.side * rng.standard_normal((sides, 1, count))
        + half * w.seed * rng.standard_normal((sides, seeds, 1))
        + half * w.interaction * rng.standard_normal((sides, seeds, count))
    )


def study(w: World, shifts: tuple[float, ...], rng: np.random.Generator) -> np.ndarray:
    """Unit statistics, [sides, seeds, units, columns]."""
    scores = latent(w, w.seeds, w.units, shifts, rng)
    if w.metric == "mean":
        return np.stack([scores, np.ones_like(scores)], axis=-1)
    gold = 1 + rng.poisson(4, size=w.units)
    right = 1 / (1 + np.exp(-scores))
    hits = rng.binomial(gold, right)
    predicted = hits + rng.poisson(0.5 * gold * (1 - right))
    return np.stack(np.broadcast_arrays(hits, predicted, hits, gold), axis=-1).astype(np.float64)


def shift_for(w: World, difference: float, key: Key) -> float:
    """The shift of a side's latent score that changes its expected metric by so much."""
    if w.metric == "mean":
        return difference
    scores = latent(w, 100, 2000, (0.0,), numpy_generator(key))[0]

    def expected(shift: float) -> float:
        """Over all seeds and infinitely many units. How many gold items a unit has is independent of its score."""
        hits = (1 / (1 + np.exp(-scores - shift))).mean(1)
        return float((2 * hits / (hits + 0.5 * (1 - hits) + 1)).mean())

    start, low, high = expected(0.0), -3.0, 3.0
    for _ in range(16):
        middle = (low + high) / 2
        low, high = (middle, high) if expected(middle) - start < difference else (low, middle)
    return (low + high) / 2


def differences(w: World, sides: np.ndarray, weights: np.ndarray, key: Key) -> list[Difference]:
    """Of the first side from each of the others."""
    task = TASKS[w.metric]
    observed = [units.value(task, side.sum(1)) for side in sides]
    replicated = [replicate(task, side, weights) for side in sides]
    return [
        combine(observed[0] - observed[i], replicated[0] - replicated[i], w.units, fold(key, "seeds", i))
        for i in range(1, len(sides))
    ]


def coverage(w: World, studies: int, weights: np.ndarray, key: Key) -> tuple[float, float, float]:
    """Share of intervals that hold the true difference, 0; of tests at 5 % that find one above, below."""
    held = above = below = 0
    rng = numpy_generator(fold(key, "studies"))
    for i in range(studies):
        (found,) = differences(w, study(w, (0.0, 0.0), rng), weights, fold(key, i))
        low, high = interval(found, 0.95)
        held += low <= 0 <= high
        above += p_above(found.replicates, 0.0) <= 0.05
        below += p_below(found.replicates, 0.0) <= 0.05
    return held / studies, above / studies, below / studies


def verdicts(w: World, effects: tuple[float, float], studies: int, weights: np.ndarray, key: Key) -> Counter[str]:
    """How often each verdict is given."""
    shifts = (0.0, *(shift_for(w, -effect, fold(key, "truth")) for effect in effects))
    rng = numpy_generator(fold(key, "studies"))
    said: Counter[str] = Counter()
    for i in range(studies):
        pair = verdict.Pair(*differences(w, study(w, shifts, rng), weights, fold(key, i)))
        said[verdict.decide({"task": pair}, MARGIN, 0.05)["task"].verdict] += 1
    return said


def allowed(share: float, studies: int) -> float:
    """Two standard errors."""
    return 2 * math.sqrt(share * (1 - share) / studies)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few studies of every sort: does it run")
    parser.add_argument("--studies", type=int, default=1000, help="a line of the tables")
    parser.add_argument("--draws", type=int, default=1000, help="replicates a study")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    studies, draws, key, began = asked.studies, asked.draws, root(asked.seed), time.monotonic()
    if asked.quick:
        studies, draws = 20, 200
    held = {n: next(unit_weights(fold(key, "units", n), n, draws)) for n in (50, 200, 500)}
    bad = 0
    print(f"coverage of 95 % intervals, {studies} studies a line, {draws} draws")
    print(f"{'metric':<7}{'S':>3}{'U':>5}{'seeds/units':>13}{'interaction':>13}{'held':>8}{'above':>8}{'below':>8}")
    cases = [
        world(metric, seeds, count, ratio, interaction)
        for metric in TASKS
        for seeds in (2, 3, 5, 10)
        for count, ratio, interaction in (
            [(200, 1.0, 1.0)]
            if asked.quick
            else [(50, 1.0, 0.0), *((200, r, i) for r in (0.0, 0.5, 2.0, 6.0) for i in (0.0, 1.5)), (500, 1.0, 0.5)]
        )
    ]
    for w in cases:
        line = coverage(w, studies, held[w.units], fold(key, "coverage", repr(w)))
        wrong = not 0.93 - allowed(0.93, studies) <= line[0] <= 0.97 + allowed(0.97, studies)
        bad += wrong
        ratio, crossed = w.seed / w.side * math.sqrt(w.units / w.seeds), w.interaction / w.side
        print(
            f"{w.metric:<7}{w.seeds:>3}{w.units:>5}{ratio:>13.1f}{crossed:>13.1f}"
            + "".join(f"{share:>8.1%}" for share in line)
            + (" !" if wrong else ""),
            flush=True,
        )
    names = (*verdict.CLAIMS, verdict.INCONCLUSIVE)
    print(f"\nverdicts in percent, margin {MARGIN:g}, one task, 500 units, {studies} studies a line")
    print(
        f"{'metric':<7}{'S':>3}{'seeds/units':>13}  {'truth':<20}" + "".join(f"{name.split()[0]:>14}" for name in names)
    )
    ratios = (0.5,) if asked.quick else (0.0, 0.5, 2.0)
    for base in (world(metric, s, 500, r, 0.5, 0.05) for metric in TASKS for s in (2, 3, 5) for r in ratios):
        for name, effects in WORLDS.items():
            said = verdicts(base, effects, studies, held[500], fold(key, name, repr(base)))
            border = {"at +m": verdict.GENUINE, "at -m": verdict.NEGATIVE}.get(name)
            errors = said[border] if border else studies - said[name] - said[verdict.INCONCLUSIVE]
            wrong = errors / studies > 0.05 + allowed(0.05, studies)
            bad += wrong
            ratio = base.seed / base.side * math.sqrt(base.units / base.seeds)
            print(
                f"{base.metric:<7}{base.seeds:>3}{ratio:>13.1f}  {name:<20}"
                + "".join(f"{said[each] / studies:>14.1%}" for each in names)
                + (" !" if wrong else ""),
                flush=True,
            )
    print(f"\n{bad} lines out of bounds (!); {time.monotonic() - began:.0f} s")
    return 1 if bad and not asked.quick else 0


if __name__ == "__main__":
    sys.exit(main())
