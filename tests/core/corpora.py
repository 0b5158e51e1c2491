"""Corpora made directly of arrays, for all kinds of task but spans: every token id names its own position, so that what
a micro-batch holds can be traced back."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from mtlfn.data.task import Task
from mtlfn.data.tokens.store import Corpus

KINDS = ("tagging", "relation", "ranking", "classification", "multilabel", "regression")


def corpus(name: str, kind: str, lengths: list[list[int]], seed: int) -> Corpus:
    """Examples with sequences of these lengths; labels, marks and token types drawn from the seed."""
    random = np.random.default_rng(seed)
    flat = [n for sequences in lengths for n in sequences]
    labels: list[list[float]] = []
    marks = []
    for sequences in lengths:
        (n, *_) = sequences
        if kind == "tagging":
            first = random.random(n) < 0.6
            marks.append(np.where(first, np.cumsum(first) - 1, -1))
            labels.append(random.integers(0, 3, first.sum()).tolist())
        elif kind == "relation":
            marks.append(random.integers(0, 4, n))
            labels.append([int(random.integers(0, 3))])
        else:
            marks += [np.full(m, -1) for m in sequences]
            labels.append(
                random.integers(0, 2, len(sequences)).tolist()
                if kind == "ranking"
                else random.integers(0, 2, 4).tolist()
                if kind == "multilabel"
                else [float(random.normal())]
                if kind == "regression"
                else [int(random.integers(0, 5))]
            )
    return Corpus(
        task=Task(name=name, kind=kind, level=1 if kind == "tagging" else 2, labels=("x", "y", "z", "w")),
        ids=np.arange(sum(flat), dtype=np.int32),
        types=random.integers(0, 2, sum(flat)).astype(np.int32),
        marks=np.concatenate(marks).astype(np.int32),
        starts=np.cumsum([0, *flat]).astype(np.int64),
        examples=np.cumsum([0, *map(len, lengths)]).astype(np.int64),
        labels=np.array([v for row in labels for v in row], dtype=np.float32 if kind == "regression" else np.int32),
        label_starts=np.cumsum([0, *map(len, labels)]).astype(np.int64),
        digest="",
        notes={},
    )


@st.composite
def corpora(draw: st.DrawFn, min_tasks: int = 1, max_examples: int = 8) -> dict[str, Corpus]:
    """One to five tasks in canonical order; each kind may occur. Only ranking has several sequences an example."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=min_tasks, max_size=5))
    made = {}
    for number, kind in enumerate(kinds):
        name, most = f"{kind}{number}", 4 if kind == "ranking" else 1
        sequences = st.lists(st.integers(1, 20), min_size=1, max_size=most)
        lengths = draw(st.lists(sequences, min_size=1, max_size=max_examples))
        made[name] = corpus(name, kind, lengths, draw(st.integers(0, 2**31)))
    return made
