"""What one task of a run holds out, no other one trains on: two corpora may hold the same text.

SemEval-2015 Task 14 trains on the notes that 2014 Task 7 is developed and tested on, and the other way round. A
multi-task run would have seen its test notes with their disorders, the single-task controls would not: that would be
told as transfer. So a training example goes if its text (of documents: the whole document) is a dev or test text of
another task, but for white space and case. What is a part of another text is not found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from mtlfn.data.document import Document
from mtlfn.data.example import DataError, Example
from mtlfn.data.task import Dataset, fitted

NOTE = "training examples held out by other tasks"  # name of the note: other task -> number
LEFT_OUT = "training examples left out"  # how many these are, each counted once
NAMED = 3  # other tasks that a line names


def kept_apart(datasets: Sequence[Dataset], beside: Sequence[Dataset] = ()) -> tuple[Dataset, ...]:
    """The data sets without the training examples that another one holds out; the notes count them, by task.

    ``beside``: further ones that only hold out. DataError where a task would have no training example left.
    """
    if len(datasets) + len(beside) == 1:
        return tuple(datasets)
    held_out = {d.task.name: _held_out(d) for d in (*datasets, *beside)}
    return tuple(
        _without(d, {name: texts for name, texts in held_out.items() if name != d.task.name}) for d in datasets
    )


def told(dataset: Dataset) -> str:
    """What was left out, in a line; "" where nothing was."""
    counts = dataset.notes.get(NOTE)
    if not counts:
        return ""
    most = sorted(counts, key=lambda name: (-counts[name], name))
    rest = f" and {len(most) - NAMED} more tasks" if len(most) > NAMED else ""
    line = f"{dataset.notes[LEFT_OUT]:,} training examples left out, which are dev or test texts of "
    return line + ", ".join(most[:NAMED]) + rest


def _without(dataset: Dataset, held_out: Mapping[str, frozenset[str]]) -> Dataset:
    documents = _documents(dataset, "train")
    texts = [_text(e, documents) for e in dataset.train]
    counts = {name: sum(text in others for text in texts) for name, others in held_out.items()}
    if not any(counts.values()):
        return dataset
    gone = frozenset().union(*held_out.values())
    train = tuple(e for e, text in zip(dataset.train, texts, strict=True) if text not in gone)
    counts = {name: count for name, count in counts.items() if count}
    if not train:
        raise DataError(
            f"task {dataset.task.name}: all of its {len(texts)} training examples are dev or test texts of "
            f"{', '.join(counts)}; train these tasks in different runs"
        )
    task = fitted(dataset.task, train)
    notes = {**dataset.notes, NOTE: counts, LEFT_OUT: len(texts) - len(train)}
    return attrs.evolve(dataset, task=task, train=train, notes=notes)


def _held_out(dataset: Dataset) -> frozenset[str]:
    """The dev and test texts, as they are compared."""
    texts = set()
    for split in ("dev", "test"):
        documents = _documents(dataset, split)
        texts |= {*documents.values(), *(_text(e, documents) for e in dataset[split])}
    return frozenset(texts - {""})


def _documents(dataset: Dataset, split: str) -> dict[str, str]:
    """Name -> text of the documents of a split; empty where the task has none."""
    if dataset.documents:
        units = {example.unit for example in dataset[split]}
        whole = dataset.documents.get(split) or dataset.documents["train"]
        return {unit: _plain(whole[unit]) for unit in units}
    return {d.id: _plain(d.text) for d in dataset.gold.get(split, ()) if isinstance(d, Document)}


def _text(example: Example, documents: Mapping[str, str]) -> str:
    document = documents.get(example.unit)
    return compared(example) if document is None else document


def compared(example: Example) -> str:
    """The texts of an example but for white space and case: what is equal here is one text."""
    return _plain("".join(part for pair in example.texts for part in pair if part))


def _plain(text: str) -> str:
    return "".join(text.casefold().split())
