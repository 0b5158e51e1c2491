"""The order of the verdicts, the families of tests, what is missing, and how many seeds it would take."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from mtlfn.analysis import verdict
from mtlfn.analysis.bootstrap import Difference
from mtlfn.analysis.verdict import CLAIMS, EXPOSURE, GENUINE, INCONCLUSIVE, NEGATIVE, NO_EFFECT, Pair, decide

MARGIN = 0.02
NORMAL = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)


def found(
    estimate: float, error: float = 0.004, *, seeds: int = 3, unit: float | None = None, seed: float = 0.0
) -> Difference:
    """A difference with a normal error; ``unit``, ``seed``: its variances, by default all of it from units."""
    return Difference(
        (estimate,) * seeds,
        100,
        estimate + error * NORMAL,
        error**2 if unit is None else unit,
        None if seeds == 1 else seed,
    )


@pytest.mark.parametrize(
    ("controlled", "plain", "said"),
    [
        (-0.05, 0.05, NEGATIVE),
        (-0.05, None, NEGATIVE),
        (0.05, 0.05, GENUINE),
        (0.05, -0.05, GENUINE),
        (0.05, None, GENUINE),
        (0.0, 0.05, EXPOSURE),
        (0.005, 0.05, EXPOSURE),
        (0.0, 0.0, NO_EFFECT),
        (-0.005, 0.005, NO_EFFECT),
        (0.02, 0.05, INCONCLUSIVE),
        (-0.02, 0.0, INCONCLUSIVE),
        (0.0, 0.02, INCONCLUSIVE),
        (0.0, -0.05, INCONCLUSIVE),
        (0.0, None, INCONCLUSIVE),
        (None, 0.05, INCONCLUSIVE),
        (None, None, INCONCLUSIVE),
    ],
)
def test_what_is_said(controlled: float | None, plain: float | None, said: str) -> None:
    pair = Pair(*(None if each is None else found(each) for each in (controlled, plain)))
    made = decide({"task": pair}, MARGIN, 0.05)["task"]
    assert made.verdict == said
    assert made.why
    assert (made.advice == "") == (said != INCONCLUSIVE)
    if said in CLAIMS:
        assert made.holm[said] is not None
        assert made.holm[said] <= 0.05


def test_why_names_the_intervals() -> None:
    why = decide({"task": Pair(found(0.05), found(0.06))}, MARGIN, 0.05)["task"].why
    assert "+0.0500 (95% interval +0.0422 to +0.0578)" in why
    why = decide({"task": Pair(found(0.0), found(0.0))}, MARGIN, 0.05)["task"].why
    assert "(90% interval -0.0066 to +0.0066)" in why


def test_one_seed_decides_nothing() -> None:
    for pair in (Pair(found(0.5, seeds=1), found(0.5, seeds=1)), Pair(found(0.0), found(0.5, seeds=1))):
        made = decide({"task": pair}, MARGIN, 0.05)["task"]
        assert made.verdict == INCONCLUSIVE
        assert made.p[EXPOSURE] is made.holm[EXPOSURE] is None
        assert "at least 2 seeds" in made.advice
        assert "over units alone" in made.why


def test_tasks_share_the_level() -> None:
    # p of about 0.02 each: one such task is decided, and so is it beside clear ones, but not beside another like it.
    error = 0.01 / stats.norm.isf(0.02)
    doubtful, clear = Pair(found(0.03, error), None), Pair(found(0.3), None)
    assert decide({"a": doubtful}, MARGIN, 0.05)["a"].verdict == GENUINE
    assert decide({"a": doubtful, "b": clear}, MARGIN, 0.05)["a"].verdict == GENUINE
    three = decide({"a": doubtful, "b": doubtful, "c": doubtful}, MARGIN, 0.05)
    assert {made.verdict for made in three.values()} == {INCONCLUSIVE}
    assert three["a"].p[GENUINE] == pytest.approx(0.02, abs=1e-3)
    assert three["a"].holm[GENUINE] == pytest.approx(0.06, abs=3e-3)


def test_a_missing_task_stays_in_the_family() -> None:
    error = 0.01 / stats.norm.isf(0.02)
    pairs = {"a": Pair(found(0.03, error), None), "b": Pair(None, None), "c": Pair(found(0.5, seeds=1), None)}
    made = decide(pairs, MARGIN, 0.05)
    assert made["a"].verdict == INCONCLUSIVE
    assert made["a"].holm[GENUINE] == pytest.approx(0.06, abs=3e-3)
    assert made["b"].p == made["b"].holm == dict.fromkeys(CLAIMS)


def test_each_claim_is_a_family_of_its_own() -> None:
    made = decide({"a": Pair(found(0.05), found(0.05)), "b": Pair(found(-0.05), found(0.0))}, MARGIN, 0.05)
    smallest = 1 / 20_001
    assert made["a"].holm[GENUINE] == made["b"].holm[NEGATIVE] == pytest.approx(2 * smallest)
    assert made["a"].p[NEGATIVE] == 1.0


def power(found: Difference, distance: float, seeds: int, alpha: float) -> float:
    """Of a test of so many seeds, by t with Satterthwaite's degrees of freedom."""
    of_mean = (found.seed_variance or 0.0) / seeds
    whole = found.unit_variance + of_mean
    freedom = (seeds - 1) * (whole / of_mean) ** 2
    return float(stats.t.cdf(distance / math.sqrt(whole) - stats.t.isf(alpha, freedom), freedom))


