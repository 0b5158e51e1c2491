"""Our PCGrad step against TorchJD's: S3b on the same backbone, adapters and batch, AdamW on both sides.

TorchJD's side is the same function over transformers and PEFT as they are: a rectangle a task, features and a head a
task, level-1 tasks leaving at the read-out layer. Level-2 tasks alone reach the layers above it, so its users
aggregate two groups of parameters, as our step does: what all tasks train and what level-2 tasks train. Ways of
getting the Jacobian that are timed:

    mtl_backward        one forward over all rows; the Jacobian by `torchjd.autojac.mtl_backward` from the features
    backward            the same forward; by `torchjd.autojac.backward` from the losses
    task by task        a forward and a plain reverse pass a task; only `jac_to_grad` and the aggregator are TorchJD's

the first two with all rows at once (vmap, the default) or one by one (`parallel_chunk_size=1`), and each with
transformers' `sdpa` and `eager` attention. Before anything is timed, every Jacobian is compared with our rows, and the
update of the aggregator `Sum` with ours; with `PCGrad` the two sides visit the tasks in other random orders.

    python scripts/bench_torchjd.py [--shapes 8x64,16x128,2x32] [--rounds 7] [--tasks 5] [--json FILE]
                                    [--device cuda] [--model bert-base]
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import bench_parts as parts
import bench_setup
import torch
import torch.nn.functional as F
from attrs import frozen
from bench_setup import HERE, Setup, setup
from torch import Tensor
from torchjd.aggregation import Aggregator, PCGrad, Sum
from torchjd.autojac import backward, jac_to_grad, mtl_backward

from mtlfn.core import combine, gradients, methods
from mtlfn.core.batch import MicroBatch
from mtlfn.data.task import Task
from mtlfn.models import cross_attention, heads, lora

# vmap has no rule for the backward pass of `sdpa` on a CPU and takes its rows in turn: one of the ways that are timed.
warnings.filterwarnings("ignore", message=".*batching rule", category=UserWarning)

Jacobian = Mapping[str, Tensor]  # parameter that several tasks train -> [tasks, *shape]
OURS = "ours, merged"


@frozen(eq=False)
class Network:
    """What a user of TorchJD writes for S3b.

    Attributes:
        problem: what it must be equal to.
        bert: the backbone with PEFT's adapter in it.
        lower, upper: parameters that all tasks, and that level-2 tasks only, train.
        heads: task -> its head's parameters.
    """

    problem: parts.Problem
    bert: Any
    lower: dict[str, Tensor]
    upper: dict[str, Tensor]
    heads: dict[str, dict[str, Tensor]]

    @property
    def tasks(self) -> tuple[Task, ...]:
        return self.problem.model.tasks

    @property
    def micro_batches(self) -> tuple[MicroBatch, ...]:
        return self.problem.batch.micro_batches

    @property
    def groups(self) -> list[dict[str, Tensor]]:
        """What is aggregated together."""
        return [group for group in (self.lower, self.upper) if group]

    @property
    def parameters(self) -> list[Tensor]:
        return [p for group in (*self.groups, *self.heads.values()) for p in group.values()]


def network(problem: parts.Problem, attention: str) -> Network:
    """Another copy of the backbone; adapter, cross attention and heads with the values of the problem's state."""
    built, params = problem.model, problem.state.params
    base = bench_setup.base(problem.setup.model)
    adapted = parts.plain_adapter(base, lora.rank_of(built.strategy), problem.settings, attention).train()
    adapted.to(problem.setup.device)
    adapter = parts.adapter_parameters(adapted, built.linears)
    parts.copy_into(adapter, parts.together(built, built.tasks[-1], params))
    low = set(parts.adapter_parameters(adapted, [linear for linear in built.linears if linear.layer < built.read_out]))
    crossing = trainable(params.get(cross_attention.SLOT, {}))
    return Network(
        problem=problem,
        bert=adapted.get_base_model(),
        lower={name: p for name, p in adapter.items() if name in low},
        upper={**{name: p for name, p in adapter.items() if name not in low}, **crossing},
        heads={task.name: trainable(params[f"head/{task.name}"]) for task in built.tasks},
    )


def trainable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone().requires_grad_() for name, value in tensors.items()}


