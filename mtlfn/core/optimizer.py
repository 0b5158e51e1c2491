"""AdamW (Loshchilov and Hutter, ICLR 2019) as a pure function, bitwise equal to ``torch.optim.AdamW``.

The first touch of every tensor is out of place, so inputs stay as they are; what follows works in place on the
fresh tensors. torch's foreach functions carry an underscore: they are used here and in ``combine`` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from attrs import frozen
from torch import Tensor

from mtlfn.core.state import Tree

if TYPE_CHECKING:  # torch's stubs have the foreach functions here only: ``torch`` passes on no name with an underscore
    import torch._C._VariableFunctions as functions
else:
    functions = torch

Tensors = list[Tensor] | tuple[Tensor, ...]  # what the foreach functions take: no other sequence


@frozen(kw_only=True)
class AdamW:
    """Hyper-parameters; the learning rate and the decay come with every call."""

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8


def update(
    config: AdamW,
    params: Tensors,
    gradients: Tensors,
    means: Tensors,
    squares: Tensors,
    counts: Sequence[int],
    learning_rates: Sequence[float],
    decays: Sequence[float],
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """New (params, first moments, second moments); ``counts`` are the step counts with this step included.

    All sequences run in parallel, one entry a tensor; a gradient has the shape and dtype of its parameter.
    """
    if not params:
        return [], [], []
    decayed = functions._foreach_mul(params, [1 - lr * wd for lr, wd in zip(learning_rates, decays, strict=True)])
    means = functions._foreach_lerp(means, gradients, 1 - config.beta1)
    squares = functions._foreach_mul(squares, config.beta2)
    functions._foreach_addcmul_(squares, gradients, gradients, 1 - config.beta2)
    step_sizes = [-(lr / (1 - config.beta1**n)) for lr, n in zip(learning_rates, counts, strict=True)]
    denominators = functions._foreach_sqrt(squares)
    functions._foreach_div_(denominators, [(1 - config.beta2**n) ** 0.5 for n in counts])
    functions._foreach_add_(denominators, config.eps)
    functions._foreach_addcdiv_(decayed, means, denominators, step_sizes)
    return list(decayed), list(means), list(squares)


def copied(tree: Tree) -> dict[str, dict[str, Tensor]]:
    """An equal tree that shares no storage with ``tree``: products with 1, which are exact, all in one launch."""
    flat = [value for names in tree.values() for value in names.values()]
    fresh = iter(functions._foreach_mul(flat, 1.0) if flat else ())
    return {slot: {name: next(fresh) for name in names} for slot, names in tree.items()}
