"""PCGrad is the paper's algorithm at every scale: properties, exact fractions and TorchJD say so independently."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchjd.aggregation import PCGrad

from mtlfn.core import pcgrad
from tests.core.families import DTYPES, all_orders, assert_bitwise, jacobians, matrices, orders_for, raw_bytes

TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}
dtypes = st.sampled_from(DTYPES)


def lengths(rows: Tensor) -> Tensor:
    return rows.double().norm(dim=1)


def assert_rows_close(found: Tensor, expected: Tensor, sizes: Tensor, dtype: torch.dtype) -> None:
    """Row i within the tolerance of the dtype, relative to the length of task i's own gradient."""
    error = lengths(found.double() - expected.double())
    assert bool((error <= TOLERANCE[dtype] * sizes.double()).all()), (found, expected)


def exact(rows: list[list[float]], orders: list[list[int]]) -> tuple[list[list[Fraction]], list[dict[int, Fraction]]]:
    """Algorithm 1 of Yu et al. 2020 in exact arithmetic: projected gradients, and the inner products met on the way."""
    gradients = [[Fraction(v) for v in row] for row in rows]
    projected, met = [], []
    for i, start in enumerate(gradients):
        running, inners = list(start), {}
        for j in orders[i]:
            other = gradients[j]
            inner = sum((a * b for a, b in zip(running, other, strict=True)), Fraction(0))
            inners[j] = inner
            if inner < 0:
                share = inner / sum(b * b for b in other)
                running = [a - share * b for a, b in zip(running, other, strict=True)]
        projected.append(running)
        met.append(inners)
    return projected, met


@given(jacobians(), dtypes)
def test_equals_exact_fractions(case, dtype):
    jacobian, orders = case[0].to(dtype), case[1]
    expected, _ = exact(jacobian.tolist(), orders)
    expected = torch.tensor([[float(v) for v in row] for row in expected], dtype=torch.float64).view(jacobian.shape)
    found = pcgrad.project(jacobian, orders)
    assert found.dtype == dtype
    assert_rows_close(found, expected, lengths(jacobian), dtype)


@given(jacobians(min_tasks=2))
def test_negative_flags_are_those_of_the_running_gradient(case):
    jacobian, orders = case
    _, met = exact(jacobian.tolist(), orders)
    surgery = pcgrad.surgery((jacobian @ jacobian.T).numpy(), orders)
    size = lengths(jacobian)
    assert not surgery.negative.diagonal().any()
    for i, inners in enumerate(met):
        for j, inner in inners.items():
            if abs(float(inner)) > 1e-9 * float(size[i] * size[j]):  # closer to zero, rounding decides
                assert surgery.negative[i, j] == (inner < 0)


@given(matrices(max_tasks=4), st.integers(0, 2**31))
def test_equals_torchjd_for_the_orders_it_draws(jacobian, seed):
    tasks = len(jacobian)
    torch.manual_seed(seed)
    theirs = PCGrad()(jacobian)
    torch.manual_seed(seed)
    orders = [[j for j in torch.randperm(tasks).tolist() if j != i] for i in range(tasks)]
    ours = pcgrad.project(jacobian, orders).sum(0)
    assert float((ours - theirs).norm()) <= 1e-12 * float(lengths(jacobian).sum())


def test_every_result_of_torchjd_is_one_of_ours_and_the_order_matters():
    jacobian = torch.tensor([[1.0, 0, 0], [-1, 1, 0], [-1, -0.5, 1]], dtype=torch.float64)
    ours = torch.stack([pcgrad.project(jacobian, orders).sum(0) for orders in all_orders(3)])
    seen = set()
    for seed in range(60):
        torch.manual_seed(seed)
        distance = (ours - PCGrad()(jacobian)).norm(dim=1)
        assert float(distance.min()) < 1e-12
        seen.add(tuple(ours[int(distance.argmin())].mul(1e9).round().tolist()))
    assert len(seen) == 8  # 2^3 orders, no two of which agree here


@given(jacobians(), dtypes)
def test_without_conflict_nothing_changes(case, dtype):
    jacobian, orders = case[0].abs().to(dtype), case[1]
    assert torch.equal(pcgrad.project(jacobian, orders), jacobian)


@given(jacobians(min_tasks=2), dtypes)
def test_the_task_met_last_is_not_harmed(case, dtype):
    """For two tasks: neither projected gradient has a negative inner product with the other's original one."""
    jacobian, orders = case[0].to(dtype), case[1]
    projected, size = pcgrad.project(jacobian, orders).double(), lengths(jacobian)
    for i, order in enumerate(orders):
        inner = float(projected[i] @ jacobian[order[-1]].double())
        assert inner >= -TOLERANCE[dtype] * float(size[i] * size[order[-1]])


