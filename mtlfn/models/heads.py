"""Heads as pure functions: tensors at the start, logits from features, loss from logits, predictions from logits.

Class imbalance is met by weights proportional to a power of a class's frequency, scaled so that a label drawn from the
training data weighs 1 on average: -1/2 for tags (a higher power costs precision, a lower one recall), -3/4 for the
classes of whole examples, where a small model would otherwise find none of the rare ones. Multilabel: the square root
of negatives / positives.
Regression works on standardised values: squared errors of about 1 at the start, whatever the unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlfn.core.keys import Key, fold, uniform
from mtlfn.data.collate import IGNORED, Inputs
from mtlfn.data.task import Task
from mtlfn.data.tokenise import HEAD, HEAD_SIGN, TAIL, TAIL_SIGN
from mtlfn.models import span_head

MARGIN = 1.0
POWERS = {"tagging": -0.5, "relation": -0.75, "classification": -0.75}
# What a relation head reads beside the whole sequence: the sign before each mention, and the mention's tokens.
RELATION_MARKS = (HEAD_SIGN, HEAD, TAIL_SIGN, TAIL)


def init(task: Task, width: int, key: Key) -> dict[str, Tensor]:
    """Head tensors at the start, float32 on the CPU; ``width`` is the size of a feature."""

    def linear(name: str, outputs: int, inputs: int) -> dict[str, Tensor]:
        weight = uniform(fold(key, "head", task.name, name), (outputs, inputs), 1 / math.sqrt(inputs))
        return {f"{name}.weight": weight, f"{name}.bias": torch.zeros(outputs)}

    if task.kind == "spans":
        return span_head.init(task, width, key)
    outputs = len(task.classes)
    if task.kind == "relation":
        return {**linear("dense", width, 5 * width), **linear("out", outputs, width)}
    made = linear("out", outputs, width)
    if task.kind == "ranking":
        del made["out.bias"]  # adds the same to every candidate: no gradient ever reaches it
    return made


def class_weights(task: Task, counts: Mapping[str, int]) -> Tensor | None:
    """Weight of each output class, float32 [classes], from training label counts; None for kinds without classes.

    Multilabel: ``counts`` has the number of examples under "" beside the labels'.
    """
    if task.kind in ("ranking", "spans", "regression"):
        return None
    n = torch.tensor([max(counts.get(c, 0), 1) for c in task.classes], dtype=torch.float64)
    if task.kind == "multilabel":
        return (((counts[""] - n).clamp(min=1) / n).sqrt()).float()
    weights = n ** POWERS[task.kind]
    return (weights * n.sum() / (weights * n).sum()).float()


def pooled(features: Tensor, inputs: Inputs, causal: bool) -> Tensor:
    """What sequence-level heads read, [rows, d]: mean over tokens for encoders, the last token for decoders."""
    lengths = inputs.lengths.to(features.device)
    if causal:
        return features[torch.arange(len(lengths), device=features.device), lengths - 1]
    inside = torch.arange(features.shape[1], device=features.device) < lengths[:, None]
    return _mean(features, inside)


def _mean(features: Tensor, chosen: Tensor) -> Tensor:
    """Mean over the chosen tokens of each row, zero where none is."""
    weights = chosen.to(features.dtype)
    return (weights[:, None, :] @ features).squeeze(1) / weights.sum(1, keepdim=True).clamp(min=1)


def logits(task: Task, params: Mapping[str, Tensor], features: Tensor, inputs: Inputs, causal: bool) -> Tensor:
    """Tagging: [rows, width, tags]; spans: see span_head; otherwise [rows, classes]. ``features``: [rows, width, d]."""
    if task.kind == "spans":
        return span_head.logits(task, params, features, inputs)
    if task.kind == "tagging":
        return F.linear(features, params["out.weight"], params["out.bias"])
    read = pooled(features, inputs, causal)
    if task.kind == "relation":
        marks = inputs.marks.to(features.device).clamp(min=0)
        read = torch.cat([read, *(_mean(features, (marks & bit) > 0) for bit in RELATION_MARKS)], dim=-1)
        read = F.gelu(F.linear(read, params["dense.weight"], params["dense.bias"]))
    return F.linear(read, params["out.weight"], params.get("out.bias"))


def loss_sum(task: Task, logits: Tensor, inputs: Inputs, weights: Tensor | None) -> Tensor:
    """Sum of the losses over the labels of a micro-batch, 0-d float32; what is ignored adds nothing."""
    if task.kind == "spans":
        return span_head.loss_sum(task, logits, inputs)
    labels = inputs.labels.to(logits.device)
    if task.kind == "ranking":
        good, bad = logits[labels[:, 0], 0], logits[labels[:, 1], 0]
        return F.margin_ranking_loss(good, bad, torch.ones_like(good), margin=MARGIN, reduction="sum")
    if task.kind == "multilabel":
        whole = ~labels[:, :1].isnan()
        targets = torch.where(whole, labels, 0.0)
        losses = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights, reduction="none")
        return (losses.mean(1) * whole[:, 0]).sum()
    if task.kind == "regression":
        whole = ~labels.isnan()
        return ((logits[:, 0] - torch.where(whole, labels, 0.0)).square() * whole).sum()
    return F.cross_entropy(
        logits.flatten(0, -2), labels.flatten(), weight=weights, ignore_index=IGNORED, reduction="sum"
    )


def decode(task: Task, logits: Tensor, marks: Tensor) -> list[Any]:
    """Predictions of each row, as data/metrics.py reads them; tagging: word number -> tag; spans: pieces in words.

    ``marks``: tagging: int64 [rows, width], the word number of a word's first token, else negative.
    """
    if task.kind == "spans":
        return span_head.decode(task, logits)
    if task.kind == "tagging":
        tags = logits.argmax(-1).cpu()
        return [
            {int(w): task.classes[int(t)] for w, t in zip(words, row, strict=True) if w >= 0}
            for words, row in zip(marks.tolist(), tags.tolist(), strict=True)
        ]
    if task.kind == "ranking":
        return logits[:, 0].double().cpu().tolist()
    if task.kind == "regression":
        return (logits[:, 0].double().cpu() * task.std + task.mean).tolist()
    if task.kind == "multilabel":
        return [
            [label for label, on in zip(task.labels, row, strict=True) if on] for row in (logits > 0).cpu().tolist()
        ]
    return [task.labels[i] for i in logits.argmax(-1).cpu().tolist()]


def valid_iob2(tags: list[str]) -> list[str]:
    """The tags with every I- that continues nothing of its type made a B-."""
    out: list[str] = []
    for tag in tags:
        continues = bool(out) and out[-1][2:] == tag[2:] and out[-1] != "O"
        out.append("B-" + tag[2:] if tag.startswith("I-") and not continues else tag)
    return out
