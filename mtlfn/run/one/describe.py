"""What a prepared run says of its data: their sources, sizes and hashes, what was cut, and what they lack."""

from __future__ import annotations

from mtlfn.data.screening import notices
from mtlfn.data.task import SPLITS, Dataset
from mtlfn.run.documents.data import Data, Split, TaskData
from mtlfn.run.one.prepare import Prepared


def data(prepared: Prepared) -> Data:
    """Sources, sizes, hashes, and what was cut."""
    return Data({task: _described(prepared, dataset) for task, dataset in prepared.datasets.items()})


def _described(prepared: Prepared, dataset: Dataset) -> TaskData:
    task = dataset.task
    corpora = {split: getattr(prepared, split).get(task.name) for split in SPLITS}
    return TaskData(
        source=dataset.source,
        kind=task.kind,
        level=task.level,
        metric=task.metric,
        notes=dict(dataset.notes),
        notices=tuple(lacking(prepared, task.name)),
        **{
            split: Split(examples=len(c), tokens=c.tokens, sha256=c.digest, cut=c.notes)
            for split, c in corpora.items()
            if c is not None
        },
    )


def lacking(prepared: Prepared, task: str) -> list[str]:
    """What the data of a task lack, in a line each."""
    corpora = {split: getattr(prepared, split).get(task) for split in SPLITS}
    return notices.notices(prepared.datasets[task], {split: c.notes for split, c in corpora.items() if c is not None})