@given(matrices(min_tasks=2, max_tasks=2), dtypes)
def test_two_tasks_end_without_conflict(jacobian, dtype):
    jacobian = jacobian.to(dtype)
    projected, size = pcgrad.project(jacobian, [[1], [0]]).double(), lengths(jacobian)
    for i, j in ((0, 1), (1, 0)):
        assert float(projected[i] @ jacobian[j].double()) >= -TOLERANCE[dtype] * float(size[0] * size[1])


@given(jacobians(), dtypes)
def test_norms_never_grow(case, dtype):
    jacobian, orders = case[0].to(dtype), case[1]
    after, before = lengths(pcgrad.project(jacobian, orders)), lengths(jacobian)
    assert bool((after <= before * (1 + TOLERANCE[dtype])).all())


@given(jacobians(), dtypes, st.data())
def test_a_row_scaled_by_a_power_of_two_scales_only_its_own_projection_and_exactly(case, dtype, data):
    jacobian, orders = case[0].to(dtype), case[1]
    # Residues of rounding (float32: 2^-24 of an entry) must stay normal numbers for the comparison to be exact.
    limit = 60 if dtype == torch.float32 else 900
    powers = [data.draw(st.integers(-limit, limit)) for _ in range(len(jacobian))]
    scale = torch.tensor([2.0**p for p in powers], dtype=dtype).view(-1, 1)
    assert torch.equal(pcgrad.project(jacobian * scale, orders), pcgrad.project(jacobian, orders) * scale)


@given(jacobians(), dtypes, st.floats(-30, 30), st.data())
def test_scaling_by_anything_scales_the_result(case, dtype, exponent, data):
    """All rows by c: the update by c. One row by c: its own projection by c, the others not at all."""
    jacobian, orders = case[0].to(dtype), case[1]
    c, chosen = 10.0**exponent, data.draw(st.integers(0, len(jacobian) - 1))
    for factors in (torch.full((len(jacobian), 1), c, dtype=torch.float64), torch.ones(len(jacobian), 1).double()):
        factors[chosen] = c
        scaled = (jacobian.double() * factors).to(dtype)
        expected = pcgrad.project(jacobian, orders).double() * factors
        assert_rows_close(pcgrad.project(scaled, orders), expected, lengths(scaled), dtype)


@given(jacobians(), st.randoms(use_true_random=False), dtypes)
def test_permuting_the_tasks_permutes_the_result(case, random, dtype):
    jacobian, orders = case[0].to(dtype), case[1]
    permutation = list(range(len(jacobian)))
    random.shuffle(permutation)  # row a of the new matrix is row permutation[a] of the old one
    new = {old: a for a, old in enumerate(permutation)}
    permuted = pcgrad.project(jacobian[permutation], [[new[j] for j in orders[old]] for old in permutation])
    assert_rows_close(
        permuted, pcgrad.project(jacobian, orders)[permutation], lengths(jacobian)[permutation], torch.float32
    )


@given(jacobians(), st.integers(0, 2**31))
def test_rotating_the_gradients_rotates_the_result(case, seed):
    jacobian, orders = case
    random = torch.randn(jacobian.shape[1], jacobian.shape[1], generator=torch.Generator().manual_seed(seed))
    rotation = torch.linalg.qr(random.double())[0]
    found = pcgrad.project(jacobian @ rotation, orders)
    assert_rows_close(found, pcgrad.project(jacobian, orders) @ rotation, 10 * lengths(jacobian), torch.float64)


@given(jacobians(), dtypes, st.data())
def test_a_zero_row_is_inert(case, dtype, data):
    jacobian, orders = case[0].to(dtype), case[1]
    at = data.draw(st.integers(0, len(jacobian)))
    bigger = torch.cat([jacobian[:at], torch.zeros_like(jacobian[:1]), jacobian[at:]])
    shifted = [[j + (j >= at) for j in order] for order in orders]
    for order in shifted:
        order.insert(data.draw(st.integers(0, len(order))), at)
    shifted.insert(at, data.draw(st.permutations([j for j in range(len(bigger)) if j != at])))
    found = pcgrad.project(bigger, shifted)
    assert not found[at].any()
    others = torch.cat([found[:at], found[at + 1 :]])
    assert_rows_close(others, pcgrad.project(jacobian, orders), lengths(jacobian), dtype)
    coefficients = pcgrad.weights(bigger @ bigger.T, shifted)
    assert coefficients[at].tolist() == coefficients[:, at].tolist() == [float(j == at) for j in range(len(bigger))]


