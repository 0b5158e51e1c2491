"""What the benchmarks share: made-up batches, other people's model, rounds in which candidates take turns, figures.

Candidates run one after the other in every round, so that a noisy machine slows them alike; what is told are medians,
and medians of ratios within a round. Nothing is timed before it was shown to compute the same as ours.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import bench_setup
import numpy as np
import torch
from attrs import frozen
from bench_setup import CPU, HERE, Setup
from torch import Tensor

from mtlfn.core import gradients, keys, methods, scaling, schedule, state, step
from mtlfn.core.batch import Batch
from mtlfn.core.state import Tree
from mtlfn.data.task import Task
from mtlfn.data.tokens.collate import collate
from mtlfn.data.tokens.store import Corpus
from mtlfn.models import backbone, lora, model
from mtlfn.models.strategy import S3B, Strategy
from mtlfn.run.config import Config
from mtlfn.run.disk import write_file
from mtlfn.run.machine import cublas
from mtlfn.run.one.loop import fix_numerics

KINDS = (
    {"kind": "tagging", "level": 1, "labels": ("Disorder",)},
    {"kind": "tagging", "level": 1, "labels": ("Disorder", "Negation", "Severity")},
    {"kind": "tagging", "level": 1, "labels": ("Doubt", "Slogans")},
    {"kind": "relation", "level": 2, "labels": ("none", "CONTAINS"), "negative": "none"},
    {"kind": "ranking", "level": 2},
)
Seconds = dict[str, list[float]]  # candidate -> seconds (or another figure) of each round


class Mismatch(SystemExit):
    """Two sides do not compute the same: there is nothing to compare."""


@frozen(eq=False)
class Problem:
    """A model, a state past its first steps, and a batch of every task.

    Attributes:
        setup: where and on what it computes.
        model, settings: the model and its adapters.
        state: two steps old, if nothing else is said: at the start every B is zero, and with it every gradient of A.
        batch: one micro-batch a task, without padding.
        rates: the schedule of the learning rate.
    """

    setup: Setup
    model: model.Model
    settings: lora.LoraSettings
    state: state.State
    batch: Batch
    rates: schedule.Schedule

    @property
    def weights(self) -> dict[str, float]:
        """Equal weights of the task losses."""
        return dict.fromkeys(self.batch.present, 1 / len(self.model.tasks))

    def step(self, engine: str | gradients.Engine, method: str) -> step.Step:
        """A pure step."""
        config = step.StepConfig(
            schedule=self.rates,
            engine=gradients.ENGINES[engine] if isinstance(engine, str) else engine,
            method=methods.method(method),
            scaling=self.setup.precision == "fp16",
        )
        return step.build(config, partial(model.losses, self.model), self.model.reach)

    def rows(self) -> gradients.TaskGradients:
        """The gradients of every task at the state, dropout off."""
        return gradients.merged(
            self.dry_losses, self.state.params, self.model.reach, self.batch, self.state.key, self.weights
        )

    def dry_losses(self, params: Tree, batch: Batch, key: keys.Key) -> dict[str, Tensor]:
        """The task losses, dropout off."""
        return model.losses(self.model, params, batch, None)


def corpus(task: Task, rows: int, width: int, generator: np.random.Generator, vocabulary: int = 20000) -> Corpus:
    """``rows`` sequences of exactly ``width`` random tokens with random labels."""
    size = rows * width
    marks = np.full(size, -1, np.int32)
    per_example, labels = 1, np.zeros(rows, np.int32)
    label_starts = np.arange(rows + 1)
    if task.kind == "tagging":
        marks = np.tile(np.arange(width, dtype=np.int32), rows)
        labels = generator.integers(len(task.classes), size=size, dtype=np.int32)
        label_starts = np.arange(rows + 1) * width
    elif task.kind == "relation":
        marks = np.tile(np.r_[np.ones(2), np.full(2, 2), np.zeros(width - 4)].astype(np.int32), rows)
        labels = generator.integers(2, size=rows, dtype=np.int32)
    else:
        per_example, labels = 2, np.tile(np.array([1, 0], np.int32), rows // 2)
        label_starts = np.arange(rows // 2 + 1) * 2
    return Corpus(
        task=task,
        ids=generator.integers(1000, vocabulary, size=size, dtype=np.int32),
        types=np.zeros(size, np.int32),
        marks=marks,
        starts=np.arange(rows + 1) * width,
        examples=np.arange(rows // per_example + 1) * per_example,
        labels=labels,
        label_starts=label_starts,
        digest="",
        notes={},
    )


def tasks_of(count: int) -> tuple[Task, ...]:
    """``count`` tasks of the kinds and levels of the five SemEval tasks, again and again."""
    made = (Task(name=f"task{i}", **KINDS[i % len(KINDS)]) for i in range(count))
    return model.canonical(tuple(made))


def problem(rows: int, width: int, count: int, strategy: Strategy = S3B, setup: Setup = HERE, aged: int = 2) -> Problem:
    """``count`` tasks with ``rows`` random sequences of ``width`` tokens each; on MiniLM, if nothing else is said.

    ``aged``: steps that the state has behind it.
    """
    tasks, generator = tasks_of(count), np.random.Generator(np.random.Philox(0))
    settings = lora.LoraSettings()
    built = model.build(
        bench_setup.base(setup.model, setup.layers),
        strategy,
        tasks,
        settings,
        label_counts={t.name: dict.fromkeys((*t.classes, ""), 10) for t in tasks},
        device=setup.device,
        precision=setup.dtype,
        recompute=setup.checkpointing,
    )
    made = (collate(c := corpus(t, rows, width, generator), range(len(c))) for t in tasks)
    params, scale = model.init_params(built, keys.root(0)), scaling.START if setup.precision == "fp16" else 1.0
    start = state.init(keys.root(0), params, tuple(t.name for t in tasks), scale=scale)
    batch = Batch(tuple(m for m in made if m is not None), start.cursors)
    # Small, so that no margin of a ranking pair is met yet: its gradient would be zero.
    rates = schedule.Schedule(peak=1e-4, schedule_tokens=10**9, warmup_ratio=0.0)
    fresh = Problem(setup, built, settings, start, batch, rates)
    for _ in range(aged):
        start = fresh.step("merged", "pcgrad")(start, batch)
    return Problem(setup, built, settings, start, batch, rates)


def plain_adapter(base: backbone.Backbone, rank: int, settings: lora.LoraSettings, attention: str) -> Any:
    """The backbone with PEFT's own adapter on PEFT's own choice of linears, and transformers' own attention.

    The adapter's dropout is the only one, as in ours: that of the backbone is off even in training mode.
    """
    import peft

    base.model.set_attn_implementation(attention)
    for module in base.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    config = peft.LoraConfig(r=rank, lora_alpha=settings.alpha_ratio * rank, lora_dropout=settings.dropout)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        return peft.get_peft_model(base.model, config)


def adapter_parameters(adapted: Any, linears: Sequence[lora.Linear]) -> dict[str, torch.nn.Parameter]:
    """The parameters of a plain adapter under the names that ours have: ``<linear>.lora_A`` and ``.lora_B``."""
    inner = adapted.get_base_model()
    return {
        f"{linear.name}.{part}": getattr(inner.get_submodule(linear.name), part)["default"].weight
        for linear in linears
        for part in ("lora_A", "lora_B")
    }


def together(built: model.Model, task: Task, tree: Tree) -> dict[str, Tensor]:
    """A task's slots side by side, as PEFT holds them: ``<linear>.lora_A`` [..., r, in], ``.lora_B`` [..., out, r]."""
    out = {}
    for linear in built.linears:
        names = [name for _, name in lora.blocks(built.strategy, [task], linear.layer, built.read_out)]
        for part, dim in (("lora_A", -2), ("lora_B", -1)):
            parts = [tree[name][f"{linear.name}.{part}"] for name in names]
            out[f"{linear.name}.{part}"] = torch.cat(parts, dim)
    return out


