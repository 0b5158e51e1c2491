"""A model of plain tensors with the shape of the real one: shared tensors, tensors of level 2, private ones and heads.

Tasks a and b are of level 1, c and d of level 2. It keeps the contract of ``gradients.Loss``: a tensor that comes with
one dimension more than it has holds a row for each present task that reaches it. Dropout is drawn per task and key.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from attrs import evolve, frozen
from torch import Tensor

from mtlfn.core import state as states
from mtlfn.core.batch import Batch, Cursor, MicroBatch
from mtlfn.core.gradients import Loss, Reach
from mtlfn.core.keys import Key, fold, keep_masks, root
from mtlfn.core.state import Moments, State, Tree
from mtlfn.core.tokens import TokenCount

TASKS = ("a", "b", "c", "d")
LEVEL2 = ("c", "d")
WIDTH = 5
SHAPES: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "shared": {"w": (WIDTH, WIDTH), "bias": (WIDTH,)},
    "level2": {"w": (WIDTH, WIDTH), "gate": ()},
    **{f"private/{t}": {"v": (WIDTH, WIDTH)} for t in TASKS},
    **{f"head/{t}": {"w": (WIDTH, 1), "b": (1,)} for t in TASKS},
}
REACH: Reach = {
    slot: dict.fromkeys(names, TASKS if slot == "shared" else LEVEL2 if slot == "level2" else (slot[-1],))
    for slot, names in SHAPES.items()
}


@frozen(eq=False)
class Rows:
    """x [n, WIDTH], y [n], labelled bool [n]."""

    x: Tensor
    y: Tensor
    labelled: Tensor


def loss(rate: float = 0.3) -> Loss:
    """The loss function with this dropout rate."""

    def task_losses(params: Tree, batch: Batch, key: Key) -> dict[str, Tensor]:
        present = batch.present

        def tensor(slot: str, name: str, task: str) -> Tensor:
            value = params[slot][name]
            if value.ndim == len(SHAPES[slot][name]):
                return value
            return value[[t for t in present if t in REACH[slot][name]].index(task)]

        out = {}
        for task in present:
            summed, count = [], 0
            for i, m in enumerate(m for m in batch.micro_batches if m.task == task):
                rows: Rows = m.inputs
                h = torch.tanh(rows.x @ tensor("shared", "w", task) + tensor("shared", "bias", task))
                draws = [(fold(key, "dropout", task, i), h.numel())]
                h = h * keep_masks(draws, rate, h.device, h.dtype).view(h.shape)
                if task in LEVEL2:
                    h = h + tensor("level2", "gate", task) * (h @ tensor("level2", "w", task))
                h = h + torch.tanh(h @ tensor(f"private/{task}", "v", task))
                found = (h @ tensor(f"head/{task}", "w", task)).squeeze(1) + tensor(f"head/{task}", "b", task)
                summed.append(((found - rows.y)[rows.labelled] ** 2).sum())
                count += m.tokens.loss
            out[task] = torch.stack(summed).sum() / count
        return out

    return task_losses


def begin(seed: int = 0, dtype: torch.dtype = torch.float32) -> State:
    """The first state, with sigma and conflicts at their start and parameters drawn from the seed."""
    random = torch.Generator().manual_seed(seed)
    params = {
        slot: {n: torch.randn(shape, generator=random).to(dtype) * 0.6 for n, shape in names.items()}
        for slot, names in SHAPES.items()
    }
    state = states.init(root(seed), params, TASKS)
    if dtype == torch.float32:
        return state

    def cast(tree: Tree) -> dict[str, dict[str, Tensor]]:
        return {slot: {n: v.to(dtype) for n, v in names.items()} for slot, names in tree.items()}

    moments = state.optimizer
    return evolve(
        state,
        sigma={t: s.to(dtype) for t, s in state.sigma.items()},
        optimizer=Moments(cast(moments.mean), cast(moments.square), moments.count),
    )


def micro_batch(task: str, seed: int, *, rows: int = 6, labels: int | None = None, dtype=torch.float32) -> MicroBatch:
    """Rows of a task, the first ``labels`` of them labelled (default: all but one)."""
    random = torch.Generator().manual_seed(seed)
    labels = rows - 1 if labels is None else labels
    x = torch.randn(rows, WIDTH, generator=random).to(dtype)
    # Tasks want different things of the same features, so that gradients conflict.
    y = x @ torch.randn(WIDTH, generator=torch.Generator().manual_seed(1000 + TASKS.index(task))).to(dtype)
    held = Rows(x, y, torch.arange(rows) < labels)
    return MicroBatch(task, held, TokenCount(input=7 * rows + seed % 5, loss=labels, padded=8 * rows, examples=rows))


def batch(step: int, tasks: tuple[str, ...] = TASKS, *, dtype: torch.dtype = torch.float32, **options: int) -> Batch:
    """Two micro-batches of different size for each of the tasks."""
    held = [
        micro_batch(t, 100 * step + 10 * TASKS.index(t) + part, rows=4 + 3 * part, dtype=dtype, **options)
        for t in tasks
        for part in range(2)
    ]
    return Batch(tuple(held), {t: Cursor(step // 3, step % 3 + 1) for t in TASKS})


def of_state(state: State) -> list[Tensor]:
    """Every tensor of a state."""
    return [leaf for _, leaf in states.leaves(state) if isinstance(leaf, Tensor)]


def of_batch(batch: Batch) -> list[Tensor]:
    """Every tensor of a batch."""
    return [t for m in batch.micro_batches for t in (m.inputs.x, m.inputs.y, m.inputs.labelled)]
