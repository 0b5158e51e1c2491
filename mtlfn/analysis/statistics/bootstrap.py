"""A paired bootstrap of a difference of scores, over test units and over seeds.

Two sides, S trained models each, seed s of one paired with seed s of the other, all scored on the same U units. D is
the mean over seeds of the difference of their metrics. Its error has two independent parts:

    units  the same test units for every model: their weights are drawn anew, one draw for both sides and all seeds
           (Efron & Tibshirani 1993, ch. 8 and 13)
    seeds  S models of all that could have been trained, and how each of them happens to do on each unit

The units' part is known from U units only: draws of units vary by (U - 1)/U of the variance, and that as if it were
known. Both are made good: each draw's deviation is stretched by the root of U/(U - 1), and by that of U - 1 over a
chi-square with U - 1 degrees of freedom, which makes Student's t of a normal (at 17 units a test at 5 % errs in 6.6 %
otherwise).

With 2 to 5 seeds, drawing seeds anew gives an interval far too narrow. So the seeds' part is noise around D whose
variance is itself uncertain: s²/S, s² being the variance of the difference between seeds. What the seeds' part holds of
the units' draws (unit by seed interaction, estimated from the same draws) is taken out of the units' part, not out of
s²: s² less the interaction, not below 0, is 0 half of the time where the two are alike, and the interval then is too
narrow. With normal errors and S = 2, a nominal 95 % interval then covers as little as 86 %. Counts on few units tie,
which no t statistic allows for: of two seeds on 20 units, a quarter differ by nothing, though the sides' units do. What
the units alone make of S seeds then stands for s².

Seeds are not normal: now and then one fails. Where that is rare, S seeds mostly look alike and better than their
mean, and Student's t errs on the side of a claim. On seeds of one side from a left-skewed lognormal (log-sd 1), truth
on the border, one-sided tests at 5 % and S = 3, 5, 10 err in

    Student's t                                23, 23, 21 %
    Johnson's (1978) skewness-adjusted t       14, 12, 10 %
    Hall's (1992) transformation               20, 18, 14 %
    bootstrap-t over seeds                     13, 14, 12 %
    all seeds beyond the border (sign test)    33, 16, 2 %
    what stands here                            5, 5, 5 %

(200,000 studies a number, bootstrap-t 2,000 to 4,000.) The skewness of 3 to 5 seeds cannot be estimated, so it is
assumed: the noise has the quantiles, towards both sides, of the t statistic of such seeds in its heavier tail. With
them the test holds its level for every milder skew, for Student's t with 3 degrees of freedom and for normal seeds
(below 1 %). At one size, that of the worst world, other statistics have no more power over normal seeds of sd 1: at
S = 3, effects of 2, 4 and 8 are shown at 5 % in 12, 38, 85 % by t, in 13, 39, 79 % with a factor exp(0.6 skewness), in
15, 37, 50 % by Johnson's, in 12, 37, 83 % by median over range, in 12, 38, 84 % by the least seed; at S = 10 a factor
exp(0.3 skewness) would take a fifth off the critical value, at the price of a statistic that does not grow with every
seed. What it costs: a critical value of 10.3, 6.3, 4.3 in place of 2.9, 2.1, 1.8 at S = 3, 5, 10. No method holds
beyond what is assumed: a failure of one seed in ten is not seen among 3 seeds in 73 % of the studies (``learnt``).

Beside exactly known noise (the Behrens-Fisher problem) such noise is too much where the units' part prevails: there a
share of it is Student's t with S - 1 degrees of freedom. Truth on the border, seeds' standard error 0.3 to 12 times
that of units, S = 3 and 5, a test at 5 % (1 %) errs in 3.1 to 4.9 % (0.4 to 1.0 %) with the skewed seeds above, in 0.2
to 1.6 % with normal ones; a larger share of t would err in up to 5.8 % (1.7 %). scripts/calibrate_statistics.py
measures all this with resampled units and real metrics.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import attrs
import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from scipy.special import gammaincinv, stdtrit

from mtlfn.core.keys import Key, fold, numpy_generator, root
from mtlfn.data import units
from mtlfn.data.task import Task

Array = NDArray[np.float64]
CHUNK = 4_000_000  # weights held at a time
TIE = 1e-9  # of the interaction: seeds whose variance is no more are alike but for rounding
REFERENCE = 1 << 17  # studies of skewed seeds whose t statistics are the seeds' noise
LOG_SD = 1.0  # of the lognormal seeds that a test must keep its level with


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
        interaction: what of ``seed_variance`` more units would lessen, on average: unit by seed interaction.
        furthest: what two scores of the metric can differ by.
    """

    per_seed: tuple[float, ...]
    units: int
    replicates: Array
    unit_variance: float
    seed_variance: float | None
    interaction: float = 0.0
    furthest: float = 1.0

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
    difference = combine(observed, np.concatenate(replicated), count, fold(key, "seeds"))
    furthest = units.statistic_of(task).furthest
    return attrs.evolve(difference, replicates=difference.replicates.clip(-furthest, furthest), furthest=furthest)


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
    stretch = _unit_stretch(count, draws, fold(key, "units known"))
    small = count / max(count - 1, 1)
    if seeds == 1:
        return Difference(per_seed, count, estimate + stretch * (means - estimate), small * whole, None)
    variance = float(observed.var(ddof=1))
    interaction = float((replicated - observed).var(axis=1, ddof=1).mean())
    if variance <= TIE * interaction:
        variance = interaction
    common = max(whole - interaction / seeds, 0.0)
    shrunk = estimate + math.sqrt(common / whole) * stretch * (means - estimate) if whole else means
    noise = _seed_noise(variance / seeds, small * common, seeds, draws, key)
    return Difference(per_seed, count, shrunk + noise, small * common, variance, interaction)


