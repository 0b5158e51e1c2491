"""The model as functions of its trainable tensors: losses for the step, predictions for evaluation.

The module holds only what is frozen. Everything trainable comes in as an argument and goes through
``torch.func.functional_call``; the module's own adapter tensors are NaN, so that a fall-back to them would show.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from attrs import evolve, frozen
from torch import Tensor
from torch.func import functional_call

from mtlfn.core.batch import Batch, MicroBatch
from mtlfn.core.gradients import Reach
from mtlfn.core.keys import Key, fold
from mtlfn.core.state import Tree
from mtlfn.data.task import Task
from mtlfn.data.tokens.collate import Inputs
from mtlfn.models import cross_attention, heads, lora, units
from mtlfn.models.backbone import Backbone
from mtlfn.models.families import BackboneError
from mtlfn.models.layout import Layout, Rectangle, lay_out, spread, taken_apart, unpadded
from mtlfn.models.placement import Hidden, install_read_out, joined
from mtlfn.models.recompute import install_recomputation
from mtlfn.models.split import owned_slots
from mtlfn.models.strategy import Strategy, block_name, tasks_through
from mtlfn.models.transfer import moved
from mtlfn.models.wide import widen


@frozen(eq=False)
class Model:
    """A frozen backbone with adapter slots and heads.

    Attributes:
        backbone, strategy, tasks: what it is made of; tasks in canonical order, level 1 first.
        adapted: the PEFT model around the backbone; exports use it.
        linears: the adapted linears.
        read_out: level-1 heads read the output of layer ``read_out - 1`` (hierarchical strategies).
        detach_level1: the level-1 slot gets no gradient from level-2 tasks.
        class_weights: task -> loss weights of its classes, or None.
        reach: for every trainable tensor the tasks whose loss trains it.
        shapes: slot -> name -> shape of every trainable tensor.
        device: where it computes.
        precision: what the frozen weights of the backbone's linears are kept in.
        products: what its matrix products are computed in: ``precision``, or float32 where that is faster.
        unpad: the backbone sees tokens alone; heads see them in their rectangles, zero where there is padding.
    """

    backbone: Backbone
    strategy: Strategy
    tasks: tuple[Task, ...]
    adapted: Any
    linears: tuple[lora.Linear, ...]
    read_out: int
    detach_level1: bool
    class_weights: Mapping[str, Tensor | None]
    reach: Reach
    shapes: Mapping[str, Mapping[str, torch.Size]]
    device: torch.device
    precision: torch.dtype
    products: torch.dtype
    unpad: bool


def canonical(tasks: Sequence[Task]) -> tuple[Task, ...]:
    """Level-1 tasks first, otherwise as given: level-2 rows lie last in every batch."""
    return tuple(sorted(tasks, key=lambda task: task.level))


def build(
    backbone: Backbone,
    strategy: Strategy,
    tasks: Sequence[Task],
    settings: lora.LoraSettings,
    *,
    label_counts: Mapping[str, Mapping[str, int]],
    read_out: int = 0,
    detach_level1: bool = False,
    frozen: Collection[str] = (),
    device: torch.device | None = None,
    precision: torch.dtype = torch.float32,
    recompute: bool = False,
    unpad: bool = False,
) -> Model:
    """The model; it takes over the backbone's module. ``read_out`` 0: half of the layers.

    ``frozen``: slots that no task trains. ``precision``: float32, or the dtype of the backbone's matrix products, whose
    weights are then kept in it; embeddings, norms, the residual stream, trainable tensors, heads and losses stay
    float32, and so do products on a CPU without units for bfloat16 (models/units.py). ``recompute``: activations inside
    a layer are computed again in the reverse pass instead of kept. ``unpad``: no padding is computed.

    Raises BackboneError where the read-out layer or the adapter targets do not fit the backbone, ValueError where the
    strategy lacks a slot to freeze.
    """
    device = device or torch.device("cpu")
    tasks = canonical(tasks)
    read_out = read_out or (len(backbone.layers) + 1) // 2
    _check(backbone, strategy, tasks, read_out, unpad)
    if strategy.hierarchical:
        _split_at(backbone, read_out)
    adapted, linears = lora.attach(backbone, strategy, settings)
    if recompute:
        install_recomputation(backbone.layers)
    products = units.products(precision, device)
    if precision != torch.float32:
        lora.cast(backbone.model, precision)
    if products != precision:
        widen(backbone.model, precision)
    adapted.to(device)
    weights = {t.name: heads.class_weights(t, label_counts[t.name]) for t in tasks}
    model = Model(
        backbone=backbone,
        strategy=strategy,
        tasks=tasks,
        adapted=adapted,
        linears=linears,
        read_out=read_out,
        detach_level1=detach_level1,
        class_weights={n: None if w is None else w.to(device) for n, w in weights.items()},
        reach=_reach(backbone, strategy, tasks, lora.reach(linears, strategy, tasks, read_out, detach_level1), frozen),
        shapes={},
        device=device,
        precision=precision,
        products=products,
        unpad=unpad,
    )
    exemplar = init_params(model, "00")
    shapes = {slot: {name: v.shape for name, v in tensors.items()} for slot, tensors in exemplar.items()}
    for slot, names in model.reach.items():
        if set(names) != set(shapes[slot]):
            raise AssertionError(f"reach and tensors of {slot} differ: {set(names) ^ set(shapes[slot])}")
    return evolve(model, shapes=shapes)


def _check(backbone: Backbone, strategy: Strategy, tasks: Sequence[Task], read_out: int, unpad: bool) -> None:
    """BackboneError or ValueError where backbone, strategy and tasks do not go together."""
    depth = len(backbone.layers)
    if not 1 <= read_out < depth and strategy.hierarchical:
        if depth == 1:
            raise BackboneError(
                f"--backbone {backbone.name}: it has one layer, and none to read below; use s1, s2 or s3a"
            )
        raise BackboneError(f"--read-out-layer {read_out}: the backbone has {depth} layers; expected 1 to {depth - 1}")
    if strategy.single and len(tasks) > 1:
        raise ValueError(f"strategy {strategy.name} trains one task, found {', '.join(t.name for t in tasks)}")
    if unpad and backbone.way == "padded":
        raise BackboneError(
            f"--unpad: {backbone.model.config.model_type} reads padded rectangles, with its own attention; leave it out"
        )


def _reach(
    backbone: Backbone, strategy: Strategy, tasks: Sequence[Task], adapters: Reach, frozen: Collection[str]
) -> Reach:
    """Slot -> tensor -> the tasks that train it; ``adapters``: those of the adapters. Nobody trains ``frozen``."""
    reach: dict[str, Mapping[str, tuple[str, ...]]] = {
        **adapters,
        **{f"head/{t.name}": dict.fromkeys(heads.init(t, backbone.width, "00"), (t.name,)) for t in tasks},
    }
    level2 = tuple(t.name for t in tasks if t.level == 2)
    if strategy.hierarchical and level2:
        reach[cross_attention.SLOT] = dict.fromkeys(cross_attention.init(backbone.width, "00"), level2)
    if unknown := [slot for slot in frozen if slot not in reach]:
        raise ValueError(f"strategy {strategy.name} has no slot {unknown[0]!r} to freeze, only {', '.join(reach)}")
    return reach | {slot: dict.fromkeys(reach[slot], ()) for slot in frozen}


def _split_at(backbone: Backbone, read_out: int) -> None:
    """Makes the backbone read out at a layer; BackboneError where it cannot."""
    kind = backbone.model.config.model_type
    if backbone.width != backbone.stream_width:
        raise BackboneError(
            f"--backbone {backbone.name}: {kind} puts out {backbone.width} numbers a token, and its layers "
            f"{backbone.stream_width}, so level-2 heads cannot look at level-1 features; use s1, s2 or s3a"
        )
    try:
        install_read_out(backbone.model, read_out)
    except BackboneError as error:
        raise BackboneError(
            f"--backbone {backbone.name}: {kind} cannot be read at a layer inside: {error}; use s1, s2 or s3a"
        ) from None


def active_adapter_parameters(model: Model) -> dict[str, int]:
    """Task -> adapter numbers (``lora_A``, ``lora_B``) that one of its rows meets; what fuses or crosses is apart."""
    return {
        task.name: sum(
            shape.numel()
            for slot in dict.fromkeys(block_name(s, task.name) for s in model.strategy.slots)
            for name, shape in model.shapes.get(slot, {}).items()  # --lora-targets may leave a level without any
            if name.endswith((".lora_A", ".lora_B")) and _passes(model, task, name)
        )
        for task in model.tasks
    }


def _passes(model: Model, task: Task, name: str) -> bool:
    """Whether rows of the task pass the linear of an adapter tensor."""
    layer = next(linear.layer for linear in model.linears if linear.name == name.rpartition(".")[0])
    return task.name in tasks_through(model.strategy, [task], layer, model.read_out)


def init_params(model: Model, key: Key) -> dict[str, dict[str, Tensor]]:
    """All trainable tensors at the start, float32 on the model's device; a pure function of the key."""
    key, width = fold(key, "init"), model.backbone.width
    params = lora.init(model.linears, model.strategy, model.tasks, model.read_out, key)
    for task in model.tasks:
        params[f"head/{task.name}"] = heads.init(task, width, key)
    if cross_attention.SLOT in model.reach:
        params[cross_attention.SLOT] = cross_attention.init(width, key)
    return {slot: {name: v.to(model.device) for name, v in tensors.items()} for slot, tensors in params.items()}


