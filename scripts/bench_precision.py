"""How much faster bfloat16 is than float32: a PCGrad step of S3b, with and without padding, and predictions.

Both precisions have the same model, adapters and batch, and take turns in every round. The batch has rows of unequal
lengths, from half of the width to all of it, so that padding is there to be computed or not. Printed are input tokens
a second and, in each round, the ratio of bf16 to fp32. On a CPU the last line says whether it has units for bfloat16;
`ONEDNN_MAX_CPU_ISA=AVX512_CORE` takes them away from oneDNN, for a look at a CPU without.

    python scripts/bench_precision.py [--shapes 8x64,16x128,2x32] [--rounds 15] [--threads 1] [--json FILE]
                                      [--device cuda] [--model bert-base] [--checkpointing] [--processor-time]

`--processor-time` counts the time of this process instead of the clock's: for a shared machine, with one thread.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs
import bench_parts as parts
import bench_setup
import torch
from bench_setup import Setup, setup

from mtlfn.core.batch import Batch
from mtlfn.data.tokens.collate import collate
from mtlfn.models import model, units

PRECISIONS = ("fp32", "bf16")


def ragged(problem: parts.Problem, rows: int, width: int) -> Batch:
    """A batch of the problem's tasks whose rows are cut to lengths between half of the width and all of it."""
    generator = parts.np.random.Generator(parts.np.random.Philox(1))
    made = []
    for task in problem.model.tasks:
        lengths = generator.integers(width // 2, width + 1, size=rows)
        lengths[0] = width
        corpus = parts.corpus(task, rows, width, generator)
        whole = collate(corpus, range(len(corpus)))
        assert whole is not None, "it has rows"
        inputs = attrs.evolve(whole.inputs, lengths=torch.from_numpy(lengths))
        counted = attrs.evolve(whole.tokens, input=int(lengths.sum()))
        made.append(attrs.evolve(whole, inputs=inputs, tokens=counted))
    return Batch(tuple(made), problem.state.cursors)


def candidates(rows: int, width: int, count: int, on: Setup) -> tuple[dict[str, Callable[[], object]], int, str]:
    """What takes turns, the input tokens of each, and what half precision is computed in."""
    out, tokens, computed = {}, 0, ""
    for precision in PRECISIONS:
        problem = parts.problem(rows, width, count, setup=attrs.evolve(on, precision=precision))
        batch, computed = ragged(problem, rows, width), str(problem.model.products).removeprefix("torch.")
        without = attrs.evolve(problem, model=attrs.evolve(problem.model, unpad=True))
        out[f"step, {precision}"] = partial(problem.step("merged", "pcgrad"), problem.state, batch)
        out[f"step without padding, {precision}"] = partial(without.step("merged", "pcgrad"), problem.state, batch)
        out[f"prediction, {precision}"] = partial(_predict, problem, batch)
        tokens = batch.tokens.input
    return out, tokens, computed


def _predict(problem: parts.Problem, batch: Batch) -> None:
    for micro_batch in batch.micro_batches:
        model.predict(problem.model, problem.state.params, micro_batch)


def measure(rows: int, width: int, count: int, rounds: int, on: Setup) -> dict[str, Any]:
    """Medians of tokens a second and of the ratios within a round."""
    made, tokens, computed = candidates(rows, width, count, on)
    seconds = parts.interleaved(made, rounds, on.device)
    kinds = [name.removesuffix(", fp32") for name in made if name.endswith("fp32")]
    return {
        "computed in": computed,
        "tokens/s": {name: tokens / statistics.median(times) for name, times in seconds.items()},
        "bf16 / fp32": {kind: parts.ratio(seconds[f"{kind}, fp32"], seconds[f"{kind}, bf16"]) for kind in kinds},
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = parts.parser(__doc__, rounds=15, shapes="8x64,16x128,2x32")
    parser.add_argument("--processor-time", action="store_true", help="count the time of this process alone")
    arguments = parser.parse_args(argv)
    on = setup(arguments)
    machine, figures = parts.begin(arguments.threads, device=on.device), {}
    if arguments.processor_time:
        if on.device.type != "cpu" or torch.get_num_threads() != 1:
            raise SystemExit("--processor-time: the time of one thread on a CPU; give --threads 1 and no --device")
        bench_setup.clock = time.process_time
    for shape, rows, width in parts.shapes_of(arguments.shapes):
        figures[shape] = found = measure(rows, width, arguments.tasks, arguments.rounds, on)
        told = attrs.evolve(on, precision="fp32").told.replace("fp32", "bf16 beside fp32")
        print(f"\nS3b, {told}, {arguments.tasks} tasks of {shape} slots")
        for kind, ratio in found["bf16 / fp32"].items():
            one, other = (found["tokens/s"][f"{kind}, {precision}"] for precision in PRECISIONS)
            print(f"  {kind:<22} {one:10,.0f} tokens/s in fp32 {other:10,.0f} in bf16 {ratio:6.2f}", flush=True)
        parts.write(arguments.json, machine, figures)
    if on.device.type == "cpu":
        computed = next(iter(figures.values()))["computed in"]
        print(f"\nAMX: {'there' if units.has_amx() else 'not there'}; with --precision bf16 products are in {computed}")


if __name__ == "__main__":
    main()
