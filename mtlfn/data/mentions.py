"""Documents with mentions as a data set of kind "spans", and its predictions as mentions of documents again.

Disorders also get a concept each, where the user has a dictionary of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from mtlfn.data import concepts, files, windows
from mtlfn.data.example import Example
from mtlfn.data.formats.document import Document, Log, Mention, decode, mention_text
from mtlfn.data.task import SPLITS, Dataset, Task

WIDEST = 64  # words of a candidate span, at most


def dataset(
    name: str, found: Mapping[str, tuple[Document, ...]], labels: tuple[str, ...], *, discontiguous: bool
) -> Dataset:
    """The official task ``name`` of kind "spans": mentions with these labels in the documents of every split."""
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


def found(
    _: Dataset, gold: Sequence[Document], examples: Sequence[Example], predictions: Sequence[Any]
) -> dict[str, tuple[Mention, ...]]:
    """Document id -> predicted mentions, each once, in text order.

    Args:
        predictions: for each of the examples, its (label, pieces) in characters of the document.
    """
    held: dict[str, set[tuple[tuple[tuple[int, int], ...], str]]] = {d.id: set() for d in gold}
    for example, mentions in zip(examples, predictions, strict=True):
        for label, pieces in mentions:
            held.setdefault(example.unit, set()).add((tuple((a, b) for a, b in pieces), label))
    return {
        name: tuple(
            # Ids as Anafora has them; the other formats write none.
            Mention(id=f"{i}@e@{name}@system", label=label, pieces=pieces)
            for i, (pieces, label) in enumerate(sorted(each))
        )
        for name, each in held.items()
    }


def with_concepts(data: Dataset, dictionary: Path, log: Log) -> Dataset:
    """The data set with the names of its training mentions, then those of the dictionary."""
    content = files.bytes_of(dictionary)
    listed = concepts.parse(decode(content, dictionary, log), dictionary, log)
    seen = ((m["cui"] or concepts.NO_CUI, mention_text(d.text, m)) for d in data.gold["train"] for m in d.mentions)
    notes = {
        f"names in {concepts.FILE}": len(listed),
        f"CUIs in {concepts.FILE}": len({cui for cui, _ in listed}),
        f"SHA-256 of {concepts.FILE}": hashlib.sha256(content).hexdigest(),
    }
    known = concepts.build(seen), concepts.build(listed)
    return attrs.evolve(data, concepts=known, notes={**data.notes, **notes})


def found_disorders(
    data: Dataset, gold: Sequence[Document], examples: Sequence[Example], predictions: Sequence[Any]
) -> dict[str, tuple[Mention, ...]]:
    """As ``found``, each with the CUI that the data set's concepts give it; without concepts, CUI-less."""
    texts = {d.id: d.text for d in gold}
    return {
        name: tuple(
            attrs.evolve(m, attributes=(("cui", concepts.lookup(data.concepts, mention_text(texts[name], m))),))
            for m in mentions
        )
        for name, mentions in found(data, gold, examples, predictions).items()
    }
