"""From per-task gradients to one update: tensors grouped by who trains them, one Gram matrix and method a group.

One vector over everything would leak into coordinates that a task never reaches and leave most of the conflict in the
common block. All groups use the same orders. The device is asked once: losses, Gram matrices and norms travel in a
single transfer (``Measured``); the coefficients are worked out on the host; the rows are then summed on the device.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from attrs import evolve, frozen
from torch import Tensor

from mtlfn.core import pcgrad
from mtlfn.core.gradients import Reach, TaskGradients, reaching
from mtlfn.core.keys import Key, fold, numpy_generator
from mtlfn.core.methods import Measured
from mtlfn.core.state import Conflict

Paths = tuple[tuple[str, str], ...]


@frozen(eq=False)
class Group:
    """Tensors that the same tasks train.

    Attributes:
        paths: (slot, name) of each.
        tasks: the present ones among these tasks, in batch order.
        rows: several tasks: one [t, P], scaled by 2 ** -exponents; one task: each tensor as it is, [1, ...].
        exponents: int32 [t].
        gram: float64 [t, t] of the scaled rows.
    """

    paths: Paths
    tasks: tuple[str, ...]
    rows: tuple[Tensor, ...]
    exponents: Tensor
    gram: Tensor


def group(gradients: TaskGradients, reach: Reach, present: tuple[str, ...]) -> tuple[Group, ...]:
    """The groups in canonical order, on the device; nothing is transferred."""
    members: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for slot, names in reaching(reach, present).items():
        for name in names:
            members.setdefault(reach[slot][name], []).append((slot, name))
    pieces = {reached: [gradients.rows[slot][name] for slot, name in paths] for reached, paths in members.items()}
    present_of = {reached: tuple(task for task in present if task in reached) for reached in sorted(members)}
    alone = _squares({reached: pieces[reached] for reached, tasks in present_of.items() if len(tasks) == 1})
    device = next((piece.device for each in pieces.values() for piece in each), None)
    groups, unscaled = [], torch.zeros(1, dtype=torch.int32, device=device)
    for reached, tasks in present_of.items():
        if reached in alone:
            rows, gram, exponents = tuple(pieces[reached]), alone[reached].sum().view(1, 1), unscaled
        else:
            scaled, exponents = pcgrad.scaled_rows(pieces[reached])
            rows, gram = (scaled,), pcgrad.gram(scaled)
        groups.append(Group(tuple(members[reached]), tasks, rows, exponents, gram))
    return tuple(groups)


def _squares(pieces: Mapping[tuple[str, ...], Sequence[Tensor]]) -> dict[tuple[str, ...], Tensor]:
    """The squared norms of each group's tensors, float64 [tensors]: all at once, in a few launches."""
    if not pieces:
        return {}
    flat = [piece for group in pieces.values() for piece in group]
    # torch's stubs pass on no name with an underscore.
    norms = torch._foreach_norm(flat, 2, torch.float64)  # pyright: ignore[reportPrivateImportUsage]
    squares = torch.stack(norms).square().split([len(group) for group in pieces.values()])
    return dict(zip(pieces, squares, strict=True))


def measure(
    groups: Iterable[Group], values: Tensor | None = None, scale: float = 1.0
) -> tuple[tuple[Measured, ...], list[float]]:
    """The one transfer of a step: every group's exponents and Gram matrix, and other ``values`` [n] as floats.

    ``scale``: what the losses were multiplied by before they were differentiated, a power of two; it is taken out of
    the exponents.
    """
    groups, shift = tuple(groups), round(math.log2(scale))
    exponents = torch.cat([g.exponents for g in groups]).double()
    rest = [] if values is None else [values.double()]
    found = torch.cat([exponents, *(g.gram.reshape(-1) for g in groups), *rest]).cpu().numpy()
    measured, at, row = [], len(exponents), 0
    for g in groups:
        t = len(g.tasks)
        shifted = found[row : row + t].astype(int) - shift
        measured.append(Measured(g.tasks, shifted, found[at : at + t * t].reshape(t, t)))
        at, row = at + t * t, row + t
    return tuple(measured), found[at:].tolist()


def orders(key: Key, tasks: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """For each present task the order in which it meets the others; a pure function of the step's key."""
    return {
        task: tuple(numpy_generator(fold(key, "order", task)).permutation([t for t in tasks if t != task]).tolist())
        for task in tasks
    }


def row_weights(surgery: pcgrad.Surgery, measured: Measured) -> np.ndarray:
    """The weight of each scaled row in the update (the sum over tasks of their projected gradients), float64 [t]."""
    return (surgery.weights * np.ldexp(1.0, measured.exponents)[:, None]).sum(0)


def norm(weights: Iterable[np.ndarray], measured: Iterable[Measured]) -> float:
    """Norm of the whole update over all groups, from the Gram matrices."""
    return math.sqrt(sum(max(float(w @ m.gram @ w), 0.0) for w, m in zip(weights, measured, strict=True)))


def update(
    groups: Sequence[Group], weights: Sequence[np.ndarray], like: Mapping[tuple[str, str], Tensor]
) -> dict[tuple[str, str], Tensor]:
    """The update of every group's tensors by path, shaped like its parameter; ``weights``: of each group's rows."""
    made: dict[tuple[str, str], Tensor] = {}
    alone: dict[tuple[str, str], tuple[Tensor, float]] = {}
    for group, of_rows in zip(groups, weights, strict=True):
        if len(group.tasks) == 1:
            alone |= {path: (row[0], float(of_rows[0])) for path, row in zip(group.paths, group.rows, strict=True)}
            continue
        (rows,) = group.rows
        flat = torch.from_numpy(of_rows).to(rows.device, rows.dtype, non_blocking=True) @ rows
        shapes = [like[path].shape for path in group.paths]
        pieces = flat.split([shape.numel() for shape in shapes])
        made |= {path: piece.view(s) for path, piece, s in zip(group.paths, pieces, shapes, strict=True)}
    if alone:
        own, factors = zip(*alone.values(), strict=True)
        products = torch._foreach_mul(own, factors)  # pyright: ignore[reportPrivateImportUsage]
        made |= dict(zip(alone, products, strict=True))
    return made


def conflicts(
    before: Mapping[str, Mapping[str, Conflict]],
    measured: Iterable[Measured],
    surgeries: Iterable[pcgrad.Surgery],
) -> dict[str, dict[str, Conflict]]:
    """The counts with this step's meetings added.

    A pair meets once a step if some group has both. It conflicts if in one of these groups the running gradient of i
    had a negative inner product with j's. Its cosine is that of the original gradients over these groups together.
    """
    inner: dict[tuple[str, str], float] = {}
    negative: dict[tuple[str, str], bool] = {}
    lengths: dict[tuple[str, str], float] = {}
    for m, s in zip(measured, surgeries, strict=True):
        gram = m.unscaled
        for a, i in enumerate(m.tasks):
            for b, j in enumerate(m.tasks):
                if a != b:
                    inner[i, j] = inner.get((i, j), 0.0) + float(gram[a, b])
                    lengths[i, j] = lengths.get((i, j), 0.0) + float(gram[a, a])
                    negative[i, j] = negative.get((i, j), False) or bool(s.negative[a, b])
    after = {i: dict(row) for i, row in before.items()}
    for i, j in inner:
        size = math.sqrt(lengths[i, j]) * math.sqrt(lengths[j, i])
        old = after[i][j]
        after[i][j] = evolve(
            old,
            met=old.met + 1,
            negative=old.negative + negative[i, j],
            cosine=old.cosine + (inner[i, j] / size if size > 0 else 0.0),
        )
    return after
