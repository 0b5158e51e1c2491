"""What the model reads of a micro-batch: token arrays of one rectangle, and labels in the form of the task's kind."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from attrs import field, frozen
from torch import Tensor

from mtlfn.core.batch import MicroBatch
from mtlfn.core.tokens import TokenCount
from mtlfn.data.store import Corpus

IGNORED = -100


@frozen(eq=False)
class Inputs:
    """One rectangle of one task, on the CPU.

    Attributes:
        input_ids, token_types: int64 [rows, width], padded on the right.
        lengths: int64 [rows], the input tokens of each row, at least 1.
        marks: int64 [rows, width]; tagging, spans: number of the word whose first token this is, else -1; relation:
            bits (see data/tokenise.py), -1 outside the text; otherwise -1.
        labels: tagging: int64 [rows, width], tag or IGNORED; relation, classification: int64 [rows], class or
            IGNORED; spans: int64 [pieces, 5]: row, mention, label, first word, width - 1 (a row that was cut has
            no word in ``marks``); multilabel: float32 [rows, labels], NaN rows are ignored; regression: float32
            [rows], NaN is ignored; ranking: int64 [pairs, 2], rows of the relevant and the irrelevant candidate.
        sequences: int64 [rows], the corpus' number of the sequence in each row: one without a token has none.
    """

    input_ids: Tensor
    token_types: Tensor
    lengths: Tensor
    marks: Tensor
    labels: Tensor
    sequences: Tensor = field(factory=lambda: torch.zeros(0, dtype=torch.int64))


def collate(corpus: Corpus, examples: Sequence[int], kept: Sequence[int] | None = None) -> MicroBatch | None:
    """The micro-batch of these examples; ``kept`` says how many tokens of each sequence survive the cut (default all).

    Token labels survive one by one; other labels survive only if every sequence of their example is whole. Sequences
    without a token are dropped. None when nothing is left.
    """
    sequences = [s for e in examples for s in corpus.sequences(e)]
    lengths = [corpus.length(s) for s in sequences]
    kept = lengths if kept is None else list(kept)
    rows = [(s, n) for s, n in zip(sequences, kept, strict=True) if n]
    if not rows:
        return None
    width = max(n for _, n in rows)
    ids = np.zeros((len(rows), width), dtype=np.int64)  # padding is masked, so any token serves
    types = np.zeros((len(rows), width), dtype=np.int64)
    marks = np.full((len(rows), width), -1, dtype=np.int64)
    for r, (s, n) in enumerate(rows):
        start = int(corpus.starts[s])
        ids[r, :n] = corpus.ids[start : start + n]
        types[r, :n] = corpus.types[start : start + n]
        marks[r, :n] = corpus.marks[start : start + n]
    row_of = {s: r for r, (s, _) in enumerate(rows)}
    whole = {s for s, n, full in zip(sequences, kept, lengths, strict=True) if 0 < n == full}
    labels, count, survived = _labels(corpus, examples, row_of, whole, marks)
    inputs = Inputs(
        input_ids=torch.from_numpy(ids),
        token_types=torch.from_numpy(types),
        lengths=torch.tensor([n for _, n in rows]),
        marks=torch.from_numpy(marks),
        labels=labels,
        sequences=torch.tensor(list(row_of)),
    )
    tokens = TokenCount(input=sum(n for _, n in rows), loss=count, padded=ids.size, examples=survived)
    return MicroBatch(corpus.task.name, inputs, tokens)


def _labels(
    corpus: Corpus, examples: Sequence[int], row_of: dict[int, int], whole: set[int], marks: np.ndarray
) -> tuple[Tensor, int, int]:
    """Labels, how many of them enter the loss, and how many examples went in (whole or in part)."""
    kind, survived = corpus.task.kind, sum(any(s in row_of for s in corpus.sequences(e)) for e in examples)
    if kind == "tagging":
        labels = np.full(marks.shape, IGNORED, dtype=np.int64)
        for e in examples:
            tags = corpus.label(e)
            for s in corpus.sequences(e):
                if s in row_of:
                    row = marks[row_of[s]]
                    labels[row_of[s]][row >= 0] = tags[row[row >= 0]]
        return torch.from_numpy(labels), int((labels != IGNORED).sum()), survived
    if kind == "spans":
        pieces, count = [], 0
        for e in examples:
            (s,) = corpus.sequences(e)
            if s in whole:
                count += 1
                pieces += _pieces(row_of[s], corpus.label(e).tolist())
            elif s in row_of:
                marks[row_of[s]] = -1
        return torch.tensor(pieces, dtype=torch.int64).view(-1, 5), count, survived
    if kind == "ranking":
        pairs = []
        for e in examples:
            rows, relevance = list(corpus.sequences(e)), corpus.label(e)
            if all(s in whole for s in rows):
                good = [row_of[s] for s, relevant in zip(rows, relevance, strict=True) if relevant]
                bad = [row_of[s] for s, relevant in zip(rows, relevance, strict=True) if not relevant]
                pairs += [(g, b) for g in good for b in bad]
        return torch.tensor(pairs, dtype=torch.int64).view(-1, 2), len(pairs), survived
    values, count = [], 0
    ignored = math.nan if kind in ("multilabel", "regression") else IGNORED
    for e in examples:
        (s,) = corpus.sequences(e)
        if s not in row_of:
            continue
        count += s in whole
        label = corpus.label(e) if s in whole else np.full(len(corpus.label(e)), ignored)
        values.append(label if kind == "multilabel" else label[0])
    form = np.int64 if ignored == IGNORED else np.float32
    return torch.from_numpy(np.array(values, dtype=form)), count, survived


def _pieces(row: int, labels: Sequence[int]) -> list[tuple[int, int, int, int, int]]:
    """The stored labels of a row of kind "spans", a tuple a piece."""
    out, at, mention = [], 0, 0
    while at < len(labels):
        label, count = labels[at : at + 2]
        for i in range(count):
            word, width = labels[at + 2 + 2 * i : at + 4 + 2 * i]
            out.append((row, mention, label, word, width))
        at, mention = at + 2 + 2 * count, mention + 1
    return out