def check_params(model: Model, params: Tree) -> None:
    """ValueError unless names and shapes are those of the model: functional_call would pass over a misspelt name."""
    expected = {(slot, name): tuple(shape) for slot, names in model.shapes.items() for name, shape in names.items()}
    actual = {(slot, name): tuple(v.shape) for slot, names in params.items() for name, v in names.items()}
    for path in sorted(expected.keys() | actual.keys()):
        if expected.get(path) != actual.get(path):
            raise ValueError(f"tensor {'/'.join(path)}: expected shape {expected.get(path)}, found {actual.get(path)}")


def losses(model: Model, params: Tree, batch: Batch, key: Key) -> dict[str, Tensor]:
    """Task -> mean loss over its labels in the batch, 0-d float32: the ``Loss`` that the core calls.

    ``key``: the step's; dropout masks are drawn from it for each task and call site.
    """
    micro_batches = [m for m in batch.micro_batches if m.tokens.loss]
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    for m, logits in zip(micro_batches, forward(model, params, micro_batches, key), strict=True):
        task = _task(model, m.task)
        part = heads.loss_sum(task, logits, m.inputs, model.class_weights[m.task])
        sums[m.task] = sums[m.task] + part if m.task in sums else part
        counts[m.task] = counts.get(m.task, 0) + m.tokens.loss
    return {task: value / counts[task] for task, value in sums.items()}


