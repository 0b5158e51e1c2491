"""Relations: a hidden layer over the whole sequence, the sign before each mention, and the mention's tokens.

Logits: [rows, classes].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlfn.core.keys import Key
from mtlfn.data.kinds.relation import HEAD as HEAD_MENTION
from mtlfn.data.kinds.relation import HEAD_SIGN, TAIL, TAIL_SIGN
from mtlfn.data.task import Task
from mtlfn.data.tokens.collate import Inputs
from mtlfn.models.heads.classes import by_frequency, cross_entropy_sum, likeliest
from mtlfn.models.heads.head import Head, Params, linear, mean, pooled
from mtlfn.models.transfer import moved

READ = (HEAD_SIGN, HEAD_MENTION, TAIL_SIGN, TAIL)  # beside the whole sequence


def init(task: Task, width: int, key: Key) -> dict[str, Tensor]:
    """``dense``: from the five features to one; ``out``: from that to the classes."""
    dense = linear(task, "dense", width, (1 + len(READ)) * width, key)
    return {**dense, **linear(task, "out", len(task.classes), width, key)}


def logits(task: Task, params: Params, features: Tensor, inputs: Inputs, causal: bool) -> Tensor:
    """[rows, classes]."""
    marks = moved(inputs.marks, features.device).clamp(min=0)
    parts = [pooled(features, inputs, causal), *(mean(features, (marks & bit) > 0) for bit in READ)]
    hidden = F.gelu(F.linear(torch.cat(parts, dim=-1), params["dense.weight"], params["dense.bias"]))
    return F.linear(hidden, params["out.weight"], params["out.bias"])


HEAD = Head(init=init, logits=logits, loss_sum=cross_entropy_sum, decode=likeliest, class_weights=by_frequency(-0.75))
