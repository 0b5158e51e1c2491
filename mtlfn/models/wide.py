"""Frozen linears whose weights are kept in half precision and whose products are taken in float32.

For a CPU without units for half precision: half of the memory of float32, and a cast more a product. The cast is made
again in the reverse pass, so that no float32 copy of a weight outlives its product.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Product(torch.autograd.Function):
    """x [..., in], a frozen weight [out, in] and bias [out] of any float -> [..., out], all of it in the dtype of x."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return F.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))

    @staticmethod
    def backward(ctx, *grads: Tensor):
        (grad,), (weight,) = grads, ctx.saved_tensors
        return grad @ weight.to(grad.dtype), None, None


class WideLinear(nn.Linear):
    """A frozen linear that computes in the dtype of its input, whatever that of its weight."""

    def forward(self, input: Tensor) -> Tensor:
        return _Product.apply(input, self.weight, self.bias)


def widen(model: nn.Module, dtype: torch.dtype) -> None:
    """Makes every frozen linear that keeps its weight in ``dtype`` a ``WideLinear``."""
    for module in model.modules():
        if type(module) is nn.Linear and module.weight.dtype == dtype:
            module.__class__ = WideLinear