def predict(model: Model, params: Tree, micro_batch: MicroBatch) -> list[Any]:
    """Predictions of each row of a micro-batch; no dropout, no gradient."""
    with torch.no_grad():
        (logits,) = forward(model, params, [micro_batch], None)
    return heads.decode(_task(model, micro_batch.task), logits, micro_batch.inputs.marks)


def forward(model: Model, params: Tree, micro_batches: Sequence[MicroBatch], key: Key | None) -> list[Tensor]:
    """The logits of each micro-batch from one pass through the backbone.

    Micro-batches lie in canonical task order. ``key``: for dropout; None for none.
    """
    present = tuple(dict.fromkeys(m.task for m in micro_batches))
    rectangles, leaving = _rectangles(model, micro_batches)
    layout = (unpadded if model.unpad else lay_out)(rectangles, leaving)
    top, features = hidden_states(model, params, micro_batches, layout, key)
    if layout.places is not None:
        top, features = _in_rectangles(top, features, layout.places, rectangles[-1].stop, leaving)
    crossed = _by_task(model, {s: params[s] for s in (cross_attention.SLOT,) if s in params}, present)
    staying = [r for r in rectangles if r.start >= leaving]
    above = iter(taken_apart(top, staying) if staying else ())
    below = taken_apart(top if features is None else features, rectangles)
    out = []
    for m, r, read in zip(micro_batches, rectangles, map(_normalised, below), strict=True):
        task = _task(model, m.task)
        if model.strategy.hierarchical and task.level == 2:
            mask = None if r.mask is None else moved(r.mask, model.device)
            read = cross_attention.attend(crossed[m.task][cross_attention.SLOT], next(above), read, mask)
        out.append(heads.logits(task, params[f"head/{m.task}"], read, m.inputs, model.backbone.causal))
    return out


