"""Cross-level attention: level-2 rows look at the level-1 features of their own row.

z = LN(h + tanh(g) softmax((W_q h)(W_k f)^T / sqrt r) f), h the top, f the level-1 features, r = 32, g = 0 at the start.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlfn.core.keys import Key, fold, uniform

SLOT = "cross_attention"
RANK = 32


def init(width: int, key: Key) -> dict[str, Tensor]:
    """The tensors at the start, float32 on the CPU; ``width`` is the size of a hidden state."""
    bound = 1 / math.sqrt(width)
    return {
        "query.weight": uniform(fold(key, SLOT, "query"), (RANK, width), bound),
        "key.weight": uniform(fold(key, SLOT, "key"), (RANK, width), bound),
        "gate": torch.zeros(()),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }


def attend(params: Mapping[str, Tensor], top: Tensor, features: Tensor, mask: Tensor | None) -> Tensor:
    """z, [rows, width, d], from the top h and the level-1 features f of the same shape.

    ``mask``: bool [rows, width], False at padding; None where there is none.
    """
    scores = F.linear(top, params["query.weight"]) @ F.linear(features, params["key.weight"]).transpose(1, 2)
    scores = scores / math.sqrt(RANK)
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, :], -math.inf)
    mixed = top + torch.tanh(params["gate"]) * (scores.softmax(-1) @ features)
    return F.layer_norm(mixed, mixed.shape[-1:], params["norm.weight"], params["norm.bias"])
