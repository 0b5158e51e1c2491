"""What a step holds in memory, to the byte: engines, recomputed activations and precision, and what fits on a card.

    python scripts/bench_memory.py [--models bert-base,llama-1b] [--precisions fp32,bf16] [--card 16] [--tasks 5]
                                   [--ways merged,loop+checkpointing] [--width 64] [--device cuda] [--whole]

Every tensor that a PCGrad step of S3b makes is counted while it lives: the most while gradients are taken, and the
most after that. Random backbones with 2 and 4 layers, and 2 and 4 rows a task, give four figures of each, of which all
follows that grows linearly: bytes a step, a layer, a token and a token of a layer. A fifth (6 layers, 8 rows) is
measured to see how far off that is. The table gives it for all layers of the model, with what the frozen weights and
the state take, and how many tokens a step may have on a card of so many GB.

Counted on a CPU, half precision is an upper bound for a GPU: attention keeps its scores there (bf16), or copies in
float32 (fp16). Not counted: what a library uses inside one operation, fragments, and what CUDA itself takes
(``OVERHEAD``). With ``--device cuda`` torch's own count stands beside, and ``--whole`` measures a model with all its
layers, too.
"""

from __future__ import annotations

import argparse
import itertools
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import attrs
import bench_parts as parts
import bench_setup
import numpy as np
import torch
from attrs import evolve, frozen
from bench_setup import Setup
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mtlfn.core.gradients import ENGINES, TaskGradients

CORNERS = tuple(itertools.product((2, 4), (2, 4)))  # layers, rows
BEYOND = (6, 8)
WAYS = "merged,merged+checkpointing,loop,loop+checkpointing"
OVERHEAD = 0.8  # GB of a card: CUDA's context and libraries
USABLE = 0.95  # of the rest, for fragments
VOCABULARIES = {"llama-1b": 128_256, "llama-7b": 32_000}  # of the models that have these widths
GB = 1e9
HEADS = ("weights, GB", "state, GB", "fixed, GB", "after, GB", "token, kB", "tokens", "off")


class Live(TorchDispatchMode):
    """Counts the bytes of the storages on a device that operations make, as long as they live."""

    def __init__(self, device: torch.device, before: Iterable[Tensor]) -> None:
        super().__init__()
        self.device, self.now, self.most = device, 0, 0
        self.alive: dict[int, Any] = {}  # address of a storage -> what tells its end; None where it was there before
        for tensor in before:
            self.alive[tensor.untyped_storage()._cdata] = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for each in tree_leaves(out):
            if isinstance(each, Tensor) and each.device.type == self.device.type:
                self._count(each.untyped_storage())
        return out

    def _count(self, storage: Any) -> None:
        address, size = storage._cdata, storage.nbytes()
        if address in self.alive:
            return

        def ended(_: object) -> None:
            del self.alive[address]
            self.now -= size

        self.alive[address] = weakref.ref(storage, ended)
        self.now += size
        self.most = max(self.most, self.now)


@frozen
class Held:
    """Bytes of the frozen weights, of the state, and at the most of what a step makes.

    ``gradients``: up to the gradients of the tasks; ``rest``: from there. ``allocated``: torch's own count on a GPU.
    """

    weights: int
    state: int
    gradients: int
    rest: int
    allocated: int | None
    tokens: int

    @property
    def step(self) -> int:
        return max(self.gradients, self.rest)


