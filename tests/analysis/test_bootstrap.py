"""The bootstrap against scipy where there is no seed variation, and against what is known of normal errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mtlfn.analysis.statistics.bootstrap import combine, difference, interval, replicate, skewed_t, unit_weights
from mtlfn.analysis.statistics.equivalence import p_above, p_below
from mtlfn.core.keys import fold, root
from mtlfn.data import units
from mtlfn.data.task import Task

MEAN = Task(name="mean", kind="ranking", level=2)
F1 = Task(name="f1", kind="spans", level=1)


def means(scores: np.ndarray) -> np.ndarray:
    """[..., units] -> statistics of a mean."""
    return np.stack([scores, np.ones_like(scores)], axis=-1)


def counts(rng: np.random.Generator, seeds: int, size: int) -> np.ndarray:
    gold = 1 + rng.poisson(3, size=size)
    hits = rng.binomial(gold, 0.6, size=(seeds, size))
    return np.stack(np.broadcast_arrays(hits, hits + rng.poisson(1, size=size), hits, gold), axis=-1).astype(float)


@pytest.mark.parametrize("level", [0.90, 0.95])
@pytest.mark.parametrize("seeds", [1, 3])
def test_without_seed_variation_it_is_the_percentile_bootstrap_of_scipy(level: float, seeds: int) -> None:
    rng = np.random.default_rng(0)
    one, other = rng.gamma(2, 0.1, size=80), rng.gamma(2, 0.1, size=80)
    made = difference(MEAN, means(np.tile(one, (seeds, 1))), means(np.tile(other, (seeds, 1))), root(0), 20_000)
    expected = stats.bootstrap(
        (one, other),
        lambda x, y, axis: x.mean(axis) - y.mean(axis),
        paired=True,
        method="percentile",
        confidence_level=level,
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    )
    # A percentile at 2.5 % of 20,000 draws has a standard error of about 0.019 standard deviations; five of them.
    error = 0.1 * float(expected.standard_error)
    assert made.estimate == pytest.approx(one.mean() - other.mean(), abs=1e-12)
    assert interval(made, level) == pytest.approx(tuple(expected.confidence_interval), abs=error)
    assert math.sqrt(made.unit_variance) == pytest.approx(float(expected.standard_error), rel=0.03)
    assert made.seed_variance == (None if seeds == 1 else pytest.approx(0.0, abs=1e-20))


def test_f1_replicates_are_scores_of_drawn_units() -> None:
    rng = np.random.default_rng(0)
    side = counts(rng, 2, 30)
    (weights,) = unit_weights(root(3), 30, 50)
    found = replicate(F1, side, weights)
    assert found.shape == (50, 2)
    for draw in range(50):
        drawn = np.repeat(np.arange(30), weights[draw].astype(int))
        for seed in range(2):
            assert found[draw, seed] == pytest.approx(float(units.value(F1, side[seed, drawn].sum(0))), abs=1e-12)


@given(st.integers(1, 40), st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_weights_sum_to_the_number_of_units(count: int, draws: int) -> None:
    made = np.concatenate(list(unit_weights(root(1), count, draws)))
    assert made.shape == (draws, count)
    assert (made.sum(1) == count).all()
    assert (made == made.round()).all()
    assert made.min() >= 0


def test_weights_are_multinomial_and_come_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    made = np.concatenate(list(unit_weights(root(1), 10, 20_000)))
    assert made.mean(0) == pytest.approx(np.ones(10), abs=0.04)
    assert np.cov(made.T) == pytest.approx(np.eye(10) - 0.1, abs=0.06)
    monkeypatch.setattr("mtlfn.analysis.statistics.bootstrap.CHUNK", 1000)
    parts = list(unit_weights(root(1), 10, 250))
    assert [len(part) for part in parts] == [100, 100, 50]
    assert not np.array_equal(parts[0], parts[1])  # every part draws from a key of its own


def test_it_is_a_function_of_its_key_and_leaves_what_it_was_given() -> None:
    rng = np.random.default_rng(0)
    sides = counts(rng, 3, 40), counts(rng, 3, 40)
    before = [side.tobytes() for side in sides]
    state = np.random.get_state()[1].tobytes()
    one, again, other = (difference(F1, *sides, key, 500).replicates for key in (root(0), root(0), root(1)))
    assert one.tobytes() == again.tobytes() != other.tobytes()
    assert [side.tobytes() for side in sides] == before
    assert np.random.get_state()[1].tobytes() == state


def test_both_comparisons_of_a_task_meet_the_same_units() -> None:
    rng = np.random.default_rng(0)
    multi, control = counts(rng, 1, 40), counts(rng, 1, 40)
    forth = difference(F1, multi, control, root(0), 300).replicates
    back = difference(F1, control, multi, root(0), 300).replicates
    assert forth == pytest.approx(-back, abs=1e-12)


def test_one_seed_gives_the_units_part_alone() -> None:
    rng = np.random.default_rng(0)
    found = difference(F1, counts(rng, 1, 40), counts(rng, 1, 40), root(0), 500)
    assert (found.seeds, found.seed_variance) == (1, None)
    assert found.units == 40


@pytest.mark.parametrize(("seeds", "factor"), [(3, 15.8), (5, 8.65), (10, 5.65)])
def test_without_unit_variation_it_is_the_t_statistic_of_skewed_seeds(seeds: int, factor: float) -> None:
    # Every unit the same: all there is are the seeds. The factors are 97.5 % quantiles of 400,000 t statistics of
    # left-skewed lognormal seeds, simulated with numpy alone; their standard error is about 1 %.
    rng = np.random.default_rng(2)
    scores = np.repeat(rng.normal(0, 0.01, size=(seeds, 1)), 20, axis=1)
    found = difference(MEAN, means(scores), means(np.zeros_like(scores)), root(0), 20_000)
    half = factor * scores[:, 0].std(ddof=1) / math.sqrt(seeds)
    assert found.unit_variance == pytest.approx(0.0, abs=1e-20)
    assert found.seed_variance == pytest.approx(scores[:, 0].var(ddof=1))
    assert interval(found, 0.95) == pytest.approx((found.estimate - half, found.estimate + half), abs=0.04 * half)


def left_skewed(rng: np.random.Generator, seeds: int) -> np.ndarray:
    """Of mean 0 and sd 1: lognormal with log-sd 1, mirrored."""
    return (math.exp(0.5) - np.exp(rng.standard_normal(seeds))) / math.sqrt((math.e - 1) * math.e)


SEEDS = {
    "left-skewed": left_skewed,
    "right-skewed": lambda rng, seeds: -left_skewed(rng, seeds),
    "t3": lambda rng, seeds: rng.standard_t(3, seeds) / math.sqrt(3),
    "normal": lambda rng, seeds: rng.standard_normal(seeds),
}


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("ratio", [0.3, 5.0])
@pytest.mark.parametrize("kind", SEEDS)
def test_a_test_on_the_border_keeps_its_level_whatever_the_seeds_are(seeds: int, ratio: float, kind: str) -> None:
    rng = np.random.default_rng(0)
    draws, studies, above, below = 400, 1200, 0, 0
    unit = stats.norm.ppf((np.arange(draws) + 0.5) / draws)
    for i in range(studies):
        observed = rng.normal() + ratio * math.sqrt(seeds) * SEEDS[kind](rng, seeds)
        found = combine(observed, observed + unit[:, None], 1000, fold(root(0), i))
        above += p_above(found.replicates, 0.0) <= 0.05
        below += p_below(found.replicates, 0.0) <= 0.05
    allowed = 0.06 + 2 * math.sqrt(0.05 * 0.95 / studies)
    assert max(above, below) / studies <= allowed


def test_few_units_are_not_taken_as_known() -> None:
    # 17 normal units, no seeds' part: a percentile bootstrap errs in 6.6 % here, Student's t in 5.
    rng = np.random.default_rng(0)
    (weights,) = unit_weights(root(5), 17, 600)
    above, studies = 0, 3000
    for i in range(studies):
        score = rng.standard_normal((1, 17))
        found = combine(score.mean(1), replicate(MEAN, means(score), weights), 17, fold(root(0), i))
        above += p_above(found.replicates, 0.0) <= 0.05
    assert above / studies == pytest.approx(0.05, abs=0.009)


def test_no_replicate_lies_beyond_the_range_of_the_metric() -> None:
    # Two seeds that are far apart: t with one degree of freedom would go to -4.3 and 5.0.
    scores = np.repeat([[0.0], [0.7]], 20, axis=1)
    found = difference(MEAN, means(scores), means(np.zeros_like(scores)), root(0), 2000)
    assert interval(found, 0.95) == (-1.0, 1.0)
    assert found.estimate == pytest.approx(0.35)
    correlation = Task(name="similarity", kind="regression", level=2)
    x = np.random.default_rng(0).normal(size=30)
    alike, opposed = (np.stack([np.ones(30), x, y, x * x, y * y, x * y], axis=-1) for y in (x, -x))
    wide = difference(correlation, np.stack([alike, opposed]), np.stack([opposed, opposed]), root(0), 2000).replicates
    assert (wide.min(), wide.max()) == (-2.0, 2.0)


def test_parts_of_the_variance() -> None:
    # 300 seeds and units, so that the parts are known well: unit 0.5², seed 0.2², seed on unit 1.
    rng = np.random.default_rng(0)
    count, seeds = 300, 300
    multi = (
        0.5 * rng.standard_normal(count) + 0.2 * rng.standard_normal((seeds, 1)) + rng.standard_normal((seeds, count))
    )
    found = difference(MEAN, means(multi), means(np.zeros_like(multi)), root(0), 1000)
    assert found.unit_variance == pytest.approx(0.25 / count, rel=0.25)
    assert found.seed_variance == pytest.approx(0.04 + 1 / count, rel=0.25)
    whole = 0.25 / count + (0.04 + 1 / count) / seeds
    assert float(found.replicates.var()) == pytest.approx(whole, rel=0.25)


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("ratio", [0.0, 0.5, 2.0, 8.0])
def test_coverage_with_normal_errors(seeds: int, ratio: float) -> None:
    # Replicates of units as normal as they can be, so that 1,500 studies take a second.
    rng = np.random.default_rng(0)
    draws, studies, held = 400, 1500, 0
    unit = stats.norm.ppf((np.arange(draws) + 0.5) / draws)
    for i in range(studies):
        common, noise = rng.normal(), ratio * math.sqrt(seeds) * rng.normal(size=seeds)
        observed = common + noise
        found = combine(observed, observed + unit[:, None], 100, fold(root(0), i))
        low, high = interval(found, 0.95)
        held += low <= 0 <= high
    # 93 %, less what 1,500 studies may miss (1.2 %); more where seeds are less skewed than they are allowed to be.
    assert held / studies >= 0.918
    if ratio == 0.0:
        assert held / studies <= 0.962


@pytest.mark.parametrize("shapes", [((2, 3, 2), (3, 3, 2)), ((0, 3, 2), (0, 3, 2)), ((3, 2), (3, 2))])
def test_sides_that_do_not_fit(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=r"expected two arrays \[seeds, units, columns\] of one shape"):
        difference(MEAN, *(np.ones(shape) for shape in shapes), root(0), 10)


def test_what_seeds_do_on_units_is_no_part_of_the_units() -> None:
    rng = np.random.default_rng(4)
    multi = rng.standard_normal((3, 2000))
    found = difference(MEAN, means(multi), means(np.zeros_like(multi)), root(0), 2000)
    # Three seeds that have nothing in common: the draws of units show 1/3 of a seed's variance, all of it the seeds'.
    assert found.unit_variance < 0.15 / 3 / 2000
    common = np.broadcast_to(multi[0], multi.shape)
    found = difference(MEAN, means(common), means(np.zeros_like(multi)), root(0), 2000)
    assert found.unit_variance == pytest.approx(1 / 2000, rel=0.15)


def test_seeds_that_tie_are_not_taken_for_seeds_that_cannot_differ() -> None:
    """Accuracy of two seeds on 20 units, truth on the border: the seeds' differences are often the same number."""
    rng = np.random.default_rng(0)
    (weights,) = unit_weights(root(3), 20, 400)
    studies, tied, above = 1500, 0, 0
    for i in range(studies):
        hits = (rng.random((2, 2, 20)) < np.array([0.96, 0.95])[:, None, None]).astype(float)
        observed = hits[0].mean(1) - hits[1].mean(1)
        replicated = replicate(MEAN, means(hits[0]), weights) - replicate(MEAN, means(hits[1]), weights)
        found = combine(observed, replicated, 20, fold(root(0), i))
        if observed[0] == observed[1] and (hits[0] - hits[1]).std(axis=0).any():
            tied += 1
            assert found.seed_variance == found.interaction > 0
        above += p_above(found.replicates, 0.01) <= 0.01
    assert tied > studies / 10
    assert above / studies <= 0.01 + 2 * math.sqrt(0.01 * 0.99 / studies)


