"""Multilabel: any number of labels a text or pair of texts.

Scores: micro F1, precision and recall, and F1 averaged over all labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mtlfn.data.example import Example
from mtlfn.data.kinds import whole
from mtlfn.data.kinds.kind import Kind, Roles, items_of, named, pair_of
from mtlfn.data.statistic import F1, Row, sets

if TYPE_CHECKING:
    from mtlfn.data.task import Task
    from mtlfn.data.tokens.store import Corpus


def example(roles: Roles, names: tuple[str, ...], name: str, unit: str) -> Example:
    labels = dict.fromkeys(named(value, names) for value in items_of(roles, "labels"))
    return Example(id=name, unit=unit, texts=(pair_of(roles),), labels=tuple(labels))


def labels(task: Task, example: Example, marks: Sequence[int]) -> tuple[list[int], int]:
    """0 or 1 for each label of the task."""
    return [int(label in example.labels) for label in task.classes], 0


def targets(
    corpus: Corpus, examples: Sequence[int], row_of: Mapping[int, int], uncut: set[int], marks: np.ndarray
) -> tuple[np.ndarray, int]:
    """float32 [rows, labels]; rows of NaN are ignored."""
    return whole.targets(corpus, examples, row_of, uncut, math.nan, np.float32, every=True)


def prediction_problem(task: Task, example: Example, prediction: Any) -> str | None:
    return whole.list_problem(prediction) or whole.unknown_prediction(prediction, task)


def rows(task: Task, examples: Sequence[Example], predictions: Sequence[Any]) -> Iterable[tuple[str, Row]]:
    for e, prediction in zip(examples, predictions, strict=True):
        yield e.unit, sets(set(e.labels) - {task.negative}, set(prediction) - {task.negative})


def score(task: Task, examples: Sequence[Example], predictions: Sequence[Any]) -> dict[str, float]:
    gold, predicted = whole.indicators(task, examples, predictions)
    micro = whole.scores(task, gold, predicted)
    macro = whole.f1_by_label(whole.positive(task, gold), whole.positive(task, predicted)).mean()
    return {f"micro_{name}": value for name, value in micro.items()} | {"macro_f1": float(macro)}


KIND = Kind(
    metric="micro_f1",
    statistic=F1,
    positive="label",
    problems=whole.problems,
    none_is_an_answer=True,
    roles=("text", "labels"),
    optional=("text_pair", "id", "unit"),
    gold="labels",
    least_labels=1,
    example=example,
    unanswered=lambda task, roles: [],
    labels=labels,
    targets=targets,
    prediction_problem=prediction_problem,
    joined=whole.of_the_row,
    nothing=lambda task, example, usual: [],
    answer=lambda example: list(example.labels),
    guesses=lambda task, train, examples: {"majority": [[whole.usual(task, train)]] * len(examples)},
    rows=rows,
    score=score,
    baselines=partial(whole.baselines, f1=whole.micro_f1),
)
