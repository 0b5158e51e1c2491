"""Per-task gradients on several ranks: whole tasks a rank, the rows gathered, one result on each of them.

A task's gradient is computed by one rank, from the same bytes and with the same operations as a single process would
use, and travels as it is. So with ``gradients.loop``, which takes one task at a time, the number of ranks changes no
bit. ``gradients.merged`` takes several at once, and its sums depend on which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from attrs import frozen
from torch import Tensor

from mtlfn.core.batch import Batch
from mtlfn.core.gradients import Engine, Loss, Reach, TaskGradients, Weights, reaching
from mtlfn.core.keys import Key
from mtlfn.core.state import Tree


@frozen(eq=False)
class Ranks:
    """Processes that take the same steps together.

    Attributes:
        rank: which of them this one is, from 0.
        size: how many they are.
        gather: (this rank's vector [n]) -> every rank's, in their order; each may be of another length.
    """

    rank: int
    size: int
    gather: Callable[[Tensor], Sequence[Tensor]]


def shares(costs: Mapping[str, int], size: int) -> tuple[tuple[str, ...], ...]:
    """The tasks of each rank: the costliest first, each to the rank that has least to do (Graham, 1969).

    A pure function: ties go to the first task and the lowest rank. Where there are fewer tasks than ranks, the last
    ranks have none.
    """
    loads, tasks = [0] * size, [[] for _ in range(size)]
    for task in sorted(costs, key=lambda task: -costs[task]):
        rank = loads.index(min(loads))
        loads[rank] += costs[task]
        tasks[rank].append(task)
    return tuple(map(tuple, tasks))


def costs(batch: Batch, reach: Reach) -> dict[str, int]:
    """What the present tasks cost, in the batch's order: slots computed times tensors trained, since a task that passes
    fewer layers trains fewer tensors."""
    slots = {t: sum(m.tokens.padded for m in batch.micro_batches if m.task == t) for t in batch.present}
    return {t: n * sum(map(len, reaching(reach, (t,)).values())) for t, n in slots.items()}


def across(engine: Engine, ranks: Ranks) -> Engine:
    """The engine on several ranks. Every rank is given the same and gets the same."""
    if ranks.size == 1:
        return engine

    def gathered(loss: Loss, params: Tree, reach: Reach, batch: Batch, key: Key, weights: Weights) -> TaskGradients:
        present = batch.present
        tasks = shares(costs(batch, reach), ranks.size)
        own = tuple(task for task in present if task in tasks[ranks.rank])
        gradients = engine(loss, params, reach, batch.only(*own), key, weights) if own else TaskGradients({}, {})
        sent = _vector(gradients, own, reach, params)
        vectors: dict[str, tuple[Tensor, ...]] = {}
        for theirs, vector in zip(tasks, ranks.gather(sent), strict=True):
            theirs = tuple(task for task in present if task in theirs)
            sizes = {task: [1, *(params[s][n].numel() for s, n in _paths(reach, task))] for task in theirs}
            parts = iter(vector.split([size for each in sizes.values() for size in each]))
            vectors |= {task: tuple(next(parts) for _ in each) for task, each in sizes.items()}
        return _task_gradients(vectors, present, reach, params)

    return gathered


def _paths(reach: Reach, task: str) -> list[tuple[str, str]]:
    """The tensors that a task trains, in canonical order."""
    return [(slot, name) for slot, names in reaching(reach, (task,)).items() for name in names]


def _vector(gradients: TaskGradients, own: tuple[str, ...], reach: Reach, params: Tree) -> Tensor:
    """Loss and gradient of one task after the other, end to end: [n], of the parameters' type.

    TypeError where a loss or gradient is of another type, since a cast would change it.
    """
    like = next(v for names in params.values() for v in names.values())
    rows = {path: iter(gradients.rows[path[0]][path[1]]) for task in own for path in _paths(reach, task)}
    parts = [like.new_empty(0)]
    for task in own:
        parts += [gradients.losses[task].reshape(1), *(next(rows[path]).reshape(-1) for path in _paths(reach, task))]
    if other := [part.dtype for part in parts if part.dtype != like.dtype]:
        raise TypeError(f"losses and gradients of {like.dtype} can be gathered, found {other[0]}")
    return torch.cat(parts)


def _task_gradients(
    vectors: Mapping[str, Sequence[Tensor]], present: tuple[str, ...], reach: Reach, params: Tree
) -> TaskGradients:
    """What the engine would have given for all present tasks."""
    losses = {task: vectors[task][0].reshape(()).clone() for task in present}
    pieces = {t: dict(zip(_paths(reach, t), vectors[t][1:], strict=True)) for t in present}
    rows = {
        slot: {
            name: torch.stack([pieces[task][slot, name].view(params[slot][name].shape) for task in tasks])
            for name, tasks in names.items()
        }
        for slot, names in reaching(reach, present).items()
    }
    return TaskGradients(losses, rows)
