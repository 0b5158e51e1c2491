"""A paired bootstrap of a difference of scores, over test units and over seeds.

Two sides, S trained models each, seed s of one paired with seed s of the other, all scored on the same U units. D is
the mean over seeds of the difference of their metrics. Its error has two independent parts:

    units  the same test units for every model: their weights are drawn anew, one draw for both sides and all seeds
           (Efron & Tibshirani 1993, ch. 8 and 13)
    seeds  S models of all that could have been trained, and how each of them happens to do on each unit

With 2 to 5 seeds, drawing seeds anew gives an interval far too narrow. So the seeds' part is noise around D whose
variance is itself uncertain: s²/S with S - 1 degrees of freedom, s² being the variance of the difference between seeds.
What the seeds' part holds of the units' draws (unit by seed interaction, estimated from the same draws) is taken out of
the units' part, not out of s²: s² less the interaction, not below 0, is 0 half of the time where the two are alike, and
the interval then is too narrow. With normal errors and S = 2, a nominal 95 % interval then covers as little as 86 %.

Noise from Student's t with S - 1 degrees of freedom beside exactly known noise (the Behrens-Fisher problem) errs to the
other side: 98.8 % at S = 2, 97.6 % at S = 3. One t for both parts, with Satterthwaite's degrees of freedom: 87 %. The
variance is therefore drawn as S - 1 over a chi-square with S - 1 or, where the units' part prevails, S + 1 degrees of
freedom: such a mixture is what the probability-matching prior of Ghosh & Kim (2001, Canadian Journal of Statistics 29)
leads to; its weights are ours. With normal errors it covers 93.7 to 96.7 % at S = 2, 95.0 to 96.5 % at S = 3, 95.0 to
96.1 % at S = 5, whatever the ratio of the parts, and a test at 5 % rejects a true border in at most 5.1 %.
scripts/calibrate_statistics.py measures both with resampled units (50 to 500) and real metrics; in 1,000 studies a line
(standard error 0.7 %) a mean was covered in 93.4 to 96.7 %, an F1 in 94.7 to 96.4 %, at S = 2 in 92.7 to 94.4 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import attrs
import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from scipy.special import stdtrit

from mtlfn.core.keys import Key, fold, numpy_generator
from mtlfn.data import units
from mtlfn.data.task import Task

Array = NDArray[np.float64]
CHUNK = 4_000_000  # weights held at a time


@frozen(eq=False)
class Difference:
    """A difference of scores and what it could have been.

    Attributes:
        per_seed: S differences, in the unit of the metric.
        units: U, how many test units there are.
        replicates: float64 [draws]: intervals are their percentiles. With one seed they hold the units' part alone.
            None lies beyond what two scores of the metric can differ by.
        unit_variance: of D, the part that more seeds would not lessen.
        seed_variance: s², of the difference between seeds on these units; None with one seed, where it is unknown.
    """

    per_seed: tuple[float, ...]
    units: int
    replicates: Array
    unit_variance: float
    seed_variance: float | None

    @property
    def estimate(self) -> float:
        """D."""
        return math.fsum(self.per_seed) / len(self.per_seed)

    @property
    def seeds(self) -> int:
        """S."""
        return len(self.per_seed)


def difference(task: Task, multi: Array, control: Array, key: Key, draws: int) -> Difference:
    """The difference of the task's primary metric between two sides.

    Args:
        multi, control: float64 [S, U, K], statistics of the same units in the same order (``data.units``); S and U at
            least 1.
        key: of the task: with the same key, two differences on the same units use the same draws of units.

    Raises:
        ValueError: the shapes differ, or a side is empty.
    """
    if multi.shape != control.shape or multi.ndim != 3 or not multi.size:
        raise ValueError(
            f"expected two arrays [seeds, units, columns] of one shape, found {multi.shape}, {control.shape}"
        )
    count = multi.shape[1]
    observed = units.value(task, multi.sum(1)) - units.value(task, control.sum(1))
    replicated = [
        replicate(task, multi, weights) - replicate(task, control, weights)
        for weights in unit_weights(fold(key, "units"), count, draws)
    ]
    made = combine(observed, np.concatenate(replicated), count, fold(key, "seeds"))
    furthest = _furthest(task)
    return attrs.evolve(made, replicates=made.replicates.clip(-furthest, furthest))


def _furthest(task: Task) -> float:
    """How far apart two scores can be: the range of the metric (``data.metrics.score``)."""
    return 2.0 if task.kind == "regression" else 1.0


def unit_weights(key: Key, count: int, draws: int) -> Iterator[Array]:
    """Multinomial weights of units, [some, count] at a time, ``draws`` rows in all; every row sums to ``count``."""
    rows = max(1, CHUNK // count)
    for start in range(0, draws, rows):
        n = min(rows, draws - start)
        chosen = numpy_generator(fold(key, start)).integers(count, size=(n, count)) + count * np.arange(n)[:, None]
        yield np.bincount(chosen.ravel(), minlength=n * count).reshape(n, count).astype(np.float64)


def replicate(task: Task, side: Array, weights: Array) -> Array:
    """The metric of every seed under every weighting of the units: [S, U, K], [draws, U] -> [draws, S]."""
    seeds, count, columns = side.shape
    sums = weights @ side.transpose(1, 0, 2).reshape(count, seeds * columns)
    return units.value(task, sums.reshape(len(weights), seeds, columns))


def combine(observed: Array, replicated: Array, count: int, key: Key) -> Difference:
    """The two parts together.

    Args:
        observed: [S], the difference of every seed on the units as they are.
        replicated: [draws, S], the same under weights of the units.
        count: U.
    """
    seeds, draws = len(observed), len(replicated)
    means = replicated.mean(1)
    estimate, whole = float(observed.mean()), float(means.var())
    per_seed = tuple(observed.tolist())
    if seeds == 1:
        return Difference(per_seed, count, means, whole, None)
    variance = float(observed.var(ddof=1))
    interaction = float((replicated - observed).var(axis=1, ddof=1).mean())
    common = max(whole - interaction / seeds, 0.0)
    shrunk = estimate + math.sqrt(common / whole) * (means - estimate) if whole else means
    return Difference(
        per_seed, count, shrunk + _seed_noise(variance / seeds, common, seeds, draws, key), common, variance
    )


def _seed_noise(of_mean: float, common: float, seeds: int, draws: int, key: Key) -> Array:
    """[draws] of noise with the variance ``of_mean``, known with S - 1 degrees of freedom, beside ``common``.

    Normal noise over the root of such a chi-square is Student's t; its quantiles in random order stand for draws, since
    the far tails of few degrees of freedom would make the ends of an interval jump by a tenth from key to key. The
    share with S - 1 against S + 1 degrees of freedom is the one whose coverage was nearest to nominal.
    """
    freedom = seeds - 1
    prevails = of_mean / math.hypot(of_mean, common / math.sqrt(10)) if of_mean else 0.0
    first = round(prevails * draws)
    few = stdtrit(freedom, _grid(first))
    more = math.sqrt(freedom / (freedom + 2)) * stdtrit(freedom + 2, _grid(draws - first))
    return math.sqrt(of_mean) * numpy_generator(key).permutation(np.concatenate([few, more]))


def _grid(count: int) -> Array:
    return (np.arange(count) + 0.5) / count if count else np.empty(0)


def interval(found: Difference, level: float) -> tuple[float, float]:
    """Lower and upper end: percentiles of the replicates."""
    low, high = np.quantile(found.replicates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
