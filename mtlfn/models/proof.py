"""The proof that a backbone, as it is read here, computes what stock transformers computes.

Rows end to end, a padded row and a row of the greatest length in use go through the backbone in one layout, and each
row through the stock model with eager attention, unpadded. What differs is refused, or read in the other way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from mtlfn.models import placement
from mtlfn.models.attention import ATTENTION
from mtlfn.models.backbone import Backbone
from mtlfn.models.families import USABLE, BackboneError
from mtlfn.models.layout import Rectangle
from mtlfn.models.placement import Way

TOLERANCE = 1e-4  # of the largest number of a hidden state; float32
SHORT, PADDING = 5, 3  # tokens of a short row, and slots of padding behind one


@frozen
class Proof:
    """What was proven of a backbone.

    Attributes:
        way: how it reads micro-batches.
        length: tokens of the longest row.
        difference: the largest difference between a hidden state and stock transformers' over the largest number there.
        why: why it is not read ragged; empty where it is.
    """

    way: Way
    length: int
    difference: float
    why: str = ""


def prove(base: Backbone, length: int) -> Proof:
    """Proves the backbone for rows of up to ``length`` tokens; it is left in the way that was proven.

    BackboneError where neither way gives stock transformers' numbers.
    """
    kind = base.model.config.model_type
    why = "" if base.way == "ragged" else "it does not call the attention that it is given"
    if base.way == "ragged":
        difference, why = _examined(base, length)
        if not why:
            return Proof("ragged", length, difference)
        placement.read_padded(base.model)
    difference, wrong = _examined(base, length)
    if wrong:
        raise BackboneError(f"--backbone {base.name}: {kind} cannot be used: {wrong}; {USABLE}")
    return Proof("padded", length, difference, why)


def _examined(base: Backbone, length: int) -> tuple[float, str]:
    """The difference to stock transformers, and what is wrong with it, if anything is."""
    try:
        differences = _differences(base, length)
    except BackboneError as error:
        return float("nan"), str(error)
    except (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        return float("nan"), f"its layers do not take rows that are laid out so ({type(error).__name__}: {error})"
    for where, difference in differences.items():
        if not difference <= TOLERANCE:
            feels = " and feels its neighbour" if where == "end to end" and _feels_its_neighbour(base) else ""
            return difference, (
                f"a row {where} differs from stock transformers by {difference:.1e} of the largest number in it, where "
                f"{TOLERANCE:g} is allowed{feels}"
            )
    return max(differences.values()), ""


@torch.no_grad()
def _differences(base: Backbone, length: int) -> dict[str, float]:
    """Where a row lies -> the relative difference of its hidden states to stock transformers'."""
    short, padded = min(SHORT, length), min(SHORT + PADDING, length)
    mask = torch.arange(padded)[None] < short
    rectangles = [
        Rectangle(0, 2, short),
        Rectangle(2 * short, 1, padded, mask),
        Rectangle(2 * short + padded, 1, length),
    ]
    ids = tokens(base.model.config, rectangles[-1].stop)
    ours = placement.read(base.model, rectangles, ids)[0]
    beside = rectangles[1].start
    rows = torch.cat([ids[: 2 * short].view(2, short), ids[beside : beside + short][None]])
    alone = stock(base.model, rows)
    parts = {
        "end to end": (ours[: 2 * short].unflatten(0, (2, short)), alone[:2]),
        "beside padding": (ours[beside : beside + short][None], alone[2:]),
        f"of {length} tokens": (ours[rectangles[-1].start :][None], stock(base.model, ids[None, -length:])),
    }
    return {where: float((a - b).abs().max() / b.abs().max()) for where, (a, b) in parts.items()}


@torch.no_grad()
def _feels_its_neighbour(base: Backbone) -> bool:
    """Whether a row between two others changes with them."""
    rectangles, ids = [Rectangle(0, 3, SHORT)], tokens(base.model.config, 5 * SHORT).view(5, SHORT)
    one, other = (
        placement.read(base.model, rectangles, ids[[a, 1, b]].flatten())[0, SHORT : 2 * SHORT]
        for a, b in ((0, 2), (3, 4))
    )
    return bool((one - other).abs().max() > TOLERANCE * one.abs().max())


def tokens(config: Any, count: int) -> Tensor:
    """So many ids that jump about in the vocabulary and leave out the padding token, int64 [count]."""
    vocabulary, padding = config.vocab_size, getattr(config, "pad_token_id", None)
    ids = (torch.arange(count) * 7919 + 11) % vocabulary
    return torch.where(ids == padding, (ids + 1) % vocabulary, ids) if isinstance(padding, int) else ids


@torch.no_grad()
def stock(model: Any, ids: Tensor) -> Tensor:
    """The last hidden states of rows of ids [rows, width] without padding: what any call of the model gives."""
    use_cache = {"use_cache": False} if "use_cache" in model.reading.takes else {}
    with _eager(model):
        return model(input_ids=ids.to(next(model.parameters()).device), **use_cache).last_hidden_state


@contextmanager
def _eager(model: Any) -> Iterator[None]:
    """The same module with the attention that is written out in transformers."""
    if model.config._attn_implementation != ATTENTION:
        yield
        return
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(ATTENTION)
