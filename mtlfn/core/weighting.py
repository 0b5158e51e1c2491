"""How task losses are weighed: equally, or by homoscedastic uncertainty (Kendall, Gal and Cipolla, CVPR 2018).

With s = log sigma^2 the uncertainty objective is sum of 1/2 exp(-s) L + 1/2 s. A weighted loss may be negative: s < 0
makes s/2 negative. The raw losses are therefore always reported beside it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def equal(configured: int) -> float:
    """The weight of every task loss: 1 / T, T the number of configured tasks, whichever are present."""
    return 1.0 / configured


def uncertainty(sigma: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weight 1/2 exp(-s) of every task's loss; ``sigma`` maps task to s = log sigma^2, 0-d."""
    return {task: 0.5 * torch.exp(-s) for task, s in sigma.items()}


def uncertainty_loss(loss: Tensor, s: Tensor) -> Tensor:
    """The weighted loss 1/2 exp(-s) L + 1/2 s of one task, 0-d."""
    return 0.5 * torch.exp(-s) * loss + 0.5 * s


def uncertainty_gradient(loss: Tensor, s: Tensor) -> Tensor:
    """d/ds of ``uncertainty_loss``: 1/2 - 1/2 exp(-s) L, zero at s = log L."""
    return 0.5 - 0.5 * torch.exp(-s) * loss
