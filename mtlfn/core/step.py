"""One pure step: (State, Batch) -> State.

``build`` binds the hyper-parameters and the loss; what it returns has no memory of its own. A loss or gradient that
is not finite changes no parameter: data and token counts advance, the event is counted, or the loss scale is lowered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import torch
from attrs import evolve, field, frozen
from torch import Tensor

from mtlfn.core import combine, methods, optimizer, scaling, weighting
from mtlfn.core.batch import Batch
from mtlfn.core.gradients import Engine, Loss, Reach, merged
from mtlfn.core.keys import fold
from mtlfn.core.schedule import Schedule, learning_rate
from mtlfn.core.state import Last, Moments, NonFinite, State, Tree

Step = Callable[[State, Batch], State]


@frozen(kw_only=True)
class StepConfig:
    """Hyper-parameters of a step.

    Attributes:
        engine: takes per-task gradients (``gradients.ENGINES``).
        method: makes them one (``methods.method``).
        weighting: how task losses are weighed.
        schedule: learning rate of adapters and heads against tokens.
        sigma_learning_rate: peak learning rate of s = log sigma^2, on the same schedule.
        weight_decay: on matrices; never on biases, gains, gates or sigma.
        clip_norm: largest norm of the update of adapters and heads together; 0 for none.
        scaling: losses are multiplied by the state's scale before they are differentiated (float16).
        adamw: its betas and epsilon.
    """

    schedule: Schedule
    engine: Engine = merged
    method: methods.Method = methods.project
    weighting: Literal["equal", "uncertainty"] = "equal"
    sigma_learning_rate: float = 0.01
    weight_decay: float = 0.01
    clip_norm: float = 0.0
    scaling: bool = False
    adamw: optimizer.AdamW = field(factory=optimizer.AdamW)


def build(config: StepConfig, loss: Loss, reach: Reach) -> Step:
    """The step of a run: a pure function (state, batch) -> state, which changes neither and draws from keys alone.

    Args:
        loss: (params, batch, key) -> task -> mean loss over its labels, 0-d float32, for every task of
            ``batch.present``; differentiable by torch, and pure. With the engine ``merged``, a tensor that several
            tasks train comes as [t, *shape], a row for each of them that is present; with ``loop`` as it is.
        reach: slot -> tensor -> the tasks whose loss trains it, in canonical order.

    A step whose losses or gradients are not finite changes no parameter and is counted in ``state.nonfinite``.
    """

    def step(state: State, batch: Batch) -> State:
        return _step(config, loss, reach, state, batch)

    return step


def _step(config: StepConfig, loss: Loss, reach: Reach, state: State, batch: Batch) -> State:
    advanced = _advance(state, batch)
    present, absent = batch.present, dict.fromkeys(state.tokens)
    if not present:
        return evolve(_detached(advanced), last=Last(absent, absent))
    key = fold(state.key, "step", state.step)
    sigma = torch.stack([state.sigma[task] for task in present]) if config.weighting == "uncertainty" else None
    equal, scale = weighting.equal(len(state.tokens)), state.scaler.scale if config.scaling else 1.0
    weights: Mapping[str, float | Tensor] = dict.fromkeys(present, equal * scale)
    if sigma is not None:
        weights = dict(zip(present, (weighting.uncertainty(sigma) * scale).unbind(), strict=True))
    gradients = config.engine(loss, state.params, reach, batch, key, weights)
    groups = combine.group(gradients, reach, present)
    losses = torch.stack([gradients.losses[task] for task in present])
    weighted = losses * equal if sigma is None else weighting.uncertainty_loss(losses, sigma)
    measured, scalars = combine.measure(groups, torch.cat([losses, weighted]), scale)
    raw, weighed = scalars[: len(present)], scalars[len(present) :]
    last = Last(
        {**absent, **dict(zip(present, raw, strict=True))},
        {**absent, **dict(zip(present, weighed, strict=True))},
    )
    sound = all(map(math.isfinite, scalars))
    if not sound or not all(np.isfinite(m.gram).all() for m in measured):
        # An overflow in float16 that a lower scale may prevent is not counted.
        nonfinite = state.nonfinite if sound and scale > 1 else _one_more(state.nonfinite)
        scaler = scaling.overflowed(state.scaler) if config.scaling else state.scaler
        return evolve(_skipped(advanced, last, nonfinite), scaler=scaler)
    order = combine.orders(key, present)
    surgeries = [config.method(m, order, key) for m in measured]
    row_weights = [combine.row_weights(s, m) for s, m in zip(surgeries, measured, strict=True)]
    if not all(np.isfinite(w).all() for w in row_weights):  # a solver that came to nothing
        return _skipped(advanced, last, _one_more(state.nonfinite))
    taken = evolve(
        advanced,
        scaler=scaling.held(state.scaler) if config.scaling else state.scaler,
        conflicts=combine.conflicts(state.conflicts, measured, surgeries),
        nonfinite=NonFinite(state.nonfinite.total, 0),
    )
    norm = combine.norm(row_weights, measured)
    clip = config.clip_norm / norm if 0 < config.clip_norm < norm else 1.0
    params = {(slot, name): v for slot, tensors in state.params.items() for name, v in tensors.items()}
    updates = combine.update(groups, [w * clip for w in row_weights], params)
    if sigma is not None:
        slopes = weighting.uncertainty_gradient(losses, sigma).unbind()
        updates |= {("sigma", task): slope for task, slope in zip(present, slopes, strict=True)}
    return evolve(_optimize(config, state, taken, updates), last=evolve(last, grad_norm=norm))


def _skipped(advanced: State, last: Last, nonfinite: NonFinite) -> State:
    """After a batch that changed no parameter."""
    return evolve(_detached(advanced), last=evolve(last, grad_norm=math.nan), nonfinite=nonfinite)


def _one_more(count: NonFinite) -> NonFinite:
    return NonFinite(count.total + 1, count.in_a_row + 1)


def _advance(state: State, batch: Batch) -> State:
    """Step, cursors and tokens after the batch; tensors as they were."""
    return evolve(
        state,
        step=state.step + 1,
        cursors=dict(batch.cursors),
        tokens={task: count + batch.tokens_of(task) for task, count in state.tokens.items()},
    )


def _detached(state: State) -> State:
    """An equal state that shares no storage with ``state``."""
    moments = state.optimizer
    params = optimizer.copied({**state.params, "sigma": state.sigma})
    sigma = params.pop("sigma")
    copies = Moments(optimizer.copied(moments.mean), optimizer.copied(moments.square), moments.count)
    return evolve(state, params=params, sigma=sigma, optimizer=copies)


def _optimize(config: StepConfig, state: State, advanced: State, updates: Mapping[tuple[str, str], Tensor]) -> State:
    """AdamW on the tensors that have an update; the others keep value, moments and step count."""
    before = {**state.params, "sigma": state.sigma}
    moments, paths = state.optimizer, list(updates)
    rate = learning_rate(config.schedule, advanced.input_tokens)
    sigma_rate = rate / config.schedule.peak * config.sigma_learning_rate
    counts = {slot: dict(names) for slot, names in moments.count.items()}
    for slot, name in paths:
        counts[slot][name] += 1
    params, means, squares = optimizer.update(
        config.adamw,
        [before[slot][name] for slot, name in paths],
        list(updates.values()),
        [moments.mean[slot][name] for slot, name in paths],
        [moments.square[slot][name] for slot, name in paths],
        [counts[slot][name] for slot, name in paths],
        [sigma_rate if slot == "sigma" else rate for slot, _ in paths],
        [config.weight_decay if updates[path].ndim >= 2 else 0.0 for path in paths],
    )

    def replaced(old: Tree, new: list[Tensor]) -> dict[str, dict[str, Tensor]]:
        fresh = dict(zip(paths, new, strict=True))
        kept = {s: {n: v for n, v in tensors.items() if (s, n) not in fresh} for s, tensors in old.items()}
        copies = optimizer.copied(kept)
        return {s: {n: fresh[s, n] if (s, n) in fresh else copies[s][n] for n in names} for s, names in old.items()}

    trained = replaced(before, params)
    sigma = trained.pop("sigma")
    return evolve(
        advanced,
        params=trained,
        sigma=sigma,
        optimizer=Moments(replaced(moments.mean, means), replaced(moments.square, squares), counts),
    )
