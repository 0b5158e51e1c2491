"""What a head is: pure functions from features to logits, from logits to a loss and to predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from mtlfn.core.keys import Key, fold, uniform
from mtlfn.data.task import Task
from mtlfn.data.tokens.collate import Inputs
from mtlfn.models.transfer import moved

Params = Mapping[str, Tensor]


def without_classes(task: Task, counts: Mapping[str, int]) -> Tensor | None:
    """No class weights."""
    return None


@frozen(kw_only=True, eq=False)
class Head:
    """The head of a kind of task.

    Attributes:
        init: (task, width of a feature, key) -> tensors at the start, float32 on the CPU.
        logits: (task, tensors, features [rows, width, d], inputs, causal) -> logits, the head's own form.
        loss_sum: (task, logits, inputs, class weights) -> sum of the losses over the labels of a micro-batch, 0-d
            float32; what is ignored adds nothing.
        decode: (task, logits, marks int64 [rows, width]) -> predictions of each row, as the kind's metric reads them.
        class_weights: (task, training label counts) -> weight of each output class, float32 [classes], or None.
    """

    init: Callable[[Task, int, Key], dict[str, Tensor]]
    logits: Callable[[Task, Params, Tensor, Inputs, bool], Tensor]
    loss_sum: Callable[[Task, Tensor, Inputs, Tensor | None], Tensor]
    decode: Callable[[Task, Tensor, Tensor], list[Any]]
    class_weights: Callable[[Task, Mapping[str, int]], Tensor | None] = without_classes


def linear(task: Task, name: str, outputs: int, inputs: int, key: Key) -> dict[str, Tensor]:
    """Weight and bias of a linear layer at the start."""
    weight = uniform(fold(key, "head", task.name, name), (outputs, inputs), 1 / math.sqrt(inputs))
    return {f"{name}.weight": weight, f"{name}.bias": torch.zeros(outputs)}


def one_linear(task: Task, width: int, key: Key) -> dict[str, Tensor]:
    """One linear layer from a feature to the task's classes."""
    return linear(task, "out", len(task.classes), width, key)


def pooled(features: Tensor, inputs: Inputs, causal: bool) -> Tensor:
    """What sequence-level heads read, [rows, d]: mean over tokens for encoders, the last token for decoders."""
    lengths = moved(inputs.lengths, features.device)
    if causal:
        return features[torch.arange(len(lengths), device=features.device), lengths - 1]
    inside = torch.arange(features.shape[1], device=features.device) < lengths[:, None]
    return mean(features, inside)


def mean(features: Tensor, chosen: Tensor) -> Tensor:
    """Mean over the chosen tokens of each row, zero where none is."""
    weights = chosen.to(features.dtype)
    return (weights[:, None, :] @ features).squeeze(1) / weights.sum(1, keepdim=True).clamp(min=1)


def of_pooled(task: Task, params: Params, features: Tensor, inputs: Inputs, causal: bool) -> Tensor:
    """Logits [rows, classes] of one linear layer on the whole sequence."""
    return torch.nn.functional.linear(pooled(features, inputs, causal), params["out.weight"], params.get("out.bias"))
