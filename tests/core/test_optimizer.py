"""AdamW as a pure function is bitwise ``torch.optim.AdamW``, tensor by tensor, and leaves its inputs alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mtlfn.core.optimizer import AdamW, copied, update
from mtlfn.core.state import digest
from tests.core.families import assert_bitwise, storages

shapes = st.lists(st.lists(st.integers(1, 5), max_size=3).map(tuple), min_size=1, max_size=4)
rates = st.floats(1e-6, 0.5)
decays = st.sampled_from([0.0, 0.01, 0.1, 1.0])
configs = st.builds(
    AdamW,
    beta1=st.sampled_from([0.0, 0.5, 0.8, 0.9, 0.99]),
    beta2=st.sampled_from([0.9, 0.98, 0.999]),
    eps=st.sampled_from([1e-8, 1e-6]),
)
sizes = st.sampled_from([1.0, 1e-12, 1e-30, 1e12, 1e18])  # of gradients; their squares reach both ends of float32


def as_mapping(*lists: list[Tensor]) -> dict[str, dict[str, Tensor]]:
    return {f"list{i}": {f"t{j:02}": t for j, t in enumerate(tensors)} for i, tensors in enumerate(lists)}


@settings(max_examples=30)
@given(
    shapes,
    configs,
    st.lists(st.tuples(rates, decays, sizes), min_size=4, max_size=4),
    st.booleans(),
    st.sampled_from([torch.float32, torch.float64]),
    st.integers(0, 2**31),
)
def test_equals_torch_bit_for_bit_over_many_steps(shape_of, config, groups, foreach, dtype, seed):
    """Each tensor has its own rate, decay, gradient size, and steps that it skips, as a torch tensor without grad."""
    random = torch.Generator().manual_seed(seed)
    ours = [torch.randn(s, generator=random, dtype=dtype) for s in shape_of]
    theirs = [p.clone().requires_grad_() for p in ours]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p], "lr": lr, "weight_decay": decay}
            for p, (lr, decay, _) in zip(theirs, groups[: len(theirs)], strict=True)
        ],
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        foreach=foreach,
    )
    means, squares = [torch.zeros_like(p) for p in ours], [torch.zeros_like(p) for p in ours]
    counts = [0] * len(ours)
    for step in range(22):
        factor = 1 - step / 30  # a schedule
        taking = [i for i in range(len(ours)) if (step + i) % 3 or not i]
        gradients = {i: torch.randn(shape_of[i], generator=random, dtype=dtype) * groups[i][2] for i in taking}
        for i, (group, p) in enumerate(zip(optimizer.param_groups, theirs, strict=True)):
            group["lr"] = groups[i][0] * factor
            p.grad = gradients.get(i)
        optimizer.step()
        for i in taking:
            counts[i] += 1
        new = update(
            config,
            [ours[i] for i in taking],
            list(gradients.values()),
            [means[i] for i in taking],
            [squares[i] for i in taking],
            [counts[i] for i in taking],
            [groups[i][0] * factor for i in taking],
            [groups[i][1] for i in taking],
        )
        for i, p, m, v in zip(taking, *new, strict=True):
            ours[i], means[i], squares[i] = p, m, v
    for i, p in enumerate(theirs):
        assert_bitwise(ours[i], p)
        assert_bitwise(means[i], optimizer.state[p]["exp_avg"])
        assert_bitwise(squares[i], optimizer.state[p]["exp_avg_sq"])
        assert optimizer.state[p]["step"] == counts[i]
        assert bool(ours[i].isfinite().all())


@given(shapes, configs, st.integers(1, 1000), rates, decays, st.integers(0, 2**31))
def test_inputs_are_unchanged_and_outputs_are_new(shape_of, config, count, rate, decay, seed):
    random = torch.Generator().manual_seed(seed)
    params, gradients, means = ([torch.randn(s, generator=random) for s in shape_of] for _ in range(3))
    squares = [torch.rand(s, generator=random) for s in shape_of]
    before = digest(as_mapping(params, gradients, means, squares))
    n = len(params)
    new = update(config, params, gradients, means, squares, [count] * n, [rate] * n, [decay] * n)
    again = update(config, params, gradients, means, squares, [count] * n, [rate] * n, [decay] * n)
    assert digest(as_mapping(params, gradients, means, squares)) == before
    assert digest(as_mapping(*new)) == digest(as_mapping(*again))
    outputs = [t for tensors in new for t in tensors]
    assert len(storages(outputs)) == len(outputs)
    assert not storages(outputs) & storages([*params, *gradients, *means, *squares])


def test_the_first_step_moves_by_the_rate_whatever_the_size_of_the_gradient():
    for size in (1e-6, 1.0, 1e15):
        (moved,), _, _ = update(
            AdamW(eps=1e-16), [torch.zeros(3)], [size * torch.tensor([1.0, -2.0, 0.0])], [torch.zeros(3)],
            [torch.zeros(3)], [1], [0.1], [0.5],
        )  # fmt: skip
        torch.testing.assert_close(moved, torch.tensor([-0.1, 0.1, 0.0]))


def test_nothing_to_update_is_nothing():
    assert update(AdamW(), [], [], [], [], [], [], []) == ([], [], [])


def test_sequences_of_different_length_are_refused():
    one = [torch.zeros(1)]
    with pytest.raises((ValueError, RuntimeError)):
        update(AdamW(), one, one, one, one, [1], [0.1, 0.2], [0.0])
    with pytest.raises((ValueError, RuntimeError)):
        update(AdamW(), one * 2, one * 2, one * 2, one * 2, [1, 1], [0.1], [0.0])


def test_a_copy_is_equal_to_the_bit_and_shares_nothing():
    odd = torch.tensor([0.0, -0.0, 1e-45, -1e-40, 3.4e38, -torch.inf, torch.inf, torch.nan, 1 / 3])
    tree = {"a": {"odd": odd, "scalar": torch.tensor(-0.0)}, "b": {}, "c": {"none": torch.zeros(0, 3)}}
    copy = copied(tree)
    assert digest(copy) == digest(tree)
    assert not storages(copy["a"].values()) & storages(tree["a"].values())
    assert copied({}) == {}