@pytest.mark.parametrize(
    ("controlled", "plain", "distances"),
    [
        (0.03, 0.0, (0.01, None)),
        (-0.03, 0.0, (0.01, None)),
        (0.005, 0.05, (0.015, 0.03)),
        (-0.005, 0.032, (0.015, 0.012)),
        (0.0, 0.008, (0.02, 0.012)),
        (0.0, -0.008, (0.02, 0.012)),
    ],
)
def test_seeds_needed(controlled: float, plain: float, distances: tuple[float, float | None]) -> None:
    pair = Pair(*(found(each, 0.05, unit=1e-6, seed=0.02**2) for each in (controlled, plain)))
    number, advice = verdict.seeds_needed(pair, MARGIN, 0.05)
    assert number is not None
    assert advice == f"about {number} seeds"

    def least(seeds: int) -> float:
        asked = zip((pair.controlled, pair.plain), distances, strict=True)
        return min(power(side, d, seeds, 0.05) for side, d in asked if d is not None)

    assert least(number) > 0.8 >= least(number - 1)
    assert verdict.seeds_needed(pair, MARGIN, 0.01)[0] > number


def test_seeds_are_counted_in_all_and_more_than_there_are() -> None:
    pair = Pair(found(0.3, 1.0, seeds=4, unit=1e-6, seed=1e-6), None)
    assert verdict.seeds_needed(pair, MARGIN, 0.05) == (5, "about 5 seeds")


@pytest.mark.parametrize(
    ("pair", "advice"),
    [
        (Pair(None, found(0.0)), "run the token-controlled S1"),
        (Pair(found(0.0), None), "run the plain S1"),
        (Pair(found(0.0), found(-0.1)), "none of the claims"),
        (Pair(found(0.03, unit=0.01, seed=1e-4), None), "more test units are needed"),
        (Pair(found(0.03, unit=1e-8, seed=100.0), None), "more test units are needed"),
        (Pair(found(0.0, seeds=1), found(0.0)), "at least 2 seeds"),
    ],
)
def test_where_seeds_would_not_help(pair: Pair, advice: str) -> None:
    number, said = verdict.seeds_needed(pair, MARGIN, 0.05)
    assert number is None
    assert advice in said


def test_more_tasks_need_more_seeds() -> None:
    pair = Pair(found(0.03, 0.05, unit=1e-6, seed=0.02**2), None)
    alone, beside = (decide(dict.fromkeys(names, pair), MARGIN, 0.05)["a"].seeds_needed for names in ("a", "abc"))
    assert (alone, beside) == tuple(verdict.seeds_needed(pair, MARGIN, level)[0] for level in (0.05, 0.05 / 3))
    assert alone < beside


def test_models_that_learnt_nothing_are_not_said_to_be_equivalent() -> None:
    nothing = Difference((0.0, 0.0, 0.0), 100, np.zeros(1000), 0.0, 0.0)
    for pair in (Pair(nothing, nothing), Pair(found(0.0), nothing)):
        made = decide({"task": pair}, MARGIN, 0.05)["task"]
        assert made.verdict == INCONCLUSIVE
        assert made.p[NO_EFFECT] is None
        assert "train on more tokens" in made.advice
    assert decide({"task": Pair(found(0.05), nothing)}, MARGIN, 0.05)["task"].verdict == GENUINE