def features(net: Network, micro_batches: Sequence[MicroBatch]) -> list[Tensor]:
    """What the head of each micro-batch reads, [rows, width, d], from one pass over all rows; widths are equal.

    There is no padding in these batches, so no mask.
    """
    tasks = {task.name: task for task in net.tasks}
    rows, device = [len(m.inputs.input_ids) for m in micro_batches], net.problem.setup.device
    hidden = net.bert.embeddings(
        input_ids=torch.cat([m.inputs.input_ids for m in micro_batches]).to(device),
        token_type_ids=torch.cat([m.inputs.token_types for m in micro_batches]).to(device),
    )
    read_out = net.problem.model.read_out
    for layer in net.bert.encoder.layer[:read_out]:
        hidden = layer(hidden)
    read = [F.layer_norm(part, part.shape[-1:]) for part in hidden.split(rows)]
    above = [i for i, m in enumerate(micro_batches) if tasks[m.task].level == 2]
    if not above:
        return read
    top = hidden[sum(rows[: above[0]]) :]
    for layer in net.bert.encoder.layer[read_out:]:
        top = layer(top)
    crossing = {name: net.upper[name] for name in cross_attention.init(1, "00")}
    for i, part in zip(above, top.split([rows[i] for i in above]), strict=True):
        read[i] = cross_attention.attend(crossing, part, read[i], None)
    return read


def losses(net: Network, micro_batches: Sequence[MicroBatch], read: Sequence[Tensor]) -> list[Tensor]:
    """The weighted mean loss of each micro-batch."""
    tasks, out = {task.name: task for task in net.tasks}, []
    for m, r in zip(micro_batches, read, strict=True):
        task = tasks[m.task]
        logits = heads.logits(task, net.heads[m.task], r, m.inputs, causal=False)
        total = heads.loss_sum(task, logits, m.inputs, net.problem.model.class_weights[m.task])
        out.append(total / m.tokens.loss * net.problem.weights[m.task])
    return out


# Ways of filling `.jac` of what is shared and `.grad` of the heads.


def by_mtl_backward(net: Network, chunk: int | None) -> None:
    read = features(net, net.micro_batches)
    shared = [p for group in net.groups for p in group.values()]
    own = [list(net.heads[m.task].values()) for m in net.micro_batches]
    mtl_backward(
        losses(net, net.micro_batches, read), read, tasks_params=own, shared_params=shared, parallel_chunk_size=chunk
    )


def by_backward(net: Network, chunk: int | None) -> None:
    values = losses(net, net.micro_batches, features(net, net.micro_batches))
    shared = [p for group in net.groups for p in group.values()]
    own = [p for m in net.micro_batches for p in net.heads[m.task].values()]
    for p, gradient in zip(own, torch.autograd.grad(sum(values), own, retain_graph=True), strict=True):
        p.grad = gradient
    backward(values, inputs=shared, parallel_chunk_size=chunk)


def task_by_task(net: Network, chunk: int | None) -> None:
    """Nothing of another task is touched; in the upper group there are rows of level-2 tasks only."""
    rows: dict[Tensor, list[Tensor]] = {p: [] for group in net.groups for p in group.values()}
    levels = {task.name: task.level for task in net.tasks}
    for m in net.micro_batches:
        shared = list((net.lower if levels[m.task] == 1 else {**net.lower, **net.upper}).values())
        own = list(net.heads[m.task].values())
        (loss,) = losses(net, [m], features(net, [m]))
        found = torch.autograd.grad(loss, [*shared, *own])
        for p, gradient in zip(shared, found, strict=False):
            rows[p].append(gradient)
        for p, gradient in zip(own, found[len(shared) :], strict=True):
            p.grad = gradient
    for p, gradients_of_tasks in rows.items():
        p.jac = torch.stack(gradients_of_tasks)


Way = Callable[[Network, int | None], None]
WAYS: dict[str, tuple[Way, int | None]] = {
    "mtl_backward": (by_mtl_backward, None),
    "mtl_backward, row by row": (by_mtl_backward, 1),
    "backward": (by_backward, None),
    "backward, row by row": (by_backward, 1),
    "task by task": (task_by_task, None),
}


def take_step(
    net: Network, way: Way, chunk: int | None, aggregator: Aggregator, optimizer: torch.optim.Optimizer
) -> None:
    """Jacobian, one aggregation a group, AdamW."""
    way(net, chunk)
    for group in net.groups:
        jac_to_grad(group.values(), aggregator)
    optimizer.step()
    optimizer.zero_grad()


def check(net: Network, ways: Mapping[str, tuple[Way, int | None]] = WAYS) -> dict[str, float]:
    """The largest relative error of each way's Jacobian and update, dropout off; Mismatch where they are not ours."""
    net.bert.eval()
    rows = net.problem.rows()
    expected, updates = our_jacobian(net, rows), our_sum(net, rows)
    out = {}
    for name, (way, chunk) in ways.items():
        way(net, chunk)
        found, errors = by_task(net, their_jacobian(net)), {}
        for task, rows in by_task(net, expected).items():
            checked = parts.check_equal(f"gradient of {task} by {name}", rows, found[task])
            errors[task] = max(checked.values())
        for group in net.groups:
            jac_to_grad(group.values(), Sum())
        named = {**{n: p.grad for g in net.groups for n, p in g.items()}}
        named |= {f"{task}/{n}": p.grad for task, own in net.heads.items() for n, p in own.items()}
        errors |= parts.check_equal(f"update of {name}", updates, named)
        out[name] = max(errors.values())
        for p in net.parameters:
            p.grad = None
    net.bert.train()
    return out


