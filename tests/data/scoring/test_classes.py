"""Label scores against exact fractions and scikit-learn, correlations against numpy, scipy and their invariances."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlfn.data.example import DataError
from mtlfn.data.scoring.classes import correlations, labels_f1

LABELS = ("Doubt", "Name calling/Labeling", "Reductio ad hitlerum", "Slogans")

some = st.lists(st.sampled_from(LABELS), max_size=4)
whole = st.integers(-4, 4).map(float)


@given(st.lists(st.tuples(some, some), min_size=1, max_size=6), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_label_scores_are_counts(corpus: list, known: int) -> None:
    labels = LABELS[:known]
    corpus = [tuple([label for label in side if label in labels] for side in pair) for pair in corpus]

    def f1(*names: str) -> Fraction:
        gold = {(i, name) for i, (g, _) in enumerate(corpus) for name in g if name in names}
        found = {(i, name) for i, (_, p) in enumerate(corpus) for name in p if name in names}
        return Fraction(2 * len(gold & found), len(gold) + len(found)) if gold or found else Fraction(1)

    sides = [{f"m{i}": pair[side] for i, pair in enumerate(corpus)} for side in (0, 1)]
    macro = sum(map(f1, labels), Fraction(0)) / known
    assert labels_f1(*sides, labels) == pytest.approx({"micro_f1": f1(*labels), "macro_f1": macro})


@given(st.lists(st.tuples(some, some), min_size=1, max_size=6))
@settings(max_examples=80, deadline=None)
def test_label_scores_are_those_of_scikit_learn(corpus: list[tuple[list[str], list[str]]]) -> None:
    from sklearn.metrics import f1_score

    gold, predicted = (np.array([[name in pair[side] for name in LABELS] for pair in corpus]) for side in (0, 1))
    expected = {f"{a}_f1": f1_score(gold, predicted, average=a, zero_division=1) for a in ("micro", "macro")}
    sides = [{f"m{i}": pair[side] for i, pair in enumerate(corpus)} for side in (0, 1)]
    assert labels_f1(*sides, LABELS) == pytest.approx(expected, rel=0, abs=1e-12)


def test_a_label_that_nobody_names_is_right() -> None:
    nothing = {"a": [], "b": []}
    assert labels_f1(nothing, nothing, LABELS) == {"micro_f1": 1.0, "macro_f1": 1.0}
    assert labels_f1({"a": ["Doubt"]}, {"a": []}, LABELS) == {"micro_f1": 0.0, "macro_f1": 0.75}
    assert labels_f1({"a": []}, {"a": ["Doubt"]}, LABELS) == {"micro_f1": 0.0, "macro_f1": 0.75}
    assert labels_f1({"a": ["Doubt"]}, {"a": ["Doubt"]}, LABELS[:1]) == {"micro_f1": 1.0, "macro_f1": 1.0}


@pytest.mark.parametrize(
    ("gold", "predicted", "labels", "message"),
    [
        ({}, {}, LABELS, "0 documents and 4 labels, expected at least one of both"),
        ({"a": []}, {"a": []}, (), "1 documents and 0 labels, expected at least one of both"),
        ({"a": []}, {}, LABELS, "document 'a' is in the gold only, expected the same documents in both"),
        ({"a": []}, {"a": [], "b": []}, LABELS, "document 'b' is in the predictions only"),
        ({"a": []}, {"a": ["doubt"]}, LABELS, "document 'a' has the label 'doubt', expected one of Doubt, "),
        ({"a": ["Fear"]}, {"a": []}, LABELS, "document 'a' has the label 'Fear', expected one of Doubt, "),
    ],
)
def test_what_does_not_fit_is_named(gold: dict, predicted: dict, labels: tuple, message: str) -> None:
    with pytest.raises(DataError, match=message):
        labels_f1(gold, predicted, labels)


@given(st.lists(st.tuples(whole, whole), min_size=2, max_size=9))
@settings(max_examples=150, deadline=None)
def test_correlations_are_the_definitions(pairs: list[tuple[float, float]]) -> None:
    def pearson(one: list[Fraction], other: list[Fraction]) -> float:
        left = [v - sum(one) / len(one) for v in one]
        right = [v - sum(other) / len(other) for v in other]
        spread = sum(v * v for v in left) * sum(v * v for v in right)
        return sum(a * b for a, b in zip(left, right, strict=True)) / math.sqrt(spread) if spread else 0.0

    def ranks(values: list[Fraction]) -> list[Fraction]:
        return [Fraction(sum(o < v for o in values) * 2 + values.count(v) + 1, 2) for v in values]

    gold, predicted = ([Fraction(int(pair[i])) for pair in pairs] for i in (0, 1))
    scores = correlations([g for g, _ in pairs], [p for _, p in pairs])
    assert scores["pearson"] == pytest.approx(pearson(gold, predicted), abs=1e-9)
    assert scores["spearman"] == pytest.approx(pearson(ranks(gold), ranks(predicted)), abs=1e-9)


@given(
    st.lists(st.tuples(whole, whole), min_size=3, max_size=9).filter(
        lambda rows: all(len(set(c)) > 1 for c in zip(*rows, strict=True))
    )
)
@settings(max_examples=60, deadline=None)
def test_correlations_are_those_of_numpy_and_scipy(pairs: list[tuple[float, float]]) -> None:
    from scipy.stats import spearmanr

    gold, predicted = zip(*pairs, strict=True)
    scores = correlations(gold, predicted)
    assert scores["pearson"] == pytest.approx(np.corrcoef(gold, predicted)[0, 1], abs=1e-9)
    assert scores["spearman"] == pytest.approx(spearmanr(gold, predicted).statistic, abs=1e-9)


@given(st.lists(st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 2), max_size=6))
@settings(max_examples=200, deadline=None)
def test_any_finite_values_correlate_without_a_warning(pairs: list[tuple[float, float]]) -> None:
    scores = correlations([g for g, _ in pairs], [p for _, p in pairs])
    assert all(-1 <= value <= 1 for value in scores.values())


def test_a_constant_correlates_with_nothing() -> None:
    nothing = {"pearson": 0.0, "spearman": 0.0}
    assert correlations([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) == nothing
    assert correlations([1.0, 2.0, 3.0], [0.0, 0.0, 0.0]) == nothing
    assert correlations([], []) == correlations([1.0], [2.0]) == nothing
    assert correlations([1.0, 2.0], [5.0, 9.0]) == pytest.approx({"pearson": 1.0, "spearman": 1.0})
    assert correlations([1.0, 2.0, 9.0], [5.0, 1.0, -1.0])["spearman"] == pytest.approx(-1.0)


def test_values_that_hardly_differ_give_no_warning() -> None:
    scores = correlations([1.0, 1.0, 1.0 + 2**-52], [1.0, 2.0, 3.0])
    assert -1 <= scores["pearson"] <= 1
    assert scores["spearman"] == pytest.approx(math.sqrt(3) / 2)


def test_values_that_cannot_be_compared_are_named() -> None:
    with pytest.raises(DataError, match="2 predictions for 1 gold values, expected one each"):
        correlations([1.0], [1.0, 2.0])
    with pytest.raises(DataError, match="predicted value 1 is nan, expected a finite number"):
        correlations([1.0, 2.0], [1.0, math.nan])
    with pytest.raises(DataError, match="gold value 0 is inf, expected a finite number"):
        correlations([math.inf, 2.0], [1.0, 1.0])
