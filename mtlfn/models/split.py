"""Layers whose weight gradient is split by task, while the forward product and the input's gradient stay whole.

PEFT's ``lora_A`` and ``lora_B`` linears get a swapped class. What they need to know about the rows comes in as buffers
through ``functional_call``, like the weights, so nothing is kept between calls.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtlfn.core.keys import bits16, fold, mask


class SplitGradient(torch.autograd.Function):
    """x [1, N, in], weight (t, out, in), one weight expanded over tasks -> [1, N, out].

    The weight's gradient is [t, out, in]: row i sums over the slots ``bounds[i]`` to ``bounds[i + 1]``.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bounds: Sequence[int]) -> Tensor:
        return F.linear(x, weight[0])

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        x, weight, ctx.bounds = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx, grad: Tensor):
        x, weight = ctx.saved_tensors
        flat, rows = grad.flatten(0, -2), x.flatten(0, -2)
        by_task = torch.empty(weight.shape, dtype=grad.dtype, device=grad.device)
        for i, (a, b) in enumerate(zip(ctx.bounds, ctx.bounds[1:], strict=False)):
            torch.mm(flat[a:b].T, rows[a:b], out=by_task[i])
        return grad @ weight[0] if ctx.needs_input_grad[0] else None, by_task, None


class Blocks(torch.autograd.Function):
    """Rank blocks side by side as one weight expanded over t tasks: [t, ...].

    ``blocks``: [*shape] or, expanded over the tasks that train it, [t', *shape]. ``members[i]`` lists the rows (of
    the t) whose gradient block i takes; a block of one task takes that row without a leading dimension.
    """

    @staticmethod
    def forward(tasks: int, dim: int, members: Sequence[Sequence[int]], *blocks: Tensor) -> Tensor:
        whole = torch.cat([b if b.ndim == 2 else b[0] for b in blocks], dim)
        return whole.expand(tasks, *whole.shape)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        _, ctx.dim, ctx.members, *blocks = inputs
        ctx.shapes = [b.shape for b in blocks]

    @staticmethod
    def backward(ctx, grad: Tensor):
        out, at = [], 0
        for shape, members, needed in zip(ctx.shapes, ctx.members, ctx.needs_input_grad[3:], strict=True):
            size = shape[ctx.dim - 2]
            part = grad.narrow(ctx.dim + 1, at, size)
            at += size
            if not needed:
                out.append(None)
            elif len(shape) == 2:
                out.append(part[members[0]])
            else:
                first, last = members[0], members[-1]
                out.append(part[first : last + 1] if last - first + 1 == len(members) else part[list(members)])
        return None, None, None, *out


class TaskLinear(nn.Linear):
    """A LoRA linear that accepts its weight as (out, in) or expanded over tasks as (t, out, in).

    Buffer ``bounds``: int64 [t + 1] on the CPU, the slots at which each task's rows begin and the last ends.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.ndim == 2:
            return F.linear(x, self.weight)
        return SplitGradient.apply(x, self.weight, self.bounds.tolist())


class KeyedDropout(nn.Module):
    """Dropout whose mask is a pure function of keys: one for each task's rows and this call site.

    Buffers: ``keys`` uint8 [t, 32] and ``bounds`` int64 [t + 1], both on the CPU; no keys, no dropout. Both engines
    draw the same masks, and recomputation draws them again. The rate is rounded to 1/65536.
    """

    def __init__(self, site: str, rate: float) -> None:
        super().__init__()
        self.site, self.dropped = site, round(rate * 65536)
        self.register_buffer("keys", torch.empty(0, 32, dtype=torch.uint8), persistent=False)
        self.register_buffer("bounds", torch.zeros(1, dtype=torch.int64), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.dropped or not len(self.keys):
            return x
        bounds, keys = self.bounds.tolist(), self.keys.tolist()
        size = x.shape[-1]
        bits = [
            bits16(fold(bytes(key).hex(), self.site), (b - a) * size, x.device)
            for key, a, b in zip(keys, bounds, bounds[1:], strict=False)
        ]
        return x * mask(torch.cat(bits) if len(bits) > 1 else bits[0], self.dropped, x.dtype).view(x.shape)
