"""The five SemEval tasks from the organisers' files: data sets, official scores, and predictions as they want them.

A name leads to a folder with the official layout; what its reader finds stays beside the examples as ``Dataset.gold``,
so that scores are those of whole documents, whatever the examples could not hold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from mtlfn.data import metrics, pairs, windows
from mtlfn.data.formats import (
    relevancy,
    semeval2014_t7,
    semeval2015_t14,
    semeval2016_t12,
    semeval2017_t3,
    semeval2021_t6,
)
from mtlfn.data.formats.document import Document, Link, Log, Mention, Query
from mtlfn.data.scoring import classes, ranking, spans, temporal
from mtlfn.data.task import SPLITS, DataError, Dataset, Example, Task, label_counts

WIDEST = 64  # words of a candidate span, at most
DISORDER = "Disease_Disorder"
CONTAINS = pairs.Candidates(
    link="TLINK:CONTAINS",
    positive="CONTAINS",
    negative="none",
    sources=("EVENT", "TIMEX3"),
    targets=("EVENT", "TIMEX3"),
    reaching=("TIMEX3",),
)
Splits = Mapping[str, tuple[Any, ...]]
Gold = Sequence[Any]  # documents, queries or labelled texts


@frozen(kw_only=True)
class Official:
    """One of the tasks.

    Attributes:
        load: (name, folder, log) to the data set.
        score: (task, gold, examples, predictions) to official scores, the primary one among them; ``gold``: what
            the examples were made of, whole.
        write: (folder, split, gold, examples, predictions) writes the organisers' prediction file or files.
    """

    load: Callable[[str, Path, Log], Dataset]
    score: Callable[[Task, Gold, Sequence[Example], Sequence[Any]], dict[str, float]]
    write: Callable[[Path, str, Gold, Sequence[Example], Sequence[Any]], None]


def load(name: str, folder: Path, *, strict: bool = False) -> Dataset:
    """The data set of an official task; DataError where the folder is missing or holds no such layout."""
    if not folder.is_dir():
        raise DataError(f"the folder {folder} of task {name} does not exist; put the official files there")
    log = Log(strict=strict)
    dataset = OFFICIAL[name].load(name, folder, log)
    done = [problem.done for problem in log.problems]
    notes = {kind: done.count(kind) for kind in ("skipped", "repaired")}
    notes |= {"first problems": [str(problem) for problem in log.problems[:10]]} if log.problems else {}
    return attrs.evolve(dataset, source=str(folder), notes={**notes, **dataset.notes})


def score(
    dataset: Dataset, split: str, examples: Sequence[Example], predictions: Sequence[Any], *, whole: bool
) -> dict[str, float]:
    """Official scores of predictions; ``whole``: over all of the split, otherwise over the units of the examples."""
    units = {e.unit for e in examples}
    wanted = [g for g in dataset.gold[split] if whole or _name(g) in units]
    return OFFICIAL[dataset.task.official].score(dataset.task, wanted, examples, predictions)


def write(dataset: Dataset, split: str, folder: Path, predictions: Sequence[Any]) -> None:
    """The predictions of a split as the organisers' scorer reads them, below ``folder``."""
    OFFICIAL[dataset.task.official].write(folder, split, dataset.gold[split], dataset[split], predictions)


def baselines(dataset: Dataset) -> dict[str, float]:
    """Name -> primary metric of trivial predictions on dev, as ``metrics.baselines`` says, officially scored."""
    task, train, examples = dataset.task, dataset.train, dataset.dev
    if not task.official:
        return metrics.baselines(task, train, examples)
    if task.kind == "spans":
        guesses = {"majority": metrics.whole_texts(train, examples), "lookup": metrics.known_spans(train, examples)}
    elif task.kind == "ranking":
        guesses = {"order of the list": [[0.0] * len(e.texts) for e in examples]}
    else:
        counts = {label: n for label, n in label_counts(task, train).items() if label != task.negative}
        usual = max(sorted(counts), key=counts.__getitem__)
        guesses = {"majority": [usual if task.kind == "relation" else [usual]] * len(examples)}
    return {name: score(dataset, "dev", examples, g, whole=True)[task.metric] for name, g in guesses.items()}


def folder(name: str) -> str:
    """The folder of a task: its subtasks share one."""
    return "_".join(name.split("_")[:2])


def _name(gold: Any) -> str:
    return gold[0] if isinstance(gold, tuple) else gold.id


