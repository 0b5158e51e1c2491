"""How micro-batches lie in one forward pass: end to end, each its own rectangle inside attention.

Hidden states are [1, N, width], N the padded slots of all rectangles. Padding tasks of 32 to 256 tokens to one common
rectangle would cost several times the work. The layout travels as a keyword argument through the model to a
registered attention function and to the layer hooks, never through a global. Level-2 rows lie last, so that level-1
rows may leave at the read-out layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from attrs import evolve, field, frozen
from torch import Tensor

ATTENTION = "mtlfn_rectangles"


@frozen(eq=False)
class Rectangle:
    """Rows of equal width.

    Attributes:
        start: first slot.
        rows, width: its shape; it spans rows x width slots.
        mask: bool [rows, width], True where there is a token; None where there is no padding.
    """

    start: int
    rows: int
    width: int
    mask: Tensor | None = None

    @property
    def stop(self) -> int:
        return self.start + self.rows * self.width


@frozen(eq=False)
class Layout:
    """Rectangles of one forward pass, in slot order.

    Attributes:
        rectangles: one a micro-batch.
        attended: the same slots with neighbours of equal width joined: what attention walks over.
        causal: decoders: a token attends to itself and what lies before it.
        leaving: slots, from the start, that leave the model at the read-out layer; 0 for none.
        upper: the layout above the read-out layer, where rows leave.
        features: what the read-out layer put out, [1, N, width], once it has run.
        places: where no padding is computed: int64 [N], the slot of each token among the padded ones; else None.
    """

    rectangles: tuple[Rectangle, ...]
    attended: tuple[Rectangle, ...]
    causal: bool
    leaving: int = 0
    upper: Layout | None = None
    features: list[Tensor] = field(factory=list)
    places: Tensor | None = None


def lay_out(rectangles: Sequence[Rectangle], causal: bool, leaving: int = 0) -> Layout:
    """The layout of rectangles that lie end to end; the first ``leaving`` slots leave at the read-out layer.

    Where all would leave, the last row goes on: transformers' layers do not take an empty batch, and one row that
    nobody reads costs next to nothing.
    """
    upper = None
    if leaving:
        last = rectangles[-1]
        if leaving == last.stop:
            leaving -= last.width
            kept = [Rectangle(leaving, 1, last.width, None if last.mask is None else last.mask[-1:])]
        else:
            kept = [r for r in rectangles if r.start >= leaving]
        upper = lay_out([Rectangle(r.start - leaving, r.rows, r.width, r.mask) for r in kept], causal)
    return Layout(tuple(rectangles), join(rectangles), causal, leaving, upper)


def unpadded(rectangles: Sequence[Rectangle], causal: bool, leaving: int = 0) -> Layout:
    """The layout of the tokens alone: rows without their padding end to end, neighbours of equal length together."""
    masks = [_mask(r) for r in rectangles]
    kept = torch.cat([mask.flatten() for mask in masks])
    at, made = 0, []
    for mask in masks:  # each by itself: what leaves ends with a rectangle
        rows = []
        for length in mask.sum(1).tolist():
            rows.append(Rectangle(at, 1, length))
            at += length
        made += join(rows)
    return evolve(lay_out(made, causal, int(kept[:leaving].sum())), places=kept.nonzero().flatten())


def padded(hidden: Tensor, places: Tensor, slots: int) -> Tensor:
    """[1, N, width] of tokens as [1, slots, width], zero where there is padding."""
    return hidden.new_zeros(1, slots, hidden.shape[-1]).index_copy(1, places, hidden)


def taken_apart(hidden: Tensor, rectangles: Sequence[Rectangle]) -> list[Tensor]:
    """[1, N, ...] as [rows, width, ...] for each of the rectangles that it consists of."""
    parts = _split(hidden.squeeze(0), rectangles, 0)
    return [part.unflatten(0, (r.rows, r.width)) for part, r in zip(parts, rectangles, strict=True)]


def _split(value: Tensor, rectangles: Sequence[Rectangle], dim: int) -> Sequence[Tensor]:
    """The slots of each rectangle along ``dim``.

    Split, not sliced: the gradients of slices would each be as large as the whole, filled up with zeros, and added.
    That of a single part would be a copy.
    """
    return (value,) if len(rectangles) == 1 else value.split([r.rows * r.width for r in rectangles], dim)


def join(rectangles: Sequence[Rectangle]) -> tuple[Rectangle, ...]:
    """Neighbours of equal width as one: the same attention in fewer calls."""
    out: list[Rectangle] = []
    for r in rectangles:
        if out and out[-1].width == r.width:
            last, mask = out[-1], None
            if last.mask is not None or r.mask is not None:
                mask = torch.cat([_mask(last), _mask(r)])
            out[-1] = Rectangle(last.start, last.rows + r.rows, r.width, mask)
        else:
            out.append(r)
    return tuple(out)


def _mask(r: Rectangle) -> Tensor:
    return r.mask if r.mask is not None else torch.ones(r.rows, r.width, dtype=torch.bool)


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    layout: Layout | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention inside each rectangle: [1, heads, N, size] -> [1, N, heads, size]."""
    if layout is None:
        raise ValueError(f"attention {ATTENTION!r} needs the keyword argument 'layout'")
    grouped = query.shape[1] != key.shape[1]
    out = []
    parts = zip(*(_split(t.squeeze(0), layout.attended, 1) for t in (query, key, value)), strict=True)
    for r, part in zip(layout.attended, parts, strict=True):
        q, k, v = (t.unflatten(1, (r.rows, r.width)).transpose(0, 1) for t in part)
        # Rows are padded on the right: a causal row never sees its padding, so it needs no mask.
        mask = None if r.mask is None or layout.causal else r.mask[:, None, None, :].to(q.device)
        o = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=layout.causal, scale=scaling, enable_gqa=grouped
        )
        out.append(o.transpose(1, 2).flatten(0, 1))
    return (out[0] if len(out) == 1 else torch.cat(out)).unsqueeze(0), None


def register_attention() -> None:
    """Makes ``attention`` known to transformers under the name ``ATTENTION``; harmless when repeated."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, attention)


def install_read_out(layers: Sequence[Any], read_out: int) -> None:
    """Hooks on the layers: the output of layer ``read_out - 1`` is kept as features; leaving rows stop there.

    The hooks hold nothing: all they know comes with the keyword argument ``layout``.
    """

    def keep(module: Any, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        kwargs["layout"].features.append(output[0] if isinstance(output, tuple) else output)

    def narrow(first: bool) -> Any:
        def hook(module: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
            layout: Layout = kwargs["layout"]
            return (args, kwargs) if layout.upper is None else _leave(args, kwargs, layout.leaving, first)

        return hook

    layers[read_out - 1].register_forward_hook(keep, with_kwargs=True)
    for index in range(read_out, len(layers)):
        layers[index].register_forward_pre_hook(narrow(index == read_out), with_kwargs=True)


def _leave(args: tuple, kwargs: dict[str, Any], leaving: int, first: bool) -> tuple[tuple, dict[str, Any]]:
    """A layer's arguments without the leaving slots; its hidden state still has them in the first upper layer only."""
    kwargs = {**kwargs, "layout": kwargs["layout"].upper}
    if isinstance(kwargs.get("position_embeddings"), tuple):
        kwargs["position_embeddings"] = tuple(t[:, leaving:] for t in kwargs["position_embeddings"])
    if isinstance(kwargs.get("position_ids"), Tensor):
        kwargs["position_ids"] = kwargs["position_ids"][:, leaving:]
    if first:
        args = (args[0][:, leaving:], *args[1:])
    return args, kwargs
