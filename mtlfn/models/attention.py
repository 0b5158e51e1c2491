"""Attention inside rectangles: the function that models call instead of their own, and the masks they ask it for.

transformers lets a model state a mask as a function of two positions: causal, a window, a chunk, everything. ``rule``
keeps that function, and ``attention`` applies it inside each rectangle, where positions count from the row's first
token. So each layer has the mask that the model gives it, and no row sees another. What lies where is in the buffers
of ``placement`` (models/placement.py), which come in with every call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from attrs import field, frozen
from torch import Tensor

from mtlfn.models.families import BackboneError
from mtlfn.models.transfer import moved

ATTENTION = "mtlfn_rectangles"
HALVES = (torch.bfloat16, torch.float16)

# Keywords that change nothing here: what a window does is in the rule of its layer, the others steer kernels, caches
# and outputs that are not used.
HARMLESS = frozenset(
    {"sliding_window", "deterministic", "use_cache", "cache_position", "position_ids", "position_embeddings"}
    | {"output_attentions", "output_hidden_states", "return_dict", "is_causal"}
)


@frozen(eq=False)
class Rule:
    """Which positions of a row a token sees.

    Attributes:
        allows: (query, key), two int64 tensors of positions that broadcast, to bool.
        known: width -> what ``at`` said of it.
    """

    allows: Callable[[Tensor, Tensor], Tensor]
    known: dict[int, Rule | Tensor] = field(factory=dict)

    def mask(self, width: int) -> Tensor:
        """bool [width, width], on the CPU: True where the query of the row sees the key of the column."""
        at = torch.arange(width)
        return self.allows(at[:, None], at[None, :]).expand(width, width)

    def at(self, width: int, device: torch.device) -> Rule | Tensor:
        """``EVERYTHING`` or ``CAUSAL`` where that is what the rule says in rows of this width, else its mask there."""
        if self is EVERYTHING or self is CAUSAL:
            return self
        if width not in self.known:
            mask = self.mask(width)
            same = (rule for rule in (EVERYTHING, CAUSAL) if torch.equal(mask, rule.mask(width)))
            self.known[width] = next(same, moved(mask, device))
        return self.known[width]


EVERYTHING = Rule(lambda query, key: torch.ones_like(query, dtype=torch.bool))
CAUSAL = Rule(lambda query, key: key <= query)


def rule(*, mask_function: Callable[..., Tensor], **_: Any) -> Rule:
    """What transformers calls for a mask: the rule behind it. The other arguments are about slots, not positions."""
    from transformers.masking_utils import bidirectional_mask_function, causal_mask_function

    if mask_function is bidirectional_mask_function:
        return EVERYTHING
    if mask_function is causal_mask_function:
        return CAUSAL
    first = torch.tensor(0)  # batch and head: a rule is the same for all
    return Rule(lambda query, key: mask_function(first, first, query, key))


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Rule | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention inside each rectangle: query [1, heads, N, size], key and value of as many heads or fewer, to
    [1, N, heads, size].

    Args:
        attention_mask: the rule of this layer; None: the module's own direction.
        scaling: of the inner products; None: 1 / sqrt(size).
        softcap: c of c tanh(s / c), which bounds the scores s.
        s_aux: [heads], the scores of a sink that takes part in the softmax and has no value.

    BackboneError where a keyword that is not known here, or a mask of the model's own making, would change the result.
    """
    if dropout:
        raise BackboneError("its attention draws dropout of its own")
    asked = _asked(module, attention_mask, others)
    placement = module.__dict__.get("placement")
    if placement is None or not len(placement.rectangles):
        raise BackboneError(f"attention {ATTENTION!r} was called without a layout")
    rectangles = placement.rectangles.tolist()
    sizes = [rows * width for rows, width, _ in rectangles]
    parts = zip(*(split(t.squeeze(0), sizes, 1) for t in (query, key, value)), strict=True)
    out, at = [], 0
    for (rows, width, padded), size, part in zip(rectangles, sizes, parts, strict=True):
        q, k, v = (t.unflatten(1, (rows, width)).transpose(0, 1) for t in part)
        inside = placement.mask[at : at + size].view(rows, width) if padded else None
        at += size
        if softcap is None and s_aux is None:
            o = _fused(q, k, v, asked, inside, scaling)
        else:
            allowed = _beside_padding(moved(asked.mask(width), q.device), inside)
            o = _plain(q, k, v, allowed, scaling, softcap, s_aux)
        out.append(o.transpose(1, 2).flatten(0, 1))
    return (out[0] if len(out) == 1 else torch.cat(out)).unsqueeze(0), None


