"""Uncertainty weighting is the derivative of its objective, and equal weights are one share a configured task."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtlfn.core import weighting

losses = st.floats(1e-3, 1e3)
sigmas = st.floats(-5, 5)


def double(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


@given(losses, sigmas)
def test_the_objective_is_the_papers(loss, s):
    """With sigma = exp(s / 2): L / (2 sigma^2) + log sigma."""
    sigma = math.exp(s / 2)
    found = weighting.uncertainty_loss(double(loss), double(s)).item()
    assert found == pytest.approx(loss / (2 * sigma**2) + math.log(sigma), rel=1e-12, abs=1e-12)


@given(losses, sigmas)
def test_the_gradient_is_that_of_the_objective(loss, s):
    value, at = double(loss).requires_grad_(), double(s).requires_grad_()
    by_loss, by_sigma = torch.autograd.grad(weighting.uncertainty_loss(value, at), [value, at])
    with torch.no_grad():
        assert weighting.uncertainty_gradient(value, at).item() == pytest.approx(by_sigma.item(), rel=1e-12, abs=1e-12)
        assert weighting.uncertainty(at).item() == pytest.approx(by_loss.item(), rel=1e-12)
        assert weighting.uncertainty(at).item() == pytest.approx(0.5 * math.exp(-s), rel=1e-12)


@given(losses, st.floats(0.1, 3))
def test_s_is_at_rest_at_the_logarithm_of_the_loss_and_drawn_to_it(loss, distance):
    rest = math.log(loss)
    assert abs(weighting.uncertainty_gradient(double(loss), double(rest)).item()) < 1e-12
    assert weighting.uncertainty_gradient(double(loss), double(rest + distance)).item() > 0
    assert weighting.uncertainty_gradient(double(loss), double(rest - distance)).item() < 0


def test_each_task_has_its_own_weight():
    assert weighting.uncertainty(torch.tensor([0.0, math.log(4.0)])).tolist() == pytest.approx([0.5, 0.125])


@given(st.integers(1, 100))
def test_equal_weights_sum_to_one(tasks):
    assert weighting.equal(tasks) * tasks == pytest.approx(1)
