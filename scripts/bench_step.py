"""How much PCGrad costs: S3b's pure steps against the fastest plain step of the same strategy.

All candidates take the same model, adapters, batch, dropout and AdamW, one after another in every round, so that a
noisy machine slows them alike; what is printed are medians, and medians of ratios within a round. The plain steps
sum the task losses and keep no gradient per task: `merged` in one forward pass without splitting, `accumulated` task
by task; the faster of the two in each round is the yardstick.

    python scripts/bench_step.py [--shapes 8x64,2x32] [--rounds 15] [--tasks 5] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch

from mtlfn.core import gradients, keys, optimizer, schedule, state, step
from mtlfn.core.batch import Batch
from mtlfn.data.collate import collate
from mtlfn.data.store import Corpus
from mtlfn.data.task import Task
from mtlfn.models import backbone, lora, model
from mtlfn.models.strategy import S3B

KINDS = (
    {"kind": "tagging", "level": 1, "labels": ("Disorder",)},
    {"kind": "tagging", "level": 1, "labels": ("Disorder", "Negation", "Severity")},
    {"kind": "tagging", "level": 1, "labels": ("Doubt", "Slogans")},
    {"kind": "relation", "level": 2, "labels": ("none", "CONTAINS"), "negative": "none"},
    {"kind": "ranking", "level": 2},
)


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
        pad_id=0,
        digest="",
        notes={},
    )


def tasks_of(count: int) -> tuple[Task, ...]:
    """``count`` tasks of the kinds and levels of the five SemEval tasks, again and again."""
    made = (Task(name=f"task{i}", **KINDS[i % len(KINDS)]) for i in range(count))
    return model.canonical(tuple(made))


def plain_step(built: model.Model, config: step.StepConfig, parts: Callable[[Batch], Sequence[Batch]]) -> step.Step:
    """A step on the plain sum of the task losses: one backward pass for each part of the batch."""

    def plain(current: state.State, batch: Batch) -> state.State:
        key = keys.fold(current.key, "step", current.step)
        leaves = {s: {n: v.detach().requires_grad_() for n, v in names.items()} for s, names in current.params.items()}
        flat = {(s, n): v for s, names in leaves.items() for n, v in names.items()}
        summed: dict[tuple[str, str], torch.Tensor] = {}
        for part in parts(batch):
            reached = gradients.reaching(built.reach, part.present)
            own = {(s, n): flat[s, n] for s, names in reached.items() for n in names}
            total = sum(model.losses(built, leaves, part, key).values()) / len(built.tasks)
            for path, gradient in zip(own, torch.autograd.grad(total, list(own.values())), strict=True):
                summed[path] = summed[path] + gradient if path in summed else gradient
        norm = torch.stack(torch._foreach_norm(list(summed.values()))).norm().item()
        clipped = torch._foreach_mul(list(summed.values()), min(1.0, config.clip_norm / norm))
        moments, paths = current.optimizer, list(summed)
        optimizer.update(
            config.adamw,
            [current.params[s][n] for s, n in paths],
            clipped,
            [moments.mean[s][n] for s, n in paths],
            [moments.square[s][n] for s, n in paths],
            [1] * len(paths),
            [config.schedule.peak] * len(paths),
            [config.weight_decay] * len(paths),
        )
        return current

    return plain


def measure(rows: int, width: int, count: int, rounds: int) -> dict[str, float]:
    """Medians in seconds and ratios to the fastest plain step of the round."""
    tasks, generator = tasks_of(count), np.random.Generator(np.random.Philox(0))
    built = model.build(
        backbone.load("minilm"),
        S3B,
        tasks,
        lora.LoraSettings(),
        label_counts={t.name: dict.fromkeys((*t.classes, ""), 10) for t in tasks},
    )
    made = (collate(c := corpus(t, rows, width, generator), range(len(c))) for t in tasks)
    start = state.init(keys.root(0), model.init_params(built, keys.root(0)), tuple(t.name for t in tasks))
    batch = Batch(tuple(m for m in made if m is not None), start.cursors)
    rates = schedule.Schedule(peak=1e-3, schedule_tokens=10**9, warmup_ratio=0.0)
    loss = partial(model.losses, built)

    def pure(engine: str, method: str) -> step.Step:
        return step.build(step.StepConfig(schedule=rates, engine=engine, gradients=method), loss, built.reach)

    plain = step.StepConfig(schedule=rates)
    candidates = {
        "plain merged": plain_step(built, plain, lambda b: [b]),
        "plain accumulated": plain_step(built, plain, lambda b: [b.only(t) for t in b.present]),
        "merged, sum": pure("merged", "sum"),
        "merged, pcgrad": pure("merged", "pcgrad"),
        "loop, pcgrad": pure("loop", "pcgrad"),
    }
    # Past the first step: at the start every B is zero, and with it every gradient of A.
    for _ in range(2):
        start = candidates["merged, pcgrad"](start, batch)
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for round_number in range(rounds + 1):
        for name, candidate in candidates.items():
            began = time.perf_counter()
            candidate(start, batch)
            if round_number:  # the first round warms up
                seconds[name].append(time.perf_counter() - began)
    fastest = [min(pair) for pair in zip(seconds["plain merged"], seconds["plain accumulated"], strict=True)]
    out = {}
    for name, times in seconds.items():
        out[f"{name} (s)"] = statistics.median(times)
        out[f"{name} (ratio)"] = statistics.median(a / b for a, b in zip(times, fastest, strict=True))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="8x64,2x32", help="rows x tokens of each task, separated by commas")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tasks", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()
    torch.set_deterministic_debug_mode("error")
    machine = {
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    figures = {}
    for shape in arguments.shapes.split(","):
        rows, width = map(int, shape.split("x"))
        figures[shape] = measure(rows, width, arguments.tasks, arguments.rounds)
        print(f"\nS3b, MiniLM, {arguments.tasks} tasks of {shape} tokens; ratio to the fastest plain step of a round")
        for name in [key[:-8] for key in figures[shape] if key.endswith("(ratio)")]:
            print(
                f"  {name:<18} {figures[shape][f'{name} (s)'] * 1e3:8.0f} ms  {figures[shape][f'{name} (ratio)']:5.2f}"
            )
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine, "figures": figures}, indent=1))


if __name__ == "__main__":
    main()
