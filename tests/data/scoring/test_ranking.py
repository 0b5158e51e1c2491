"""Ranking scores against the definitions in exact fractions, scikit-learn, and the sample runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlfn.data.example import DataError
from mtlfn.data.scoring.ranking import Ranked, ranking

candidate = st.tuples(st.booleans(), st.sampled_from((0.0, 0.5, 1.0, -2.0, -math.inf, math.nan)), st.booleans())
questions = st.lists(st.lists(candidate, max_size=14), max_size=5)


def columns(rows: Sequence[Sequence[tuple[bool, float, bool]]]) -> list[Ranked]:
    return [([w for w, _, _ in row], [s for _, s, _ in row], [d for _, _, d in row]) for row in rows]


def asked(*relevant: Sequence[int]) -> list[Ranked]:
    """Questions whose candidates are in ranked order."""
    return [([bool(r) for r in row], [float(-i) for i in range(len(row))], [False] * len(row)) for row in relevant]


def mean(values: Sequence[Fraction]) -> Fraction:
    return sum(values, Fraction(0)) / len(values) if values else Fraction(0)


def share(part: int, whole: int) -> Fraction:
    return Fraction(part, whole) if whole else Fraction(0)


def defined(rows: Sequence[Sequence[tuple[bool, float, bool]]]) -> dict[str, Fraction]:
    """By selection: the best that is left, the earliest of equals, goes next."""
    precisions, reciprocals, lists = [], [], []
    for row in rows:
        left, ranked = list(row), []
        while left:
            best = max(left, key=lambda c: -math.inf if math.isnan(c[1]) else c[1])
            ranked.append(left.pop(next(i for i, c in enumerate(left) if c is best)))
        hits = [rank for rank in range(1, min(10, len(ranked)) + 1) if ranked[rank - 1][0]]
        precisions.append(mean([Fraction(sum(h <= rank for h in hits), rank) for rank in hits]))
        reciprocals.append(Fraction(1, min(hits)) if hits else Fraction(0))
        lists.append((hits, sum(c[0] for c in row)))
    recalls = [
        share(sum(h <= k for hits, _ in lists for h in hits), sum(min(k, total) for _, total in lists))
        for k in range(1, 11)
    ]
    flat = [c for row in rows for c in row]
    hits, found, total = (
        sum(test(c) for c in flat) for test in (lambda c: c[0] and c[2], lambda c: c[2], lambda c: c[0])
    )
    return {
        "map": mean(precisions),
        "mrr": mean(reciprocals),
        "avg_rec": mean(recalls),
        "accuracy": share(sum(c[0] == c[2] for c in flat), len(flat)),
        "precision": share(hits, found),
        "recall": share(hits, total),
        "f1": share(2 * hits, found + total),
    }


@given(questions)
@settings(max_examples=300, deadline=None)
def test_scores_are_the_definitions(rows: list[list[tuple[bool, float, bool]]]) -> None:
    scores = ranking(columns(rows))
    assert scores == pytest.approx(defined(rows))
    assert all(0 <= value <= 1 for value in scores.values())


@given(st.lists(st.booleans(), min_size=1, max_size=10).filter(any), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_of_ten_candidates_the_average_precision_is_that_of_scikit_learn(relevant: list[bool], random) -> None:
    from sklearn.metrics import average_precision_score

    scores = [float(i) for i in range(len(relevant))]
    random.shuffle(scores)
    found = ranking([(relevant, scores, relevant)])
    assert found["map"] == pytest.approx(average_precision_score(relevant, scores))


@given(st.lists(st.lists(candidate, min_size=1, max_size=6), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_decisions_score_as_in_scikit_learn(rows: list[list[tuple[bool, float, bool]]]) -> None:
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    wanted, decided = [[bool(c[i]) for row in rows for c in row] for i in (0, 2)]
    precision, recall, f1, _ = precision_recall_fscore_support(wanted, decided, average="binary", zero_division=0)
    scores = ranking(columns(rows))
    assert scores["accuracy"] == pytest.approx(accuracy_score(wanted, decided))
    assert (scores["precision"], scores["recall"], scores["f1"]) == pytest.approx((precision, recall, f1))


def test_only_relevant_candidates_of_the_top_ten_divide() -> None:
    deep = [1, 0, 1, *[0] * 7, 1, 1, 1]
    assert ranking(asked(deep))["map"] == pytest.approx((1 + 2 / 3) / 2)
    # Five are relevant: k = 1..10 may find 1, 2, 3, 4, 5, 5 ... and finds 1, 1, 2, 2 ...
    assert ranking(asked(deep))["avg_rec"] == pytest.approx((1 + 1 / 2 + 2 / 3 + 2 / 4 + 6 * 2 / 5) / 10)
    late = ranking(asked([*[0] * 10, 1]))
    assert (late["map"], late["mrr"], late["avg_rec"]) == (0.0, 0.0, 0.0)


def test_a_question_without_relevant_candidates_stays_in_the_mean_but_not_in_avg_rec() -> None:
    scores = ranking(asked([0, 1], [0, 0]))
    assert (scores["map"], scores["mrr"], scores["avg_rec"]) == (0.25, 0.25, pytest.approx(0.9))


def test_equal_scores_keep_the_order_and_nan_is_last() -> None:
    relevant, nobody = [False, True, False], [False] * 3
    assert ranking([(relevant, [1.0, 1.0, 1.0], nobody)])["mrr"] == 0.5
    assert ranking([(relevant, [math.nan, 0.0, -math.inf], nobody)])["mrr"] == 1.0
    assert ranking([(relevant, [0.0, math.nan, -1e308], nobody)])["mrr"] == pytest.approx(1 / 3)
    assert ranking([(relevant, [math.nan, math.inf, math.inf], nobody)])["mrr"] == 1.0


def test_nothing_relevant_and_nothing_at_all_score_nothing() -> None:
    for rows in (asked([0, 0], [0]), asked([]), []):
        scores = ranking(rows)
        assert scores.pop("accuracy") == (1.0 if rows and rows[0][0] else 0.0)
        assert set(scores.values()) == {0.0}


@pytest.mark.parametrize("lengths", [(2, 1, 2), (2, 2, 1), (1, 2, 2)])
def test_lengths_that_differ_are_named(lengths: tuple[int, int, int]) -> None:
    wanted, scored, decided = lengths
    message = f"question 1: {wanted} relevances, {scored} scores, {decided} decisions, expected one each"
    with pytest.raises(DataError, match=message):
        ranking([([True], [0.0], [True]), ([True] * wanted, [0.0] * scored, [True] * decided)])


@pytest.mark.parametrize("subtask", "ABC")
def test_sample_runs_score_as_defined(subtask: str, samples: Path) -> None:
    (gold,) = (samples / "semeval2017_t3").rglob(f"*.subtask{subtask}.relevancy")
    rows: dict[str, list[tuple[bool, float, bool]]] = {}
    lines = [path.read_text("utf-8").splitlines() for path in (gold, gold.with_suffix(".pred"))]
    for left, right in zip(*lines, strict=True):
        question, answer, _, _, relevant = left.split("\t")
        assert right.split("\t")[:2] == [question, answer]
        _, _, _, score, decided = right.split("\t")
        rows.setdefault(question, []).append((relevant == "true", float(score), decided == "true"))
    scores = ranking(columns(list(rows.values())))
    assert scores == pytest.approx(defined(list(rows.values())))
    assert 0 < scores["map"] <= 1
