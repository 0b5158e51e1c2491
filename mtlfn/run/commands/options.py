"""The options of a run as a command shows them: in groups, with the words that stand below the fields.

``Config`` is flat, since it is what a run is. A command line of fifty flags is read by topic, and the parser groups by
class: so each group becomes a class of its own while flags are parsed, and their values one ``Config`` again.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, TypeVar, get_type_hints

import attrs
import tyro

from mtlfn.models.strategy import STRATEGIES
from mtlfn.run.config import Config
from mtlfn.run.errors import UsageError

T = TypeVar("T")

GROUPS: dict[str, tuple[str, ...]] = {
    "data": ("tasks", "data_dir", "cache_dir", "max_length", "sampling", "temperature"),
    "model": (
        "backbone",
        "revision",
        "fusion",
        "detach_level1",
        "read_out_layer",
        "lora_targets",
        "lora_dropout",
        "lora_alpha_ratio",
    ),
    "training": (
        "learning_rate",
        "sigma_learning_rate",
        "warmup_ratio",
        "decay",
        "weight_decay",
        "clip_norm",
        "weighting",
        "gradients",
        "micro_batches",
        "micro_batch_tokens",
        "seed",
        "seeds",
    ),
    "budget": ("budget_tokens", "schedule_tokens", "max_epochs", "patience", "select", "max_steps", "max_hours"),
    "saving": ("output_dir", "save_every_steps", "quick_eval_examples", "skip_smoke_test", "accept_environment"),
    "machine": ("device", "threads", "precision", "tf32", "engine", "gradient_checkpointing", "unpad"),
}
REST = "further"

FILE = tyro.conf.arg(
    metavar="FILE",
    help="A TOML file, or preset:NAME for one that comes with mtlfn: it gives defaults that the other flags override.",
    help_behavior_hint="",
)


@cache
def documents(kind: type) -> dict[str, str]:
    """The string that stands below each field of a class, on one line."""
    tree: Any = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    texts = {}
    for field, below in pairwise(tree.body[0].body):
        text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else None
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, str):
            texts[field.target.id] = " ".join(text.split())
    return texts


def grouped() -> dict[str, list[str]]:
    """The fields that have flags, by group; one that stands in no group comes last."""
    hints = get_type_hints(Config, include_extras=True)
    flags = [name for name in hints if tyro.conf.Suppress not in getattr(hints[name], "__metadata__", ())]
    groups = {group: [name for name in names if name in flags] for group, names in GROUPS.items()}
    rest = [name for name in flags if not any(name in names for names in groups.values())]
    return {**groups, **({REST: rest} if rest else {})}


@cache
def flags(own: type | None) -> type:
    """A class for the parser: the options of a command alone (those of ``own``), --config, and the groups of a run."""
    root = {} if own is None else _members(own, [a.name for a in attrs.fields(own)])
    config: Any = Annotated[str, FILE]
    root["config"] = attrs.field(default="", type=config)
    root |= {group: attrs.field(factory=kind, type=kind) for group, kind in _kinds().items()}
    return attrs.make_class("Run", root, frozen=True, kw_only=True)


@cache
def _kinds() -> dict[str, type]:
    """A class a group."""
    kinds = {}
    for group, names in grouped().items():
        members = _members(Config, names, prefix_name=False)
        kinds[group] = attrs.make_class(group.capitalize(), members, frozen=True, kw_only=True)
        kinds[group].__doc__ = ""
    return kinds


def _members(kind: type, names: Sequence[str], **shown: Any) -> dict[str, Any]:
    """Fields of a class for another one, each with its type, default, check and words."""
    hints, texts, members = get_type_hints(kind, include_extras=True), documents(kind), {}
    for a in (attrs.fields_dict(kind)[name] for name in names):
        annotated: Any = Annotated[hints[a.name], tyro.conf.arg(help=texts.get(a.name), **shown)]
        members[a.name] = attrs.field(default=a.default, validator=a.validator, type=annotated)
    return members


def defaults(config: Config, own: type | None) -> Any:
    """A value of ``flags(own)`` with the options of a configuration."""
    kinds = _kinds()
    parts = {group: kinds[group](**{n: getattr(config, n) for n in names}) for group, names in grouped().items()}
    return flags(own)(**parts)


def config_of(parsed: Any, preset: Config) -> Config:
    """The configuration that a value of ``flags()`` stands for; what has no flag is that of the preset."""
    given = {n: getattr(getattr(parsed, group), n) for group, names in grouped().items() for n in names}
    return attrs.evolve(preset, **given)


def own_of(parsed: Any, kind: type[T]) -> T:
    """The options of a command alone, in a value of ``flags(kind)``."""
    return kind(**{a.name: getattr(parsed, a.name) for a in attrs.fields(kind)})  # pyright: ignore[reportArgumentType]


def check_levels(strategy: str, config: Config) -> None:
    """UsageError where a command asks a strategy without levels for what only one with levels has.

    Of commands alone: what is matched with a run has that run's settings, whether they mean something to it or not.
    """
    asked = {
        f"--read-out-layer {config.read_out_layer}": config.read_out_layer != 0,
        "--detach-level1": config.detach_level1,
    }
    if not STRATEGIES[strategy].hierarchical and (flag := next((flag for flag, given in asked.items() if given), None)):
        raise UsageError(f"{flag}: {strategy} has no levels; it means something for s3b only, leave it out")
