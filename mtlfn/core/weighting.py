"""How task losses are weighed: equally, or by homoscedastic uncertainty (Kendall, Gal and Cipolla, CVPR 2018).

With s = log sigma^2 the uncertainty objective is sum of 1/2 exp(-s) L + 1/2 s. A weighted loss may be negative: s < 0
makes s/2 negative. The raw losses are therefore always reported beside it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def equal(configured: int) -> float:
    """The weight of every task loss: 1 / T, T the number of configured tasks, whichever are present."""
    return 1.0 / configured


def uncertainty(s: Tensor) -> Tensor:
    """The weight 1/2 exp(-s) of a task's loss; s = log sigma^2, of any shape."""
    return 0.5 * torch.exp(-s)


def uncertainty_loss(loss: Tensor, s: Tensor) -> Tensor:
    """The weighted loss 1/2 exp(-s) L + 1/2 s; both of one shape."""
    return uncertainty(s) * loss + 0.5 * s


def uncertainty_gradient(loss: Tensor, s: Tensor) -> Tensor:
    """d/ds of ``uncertainty_loss``: 1/2 - 1/2 exp(-s) L, zero at s = log L."""
    return 0.5 - uncertainty(s) * loss
