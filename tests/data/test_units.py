"""The metric of the summed statistics is the score of the predictions, for every kind."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlfn.data import metrics, units
from mtlfn.data.example import DataError, Example
from mtlfn.data.kinds import KINDS as KINDS_OF_TASK
from mtlfn.data.task import Dataset, Task
from tests.data.semeval.test_official import TEXT
from tests.data.test_metrics import repaired

Rng = np.random.Generator
WORDS = [(0, 5), (6, 10), (12, 14), (15, 20), (22, 25), (26, 30), (31, 37)]
KINDS = {
    "tagging": Task(name="t", kind="tagging", level=1, labels=("X", "Y")),
    "spans": Task(name="t", kind="spans", level=1, labels=("X", "Y")),
    "relation": Task(name="t", kind="relation", level=2, labels=("none", "a", "b"), negative="none"),
    "ranking": Task(name="t", kind="ranking", level=2),
    "graded": Task(name="t", kind="graded", level=2),
    "classification": Task(name="t", kind="classification", level=2, labels=("a", "b", "c", "d")),
    "multilabel": Task(name="t", kind="multilabel", level=2, labels=("a", "b", "c")),
    "regression": Task(name="t", kind="regression", level=2),
}


def drawn(rng: Rng, low: int, high: int) -> int:
    return int(rng.integers(low, high))


def pieces(rng: Rng) -> tuple[tuple[int, int], ...]:
    return tuple(WORDS[i] for i in sorted(rng.choice(len(WORDS), size=drawn(rng, 1, 3), replace=False)))


def example(task: Task, rng: Rng, number: int, unit: str) -> Example:
    made = Example(id=str(number), unit=unit, texts=((TEXT, None),))
    if task.kind == "tagging":
        tags = repaired([task.classes[drawn(rng, 0, 5)] for _ in WORDS])
        return evolve(made, words=tuple(WORDS), tags=tuple(tags))
    if task.kind == "spans":
        held = tuple((task.labels[drawn(rng, 0, 2)], pieces(rng)) for _ in range(drawn(rng, 0, 4)))
        return evolve(made, words=tuple(WORDS), mentions=held)
    if task.kind == "ranking":
        labels = tuple("relevant" if rng.random() < 0.3 else "irrelevant" for _ in range(drawn(rng, 1, 15)))
        return evolve(made, texts=tuple(("q", str(i)) for i in range(len(labels))), labels=labels)
    if task.kind == "graded":
        labels = tuple(str(drawn(rng, 0, 4)) for _ in range(drawn(rng, 1, 15)))
        return evolve(made, texts=tuple(("q", str(i)) for i in range(len(labels))), labels=labels)
    if task.kind == "regression":
        return evolve(made, value=float(rng.integers(0, 6)))
    count = drawn(rng, 0, 3) if task.kind == "multilabel" else 1
    return evolve(made, labels=tuple(sorted(rng.choice(task.labels, size=count, replace=False).tolist())))


def prediction(task: Task, rng: Rng, e: Example) -> Any:
    right = rng.random() < 0.4
    if task.kind == "tagging":
        return list(e.tags) if right else [task.classes[drawn(rng, 0, 5)] for _ in e.words]
    if task.kind == "spans":
        made = [[label, [list(p) for p in at]] for label, at in e.mentions]
        for _ in range(drawn(rng, 0, 3)):
            made.append([task.labels[drawn(rng, 0, len(task.labels))], [list(p) for p in pieces(rng)]])
        return [m for m in made if right or rng.random() < 0.6]
    if task.kind in ("ranking", "graded"):
        return [(math.nan, 0.0, 1.0, float(rng.normal()))[drawn(rng, 0, 4)] for _ in e.texts]
    if task.kind == "regression":
        return float(rng.normal()) + (e.value or 0.0)
    if task.kind == "multilabel":
        return list(e.labels) if right else rng.choice(task.labels, size=drawn(rng, 0, 4)).tolist()
    return e.labels[0] if right else task.labels[drawn(rng, 0, len(task.labels))]


def ordinary(task: Task, rng: Rng) -> Dataset:
    names = [f"u{drawn(rng, 0, 5)}" for _ in range(drawn(rng, 1, 12))]
    return Dataset(task=task, train=(), test=tuple(example(task, rng, i, unit) for i, unit in enumerate(names)))


def score(dataset: Dataset, predictions: Sequence[Any]) -> float:
    return metrics.score(dataset.task, dataset.test, predictions)[dataset.task.metric]


def weighted(dataset: Dataset, predictions: Sequence[Any], weights: dict[str, int]) -> tuple[Dataset, list[Any]]:
    """Every unit as often as its weight says, each time under a name of its own."""
    test, kept = [], []
    for unit, name in [(unit, f"{unit}_copy{i}") for unit, n in weights.items() for i in range(n)]:
        for e, p in zip(dataset.test, predictions, strict=True):
            if e.unit == unit:
                test.append(evolve(e, unit=name, id=f"{name}{e.id}"))
                kept.append(p)
    return evolve(dataset, test=tuple(test)), kept


def agrees(dataset: Dataset, rng: Rng) -> None:
    task = dataset.task
    predictions = [prediction(task, rng, e) for e in dataset.test]
    found = units.statistics(dataset, "test", predictions)
    assert len(found.units) == len(found.values) == len(found.gold)
    assert units.value(task, found.values.sum(0)) == pytest.approx(score(dataset, predictions), abs=1e-12)
    weights = rng.integers(0, 3, size=len(found.units))
    repeated, kept = weighted(dataset, predictions, dict(zip(found.units, weights.tolist(), strict=True)))
    if repeated.test:
        assert units.value(task, weights @ found.values) == pytest.approx(score(repeated, kept), abs=1e-12)
        again = units.statistics(repeated, "test", kept)
        assert units.value(task, again.values.sum(0)) == pytest.approx(score(repeated, kept), abs=1e-12)


def test_every_kind_is_here() -> None:
    assert KINDS.keys() == KINDS_OF_TASK.keys()


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_the_metric_of_the_sums_is_the_score(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    agrees(ordinary(KINDS[kind], rng), rng)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_mentions_of_a_unit_count_by_text_and_those_of_windows_of_a_text_once(seed: int) -> None:
    """Against each text scored by itself: its windows' mentions together, and nothing of another text."""
    rng, task = np.random.default_rng(seed), KINDS["spans"]
    test, said, hits, predicted, gold = [], [], 0, 0, 0
    for number in range(drawn(rng, 1, 8)):
        held: set[Any] = set()
        found: set[Any] = set()
        for window in range(drawn(rng, 1, 3)):
            e = example(task, rng, number, f"u{drawn(rng, 0, 3)}" if window == 0 else test[-1].unit)
            test.append(evolve(e, id=f"some@{number}@{window}"))
            said.append(prediction(task, rng, e))
            held |= set(e.mentions)
            found |= {(label, tuple(map(tuple, at))) for label, at in said[-1]}
        hits, predicted, gold = hits + len(held & found), predicted + len(found), gold + len(held)
    found_by = units.statistics(Dataset(task=task, train=(), test=tuple(test)), "test", said)
    assert found_by.values.sum(0).tolist() == [hits, predicted, hits, gold]
    scores = metrics.score(task, tuple(test), said)
    assert scores["span_precision"] == (hits / predicted if predicted else 0.0)
    assert scores["span_recall"] == (hits / gold if gold else 0.0)


