"""Layers whose weight gradient is split by task, while the forward product and the input's gradient stay whole.

PEFT's ``lora_A`` and ``lora_B`` linears get a swapped class. What they need to know about the rows comes in as buffers
through ``functional_call``, like the weights, so nothing is kept between calls.

Under autocast, products are in its dtype and gradients of weights come out in that of the weights (float32).

The functions have no ``setup_context``, which torch.func would ask for: torch then inspects their signatures at every
call, 4 ms of a step of 5 tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtlfn.core.keys import fold, keep_masks
from mtlfn.models.transfer import at_once, moved


class SplitGradient(torch.autograd.Function):
    """x [1, N, in], weight (t, out, in), one weight expanded over tasks -> [1, N, out].

    The weight's gradient is [t, out, in]: row i sums over the slots ``bounds[i]`` to ``bounds[i + 1]``. ``own``: as in
    ``TaskLinear``.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bounds: Sequence[int], own: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, own)
        ctx.bounds = bounds
        return F.linear(x, weight[0].to(x.dtype))

    @staticmethod
    def backward(ctx, *grads: Tensor):
        (grad,), (x, weight, own) = grads, ctx.saved_tensors
        by_task = _weight_gradients(x, grad, weight, ctx.bounds, own)
        return grad @ weight[0].to(grad.dtype) if ctx.needs_input_grad[0] else None, by_task, None, None


class SeparateWeights(torch.autograd.Function):
    """x [1, N, in], weights [t, out, in], one a task -> [1, N, out]: each task's rows meet its own weight.

    The weights' gradient is [t, out, in], as in ``SplitGradient``.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weights: Tensor, bounds: Sequence[int], own: Tensor) -> Tensor:
        ctx.save_for_backward(x, weights, own)
        ctx.bounds = bounds
        rows = x.flatten(0, -2)
        out = torch.empty(*x.shape[:-1], weights.shape[1], dtype=x.dtype, device=x.device)
        for weight, part, a, b in _by_task(weights.to(x.dtype), out, bounds):
            torch.mm(rows[a:b], weight.T, out=part)
        return out

    @staticmethod
    def backward(ctx, *grads: Tensor):
        (grad,), (x, weights, own) = grads, ctx.saved_tensors
        by_task = _weight_gradients(x, grad, weights, ctx.bounds, own)
        if not ctx.needs_input_grad[0]:
            return None, by_task, None, None
        back = torch.empty(x.shape, dtype=grad.dtype, device=grad.device)
        flat = grad.flatten(0, -2)
        for weight, part, a, b in _by_task(weights.to(grad.dtype), back, ctx.bounds):
            torch.mm(flat[a:b], weight, out=part)
        return back, by_task, None, None


WIDEST = 512  # of the tasks side by side: beyond, their zeros cost more than launches


def _weight_gradients(x: Tensor, grad: Tensor, like: Tensor, bounds: Sequence[int], own: Tensor) -> Tensor:
    """[t, out, in] in the dtype of ``like``: row i sums grad^T x over the slots ``bounds[i]`` to ``bounds[i + 1]``.

    Where ``own`` says whose a slot is, the narrow factor (the ranks) stands once for every task side by side, zero at
    the others' slots: one product for all, which on a GPU takes no longer than one of them.
    """
    flat, rows = grad.flatten(0, -2), x.flatten(0, -2)
    tasks, outputs, inputs = like.shape
    if len(own) and tasks * min(outputs, inputs) <= WIDEST:
        if outputs <= inputs:
            return ((flat[:, None] * own[..., None]).flatten(1).T @ rows).view(like.shape).to(like.dtype)
        by_rank = (rows[:, None] * own[..., None]).flatten(1).T @ flat
        return by_rank.view(tasks, inputs, outputs).transpose(1, 2).to(like.dtype)
    by_task = torch.empty(like.shape, dtype=grad.dtype, device=grad.device)
    for i, (a, b) in enumerate(pairwise(bounds)):
        torch.mm(flat[a:b].T, rows[a:b], out=by_task[i])
    return by_task.to(like.dtype)


def _by_task(weights: Tensor, out: Tensor, bounds: Sequence[int]) -> Iterator[tuple[Tensor, Tensor, int, int]]:
    """Each task's weight, its rows of ``out`` [1, N, k], and where they begin and end."""
    flat = out.flatten(0, -2)
    for weight, a, b in zip(weights, bounds, bounds[1:], strict=False):
        yield weight, flat[a:b], a, b


