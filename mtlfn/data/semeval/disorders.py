"""What the tasks of 2014 and 2015 share: mentions of disorders in notes of the ShARe corpus.

Where the user has a dictionary of them, disorders get a concept each, and the scores with CUIs stand beside the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs

from mtlfn.data import files
from mtlfn.data.document import Document, Log, decode, mention_text
from mtlfn.data.example import Example
from mtlfn.data.official import Splits
from mtlfn.data.scoring import spans
from mtlfn.data.semeval import concepts, mentions
from mtlfn.data.semeval.mentions import Mentions
from mtlfn.data.statistic import Row, sets
from mtlfn.data.task import Dataset

LABEL = "Disease_Disorder"
SCORES = tuple(f"{how}_{what}" for how in ("strict", "relaxed") for what in ("precision", "recall", "f1"))
TERMS = (
    "ShARe corpus, clinical notes of MIMIC-II: credentialed access through PhysioNet, training in human-subject "
    "research required, no redistribution"
)


class Writer(Protocol):
    """Writes the documents of a split in a format; without ``notes``, their annotations alone."""

    def __call__(self, folder: Path, split: str, documents: Iterable[Document], *, notes: bool) -> None: ...


def dataset(name: str, gold: Splits, folder: Path, log: Log) -> Dataset:
    """Disorders of the documents; with their concepts where the folder holds a dictionary."""
    plain = mentions.dataset(name, gold, (LABEL,), discontiguous=True)
    dictionary = folder / concepts.FILE
    return _with_concepts(plain, dictionary, log) if dictionary.is_file() else plain


def predicted(
    dataset: Dataset, gold: Sequence[Document], examples: Sequence[Example], predictions: Sequence[Any]
) -> Mentions:
    """As ``mentions.predicted``, each with the CUI that the data set's concepts give it; without concepts, CUI-less."""
    texts = {d.id: d.text for d in gold}
    return {
        name: tuple(
            attrs.evolve(m, attributes=(("cui", concepts.lookup(dataset.concepts, mention_text(texts[name], m))),))
            for m in each
        )
        for name, each in mentions.predicted(gold, examples, predictions).items()
    }


def rows(
    _: Dataset, gold: Sequence[Document], examples: Sequence[Example], predictions: Sequence[Any]
) -> Iterable[tuple[str, Row]]:
    """Pieces in their order, without CUIs."""
    marked = mentions.predicted(gold, examples, predictions)
    for document in gold:
        wanted = {m.pieces for m in document.mentions}
        # The official script does not see a document without a gold mention.
        yield document.id, sets(wanted, {m.pieces for m in marked[document.id]} if wanted else set())


def scores(
    dataset: Dataset,
    gold: Sequence[Document],
    examples: Sequence[Example],
    predictions: Sequence[Any],
    *,
    with_cui: Collection[str],
) -> dict[str, float]:
    """Scores without CUIs and, where the data set has concepts, those of ``with_cui``, each named ``<score>_cui``."""
    wanted, marked = mentions.of(gold), predicted(dataset, gold, examples, predictions)
    plain = spans.share_strict_relaxed(wanted, marked, with_cui=False)
    values = {name: plain[name] for name in SCORES}  # accuracies look at CUIs
    if dataset.concepts:
        both = spans.share_strict_relaxed(wanted, marked, with_cui=True)
        values |= {f"{name}_cui": both[name] for name in with_cui}
    return values


def write(writer: Writer, dataset: Dataset, split: str, folder: Path, predictions: Sequence[Any]) -> None:
    """The predicted disorders with their CUIs."""
    gold = dataset.gold[split]
    marked = predicted(dataset, gold, dataset[split], predictions)
    writer(folder, split, mentions.with_mentions(gold, marked), notes=False)


def _with_concepts(dataset: Dataset, dictionary: Path, log: Log) -> Dataset:
    """The data set with the names of its training mentions, then those of the dictionary."""
    content = files.bytes_of(dictionary)
    listed = concepts.parse(decode(content, dictionary, log), dictionary, log)
    trained = (
        (m["cui"] or concepts.NO_CUI, mention_text(d.text, m)) for d in dataset.gold["train"] for m in d.mentions
    )
    notes = {
        f"names in {concepts.FILE}": len(listed),
        f"CUIs in {concepts.FILE}": len({cui for cui, _ in listed}),
        f"SHA-256 of {concepts.FILE}": hashlib.sha256(content).hexdigest(),
    }
    known = concepts.build(trained), concepts.build(listed)
    return attrs.evolve(dataset, concepts=known, notes={**dataset.notes, **notes})
