"""Ranking with grades: nDCG against an independent oracle, pairs of unequal grades, and a run on a table."""

from __future__ import annotations

import datasets
import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from mtlfn.data.example import DataError, Example
from mtlfn.data.kinds import graded
from mtlfn.data.tables import reading
from mtlfn.data.tables.mapping import Columns, Mapping, Splits
from mtlfn.data.task import Task, label_counts, problems
from mtlfn.models.heads import HEADS

TASK = Task(name="answers", kind="graded", level=2)
MAPPING = Mapping(
    source="mine",
    kind="graded",
    level=2,
    columns=Columns(query="q", candidates="c", relevance="r"),
    splits=Splits(dev="dev"),
)


def query(*grades: int) -> Example:
    texts = tuple(("q", f"answer {i}") for i in range(len(grades)))
    return Example(id="1", unit="1", texts=texts, labels=tuple(map(str, grades)))


@given(st.lists(st.integers(0, 4), min_size=2, max_size=25), st.integers(0, 2**16))
def test_ndcg_is_that_of_scikit_learn(grades, seed):
    scores = np.random.default_rng(seed).permutation(len(grades)).astype(float)  # no ties: it averages over them
    expected = ndcg_score([[2**grade - 1 for grade in grades]], [scores], k=10)
    assert graded.ndcg(grades, scores.tolist()) == pytest.approx(expected, abs=1e-12)


def test_ties_keep_the_order_of_the_list_and_nothing_to_find_is_zero():
    assert graded.ndcg([2, 0], [0.0, 0.0]) == 1.0
    assert graded.ndcg([0, 2], [0.0, 0.0]) < 1.0
    assert graded.ndcg([0, 0], [1.0, 2.0]) == 0.0


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_training_pairs_have_a_better_and_a_worse_candidate(grades):
    pairs = graded.training([query(*grades)])
    assert all(int(p.labels[0]) > int(p.labels[1]) for p in pairs)
    assert {p.texts[0] for p in pairs} == {
        text for text, grade in zip(query(*grades).texts, grades, strict=True) if grade > min(grades)
    }


def test_a_grade_that_is_none_is_refused():
    assert problems(TASK, query(0, 2)) is None
    odd = Example(id="1", unit="1", texts=(("q", "a"),), labels=("-1",))
    assert problems(TASK, odd) == "has the grade '-1', expected a whole number from 0 to 32"
    assert "expected a whole number" in (problems(TASK, evolve(odd, labels=("9" * 5000,))) or "")
    for value in (-1, 1.5, "2", True, float("nan"), float("inf"), 33, 10**400):
        with pytest.raises(DataError, match="expected a whole number from 0 to 32"):
            graded.example({"query": "q", "candidates": ["a"], "relevance": [value]}, (), "1", "1")


def test_it_is_a_kind_like_any_other(tmp_path):
    """Read from a table, and everything that asks for a kind or a head finds it."""
    rows = {"q": ["what", "why"], "c": [["a", "b", "c"]] * 2, "r": [[0, 2, 1], [0, 0, 3]]}
    tables = {split: datasets.Dataset.from_dict(rows) for split in ("train", "dev", "test")}
    datasets.DatasetDict(tables).save_to_disk(str(tmp_path / "mine"))
    found = reading.read("answers", MAPPING, tmp_path)
    assert found.task == TASK
    assert found.task.metric == "ndcg"
    assert found.task.classes == ("score",)
    assert [e.labels for e in found.train] == [("0", "2", "1"), ("0", "0", "3")]
    assert label_counts(found.task, found.train) == {}
    assert set(HEADS["graded"].init(found.task, 4, "00")) == {"out.weight"}
