"""Weight gradients split by task are those of each task alone; dropout masks are functions of keys and nothing else."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.func import functional_call

from mtlfn.core.keys import fold
from mtlfn.models import split
from mtlfn.models.split import Blocks, KeyedDropout, TaskLinear, install
from tests.tiny import KEY


def linear(inputs: int, outputs: int) -> TaskLinear:
    return install(torch.nn.Linear(inputs, outputs, bias=False, dtype=torch.float64), TaskLinear)


def owned(bounds: list[int]) -> torch.Tensor:
    """Whose each slot is."""
    sizes = torch.tensor(bounds).diff()
    return torch.eye(len(sizes), dtype=torch.bool).repeat_interleave(sizes, 0)


@pytest.mark.parametrize("outputs", [4, 6])
@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("bounds", [[0, 7], [0, 3, 7], [0, 0, 2, 7], [0, 2, 5, 7, 7]])
def test_each_row_of_the_weight_gradient_is_that_of_its_task_alone(bounds, at_once, outputs, monkeypatch):
    monkeypatch.setattr(split, "pairwise", pairwise if not at_once else None)  # which only a product a task asks for
    tasks, module = len(bounds) - 1, linear(5, outputs)
    x = torch.randn(1, 7, 5, dtype=torch.float64, requires_grad=True)
    value, target = torch.randn(outputs, 5, dtype=torch.float64), torch.randn(1, 7, outputs, dtype=torch.float64)
    weight = value.expand(tasks, outputs, 5).requires_grad_()
    buffers = {"bounds": torch.tensor(bounds), "own": owned(bounds if at_once else [0])}
    out = functional_call(module, {"weight": weight, **buffers}, (x,))
    rows, dx = torch.autograd.grad((out * target).square().sum(), [weight, x])
    assert rows.shape == (tasks, outputs, 5)
    assert torch.equal(out, x @ value.T)

    for i, (a, b) in enumerate(pairwise(bounds)):
        own = value.clone().requires_grad_()
        (expected,) = torch.autograd.grad((x[:, a:b] @ own.T * target[:, a:b]).square().sum(), [own])
        torch.testing.assert_close(rows[i], expected, rtol=1e-12, atol=1e-12)
    whole = value.clone().requires_grad_()
    expected = torch.autograd.grad((x @ whole.T * target).square().sum(), [whole, x])
    torch.testing.assert_close(rows.sum(0), expected[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(dx, expected[1], rtol=1e-12, atol=1e-12)


def test_the_gradients_are_the_slopes_of_the_function():
    """Central differences in float64: the weight's over all tasks together, and the input's."""
    module, bounds = linear(3, 2), torch.tensor([0, 2, 4])
    x, value = torch.randn(1, 4, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)

    def loss(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return functional_call(module, {"weight": weight, "bounds": bounds}, (x,)).sin().sum()

    def slope(up: torch.Tensor, down: torch.Tensor) -> float:
        return float((up - down).detach()) / 2e-6

    weight, free = value.expand(2, 2, 3).requires_grad_(), x.clone().requires_grad_()
    rows, dx = torch.autograd.grad(loss(weight, free), [weight, free])
    for at in range(value.numel()):
        nudge = torch.zeros(6, dtype=torch.float64)
        nudge[at] = 1e-6
        up, down = ((value + s * nudge.view(2, 3)).expand(2, 2, 3) for s in (1, -1))
        assert rows.sum(0).flatten()[at] == pytest.approx(slope(loss(up, x), loss(down, x)), abs=1e-8)
    for at in range(x.numel()):
        nudge = torch.zeros(12, dtype=torch.float64)
        nudge[at] = 1e-6
        up, down = (x + s * nudge.view(1, 4, 3) for s in (1, -1))
        assert dx.flatten()[at] == pytest.approx(slope(loss(weight, up), loss(weight, down)), abs=1e-8)


def test_a_plain_weight_goes_the_plain_way():
    module = linear(3, 2)
    x, weight = torch.randn(1, 4, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    assert torch.equal(functional_call(module, {"weight": weight}, (x,)), torch.nn.functional.linear(x, weight))


def test_no_gradient_is_made_for_an_input_that_needs_none():
    module, x = linear(3, 2), torch.randn(1, 4, 3, dtype=torch.float64)
    weight = torch.randn(2, 3, dtype=torch.float64).expand(2, 2, 3).requires_grad_()
    out = functional_call(module, {"weight": weight, "bounds": torch.tensor([0, 1, 4])}, (x,))
    assert torch.autograd.grad(out.sum(), [weight])[0].shape == (2, 2, 3)


@pytest.mark.parametrize("dim", [0, 1])
def test_blocks_pass_each_block_the_rows_of_its_tasks(dim):
    """Four tasks; blocks of all of them, of a stretch, of two apart, of one (without a leading dimension)."""
    members = [[0, 1, 2, 3], [1, 2], [0, 3], [2]]
    sizes = [3, 2, 1, 2]
    values = [torch.randn(n, 5) if dim == 0 else torch.randn(5, n) for n in sizes]
    leaves = [
        (v if len(m) == 1 else v.expand(len(m), *v.shape)).detach().requires_grad_()
        for v, m in zip(values, members, strict=True)
    ]
    whole = Blocks.apply(4, dim, members, *leaves)
    plain = torch.cat(values, dim)
    assert whole.shape == (4, *plain.shape)
    assert all(torch.equal(whole[i], plain) for i in range(4))

    direction = torch.randn(whole.shape)
    found = torch.autograd.grad((whole * direction).sum(), leaves)
    for block, (leaf, tasks) in enumerate(zip(leaves, members, strict=True)):
        rows = []
        for task in tasks:
            own = [v.clone().requires_grad_() for v in values]
            (gradient,) = torch.autograd.grad((torch.cat(own, dim) * direction[task]).sum(), own[block])
            rows.append(gradient)
        expected = rows[0] if len(tasks) == 1 else torch.stack(rows)
        assert found[block].shape == leaf.shape
        assert torch.equal(found[block], expected)


def test_a_frozen_block_gets_nothing_and_the_others_stay_right():
    frozen, free = torch.randn(2, 3), torch.randn(1, 3).expand(2, 1, 3).requires_grad_()
    whole = Blocks.apply(2, 0, [[], [0, 1]], frozen, free)
    direction = torch.randn(whole.shape)
    (found,) = torch.autograd.grad((whole * direction).sum(), [free])
    assert torch.equal(found, direction[:, 2:])


def drop(site: str, rate: float, tasks: list[tuple[str, int]], x: torch.Tensor) -> torch.Tensor:
    """KeyedDropout over rows of (key, number of rows)."""
    bounds = torch.tensor([0, *(n for _, n in tasks)]).cumsum(0)
    keys = torch.tensor([list(bytes.fromhex(key)) for key, _ in tasks], dtype=torch.uint8).view(-1, 32)
    return functional_call(KeyedDropout(site, rate), {"keys": keys, "bounds": bounds}, (x,))


ONES = torch.ones(1, 40, 16)
FIRST, SECOND = fold(KEY, "dropout", "a"), fold(KEY, "dropout", "b")


def test_a_task_draws_the_same_mask_alone_and_with_others():
    together = drop("q", 0.3, [(FIRST, 24), (SECOND, 16)], ONES)
    assert torch.equal(together[:, :24], drop("q", 0.3, [(FIRST, 24)], ONES[:, :24]))
    assert torch.equal(together[:, 24:], drop("q", 0.3, [(SECOND, 16)], ONES[:, 24:]))
    assert torch.equal(together, drop("q", 0.3, [(FIRST, 24), (SECOND, 16)], ONES))


def test_masks_differ_by_site_task_and_step():
    masks = [
        drop("q", 0.3, [(FIRST, 40)], ONES),
        drop("v", 0.3, [(FIRST, 40)], ONES),
        drop("q", 0.3, [(SECOND, 40)], ONES),
        drop("q", 0.3, [(fold(fold(KEY, "step", 1), "dropout", "a"), 40)], ONES),
    ]
    for i, mask in enumerate(masks):
        for other in masks[:i]:
            # Independent masks agree at 0.3^2 + 0.7^2 = 58 % of the places.
            assert 0.5 < (mask == other).double().mean() < 0.66


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
def test_the_rate_is_met_and_what_stays_is_scaled(rate):
    dropped = drop("q", rate, [(FIRST, 2000)], torch.full((1, 2000, 50), 2.0))
    kept = dropped[dropped != 0]
    assert 1 - len(kept) / dropped.numel() == pytest.approx(rate, abs=5 * (rate * (1 - rate) / dropped.numel()) ** 0.5)
    torch.testing.assert_close(kept, torch.full_like(kept, 2 / (1 - rate)), rtol=1e-4, atol=0)


def test_without_keys_or_rate_nothing_is_dropped():
    x = torch.randn(1, 6, 4)
    assert torch.equal(KeyedDropout("q", 0.5)(x), x)
    assert torch.equal(drop("q", 0.0, [(FIRST, 6)], x), x)


def test_the_gradient_goes_through_the_same_mask_and_recomputation_draws_it_again():
    from torch.utils.checkpoint import checkpoint

    x = torch.randn(1, 12, 4, requires_grad=True)
    plain = drop("q", 0.4, [(FIRST, 12)], x)
    (expected,) = torch.autograd.grad(plain.square().sum(), x)
    again = checkpoint(
        lambda x: drop("q", 0.4, [(FIRST, 12)], x).square(), x, use_reentrant=False, preserve_rng_state=False
    )
    assert torch.equal(torch.autograd.grad(again.sum(), x)[0], expected)
    assert torch.equal(again.detach(), plain.detach().square())
    assert torch.equal((plain == 0), (expected == 0))
