"""How a layout reaches the layers of a backbone: as buffers, through ``torch.func.functional_call``.

A model reads a layout in one of two ways. *Ragged*: all rectangles end to end in one pass, where the model calls our
attention function (models/attention.py). *Padded*: every other model, a pass for each rectangle, with the model's own
attention and a mask, as anybody calls it: slower, since nothing is shared between the passes.

Either way the model takes the keyword ``layout`` and gives a ``Hidden``; without it, it is the stock model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MethodType
from typing import Any, Literal

import torch
from attrs import evolve, frozen
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from mtlfn.models.families import BackboneError, first_line
from mtlfn.models.layout import Layout, Rectangle, lay_out
from mtlfn.models.transfer import moved

Way = Literal["ragged", "padded"]
Arguments = dict[str, Any]


class Placement(nn.Module):
    """How the rows of a call lie in one layer.

    Buffers, empty between calls:
        rectangles: int64 [k, 3] on the CPU: rows, width, and whether a slot of it is padding, in slot order.
        mask: bool [N], True where there is a token; [0] where no slot is padding.
    """

    rectangles: Tensor
    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rectangles", torch.zeros(0, 3, dtype=torch.int64), persistent=False)
        self.register_buffer("mask", torch.zeros(0, dtype=torch.bool), persistent=False)

    def extent(self, way: Way) -> int:
        """Along the axis that rows lie on: slots (ragged) or rows (padded)."""
        return sum(rows * width if way == "ragged" else rows for rows, width, _ in self.rectangles.tolist())


@frozen(eq=False)
class Reading:
    """How a model reads a layout.

    Attributes:
        way: ragged or padded.
        stack: module name of the layers.
        padding: the padding token that positions are counted from, and that is passed over; None: they count from 0.
        takes: which of position_ids, token_type_ids and use_cache the model is called with.
        read_out: the layer whose input is the level-1 features, if any: below it lie the layers of all rows.
    """

    way: Way
    stack: str
    padding: int | None
    takes: frozenset[str]
    read_out: int | None = None

    def positions(self, rows: Tensor) -> Tensor:
        """The position of each token of rows of ids, int64 [rows, width]."""
        if self.padding is None:
            return torch.arange(rows.shape[1]).expand(rows.shape)
        inside = rows != self.padding
        return inside.cumsum(1) * inside + self.padding

    def arguments(self, ids: Tensor, positions: Tensor, types: Tensor | None) -> Arguments:
        """The keywords of a call: ids, their positions and token types, int64 [1, N] on one device each."""
        arguments: Arguments = {"input_ids": ids}
        if "position_ids" in self.takes:
            arguments["position_ids"] = positions
        if "token_type_ids" in self.takes and types is not None:
            arguments["token_type_ids"] = types
        if "use_cache" in self.takes:
            arguments["use_cache"] = False
        return arguments


@frozen(eq=False)
class Hidden:
    """What a model puts out for a layout.

    Attributes:
        last_hidden_state: [1, N', d], without the rows that left.
        features: [1, N, d], the input of the read-out layer, if there is one.
    """

    last_hidden_state: Tensor
    features: Tensor | None


def install(model: Any, layers: nn.ModuleList, reading: Reading) -> None:
    """Makes a stock model take ``layout``. Its modules stay as they are, and so do their weights and names."""
    for layer in layers:
        placement = Placement()
        layer.add_module("placement", placement)
        for module in layer.modules():
            if module is not layer and module is not placement:
                module.__dict__["placement"] = placement  # not registered: each buffer has one name
    model.reading = reading
    model.forward = MethodType(_forward, model)


def read_padded(model: Any) -> None:
    """Makes an installed model read padded rectangles, by the attention that it has in transformers."""
    model.set_attn_implementation("eager")
    model.reading = evolve(model.reading, way="padded")


def _forward(model: Any, *args: Any, layout: Layout | None = None, **arguments: Any) -> Any:
    if layout is None:
        return type(model).forward(model, *args, **arguments)
    return (_ragged if model.reading.way == "ragged" else _padded)(model, layout, arguments)


def _ragged(model: Any, layout: Layout, arguments: Arguments) -> Hidden:
    # A mask that is there keeps transformers from reading restarting positions as packed sequences.
    everything = torch.ones_like(arguments["input_ids"])
    return _called(model, layout, {**arguments, "attention_mask": everything})


def _padded(model: Any, layout: Layout, arguments: Arguments) -> Hidden:
    parts = []
    for r, part in zip(layout.rectangles, layout.parts(), strict=True):
        # Positions are the model's own, as where anybody calls it.
        own = {n: v[0, r.start : r.stop].view(r.rows, r.width) if isinstance(v, Tensor) else v
               for n, v in arguments.items() if n != "position_ids"}  # fmt: skip
        mask = moved(r.inside().long(), own["input_ids"].device)
        hidden = _called(model, part, {**own, "attention_mask": mask})
        features = None if hidden.features is None else _flat(hidden.features)
        parts.append((part, Hidden(_flat(hidden.last_hidden_state), features)))
    return joined(parts)


def _flat(rows: Tensor) -> Tensor:
    """[rows, width, d] as [1, N, d]."""
    return rows.flatten(0, 1)[None]


def joined(parts: Sequence[tuple[Layout, Hidden]]) -> Hidden:
    """What the parts of a layout put out, as one; the top is that of the parts that stay, or nobody reads it."""
    tops = [hidden.last_hidden_state for part, hidden in parts if part.upper is None]
    features = [hidden.features for _, hidden in parts if hidden.features is not None]
    return Hidden(torch.cat(tops or [parts[-1][1].last_hidden_state], 1), torch.cat(features, 1) if features else None)


def _called(model: Any, layout: Layout, arguments: Arguments) -> Hidden:
    """One call of the stock model, with the layout in the buffers of its layers."""
    reading = model.reading
    device = arguments["input_ids"].device
    below = _buffers(layout, device)
    above = below if layout.upper is None else _buffers(layout.upper, device)
    layers = model.get_submodule(reading.stack)
    split = len(layers) if reading.read_out is None else reading.read_out
    buffers = {
        f"{reading.stack}.{i}.placement.{name}": value
        for i in range(len(layers))
        for name, value in (below if i < split else above).items()
    }
    # tie_weights looks for tensors with several names in the whole module, at every call; ours have one each.
    output = functional_call(model, buffers, (), arguments, tie_weights=False)
    features = None if reading.read_out is None else layers[split].placement.__dict__.pop("features")
    return Hidden(output.last_hidden_state, features)


def _buffers(layout: Layout, device: torch.device) -> Mapping[str, Tensor]:
    """What a ``Placement`` holds in a call with this layout."""
    attended = layout.attended
    padded = any(r.mask is not None for r in attended)
    mask = torch.cat([r.inside().flatten() for r in attended]) if padded else torch.zeros(0, dtype=torch.bool)
    rows = [[r.rows, r.width, r.mask is not None] for r in attended]
    return {"rectangles": torch.tensor(rows, dtype=torch.int64), "mask": moved(mask, device)}


def install_read_out(model: Any, read_out: int) -> None:
    """Hooks on the layers from ``read_out`` on: the first one's input is kept as features, and leaving rows stop there.

    The input of a layer is what transformers calls the hidden state of the one below, whatever stands between them.
    The hooks learn from ``placement`` how many rows stay. Which of a layer's arguments go by row is found here, from
    two calls of different sizes. BackboneError where the layers do not see the rows as they are.
    """
    layers = model.get_submodule(model.reading.stack)
    way = model.reading.way
    for index, axes in _row_axes(model, layers, read_out).items():
        layers[index].register_forward_pre_hook(_narrowing(axes, way, index == read_out), with_kwargs=True)
    model.reading = evolve(model.reading, read_out=read_out)
    _prove_leaving(model)


def _narrowing(axes: Sequence[int | None], way: Way, first: bool) -> Callable[..., Any]:
    def hook(layer: Any, args: tuple, kwargs: Arguments) -> tuple[tuple, Arguments] | None:
        if not len(layer.placement.rectangles):
            return None  # the stock model, called without a layout
        leaves, structure = pytree.tree_flatten((args, kwargs))
        if first:
            layer.placement.features = _hidden(args, kwargs)
        stay = layer.placement.extent(way)
        staying = [
            leaf if axis is None or leaf.shape[axis] == stay else leaf.narrow(axis, leaf.shape[axis] - stay, stay)
            for leaf, axis in zip(leaves, axes, strict=True)
        ]
        return pytree.tree_unflatten(staying, structure)

    return hook


def _hidden(args: tuple, kwargs: Arguments) -> Tensor:
    """The hidden states among a layer's arguments."""
    return args[0] if args else kwargs["hidden_states"]


def _row_axes(model: Any, layers: nn.ModuleList, read_out: int) -> dict[int, list[int | None]]:
    """For each layer from ``read_out`` on and each of its arguments, the axis that rows lie on, if there is one."""
    one, other = (_shapes(model, layers, read_out, rows) for rows in (2, 3))
    out: dict[int, list[int | None]] = {}
    for index, shapes in one.items():
        out[index] = []
        for a, b in zip(shapes, other[index], strict=True):
            axes = _differing(a, b)
            each = WIDTH if model.reading.way == "ragged" else 1
            if len(axes) > 1 or any(sizes != (2 * each, 3 * each) for _, sizes in axes):
                raise BackboneError("its layers are handed something that goes by rows and by something else at once")
            out[index].append(axes[0][0] if axes else None)
    return out


def _differing(one: torch.Size | None, other: torch.Size | None) -> list[tuple[int, tuple[int, int]]]:
    """The axes along which two shapes differ, and their two sizes; None, of what is no tensor, has no axes."""
    if one is None:
        return []
    assert other is not None, "an argument is a tensor in both calls, or in neither"
    return [(i, sizes) for i, sizes in enumerate(zip(one, other, strict=True)) if sizes[0] != sizes[1]]


@torch.no_grad()
def _prove_leaving(model: Any) -> None:
    """BackboneError unless rows that stay are the same whether others leave or not, and features are those of all."""
    rectangles = [Rectangle(0, 2, WIDTH), Rectangle(2 * WIDTH, 3, WIDTH)]
    ids = torch.arange(5 * WIDTH) * 7 % model.config.vocab_size
    try:
        whole = called(model, rectangles, ids)
        for leaving in (rectangles[0].stop, rectangles[1].stop):
            again = called(model, rectangles, ids, leaving)
            assert whole.features is not None, "there is a read-out layer"
            assert again.features is not None, "there, too"
            pairs = [(again.features, whole.features)]
            if leaving < rectangles[1].stop:
                pairs.append((again.last_hidden_state, whole.last_hidden_state[:, leaving:]))
            for some, all_ in pairs:
                if some.shape != all_.shape or not (some - all_).abs().max() <= 1e-4 * all_.abs().max():
                    raise BackboneError("its rows are not the same where others leave")
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        if isinstance(error, BackboneError):
            raise
        raise BackboneError(f"its layers do not go on where rows leave ({first_line(error)})") from None


WIDTH = 4  # of the rows that are tried out


@torch.no_grad()
def _shapes(model: Any, layers: nn.ModuleList, read_out: int, rows: int) -> dict[int, list[torch.Size | None]]:
    """The shapes of what each layer from ``read_out`` on is called with for so many rows."""
    upper = range(read_out, len(layers))
    wanted = (1, rows * WIDTH) if model.reading.way == "ragged" else (rows, WIDTH)
    seen: dict[int, list[torch.Size | None]] = {}

    def look(index: int) -> Callable[..., None]:
        def hook(_: Any, args: tuple, kwargs: Arguments) -> None:
            if _hidden(args, kwargs).shape[:2] != wanted:
                raise BackboneError("its layers see another number of positions than a text has")
            leaves = pytree.tree_leaves((args, kwargs))
            seen[index] = [leaf.shape if isinstance(leaf, Tensor) else None for leaf in leaves]

        return hook

    hooks = [layers[i].register_forward_pre_hook(look(i), with_kwargs=True) for i in upper]
    try:
        read(model, [Rectangle(0, rows, WIDTH)], torch.arange(rows * WIDTH) % model.config.vocab_size)
    finally:
        for hook in hooks:
            hook.remove()
    if seen.keys() != set(upper):
        raise BackboneError("not all of its layers are called, or not as layers")
    return seen


def read(model: Any, rectangles: Sequence[Rectangle], ids: Tensor) -> Tensor:
    """The last hidden states, [1, N, d], of ids [N] that lie in rectangles, all of token type 0."""
    return called(model, rectangles, ids).last_hidden_state


def called(model: Any, rectangles: Sequence[Rectangle], ids: Tensor, leaving: int = 0) -> Hidden:
    """What a model puts out for ids [N] that lie in rectangles, all of token type 0, of which so many slots leave."""
    device = next(model.parameters()).device
    rows = (ids[r.start : r.stop].view(r.rows, r.width) for r in rectangles)
    positions = torch.cat([model.reading.positions(each).flatten() for each in rows])[None].to(device)
    arguments = model.reading.arguments(ids[None].to(device), positions, torch.zeros_like(positions))
    return model(layout=lay_out(rectangles, leaving), **arguments)
