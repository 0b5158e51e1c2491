"""A task and the one schema in which every reader hands over its examples."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal

from attrs import evolve, field, frozen

Kind = Literal["tagging", "spans", "relation", "ranking", "classification", "multilabel", "regression"]
Span = tuple[int, int]  # characters, 0-based, end exclusive
SPLITS = ("train", "dev", "test")

METRICS: dict[str, str] = {
    "tagging": "entity_f1",
    "spans": "span_f1",
    "relation": "relation_f1",
    "ranking": "map",
    "classification": "macro_f1",
    "multilabel": "micro_f1",
    "regression": "pearson",
}

# Official scorer -> its primary metric
OFFICIAL: dict[str, str] = {
    "semeval2014_t7": "strict_f1",
    "semeval2015_t14": "strict_f1",
    "semeval2016_t12": "contains_f1",
    "semeval2016_t12_spans": "es_f1",
    "semeval2017_t3": "map",
    "semeval2017_t3_b": "map",
    "semeval2017_t3_c": "map",
    "semeval2021_t6": "partial_f1",
    "semeval2021_t6_labels": "micro_f1",
}

HIDDEN_TEST = "test split left out"  # name of the note: why


class DataError(ValueError):
    """Data that cannot be used; the message names the file and line (or example), what was found and what to do."""


class CacheError(OSError):
    """A folder of the cache that cannot be read or made; ``strerror`` says why."""


@frozen(kw_only=True)
class Task:
    """What a data set asks for.

    Attributes:
        name: as given on the command line.
        kind: decides head, loss, decoding and metric.
        level: 1 (entities, spans) or 2 (relations, ranking, labels).
        labels: tagging, spans: entity types; relation, classification: classes; multilabel: labels; ranking,
            regression: empty.
        negative: relation only: the class that means "no relation"; it is left out of the F1 score.
        max_width: spans only: words that a piece of a mention may have.
        discontiguous: spans only: whether mentions may have several pieces.
        official: the name of the official scorer, whose primary metric is then the task's; else "".
        mean, std: regression only: of the training values (``standardised``). The head's output is in these units.
    """

    name: str
    kind: Kind
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
        return OFFICIAL.get(self.official) or METRICS[self.kind]

    @property
    def classes(self) -> tuple[str, ...]:
        """Output columns of the head: IOB2 tags, classes or labels; one score for ranking, one value for regression."""
        if self.kind == "tagging":
            return ("O", *(f"{prefix}-{label}" for label in self.labels for prefix in "BI"))
        return {"ranking": ("score",), "regression": ("value",)}.get(self.kind, self.labels)


def _one_each(names: Iterable[str]) -> tuple[str, ...]:
    """Names as tuple; equal ones are one object, in however many examples they occur."""
    return tuple(map(sys.intern, names))


@lru_cache(maxsize=1 << 15)  # more than a text of 1000 words has
def _one(span: Span) -> Span:
    return span


def _spans(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans as tuple. Short texts have words at the same places: equal spans that were read not long ago are one."""
    return tuple(map(_one, spans))


@frozen(kw_only=True)
class Example:
    """One example of any task.

    A million of them are held in memory: tags, labels and word spans, which they have in common, are held once.

    Attributes:
        id: unique within the task and split.
        unit: document, query or sentence that this example belongs to: what statistics resample.
        texts: the sequences that go through the model, each (text, second text or None).
            ranking: one per candidate, (query, candidate); every other kind: exactly one.
        words: tagging, spans: character span of each word of ``texts[0][0]``, in order, not overlapping.
        tags: tagging: one IOB2 tag per word.
        head, tail: relation: the pieces of the two mentions in ``texts[0][0]``, in text order.
        labels: relation, classification: exactly one class; multilabel: any number of labels;
            ranking: "relevant" or "irrelevant" per candidate; tagging, spans, regression: empty.
        mentions: spans: (label, pieces) of the mentions that begin in this text, in characters of the unit's text.
        offset: spans: where this text begins in the unit's.
        value: regression: a finite number.
    """

    id: str
    unit: str
    texts: tuple[tuple[str, str | None], ...]
    words: tuple[Span, ...] = field(default=(), converter=_spans)
    tags: tuple[str, ...] = field(default=(), converter=_one_each)
    head: tuple[Span, ...] = ()
    tail: tuple[Span, ...] = ()
    labels: tuple[str, ...] = field(default=(), converter=_one_each)
    mentions: tuple[tuple[str, tuple[Span, ...]], ...] = ()
    offset: int = 0
    value: float | None = None


@frozen(kw_only=True)
class Dataset:
    """A task with its splits. A missing split is an empty tuple.

    ``gold``: for official tasks, split -> the documents or queries that its examples were made of. ``notes``: what
    reading them found, as JSON. ``concepts``: tuple of ``concepts.Names`` that predicted disorders are looked up in, in
    this order; empty where there is no dictionary.
    """

    task: Task
    train: tuple[Example, ...]
    dev: tuple[Example, ...] = ()
    test: tuple[Example, ...] = ()
    source: str = field(default="", kw_only=True)
    gold: Mapping[str, tuple[Any, ...]] = field(factory=dict, kw_only=True)
    notes: Mapping[str, Any] = field(factory=dict, kw_only=True)
    concepts: tuple[Any, ...] = field(default=(), kw_only=True)

    def __getitem__(self, split: str) -> tuple[Example, ...]:
        return getattr(self, split)


