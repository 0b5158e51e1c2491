"""Tagging: one linear layer a token; a word is read at its first token. Logits: [rows, width, tags]."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mtlfn.data.task import Task
from mtlfn.data.tokens.collate import Inputs
from mtlfn.models.heads.classes import by_frequency, cross_entropy_sum
from mtlfn.models.heads.head import Head, Params, one_linear


def logits(task: Task, params: Params, features: Tensor, inputs: Inputs, causal: bool) -> Tensor:
    """[rows, width, tags]."""
    return F.linear(features, params["out.weight"], params["out.bias"])


def decode(task: Task, logits: Tensor, marks: Tensor) -> list[dict[int, str]]:
    """Word number -> tag, of each row; ``marks``: the word number of a word's first token, else negative."""
    tags = logits.argmax(-1).cpu()
    return [
        {int(w): task.classes[int(t)] for w, t in zip(words, row, strict=True) if w >= 0}
        for words, row in zip(marks.tolist(), tags.tolist(), strict=True)
    ]


HEAD = Head(init=one_linear, logits=logits, loss_sum=cross_entropy_sum, decode=decode, class_weights=by_frequency(-0.5))
