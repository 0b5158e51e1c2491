"""SemEval-2021 Task 6, persuasion techniques in the texts of memes: which are used (subtask 1) and where (2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mtlfn.data.document import Document, Log, mentions_and_links
from mtlfn.data.example import Example
from mtlfn.data.official import Official, Splits
from mtlfn.data.scoring import classes, spans
from mtlfn.data.semeval import mentions
from mtlfn.data.semeval.formats import semeval2021_t6 as files
from mtlfn.data.semeval.formats.semeval2021_t6 import Labelled
from mtlfn.data.statistic import F1, SET_F1, Row, empty_is_right, sets
from mtlfn.data.task import SPLITS, Dataset, Task

FOLDER = "semeval2021_t6"
TERMS = "public, free for general research use (SemEval-2021 Task 6 corpus)"


# Spans of techniques


def marked_texts(name: str, gold: Splits, folder: Path, _log: Log) -> Dataset:
    return mentions.dataset(name, gold, files.techniques(folder), discontiguous=False)


def span_rows(
    _: Dataset, gold: Sequence[Document], examples: Sequence[Example], predictions: Sequence[Any]
) -> Iterable[tuple[str, Row]]:
    """One a technique of a text."""
    marked = mentions.predicted(gold, examples, predictions)
    for document in gold:
        for earned, covered in spans.credit(document.mentions, marked[document.id]).values():
            yield document.id, (sum(earned), len(earned), sum(covered), len(covered))


def span_total(_: Dataset, gold: Sequence[Document], examples: Sequence[Example], predictions: Sequence[Any]) -> Row:
    """Shares summed technique by technique, as the organisers' rule does."""
    shares = spans.total_credit(mentions.of(gold), mentions.predicted(gold, examples, predictions)).values()
    earned = [share for each, _ in shares for share in each]
    covered = [share for _, each in shares for share in each]
    return sum(earned), len(earned), sum(covered), len(covered)


def span_scores(
    _: Dataset, gold: Sequence[Document], examples: Sequence[Example], predictions: Sequence[Any]
) -> dict[str, float]:
    return spans.partial_credit(mentions.of(gold), mentions.predicted(gold, examples, predictions))


def write_spans(dataset: Dataset, split: str, folder: Path, predictions: Sequence[Any]) -> None:
    """The predicted spans as they are scored."""
    gold = dataset.gold[split]
    marked = mentions.predicted(gold, dataset[split], predictions)
    united = {name: spans.united(each) for name, each in marked.items()}
    files.write(folder, split, mentions.with_mentions(gold, united), notes=False)


# Techniques of a text


def labelled_texts(name: str, gold: Splits, folder: Path, _log: Log) -> Dataset:
    task = Task(name=name, kind="multilabel", level=2, labels=files.techniques(folder), official=name)
    train, dev, test = (
        tuple(Example(id=i, unit=i, texts=((text, None),), labels=labels) for i, text, labels in gold[split])
        for split in SPLITS
    )
    return Dataset(task=task, train=train, dev=dev, test=test, gold=gold)


def label_rows(
    _: Dataset, gold: Sequence[Labelled], examples: Sequence[Example], predictions: Sequence[Any]
) -> Iterable[tuple[str, Row]]:
    predicted = {e.unit: set(p) for e, p in zip(examples, predictions, strict=True)}
    return [(name, sets(set(labels), predicted[name])) for name, _, labels in gold]


def label_scores(
    dataset: Dataset, gold: Sequence[Labelled], examples: Sequence[Example], predictions: Sequence[Any]
) -> dict[str, float]:
    predicted = {e.unit: p for e, p in zip(examples, predictions, strict=True)}
    return classes.labels_f1({name: labels for name, _, labels in gold}, predicted, dataset.task.labels)


def write_labels(dataset: Dataset, split: str, folder: Path, predictions: Sequence[Any]) -> None:
    rows = [
        (name, text, tuple(dict.fromkeys(labels)))
        for (name, text, _), labels in zip(dataset.gold[split], predictions, strict=True)
    ]
    files.write_labels(folder, split, rows, notes=False)


TASKS = (
    Official(
        name="semeval2021_t6",
        folder=FOLDER,
        terms=TERMS,
        metric="partial_f1",
        statistic=empty_is_right(F1),
        read=files.read,
        dataset=marked_texts,
        asked=mentions_and_links,
        rows=span_rows,
        total=span_total,
        scores=span_scores,
        write=write_spans,
    ),
    Official(
        name="semeval2021_t6_labels",
        folder=FOLDER,
        terms=TERMS,
        metric="micro_f1",
        statistic=empty_is_right(SET_F1),
        read=files.read_labels,
        dataset=labelled_texts,
        unit=lambda labelled: labelled[0],
        asked=lambda labelled: labelled[2],
        rows=label_rows,
        scores=label_scores,
        write=write_labels,
    ),
)
