"""From a folder with the organisers' files to a data set."""

from __future__ import annotations

from pathlib import Path

import attrs

from mtlfn.data import splits
from mtlfn.data.document import WITHOUT_NOTE, Log, by_kind
from mtlfn.data.example import DataError
from mtlfn.data.official import OFFICIAL
from mtlfn.data.task import PROBLEMS, Dataset


def load(name: str, folder: Path, *, strict: bool = False) -> Dataset:
    """The data set of an official task; DataError where the folder is missing or holds no such layout.

    Splits without files are made of the training part, the same for all subtasks of a folder: what is dev to one,
    another does not train on.
    """
    if not folder.is_dir():
        raise DataError(f"the folder {folder} of task {name} does not exist; put the official files there")
    official, log = OFFICIAL[name], Log(strict=strict)
    gold = splits.completed(official.folder, official.read(folder, log), official.held_out_by or official.unit)
    dataset = official.dataset(name, gold, folder, log)
    done = [problem.done for problem in log.problems]
    notes = {kind: done.count(kind) for kind in ("skipped", "repaired")}
    notes |= {**log.counts, **({PROBLEMS: by_kind(log.problems)} if log.problems else {})}
    if not dataset.train:
        raise DataError(f"task {name}: no training example in {folder}{_why(official.terms, log)}")
    return attrs.evolve(dataset, source=str(folder), notes={**notes, **dataset.notes})


def _why(terms: str, log: Log) -> str:
    """Why nothing could be read, as far as the log knows."""
    reasons = "".join(f"; {line}" for line in by_kind(log.problems)[:3])
    if log.counts[WITHOUT_NOTE]:
        reasons += f". Annotations are read with the texts that they annotate, which come from elsewhere: {terms}"
    return reasons
