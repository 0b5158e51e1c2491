"""Classification: one class a text or pair of texts.

Scores: F1 averaged over the classes that occur in gold or predictions, and accuracy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mtlfn.data.example import Example
from mtlfn.data.kinds import whole
from mtlfn.data.kinds.kind import IGNORED, Kind, Roles, pair_of, single
from mtlfn.data.statistic import MACRO_F1, Row

if TYPE_CHECKING:
    from mtlfn.data.task import Task
    from mtlfn.data.tokens.store import Corpus


def problems(task: Task, example: Example) -> str | None:
    return whole.problems(task, example) or whole.one_label_problem(example)


def example(roles: Roles, names: tuple[str, ...], name: str, unit: str) -> Example:
    return Example(id=name, unit=unit, texts=(pair_of(roles),), labels=(single(roles["label"], names),))


def targets(
    corpus: Corpus, examples: Sequence[int], row_of: Mapping[int, int], uncut: set[int], marks: np.ndarray
) -> tuple[np.ndarray, int]:
    """int64 [rows], class or IGNORED."""
    return whole.targets(corpus, examples, row_of, uncut, IGNORED, np.int64)


def rows(task: Task, examples: Sequence[Example], predictions: Sequence[str]) -> Iterable[tuple[str, Row]]:
    for e, prediction in zip(examples, predictions, strict=True):
        gold = e.labels[0]
        parts = ((c == gold == prediction, c == prediction, c == gold) for c in task.labels)
        yield e.unit, [count for triple in parts for count in triple]


def score(task: Task, examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, float]:
    gold, predicted = whole.indicators(task, examples, [[p] for p in predictions])
    accuracy = float((gold == predicted).all(axis=1).mean())
    return {"macro_f1": whole.macro_f1(task, gold, predicted), "accuracy": accuracy}


KIND = Kind(
    metric="macro_f1",
    statistic=MACRO_F1,
    problems=problems,
    single=True,
    roles=("text", "label"),
    optional=("text_pair", "id", "unit"),
    example=example,
    labels=whole.class_number,
    targets=targets,
    prediction_problem=whole.class_problem,
    joined=whole.of_the_row,
    nothing=lambda task, example, usual: usual,
    answer=lambda example: list(example.labels),
    guesses=whole.usual_class,
    rows=rows,
    score=score,
    baselines=partial(whole.baselines, f1=whole.macro_f1),
)
