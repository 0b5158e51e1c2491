"""The five SemEval tasks from the organisers' files: data sets, official scores, and predictions as they want them.

A name leads to a folder with the official layout; what its reader finds stays beside the examples as ``Dataset.gold``,
so that scores are those of whole documents, whatever the examples could not hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from mtlfn.data import concepts, mentions, metrics, pairs, splits
from mtlfn.data.access import TERMS
from mtlfn.data.example import DataError, Example
from mtlfn.data.formats import (
    relevancy,
    semeval2014_t7,
    semeval2015_t14,
    semeval2016_t12,
    semeval2017_t3,
    semeval2021_t6,
)
from mtlfn.data.formats.document import WITHOUT_NOTE, Document, Link, Log, Mention, Query, by_kind
from mtlfn.data.scoring import classes, ranking, spans, temporal
from mtlfn.data.task import SPLITS, Dataset, Task, kind_of

PROBLEMS = "problems by kind"  # name of the note
DISORDER = "Disease_Disorder"
SPAN_SCORES = tuple(f"{how}_{what}" for how in ("strict", "relaxed") for what in ("precision", "recall", "f1"))
CONTAINS = pairs.Candidates(
    link="TLINK:CONTAINS",
    positive="CONTAINS",
    negative="none",
    sources=("EVENT", "TIMEX3"),
    targets=("EVENT", "TIMEX3"),
    reaching=("TIMEX3",),
)
SUBTASKS = {"EVENT": "es", "TIMEX3": "ts"}  # of Clinical TempEval that find mentions of a label
Splits = Mapping[str, tuple[Any, ...]]
Gold = Sequence[Any]  # documents, queries or labelled texts


@frozen(kw_only=True)
class Official:
    """One of the tasks.

    Attributes:
        load: (name, folder, log) to the data set.
        score: (data set, gold, examples, predictions) to official scores, the primary one among them; ``gold``: what
            the examples were made of, whole.
        write: (data set, split, folder, predictions) writes the organisers' prediction file or files.
    """

    load: Callable[[str, Path, Log], Dataset]
    score: Callable[[Dataset, Gold, Sequence[Example], Sequence[Any]], dict[str, float]]
    write: Callable[[Dataset, str, Path, Sequence[Any]], None]


def load(name: str, folder: Path, *, strict: bool = False) -> Dataset:
    """The data set of an official task; DataError where the folder is missing or holds no such layout."""
    if not folder.is_dir():
        raise DataError(f"the folder {folder} of task {name} does not exist; put the official files there")
    log = Log(strict=strict)
    dataset = OFFICIAL[name].load(name, folder, log)
    done = [problem.done for problem in log.problems]
    notes = {kind: done.count(kind) for kind in ("skipped", "repaired")}
    notes |= {**log.counts, **({PROBLEMS: by_kind(log.problems)} if log.problems else {})}
    if not dataset.train:
        raise DataError(f"task {name}: no training example in {folder}{_why(name, log)}")
    return attrs.evolve(dataset, source=str(folder), notes={**notes, **dataset.notes})


def _why(name: str, log: Log) -> str:
    """Why nothing could be read, as far as the log knows."""
    told = "".join(f"; {line}" for line in by_kind(log.problems)[:3])
    if log.counts[WITHOUT_NOTE]:
        told += f". Annotations are read with the texts that they annotate, which come from elsewhere: {TERMS[name]}"
    return told


def score(
    dataset: Dataset, split: str, examples: Sequence[Example], predictions: Sequence[Any], *, whole: bool
) -> dict[str, float]:
    """Official scores of predictions; ``whole``: over all of the split, otherwise over the units of the examples."""
    units = {e.unit for e in examples}
    wanted = [g for g in dataset.gold[split] if whole or unit(g) in units]
    return OFFICIAL[dataset.task.official].score(dataset, wanted, examples, predictions)


def write(dataset: Dataset, split: str, folder: Path, predictions: Sequence[Any]) -> None:
    """The predictions of a split as the organisers' scorer reads them, below ``folder``."""
    OFFICIAL[dataset.task.official].write(dataset, split, folder, predictions)