def test_a_prediction_that_is_no_number_makes_all_of_them_nothing() -> None:
    made = tuple(Example(id=str(i), unit=str(i), texts=(("a", "b"),), value=float(i)) for i in range(4))
    dataset = Dataset(task=KINDS["regression"], train=(), test=made)
    for bad in (math.nan, math.inf):
        found = units.statistics(dataset, "test", [0.0, 1.0, bad, 3.0])
        assert units.value(dataset.task, found.values.sum(0)) == score(dataset, [0.0, 1.0, bad, 3.0]) == 0.0


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1e-200), (1e9, 1.0), (0.0, 1e200), (-5.0, 0.1)])
def test_moments_of_large_and_of_close_values(shift: float, scale: float) -> None:
    rng = np.random.default_rng(1)
    gold = rng.normal(size=50)
    made = tuple(Example(id=str(i), unit=str(i), texts=(("a", "b"),), value=float(v)) for i, v in enumerate(gold))
    dataset = Dataset(task=KINDS["regression"], train=(), test=made)
    predictions = ((gold + rng.normal(size=50)) * scale + shift).tolist()
    found = units.statistics(dataset, "test", predictions)
    assert units.value(dataset.task, found.values.sum(0)) == pytest.approx(score(dataset, predictions), abs=1e-9)
    constant = units.statistics(dataset, "test", [scale] * 50)
    assert units.value(dataset.task, constant.values.sum(0)) == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_values_of_many_sums_at_once(kind: str) -> None:
    rng = np.random.default_rng(3)
    dataset = ordinary(KINDS[kind], rng)
    found = units.statistics(dataset, "test", [prediction(dataset.task, rng, e) for e in dataset.test])
    sums = rng.integers(0, 3, size=(4, 5, len(found.units))) @ found.values
    together = units.value(dataset.task, sums)
    assert together.shape == (4, 5)
    for at in np.ndindex(4, 5):
        assert together[at] == units.value(dataset.task, sums[at])


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_gives_back_what_was_written(kind: str) -> None:
    rng = np.random.default_rng(5)
    dataset = ordinary(KINDS[kind], rng)
    found = units.statistics(dataset, "test", [prediction(dataset.task, rng, e) for e in dataset.test])
    task, again = units.from_json(units.to_json(dataset.task, found), "x.json")
    assert (again.units, again.gold) == (found.units, found.gold)
    assert again.values.dtype == np.float64
    assert again.values.tobytes() == found.values.tobytes()
    assert units.value(task, again.values.sum(0)) == units.value(dataset.task, found.values.sum(0))


def _without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.pop(key)


