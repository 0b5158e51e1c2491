"""Slot accuracies against the table of the task, typed again, in exact fractions."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlfn.data.document import Mention
from mtlfn.data.scoring.slots import slots

TABLE = """
cui any 100
negation no 21 yes 79
subject patient 5 family_member 95 other 95 doner_other 95 donor_other 0
uncertainty no 7 yes 93
course unmarked 5 changed 95 increased 95 decreased 95 improved 95 worsened 95 resolved 95
severity unmarked 8 slight 95 moderate 95 severe 95
conditional false 6 true 94
generic false 5 true 95
bodyloc null 51 any 49
"""
PERCENT = {
    slot: dict(zip(rest[::2], (int(n) for n in rest[1::2]), strict=True))
    for slot, *rest in (line.split() for line in TABLE.strip().splitlines())
}
PLAIN = {
    "cui": "C1",
    "negation": "no",
    "subject": "patient",
    "uncertainty": "no",
    "course": "unmarked",
    "severity": "unmarked",
    "conditional": "false",
    "generic": "false",
}
CODES = ("C1", "C2", "CUI-less")

values = st.fixed_dictionaries(
    {slot: st.sampled_from(list(PERCENT[slot]) if slot != "cui" else CODES) for slot in PLAIN}
)
places = st.lists(st.sampled_from(("null", "C7", "c8")), max_size=2, unique=True)
filled = st.tuples(st.integers(0, 3), values, places)


def mention(at: int, slot_values: dict[str, str], locations: Sequence[str] = (), width: int = 4) -> Mention:
    attributes = (*slot_values.items(), ("bodyloc_cue", "0-3"), *(("bodyloc", place) for place in locations))
    return Mention(id=f"{at}", label="Disease_Disorder", pieces=((at, at + width),), attributes=attributes)


def plain(at: int, *locations: str, width: int = 4, **changed: str) -> Mention:
    return mention(at, PLAIN | changed, locations, width)


def share(part: Fraction | int, whole: int) -> Fraction:
    return Fraction(part) / whole if whole else Fraction(0)


@given(st.lists(filled, max_size=5), st.lists(filled, max_size=5))
@settings(max_examples=300, deadline=None)
def test_accuracies_are_sums_over_the_table(gold: list, predicted: list) -> None:
    # Disorders lie 20 apart, so that only equal positions match; doubles occur.
    def last(rows: list) -> dict[int, dict[str, set[str]]]:
        out: dict[int, dict[str, set[str]]] = {}
        for at, slot_values, locations in rows:
            before = out[at]["bodyloc"] if at in out else set()
            named = {place.upper() for place in locations or ["null"]}
            out[at] = {s: {v.upper()} for s, v in slot_values.items()} | {"bodyloc": before | named}
        return out

    want, have = last(gold), last(predicted)
    if not want:
        have = {}
    both = sorted(want.keys() & have.keys())
    right = {(at, s): bool(want[at][s] & have[at][s]) for at in both for s in PERCENT}
    weight = {}
    for at in both:
        for s, row in PERCENT.items():
            value = next(iter(want[at][s])).lower()
            if s in ("cui", "bodyloc"):
                value = "null" if s == "bodyloc" and want[at][s] == {"NULL"} else "any"
            weight[at, s] = row[value]
    accuracy = share(sum(right.values()), 9 * len(both))
    each = [
        share(sum(weight[at, s] for s in PERCENT if right[at, s]), sum(weight[at, s] for s in PERCENT)) for at in both
    ]
    weighted = share(sum(each, Fraction(0)), len(both))
    f1 = share(2 * len(both), len(want) + len(have))
    expected = {
        "span_precision": share(len(both), len(have)),
        "span_recall": share(len(both), len(want)),
        "span_f1": f1,
        "accuracy": accuracy,
        "weighted_accuracy": weighted,
        "f1_accuracy": f1 * accuracy,
        "f1_weighted_accuracy": f1 * weighted,
    }
    for s in PERCENT:
        total = sum(weight[at, s] for at in both)
        expected[f"weighted_accuracy:{s}"] = share(sum(weight[at, s] for at in both if right[at, s]), total)
    sides = [{"d": [mention(20 * at, v, p) for at, v, p in rows]} for rows in (gold, predicted)]
    scores = slots(*sides)
    assert scores == pytest.approx(expected)
    assert all(0 <= value <= 1 for value in scores.values())


@given(st.lists(filled, min_size=1, max_size=5))
def test_gold_is_perfect_where_it_has_weight(rows: list) -> None:
    gold = {"d": [mention(20 * at, v, p) for at, v, p in rows]}
    scores = slots(gold, gold)
    subject_weighs = any(m["subject"] != "donor_other" for m in {m.pieces: m for m in gold["d"]}.values())
    assert scores.pop("weighted_accuracy:subject") == float(subject_weighs)
    assert set(scores.values()) == {1.0}


def test_a_rare_value_missed_costs_more_than_a_usual_one() -> None:
    # All nine weights of the plain disorder: 1 + .21 + .05 + .07 + .05 + .08 + .06 + .05 + .51 = 2.08
    negated = slots({"d": [plain(0, negation="yes")]}, {"d": [plain(0)]})
    assert negated["accuracy"] == pytest.approx(8 / 9)
    assert negated["weighted_accuracy"] == pytest.approx(1.87 / (1.87 + 0.79))
    over_eager = slots({"d": [plain(0)]}, {"d": [plain(0, negation="yes")]})
    assert over_eager["weighted_accuracy"] == pytest.approx(1.87 / 2.08)
    assert (over_eager["weighted_accuracy:negation"], over_eager["weighted_accuracy:course"]) == (0.0, 1.0)


def test_donor_other_weighs_nothing_and_the_misspelling_weighs() -> None:
    for said, weight in (("donor_other", 0.0), ("doner_other", 0.95)):
        gold = {"d": [plain(0, subject=said)]}
        wrong, right = slots(gold, {"d": [plain(0)]}), slots(gold, gold)
        assert wrong["weighted_accuracy"] == pytest.approx(2.03 / (2.03 + weight))
        assert wrong["accuracy"] == pytest.approx(8 / 9)
        assert right["accuracy"] == right["weighted_accuracy"] == 1.0
        assert right["weighted_accuracy:subject"] == (1.0 if weight else 0.0)


def test_one_shared_body_location_is_right() -> None:
    two_lines = {"d": [plain(0, "C8"), plain(0, "C7")]}
    one_mention = {"d": [plain(0, "C7", "C8")]}
    for gold in (two_lines, one_mention):
        assert slots(gold, {"d": [plain(0, "c8", "C9")]})["accuracy"] == 1.0
        assert slots(gold, {"d": [plain(0, "C9")]})["accuracy"] == pytest.approx(8 / 9)
        missed = slots(gold, {"d": [plain(0)]})
        assert missed["weighted_accuracy"] == pytest.approx(1.57 / (1.57 + 0.49))
    assert slots({"d": [plain(0, "null")]}, {"d": [plain(0)]})["accuracy"] == 1.0
    both_kinds = {"d": [plain(0, "null"), plain(0, "C7")]}
    assert slots(both_kinds, {"d": [plain(0)]})["accuracy"] == 1.0


def test_what_a_mention_does_not_say_is_the_default() -> None:
    bare = {"d": [Mention(id="0", label="Disease_Disorder", pieces=((0, 4),), attributes=(("cui", "C1"),))]}
    assert slots(bare, {"d": [plain(0)]})["accuracy"] == 1.0
    assert slots({"d": [plain(0)]}, {"d": [plain(0, severity="null")]})["accuracy"] == pytest.approx(8 / 9)


def test_letter_case_is_nothing() -> None:
    said = {"cui": "CUI-less", "negation": "yes", "subject": "other", "course": "resolved", "severity": "slight"}
    shouted = {slot: value.upper() for slot, value in said.items()}
    scores = slots({"d": [plain(0, "C7", **shouted)]}, {"d": [plain(0, "c7", **said)]})
    assert set(scores.values()) == {1.0}
    assert slots({"d": [plain(0, **shouted)]}, {"d": [plain(0)]}) == slots({"d": [plain(0, **said)]}, {"d": [plain(0)]})


def test_documents_without_gold_are_not_looked_at() -> None:
    gold, predicted = {"d": [plain(0)], "e": []}, {"d": [plain(0)], "e": [plain(0)], "f": [plain(0)]}
    assert set(slots(gold, predicted).values()) == {1.0}


def test_disorders_match_by_overlap_whatever_their_code() -> None:
    gold = {"d": [plain(0, width=6), plain(20)]}
    scores = slots(gold, {"d": [plain(0, cui="C2", width=3), plain(5, negation="yes"), plain(40)], "e": [plain(0)]})
    assert (scores["span_precision"], scores["span_recall"]) == (pytest.approx(1 / 3), 0.5)
    assert scores["span_f1"] == pytest.approx(0.4)
    assert scores["weighted_accuracy:cui"] == 0.0  # 0-3 overlaps more than 5-9 does
    assert scores["weighted_accuracy:negation"] == 1.0
    assert scores["f1_accuracy"] == pytest.approx(0.4 * 8 / 9)


def test_nothing_matched_is_nothing_right() -> None:
    one = {"d": [plain(0)]}
    for gold, predicted in (({}, {}), ({}, one), (one, {}), ({"d": []}, one), (one, {"d": [plain(50)]})):
        scores = slots(gold, predicted)
        assert set(scores.values()) == {0.0}
        assert len(scores) == 7 + 9