def baselines(dataset: Dataset) -> dict[str, float]:
    """Name -> primary metric of trivial predictions on dev, as ``metrics.baselines`` says, officially scored."""
    task, train, examples = dataset.task, dataset.train, dataset.dev
    if not task.official:
        return metrics.baselines(task, train, examples)
    guesses = kind_of(task).guesses(task, train, examples)
    return {name: score(dataset, "dev", examples, g, whole=True)[task.metric] for name, g in guesses.items()}


def folder(name: str) -> str:
    """The folder of a task: its subtasks share one."""
    return "_".join(name.split("_")[:2])


def unit(gold: Any) -> str:
    """The name of a document, query or labelled text, as the examples made of it have it for their unit."""
    return gold[0] if isinstance(gold, tuple) else gold.id


def _complete(name: str, found: Splits) -> dict[str, tuple[Any, ...]]:
    """The splits; missing ones are made of the training part, the same for all subtasks of a folder.

    What is dev to one, another does not train on, as far as both have the same units.
    """
    return splits.completed(folder(name), found, unit)


# Mentions: 2014 T7, 2015 T14, 2016 T12 (times and events), 2021 T6


def _mention_files(
    writer: Callable[..., None], marked: Callable[..., dict[str, tuple[Mention, ...]]]
) -> Callable[[Dataset, str, Path, Sequence[Any]], None]:
    def made(dataset: Dataset, split: str, folder: Path, predictions: Sequence[Any]) -> None:
        gold = dataset.gold[split]
        found = marked(dataset, gold, dataset[split], predictions)
        writer(folder, split, [attrs.evolve(d, mentions=found[d.id], links=()) for d in gold], notes=False)

    return made


def _disorders(read: Callable[[Path, Log], Splits]) -> Callable[[str, Path, Log], Dataset]:
    def made(name: str, folder: Path, log: Log) -> Dataset:
        dataset = mentions.dataset(name, _complete(name, read(folder, log)), (DISORDER,), discontiguous=True)
        dictionary = folder / concepts.FILE
        return mentions.with_concepts(dataset, dictionary, log) if dictionary.is_file() else dataset

    return made


def _disorder_scores(
    *with_cui: str,
) -> Callable[[Dataset, Gold, Sequence[Example], Sequence[Any]], dict[str, float]]:
    """Scores without CUIs and, where the data set has concepts, ``with_cui``, each named ``<score>_cui``."""

    def made(dataset: Dataset, gold: Gold, examples: Sequence[Example], predictions: Sequence[Any]) -> dict[str, float]:
        wanted = {d.id: d.mentions for d in gold}
        found = mentions.found_disorders(dataset, gold, examples, predictions)
        scores = spans.share_strict_relaxed(wanted, found, with_cui=False)
        scores = {name: value for name, value in scores.items() if name in SPAN_SCORES}  # accuracies look at CUIs
        if dataset.concepts:
            both = spans.share_strict_relaxed(wanted, found, with_cui=True)
            scores |= {f"{name}_cui": both[name] for name in with_cui}
        return scores

    return made


def _times_and_events(name: str, folder: Path, log: Log) -> Dataset:
    found = _complete(name, semeval2016_t12.read(folder, log))
    return mentions.dataset(name, found, tuple(SUBTASKS), discontiguous=True)


def _time_and_event_scores(
    dataset: Dataset, gold: Gold, examples: Sequence[Example], predictions: Sequence[Any]
) -> dict[str, float]:
    found = mentions.found(dataset, gold, examples, predictions)
    scores = temporal.entities({d.id: d.mentions for d in gold}, found)
    return {
        f"{subtask}_{what}": scores[f"{what}:{label}"]
        for label, subtask in SUBTASKS.items()
        for what in ("precision", "recall", "f1")
    }


def _memes(name: str, folder: Path, log: Log) -> Dataset:
    known = semeval2021_t6.techniques(folder)
    return mentions.dataset(name, _complete(name, semeval2021_t6.read(folder, log)), known, discontiguous=False)


def _partial(dataset: Dataset, gold: Gold, examples: Sequence[Example], predictions: Sequence[Any]) -> dict[str, float]:
    found = mentions.found(dataset, gold, examples, predictions)
    return spans.partial_credit({d.id: d.mentions for d in gold}, found)