def _with_dev(name: str, found: Splits) -> dict[str, tuple[Any, ...]]:
    """The splits; without a dev split, every tenth unit of training, by a hash of its id."""
    if found["dev"] or not found["train"]:
        return dict(found)

    def held_out(gold: Any) -> bool:
        return int(hashlib.sha256(f"{name}:{_name(gold)}".encode()).hexdigest()[:8], 16) % 10 == 0

    train, dev = ([g for g in found["train"] if held_out(g) == out] for out in (False, True))
    return {**found, "train": tuple(train), "dev": tuple(dev)}


# Mentions: 2014 T7, 2015 T14, 2021 T6


def _mentions(name: str, found: Splits, labels: tuple[str, ...], *, discontiguous: bool) -> Dataset:
    found = _with_dev(name, found)
    made = {
        split: tuple(e for d in found[split] for e in windows.examples(d, labels, training=split == "train"))
        for split in SPLITS
    }
    widths = [b - a for e in made["train"] for _, p in e.mentions for a, b in windows.in_words(e, p) or ()]
    task = Task(
        name=name,
        kind="spans",
        level=1,
        labels=labels,
        max_width=min(max(widths, default=1), WIDEST),
        discontiguous=discontiguous,
        official=name,
    )
    return Dataset(task=task, **made, gold=found)


def _found_mentions(
    gold: Sequence[Document], examples: Sequence[Example], predictions: Sequence[Any]
) -> dict[str, tuple[Mention, ...]]:
    """Document id -> predicted mentions, each once, in text order."""
    held: dict[str, set[tuple[tuple[tuple[int, int], ...], str]]] = {d.id: set() for d in gold}
    for example, mentions in zip(examples, predictions, strict=True):
        for label, pieces in mentions:
            held.setdefault(example.unit, set()).add((tuple((a, b) for a, b in pieces), label))
    return {
        name: tuple(Mention(id=str(i), label=label, pieces=pieces) for i, (pieces, label) in enumerate(sorted(each)))
        for name, each in held.items()
    }


def _disorders(read: Callable[[Path, Log], Splits]) -> Callable[[str, Path, Log], Dataset]:
    def made(name: str, folder: Path, log: Log) -> Dataset:
        return _mentions(name, read(folder, log), (DISORDER,), discontiguous=True)

    return made


def _memes(name: str, folder: Path, log: Log) -> Dataset:
    known = semeval2021_t6.techniques(folder)
    return _mentions(name, semeval2021_t6.read(folder, log), known, discontiguous=False)


def _mention_files(
    writer: Callable[..., None], complete: Callable[[Mention], Mention]
) -> Callable[[Path, str, Gold, Sequence[Example], Sequence[Any]], None]:
    def made(folder: Path, split: str, gold: Gold, examples: Sequence[Example], predictions: Sequence[Any]) -> None:
        found = _found_mentions(gold, examples, predictions)
        documents = [attrs.evolve(d, mentions=tuple(map(complete, found[d.id])), links=()) for d in gold]
        writer(folder, split, documents, notes=False)

    return made


def _with(*attributes: tuple[str, str]) -> Callable[[Mention], Mention]:
    return lambda mention: attrs.evolve(mention, attributes=attributes)


def _strict_and_relaxed(
    _: Task, gold: Gold, examples: Sequence[Example], predictions: Sequence[Any]
) -> dict[str, float]:
    found = _found_mentions(gold, examples, predictions)
    return spans.share_strict_relaxed({d.id: d.mentions for d in gold}, found, with_cui=False)


def _partial(_: Task, gold: Gold, examples: Sequence[Example], predictions: Sequence[Any]) -> dict[str, float]:
    return spans.partial_credit({d.id: d.mentions for d in gold}, _found_mentions(gold, examples, predictions))


# Labels of a text: 2021 T6, subtask 1


def _techniques(name: str, folder: Path, log: Log) -> Dataset:
    found = _with_dev(name, semeval2021_t6.read_labels(folder, log))
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
    task: Task, gold: Gold, examples: Sequence[Example], predictions: Sequence[Any]
) -> dict[str, float]:
    return classes.labels_f1(
        {name: labels for name, _, labels in gold},
        {e.unit: found for e, found in zip(examples, predictions, strict=True)},
        task.labels,
    )


def _label_files(folder: Path, split: str, gold: Gold, examples: Sequence[Example], predictions: Sequence[Any]) -> None:
    rows = [(i, text, tuple(found)) for (i, text, _), found in zip(gold, predictions, strict=True)]
    semeval2021_t6.write_labels(folder, split, rows, notes=False)