def by_task(net: Network, jacobian: Jacobian) -> dict[str, dict[str, Tensor]]:
    """Task -> parameter -> its row: a task of small gradients is not to hide behind one of large ones."""
    out: dict[str, dict[str, Tensor]] = {task.name: {} for task in net.tasks}
    for name, rows in jacobian.items():
        for task, row in zip(net.tasks[-len(rows) :], rows, strict=True):  # level-2 tasks come last
            out[task.name][name] = row
    return out


def our_jacobian(net: Network, found: gradients.TaskGradients) -> Jacobian:
    """Our rows under PEFT's names: [t, ...] over the tasks that train the tensor."""
    tree, built = found.rows, net.problem.model
    return {**parts.together(built, built.tasks[-1], tree), **tree.get(cross_attention.SLOT, {})}


def our_sum(net: Network, found: gradients.TaskGradients) -> dict[str, Tensor]:
    """The update of our step without surgery, by the path that the step takes."""
    built, batch, params = net.problem.model, net.problem.batch, net.problem.state.params
    groups = combine.group(found, built.reach, batch.present)
    measured, _ = combine.measure(groups)
    flat = {(slot, name): v for slot, names in params.items() for name, v in names.items()}
    tree: dict[str, dict[str, Tensor]] = {}
    weights = [combine.row_weights(methods.add(m, {}, ""), m) for m in measured]
    for (slot, name), value in combine.update(groups, weights, flat).items():
        tree.setdefault(slot, {})[name] = value
    own = {f"{task}/{name}": v for task in batch.present for name, v in tree[f"head/{task}"].items()}
    return {**parts.together(built, built.tasks[-1], tree), **tree.get(cross_attention.SLOT, {}), **own}


def their_jacobian(net: Network) -> Jacobian:
    """Their rows of the tasks that train the tensor; Mismatch where another task's row is not zero."""
    level2 = [i for i, task in enumerate(net.tasks) if task.level == 2]
    out = {name: p.jac for name, p in net.lower.items()}
    for name, p in net.upper.items():
        rows = p.jac
        if len(rows) == len(net.tasks):
            if rows[: level2[0]].any():
                raise parts.Mismatch(f"{name}: a level-1 task has a gradient")
            rows = rows[level2]
        out[name] = rows
    return out


def measure(rows: int, width: int, count: int, rounds: int, on: Setup = HERE) -> dict[str, Any]:
    """Errors, medians in seconds, and ratios of our step to each of theirs."""
    problem = parts.problem(rows, width, count, setup=on)
    networks = {attention: network(problem, attention) for attention in ("sdpa", "eager")}
    errors = {attention: check(net) for attention, net in networks.items()}
    candidates: dict[str, Callable[[], object]] = {
        OURS: partial(problem.step("merged", "pcgrad"), problem.state, problem.batch)
    }
    for attention, net in networks.items():
        optimizer = torch.optim.AdamW(net.parameters, lr=1e-3, weight_decay=0.01, fused=True)
        for name, (way, chunk) in WAYS.items():
            candidates[f"{name}, {attention}"] = partial(take_step, net, way, chunk, PCGrad(), optimizer)
    seconds = parts.interleaved(candidates, rounds, on.device)
    theirs = [name for name in seconds if name != OURS]
    seconds["fastest mtl_backward"] = parts.fastest(seconds, [n for n in theirs if n.startswith("mtl_backward")])
    seconds["fastest of all"] = parts.fastest(seconds, theirs)
    return {
        "errors": errors,
        "seconds": {name: statistics.median(times) for name, times in seconds.items()},
        "ratio": {name: parts.ratio(seconds[OURS], times) for name, times in seconds.items()},
    }


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parts.parser(__doc__, rounds=7, shapes="8x64,16x128,2x32").parse_args(argv)
    on = setup(arguments)
    if on.precision != "fp32" or on.model.startswith("llama"):
        raise SystemExit("TorchJD's side is written for BERT in fp32: give another --model, and no --precision")
    machine, figures = parts.begin(arguments.threads, "transformers", "peft", "torchjd", device=on.device), {}
    for shape, rows, width in parts.shapes_of(arguments.shapes):
        figures[shape] = found = measure(rows, width, arguments.tasks, arguments.rounds, on)
        worst = max(error for errors in found["errors"].values() for error in errors.values())
        print(f"\nS3b, {on.told}, {arguments.tasks} tasks of {shape} tokens; gradients agree within {worst:.0e}")
        print(f"  {'step':<34} {'median':>8}     ours / it")
        for name, seconds in found["seconds"].items():
            print(f"  {name:<34} {seconds * 1e3:8.0f} ms  {found['ratio'][name]:5.2f}", flush=True)
        parts.write(arguments.json, machine, figures)


if __name__ == "__main__":
    main()
