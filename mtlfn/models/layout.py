"""How micro-batches lie in one forward pass: end to end, each its own rectangle.

Hidden states are [1, N, width], N the padded slots of all rectangles. Padding tasks of 32 to 256 tokens to one common
rectangle would cost several times the work. Level-2 rows lie last, so that level-1 rows may leave at the read-out
layer. How a model is made to read a layout is in models/placement.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from attrs import evolve, frozen
from torch import Tensor

from mtlfn.models.attention import split


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
    def slots(self) -> int:
        return self.rows * self.width

    @property
    def stop(self) -> int:
        return self.start + self.slots

    def inside(self) -> Tensor:
        """bool [rows, width], True where there is a token."""
        return torch.ones(self.rows, self.width, dtype=torch.bool) if self.mask is None else self.mask


@frozen(eq=False)
class Layout:
    """Rectangles of one forward pass, in slot order.

    Attributes:
        rectangles: one a micro-batch.
        attended: the same slots with neighbours of equal width joined: what attention walks over.
        leaving: slots, from the start, that leave the model at the read-out layer; 0 for none.
        upper: the layout above the read-out layer, where rows leave.
        places: where no padding is computed: int64 [N], the slot of each token among the padded ones; else None.
    """

    rectangles: tuple[Rectangle, ...]
    attended: tuple[Rectangle, ...]
    leaving: int = 0
    upper: Layout | None = None
    places: Tensor | None = None

    def parts(self) -> list[Layout]:
        """Each rectangle by itself."""
        return [lay_out([evolve(r, start=0)], r.slots if r.start < self.leaving else 0) for r in self.rectangles]


def lay_out(rectangles: Sequence[Rectangle], leaving: int = 0) -> Layout:
    """The layout of rectangles that lie end to end; the first ``leaving`` slots leave at the read-out layer.

    Where all would leave, the last row goes on: transformers' layers do not take an empty batch, and one row that
    nobody reads costs next to nothing.
    """
    upper = None
    if leaving:
        last = rectangles[-1]
        if leaving == last.stop:
            leaving -= last.width
            staying = [Rectangle(leaving, 1, last.width, None if last.mask is None else last.mask[-1:])]
        else:
            staying = [r for r in rectangles if r.start >= leaving]
        upper = lay_out([Rectangle(r.start - leaving, r.rows, r.width, r.mask) for r in staying])
    return Layout(tuple(rectangles), join(rectangles), leaving, upper)


def unpadded(rectangles: Sequence[Rectangle], leaving: int = 0) -> Layout:
    """The layout of the tokens alone: rows without their padding end to end, neighbours of equal length together."""
    masks = [r.inside() for r in rectangles]
    inside = torch.cat([mask.flatten() for mask in masks])
    at, out = 0, []
    for mask in masks:  # each by itself: what leaves ends with a rectangle
        rows = []
        for length in mask.sum(1).tolist():
            rows.append(Rectangle(at, 1, length))
            at += length
        out += join(rows)
    return evolve(lay_out(out, int(inside[:leaving].sum())), places=inside.nonzero().flatten())


def spread(hidden: Tensor, places: Tensor, slots: int) -> Tensor:
    """[1, N, width] of tokens as [1, slots, width], zero where there is padding."""
    return hidden.new_zeros(1, slots, hidden.shape[-1]).index_copy(1, places, hidden)


def taken_apart(hidden: Tensor, rectangles: Sequence[Rectangle]) -> list[Tensor]:
    """[1, N, ...] as [rows, width, ...] for each of the rectangles that it consists of."""
    parts = split(hidden.squeeze(0), [r.slots for r in rectangles], 0)
    return [part.unflatten(0, (r.rows, r.width)) for part, r in zip(parts, rectangles, strict=True)]


def join(rectangles: Sequence[Rectangle]) -> tuple[Rectangle, ...]:
    """Neighbours of equal width as one: the same attention in fewer calls."""
    out: list[Rectangle] = []
    for r in rectangles:
        if out and out[-1].width == r.width:
            last, mask = out[-1], None
            if last.mask is not None or r.mask is not None:
                mask = torch.cat([last.inside(), r.inside()])
            out[-1] = Rectangle(last.start, last.rows + r.rows, r.width, mask)
        else:
            out.append(r)
    return tuple(out)