def _unit_stretch(count: int, draws: int, key: Key) -> Array:
    """[draws]: what makes Student's t with U - 1 degrees of freedom of a normal that resampling U units gives."""
    freedom = count - 1
    if freedom < 1:  # one unit varies in no draw
        return np.ones(draws)
    return math.sqrt(count / freedom) * numpy_generator(key).permutation(_stretch(freedom, draws))


@lru_cache(maxsize=128)
def _stretch(freedom: int, draws: int) -> Array:
    """Quantiles of the root of the degrees of freedom over a chi-square with as many."""
    return np.sqrt(freedom / (2 * gammaincinv(freedom / 2, _grid(draws))))


def _seed_noise(of_mean: float, common: float, seeds: int, draws: int, key: Key) -> Array:
    """[draws] of noise with the variance ``of_mean``, estimated from S seeds, beside ``common``.

    Its quantiles in random order stand for draws, since the far tails of few seeds would make the ends of an interval
    jump by a tenth from key to key. The share that is Student's t is the one whose level was nearest to nominal.
    """
    first = round(seed_share(of_mean, common) * draws)
    quantiles = np.concatenate([skewed_t(seeds, _grid(first)), stdtrit(seeds - 1, _grid(draws - first))])
    return math.sqrt(of_mean) * numpy_generator(key).permutation(quantiles)


def seed_share(of_mean: float, common: float) -> float:
    """The share of the seeds' noise that allows for skewed seeds, 0 to 1: where they prevail, nearly all of it."""
    return math.sqrt(of_mean / (of_mean + common / 40)) if of_mean else 0.0


def skewed_t(seeds: int, probabilities: Array) -> Array:
    """Quantiles of the seeds' noise, in standard errors, alike on both sides of 0."""
    reference = _reference(seeds)
    upper = np.maximum(probabilities, 1 - probabilities)
    # The farthest tail, of which a sample of this size does not tell, goes on as that of a t statistic with S - 1
    # degrees of freedom does: as the power -1/(S - 1) of the probability.
    last = 1 - 100 / REFERENCE
    far = np.where(upper > last, ((1 - last) / np.maximum(1 - upper, 1e-300)) ** (1 / (seeds - 1)), 1.0)
    place = np.minimum(upper, last) * (REFERENCE - 1)
    before = place.astype(np.int64)
    quantiles = reference[before] + (place - before) * (reference[before + 1] - reference[before])
    return np.sign(probabilities - 0.5) * quantiles * far


@lru_cache(maxsize=128)
def _reference(seeds: int) -> Array:
    """t statistics of S left-skewed lognormal seeds whose mean is 0, ``REFERENCE`` times, sorted."""
    rng = numpy_generator(fold(root(0), "skewed seeds", seeds))
    mean, squares = np.zeros(REFERENCE), np.zeros(REFERENCE)
    for n in range(1, seeds + 1):  # Welford's recurrence: no more than a seed of every study in memory
        drawn = math.exp(LOG_SD**2 / 2) - np.exp(LOG_SD * rng.standard_normal(REFERENCE))
        before = drawn - mean
        mean += before / n
        squares += before * (drawn - mean)
    return np.sort(mean / np.sqrt(squares / (seeds - 1) / seeds))


def _grid(count: int) -> Array:
    return (np.arange(count) + 0.5) / count if count else np.empty(0)


def interval(difference: Difference, level: float) -> tuple[float, float]:
    """Lower and upper end: percentiles of the replicates."""
    low, high = np.quantile(difference.replicates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
