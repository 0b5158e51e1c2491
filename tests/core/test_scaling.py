"""The loss scale changes no bit of an update; where it overflows it falls, as that of torch.amp.GradScaler does."""

from __future__ import annotations

import math

import pytest
import torch
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlfn.core import scaling
from mtlfn.core.state import NonFinite, Scaler, digest
from tests.core import tiny
from tests.core.test_step import build, paths, untouched, variants


@variants
@pytest.mark.parametrize("exponent", [1, 16, 30])
def test_a_power_of_two_changes_no_bit_of_a_step(engine, method, weights, exponent):
    plain, scaled = build(engine, method, weights), build(engine, method, weights, scaling=True)
    one = tiny.begin()
    other = evolve(one, scaler=Scaler(2.0**exponent, 3))
    for number in range(4):
        one, other = plain(one, tiny.batch(number)), scaled(other, tiny.batch(number))
        assert other.scaler == Scaler(2.0**exponent, 4 + number)
        assert digest(evolve(other, scaler=one.scaler)) == digest(one)
    assert one.conflicts["a"]["b"].met == 4


def overflowing(largest: float):
    """The loss of the tiny model with gradients beyond ``largest`` turned into infinity, as a narrow float would."""

    class Narrow(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return torch.where(grad.abs() > largest, math.inf, grad)

    def loss(params, batch, key):
        return {task: Narrow.apply(value) for task, value in tiny.loss()(params, batch, key).items()}

    return loss


@pytest.mark.parametrize("engine", ["loop", "merged"])
def test_an_overflow_halves_the_scale_and_changes_nothing_else_but_the_data(engine):
    taken = build(engine, loss=overflowing(2.0**13), scaling=True)  # weights are 1/4: a scale of 2^15 is the last
    state = evolve(tiny.begin(), scaler=Scaler(2.0**18, 7))
    for number, scale in enumerate([2.0**17, 2.0**16, 2.0**15]):
        batch = tiny.batch(number)
        after = taken(state, batch)
        assert after.scaler == Scaler(scale, 0)
        assert after.nonfinite == NonFinite(0, 0)
        assert all(untouched(state, after, path) for path in paths(state.optimizer.mean))
        assert after.conflicts == state.conflicts
        assert (after.step, after.cursors) == (state.step + 1, batch.cursors)
        assert after.input_tokens == state.input_tokens + batch.tokens.input
        assert math.isnan(after.last.grad_norm)
        assert all(math.isfinite(v) for v in after.last.loss.values())
        state = after
    good = taken(state, tiny.batch(3))
    assert good.scaler == Scaler(2.0**15, 1)
    assert not any(untouched(state, good, path) for path in paths(good.params))


@pytest.mark.parametrize("scale", [1.0, 2.0**16])
def test_what_no_scale_can_mend_is_counted(scale):
    """A loss that is not finite, at any scale; a gradient that is not, at scale 1."""

    def spoilt(params, batch, key):
        return {task: value * math.inf for task, value in tiny.loss()(params, batch, key).items()}

    start = evolve(tiny.begin(), scaler=Scaler(scale))
    after = build(loss=spoilt, scaling=True)(start, tiny.batch(0))
    # It falls as torch.amp.GradScaler's does; but the scale is not what is wrong, so the step counts.
    assert (after.nonfinite, after.scaler) == (NonFinite(1, 1), Scaler(max(scale / 2, 1.0)))
    bottom = evolve(tiny.begin(), scaler=Scaler(1.0))
    after = build(loss=overflowing(0.0), scaling=True)(bottom, tiny.batch(0))
    assert (after.nonfinite, after.scaler) == (NonFinite(1, 1), Scaler(1.0))


def test_without_scaling_the_scaler_is_left_alone():
    state = evolve(tiny.begin(), scaler=Scaler(8.0, 5))
    assert build()(state, tiny.batch(0)).scaler == Scaler(8.0, 5)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.booleans(), max_size=30))
def test_the_scale_is_that_of_torchs_gradscaler(finite):
    interval, before = 3, scaling.INTERVAL
    scaling.INTERVAL = interval
    try:
        reference = torch.amp.GradScaler("cpu", init_scale=scaling.START, growth_interval=interval)
        weight = torch.nn.Parameter(torch.ones(1))
        optimizer = torch.optim.SGD([weight], lr=0.0)
        ours = Scaler(scaling.START)
        for good in finite:
            weight.grad = reference.scale(torch.tensor([1.0 if good else math.inf]))
            reference.step(optimizer)
            reference.update()
            ours = scaling.held(ours) if good else scaling.overflowed(ours)
            if reference.get_scale() < 1:  # ours goes no lower
                break
            assert ours.scale == reference.get_scale()
    finally:
        scaling.INTERVAL = before


def test_the_scale_stays_within_its_bounds():
    top, bottom = Scaler(scaling.MOST, scaling.INTERVAL - 1), Scaler(1.0, 5)
    assert scaling.held(top) == Scaler(scaling.MOST, 0)
    assert scaling.overflowed(bottom) == Scaler(1.0, 0)