def _united(
    dataset: Dataset, gold: Sequence[Document], examples: Sequence[Example], predictions: Sequence[Any]
) -> dict[str, tuple[Mention, ...]]:
    """The predicted spans as they are scored."""
    return {name: spans.united(held) for name, held in mentions.found(dataset, gold, examples, predictions).items()}


# Labels of a text: 2021 T6, subtask 1


def _techniques(name: str, folder: Path, log: Log) -> Dataset:
    found = _complete(name, semeval2021_t6.read_labels(folder, log))
    task = Task(
        name=name,
        kind="multilabel",
        level=2,
        labels=semeval2021_t6.techniques(folder),
        official=name,
    )
    made = {
        split: tuple(Example(id=i, unit=i, texts=((text, None),), labels=labels) for i, text, labels in found[split])
        for split in SPLITS
    }
    return Dataset(task=task, **made, gold=found)


def _label_scores(
    dataset: Dataset, gold: Gold, examples: Sequence[Example], predictions: Sequence[Any]
) -> dict[str, float]:
    return classes.labels_f1(
        {name: labels for name, _, labels in gold},
        {e.unit: found for e, found in zip(examples, predictions, strict=True)},
        dataset.task.labels,
    )


def _label_files(dataset: Dataset, split: str, folder: Path, predictions: Sequence[Any]) -> None:
    rows = [
        (i, text, tuple(dict.fromkeys(found)))
        for (i, text, _), found in zip(dataset.gold[split], predictions, strict=True)
    ]
    semeval2021_t6.write_labels(folder, split, rows, notes=False)


# Links: 2016 T12


def _containment(name: str, folder: Path, log: Log) -> Dataset:
    found = _complete(name, semeval2016_t12.read(folder, log))
    task = Task(
        name=name,
        kind="relation",
        level=2,
        labels=(CONTAINS.negative, CONTAINS.positive),
        negative=CONTAINS.negative,
        official=name,
    )
    made = {split: tuple(e for d in found[split] for e in pairs.examples(d, CONTAINS)) for split in SPLITS}
    notes = {"links that are no candidates": {s: sum(pairs.unreachable(d, CONTAINS) for d in found[s]) for s in SPLITS}}
    short = {split: sum(pairs.shortened(d, CONTAINS) for d in found[split]) for split in SPLITS}
    if any(short.values()):
        notes[f"pairs shown in {pairs.STRETCH} words of a longer sentence"] = short
    return Dataset(task=task, **made, gold=found, notes=notes)


def found_links(gold: Gold, examples: Sequence[Example], predictions: Sequence[Any]) -> list[Document]:
    """The documents with the predicted links in place of their own."""
    links: dict[str, list[Link]] = {}
    for example, found in zip(examples, predictions, strict=True):
        if found == CONTAINS.positive:
            _, source, target = example.id.rsplit("|", 2)
            held = links.setdefault(example.unit, [])
            name = f"{len(held)}@r@{example.unit}@system"
            held.append(Link(id=name, label=CONTAINS.link, source=source, target=target))
    return [attrs.evolve(d, links=tuple(links.get(d.id, ()))) for d in gold]


def _contains(_: Dataset, gold: Gold, examples: Sequence[Example], predictions: Sequence[Any]) -> dict[str, float]:
    found = found_links(gold, examples, predictions)
    return temporal.contains({d.id: d for d in gold}, {d.id: d for d in found})


def _link_files(dataset: Dataset, split: str, folder: Path, predictions: Sequence[Any]) -> None:
    found = found_links(dataset.gold[split], dataset[split], predictions)
    semeval2016_t12.write(folder, split, found, notes=False)


# Rankings: 2017 T3


def _answers(subtask: semeval2017_t3.Subtask) -> Callable[[str, Path, Log], Dataset]:
    def made(name: str, folder: Path, log: Log) -> Dataset:
        found = _complete(name, _judged(subtask, semeval2017_t3.read(folder, subtask, log), log, folder))
        task = Task(name=name, kind="ranking", level=2, official=name)
        examples = {
            split: tuple(filter(None, (_query(q, subtask, training=split == "train") for q in found[split])))
            for split in SPLITS
        }
        return Dataset(task=task, **examples, gold=found)

    return made


