"""The files of predictions where what is scored is not what was predicted, word for word."""

from __future__ import annotations

import json
import math
from pathlib import Path

from mtlfn.data.official import OFFICIAL
from tests.data.semeval import relevancy, small
from tests.data.semeval.test_conformance import agree, corpora

__all__ = ["corpora"]


def test_spans_of_one_technique_that_share_characters_are_written_as_one(corpora: Path, tmp_path: Path) -> None:
    dataset = small.load("semeval2021_t6", corpora)
    first, *rest = dataset.test
    one, other, *_ = dataset.task.labels
    marks = [[one, [[0, 10]]], [one, [[5, 20]]], [one, [[20, 25]]], [other, [[5, 8]]]]
    predictions = [marks, *([] for _ in rest)]
    OFFICIAL["semeval2021_t6"].write(dataset, "test", tmp_path, predictions)
    (path,) = tmp_path.rglob("test_set_task2.txt")
    items = {item["id"]: item["labels"] for item in json.loads(path.read_text())}
    written = [(each["start"], each["end"], each["technique"]) for each in items[first.unit]]
    assert written == [(0, 20, one), (5, 8, other), (20, 25, one)]
    agree(dataset, predictions, tmp_path / "again")


def test_scores_that_are_no_numbers_are_written_as_they_are_ranked(corpora: Path, tmp_path: Path) -> None:
    dataset = small.load("semeval2017_t3", corpora)
    first, *rest = dataset.test
    values = [math.inf, math.nan, -math.inf, *([0.5] * (len(first.texts) - 3))]
    agree(dataset, [values, *([0.0] * len(e.texts) for e in rest)], tmp_path)
    lines = [line for line in relevancy.read(tmp_path / "test.subtaskA.pred") if line.query == first.id]
    assert [line.label for line in lines[:4]] == [True, False, False, True]
    assert all(math.isfinite(line.score) for line in lines)
