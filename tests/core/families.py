"""Inputs that several tests of the core share: Jacobians with the orders in which their rows meet, and bytes."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

DTYPES = (torch.float32, torch.float64)

small_integers = st.integers(-8, 8).map(float)
# Between 2^-6 and 2^6 in size: products stay normal numbers when rows are then scaled far up or down.
fractions_of_any_sign = st.one_of(st.just(0.0), st.floats(1 / 64, 64, width=32), st.floats(-64, -1 / 64, width=32))


def rows_like(entries: st.SearchStrategy[float], tasks: int, columns: int) -> st.SearchStrategy[list[list[float]]]:
    return st.lists(st.lists(entries, min_size=columns, max_size=columns), min_size=tasks, max_size=tasks)


@st.composite
def matrices(draw: st.DrawFn, min_tasks: int = 1, max_tasks: int = 5) -> Tensor:
    """float64 [T, P]: free rows, and rows made zero, duplicate, opposite or a mix of two others."""
    tasks, columns = draw(st.integers(min_tasks, max_tasks)), draw(st.integers(1, 6))
    rows = draw(rows_like(draw(st.sampled_from([small_integers, fractions_of_any_sign])), tasks, columns))
    matrix = torch.tensor(rows, dtype=torch.float64)
    for row in range(tasks):
        kind = draw(st.sampled_from(["free", "free", "free", "zero", "duplicate", "opposite", "mix"]))
        first, second = draw(st.integers(0, tasks - 1)), draw(st.integers(0, tasks - 1))
        if kind == "zero":
            matrix[row] = 0
        elif kind == "duplicate":
            matrix[row] = matrix[first]
        elif kind == "opposite":
            matrix[row] = -2 * matrix[first]
        elif kind == "mix" and (matrix[first] - matrix[second]).abs().max() < 64:
            matrix[row] = (matrix[first] - matrix[second]).float().double()
    return matrix


@st.composite
def orders_for(draw: st.DrawFn, tasks: int) -> list[list[int]]:
    return [draw(st.permutations([j for j in range(tasks) if j != i])) for i in range(tasks)]


@st.composite
def jacobians(draw: st.DrawFn, min_tasks: int = 1, max_tasks: int = 5) -> tuple[Tensor, list[list[int]]]:
    """A float64 matrix whose entries float32 holds, and orders."""
    matrix = draw(matrices(min_tasks, max_tasks))
    return matrix, draw(orders_for(len(matrix)))


def all_orders(tasks: int) -> list[list[list[int]]]:
    """Every way in which ``tasks`` rows can meet the others."""
    each = [list(itertools.permutations([j for j in range(tasks) if j != i])) for i in range(tasks)]
    return [[list(order) for order in choice] for choice in itertools.product(*each)]


def raw_bytes(tensor: Tensor) -> bytes:
    """The bytes of the values: tells NaN from NaN and -0.0 from 0.0."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def assert_bitwise(found: Tensor, expected: Tensor) -> None:
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert raw_bytes(found) == raw_bytes(expected), (found, expected)


def storages(tensors: Any) -> set[int]:
    """Addresses of the memory behind tensors; empty tensors have none."""
    return {t.untyped_storage().data_ptr() for t in tensors if t.numel()}
