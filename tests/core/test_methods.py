"""One suite over every way to make task gradients one: pure, finite, scaled as gradients are, equal to TorchJD."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchjd import aggregation

from mtlfn.core import combine, methods, pcgrad, torchjd_weightings
from mtlfn.core.gradients import TaskGradients
from mtlfn.core.keys import root

# Name -> TorchJD's own aggregator of a whole Jacobian, the oracle; None: not one of TorchJD's here.
ORACLES = {
    "sum": None,
    "pcgrad": None,
    "torchjd:UPGrad": aggregation.UPGrad,
    "torchjd:DualProj": aggregation.DualProj,
    "torchjd:AlignedMTL": aggregation.AlignedMTL,
    "torchjd:CAGrad:c=0.4": lambda: aggregation.CAGrad(c=0.4),
    "torchjd:FairGrad:alpha=2": lambda: aggregation.FairGrad(alpha=2.0),
    "torchjd:IMTLG": aggregation.IMTLG,
    "torchjd:MGDA": aggregation.MGDA,
    "torchjd:MGDA:epsilon=1e-5:max_iters=200": lambda: aggregation.MGDA(epsilon=1e-5, max_iters=200),
    "torchjd:Mean": aggregation.Mean,
    "torchjd:Random": None,
}
every = pytest.mark.parametrize("name", ORACLES)
TASKS = ("a", "b", "c", "d")


def jacobian(seed: int, tasks: int, width: int = 12, scale: float = 1.0) -> Tensor:
    generator = np.random.default_rng(seed)
    return torch.from_numpy(generator.standard_normal((tasks, width))) * scale


def grouped(rows: Tensor) -> tuple[combine.Group, methods.Measured]:
    """Gradients of one tensor that all tasks train, as a step has them."""
    tasks = TASKS[: len(rows)]
    taken = TaskGradients({}, {"shared": {"w": rows}})
    (group,) = combine.group(taken, {"shared": {"w": tasks}}, tasks)
    (measured,), _ = combine.measure([group])
    return group, measured


def update(name: str, rows: Tensor, seed: int = 0) -> Tensor:
    """What a method makes of gradients [t, P], by the way of a step: [P]."""
    group, measured = grouped(rows)
    taken = methods.method(name)(measured, combine.orders(root(seed), measured.tasks), root(seed))
    (made,) = combine.update([group], [combine.row_weights(taken, measured)], {("shared", "w"): rows[0]}).values()
    return made


@every
@pytest.mark.parametrize("tasks", [2, 3, 4])
def test_equals_the_oracle_on_random_jacobians(name, tasks):
    for seed in range(12):
        rows = jacobian(seed, tasks)
        if name == "sum":
            expected = rows.sum(0)
        elif name == "pcgrad":
            orders = combine.orders(root(0), TASKS[:tasks])
            at = {task: i for i, task in enumerate(TASKS)}
            expected = pcgrad.project(rows, [[at[j] for j in orders[t]] for t in TASKS[:tasks]]).sum(0)
        elif (oracle := ORACLES[name]) is not None:
            size = rows.square().sum(1).mean().sqrt()
            expected = tasks * size * oracle()(rows / size)
        else:
            return
        # Iterative solvers stop at a tolerance of their own.
        rough = "CAGrad" in name or "FairGrad" in name
        torch.testing.assert_close(
            update(name, rows), expected, rtol=1e-3 if rough else 1e-6, atol=1e-3 if rough else 1e-8
        )


@every
def test_is_pure_and_depends_on_the_key_only_where_it_draws(name):
    rows = jacobian(3, 4, width=2)  # so many in a plane that each meets several it conflicts with
    before, state = rows.clone(), torch.get_rng_state()
    first, again = update(name, rows, 1), update(name, rows, 1)
    assert first.equal(again)
    assert rows.equal(before)
    assert torch.get_rng_state().equal(state)
    draws = name in ("torchjd:Random", "pcgrad")
    assert any(not update(name, rows, seed).equal(first) for seed in range(2, 12)) == draws


@every
def test_a_task_alone_keeps_its_gradient(name):
    rows = jacobian(5, 1)
    assert update(name, rows).equal(rows[0])


@every
@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_gradients_of_any_size_give_a_finite_update(name, scale):
    for rows in (
        jacobian(1, 3, scale=scale),
        jacobian(1, 3) * torch.tensor([[1.0], [scale], [1.0]]),  # one task of another size
        torch.cat([jacobian(2, 1, scale=scale)] * 3),  # three times the same
    ):
        assert update(name, rows).isfinite().all()


@every
@pytest.mark.parametrize("scale", [2.0**-40, 1e-6, 1e-3, 1e3, 2.0**40])
def test_an_update_is_as_much_larger_as_the_gradients_are(name, scale):
    for seed in range(4):
        rows = jacobian(seed, 4, width=6)
        rows[2] *= seed / 3  # one of them zero
        rough = (
            1e-3 if "MGDA" in name or "CAGrad" in name or "FairGrad" in name else 1e-6
        )  # solvers stop at a tolerance
        torch.testing.assert_close(update(name, scale * rows) / scale, update(name, rows), rtol=rough, atol=rough)


def test_every_oracle_is_of_a_method_and_every_method_has_one():
    assert {name.split(":")[1] for name in ORACLES if ":" in name} == set(torchjd_weightings._weightings())
    assert {name for name in ORACLES if ":" not in name} == set(methods.METHODS)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 4), st.integers(0, 2**16), st.sampled_from(["torchjd:UPGrad", "torchjd:DualProj"]))
def test_no_task_conflicts_with_the_update_of_those_that_promise_it(tasks, seed, name):
    """UPGrad and DualProj: no negative inner product with any gradient, but for what their solver regularises by."""
    rows = jacobian(seed, tasks, width=6)
    assert (rows @ update(name, rows)).min() > -1e-3 * float((rows @ rows.T).trace())


@every
def test_conflicts_are_counted_for_every_method(name):
    rows = torch.tensor([[1.0, 0.0], [-1.0, 1.0]], dtype=torch.float64)
    _, measured = grouped(rows)
    taken = methods.method(name)(measured, combine.orders(root(0), measured.tasks), root(0))
    assert taken.negative.tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("pcgrd", "expected pcgrad, sum or torchjd:NAME"),
        ("torchjd", "expected pcgrad, sum or torchjd:NAME"),
        ("torchjd:", "expected pcgrad, sum or torchjd:NAME"),
        ("torchjd:PCGrad", "is here without TorchJD: pcgrad"),
        ("torchjd:Sum", "is here without TorchJD: sum"),
        ("torchjd:GradVac", "expected one of AlignedMTL, CAGrad,"),  # it has a memory
        ("torchjd:SDMGrad", "no weighting 'SDMGrad' that could be used"),
        ("torchjd:Krum", "no weighting 'Krum' that could be used"),  # it wants three tasks everywhere
        ("torchjd:Constant", "no weighting 'Constant' that could be used"),
        ("torchjd:upgrad", "no weighting 'upgrad'"),
        ("torchjd:CAGrad", "CAGrad needs c: torchjd:CAGrad:c=NUMBER"),
        ("torchjd:CAGrad:c=x", "CAGrad: c is 'x', expected a finite number"),
        ("torchjd:CAGrad:c=nan", "CAGrad: c is 'nan', expected a finite number"),
        ("torchjd:FairGrad:alpha=-inf", "FairGrad: alpha is '-inf', expected a finite number"),
        (f"torchjd:CAGrad:c=1{'0' * 400}", "expected a finite number"),
        ("torchjd:CAGrad:c=1e300", "CAGrad refuses c=1e300: "),  # its solver comes to nothing
        ("torchjd:CAGrad:c=-1", "CAGrad refuses c=-1"),
        ("torchjd:CAGrad:d=1", "CAGrad takes no 'd'; expected c, norm_eps"),
        ("torchjd:IMTLG:c=1", "IMTLG takes no 'c'; expected no argument"),
    ],
)
def test_another_name_is_refused_with_what_was_expected(name, told):
    with pytest.raises(ValueError, match=re.escape(told)) as raised:
        methods.method(name)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("failure", ["SolverError", "ValueError"])
def test_a_solver_that_comes_to_nothing_gives_no_update(monkeypatch, failure):
    """Weights that are not finite: the step counts as one that was not, as any such step."""
    from cvxpy import error

    taken = methods.method("torchjd:CAGrad:c=0.4")
    _, measured = grouped(jacobian(0, 3))

    def fail(*_: object) -> None:
        raise {"SolverError": error.SolverError, "ValueError": ValueError}[failure]("no solution")

    monkeypatch.setattr(torchjd_weightings, "_weights", fail)
    surgery = taken(measured, combine.orders(root(0), measured.tasks), root(0))
    assert np.isnan(combine.row_weights(surgery, measured)).all()


def test_what_is_not_installed_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchjd", None)
    with pytest.raises(ValueError, match=r'TorchJD is not installed: pip install "mtlfn\[methods\]"'):
        methods.method("torchjd:UPGrad")
