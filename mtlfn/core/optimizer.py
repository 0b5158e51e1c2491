"""AdamW (Loshchilov and Hutter, ICLR 2019) as a pure function, bitwise equal to ``torch.optim.AdamW``.

The first touch of every tensor is out of place, so inputs stay as they are; what follows works in place on the
fresh tensors. torch's foreach functions carry an underscore: they are used in this module only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from attrs import frozen
from torch import Tensor


@frozen(kw_only=True)
class AdamW:
    """Hyper-parameters; the learning rate and the decay come with every call."""

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8


def update(
    config: AdamW,
    params: Sequence[Tensor],
    gradients: Sequence[Tensor],
    means: Sequence[Tensor],
    squares: Sequence[Tensor],
    counts: Sequence[int],
    learning_rates: Sequence[float],
    decays: Sequence[float],
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """New (params, first moments, second moments); ``counts`` are the step counts with this step included.

    All sequences run in parallel, one entry a tensor; a gradient has the shape and dtype of its parameter.
    """
    if not params:
        return [], [], []
    decayed = torch._foreach_mul(params, [1 - lr * wd for lr, wd in zip(learning_rates, decays, strict=True)])
    means = torch._foreach_lerp(means, gradients, 1 - config.beta1)
    squares = torch._foreach_mul(squares, config.beta2)
    torch._foreach_addcmul_(squares, gradients, gradients, 1 - config.beta2)
    step_sizes = [-(lr / (1 - config.beta1**n)) for lr, n in zip(learning_rates, counts, strict=True)]
    denominators = torch._foreach_sqrt(squares)
    torch._foreach_div_(denominators, [(1 - config.beta2**n) ** 0.5 for n in counts])
    torch._foreach_add_(denominators, config.eps)
    torch._foreach_addcdiv_(decayed, means, denominators, step_sizes)
    return list(decayed), list(means), list(squares)