def size_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of their storages."""
    return sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}.values())


def held(setup: Setup, engine: str, rows: int, width: int, tasks: int) -> Held:
    """What one step holds."""
    problem, device, peaks = parts.problem(rows, width, tasks, setup=setup, aged=0), setup.device, [0]

    def taken(*given: Any) -> TaskGradients:
        out = ENGINES[engine](*given)
        peaks[0], live.most = live.most, live.now
        return out

    step = problem.step(taken, "pcgrad")
    frozen_ = [*problem.model.backbone.model.parameters(), *problem.model.backbone.model.buffers()]
    moments = problem.state.optimizer
    trees = (problem.state.params, moments.mean, moments.square)
    state = [v for tree in trees for tensors in tree.values() for v in tensors.values()]
    inputs = [v for m in problem.batch.micro_batches for v in tree_leaves(attrs.asdict(m.inputs, recurse=False))]
    before = [v for v in (*frozen_, *state, *problem.model.class_weights.values(), *inputs) if isinstance(v, Tensor)]
    live, allocated = Live(device, before), None
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        held_before = torch.cuda.memory_allocated(device)
        step(problem.state, problem.batch)
        allocated = torch.cuda.max_memory_allocated(device) - held_before
    with live:
        step(problem.state, problem.batch)
    return Held(size_of(frozen_), size_of(state), peaks[0], live.most, allocated, problem.batch.tokens.input)


@frozen
class Line:
    """Bytes that grow with layers and tokens: ``fixed + layer L + token T + both L T``."""

    fixed: float
    layer: float
    token: float
    both: float

    def at(self, layers: int, tokens: int) -> float:
        return self.fixed + self.layer * layers + (self.token + self.both * layers) * tokens


def through(found: Mapping[tuple[int, int], Held], value: Callable[[Held], int]) -> Line:
    """The one that goes through the four corners."""
    points = [(layers, each.tokens, value(each)) for (layers, _), each in found.items()]
    matrix = np.array([(1, layers, tokens, layers * tokens) for layers, tokens, _ in points], float)
    return Line(*np.linalg.solve(matrix, np.array([bytes_ for *_, bytes_ in points], float)))


def variant(asked: argparse.Namespace, name: str, setup: Setup, engine: str) -> dict[str, Any]:
    """Measures a variant, prints its line, and returns the figures; none where other things take more than tokens."""
    found = {
        (layers, rows): held(evolve(setup, layers=layers), engine, rows, asked.width, asked.tasks)
        for layers, rows in CORNERS
    }
    gradients, rest, weights, state = (
        through(found, attrgetter(name)) for name in ("gradients", "rest", "weights", "state")
    )

    if gradients.both <= 0:
        print(f"{name:<36}rows of {asked.width} tokens are too short to tell: give a larger --width", flush=True)
        return {}

    def off(layers: int, seen: Held) -> float:
        return max(gradients.at(layers, seen.tokens), rest.at(layers, seen.tokens)) / seen.step - 1

    beyond = held(evolve(setup, layers=BEYOND[0]), engine, BEYOND[1], asked.width, asked.tasks)
    width, layers = bench_setup.sizes(setup.model)
    words = (VOCABULARIES.get(setup.model, bench_setup.VOCABULARY) - bench_setup.VOCABULARY) * width * 4
    before = weights.at(layers, 0) + words + state.at(layers, 0)
    each, room = gradients.token + gradients.both * layers, (asked.card - OVERHEAD) * GB * USABLE - before
    fits = max(0.0, (room - gradients.at(layers, 0)) / each) if rest.at(layers, 0) <= room else 0.0
    figures = {
        "weights (GB)": (weights.at(layers, 0) + words) / GB,
        "state (GB)": state.at(layers, 0) / GB,
        "step, fixed (GB)": gradients.at(layers, 0) / GB,
        "step, after the gradients (GB)": rest.at(layers, 0) / GB,
        "step, a token (kB)": each / 1e3,
        "tokens of a step that fit": int(fits),
        "off, one larger": off(BEYOND[0], beyond),
    }
    if asked.whole:
        figures["off, all layers"] = off(layers, held(setup, engine, 1, asked.width, asked.tasks))
    if beyond.allocated is not None:
        figures["torch's own count / ours, one larger"] = beyond.allocated / beyond.step
    cells = (f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" for value in figures.values())
    print(f"{name:<36}" + "".join(f"{cell:>12}" for cell in cells), flush=True)
    return figures


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="bert-base,llama-1b", help=f"of {', '.join(bench_setup.RANDOM)}")
    parser.add_argument("--precisions", default="fp32", help="fp32, bf16, fp16, separated by commas")
    parser.add_argument("--ways", default=WAYS, help="engines, +checkpointing where activations are recomputed")
    parser.add_argument("--card", type=float, default=16, help="memory of the card that is asked about, in GB")
    parser.add_argument("--tasks", type=int, default=5)
    parser.add_argument("--width", type=int, default=64, help="tokens of a row")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--whole", action="store_true", help="a model with all its layers, too")
    parser.add_argument("--threads", type=int, help="CPU threads; default: torch's choice")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    asked = parser.parse_args(argv)
    device = bench_setup.device_of(asked.device)
    machine = parts.begin(asked.threads, device=device)
    heads = (*HEADS, *["off, all"] * asked.whole, *["torch's"] * (device.type == "cuda"))
    print(f"S3b with PCGrad, {asked.tasks} tasks, rows of {asked.width} tokens; a card of {asked.card:g} GB")
    print(f"{'':<36}" + "".join(f"{head:>12}" for head in heads))
    figures = {}
    for model, precision in itertools.product(asked.models.split(","), asked.precisions.split(",")):
        for way in asked.ways.split(","):
            engine, _, recomputed = way.partition("+")
            setup = Setup(device, model, precision, bool(recomputed))
            name = f"{model}, {precision}, {way}"
            figures[name] = variant(asked, name, setup, engine)
            parts.write(asked.json, machine, figures)


if __name__ == "__main__":
    main()