@given(matrices(max_tasks=1), dtypes)
def test_one_task_is_the_identity(jacobian, dtype):
    jacobian = jacobian.to(dtype)
    assert torch.equal(pcgrad.project(jacobian, [[]]), jacobian)
    assert pcgrad.weights(jacobian @ jacobian.T, [[]]).tolist() == [[1.0]]


@given(jacobians(), dtypes)
def test_projections_are_the_weights_times_the_rows(case, dtype):
    jacobian, orders = case[0].to(dtype), case[1]
    coefficients = pcgrad.weights(jacobian.double() @ jacobian.double().T, orders)
    assert coefficients.dtype == torch.float64
    found = pcgrad.project(jacobian, orders)
    # Coefficients are bounded by ratios of lengths; their rounding shows relative to the largest row that enters.
    entering = (coefficients.abs() * lengths(jacobian)).sum(1)
    assert_rows_close(found, coefficients @ jacobian.double(), entering, dtype)
    # In the row space: nothing is left after projection onto it.
    basis = torch.linalg.svd(jacobian.double(), full_matrices=False)
    inside = basis.Vh[basis.S.div(basis.S.max()).nan_to_num() > 1e-10]
    assert_rows_close(found.double() @ inside.T @ inside, found, entering, dtype)


@given(jacobians(), dtypes)
def test_inputs_are_left_alone(case, dtype):
    jacobian, orders = case[0].to(dtype), case[1]
    gram = jacobian @ jacobian.T
    before = raw_bytes(jacobian), raw_bytes(gram), [list(order) for order in orders]
    result, coefficients = pcgrad.project(jacobian, orders), pcgrad.weights(gram, orders)
    assert result.untyped_storage().data_ptr() != jacobian.untyped_storage().data_ptr()
    assert coefficients.untyped_storage().data_ptr() != gram.untyped_storage().data_ptr()
    result.zero_()
    coefficients.zero_()
    assert before == (raw_bytes(jacobian), raw_bytes(gram), orders)


BAD_ORDERS = {
    "too few tasks": [[1, 2], [0, 2]],
    "too many tasks": [[1, 2], [0, 2], [0, 1], [0, 1]],
    "itself": [[0, 1], [0, 2], [0, 1]],
    "one left out": [[1], [0, 2], [0, 1]],
    "one twice": [[1, 1], [0, 2], [0, 1]],
    "itself as well": [[1, 2, 0], [0, 2], [0, 1]],
    "out of range": [[1, 3], [0, 2], [0, 1]],
    "negative index": [[1, -1], [0, 2], [0, 1]],
}


@pytest.mark.parametrize("orders", BAD_ORDERS.values(), ids=BAD_ORDERS.keys())
def test_orders_that_do_not_fit_are_refused(orders):
    jacobian = torch.eye(3)
    with pytest.raises(ValueError, match="each of 3 tasks"):
        pcgrad.project(jacobian, orders)
    with pytest.raises(ValueError, match="each of 3 tasks"):
        pcgrad.weights(jacobian, orders)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("c", [1, 1e-2, 1e-4, 1e-5, 1e-8, 1e-15, 1e-23, 1e-30, 1e15, 1e19, 1e22, 1e30])
