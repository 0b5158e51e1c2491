"""Scores are functions of gold and predictions alone; beside them stand trivial baselines of the primary metric.

What does it take to get a score without looking at the text? How each kind is scored, its module in ``kinds`` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mtlfn.data.example import DataError, Example
from mtlfn.data.task import Task, kind_of


def score(task: Task, examples: Sequence[Example], predictions: Sequence[Any]) -> dict[str, float]:
    """Metric name -> value in [0, 1] (regression: in [-1, 1]); ``task.metric`` is among them. What is 0/0 is 0.

    Args:
        predictions: one an example. tagging: one IOB2 tag a word; spans: a list of [label, [[start, end], ...]] in
            characters of the unit's text; relation, classification: a class; multilabel: a list of labels; ranking:
            one number a candidate, higher is better, NaN lowest; regression: a number.

    Raises:
        DataError: no examples, or predictions that do not fit them.
    """
    check_predictions(task, examples, predictions)
    return kind_of(task).score(task, examples, predictions)


def check_predictions(task: Task, examples: Sequence[Example], predictions: Sequence[Any]) -> None:
    """DataError where ``score`` could not read them: no examples, or predictions that do not fit them."""
    if not examples or len(examples) != len(predictions):
        raise DataError(
            f"task {task.name}: {len(predictions)} predictions for {len(examples)} examples, "
            "expected one each and at least one"
        )
    kind = kind_of(task)
    for example, prediction in zip(examples, predictions, strict=True):
        if problem := kind.prediction_problem(task, example, prediction):
            raise DataError(f"task {task.name}, example {example.id!r}: the prediction {problem}")


def baselines(task: Task, train: Sequence[Example], examples: Sequence[Example]) -> dict[str, float]:
    """Name -> primary metric of predictions that ignore the text, learnt from ``train``, scored on ``examples``.

    Raises:
        DataError: one of the two is empty.
    """
    if not train or not examples:
        raise DataError(
            f"task {task.name}: baselines need training examples ({len(train)}) and others to score ({len(examples)})"
        )
    return kind_of(task).baselines(task, train, examples)