class Blocks(torch.autograd.Function):
    """Rank blocks side by side as one weight expanded over t tasks: [t, ...].

    ``blocks``: [*shape] or, expanded over the tasks that train it, [t', *shape]. ``members[i]`` lists the rows (of
    the t) whose gradient block i takes; a block of one task takes that row without a leading dimension.
    """

    @staticmethod
    def forward(ctx, tasks: int, dim: int, members: Sequence[Sequence[int]], *blocks: Tensor) -> Tensor:
        ctx.dim, ctx.members, ctx.shapes = dim, members, [b.shape for b in blocks]
        whole = torch.cat([b if b.ndim == 2 else b[0] for b in blocks], dim)
        return whole.expand(tasks, *whole.shape)

    @staticmethod
    def backward(ctx, *grads: Tensor):
        (grad,), out, at = grads, [], 0
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

    Buffers: ``bounds``, int64 [t + 1] on the CPU, the slots at which each task's rows begin and the last ends; ``own``,
    bool [N, t], True where a slot is the task's, or [0] where each task gets its own product: on a CPU.
    """

    bounds: Tensor
    own: Tensor
    product: type[torch.autograd.Function] = SplitGradient

    def forward(self, input: Tensor) -> Tensor:
        if self.weight.ndim == 2:
            return F.linear(input, self.weight)
        kind = input.device.type
        if torch.is_autocast_enabled(kind):
            input = input.to(torch.get_autocast_dtype(kind))
        return self.product.apply(input, self.weight, self.bounds.tolist(), self.own)


def owned_slots(slots: Sequence[int], device: torch.device) -> Tensor:
    """``own`` of a ``TaskLinear`` for tasks of so many slots each: [0] where a weight gradient is not split at once."""
    if not at_once(device) or len(slots) < 2 or not torch.is_grad_enabled():
        return torch.zeros(0, dtype=torch.bool)
    return moved(torch.eye(len(slots), dtype=torch.bool).repeat_interleave(torch.tensor(slots), 0), device)


def install(part: nn.Module, kind: type[TaskLinear]) -> TaskLinear:
    """Makes a linear one of ``kind``; what its rows are comes with every call."""
    part.__class__ = kind
    assert isinstance(part, TaskLinear)
    part.register_buffer("bounds", torch.zeros(1, dtype=torch.int64), persistent=False)
    part.register_buffer("own", torch.zeros(0, dtype=torch.bool), persistent=False)
    return part


class SeparateLinear(TaskLinear):
    """A LoRA linear of a strategy with private blocks: a weight [t, out, in] holds another matrix for every task."""

    product = SeparateWeights


class GatedLinear(SeparateLinear):
    """``lora_B`` of gated fusion: B_s u_s + 2 sigmoid(gate) B_p u_p, where u has the ``shared`` ranks first.

    Buffer ``gate``: [t], a number for each task in the call; 0 is the plain sum.
    """

    shared: int
    gate: Tensor

    def forward(self, input: Tensor) -> Tensor:
        u, gates = input, 2 * _by_row(self.gate[:, None].sigmoid(), self.bounds)
        return super().forward(torch.cat([u[..., : self.shared], u[..., self.shared :] * gates], -1))


class AttentionLinear(SeparateLinear):
    """``lora_B`` of attention fusion: 2 (a_1 B_s u_s + a_2 B_p u_p) with a = softmax(W u + b) at every position.

    Buffers: ``attention_weight`` [t, 2, ranks] and ``attention_bias`` [t, 2]; zeros are the plain sum.
    """

    shared: int
    attention_weight: Tensor
    attention_bias: Tensor

    def forward(self, input: Tensor) -> Tensor:
        u = input
        if len(self.attention_weight) == 1:
            scores = F.linear(u, self.attention_weight[0])
        else:
            ends = self.bounds.tolist()
            rows = zip(self.attention_weight, ends, ends[1:], strict=False)
            scores = torch.cat([F.linear(u[:, a:b], weight) for weight, a, b in rows], 1)
        shares = 2 * (scores + _by_row(self.attention_bias, self.bounds)).softmax(-1)
        parts = u[..., : self.shared] * shares[..., :1], u[..., self.shared :] * shares[..., 1:]
        return super().forward(torch.cat(parts, -1))


def _by_row(values: Tensor, bounds: Tensor) -> Tensor:
    """[t, k] to [N, k]: each task's values at all of its positions. (The gradient is a plain sum: deterministic.)

    One task has all positions: [1, k] broadcasts over them.
    """
    if len(values) == 1:
        return values
    counts = bounds.diff().tolist()
    return torch.cat([v.expand(n, -1) for v, n in zip(values, counts, strict=True)])


class KeyedDropout(nn.Module):
    """Dropout whose mask is a pure function of keys: one for each task's rows and this call site.

    Buffers: ``keys`` uint8 [t, 32] and ``bounds`` int64 [t + 1], both on the CPU; no keys, no dropout. Both engines
    draw the same masks, and recomputation draws them again. One key is for all of the input, and where that is not the
    rows but something beside them (the position embeddings that DeBERTa projects, too), the masks are others. The rate
    is rounded to 1/65536.
    """

    keys: Tensor
    bounds: Tensor

    def __init__(self, site: str, rate: float) -> None:
        super().__init__()
        self.site, self.rate = site, rate
        self.register_buffer("keys", torch.empty(0, 32, dtype=torch.uint8), persistent=False)
        self.register_buffer("bounds", torch.zeros(1, dtype=torch.int64), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.rate or not len(self.keys):
            return x
        bounds, size = self.bounds.tolist(), x.shape[-1]
        site = (self.site,) if x.numel() == bounds[-1] * size else (self.site, "beside the rows")
        ends = [*bounds[:-1], x.numel() // size] if len(self.keys) == 1 else bounds
        draws = [
            (fold(bytes(key).hex(), *site), (b - a) * size)
            for key, a, b in zip(self.keys.tolist(), ends, ends[1:], strict=False)
        ]
        return x * keep_masks(draws, self.rate, x.device, x.dtype).view(x.shape)