def test_no_scale_hides_a_conflict(c, dtype):
    """Where an epsilon or a Gram matrix in float32 makes other implementations skip the surgery."""
    update = pcgrad.project(torch.tensor([[1.0, 0], [-1, 1]], dtype=dtype) * c, [[1], [0]]).sum(0)
    torch.testing.assert_close(update.double() / c, torch.tensor([0.5, 1.5]).double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rows_of_very_different_size_meet_as_equals(dtype):
    scale = torch.tensor([[1e-30], [1e30], [1e10]], dtype=dtype)
    jacobian = torch.tensor([[1.0, 0, 0], [-1, 1, 0], [-1, -0.5, 1]], dtype=dtype)
    for orders in all_orders(3):
        expected = pcgrad.project(jacobian, orders).double() * scale.double()
        found = pcgrad.project(jacobian * scale, orders)
        assert_rows_close(found, expected, lengths(jacobian * scale), dtype)


@pytest.mark.parametrize("tasks", [2, 3, 4])
def test_duplicate_rows_are_unchanged_and_opposite_rows_cancel(tasks):
    row = torch.tensor([[3.0, -1.0, 0.25]])
    orders = [[j for j in range(tasks) if j != i] for i in range(tasks)]
    duplicates = row.expand(tasks, 3).contiguous()
    assert torch.equal(pcgrad.project(duplicates, orders), duplicates)
    opposite = torch.cat([row, -7 * row.expand(tasks - 1, 3)])
    found = pcgrad.project(opposite, orders)
    assert_rows_close(found, torch.zeros_like(found), lengths(opposite), torch.float32)


@given(jacobians(), dtypes, st.integers(1, 3))
def test_columns_that_no_task_moves_change_nothing(case, dtype, columns):
    jacobian, orders = case[0].to(dtype), case[1]
    wider = torch.cat([jacobian, torch.zeros(len(jacobian), columns, dtype=dtype)], 1)
    found = pcgrad.project(wider, orders)
    assert not found[:, jacobian.shape[1] :].any()
    assert_rows_close(found[:, : jacobian.shape[1]], pcgrad.project(jacobian, orders), lengths(jacobian), dtype)


@pytest.mark.parametrize("tasks", [1, 2, 3])
def test_a_jacobian_without_columns_stays_without(tasks):
    orders = [[j for j in range(tasks) if j != i] for i in range(tasks)]
    assert pcgrad.project(torch.zeros(tasks, 0), orders).shape == (tasks, 0)


@given(jacobians(), dtypes, st.data())
def test_pieces_are_scaled_as_one_row_by_exact_powers_of_two(case, dtype, data):
    jacobian = case[0].to(dtype)
    cuts = sorted(data.draw(st.lists(st.integers(0, jacobian.shape[1]), max_size=3)))
    sizes = [b - a for a, b in itertools.pairwise([0, *cuts, jacobian.shape[1]])]
    pieces = [p.view(len(jacobian), -1, 1) if p.numel() else p for p in jacobian.split(sizes, 1)]
    scaled, exponents = pcgrad.scaled_rows(pieces)
    largest = scaled.abs().amax(1)
    assert exponents.dtype == torch.int32
    assert bool((((largest >= 0.5) & (largest < 1)) | ((largest == 0) & (exponents == 0))).all())
    assert_bitwise(torch.ldexp(scaled.double(), exponents.view(-1, 1)).to(dtype), jacobian)
    wide = scaled.double()
    assert_bitwise(pcgrad.gram(scaled), wide @ wide.T)


def test_the_gram_matrix_is_summed_in_float64():
    row = torch.tensor([[1.0, 2.0**-20, 2.0**-20]])
    assert pcgrad.gram(row).item() == 1 + 2.0**-39  # float32 would give 1


@given(matrices(min_tasks=2), st.data())
def test_plain_keeps_every_gradient_and_reads_conflicts_off_the_originals(jacobian, data):
    gram = (jacobian @ jacobian.T).numpy()
    surgery = pcgrad.plain(gram)
    assert np.array_equal(surgery.weights, np.eye(len(gram)))
    for i, j in itertools.product(range(len(gram)), repeat=2):
        assert surgery.negative[i, j] == (i != j and gram[i, j] < 0)


@given(st.integers(2, 5), st.data())
def test_weights_of_a_gram_matrix_in_float32_are_those_of_its_float64_values(tasks, data):
    jacobian, orders = data.draw(matrices(tasks, tasks)), data.draw(orders_for(tasks))
    gram = (jacobian @ jacobian.T).float()
    assert_bitwise(pcgrad.weights(gram, orders), pcgrad.weights(gram.double(), orders))


def test_a_zero_on_the_diagonal_conflicts_with_nothing():
    """A Gram matrix in float32 can have lost the square of a short row and kept its product with a long one."""
    gram = torch.tensor([[1.0, -(2.0**-100)], [-(2.0**-100), 0.0]])
    assert pcgrad.weights(gram, [[1], [0]]).tolist() == [[1.0, 0.0], [2.0**-100, 1.0]]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("inner", [1e-3, 1e-6, 1e-12])
def test_a_slight_agreement_is_no_conflict_and_a_slight_conflict_is_one(inner, dtype):
    agreeing = torch.tensor([[1.0, 0.0], [inner, 1.0]], dtype=dtype)
    assert torch.equal(pcgrad.project(agreeing, [[1], [0]]), agreeing)
    opposed = torch.tensor([[1.0, 0.0], [-inner, 1.0]], dtype=dtype)
    assert pcgrad.project(opposed, [[1], [0]])[1].tolist() == pytest.approx([0.0, 1.0], abs=1e-20)
