"""What the kinds share whose labels speak of a whole text: classes, labels and numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mtlfn.data.example import Example, short
from mtlfn.data.statistic import Array, ratio

if TYPE_CHECKING:
    from mtlfn.data.task import Task
    from mtlfn.data.tokens.store import Corpus

DRAWS = 20  # of a random baseline


def problems(task: Task, example: Example) -> str | None:
    """One sequence, and labels that the task knows."""
    return sequences_problem(example) or unknown_label(example, task.labels)


def sequences_problem(example: Example) -> str | None:
    """Another number of sequences than one."""
    return None if len(example.texts) == 1 else f"has {len(example.texts)} sequences, expected 1"


def unknown_label(example: Example, allowed: Sequence[str]) -> str | None:
    """The first label that is not among those allowed."""
    unknown = [label for label in example.labels if label not in allowed]
    return f"has the label {short(unknown[0])}, expected one of {', '.join(allowed)}" if unknown else None


def one_label_problem(example: Example) -> str | None:
    """Another number of labels than one."""
    return None if len(example.labels) == 1 else f"has {len(example.labels)} labels, expected 1"


def class_number(task: Task, example: Example, marks: Sequence[int]) -> tuple[list[int], int]:
    """The number of the one class."""
    return [task.classes.index(example.labels[0])], 0


def targets(
    corpus: Corpus,
    examples: Sequence[int],
    row_of: Mapping[int, int],
    whole: set[int],
    ignored: float,
    form: type,
    every: bool = False,
) -> tuple[np.ndarray, int]:
    """Labels of the rows, [rows] or, with ``every`` label of an example, [rows, labels]; ``ignored`` where cut."""
    values, count = [], 0
    for e in examples:
        (s,) = corpus.sequences(e)
        if s not in row_of:
            continue
        count += s in whole
        label = corpus.label(e) if s in whole else np.full(len(corpus.label(e)), ignored)
        values.append(label if every else label[0])
    return np.array(values, dtype=form), count


def class_problem(task: Task, example: Example, prediction: Any) -> str | None:
    """A prediction that is no class of the task."""
    if not isinstance(prediction, str):
        return f"is {short(prediction)}, expected a class name"
    return unknown_prediction([prediction], task)


def list_problem(prediction: Any, wanted: int | None = None) -> str | None:
    """A prediction that is no list, or not of the length wanted."""
    if isinstance(prediction, str):
        return f"is {short(prediction)}, expected a list"
    if wanted is not None and len(prediction) != wanted:
        return f"has {len(prediction)} values, expected {wanted}"
    return None


def unknown_prediction(names: Sequence[str], task: Task) -> str | None:
    """The first name that is no class of the task."""
    known = task.classes
    unknown = [name for name in names if name not in known]
    return f"holds {short(unknown[0])}, expected one of {', '.join(known)}" if unknown else None


def of_the_row(task: Task, example: Example, rows: list[Any]) -> Any:
    """The prediction of the one row."""
    return rows[0]


def usual(task: Task, train: Sequence[Example]) -> str:
    """The most frequent label that is not the negative one, the first in the alphabet of equals."""
    counts = Counter(label for e in train for label in e.labels)
    return max(sorted(label for label in task.classes if label != task.negative), key=counts.__getitem__)


def usual_class(task: Task, train: Sequence[Example], examples: Sequence[Example]) -> dict[str, list[Any]]:
    """majority: one class, always."""
    return {"majority": [usual(task, train)] * len(examples)}


def indicator(task: Task, labels: Sequence[Sequence[str]]) -> NDArray[np.bool_]:
    """(examples, labels) with True where an example has the label."""
    column = {label: i for i, label in enumerate(task.labels)}
    matrix = np.zeros((len(labels), len(column)), dtype=bool)
    for row, names in enumerate(labels):
        matrix[row, [column[name] for name in names]] = True
    return matrix


def indicators(
    task: Task, examples: Sequence[Example], predictions: Sequence[Sequence[str]]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The indicator matrices of gold and predictions."""
    return indicator(task, [e.labels for e in examples]), indicator(task, predictions)


def positive(task: Task, matrix: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The columns of an indicator matrix but that of the negative label."""
    return matrix[:, [label != task.negative for label in task.labels]]


def f1_by_label(gold: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> Array:
    """F1 of each column of two indicator matrices, float64 [labels]; 0 where the label is in neither."""
    return ratio(2 * (gold & predicted).sum(axis=0), gold.sum(axis=0) + predicted.sum(axis=0))


def micro_f1(task: Task, gold: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float:
    """Micro F1 over all labels but the negative one, from indicator matrices."""
    return scores(task, gold, predicted)["f1"]


def macro_f1(task: Task, gold: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float:
    """F1 averaged over the classes that occur, from indicator matrices."""
    return float(np.mean(f1_by_label(gold, predicted)[(gold | predicted).any(axis=0)]))


def scores(task: Task, gold: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> dict[str, float]:
    """Micro F1, precision and recall over all labels but the negative one; what is 0/0 is 0."""
    gold, predicted = positive(task, gold), positive(task, predicted)
    hits, answers, total = (gold & predicted).sum(), predicted.sum(), gold.sum()
    return {
        "f1": float(ratio(2 * hits, answers + total)),
        "precision": float(ratio(hits, answers)),
        "recall": float(ratio(hits, total)),
    }


def baselines(
    task: Task, train: Sequence[Example], examples: Sequence[Example], f1: Any, negative: str | None = None
) -> dict[str, float]:
    """majority: the most frequent class or label that is not the negative one; random: mean score of ``DRAWS`` fixed
    draws of the labels of a training example."""
    rng = np.random.Generator(np.random.Philox(0))
    training, gold = indicator(task, [e.labels for e in train]), indicator(task, [e.labels for e in examples])
    counts = training.sum(axis=0)
    if negative is not None:
        counts[task.labels.index(negative)] = -1
    constant = np.zeros_like(gold)
    constant[:, counts.argmax()] = counts.max() > 0  # what training never shows is not predicted
    draws = [f1(task, gold, training[rng.integers(len(training), size=len(gold))]) for _ in range(DRAWS)]
    return {"majority": f1(task, gold, constant), "random": float(np.mean(draws))}