def test_the_units_part_is_known_without_bias_from_few_units() -> None:
    rng = np.random.default_rng(0)
    (weights,) = unit_weights(root(5), 5, 400)
    variances = []
    for i in range(600):
        score = np.repeat(rng.standard_normal((1, 5)), 2, axis=0)
        variances.append(
            combine(score.mean(1), replicate(MEAN, means(score), weights), 5, fold(root(0), i)).unit_variance
        )
    assert np.mean(variances) == pytest.approx(1 / 5, rel=0.08)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_farthest_tail_of_seeds_goes_on_as_that_of_a_t_statistic(seeds: int) -> None:
    far, farther = skewed_t(seeds, np.array([1 - 1e-5, 1 - 1e-7]))
    assert farther / far == pytest.approx(100 ** (1 / (seeds - 1)), rel=1e-6)
    assert (farther / far) == pytest.approx(stats.t.isf(1e-7, seeds - 1) / stats.t.isf(1e-5, seeds - 1), rel=0.25)


def test_noise_of_seeds_follows_the_key() -> None:
    scores = np.repeat([[0.1], [0.3]], 5, axis=1)
    one, other = (
        difference(MEAN, means(scores), means(np.zeros_like(scores)), root(seed), 50).replicates for seed in (0, 1)
    )
    assert not np.array_equal(one, other)
