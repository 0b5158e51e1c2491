"""What a decision would take: as many seeds as it then takes, and what stands in the way."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from mtlfn.analysis.statistics import planning
from mtlfn.analysis.statistics.bootstrap import Difference, combine
from mtlfn.analysis.statistics.equivalence import p_above
from mtlfn.analysis.statistics.verdict import Pair
from mtlfn.core.keys import fold, root
from tests.analysis.test_verdict import MARGIN, found


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (Pair(None, found(0.0)), "run the token-controlled S1"),
        (Pair(found(0.0), None), "run the plain S1"),
        (Pair(found(0.0, seeds=1), found(0.0)), "at least 2 seeds"),
        (Pair(found(0.0), found(0.0), "floor"), "train on more tokens"),
        (Pair(found(0.03, unit=0.01, seed=1e-8), found(0.03, unit=0.01, seed=1e-8)), "more of them are needed"),
    ],
)
def test_where_seeds_would_not_help(pair: Pair, said: str) -> None:
    made = planning.advise(pair, MARGIN, 0.05)
    assert (made.seeds, made.high) == (None, None)
    assert said in made.text


def test_models_that_are_alike_need_more_tokens() -> None:
    nothing = Difference((0.0, 0.0, 0.0), 100, np.zeros(1000), 0.0, 0.0)
    assert "train on more tokens" in planning.advise(Pair(nothing, nothing), MARGIN, 0.05).text


def test_advice_is_a_number_and_a_range_and_grows_with_the_tasks() -> None:
    pair = Pair(*(found(0.06, unit=1e-6, seed=0.01**2) for _ in range(2)))
    alone, beside = (planning.advise(pair, MARGIN, level) for level in (0.1, 0.05))
    assert alone.seeds is not None
    assert beside.seeds is not None
    assert alone.low <= alone.seeds < beside.seeds
    assert alone.high is None or alone.seeds <= alone.high
    assert f"about {alone.seeds} seeds (80 % assurance; 10 to 90 %: {alone.low} to " in alone.text


def test_it_cannot_tell_where_some_of_what_is_open_would_be_decided() -> None:
    made = planning.advise(Pair(*(found(0.021, unit=1e-6, seed=0.02**2) for _ in range(2))), MARGIN, 0.05)
    assert made.seeds is None
    assert made.text.startswith("cannot tell how many seeds: 60 decide in ")


def study(rng: np.random.Generator, truth: float, unit_error: float, sd: float, seeds: int, i: int) -> Difference:
    """A difference with normal errors; ``unit_error``: what the test units added."""
    observed = truth + unit_error + sd * rng.standard_normal(seeds)
    units = 0.004 * np.random.default_rng(7).standard_normal(800)
    return combine(observed, observed + units[:, None], 10_000, fold(root(1), i))


def test_the_power_is_what_simulated_studies_have() -> None:
    rng = np.random.default_rng(0)
    sd, seeds, studies = 0.01, 5, 400
    effect = planning.smallest_effect(0.004**2, sd**2, seeds, MARGIN, 0.05)
    shown = 0
    for i in range(studies):
        made = study(rng, effect, 0.004 * rng.standard_normal(), sd, seeds, i)
        shown += p_above(made.replicates, MARGIN) <= 0.05
    assert shown / studies == pytest.approx(0.8, abs=0.06)
    assert planning.seeds_for(effect * 1.001, 0.004**2, sd**2, MARGIN, 0.05) == seeds


def test_no_number_of_seeds_shows_what_is_within_the_margin() -> None:
    assert planning.seeds_for(MARGIN, 1e-8, 1e-8, MARGIN, 0.05) is None
    assert planning.seeds_for(0.05, 1.0, 1e-8, MARGIN, 0.05) is None


def test_a_plan_says_what_helps_more() -> None:
    by_seeds = planning.plan(1e-6, 0.02**2, 3, MARGIN, 0.05, freedom=2)
    by_units = planning.plan(0.02**2, 1e-6, 3, MARGIN, 0.05)
    assert (by_seeds["helps_more"], by_units["helps_more"]) == ("seeds", "units")
    assert by_seeds["range"][0] < by_seeds["smallest_effect"] < by_seeds["range"][1]
    assert by_units["range"] == []
    assert by_seeds["seeds_for"].keys() == {"0.01", "0.02", "0.05"}
    (line,) = planning.plan_lines({"answers": by_units}, MARGIN)
    assert line.startswith("answers: 3 seeds show a difference of ")
    assert "0.02 is not above the margin" in line
    assert "no power is known" in planning.plan_lines({"answers": None}, MARGIN)[0]


@pytest.mark.parametrize(
    ("sd", "furthest", "said"),
    [
        (0.5, 1.0, "2 seeds show no difference that scores can have with a power"),
        (0.03, 1.0, "2 seeds show a difference of 0.706 (0.436 to more than scores can differ by) with a power"),
        (0.06, 2.0, "2 seeds show a difference of 1.392 (0.852 to more than scores can differ by) with a power"),
    ],
)
def test_no_difference_is_told_that_scores_cannot_have(sd: float, furthest: float, said: str) -> None:
    made = planning.plan(1e-6, sd**2, 2, MARGIN, 0.05, 1, furthest=furthest)
    (line,) = planning.plan_lines({"answers": made}, MARGIN)
    assert line.startswith(f"answers: {said}")
    assert all(float(number) <= furthest for number in re.findall(r"\d+\.\d{3}", line))


def test_more_units_lessen_what_seeds_do_on_them() -> None:
    """All of the seeds' variance is of the units: with twice as many it is a half."""
    made = planning.plan(1e-8, 0.02**2, 3, MARGIN, 0.05, interaction=0.02**2)
    assert made["twice_the_units"] == planning.smallest_effect(0.5e-8, 0.02**2 / 2, 3, MARGIN, 0.05)
    assert made["twice_the_units"] < made["smallest_effect"] - 0.01


def test_differences_of_a_task_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """They share a side: where one is large by chance the other mostly is, and both are shown at once more often."""
    pair = Pair(*(found(0.05, unit=1e-6, seed=0.02**2) for _ in range(2)))

    def shown() -> float:
        return float(np.mean([planning._decided(pair, MARGIN, 0.05, 10, np.random.default_rng(i)) for i in range(8)]))

    together = shown()
    monkeypatch.setattr(planning, "CORRELATION", 0.0)
    assert together > shown() + 0.01


def test_what_is_judged_together_has_the_lowest_level_of_all() -> None:
    level = planning.shared(lambda seeds: 0.05 * seeds, 2, (0.01, 0.2))
    assert level(1) == 0.01 / 2
    assert planning.shared(lambda seeds: 0.05 * seeds, 2, (0.2,))(1) == 0.05 / 2


def test_a_pilot_of_one_seed_gives_no_plan() -> None:
    assert planning.plan_of(Pair(found(0.0, seeds=1), None), 3, MARGIN, 0.05) is None
    made = planning.plan_of(
        Pair(found(0.0, unit=1e-6, seed=0.01**2), found(0.0, unit=4e-6, seed=1e-8)), 3, MARGIN, 0.05
    )
    assert made["unit_sd"] == pytest.approx(0.002)
    assert made["seed_sd"] == pytest.approx(0.01)
    assert math.isfinite(made["smallest_effect"])
