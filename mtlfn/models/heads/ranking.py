"""Ranking: one score a candidate; a relevant one should score a margin above an irrelevant one. Logits: [rows, 1]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlfn.core.keys import Key
from mtlfn.data.task import Task
from mtlfn.data.tokens.collate import Inputs
from mtlfn.models.heads.head import Head, of_pooled, one_linear
from mtlfn.models.transfer import moved

MARGIN = 1.0


def init(task: Task, width: int, key: Key) -> dict[str, Tensor]:
    """A linear layer without bias, which would add the same to every candidate: no gradient would ever reach it."""
    return {"out.weight": one_linear(task, width, key)["out.weight"]}


def loss_sum(task: Task, logits: Tensor, inputs: Inputs, weights: Tensor | None) -> Tensor:
    """Over the pairs of a relevant and an irrelevant candidate."""
    labels = moved(inputs.labels, logits.device)
    good, bad = logits[labels[:, 0], 0], logits[labels[:, 1], 0]
    return F.margin_ranking_loss(good, bad, torch.ones_like(good), margin=MARGIN, reduction="sum")


def decode(task: Task, logits: Tensor, marks: Tensor) -> list[float]:
    """A score a candidate, higher is better."""
    return logits[:, 0].double().cpu().tolist()


HEAD = Head(init=init, logits=of_pooled, loss_sum=loss_sum, decode=decode)
