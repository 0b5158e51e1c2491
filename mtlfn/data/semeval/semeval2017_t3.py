"""SemEval-2017 Task 3, Community Question Answering: subtasks A, B and C rank comments, questions, or both in one."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mtlfn.data.document import Log, Query, judgements
from mtlfn.data.example import Example
from mtlfn.data.official import Official, Splits
from mtlfn.data.scoring import ranking
from mtlfn.data.semeval.formats import relevancy
from mtlfn.data.semeval.formats import semeval2017_t3 as files
from mtlfn.data.semeval.formats.semeval2017_t3 import Subtask, positive
from mtlfn.data.statistic import MEAN, Row
from mtlfn.data.task import SPLITS, Dataset, Task

TERMS = "public, free for general research use (SemEval-2017 Task 3, Qatar Living forum)"


RELATED = re.compile("_R[0-9]+$")  # in the id of a related question, behind that of the question it is related to


def read(subtask: Subtask, folder: Path, log: Log) -> dict[str, tuple[Query, ...]]:
    """The queries, without splits that nobody judged: the test input of the organisers, which could only score 0.
    (To be predicted on, they are read.)"""
    splits: dict[str, tuple[Query, ...]] = {}
    for split, queries in files.read(folder, subtask, log).items():
        judged = log.unlabelled or any(positive(subtask, c.label) is not None for q in queries for c in q.candidates)
        if queries and not judged:
            log.skipped(folder, f"split {split}", f"none of its {len(queries)} queries has a label")
        splits[split] = queries if judged else ()
    return splits


def dataset(subtask: Subtask, name: str, gold: Splits, _folder: Path, _log: Log) -> Dataset:
    task = Task(name=name, kind="ranking", level=2, official=name)
    train, dev, test = (
        tuple(filter(None, (_example(q, subtask, training=split == "train") for q in gold[split]))) for split in SPLITS
    )
    return Dataset(task=task, train=train, dev=dev, test=test, gold=gold)


def rows(
    _: Dataset, _gold: Sequence[Query], examples: Sequence[Example], predictions: Sequence[Any]
) -> Iterable[tuple[str, Row]]:
    for example, values in zip(examples, predictions, strict=True):
        yield example.unit, (ranking.average_precision([c == "relevant" for c in example.labels], values), 1.0)


def scores(
    _: Dataset, _gold: Sequence[Query], examples: Sequence[Example], predictions: Sequence[Any]
) -> dict[str, float]:
    questions = [
        ([label == "relevant" for label in e.labels], values, [value > 0 for value in values])
        for e, values in zip(examples, predictions, strict=True)
    ]
    return ranking.ranking(questions)


def write(subtask: Subtask, dataset: Dataset, split: str, folder: Path, predictions: Sequence[Any]) -> None:
    values = {e.id: _finite(p) for e, p in zip(dataset[split], predictions, strict=True)}
    path = folder / f"{split}.subtask{subtask}.pred"
    relevancy.write_predictions(path, subtask, [q for q in dataset.gold[split] if q.id in values], values)


def _example(query: Query, subtask: Subtask, *, training: bool) -> Example | None:
    """The example of a query; in training without candidates that have no label. None where no candidate is left."""
    judged = [(c, positive(subtask, c.label)) for c in query.candidates]
    candidates = [(c, good) for c, good in judged if good is not None or not training]
    if not candidates:
        return None
    return Example(
        id=query.id,
        unit=query.id,
        texts=tuple((query.text, c.text) for c, _ in candidates),
        labels=tuple("relevant" if good else "irrelevant" for _, good in candidates),
    )


def _finite(scores: Sequence[float]) -> list[float]:
    """Numbers that a file can hold, in the order and with the signs that the scores are ranked and decided by."""
    known = [score for score in scores if math.isfinite(score)]
    lowest = min(math.nextafter(min(known, default=0.0), -math.inf), -1.0)
    highest = max(math.nextafter(max(known, default=0.0), math.inf), 1.0)
    return [s if math.isfinite(s) else highest if s == math.inf else lowest for s in scores]


def _task(name: str, subtask: Subtask) -> Official:
    return Official(
        name=name,
        folder="semeval2017_t3",
        terms=TERMS,
        metric="map",
        statistic=MEAN,
        read=partial(read, subtask),
        dataset=partial(dataset, subtask),
        held_out_by=lambda query: RELATED.sub("", query.id),  # subtask A asks one of its related questions
        asked=judgements,
        rows=rows,
        scores=scores,
        write=partial(write, subtask),
    )


TASKS = (_task("semeval2017_t3", "A"), _task("semeval2017_t3_b", "B"), _task("semeval2017_t3_c", "C"))