def _with(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.update(changes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_without("schema"), "not a file of unit statistics"),
        (_with(schema=9), "has schema 9, expected 1"),
        (_without("values"), "is damaged"),
        (_with(values=[[1.0, "x"]]), "is damaged"),
        (_with(values=[[1.0, 1.0, 1.0, 1.0]]), "has values of shape"),
        (_with(values=[[math.nan, 1.0], [1.0, 1.0]]), r"has values of shape \(2, 2\), expected \(2, 2\), finite"),
        (_with(metric="accuracy"), "was made for the metric 'accuracy', expected 'map'"),
        (_with(kind="sorting"), "has a task of kind 'sorting'"),
        (_with(official="semeval1999"), "scorer 'semeval1999'"),
        (_with(units=["a", "a"]), "has 1 different units of 2"),
        (_with(gold=["a"]), "1 gold hashes"),
    ],
)
def test_files_that_cannot_be_used(change: Callable[[dict[str, Any]], None], said: str) -> None:
    found = units.UnitStatistics(("a", "b"), np.ones((2, 2)), gold=("1", "2"))
    document = json.loads(units.to_json(KINDS["ranking"], found))
    units.from_json(json.dumps(document), "x.json")
    change(document)
    with pytest.raises(DataError, match=rf"^x\.json: .*{said}"):
        units.from_json(json.dumps(document), "x.json")
    with pytest.raises(DataError, match=r"^x\.json: not a file"):
        units.from_json("[", "x.json")


def test_gold_hashes_tell_what_differs() -> None:
    dataset = ordinary(KINDS["classification"], np.random.default_rng(0))
    guess = ["a"] * len(dataset.test)
    found = units.statistics(dataset, "test", guess)
    first, *rest = dataset.test
    other = evolve(dataset, test=(evolve(first, labels=("d" if first.labels != ("d",) else "a",)), *rest))
    changed = units.statistics(other, "test", guess)
    at = found.units.index(first.unit)
    assert [i for i, (a, b) in enumerate(zip(found.gold, changed.gold, strict=True)) if a != b] == [at]
    assert units.statistics(dataset, "test", ["b"] * len(guess)).gold == found.gold


def test_predictions_that_do_not_fit() -> None:
    dataset = ordinary(KINDS["classification"], np.random.default_rng(0))
    with pytest.raises(DataError, match="0 predictions for"):
        units.statistics(dataset, "test", [])
    with pytest.raises(DataError, match="the prediction holds 'z'"):
        units.statistics(dataset, "test", ["z"] * len(dataset.test))


def test_one_unit_many_times_has_no_correlation() -> None:
    rng = np.random.default_rng(2)
    made = tuple(Example(id=str(i), unit=str(i), texts=(("a", "b"),), value=float(rng.normal())) for i in range(20))
    dataset = Dataset(task=KINDS["regression"], train=(), test=made)
    found = units.statistics(dataset, "test", rng.normal(size=20).tolist())
    for count in range(1, 8):
        assert not units.value(dataset.task, count * found.values).any()


# What no predictions give


@pytest.mark.parametrize(
    ("task", "row", "why"),
    [
        (Task(name="t", kind="tagging", level=1, labels=("A",)), [-1.0, 2.0, 1.0, 2.0], "a count below zero"),
        (Task(name="t", kind="tagging", level=1, labels=("A",)), [3.0, 2.0, 2.0, 3.0], "3 hits of 2 predictions"),
        (Task(name="t", kind="multilabel", level=2, labels=("A",)), [1.0, 2.0, 3.0, 2.0], "3 found of 2 gold"),
        (Task(name="t", kind="ranking", level=2), [1.5, 1.0], "a sum of precisions of 1.5 over 1 queries"),
        (
            Task(name="t", kind="classification", level=2, labels=("A", "B")),
            [1, 1, 1, 2, 3, 1],
            "2 hits of 1 gold labels",
        ),
        (
            Task(name="t", kind="classification", level=2, labels=("A", "B")),
            [1, 0, 1, 0, 0, 0],
            "1 hits of 0 predictions",
        ),
        (Task(name="t", kind="regression", level=2), [1, 2, 0, 1, 0, 0], "sums that no numbers have"),
        (Task(name="t", kind="regression", level=2), [2, 0, 0, 1, 1, 3], "sums that no numbers have"),
        (Task(name="t", kind="regression", level=2), [0, 0, 0, 0, 0, 0], "counts or squares below zero"),
    ],
)
def test_statistics_that_cannot_be_are_refused_with_file_and_unit(task, row, why):
    whole = [1.0, 0.5, 0.5, 0.25, 0.25, 0.25] if task.kind == "regression" else [0.0] * len(row)
    found = units.UnitStatistics(("one", "two"), np.array([whole, row], dtype=float), gold=("a", "b"))
    with pytest.raises(DataError, match=f"^here: unit 'two' has {why}: no predictions give that"):
        units.from_json(units.to_json(task, found), "here")
    units.from_json(units.to_json(task, units.UnitStatistics(("one",), np.array([whole]), gold=("a",))), "here")
