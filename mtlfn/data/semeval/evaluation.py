"""Scores of official tasks: the primary metric is that of the summed unit statistics, the organisers' rules give the
others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mtlfn.data import metrics
from mtlfn.data.example import DataError, Example
from mtlfn.data.official import OFFICIAL, Gold, Official
from mtlfn.data.statistic import Row
from mtlfn.data.task import Dataset, kind_of


def score(
    dataset: Dataset, split: str, examples: Sequence[Example], predictions: Sequence[Any], *, whole: bool
) -> dict[str, float]:
    """Metric name -> value of predictions; ``whole``: over all of the split, else over the units of the examples.

    Raises:
        DataError: nothing to score, or predictions that the organisers' rules cannot read.
    """
    official = OFFICIAL[dataset.task.official]
    units = {e.unit for e in examples}
    gold = [each for each in dataset.gold[split] if whole or official.unit(each) in units]
    if not gold:
        raise DataError(f"task {dataset.task.name}: the {split} split is empty; scores need at least one unit")
    scores = official.scores(dataset, gold, examples, predictions)
    total = np.array(_total(official, dataset, gold, examples, predictions), dtype=np.float64)
    return {**scores, official.metric: float(official.statistic.value(total))}


def baselines(dataset: Dataset) -> dict[str, float]:
    """Name -> primary metric of trivial predictions on dev, as ``metrics.baselines`` says; of any data set."""
    task, train, examples = dataset.task, dataset.train, dataset.dev
    if not task.official:
        return metrics.baselines(task, train, examples)
    guesses = kind_of(task).guesses(task, train, examples)
    return {name: score(dataset, "dev", examples, g, whole=True)[task.metric] for name, g in guesses.items()}


def _total(
    official: Official, dataset: Dataset, gold: Gold, examples: Sequence[Example], predictions: Sequence[Any]
) -> Row:
    """The statistics of all units at once."""
    if official.total is not None:
        return official.total(dataset, gold, examples, predictions)
    rows = [row for _, row in official.rows(dataset, gold, examples, predictions)]
    nothing = [0.0] * official.statistic.width(len(dataset.task.labels))
    return [sum(column) for column in zip(*rows, strict=True)] or nothing