def copy_into(parameters: Mapping[str, torch.nn.Parameter], values: Mapping[str, Tensor]) -> None:
    """Gives parameters the values of the same names; Mismatch where a name is missing on a side."""
    if parameters.keys() != values.keys():
        raise Mismatch(f"the adapters differ: {', '.join(sorted(parameters.keys() ^ values.keys()))}")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(values[name])


def check_equal(
    what: str, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], tolerance: float = 1e-3
) -> dict[str, float]:
    """The relative error of each tensor; Mismatch where one is beyond ``tolerance``, or where all of ours are zero.

    What is below a thousandth of the largest tensor is held against that: it may be no more than the residue of
    rounding, like the gradient that two candidates of a ranking leave of a bias.
    """
    if ours.keys() != theirs.keys():
        raise Mismatch(f"{what}: tensors differ: {', '.join(sorted(ours.keys() ^ theirs.keys()))}")
    largest = max(float(value.norm()) for value in ours.values())
    if largest == 0:
        raise Mismatch(f"{what}: all of it is zero, which compares nothing")
    errors = {}
    for name, value in ours.items():
        if value.shape != theirs[name].shape:
            raise Mismatch(f"{what}: {name} has shape {tuple(theirs[name].shape)}, ours {tuple(value.shape)}")
        scale = max(float(value.norm()), 1e-3 * largest)
        errors[name] = float((value - theirs[name]).norm()) / scale
        if not errors[name] <= tolerance:
            raise Mismatch(f"{what}: {name} is off by {errors[name]:.1e} of its norm, more than {tolerance:.0e}")
    return errors