def _judged(subtask: semeval2017_t3.Subtask, found: Splits, log: Log, folder: Path) -> Splits:
    """The splits without those that nobody judged: the test input of the organisers, which could only score 0."""

    out: dict[str, tuple[Any, ...]] = {}
    for split, held in found.items():
        labels = (semeval2017_t3.positive(subtask, c.label) for q in held for c in q.candidates)
        judged = any(label is not None for label in labels)
        if held and not judged:
            log.skipped(folder, f"split {split}", f"none of its {len(held)} queries has a label")
        out[split] = held if judged else ()
    return out


def _query(query: Query, subtask: semeval2017_t3.Subtask, *, training: bool) -> Example | None:
    """The example of a query; in training without candidates that have no label. None where no candidate is left."""
    judged = [(c, semeval2017_t3.positive(subtask, c.label)) for c in query.candidates]
    kept = [(c, good) for c, good in judged if good is not None or not training]
    if not kept:
        return None
    return Example(
        id=query.id,
        unit=query.id,
        texts=tuple((query.text, c.text) for c, _ in kept),
        labels=tuple("relevant" if good else "irrelevant" for _, good in kept),
    )


def _ranks(_: Dataset, gold: Gold, examples: Sequence[Example], predictions: Sequence[Any]) -> dict[str, float]:
    rows = [
        ([label == "relevant" for label in e.labels], found, [value > 0 for value in found])
        for e, found in zip(examples, predictions, strict=True)
    ]
    return ranking.ranking(rows)


def _rank_files(subtask: semeval2017_t3.Subtask) -> Callable[[Dataset, str, Path, Sequence[Any]], None]:
    def made(dataset: Dataset, split: str, folder: Path, predictions: Sequence[Any]) -> None:
        found = {e.id: _finite(p) for e, p in zip(dataset[split], predictions, strict=True)}
        path = folder / f"{split}.subtask{subtask}.pred"
        relevancy.write_predictions(path, subtask, [q for q in dataset.gold[split] if q.id in found], found)

    return made


def _finite(scores: Sequence[float]) -> list[float]:
    """Numbers that a file can hold, in the order and with the signs that the scores are ranked and decided by."""
    known = [score for score in scores if math.isfinite(score)]
    lowest, highest = (math.nextafter(end(known, default=0.0), to) for end, to in ((min, -math.inf), (max, math.inf)))
    lowest, highest = min(lowest, -1.0), max(highest, 1.0)
    return [s if math.isfinite(s) else highest if s == math.inf else lowest for s in scores]


OFFICIAL: dict[str, Official] = {
    "semeval2014_t7": Official(
        load=_disorders(semeval2014_t7.read),
        score=_disorder_scores("strict_accuracy", "relaxed_accuracy"),
        write=_mention_files(semeval2014_t7.write, mentions.found_disorders),
    ),
    "semeval2015_t14": Official(
        load=_disorders(semeval2015_t14.read),
        score=_disorder_scores(*SPAN_SCORES),
        write=_mention_files(semeval2015_t14.write, mentions.found_disorders),
    ),
    "semeval2016_t12": Official(load=_containment, score=_contains, write=_link_files),
    "semeval2016_t12_spans": Official(
        load=_times_and_events,
        score=_time_and_event_scores,
        write=_mention_files(semeval2016_t12.write, mentions.found),
    ),
    "semeval2017_t3": Official(load=_answers("A"), score=_ranks, write=_rank_files("A")),
    "semeval2017_t3_b": Official(load=_answers("B"), score=_ranks, write=_rank_files("B")),
    "semeval2017_t3_c": Official(load=_answers("C"), score=_ranks, write=_rank_files("C")),
    "semeval2021_t6": Official(load=_memes, score=_partial, write=_mention_files(semeval2021_t6.write, _united)),
    "semeval2021_t6_labels": Official(load=_techniques, score=_label_scores, write=_label_files),
}
