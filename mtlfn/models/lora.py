"""LoRA slots as rank blocks of one PEFT adapter: one product a linear, whatever the number of slots.

Separate PEFT adapters for every slot make a step markedly slower. The state holds each slot's own ``lora_A`` [rank, in]
and ``lora_B`` [out, rank]; here they are put side by side for PEFT's layers, and taken apart again for export.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn

from mtlfn.core.gradients import Reach
from mtlfn.core.keys import Key, fold, uniform
from mtlfn.core.state import Tree
from mtlfn.data.task import Task
from mtlfn.models.backbone import Backbone
from mtlfn.models.families import BackboneError, default_targets
from mtlfn.models.split import AttentionLinear, Blocks, GatedLinear, KeyedDropout, SeparateLinear, TaskLinear, install
from mtlfn.models.strategy import Slot, Strategy, block_name, slots_at, tasks_reaching, tasks_through

ADAPTER = "default"


@frozen(kw_only=True)
class LoraSettings:
    """What the adapter is made of.

    Attributes:
        alpha_ratio: lora_alpha / rank: the factor of every adapter product, equal in all strategies.
        dropout: rate on the input of the adapter products.
        targets: "default" (PEFT's choice, or the projections of queries and values), "all-linear", or names
            of linears.
    """

    alpha_ratio: float = 2.0
    dropout: float = 0.05
    targets: str = "default"


@frozen
class Linear:
    """An adapted linear of the backbone: its module name, layer number and shape."""

    name: str
    layer: int
    inputs: int
    outputs: int


def rank_of(strategy: Strategy) -> int:
    """Ranks that one task uses at one layer; equal at every layer."""
    return sum(slot.rank for slot in slots_at(strategy, 0, 1))


def attach(backbone: Backbone, strategy: Strategy, settings: LoraSettings) -> tuple[Any, tuple[Linear, ...]]:
    """The backbone inside a PEFT model with one adapter of all ranks, and the linears adapted.

    The module's own adapter tensors are NaN: should a call fall back to them, it shows.
    """
    import peft

    config = peft.LoraConfig(
        r=rank_of(strategy),
        # PEFT's type says int; it computes with any number, and the export keeps this one.
        lora_alpha=settings.alpha_ratio * rank_of(strategy),  # pyright: ignore[reportArgumentType]
        target_modules=_targets(backbone, settings.targets),
        lora_dropout=settings.dropout,
    )
    # PEFT draws initial weights, which are not used, from the global generator; it asks transformers by a name that
    # transformers is about to drop; and it warns of experts that it adapts as one tensor, which are refused below.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        warnings.filterwarnings("ignore", message="The following (rank|alpha)_pattern keys", category=RuntimeWarning)
        try:
            model = peft.get_peft_model(backbone.model, config, adapter_name=ADAPTER)
        except ValueError as error:
            raise BackboneError(f"--lora-targets {settings.targets}: {str(error).splitlines()[0]}") from None
    linears = [_adapted(backbone, strategy, settings, name, module) for name, module in _with_adapter(backbone.model)]
    names = () if settings.targets in ("default", "all-linear") else config.target_modules or ()
    for target in sorted(names):
        if not any(linear.name == target or linear.name.endswith(f".{target}") for linear in linears):
            raise BackboneError(f"--lora-targets {settings.targets}: no linear inside the layers is called {target!r}")
    return model.eval(), tuple(linears)


def _with_adapter(model: nn.Module) -> list[tuple[str, Any]]:
    """The modules that PEFT has given an adapter, by name."""
    return [(name, module) for name, module in model.named_modules() if ADAPTER in getattr(module, "lora_A", {})]


def _adapted(backbone: Backbone, strategy: Strategy, settings: LoraSettings, name: str, module: Any) -> Linear:
    """Makes PEFT's adapter of a linear ours; BackboneError where it is not of a kind or in a place for that."""
    import peft

    if not isinstance(module, peft.tuners.lora.Linear) or not _plain(module.base_layer):
        what = type(getattr(module, "base_layer", module)).__name__
        raise BackboneError(
            f"--lora-targets {settings.targets}: {name} is of the class {what}, which cannot be adapted here; name "
            "linears of attention, such as the default ones"
        )
    if not name.startswith(backbone.layer_prefix + "."):
        raise BackboneError(
            f"--lora-targets {settings.targets}: {name} lies outside the layers; adapt linears inside them only"
        )
    for part in (module.lora_A[ADAPTER], module.lora_B[ADAPTER]):
        linear = install(part, SeparateLinear if strategy.separate else TaskLinear)
        linear.weight.requires_grad_(False).fill_(math.nan)
    if strategy.fusion != "sum":
        _fuse(module.lora_B[ADAPTER], strategy)
    module.lora_dropout[ADAPTER] = KeyedDropout(name, settings.dropout)
    module.cast_input_dtype_enabled = False  # to float32 and, under autocast, back again
    assert module.in_features is not None, "PEFT reads it off a linear"
    assert module.out_features is not None, "and this, too"
    layer = int(name[len(backbone.layer_prefix) + 1 :].split(".")[0])
    return Linear(name, layer, module.in_features, module.out_features)


def cast(model: nn.Module, dtype: torch.dtype) -> None:
    """Keeps the weights of the frozen linears in ``dtype``."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and ".lora_" not in name:
            module.to(dtype)


def _fuse(part: Any, strategy: Strategy) -> None:
    """Makes a ``lora_B`` weigh its shared and private ranks; what it weighs them with comes with every call."""
    part.__class__ = {"gated": GatedLinear, "attention": AttentionLinear}[strategy.fusion]
    part.shared = sum(slot.rank for slot in strategy.slots if not slot.private)
    for name in fusion_shapes(strategy):
        part.register_buffer(name, torch.full((), math.nan), persistent=False)


def fusion_shapes(strategy: Strategy) -> dict[str, tuple[int, ...]]:
    """What one task's fusion of one linear is made of, beside the blocks; all of it zero at the start."""
    return {
        "sum": {},
        "gated": {"gate": ()},
        "attention": {"attention_weight": (2, rank_of(strategy)), "attention_bias": (2,)},
    }[strategy.fusion]


def _targets(backbone: Backbone, targets: str) -> list[str]:
    """Names or ends of names of the linears to adapt."""
    modules = backbone.layers.named_modules()
    inside = [f"{backbone.layer_prefix}.{name}" for name, module in modules if _plain(module)]
    if targets == "all-linear":
        if not inside:
            raise BackboneError(
                f"--lora-targets all-linear: the layers of the architecture {backbone.model.config.model_type!r} have "
                "no plain linears, which alone can be adapted here; take another backbone"
            )
        return inside
    if targets != "default":
        return [name.strip() for name in targets.split(",")]
    kind = backbone.model.config.model_type
    if (names := default_targets(kind, inside)) is None:
        ends = ", ".join(sorted({name.rpartition(".")[2] for name in inside}))
        advice = f"name some of its linears ({ends}), or use all-linear" if ends else "its layers have no plain linears"
        raise BackboneError(f"--lora-targets default: there is no default for the architecture {kind!r}; {advice}")
    return names


def _plain(module: nn.Module) -> bool:
    """Whether a module is a linear and nothing more: routers of experts are linears that put out other things."""
    return isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward


def blocks(strategy: Strategy, tasks: Sequence[Task], layer: int, read_out: int) -> list[tuple[Slot, str]]:
    """The slots of a layer with their names in the state, in rank order; private slots once for every task."""
    return [
        (slot, name)
        for slot in slots_at(strategy, layer, read_out)
        for name in dict.fromkeys(block_name(slot, t.name) for t in tasks)
    ]


def init(
    linears: Sequence[Linear], strategy: Strategy, tasks: Sequence[Task], read_out: int, key: Key
) -> dict[str, dict[str, Tensor]]:
    """Adapter tensors at the start: A uniform as in PEFT (Kaiming with a = sqrt 5), B zero. Float32, CPU."""
    out: dict[str, dict[str, Tensor]] = {}
    for linear in linears:
        for slot, name in blocks(strategy, tasks, linear.layer, read_out):
            tensors, bound = out.setdefault(name, {}), 1 / math.sqrt(linear.inputs)
            shape = (slot.rank, linear.inputs)
            tensors[f"{linear.name}.lora_A"] = uniform(fold(key, name, linear.name), shape, bound)
            tensors[f"{linear.name}.lora_B"] = torch.zeros(linear.outputs, slot.rank)
            for part, part_shape in fusion_shapes(strategy).items() if slot.private else ():
                tensors[f"{linear.name}.{part}"] = torch.zeros(part_shape)
    return out


def reach(
    linears: Sequence[Linear], strategy: Strategy, tasks: Sequence[Task], read_out: int, detach_level1: bool
) -> Reach:
    """For every adapter tensor, the tasks whose loss trains it."""
    out: dict[str, dict[str, tuple[str, ...]]] = {}
    for linear in linears:
        for slot, name in blocks(strategy, tasks, linear.layer, read_out):
            through = tasks_reaching(strategy, tasks, slot, linear.layer, read_out, detach_level1)
            reached = tuple(t for t in through if block_name(slot, t) == name)
            for part in ("lora_A", "lora_B", *(fusion_shapes(strategy) if slot.private else ())):
                out.setdefault(name, {})[f"{linear.name}.{part}"] = reached
    return out


def assembled(
    linears: Sequence[Linear],
    strategy: Strategy,
    tasks: Sequence[Task],
    read_out: int,
    reached: Reach,
    params: Tree,
    present: Sequence[str],
) -> dict[str, Tensor]:
    """The tensors of PEFT's linears under the backbone's module names, blocks side by side.

    ``present``: the tasks whose rows are in the call, in slot order. Where a block comes expanded over tasks, so does
    the result, over those of the present tasks whose rows pass the layer.
    """
    out, chosen = {}, [t for t in tasks if t.name in present]
    fused = fusion_shapes(strategy)
    for linear in linears:
        through = tasks_through(strategy, chosen, linear.layer, read_out)
        active = blocks(strategy, chosen, linear.layer, read_out)
        private = [name for slot, name in active if slot.private]
        for part, dim in (("lora_A", 0), ("lora_B", 1)):
            key = f"{linear.name}.{part}"
            if len(private) > 1:
                whole = _separate(strategy, through, linear.layer, read_out, params, key, dim)
            else:
                whole = _together(through, [name for _, name in active], reached, params, key, dim)
            out[f"{linear.name}.{part}.{ADAPTER}.weight"] = whole
        for part in fused:
            values = [params[name][f"{linear.name}.{part}"] for name in private]
            out[f"{linear.name}.lora_B.{ADAPTER}.{part}"] = torch.stack(values)
    return out


def _together(through: Sequence[str], names: Sequence[str], reached: Reach, params: Tree, key: str, dim: int) -> Tensor:
    """The blocks of ``names`` as one weight for all rows; what is trained takes gradients from the rows of its tasks
    alone, where those of others pass it, too."""
    parts = [params[name][key] for name in names]
    # A block that one task trains is a plain matrix, also where other tasks' rows meet it.
    alone = all(p.ndim == 2 and (not p.requires_grad or len(through) < 2) for p in parts)
    if len(parts) == 1 and (alone or parts[0].shape[:-2] == (len(through),)):
        return parts[0]
    if alone or not through:
        return torch.cat([p if p.ndim == 2 else p[0] for p in parts], dim)
    members = [[i for i, t in enumerate(through) if t in reached[name].get(key, ())] for name in names]
    return Blocks.apply(len(through), dim, members, *parts)


def _separate(
    strategy: Strategy, through: Sequence[str], layer: int, read_out: int, params: Tree, key: str, dim: int
) -> Tensor:
    """A weight for every task, [t, ...]: the blocks that all share beside its own."""
    parts = []
    for slot in slots_at(strategy, layer, read_out):
        own = [params[block_name(slot, t)][key] for t in through]
        parts.append(torch.stack(own) if slot.private else own[0].expand(len(through), *own[0].shape[-2:]))
    return torch.cat(parts, dim + 1)


def export_weights(
    linears: Sequence[Linear], strategy: Strategy, task: Task, read_out: int, params: Tree
) -> Mapping[str, Tensor]:
    """One task's adapter under PEFT's own state-dict names."""
    whole = assembled(linears, strategy, [task], read_out, {}, params, [task.name])
    return {f"base_model.model.{name}": value.detach().cpu().contiguous() for name, value in whole.items()}


def from_export(
    linears: Sequence[Linear], strategy: Strategy, task: Task, read_out: int, weights: Mapping[str, Tensor]
) -> dict[str, dict[str, Tensor]]:
    """The adapter tensors of one task, by slot, of which ``export_weights`` made these; KeyError where one lacks."""
    out: dict[str, dict[str, Tensor]] = {}
    for linear in linears:
        named = f"base_model.model.{linear.name}"
        slots = blocks(strategy, [task], linear.layer, read_out)
        for part, dim in (("lora_A", 0), ("lora_B", 1)):
            whole = weights[f"{named}.{part}.{ADAPTER}.weight"]
            for (_, name), block in zip(slots, whole.split([slot.rank for slot, _ in slots], dim), strict=True):
                out.setdefault(name, {})[f"{linear.name}.{part}"] = block.contiguous()
        for part in fusion_shapes(strategy):
            (private,) = (name for slot, name in slots if slot.private)
            out[private][f"{linear.name}.{part}"] = weights[f"{named}.lora_B.{ADAPTER}.{part}"][0]
    return out


def export_config(adapted: Any, backbone: Backbone) -> dict[str, Any]:
    """PEFT's ``adapter_config.json``: the base is named by its Hub id and revision or else by its weights' digest."""
    config = adapted.peft_config[ADAPTER].to_dict()
    config |= {
        "base_model_name_or_path": backbone.hub_id or f"sha256:{backbone.digest}",
        "revision": backbone.revision,
        "task_type": "FEATURE_EXTRACTION",  # so that PEFT refuses to load it for another class of model
        "inference_mode": True,
    }
    # Sets have no order that two runs share.
    return {name: sorted(value) if isinstance(value, set) else value for name, value in sorted(config.items())}