def interleaved(candidates: Mapping[str, Callable[[], object]], rounds: int, device: torch.device = CPU) -> Seconds:
    """Seconds of each candidate in each round on a device; a round before the first warms up."""
    seconds: Seconds = {name: [] for name in candidates}
    for round_number in range(rounds + 1):
        for name, candidate in candidates.items():
            took = bench_setup.seconds(candidate, device)
            if round_number:
                seconds[name].append(took)
    return seconds


def fastest(seconds: Seconds, names: Iterable[str]) -> list[float]:
    """The least of the named candidates, round by round."""
    return [min(one) for one in zip(*(seconds[name] for name in names), strict=True)]


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median of the ratios within a round."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def parser(text: str | None, *, rounds: int, shapes: str | None = None) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    made = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    if shapes is not None:
        made.add_argument("--shapes", default=shapes, help="rows x tokens of each task, separated by commas")
        made.add_argument("--tasks", type=int, default=5)
        bench_setup.options(made)
    made.add_argument("--rounds", type=int, default=rounds)
    made.add_argument("--threads", type=int, help="CPU threads; default: torch's choice")
    made.add_argument("--json", type=Path, help="write the figures here as well")
    return made


def shapes_of(text: str) -> list[tuple[str, int, int]]:
    """(shape, rows, width) of "8x64,2x32"."""
    return [(shape, *map(int, shape.split("x"))) for shape in text.split(",")]


def begin(threads: int | None, *packages: str, device: torch.device = CPU) -> dict[str, Any]:
    """Numerics as a run has them; prints and returns the machine and the versions that are compared."""
    from importlib.metadata import version

    fix_numerics(Config(threads=threads))
    cublas.look_once(device)
    machine = {
        **bench_setup.machine(device),
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }
    print(", ".join(f"{name} {value}" for name, value in machine.items()), flush=True)
    return machine


def write(path: Path | None, machine: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
    """The JSON file, where one is asked for: whole, however often it is written."""
    if path:
        write_file(path, json.dumps({"machine": machine, "figures": figures}, indent=1).encode())
