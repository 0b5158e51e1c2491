"""Splits that a corpus does not have are made of its training part: by a hash of what a unit is called.

A unit (document, query or sentence) falls into the same split in every run, on every machine, whatever else there is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import attrs

from mtlfn.data.task import Dataset, fitted

T = TypeVar("T")
LEAST = 40  # units of a training part that a test split is taken from
TENTHS = {"dev": 0, "test": 1}  # split -> which tenth of the units becomes it
MADE = {"dev": "dev split", "test": "test split"}  # split -> what notes call one that was made so
HOW = "a tenth of the training units, by a hash of their names"


def completed(
    name: str, splits: Mapping[str, Sequence[T]], unit: Callable[[T], str], wanted: Sequence[str] = ("dev", "test")
) -> dict[str, tuple[T, ...]]:
    """The splits; each of ``wanted`` that is empty becomes a tenth of the training units.

    Args:
        name: salt of the hash. What shares it (the subtasks of a folder) holds out the same units.
        splits: train, dev, test -> what they hold.
        unit: the unit that one of these belongs to.

    A training part of fewer than ``LEAST`` units gives no test split, and none that would lose its last unit gives any.
    """
    out = {split: tuple(items) for split, items in splits.items()}
    for split in wanted:
        if out[split] or (split == "test" and len({unit(item) for item in out["train"]}) < LEAST):
            continue
        inside = [_tenth(name, unit(item)) == TENTHS[split] for item in out["train"]]
        if not all(inside):
            tenth = [i for i, here in zip(out["train"], inside, strict=True) if here]
            rest = [i for i, here in zip(out["train"], inside, strict=True) if not here]
            out |= {"train": tuple(rest), split: tuple(tenth)}
    return out


def salt(task: str, documents: bool) -> str:
    """What the hash is salted with: of documents the same for every task that is read from them, so that all hold out
    the same ones."""
    return "documents" if documents else task


def with_test(dataset: Dataset) -> Dataset:
    """The data set with a test split: its own, or a tenth of its training units. (Official readers saw to theirs.)"""
    if dataset.test or dataset.task.official:
        return dataset
    splits = {"train": dataset.train, "dev": dataset.dev, "test": dataset.test}
    parts = completed(salt(dataset.task.name, bool(dataset.documents)), splits, lambda e: e.unit, ("test",))
    task = fitted(dataset.task, parts["train"])
    notes = {**dataset.notes, MADE["test"]: HOW} if parts["test"] else dataset.notes
    return attrs.evolve(dataset, task=task, notes=notes, **parts)


def _tenth(name: str, unit: str) -> int:
    return int(hashlib.sha256(f"{name}:{unit}".encode()).hexdigest()[:8], 16) % 10
