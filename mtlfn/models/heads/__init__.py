"""Heads by the kind of task: a module each, and this registry. A new one is a module and a line in ``HEADS``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mtlfn.core.keys import Key
from mtlfn.data.task import Task
from mtlfn.data.tokens.collate import Inputs
from mtlfn.models.heads import classification, multilabel, ranking, regression, relation, spans, tagging
from mtlfn.models.heads.head import Head, Params

HEADS: Mapping[str, Head] = {
    "tagging": tagging.HEAD,
    "spans": spans.HEAD,
    "relation": relation.HEAD,
    "ranking": ranking.HEAD,
    "classification": classification.HEAD,
    "multilabel": multilabel.HEAD,
    "regression": regression.HEAD,
    "graded": ranking.HEAD,  # pairs of a better and a worse candidate, too
}


def init(task: Task, width: int, key: Key) -> dict[str, Tensor]:
    """Head tensors at the start, float32 on the CPU; ``width`` is the size of a feature."""
    return HEADS[task.kind].init(task, width, key)


def class_weights(task: Task, counts: Mapping[str, int]) -> Tensor | None:
    """Weight of each output class, float32 [classes], from training label counts; None for kinds without classes.

    ``counts`` has the number of examples under "" beside the labels'.
    """
    return HEADS[task.kind].class_weights(task, counts)


def logits(task: Task, params: Params, features: Tensor, inputs: Inputs, causal: bool) -> Tensor:
    """Logits in the form of the kind's head. ``features``: [rows, width, d]."""
    return HEADS[task.kind].logits(task, params, features, inputs, causal)


def loss_sum(task: Task, logits: Tensor, inputs: Inputs, weights: Tensor | None) -> Tensor:
    """Sum of the losses over the labels of a micro-batch, 0-d float32; what is ignored adds nothing."""
    return HEADS[task.kind].loss_sum(task, logits, inputs, weights)


def decode(task: Task, logits: Tensor, marks: Tensor) -> list[Any]:
    """Predictions of each row, as data/metrics.py reads them; tagging: word number -> tag; spans: pieces in words.

    ``marks``: tagging: int64 [rows, width], the word number of a word's first token, else negative.
    """
    return HEADS[task.kind].decode(task, logits, marks)
