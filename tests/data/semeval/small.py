"""Small corpora for every official task, and predictions for them: the first documents of the embedded corpora.

Every fifth document has nothing to find, every seventh clinical note of the test split is one without links.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from attrs import evolve

from mtlfn.data.document import Candidate, Document, Query
from mtlfn.data.embedded import corpus as embedded
from mtlfn.data.embedded.draw import stream
from mtlfn.data.example import Example
from mtlfn.data.official import OFFICIAL
from mtlfn.data.semeval import loading
from mtlfn.data.semeval.formats import semeval2017_t3
from mtlfn.data.task import Dataset, Task

Rng = np.random.Generator
SIZES = {"train": 12, "dev": 3, "test": 15}  # documents
ODD = (math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-300, 1e308)


def drawn(rng: Rng, low: int, high: int) -> int:
    return int(rng.integers(low, high))


def nothing(gold: Any) -> Any:
    """A document, query or labelled text with nothing to find."""
    if isinstance(gold, Document):
        return evolve(gold, mentions=(), links=())
    if isinstance(gold, Query):
        return evolve(gold, candidates=tuple(evolve(c, label="Bad") for c in gold.candidates))
    return (*gold[:2], ())


def write(folder: Path) -> Path:
    """The corpora, as data folders: those of subtasks B and C below folders of their own."""
    for name, corpus in embedded.CORPORA.items():
        (folder / name).mkdir()
        for split, count in SIZES.items():
            numbered = (corpus.document(split, i, stream(name, split, i), lambda *_: True) for i in range(count))
            documents = [nothing(d) if i % 5 == 4 else d for i, d in enumerate(numbered)]
            if name == "semeval2016_t12":
                documents = [_pathology(d) if i % 7 == 6 else d for i, d in enumerate(documents)]
            corpus.write(folder / name, split, tuple(documents))
    rng = np.random.default_rng(3)
    for subtask in ("B", "C"):
        for split, count in SIZES.items():
            queries = [_query(f"Q{split}{n}", subtask, rng) for n in range(count)]
            semeval2017_t3.write(folder / subtask / "semeval2017_t3", split, subtask, queries)
    return folder


def load(name: str, folder: Path) -> Dataset:
    below = folder / name[-1].upper() if name in ("semeval2017_t3_b", "semeval2017_t3_c") else folder
    return loading.load(name, below / OFFICIAL[name].folder)


def prediction(task: Task, rng: Rng, e: Example) -> Any:
    """Often right, in part or wholly."""
    right = rng.random() < 0.5
    if task.kind == "spans":
        marks = [[label, [list(p) for p in at]] for label, at in e.mentions if right or rng.random() < 0.4]
        for _ in range(drawn(rng, 0, 3)):
            places = sorted(rng.choice(len(e.words), size=2 if task.discontiguous else 1))
            pieces = [[e.words[i][0] + e.offset, e.words[i][1] + e.offset] for i in dict.fromkeys(places)]
            marks.append([task.labels[drawn(rng, 0, len(task.labels))], pieces])
        return marks
    if task.kind == "ranking":
        return [(math.nan, 0.0, 1.0, float(rng.normal()))[drawn(rng, 0, 4)] for _ in e.texts]
    if task.kind == "multilabel":
        return list(e.labels) if right else rng.choice(task.labels, size=drawn(rng, 0, 4)).tolist()
    return e.labels[0] if right else task.labels[drawn(rng, 0, len(task.labels))]


def odd(task: Task, rng: Rng, e: Example) -> Any:
    """Like nothing in training: mentions nested, overlapping, touching, equal, of one character, in any order; labels
    twice; scores that are no numbers."""
    if task.kind == "ranking":
        return [ODD[drawn(rng, 0, len(ODD))] for _ in e.texts]
    if task.kind == "multilabel":
        return rng.choice(task.labels, size=drawn(rng, 0, 6)).tolist()
    if task.kind != "spans":
        return prediction(task, rng, e)
    first, end = e.offset, e.offset + len(e.texts[0][0])
    marks = []
    for _ in range(drawn(rng, 0, 8)):
        starts = [drawn(rng, first, end - 1) for _ in range(drawn(rng, 1, 4) if task.discontiguous else 1)]
        pieces = [[a, min(a + drawn(rng, 1, 12), end)] for a in starts]
        marks.append([task.labels[drawn(rng, 0, min(len(task.labels), 3))], pieces])
    return marks + marks[:1]


def _pathology(document: Document) -> Document:
    return evolve(document, id=document.id.replace("clinic", "path"), links=(), linked=False)


def _query(name: str, subtask: str, rng: Rng) -> Query:
    """With several related questions."""
    related = [f"{name}_R{r}" for r in range(1, 5)]
    names = related if subtask == "B" else [f"{r}_C{c}" for r in related for c in range(1, 4)]
    known = list(semeval2017_t3.LABELS[subtask])
    candidates = []
    for i, each in enumerate(names):
        rank = i + 1 if subtask == "B" else 100 * (i // 3 + 1) + i % 3 + 1
        candidates.append(Candidate(id=each, text=f"{each} text", label=known[drawn(rng, 0, len(known))], rank=rank))
    return Query(id=name, text=f"question {name}\n\nbody", candidates=tuple(candidates))
