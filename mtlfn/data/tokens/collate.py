"""What the model reads of a micro-batch: token arrays of one rectangle, and labels in the form of the task's kind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from attrs import field, frozen
from torch import Tensor

from mtlfn.core.batch import MicroBatch
from mtlfn.core.tokens import TokenCount
from mtlfn.data.task import kind_of
from mtlfn.data.tokens.store import Corpus


@frozen(eq=False)
class Inputs:
    """One rectangle of one task, on the CPU.

    Attributes:
        input_ids, token_types: int64 [rows, width], padded on the right.
        lengths: int64 [rows], the input tokens of each row, at least 1.
        marks: int64 [rows, width]; tagging, spans: number of the word whose first token this is, else -1; relation:
            bits (see data/kinds/relation.py), -1 outside the text; otherwise -1.
        labels: tagging: int64 [rows, width], tag or IGNORED; relation, classification: int64 [rows], class or
            IGNORED; spans: int64 [pieces, 5]: row, mention, label, first word, width - 1 (a row that was cut has
            no word in ``marks``); multilabel: float32 [rows, labels], NaN rows are ignored; regression: float32
            [rows], NaN is ignored; ranking, graded: int64 [pairs, 2], rows of the better and the worse candidate.
        sequences: int64 [rows], the corpus' number of the sequence in each row: one without a token has none.
    """

    input_ids: Tensor
    token_types: Tensor
    lengths: Tensor
    marks: Tensor
    labels: Tensor
    sequences: Tensor = field(factory=lambda: torch.zeros(0, dtype=torch.int64))


def collate(corpus: Corpus, examples: Sequence[int], surviving: Sequence[int] | None = None) -> MicroBatch | None:
    """The micro-batch of these examples; ``surviving`` says how many tokens of each sequence survive (default all).

    Token labels survive one by one; other labels survive only if every sequence of their example is whole. Sequences
    without a token are dropped. None when nothing is left.
    """
    sequences = [s for e in examples for s in corpus.sequences(e)]
    lengths = [corpus.length(s) for s in sequences]
    surviving = lengths if surviving is None else list(surviving)
    rows = [(s, n) for s, n in zip(sequences, surviving, strict=True) if n]
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
    whole = {s for s, n, full in zip(sequences, surviving, lengths, strict=True) if 0 < n == full}
    labels, count = kind_of(corpus.task).targets(corpus, examples, row_of, whole, marks)
    survived = sum(any(s in row_of for s in corpus.sequences(e)) for e in examples)  # whole or in part
    inputs = Inputs(
        input_ids=torch.from_numpy(ids),
        token_types=torch.from_numpy(types),
        lengths=torch.tensor([n for _, n in rows]),
        marks=torch.from_numpy(marks),
        labels=torch.from_numpy(labels),
        sequences=torch.tensor(list(row_of)),
    )
    tokens = TokenCount(input=sum(n for _, n in rows), loss=count, padded=ids.size, examples=survived)
    return MicroBatch(corpus.task.name, inputs, tokens)
