"""Regression on standardised values: squared errors of about 1 at the start, whatever the unit. Logits: [rows, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

from mtlfn.data.task import Task
from mtlfn.data.tokens.collate import Inputs
from mtlfn.models.heads.head import Head, of_pooled, one_linear
from mtlfn.models.transfer import moved


def loss_sum(task: Task, logits: Tensor, inputs: Inputs, weights: Tensor | None) -> Tensor:
    """Squared errors; NaN is ignored."""
    labels = moved(inputs.labels, logits.device)
    whole = ~labels.isnan()
    return ((logits[:, 0] - torch.where(whole, labels, 0.0)).square() * whole).sum()


def decode(task: Task, logits: Tensor, marks: Tensor) -> list[float]:
    """A number a row, in the unit of the data."""
    return (logits[:, 0].double().cpu() * task.std + task.mean).tolist()


HEAD = Head(init=one_linear, logits=of_pooled, loss_sum=loss_sum, decode=decode)
