"""Documents with mentions as a data set of kind "spans", and its predictions as mentions of documents again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from mtlfn.data import windows
from mtlfn.data.document import Document, Mention
from mtlfn.data.example import Example
from mtlfn.data.kinds import spans
from mtlfn.data.task import SPLITS, Dataset, Task

Mentions = dict[str, tuple[Mention, ...]]  # document id -> mentions


def dataset(
    name: str, gold: Mapping[str, tuple[Document, ...]], labels: tuple[str, ...], *, discontiguous: bool
) -> Dataset:
    """The official task ``name`` of kind "spans": mentions with these labels in the documents of every split."""
    examples = {
        split: tuple(e for d in gold[split] for e in windows.examples(d, labels, training=split == "train"))
        for split in SPLITS
    }
    task = spans.fitted(Task(name=name, kind="spans", level=1, labels=labels, official=name), examples["train"])
    task = attrs.evolve(task, discontiguous=discontiguous)
    return Dataset(task=task, train=examples["train"], dev=examples["dev"], test=examples["test"], gold=gold)


def predicted(gold: Sequence[Document], examples: Sequence[Example], predictions: Sequence[Any]) -> Mentions:
    """Document id -> predicted mentions, each once, in text order.

    Args:
        predictions: for each of the examples, its (label, pieces) in characters of the document.
    """
    marks: dict[str, set[tuple[tuple[tuple[int, int], ...], str]]] = {d.id: set() for d in gold}
    for example, prediction in zip(examples, predictions, strict=True):
        for label, pieces in prediction:
            marks.setdefault(example.unit, set()).add((tuple((a, b) for a, b in pieces), label))
    return {
        name: tuple(
            # Ids as Anafora has them; the other formats write none.
            Mention(id=f"{i}@e@{name}@system", label=label, pieces=pieces)
            for i, (pieces, label) in enumerate(sorted(each))
        )
        for name, each in marks.items()
    }


def of(gold: Sequence[Document]) -> Mentions:
    """Document id -> its annotated mentions."""
    return {d.id: d.mentions for d in gold}


def with_mentions(gold: Sequence[Document], mentions: Mentions) -> list[Document]:
    """The documents with other mentions in place of all their annotations, as files of predictions hold them."""
    return [attrs.evolve(d, mentions=mentions[d.id], links=()) for d in gold]