def _normalised(hidden: Tensor) -> Tensor:
    """Features of unit scale for the heads: a pre-norm decoder's residual stream has none at the read-out layer."""
    return F.layer_norm(hidden, hidden.shape[-1:])


def _by_task(model: Model, params: Tree, present: Sequence[str]) -> dict[str, dict[str, dict[str, Tensor]]]:
    """For each task that is present, the tensors as its own rows meet them.

    A tensor of several tasks comes expanded over those that are present and train it: each of them gets its row, so
    that its gradient stays its own. One that does not train it gets the value alone.
    """
    out: dict[str, dict[str, dict[str, Tensor]]] = {task: {} for task in present}
    for slot, tensors in params.items():
        for name, value in tensors.items():
            one = value.ndim == len(model.shapes[slot][name])
            own = dict.fromkeys(present, (value if one else value[0]).detach())
            training = [t for t in present if t in model.reach[slot][name]]
            own |= dict(zip(training, [value] * len(training) if one else value.unbind(0), strict=True))
            for task in present:
                out[task].setdefault(slot, {})[name] = own[task]
    return out


def hidden_states(
    model: Model, params: Tree, micro_batches: Sequence[MicroBatch], layout: Layout, key: Key | None
) -> tuple[Tensor, Tensor | None]:
    """The top hidden state, [1, N', d] without the rows that left, and that of the read-out layer, [1, N, d]."""
    if model.backbone.way == "ragged":
        hidden = _read(model, params, micro_batches, layout, key)
        return hidden.last_hidden_state, hidden.features
    # A pass for each micro-batch, with the adapter of its task alone.
    own, parts = _by_task(model, params, tuple(dict.fromkeys(m.task for m in micro_batches))), []
    turns = dict.fromkeys(own, 0)
    for m, part in zip(micro_batches, layout.parts(), strict=True):
        mine = key if key is None or not turns[m.task] else fold(key, "micro-batch", turns[m.task])
        turns[m.task] += 1
        parts.append((part, _read(model, own[m.task], [m], part, mine)))
    hidden = joined(parts)
    return hidden.last_hidden_state, hidden.features


def _read(model: Model, params: Tree, micro_batches: Sequence[MicroBatch], layout: Layout, key: Key | None) -> Hidden:
    """What the backbone puts out for micro-batches in a layout, with the adapters in place."""
    places = slice(None) if layout.places is None else layout.places
    inner = model.backbone.model

    def flat(of: Callable[[Inputs], Tensor]) -> Tensor:
        rows = torch.cat([of(m.inputs).flatten() for m in micro_batches])[places]
        return moved(rows.unsqueeze(0), model.device)

    arguments = inner.reading.arguments(
        flat(lambda inputs: inputs.input_ids),
        flat(lambda inputs: inner.reading.positions(inputs.input_ids)),
        flat(lambda inputs: inputs.token_types),
    )
    tensors = _tensors(model, params, micro_batches, key)
    with _computing(model):
        # tie_weights looks for tensors with several names in the whole module, at every call; ours have one each.
        hidden = functional_call(inner, tensors, (), {**arguments, "layout": layout}, tie_weights=False)
    if model.products == torch.float32:
        return hidden
    features = None if hidden.features is None else hidden.features.float()
    return Hidden(hidden.last_hidden_state.float(), features)