# Links: 2016 T12


def _containment(name: str, folder: Path, log: Log) -> Dataset:
    found = _with_dev(name, semeval2016_t12.read(folder, log))
    task = Task(
        name=name,
        kind="relation",
        level=2,
        labels=(CONTAINS.negative, CONTAINS.positive),
        negative=CONTAINS.negative,
        official=name,
    )
    made = {split: tuple(e for d in found[split] for e in pairs.examples(d, CONTAINS)) for split in SPLITS}
    lost = {split: sum(pairs.unreachable(d, CONTAINS) for d in found[split]) for split in SPLITS}
    return Dataset(task=task, **made, gold=found, notes={"links that are no candidates": lost})


def _found_links(gold: Gold, examples: Sequence[Example], predictions: Sequence[Any]) -> list[Document]:
    """The documents with the predicted links in place of their own."""
    links: dict[str, list[Link]] = {}
    for example, found in zip(examples, predictions, strict=True):
        if found == CONTAINS.positive:
            _, source, target = example.id.rsplit("|", 2)
            held = links.setdefault(example.unit, [])
            name = f"{len(held)}@r@{example.unit}@system"
            held.append(Link(id=name, label=CONTAINS.link, source=source, target=target))
    return [attrs.evolve(d, links=tuple(links.get(d.id, ()))) for d in gold]


def _contains(_: Task, gold: Gold, examples: Sequence[Example], predictions: Sequence[Any]) -> dict[str, float]:
    found = _found_links(gold, examples, predictions)
    return temporal.contains({d.id: d for d in gold}, {d.id: d for d in found})


def _link_files(folder: Path, split: str, gold: Gold, examples: Sequence[Example], predictions: Sequence[Any]) -> None:
    semeval2016_t12.write(folder, split, _found_links(gold, examples, predictions), notes=False)


# Rankings: 2017 T3


def _answers(subtask: semeval2017_t3.Subtask) -> Callable[[str, Path, Log], Dataset]:
    def made(name: str, folder: Path, log: Log) -> Dataset:
        found = _with_dev(name, semeval2017_t3.read(folder, subtask, log))
        task = Task(name=name, kind="ranking", level=2, official=name)
        examples = {
            split: tuple(filter(None, (_query(q, subtask, training=split == "train") for q in found[split])))
            for split in SPLITS
        }
        return Dataset(task=task, **examples, gold=found)

    return made


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


def _ranks(_: Task, gold: Gold, examples: Sequence[Example], predictions: Sequence[Any]) -> dict[str, float]:
    rows = [
        ([label == "relevant" for label in e.labels], found, [value > 0 for value in found])
        for e, found in zip(examples, predictions, strict=True)
    ]
    return ranking.ranking(rows)


def _rank_files(
    subtask: semeval2017_t3.Subtask,
) -> Callable[[Path, str, Gold, Sequence[Example], Sequence[Any]], None]:
    def made(folder: Path, split: str, gold: Gold, examples: Sequence[Example], predictions: Sequence[Any]) -> None:
        found = {e.id: list(p) for e, p in zip(examples, predictions, strict=True)}
        path = folder / f"{split}.subtask{subtask}.pred"
        relevancy.write_predictions(path, subtask, [q for q in gold if q.id in found], found)

    return made


OFFICIAL: dict[str, Official] = {
    "semeval2014_t7": Official(
        load=_disorders(semeval2014_t7.read),
        score=_strict_and_relaxed,
        write=_mention_files(semeval2014_t7.write, _with(("cui", "CUI-less"))),
    ),
    "semeval2015_t14": Official(
        load=_disorders(semeval2015_t14.read),
        score=_strict_and_relaxed,
        write=_mention_files(semeval2015_t14.write, _with(("cui", "CUI-less"))),
    ),
    "semeval2016_t12": Official(load=_containment, score=_contains, write=_link_files),
    "semeval2017_t3": Official(load=_answers("A"), score=_ranks, write=_rank_files("A")),
    "semeval2017_t3_b": Official(load=_answers("B"), score=_ranks, write=_rank_files("B")),
    "semeval2017_t3_c": Official(load=_answers("C"), score=_ranks, write=_rank_files("C")),
    "semeval2021_t6": Official(load=_memes, score=_partial, write=_mention_files(semeval2021_t6.write, _with())),
    "semeval2021_t6_labels": Official(load=_techniques, score=_label_scores, write=_label_files),
}
