"""How much PCGrad costs: S3b's pure steps against the fastest plain step of the same strategy.

All candidates take the same model, adapters, batch, dropout and AdamW, one after another in every round, so that a
noisy machine slows them alike; what is printed are medians, and medians of ratios within a round. The plain steps
sum the task losses and keep no gradient per task: `merged` in one forward pass without splitting, `accumulated` task
by task; the faster of the two in each round is the yardstick.

    python scripts/bench_step.py [--shapes 8x64,2x32] [--rounds 15] [--tasks 5] [--many 20] [--json FILE]
                                 [--device cuda] [--model bert-base] [--precision bf16] [--checkpointing]

With `--many`, a PCGrad step of so many tasks on equally many tokens takes turns with the others (a quarter of the rows
a task where there are four times the tasks).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial

import bench_parts as parts
import torch
from bench_setup import HERE, Setup, setup

from mtlfn.core import gradients, keys, optimizer, state, step
from mtlfn.core.batch import Batch
from mtlfn.models import model


def plain_step(built: model.Model, config: step.StepConfig, pieces: Callable[[Batch], Sequence[Batch]]) -> step.Step:
    """A step on the plain sum of the task losses: one backward pass for each piece of the batch."""

    def plain(current: state.State, batch: Batch) -> state.State:
        key = keys.fold(current.key, "step", current.step)
        leaves = {s: {n: v.detach().requires_grad_() for n, v in names.items()} for s, names in current.params.items()}
        flat = {(s, n): v for s, names in leaves.items() for n, v in names.items()}
        summed: dict[tuple[str, str], torch.Tensor] = {}
        for piece in pieces(batch):
            reached = gradients.reaching(built.reach, piece.present)
            own = {(s, n): flat[s, n] for s, names in reached.items() for n in names}
            total = sum(model.losses(built, leaves, piece, key).values()) / len(built.tasks)
            for path, gradient in zip(own, torch.autograd.grad(total, list(own.values())), strict=True):
                summed[path] = summed[path] + gradient if path in summed else gradient
        torch.stack(torch._foreach_norm(list(summed.values()))).norm().item()  # the norm that a run logs
        moments, paths = current.optimizer, list(summed)
        optimizer.update(
            config.adamw,
            [current.params[s][n] for s, n in paths],
            list(summed.values()),
            [moments.mean[s][n] for s, n in paths],
            [moments.square[s][n] for s, n in paths],
            [1] * len(paths),
            [config.schedule.peak] * len(paths),
            [config.weight_decay] * len(paths),
        )
        return current

    return plain


def measure(rows: int, width: int, count: int, rounds: int, many: int = 0, on: Setup = HERE) -> dict[str, float]:
    """Medians in seconds and ratios to the fastest plain step of the round; with ``many``, to our own step too."""
    problem = parts.problem(rows, width, count, setup=on)
    plain = step.StepConfig(schedule=problem.rates)
    steps = {
        "plain merged": plain_step(problem.model, plain, lambda b: [b]),
        "plain accumulated": plain_step(problem.model, plain, lambda b: [b.only(t) for t in b.present]),
        "merged, sum": problem.step("merged", "sum"),
        "merged, pcgrad": problem.step("merged", "pcgrad"),
        "loop, pcgrad": problem.step("loop", "pcgrad"),
    }
    candidates = {name: partial(take, problem.state, problem.batch) for name, take in steps.items()}
    if many:
        if rows * count % many:
            raise SystemExit(f"--many {many}: {count} tasks of {rows} rows cannot be dealt out to {many} tasks evenly")
        other = parts.problem(rows * count // many, width, many, setup=on)
        candidates[f"pcgrad, {many} tasks"] = partial(other.step("merged", "pcgrad"), other.state, other.batch)
    seconds = parts.interleaved(candidates, rounds, on.device)
    yardstick = parts.fastest(seconds, ["plain merged", "plain accumulated"])
    out = {}
    for name, times in seconds.items():
        out[f"{name} (s)"] = statistics.median(times)
        out[f"{name} (ratio)"] = parts.ratio(times, yardstick)
    if many:
        out[f"{many} / {count} tasks"] = parts.ratio(seconds[f"pcgrad, {many} tasks"], seconds["merged, pcgrad"])
    return out


def main(argv: Sequence[str] | None = None) -> None:
    parser = parts.parser(__doc__, rounds=15, shapes="8x64,2x32")
    parser.add_argument("--many", type=int, default=0, help="also measure so many tasks on as many tokens")
    arguments = parser.parse_args(argv)
    on = setup(arguments)
    machine, figures = parts.begin(arguments.threads, device=on.device), {}
    for shape, rows, width in parts.shapes_of(arguments.shapes):
        figures[shape] = measure(rows, width, arguments.tasks, arguments.rounds, arguments.many, on)
        print(
            f"\nS3b, {on.told}, {arguments.tasks} tasks of {shape} tokens; ratio to the fastest plain step of a round"
        )
        for name in [key[:-8] for key in figures[shape] if key.endswith("(ratio)")]:
            print(
                f"  {name:<18} {figures[shape][f'{name} (s)'] * 1e3:8.0f} ms  {figures[shape][f'{name} (ratio)']:5.2f}"
            )
        if arguments.many:
            name = f"{arguments.many} / {arguments.tasks} tasks"
            print(f"  {name:<18} {'':8}     {figures[shape][name]:5.2f}")
        parts.write(arguments.json, machine, figures)


if __name__ == "__main__":
    main()