def _computing(model: Model) -> AbstractContextManager:
    """The backbone's products in the dtype that they are computed in."""
    if model.products == torch.float32:
        return nullcontext()
    # No cache: what it keeps is weights that need gradients, and these change with every step.
    return torch.autocast(model.device.type, model.products, cache_enabled=False)


def _rectangles(model: Model, micro_batches: Sequence[MicroBatch]) -> tuple[list[Rectangle], int]:
    """A rectangle a micro-batch, end to end, and how many slots leave at the read-out layer."""
    rectangles, start, leaving = [], 0, 0
    for m in micro_batches:
        rows, width = m.inputs.input_ids.shape
        mask = torch.arange(width) < m.inputs.lengths[:, None]
        rectangles.append(Rectangle(start, rows, width, None if bool(mask.all()) else mask))
        start = rectangles[-1].stop
        if model.strategy.hierarchical and _task(model, m.task).level == 1:
            leaving = start
    return rectangles, leaving


def _in_rectangles(
    top: Tensor, features: Tensor | None, places: Tensor, slots: int, leaving: int
) -> tuple[Tensor, Tensor | None]:
    """Hidden states of tokens alone as those of all slots."""
    if leaving < slots:  # else nobody reads the top
        top = spread(top, moved(places[places >= leaving] - leaving, top.device), slots - leaving)
    return top, None if features is None else spread(features, moved(places, features.device), slots)


def _tensors(model: Model, params: Tree, micro_batches: Sequence[MicroBatch], key: Key | None) -> dict[str, Tensor]:
    """What functional_call puts into the backbone: adapter weights, row bounds and dropout keys."""
    present = tuple(dict.fromkeys(m.task for m in micro_batches))
    sizes = [int(m.inputs.lengths.sum()) if model.unpad else m.inputs.input_ids.numel() for m in micro_batches]
    slots = {t: sum(n for m, n in zip(micro_batches, sizes, strict=True) if m.task == t) for t in present}
    out = lora.assembled(model.linears, model.strategy, model.tasks, model.read_out, model.reach, params, present)
    bounds: dict[tuple[str, ...], Tensor] = {}
    owned: dict[tuple[str, ...], Tensor] = {}
    keys: dict[tuple[str, ...], Tensor] = {}
    chosen = [t for t in model.tasks if t.name in present]
    for linear in model.linears:
        through = tasks_through(model.strategy, chosen, linear.layer, model.read_out)
        if through not in bounds:
            bounds[through] = torch.tensor([0, *(slots[t] for t in through)]).cumsum(0)
            drawn = [list(bytes.fromhex(fold(key, "dropout", t))) for t in through] if key is not None else []
            keys[through] = torch.tensor(drawn, dtype=torch.uint8).view(-1, 32)
            owned[through] = owned_slots([slots[t] for t in through], model.device)
        for part in ("lora_A", "lora_B"):
            out[f"{linear.name}.{part}.{lora.ADAPTER}.bounds"] = bounds[through]
            if len(owned[through]):
                out[f"{linear.name}.{part}.{lora.ADAPTER}.own"] = owned[through]
        out[f"{linear.name}.lora_dropout.{lora.ADAPTER}.bounds"] = bounds[through]
        out[f"{linear.name}.lora_dropout.{lora.ADAPTER}.keys"] = keys[through]
    return out


def _task(model: Model, name: str) -> Task:
    return next(t for t in model.tasks if t.name == name)
