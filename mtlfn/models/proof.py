"""The proof that a backbone, as it is read here, computes what stock transformers computes.

Rows end to end, a row of the greatest length in use and a short one padded to it go through the backbone in one layout,
and each row through the stock model with eager attention, unpadded. A padding token stands in a text, since it may. A
family that no test reads is laid out in as many slots as the largest pass in use. What differs is refused, or read in
the other way.
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
from mtlfn.models.families import KNOWN, USABLE, BackboneError, first_line
from mtlfn.models.layout import Rectangle
from mtlfn.models.placement import Way

TOLERANCE = 1e-4  # of the largest number of a hidden state; float32
SHORT = 5  # tokens of a short row


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


def prove(base: Backbone, length: int, slots: int = 0) -> Proof:
    """Proves the backbone for rows of up to ``length`` tokens in passes of up to ``slots``; it is left in the way that
    was proven.

    BackboneError where neither way gives stock transformers' numbers.
    """
    slots = 0 if base.model.config.model_type in KNOWN else slots
    kind = base.model.config.model_type
    why = "" if base.way == "ragged" else "it does not call the attention that it is given"
    if base.way == "ragged":
        difference, why = _examined(base, length, slots)
        if not why:
            return Proof("ragged", length, difference)
        placement.read_padded(base.model)
    difference, wrong = _examined(base, length, 0)
    if wrong:
        raise BackboneError(f"--backbone {base.name}: {kind} cannot be used: {wrong}; {USABLE}")
    return Proof("padded", length, difference, why)


def _examined(base: Backbone, length: int, slots: int) -> tuple[float, str]:
    """The difference to stock transformers, and what is wrong with it, if anything is."""
    try:
        differences = _differences(base, length, slots)
    except BackboneError as error:
        return float("nan"), str(error)
    except (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        why = f"{type(error).__name__}: {first_line(error)}"
        return float("nan"), f"its layers do not take rows that are laid out so ({why})"
    for where, difference in differences.items():
        if not difference <= TOLERANCE:
            feels = " and feels its neighbour" if where == "end to end" and _feels_its_neighbour(base) else ""
            return difference, (
                f"a row {where} differs from stock transformers by {difference:.1e} of the largest number in it, where "
                f"{TOLERANCE:g} is allowed{feels}"
            )
    return max(differences.values()), ""


@torch.no_grad()
def _differences(base: Backbone, length: int, slots: int) -> dict[str, float]:
    """Where a row lies -> the relative difference of its hidden states to stock transformers'."""
    short = min(SHORT, length)
    fillers = max(slots - 2 * short - 2 * length, 0) // length
    mask = torch.arange(length)[None] < torch.tensor([[length], [short]])
    rectangles = [Rectangle(0, 2, short)]
    for rows, inside in ((fillers, None), (2, mask)):
        if rows:
            rectangles.append(Rectangle(rectangles[-1].stop, rows, length, inside))
    ids = tokens(base.model.config, rectangles[-1].stop)
    ours = placement.read(base.model, rectangles, ids)[0]
    if ours.shape[-1] != base.width:
        raise BackboneError(f"it puts out {ours.shape[-1]} numbers a token, where its configuration says {base.width}")
    at = rectangles[-1].start
    padded = at + length
    rows = torch.cat([ids[: 2 * short].view(2, short), ids[padded : padded + short][None]])
    alone = stock(base.model, rows)
    parts = {
        "end to end": (ours[: 2 * short].unflatten(0, (2, short)), alone[:2]),
        f"of {length} tokens": (ours[at : at + length][None], stock(base.model, ids[None, at : at + length])),
        "beside padding": (ours[padded : padded + short][None], alone[2:]),
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
    """So many ids that jump about in the vocabulary, int64 [count]. Among the first stand those of padding and mask."""
    ids = (torch.arange(count) * 7919 + 11) % config.vocab_size
    special = [getattr(config, name, None) for name in ("pad_token_id", "mask_token_id")]
    for at, token in enumerate(special, 1):
        if isinstance(token, int) and 0 <= token < config.vocab_size:
            ids[at] = token
    return ids


@torch.no_grad()
def stock(model: Any, ids: Tensor) -> Tensor:
    """The last hidden states of rows of ids [rows, width] without padding: what any call of the model gives."""
    use_cache = {"use_cache": False} if "use_cache" in model.reading.takes else {}
    ids = ids.to(next(model.parameters()).device)
    with _eager(model):
        return model(input_ids=ids, attention_mask=torch.ones_like(ids), **use_cache).last_hidden_state


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
