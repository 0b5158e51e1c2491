"""Multilabel: a yes or no for each label, each weighed by the square root of negatives / positives.

Logits: [rows, labels]; above 0 is a prediction.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlfn.data.task import Task
from mtlfn.data.tokens.collate import Inputs
from mtlfn.models.heads.head import Head, of_pooled, one_linear
from mtlfn.models.transfer import moved


def class_weights(task: Task, counts: Mapping[str, int]) -> Tensor:
    """Weight of the positives of each label, float32 [labels]; ``counts``: the number of examples is under ""."""
    n = torch.tensor([max(counts.get(c, 0), 1) for c in task.classes], dtype=torch.float64)
    return (((counts[""] - n).clamp(min=1) / n).sqrt()).float()


def loss_sum(task: Task, logits: Tensor, inputs: Inputs, weights: Tensor | None) -> Tensor:
    """Mean over the labels, sum over the rows; a row of NaN is ignored."""
    labels = moved(inputs.labels, logits.device)
    whole = ~labels[:, :1].isnan()
    targets = torch.where(whole, labels, 0.0)
    losses = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights, reduction="none")
    return (losses.mean(1) * whole[:, 0]).sum()


def decode(task: Task, logits: Tensor, marks: Tensor) -> list[list[str]]:
    """The labels of each row."""
    return [[label for label, on in zip(task.labels, row, strict=True) if on] for row in (logits > 0).cpu().tolist()]


HEAD = Head(init=one_linear, logits=of_pooled, loss_sum=loss_sum, decode=decode, class_weights=class_weights)