def hidden(task: Task, value: Any) -> bool:
    """Whether a label stands for none, as in test splits whose labels are kept back: nothing, -1, or a list of such."""
    if isinstance(value, (list, tuple)):
        # Of several labels none is an answer, too.
        return bool(value or task.kind != "multilabel") and all(hidden(task, each) for each in value)
    return value is None or (value in (-1, "-1") and value not in task.labels and not isinstance(value, bool))


def problems(task: Task, example: Example) -> str | None:
    """What is wrong with an example of this task, or None."""
    for written in (example.id, example.unit, *(part for pair in example.texts for part in pair if part)):
        if half := _half_character(written):
            return half
    if task.kind != "ranking" and len(example.texts) != 1:
        return f"has {len(example.texts)} sequences, expected 1"
    text = example.texts[0][0] if example.texts else ""
    if task.kind == "tagging":
        return _tagging_problems(task, example, text)
    if task.kind == "spans":
        return _span_problems(task, example)
    if task.kind == "regression":
        good = example.value is not None and math.isfinite(example.value)
        return None if good else f"has the value {example.value}, expected a finite number"
    if task.kind == "ranking":
        if len(example.labels) != len(example.texts) or not example.texts:
            return f"has {len(example.labels)} relevance labels for {len(example.texts)} candidates"
        allowed: tuple[str, ...] = ("relevant", "irrelevant")
    else:
        allowed = task.labels
    unknown = [label for label in example.labels if label not in allowed]
    if unknown:
        return f"has the label {unknown[0]!r}, expected one of {', '.join(allowed)}"
    if task.kind in ("relation", "classification") and len(example.labels) != 1:
        return f"has {len(example.labels)} labels, expected 1"
    if task.kind == "relation":
        for name, pieces in (("head", example.head), ("tail", example.tail)):
            if not pieces or any(not 0 <= a < b <= len(text) for a, b in pieces):
                return f"has {name} spans {list(pieces)} in a text of {len(text)} characters"
    return None


def _half_character(text: str) -> str | None:
    """JSON can hold half of a surrogate pair, which is no character and cannot be written."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"holds {text[error.start]!a} at character {error.start + 1}, half of a character (a surrogate)"
    return None


def _tagging_problems(task: Task, example: Example, text: str) -> str | None:
    if len(example.tags) != len(example.words) or not example.words:
        return f"has {len(example.tags)} tags for {len(example.words)} words"
    known = set(task.classes)
    previous, end = "O", 0
    for (a, b), tag in zip(example.words, example.tags, strict=True):
        if tag not in known:
            return f"has the tag {tag!r}, expected one of {', '.join(task.classes)}"
        if not end <= a < b <= len(text):
            return f"has the word span {(a, b)} after {end} in a text of {len(text)} characters"
        if tag.startswith("I-") and previous[2:] != tag[2:]:
            return f"has the tag {tag!r} after {previous!r}: not IOB2"
        previous, end = tag, b
    return None


def _span_problems(task: Task, example: Example) -> str | None:
    if not example.words:
        return "has no word"
    for label, pieces in example.mentions:
        if label not in task.labels:
            return f"has a mention of type {label!r}, expected one of {', '.join(task.labels)}"
        if not pieces or any(not 0 <= a < b for a, b in pieces):
            return f"has a mention with the pieces {list(pieces)}"
    return None


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


def standardised(task: Task, train: Iterable[Example]) -> Task:
    """The regression task with the mean and standard deviation of its training values (1 where all are equal)."""
    values = [e.value for e in train if e.value is not None]
    if not values:
        return task
    # Sums are rounded once (fsum), so that every machine gets the same bits: labels, and with them the data's digest,
    # are made of these numbers. A factor keeps the squares of extreme values in range.
    n, scale = len(values), max(map(abs, values)) or 1.0
    mean = math.fsum(v / scale for v in values) / n
    variance = math.fsum((v / scale - mean) * (v / scale - mean) for v in values) / n
    return evolve(task, mean=scale * mean, std=scale * math.sqrt(variance) or 1.0)


def label_counts(task: Task, examples: Iterable[Example]) -> dict[str, int]:
    """How often each output class occurs (words for tagging, examples otherwise); empty for regression."""
    if task.kind == "regression":
        return {}
    counts = Counter(label for e in examples for label in _labels_of(task, e))
    return {c: counts.get(c, 0) for c in (task.classes if task.kind != "ranking" else ("relevant", "irrelevant"))}


def _labels_of(task: Task, example: Example) -> tuple[str, ...]:
    if task.kind == "spans":
        return tuple(label for label, _ in example.mentions)
    return example.tags if task.kind == "tagging" else example.labels
