"""The nine cells and the row beside them, the families of tests, what is missing, ceiling and floor."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mtlfn.analysis.statistics.bootstrap import Difference
from mtlfn.analysis.statistics.planning import advise
from mtlfn.analysis.statistics.verdict import (
    CLAIMS,
    DILUTION,
    EXPOSURE,
    GENUINE,
    HELPS_LESS,
    INCONCLUSIVE,
    NEGATIVE,
    NO_EFFECT,
    NOT_LEARNT,
    OVER_TRAINED,
    OWN_SHARE,
    ROWS,
    Pair,
    decide,
    decide_families,
    signed,
)

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


# (controlled, plain) in margins -> the cell; written once more, from the design's table.
TABLE = {
    (+2, -2): OVER_TRAINED, (+2, 0): OVER_TRAINED, (+2, +2): GENUINE,
    (0, -2): OWN_SHARE, (0, 0): NO_EFFECT, (0, +2): EXPOSURE,
    (-2, -2): NEGATIVE, (-2, 0): DILUTION, (-2, +2): HELPS_LESS,
}  # fmt: skip
ROW = {+2: GENUINE, 0: EXPOSURE, -2: NEGATIVE}


@pytest.mark.parametrize(("place", "said"), TABLE.items())
def test_every_cell_has_its_name_and_its_row(place: tuple[int, int], said: str) -> None:
    made = decide({"task": Pair(*(found(MARGIN * each) for each in place))}, MARGIN, 0.05)["task"]
    assert (made.verdict, made.row) == (said, ROW[place[0]])
    assert [claim for claim in CLAIMS if made.holm[claim] <= 0.05] == [said]
    assert made.why


@pytest.mark.parametrize(
    ("controlled", "plain", "row"),
    [
        (1, 2, INCONCLUSIVE),
        (-1, 0, INCONCLUSIVE),
        (0, 1, EXPOSURE),
        (0, None, EXPOSURE),
        (2, None, GENUINE),
        (-2, None, NEGATIVE),
        (-2, 1, NEGATIVE),
        (2, 1, GENUINE),
        (None, 2, INCONCLUSIVE),
        (None, None, INCONCLUSIVE),
    ],
)
def test_a_border_or_a_missing_side_leaves_the_row(controlled: float | None, plain: float | None, row: str) -> None:
    pair = Pair(*(None if each is None else found(MARGIN * each) for each in (controlled, plain)))
    made = decide({"task": pair}, MARGIN, 0.05)["task"]
    assert (made.verdict, made.row) == (INCONCLUSIVE, row)
    assert made.why


def test_a_claim_needs_both_of_its_parts() -> None:
    # Better than the control and worse than plain S1: it was called genuine transfer where only one was tested.
    made = decide({"task": Pair(found(0.06), found(-0.06))}, MARGIN, 0.05)["task"]
    assert made.verdict == OVER_TRAINED
    assert made.p[GENUINE] == 1.0
    made = decide({"task": Pair(found(-0.06), found(0.15))}, MARGIN, 0.05)["task"]
    assert (made.verdict, made.row) == (HELPS_LESS, NEGATIVE)
    # Each p-value is the larger of two, recomputed from the replicates.
    controlled, plain = found(0.05, 0.02), found(0.05, 0.05)
    made = decide({"task": Pair(controlled, plain)}, MARGIN, 0.05)["task"]
    beyond = [((side.replicates <= MARGIN).sum() + 1) / 20_001 for side in (controlled, plain)]
    assert made.p[GENUINE] == pytest.approx(max(beyond))
    assert made.row_p[GENUINE] == pytest.approx(beyond[0])
    assert beyond[0] < beyond[1]


def test_what_shows_a_cell_shows_its_row() -> None:
    rng = np.random.default_rng(0)
    rows = {claim: ROW[c] for (c, _), claim in TABLE.items()}
    for _ in range(60):
        pairs = {
            str(i): Pair(*(found(rng.normal(0, 0.04), rng.uniform(0.001, 0.02)) for _ in range(2))) for i in range(3)
        }
        for made in decide(pairs, MARGIN, 0.05).values():
            if made.verdict != INCONCLUSIVE:
                assert made.row == rows[made.verdict]


def test_why_names_the_intervals() -> None:
    why = decide({"task": Pair(found(0.05), found(0.06))}, MARGIN, 0.05)["task"].why
    assert "+0.0500 (90% interval +0.0434 to +0.0566): above 0.02" in why
    why = decide({"task": Pair(found(0.0), found(0.0))}, MARGIN, 0.05)["task"].why
    assert "(90% interval -0.0066 to +0.0066): within ±0.02" in why


def test_the_interval_that_is_told_does_not_hold_what_was_excluded() -> None:
    """A one-sided test at 5 % looks at the interval of 90 %."""
    rng = np.random.default_rng(2)
    told = 0
    for _ in range(200):
        made = decide({"task": Pair(*(found(rng.normal(0.03, 0.01), 0.005) for _ in range(2)))}, MARGIN, 0.05)["task"]
        for low, high, place in re.findall(r"interval ([^ ]+) to ([^)]+)\): ((?:above|below) [^;]+)", made.why):
            border = float(place.split()[1])
            assert float(low) >= border if place.startswith("above") else float(high) <= border
            told += 1
    assert told > 50


@pytest.mark.parametrize(("value", "said"), [(0.00004, "0.0000"), (-0.00004, "0.0000"), (-0.02, "-0.0200")])
def test_what_rounds_to_nothing_has_no_sign(value: float, said: str) -> None:
    assert signed(value) == said


def test_one_seed_or_one_unit_decides_nothing() -> None:
    for pair in (Pair(found(0.5, seeds=1), found(0.5, seeds=1)), Pair(found(0.0), found(0.5, seeds=1))):
        made = decide({"task": pair}, MARGIN, 0.05)["task"]
        assert made.verdict == INCONCLUSIVE
        assert made.p[EXPOSURE] is made.holm[EXPOSURE] is None
        assert "over units alone" in made.why
    single = Difference((0.5, 0.5), 1, np.full(1000, 0.5), 0.0, 0.0)
    assert decide({"task": Pair(single, single)}, MARGIN, 0.05)["task"].row == INCONCLUSIVE


def test_tasks_share_the_level() -> None:
    # p of about 0.02 each: one such task is decided, and so is it beside clear ones, but not beside another like it.
    error = 0.01 / stats.norm.isf(0.02)
    doubtful, clear = Pair(found(0.03, error), found(0.3)), Pair(found(0.3), found(0.3))
    assert decide({"a": doubtful}, MARGIN, 0.05)["a"].verdict == GENUINE
    assert decide({"a": doubtful, "b": clear}, MARGIN, 0.05)["a"].verdict == GENUINE
    three = decide({"a": doubtful, "b": doubtful, "c": doubtful}, MARGIN, 0.05)
    assert {(made.verdict, made.row) for made in three.values()} == {(INCONCLUSIVE, INCONCLUSIVE)}
    assert three["a"].p[GENUINE] == three["a"].row_p[GENUINE] == pytest.approx(0.02, abs=1e-3)
    assert three["a"].holm[GENUINE] == three["a"].row_holm[GENUINE] == pytest.approx(0.06, abs=3e-3)


def test_strategies_that_are_judged_together_are_one_family() -> None:
    error = 0.01 / stats.norm.isf(0.02)
    doubtful = Pair(found(0.03, error), found(0.3))
    made = decide_families({"s2": {"a": doubtful}, "s3b": {"a": doubtful, "b": doubtful}}, MARGIN, 0.05)
    assert {task: said.verdict for task, said in made["s2"].items()} == {"a": INCONCLUSIVE}
    assert list(made["s3b"]) == ["a", "b"]
    assert made["s2"]["a"].holm[GENUINE] == pytest.approx(0.06, abs=3e-3)


def test_a_missing_task_stays_in_the_family() -> None:
    error = 0.01 / stats.norm.isf(0.02)
    one = found(0.5, seeds=1)
    made = decide({"a": Pair(found(0.03, error), found(0.3)), "b": Pair(None, None), "c": Pair(one, one)}, MARGIN, 0.05)
    assert made["a"].verdict == INCONCLUSIVE
    assert made["a"].holm[GENUINE] == pytest.approx(0.06, abs=3e-3)
    assert made["b"].p == made["b"].holm == dict.fromkeys(CLAIMS)
    assert made["b"].row_p == dict.fromkeys(ROWS)


def test_each_claim_is_a_family_of_its_own() -> None:
    pairs = {"a": Pair(found(0.05), found(0.05)), "b": Pair(found(-0.05), found(-0.05))}
    made = decide(pairs, MARGIN, 0.05)
    smallest = 1 / 20_001
    assert made["a"].holm[GENUINE] == made["b"].holm[NEGATIVE] == pytest.approx(2 * smallest)
    assert made["a"].p[NEGATIVE] == 1.0


@pytest.mark.parametrize(("c", "p"), list(itertools.product((-1, 1), (-1, 0, 1))))
def test_on_a_border_a_false_cell_is_rare(c: int, p: int) -> None:
    # Truth on the border of controlled, plain on a border or in the middle; both errors normal, sharing one side.
    rng = np.random.default_rng(0)
    error, studies, wrong = 0.004, 2000, 0
    normal = stats.norm.ppf((np.arange(400) + 0.5) / 400)
    for shared, one, other in rng.standard_normal((studies, 3)) * error / np.sqrt(2):
        truth = [MARGIN * c + shared + one, MARGIN * p + shared + other]
        sides = [Difference((each,) * 3, 100, each + error * normal, error**2, 0.0) for each in truth]
        said = decide({"task": Pair(*sides)}, MARGIN, 0.05)["task"].verdict
        # A border belongs to "within"; where plain is on one too, so does it.
        wrong += said not in (INCONCLUSIVE, NO_EFFECT)
    assert wrong / studies <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / studies)


def test_models_that_learnt_nothing_are_not_said_to_be_equivalent() -> None:
    nothing = Difference((0.0, 0.0, 0.0), 100, np.zeros(1000), 0.0, 0.0)
    for pair in (Pair(nothing, nothing), Pair(found(0.0), nothing)):
        made = decide({"task": pair}, MARGIN, 0.05)["task"]
        assert made.verdict == INCONCLUSIVE
        assert made.p[NO_EFFECT] is None
    assert decide({"task": Pair(found(0.05), nothing)}, MARGIN, 0.05)["task"].row == GENUINE


def alike(units: int) -> Pair:
    nothing = Difference((0.0, 0.0, 0.0), units, np.zeros(1000), 0.0, 0.0)
    return Pair(nothing, nothing, "ceiling")


@given(st.floats(0.005, 0.2), st.integers(2, 400))
def test_units_that_agree_show_equivalence_no_more_often_than_they_would_by_chance(margin: float, units: int) -> None:
    """Accuracies that differ by the margin: with a probability of (1 - m)^U no unit says so, which must not be shown
    more often than the level."""
    p = decide({"task": alike(units)}, margin, 0.05)["task"].p[NO_EFFECT]
    assert p is not None
    assert p >= stats.binom.pmf(0, units, margin) - 1e-12
    assert p == pytest.approx(max(stats.binom.pmf(0, units, margin), 1 / 1001))


def test_equal_sides_are_at_the_ceiling_or_not_learnt() -> None:
    nothing = Difference((0.0, 0.0, 0.0), 200, np.zeros(1000), 0.0, 0.0)
    few = alike(100)
    made = decide({"task": few}, MARGIN, 0.05)["task"]
    assert (made.verdict, made.row) == (INCONCLUSIVE, INCONCLUSIVE)
    assert "alike on each of 100 units, which are too few" in advise(few, MARGIN, 0.05).text
    made = decide({"task": Pair(nothing, nothing, "ceiling")}, MARGIN, 0.05)["task"]
    assert (made.verdict, made.qualifier, made.row) == (NO_EFFECT, "ceiling", EXPOSURE)
    for pair in (Pair(nothing, nothing, "floor"), Pair(found(0.0), found(0.0), "floor")):
        made = decide({"task": pair}, MARGIN, 0.05)["task"]
        assert (made.verdict, made.row) == (NOT_LEARNT, INCONCLUSIVE)
        assert made.p == dict.fromkeys(CLAIMS)
    made = decide({"task": Pair(found(0.0), found(0.05), "ceiling")}, MARGIN, 0.05)["task"]
    assert (made.verdict, made.qualifier) == (EXPOSURE, "")
