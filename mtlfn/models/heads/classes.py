"""Cross-entropy over classes, and class weights against imbalance.

A class weighs a power of its frequency, scaled so that a label drawn from the training data weighs 1 on average: -1/2
for tags (a higher power costs precision, a lower one recall), -3/4 for the classes of whole examples, where a small
model would otherwise find none of the rare ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlfn.data.kinds.kind import IGNORED
from mtlfn.data.task import Task
from mtlfn.data.tokens.collate import Inputs
from mtlfn.models.transfer import moved


def by_frequency(power: float) -> Callable[[Task, Mapping[str, int]], Tensor]:
    """Class weights from training label counts, float32 [classes]."""

    def weights(task: Task, counts: Mapping[str, int]) -> Tensor:
        n = torch.tensor([counts.get(c, 0) for c in task.classes], dtype=torch.float64)
        weight = n.clamp(min=1) ** power  # a class that training lacks weighs as one seen once
        return (weight * n.sum() / (weight * n).sum()).float()

    return weights


def cross_entropy_sum(task: Task, logits: Tensor, inputs: Inputs, weights: Tensor | None) -> Tensor:
    """Over all labels but IGNORED."""
    labels = moved(inputs.labels, logits.device)
    return F.cross_entropy(
        logits.flatten(0, -2), labels.flatten(), weight=weights, ignore_index=IGNORED, reduction="sum"
    )


def likeliest(task: Task, logits: Tensor, marks: Tensor) -> list[str]:
    """The class with the highest score of each row."""
    return [task.labels[i] for i in logits.argmax(-1).cpu().tolist()]