def _asked(module: Any, mask: Any, others: Mapping[str, Any]) -> Rule:
    """The rule that a layer asks for; BackboneError where it asks for what is not known here."""
    if unknown := sorted(name for name, given in others.items() if given is not None and name not in HARMLESS):
        raise BackboneError(f"its attention asks for {', '.join(unknown)}, which is not known here")
    if mask is None:
        if others.get("sliding_window") is not None:
            raise BackboneError("its attention asks for a window without a mask that says which")
        direction = others.get("is_causal")
        return CAUSAL if (module.is_causal if direction is None else direction) else EVERYTHING
    if not isinstance(mask, Rule):
        raise BackboneError("its layers bring an attention mask of their own making")
    return mask


def split(value: Tensor, sizes: Sequence[int], dim: int) -> Sequence[Tensor]:
    """The parts of so many slots along ``dim``.

    Split, not sliced: the gradients of slices would each be as large as the whole, filled up with zeros, and added.
    That of a single part would be a copy.
    """
    return (value,) if len(sizes) == 1 else value.split(list(sizes), dim)


def _fused(q: Tensor, k: Tensor, v: Tensor, rule: Rule, inside: Tensor | None, scaling: float | None) -> Tensor:
    """One rectangle, [rows, heads, width, size], by torch's own kernel."""
    seen = rule.at(q.shape[2], q.device)
    # Rows are padded on the right: a causal row never sees its padding, so it needs no mask.
    if isinstance(seen, Tensor):
        mask = _beside_padding(seen, inside)
    elif seen is CAUSAL:
        mask = None
    else:
        mask = None if inside is None else inside[:, None, None, :]
    if q.device.type == "cpu" and q.dtype in HALVES and torch.is_grad_enabled():
        return _halves(q, k, v, CAUSAL.mask(q.shape[2]) if seen is CAUSAL else mask, scaling)
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=seen is CAUSAL, scale=scaling, enable_gqa=q.shape[1] != k.shape[1]
    )


def _halves(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, scaling: float | None) -> Tensor:
    """One rectangle in half precision on a CPU, where the reverse pass of torch's own kernel takes 3 to 20 times as
    long as in float32: two products and a softmax in bfloat16, for which there are units (models/units.py); float16
    by way of float32.
    """
    if q.dtype == torch.bfloat16:
        k, v = _repeated(q, k, v)
        scores = (q * (q.shape[-1] ** -0.5 if scaling is None else scaling)) @ k.transpose(2, 3)
        if allowed is not None:
            scores = scores + torch.zeros((), dtype=q.dtype).expand(allowed.shape).masked_fill(~allowed, -torch.inf)
        return scores.softmax(-1) @ v
    with torch.autocast("cpu", enabled=False):
        wide = (t.float() for t in (q, k, v))
        grouped = q.shape[1] != k.shape[1]
        out = F.scaled_dot_product_attention(*wide, attn_mask=allowed, scale=scaling, enable_gqa=grouped)
        return out.to(q.dtype)


def _repeated(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values of as many heads as the queries have."""
    if q.shape[1] == k.shape[1]:
        return k, v
    groups = q.shape[1] // k.shape[1]
    return k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)


def _beside_padding(mask: Tensor, inside: Tensor | None) -> Tensor:
    """bool [width, width] or, where there is padding, [rows, 1, width, width]: padding is seen by itself alone, so
    that no softmax is empty."""
    if inside is None:
        return mask
    return (mask & inside[:, None, None, :]) | torch.eye(len(mask), dtype=torch.bool, device=mask.device)


def _plain(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    allowed: Tensor,
    scaling: float | None,
    softcap: float | None,
    sinks: Tensor | None,
) -> Tensor:
    """One rectangle in plain products, for what torch's kernel cannot express."""
    k, v = _repeated(q, k, v)
    scores = (q @ k.transpose(2, 3)) * (q.shape[-1] ** -0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.float().masked_fill(~allowed, -torch.inf)
    if sinks is not None:
        scores = torch.cat([scores, sinks.float().view(1, -1, 1, 1).expand(*scores.shape[:3], 1)], -1)
    shares = scores.softmax(-1)[..., : k.shape[2]]
    return shares.to(v.dtype) @ v


def register() -> None:
    """Makes ``attention`` and ``rule`` known to transformers under the name ``ATTENTION``; harmless when repeated."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(ATTENTION, attention)
    AttentionMaskInterface.register(ATTENTION, rule)
