"""SemEval-2016 Task 12, Clinical TempEval: what given times and events contain (CR), and which there are (TS, ES)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from mtlfn.data.document import Document, Link, Log, mentions_and_links
from mtlfn.data.example import Example
from mtlfn.data.official import Official, Splits
from mtlfn.data.scoring import temporal
from mtlfn.data.semeval import mentions, pairs
from mtlfn.data.semeval.formats import semeval2016_t12 as files
from mtlfn.data.statistic import F1, Row, empty_is_right, sets
from mtlfn.data.task import SPLITS, Dataset, Task

FOLDER = "semeval2016_t12"
TERMS = (
    "THYME colon cancer notes: data use agreement with the Mayo Clinic; the annotations alone are public "
    "(stylerw/thymedata)"
)
CONTAINS = pairs.Candidates(
    link="TLINK:CONTAINS",
    positive="CONTAINS",
    negative="none",
    sources=("EVENT", "TIMEX3"),
    targets=("EVENT", "TIMEX3"),
    reaching=("TIMEX3",),
)
SUBTASKS = {"EVENT": "es", "TIMEX3": "ts"}  # that find mentions of a label


# Links between given mentions


def containment(name: str, gold: Splits, _folder: Path, _log: Log) -> Dataset:
    task = Task(
        name=name,
        kind="relation",
        level=2,
        labels=(CONTAINS.negative, CONTAINS.positive),
        negative=CONTAINS.negative,
        official=name,
    )
    train, dev, test = (tuple(e for d in gold[split] for e in pairs.examples(d, CONTAINS)) for split in SPLITS)
    notes = {"links that are no candidates": {s: sum(pairs.unreachable(d, CONTAINS) for d in gold[s]) for s in SPLITS}}
    short = {split: sum(pairs.shortened(d, CONTAINS) for d in gold[split]) for split in SPLITS}
    if any(short.values()):
        notes[f"pairs shown in {pairs.STRETCH} words of a longer sentence"] = short
    return Dataset(task=task, train=train, dev=dev, test=test, gold=gold, notes=notes)


def linked(gold: Sequence[Document], examples: Sequence[Example], predictions: Sequence[Any]) -> list[Document]:
    """The documents with the predicted links in place of their own."""
    links: dict[str, list[Link]] = {}
    for example, prediction in zip(examples, predictions, strict=True):
        if prediction == CONTAINS.positive:
            _, source, target = example.id.rsplit("|", 2)
            earlier = links.setdefault(example.unit, [])
            name = f"{len(earlier)}@r@{example.unit}@system"
            earlier.append(Link(id=name, label=CONTAINS.link, source=source, target=target))
    return [attrs.evolve(d, links=tuple(links.get(d.id, ()))) for d in gold]


def link_rows(
    _: Dataset, gold: Sequence[Document], examples: Sequence[Example], predictions: Sequence[Any]
) -> Iterable[tuple[str, Row]]:
    both = zip(gold, linked(gold, examples, predictions), strict=True)
    return [(wanted.id, temporal.link_counts(wanted, given)) for wanted, given in both]


def link_scores(
    _: Dataset, gold: Sequence[Document], examples: Sequence[Example], predictions: Sequence[Any]
) -> dict[str, float]:
    return temporal.contains({d.id: d for d in gold}, {d.id: d for d in linked(gold, examples, predictions)})


def write_links(dataset: Dataset, split: str, folder: Path, predictions: Sequence[Any]) -> None:
    files.write(folder, split, linked(dataset.gold[split], dataset[split], predictions), notes=False)


# Mentions


def times_and_events(name: str, gold: Splits, _folder: Path, _log: Log) -> Dataset:
    return mentions.dataset(name, gold, tuple(SUBTASKS), discontiguous=True)


def event_rows(
    _: Dataset, gold: Sequence[Document], examples: Sequence[Example], predictions: Sequence[Any]
) -> Iterable[tuple[str, Row]]:
    """Events alone: the primary metric is that of ES."""
    marked = mentions.predicted(gold, examples, predictions)
    for document in gold:
        both = ({m.pieces for m in each if m.label == "EVENT"} for each in (document.mentions, marked[document.id]))
        yield document.id, sets(*both)


def time_and_event_scores(
    _: Dataset, gold: Sequence[Document], examples: Sequence[Example], predictions: Sequence[Any]
) -> dict[str, float]:
    scores = temporal.entities(mentions.of(gold), mentions.predicted(gold, examples, predictions))
    return {
        f"{subtask}_{what}": scores[f"{what}:{label}"]
        for label, subtask in SUBTASKS.items()
        for what in ("precision", "recall", "f1")
    }


def write_mentions(dataset: Dataset, split: str, folder: Path, predictions: Sequence[Any]) -> None:
    gold = dataset.gold[split]
    marked = mentions.predicted(gold, dataset[split], predictions)
    files.write(folder, split, mentions.with_mentions(gold, marked), notes=False)


TASKS = (
    Official(
        name="semeval2016_t12",
        folder=FOLDER,
        terms=TERMS,
        metric="contains_f1",
        statistic=empty_is_right(F1),
        read=files.read,
        dataset=containment,
        asked=mentions_and_links,
        rows=link_rows,
        scores=link_scores,
        write=write_links,
    ),
    Official(
        name="semeval2016_t12_spans",
        folder=FOLDER,
        terms=TERMS,
        metric="es_f1",
        statistic=empty_is_right(F1),
        read=files.read,
        dataset=times_and_events,
        asked=mentions_and_links,
        rows=event_rows,
        scores=time_and_event_scores,
        write=write_mentions,
    ),
)
