"""The one typed configuration of a run: a TOML preset, overridden by flags. Importing it is instant."""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
import tyro
from attrs import field, frozen
from attrs.validators import ge, gt, instance_of, le, lt, optional

from mtlfn.data.example import DataError
from mtlfn.data.tables.mapping import LATER, Mapping
from mtlfn.run.errors import UsageError

MOST = 2**63 - 1  # tokens, or passes over data, that a run is asked for


def finite(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    """A validator: neither infinite nor not a number."""
    if not math.isfinite(value):
        raise ValueError(f"'{attribute.name}' must be a finite number: {value}")


def default_cache() -> Path:
    """Where the embedded corpus and tokenised data are kept: $MTLFN_CACHE, else ~/.cache/mtlfn."""
    return Path(os.environ.get("MTLFN_CACHE") or Path.home() / ".cache" / "mtlfn")


# How a field stands to the identity of a run, which it is part of unless its metadata says otherwise.
# It cannot change a bit of the run, or is covered by a hash of what it leads to.
ASIDE = {"identity": "aside"}
# Names what has a digest in the identity: a backbone is the same however it is named. Runs of older versions have the
# name in theirs, too.
LABEL = {"identity": "label"}

Role = Literal["total", "per-task", "updates", "kept", "exclusion", "pair", "shuffled"]


@frozen(kw_only=True)
class Parent:
    """The finished run that a run is matched with, or goes on from.

    Attributes:
        role: "total": trains on as many tokens as all of the parent; "per-task": on as many as the parent gave this
            task; "updates": takes as many optimiser updates; "kept": the first half of the exclusion control;
            "exclusion": the second, whose frozen slots are those of the first; "pair": two of the tasks, with the
            tokens that these had; "shuffled": all of them, the labels of all but one shuffled.
        path: where it lies. experiment, seed, identity, digest: what it is, and the digest of its last state.
    """

    role: Role
    path: str
    experiment: str
    seed: int
    identity: str
    digest: str


@frozen(kw_only=True)
class Config:
    """Everything that decides a run. Units stand in the names."""

    tasks: str = ""
    """Tasks, separated by commas. Default: the five embedded tasks."""

    data_dir: Path | None = field(default=None, metadata=ASIDE)
    """Folder of the tasks' files, a folder a task: {train,dev,test}.jsonl[.gz], or an official or public set as it
    lies. Default: the embedded corpus."""

    backbone: str = field(default="minilm", metadata=LABEL)
    """"minilm" (installed with mtlfn), "planted" (of the planted worlds), a model folder, a .gguf file, or a Hugging
    Face Hub id."""

    revision: str | None = field(default=None, metadata=LABEL)
    """Git revision of a backbone on the Hub."""

    budget_tokens: int = field(default=150_000, validator=[instance_of(int), ge(1), le(MOST)])
    """Input tokens to train on, all tasks together: met exactly."""

    schedule_tokens: int | None = field(default=None, validator=optional(ge(1)))
    """Length of the learning-rate schedule in input tokens. Default: the budget."""

    max_epochs: int | None = field(default=None, validator=optional([ge(1), le(MOST)]))
    """Train for this many corpora's worth of tokens instead of a budget, with early stopping."""

    patience: int = field(default=3, validator=ge(1))
    """With --max-epochs: stop after this many full evaluations without a better mean primary metric."""

    select: Literal["last", "best"] = field(default="last", metadata=LATER)
    """Which state is scored, exported and compared: the last one, or of ten, at every tenth of the budget, the one with
    the best mean primary metric on dev (of equals the earliest)."""

    seed: int = 0
    """Root of every random draw."""

    seeds: int = field(default=1, validator=ge(1), metadata=ASIDE)
    """Runs, one after the other, with the seeds from --seed on, each in its own folder below --output-dir."""

    output_dir: Path | None = field(default=None, metadata=ASIDE)
    """Run directory. Default: results/<experiment>-<hash of the configuration>."""

    cache_dir: Path | None = field(default=None, metadata=ASIDE)
    """Where the embedded corpus and tokenised data are kept. Default: $MTLFN_CACHE or ~/.cache/mtlfn."""

    weighting: Literal["equal", "uncertainty"] = "equal"
    """How task losses are weighed."""

    sampling: Literal["uniform", "proportional", "temperature"] = "uniform"
    """Every task once a step, or micro-batches drawn by corpus size (in tokens)."""

    temperature: float = field(default=2.0, validator=[gt(0), finite])
    """With --sampling temperature: P(task) is proportional to size^(1/temperature)."""

    micro_batches: int = field(default=0, validator=ge(0))
    """With random sampling: micro-batches a step. 0: as many as tasks."""

    micro_batch_tokens: int | None = field(default=None, validator=optional(ge(1)))
    """Padded token slots of a micro-batch (one longer example makes one of its own). Default: 128, 256 or 512, so that
    the run has about 200 steps or more."""

    unpad: bool = field(default=False, metadata=LATER)
    """Compute no padding at all: attention then runs over groups of rows of equal length."""

    max_length: int | None = field(default=None, validator=optional(ge(8)))
    """Longest sequence in tokens, special tokens included; the rest is cut off and counted. Default: 128, 256, 384 or
    512, the least that leaves 95 % of every task's training sequences whole."""

    gradients: str | None = None
    """How task gradients become one: pcgrad, sum, or a weighting of TorchJD by name, as torchjd:UPGrad or
    torchjd:CAGrad:c=0.4. Default: what the strategy says (S3b: pcgrad)."""

    fusion: Literal["sum", "gated", "attention"] = "sum"
    """S3a only: how the shared and the private adapter add up. Only "sum" can be exported as a PEFT adapter."""

    engine: Literal["loop", "merged"] = "merged"
    """Per-task gradients one task at a time (least memory), or all in one forward and one reverse pass."""

    gradient_checkpointing: bool = field(default=False, metadata=LATER)
    """Activations inside a layer are computed again in the reverse pass instead of kept: less memory, more time."""

    precision: Literal["fp32", "fp16", "bf16"] = field(default="fp32", metadata=LATER)
    """Of the backbone's matrix products. fp16 (with loss scaling) or bf16 where the GPU has fast units for them, bf16
    where a CPU has AMX; the rest, and every trainable tensor, stays fp32."""

    tf32: bool = field(default=False, metadata=LATER)
    """Products of fp32 in TF32 on a GPU: faster, with a mantissa of 10 bits instead of 23. Other bits, another run."""

    detach_level1: bool = False
    """The level-1 slot gets no gradient from level-2 tasks."""

    read_out_layer: int = field(default=0, validator=ge(0))
    """S3b: level-1 heads read the output of this layer, counted from 1. 0: half of the layers."""

    lora_targets: str = "default"
    """"default" (PEFT's choice for the architecture, or the projections of queries and values), "all-linear", or names
    of linears separated by commas."""

    lora_dropout: float = field(default=0.05, validator=[ge(0), lt(1)])
    """Dropout on the input of the adapter products. The frozen backbone's own dropout is off."""

    lora_alpha_ratio: float = field(default=2.0, validator=[gt(0), finite])
    """lora_alpha / rank: the factor of every adapter product."""

    learning_rate: float = field(default=1e-3, validator=[gt(0), finite])
    """Peak learning rate of adapters and heads."""

    sigma_learning_rate: float = field(default=1e-2, validator=[gt(0), finite])
    """With --weighting uncertainty: peak learning rate of log sigma^2."""

    warmup_ratio: float = field(default=0.1, validator=[ge(0), le(1)])
    """Share of the schedule spent warming up."""

    decay: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after the warm-up."""

    weight_decay: float = field(default=0.01, validator=[ge(0), finite])
    """AdamW's decay of adapter and head matrices; never of biases, gains, gates or sigma."""

    clip_norm: float = field(default=0.0, validator=[ge(0), finite])
    """Largest norm of the update's gradient. 0: no clipping, which where a label is rare would silence it."""

    max_hours: float = field(default=11.5, validator=gt(0), metadata=ASIDE)
    """Stop, resumable, before so many hours have passed since the process (on Kaggle: the notebook) began."""

    max_steps: int | None = field(default=None, validator=optional(ge(0)), metadata=ASIDE)
    """Stop, resumable, after this many steps in all; run again without it to go on."""

    save_every_steps: int = field(default=200, validator=ge(1), metadata=ASIDE)
    """A checkpoint and a quick evaluation every so many steps or every tenth of the budget, whichever is first."""

    quick_eval_examples: int = field(default=500, validator=ge(0), metadata=ASIDE)
    """Dev examples of a quick evaluation, all tasks together. 0: none."""

    device: str = field(default="auto", metadata=ASIDE)
    """"auto", "cpu", "cuda" or "cuda:N"."""

    threads: int | None = field(default=None, validator=optional([ge(1), le(512)]), metadata=ASIDE)
    """CPU threads, at most 512. Default: torch's choice. Another number gives other bits."""

    accept_environment: bool = field(default=False, metadata=ASIDE)
    """Go on although the environment differs from the one the run was in; its state says so from then on."""

    skip_smoke_test: bool = field(default=False, metadata=ASIDE)
    """Begin without the smoke test (50 steps on 100 examples, thrown away); the run directory says so."""

    parent: Annotated[Parent | None, tyro.conf.Suppress] = None
    """Set by the experiments that match a run: token_controlled, mimic_exclusion, study."""

    frozen_slots: Annotated[tuple[str, ...], tyro.conf.Suppress] = ()
    """Slots that are taken from the parent and not trained."""

    held_out_tasks: Annotated[str, tyro.conf.Suppress] = field(default="", metadata=ASIDE)
    """Further tasks whose dev and test texts are not trained on: a control gets its parent's data."""

    updates: Annotated[int | None, tyro.conf.Suppress] = field(default=None, metadata=LATER)
    """Steps to take, none of them cut; the budget is then the tokens that they hold, and the schedule as long for it as
    it is for ``budget_tokens``."""

    trial: Annotated[bool, tyro.conf.Suppress] = field(default=False, metadata=LATER)
    """Whether the run is there to choose a learning rate by, and takes no part in a verdict."""

    drawn_among: Annotated[str, tyro.conf.Suppress] = field(default="", metadata=LATER)
    """Tasks of the whole run, NAME=TOKENS each, that steps draw from at random: a run on some of them takes those that
    are drawn and leaves the others out, so that each is drawn as often, and as far, as in the whole run."""

    shuffled_tasks: Annotated[str, tyro.conf.Suppress] = field(default="", metadata=LATER)
    """Tasks whose training labels are shuffled among their examples, by the seed."""

    task: Annotated[dict[str, Mapping], tyro.conf.Suppress] = field(factory=dict)
    """Only in a TOML file: [task.<name>] tables that map the columns of any `datasets` folder or Hub id."""


LABELS = frozenset(a.name for a in attrs.fields(Config) if a.metadata == LABEL)
DEFAULTS = {a.name: a.default for a in attrs.fields(Config) if a.metadata == LATER}
NOT_IDENTITY = LABELS | {a.name for a in attrs.fields(Config) if a.metadata == ASIDE}


def settings(config: Config) -> dict[str, Any]:
    """The whole configuration as JSON, local paths made absolute, so that it can be taken up from another folder."""
    document = attrs.asdict(config, value_serializer=lambda _, __, v: str(v.resolve()) if isinstance(v, Path) else v)
    if Path(config.backbone).exists():
        document["backbone"] = str(Path(config.backbone).resolve())
    for name, mapping in config.task.items():
        if Path(mapping.source).exists():
            document["task"][name]["source"] = str(Path(mapping.source).resolve())
    return json.loads(json.dumps(document))


def from_settings(document: dict[str, Any], **changes: Any) -> Config:
    """The configuration that ``settings`` wrote, with changes."""
    import cattrs

    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_structure_hook(Path, lambda value, _: Path(value))
    return attrs.evolve(converter.structure(document, Config), **changes)


def _identifies(a: attrs.Attribute, value: Any) -> bool:
    """Whether a field is part of the identity; one that came later is not at its default, so that older runs go on."""
    return a.name not in NOT_IDENTITY and not (a.metadata == LATER and value == a.default)


def identity(config: Config, **facts: Any) -> dict[str, Any]:
    """What a run directory belongs to: the settings that decide its bits, and the given facts (hashes).

    Where data came from is not part of it: the hash of what was read is.
    """
    settings = attrs.asdict(config, filter=_identifies)
    for mapping in settings["task"].values():
        del mapping["source"]  # and data_dir and revision: the filter reaches into the mappings
    if settings["parent"] is None:
        del settings["parent"], settings["frozen_slots"]
    else:
        del settings["parent"]["path"]
    return {**settings, **facts}


def folder_name(name: str, config: Config, **more: Any) -> str:
    """A name for the folder of what is asked for: it says where data and backbone are looked for, too."""
    labels = {label: getattr(config, label) for label in LABELS}
    return f"{name}-{digest(identity(config, data_dir=str(config.data_dir or ''), **labels, **more))[:8]}"


def digest(document: Any) -> str:
    """SHA-256 of the canonical JSON of a document."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def micro_batch_slots(budget: int, micro_batches: int) -> int:
    """The default of ``micro_batch_tokens``: the largest of 128, 256 and 512 that leaves about 200 steps or more.

    Small budgets need many updates; rare labels need many examples an update (85 % of the drug pairs have none).
    """
    wanted = budget / (200 * micro_batches)
    return next((slots for slots in (512, 256) if wanted >= 0.75 * slots), 128)


def listed(names: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(name.strip() for name in names.split(",") if name.strip())


def sizes(text: str) -> dict[str, int]:
    """NAME=NUMBER,... as a mapping, in that order."""
    return {name: int(number) for name, _, number in (each.rpartition("=") for each in listed(text))}


def task_names(config: Config) -> tuple[str, ...]:
    """The tasks asked for, in the order given. UsageError where --data-dir comes without --tasks, or where files cannot
    be named after a task."""
    names = _task_names(config)
    check_names(names, "--tasks")
    return names


def check_names(names: tuple[str, ...], place: str) -> None:
    """UsageError that names ``place`` where files cannot be named after the tasks."""
    from mtlfn.data.sources import check_names

    try:
        check_names(names)
    except DataError as error:
        raise UsageError(f"{place}: {error}") from None


def _task_names(config: Config) -> tuple[str, ...]:
    if config.tasks:
        return listed(config.tasks)
    if config.task:
        return tuple(config.task)
    if config.data_dir is not None:
        raise UsageError(f"--data-dir {config.data_dir}: name the tasks to read there with --tasks NAME,NAME,…")
    from mtlfn.data.embedded import corpus as embedded

    return embedded.NAMES
