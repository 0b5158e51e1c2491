"""Tasks whose training labels say nothing of their texts: what helps another task then is no knowledge of theirs."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from attrs import evolve

from mtlfn.core.keys import Key, fold, numpy_generator
from mtlfn.data.task import Dataset, kind_of

NOTE = "training examples with shuffled labels"  # name of the note: how many


def shuffled(datasets: Mapping[str, Dataset], names: Collection[str], key: Key) -> dict[str, Dataset]:
    """The data sets, those named with the labels of their training examples shuffled; dev and test stay as they are.

    A function of the data and the key: each task has a draw of its own, whichever others are named.
    """
    return {t: _shuffled(d, fold(key, "labels", t)) if t in names else d for t, d in datasets.items()}


def _shuffled(dataset: Dataset, key: Key) -> Dataset:
    train = kind_of(dataset.task).shuffled(dataset.train, numpy_generator(key))
    return evolve(dataset, train=train, notes={**dataset.notes, NOTE: len(train)})
