"""What a data set asks for, and a data set: examples in splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from attrs import evolve, field, frozen

from mtlfn.data.example import DataError, Example, half_character
from mtlfn.data.kinds import KINDS
from mtlfn.data.kinds.kind import Kind
from mtlfn.data.official import OFFICIAL

SPLITS = ("train", "dev", "test")

HIDDEN_TEST = "test split left out"  # name of the note: why
PROBLEMS = "problems by kind"  # name of the note: lines about what was left out or repaired


@frozen(kw_only=True)
class Task:
    """What a data set asks for.

    Attributes:
        name: as given on the command line.
        kind: a name in ``kinds.KINDS``, which decides metric, decoding, head and loss.
        level: 1 (entities, spans) or 2 (relations, ranking, labels).
        labels: tagging, spans: entity types; relation, classification: classes; multilabel: labels; ranking,
            regression: empty.
        negative: relation only: the class that means "no relation"; it is left out of the F1 score.
        max_width: spans only: words that a piece of a mention may have.
        discontiguous: spans only: whether mentions may have several pieces.
        official: a name in ``official.OFFICIAL``, whose primary metric is then the task's; else "".
        mean, std: regression only: of the training values (``fitted``). The head's output is in these units.
    """

    name: str
    kind: str
    level: Literal[1, 2]
    labels: tuple[str, ...] = ()
    negative: str | None = None
    max_width: int = 0
    discontiguous: bool = False
    official: str = ""
    mean: float = 0.0
    std: float = 1.0

    @property
    def metric(self) -> str:
        """Name of the primary metric."""
        return OFFICIAL[self.official].metric if self.official else kind_of(self).metric

    @property
    def classes(self) -> tuple[str, ...]:
        """Output columns of the head: IOB2 tags, classes or labels; one score for ranking, one value for regression."""
        return kind_of(self).classes(self.labels)


def kind_of(task: Task) -> Kind:
    """The kind of a task."""
    return KINDS[task.kind]


@frozen(kw_only=True)
class Dataset:
    """A task with its splits. A missing split is an empty tuple.

    ``gold``: for official tasks, split -> what its files hold. ``notes``: what reading them found, as JSON.
    ``documents``: where units are documents of no official task, split -> unit -> its whole text; units of a split that
    was made of training ones stand with these. ``concepts``: tuple of ``concepts.Names`` that predicted disorders are
    looked up in, in this order; empty where there is no dictionary.
    """

    task: Task
    train: tuple[Example, ...]
    dev: tuple[Example, ...] = ()
    test: tuple[Example, ...] = ()
    source: str = field(default="", kw_only=True)
    gold: Mapping[str, tuple[Any, ...]] = field(factory=dict, kw_only=True)
    notes: Mapping[str, Any] = field(factory=dict, kw_only=True)
    documents: Mapping[str, Mapping[str, str]] = field(factory=dict, kw_only=True)
    concepts: tuple[Any, ...] = field(default=(), kw_only=True)

    def __getitem__(self, split: str) -> tuple[Example, ...]:
        return getattr(self, split)


def hidden(task: Task, value: Any) -> bool:
    """Whether a label stands for none, as in test splits whose labels are kept back: nothing, an empty field, -1, or a
    list of such."""
    if isinstance(value, (list, tuple)):
        # Of several labels none is an answer, too.
        return bool(value or not kind_of(task).none_is_an_answer) and all(hidden(task, each) for each in value)
    if value == "":
        return not kind_of(task).none_is_an_answer
    return value is None or (value in (-1, "-1") and "-1" not in task.labels and not isinstance(value, bool))


def problems(task: Task, example: Example) -> str | None:
    """What is wrong with an example of this task, or None."""
    for written in (example.id, example.unit, *(part for pair in example.texts for part in pair if part)):
        if half := half_character(written):
            return half
    return kind_of(task).problems(task, example)


def check(dataset: Dataset) -> Dataset:
    """The data set itself; DataError names the first empty training split, duplicate id or malformed example."""
    name = dataset.task.name
    for split in ("train", "dev"):
        if not dataset[split]:
            raise DataError(f"task {name}: the {split} split is empty ({dataset.source}); give it at least one example")
    for split in SPLITS:
        repeated = [i for i, n in Counter(e.id for e in dataset[split]).items() if n > 1]
        if repeated:
            raise DataError(f"task {name}, {split}: the id {repeated[0]!r} occurs more than once; ids must be unique")
        for example in dataset[split]:
            if problem := problems(dataset.task, example):
                raise DataError(f"task {name}, {split}, example {example.id!r} {problem} ({dataset.source})")
    return dataset


def fitted(task: Task, train: Sequence[Example]) -> Task:
    """The task with what its kind takes from the training examples; an official one as it is."""
    return task if task.official else kind_of(task).fitted(task, train)


def in_parts(dataset: Dataset) -> Dataset:
    """The data set as its kind reads it: long texts in windows, which in training do not cut a mention. What is split,
    held out or compared is whole texts, so this comes last. (Official readers saw to theirs.)"""
    task = dataset.task
    if task.official:
        return dataset
    parts = {s: tuple(p for e in dataset[s] for p in kind_of(task).parts(e, s == "train")) for s in SPLITS}
    return evolve(dataset, **parts)


def label_counts(task: Task, examples: Iterable[Example]) -> dict[str, int]:
    """How often each output class occurs (words for tagging, examples otherwise); empty for regression."""
    kind = kind_of(task)
    counts = Counter(label for e in examples for label in kind.occurrences(e))
    return {c: counts.get(c, 0) for c in kind.counted(task)}
