"""Regression: a number for a text or pair of texts.

Scores: Pearson's and Spearman's correlation, both 0 for fewer than two examples, constant values or a prediction that
is not finite.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve

from mtlfn.data.example import DataError, Example, short
from mtlfn.data.kinds import whole
from mtlfn.data.kinds.kind import Kind, Roles, pair_of
from mtlfn.data.scoring.classes import correlations
from mtlfn.data.standard import centre
from mtlfn.data.statistic import PEARSON, Row, moments

if TYPE_CHECKING:
    from mtlfn.data.task import Task
    from mtlfn.data.tokens.store import Corpus


NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?")


def problems(task: Task, example: Example) -> str | None:
    if problem := whole.sequences_problem(example):
        return problem
    good = example.value is not None and math.isfinite(example.value)
    return None if good else f"has the value {example.value}, expected a finite number"


def example(roles: Roles, names: tuple[str, ...], name: str, unit: str) -> Example:
    return Example(id=name, unit=unit, texts=(pair_of(roles),), value=_number(roles["label"]))


def _number(value: Any) -> float:
    """A number, or the mean of several, such as the marks of several annotators."""
    numbers = [_of_string(each) for each in (value if isinstance(value, list) and value else [value])]
    for number in numbers:
        if type(number) not in (int, float) or not abs(number) <= sys.float_info.max:  # an int may be larger
            raise DataError(f"found {short(number)}, expected a finite number for label")
    try:
        return math.fsum(numbers) / len(numbers)
    except OverflowError:
        raise DataError(f"found {short(value)}, expected numbers whose sum is finite for label") from None


def _of_string(value: Any) -> Any:
    """The number in a string, which is all that text files have; what is none stays as it is."""
    bare = value.strip() if isinstance(value, str) else ""
    return float(bare) if NUMBER.fullmatch(bare) else value


def _value(example: Example) -> float:
    return 0.0 if example.value is None else example.value


def labels(task: Task, example: Example, marks: Sequence[int]) -> tuple[list[float], int]:
    """The value less the task's mean, over its standard deviation."""
    return [(_value(example) - task.mean) / task.std], 0


def targets(
    corpus: Corpus, examples: Sequence[int], row_of: Mapping[int, int], uncut: set[int], marks: np.ndarray
) -> tuple[np.ndarray, int]:
    """float32 [rows]; NaN is ignored."""
    return whole.targets(corpus, examples, row_of, uncut, math.nan, np.float32)


def fitted(task: Task, train: Sequence[Example]) -> Task:
    """With mean and standard deviation of the training values, if there are any; the latter 1 where all are equal."""
    values = [e.value for e in train if e.value is not None]
    if not values:
        return task
    mean, std = centre(values)
    return evolve(task, mean=mean, std=std or 1.0)


def prediction_problem(task: Task, example: Example, prediction: Any) -> str | None:
    return None if type(prediction) in (int, float) else f"is {short(prediction)}, expected a number"


def rows(task: Task, examples: Sequence[Example], predictions: Sequence[float]) -> Iterable[tuple[str, Row]]:
    return zip((e.unit for e in examples), moments([_value(e) for e in examples], predictions), strict=True)


def score(task: Task, examples: Sequence[Example], predictions: Sequence[float]) -> dict[str, float]:
    finite = all(map(math.isfinite, predictions))
    return correlations([_value(e) for e in examples], predictions if finite else [0.0] * len(predictions))


def baselines(task: Task, train: Sequence[Example], examples: Sequence[Example]) -> dict[str, float]:
    """mean: the mean of the training values, a constant."""
    constant = [centre([_value(e) for e in train])[0]] * len(examples)
    return {"mean": score(task, examples, constant)[KIND.metric]}


KIND = Kind(
    metric="pearson",
    statistic=PEARSON,
    problems=problems,
    classes=lambda labels: ("value",),
    occurrences=lambda example: (),
    counted=lambda task: (),
    mentioned=lambda example: (),
    roles=("text", "label"),
    optional=("text_pair", "id", "unit"),
    least_labels=0,
    example=example,
    fitted=fitted,
    unanswered=lambda task, roles: 0.0,
    labels=labels,
    label_type="float32",
    targets=targets,
    prediction_problem=prediction_problem,
    joined=whole.of_the_row,
    nothing=lambda task, example, usual: task.mean,
    answer=lambda example: example.value,
    rows=rows,
    score=score,
    baselines=baselines,
)
