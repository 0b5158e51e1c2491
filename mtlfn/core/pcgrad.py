"""PCGrad (Yu et al., NeurIPS 2020, Algorithm 1) in coefficient space.

Every projected gradient is a linear combination of the original ones, so the whole surgery happens on the T x T Gram
matrix: coefficients first (``weights``), then one weighted sum of rows. Rows are scaled by powers of two before
anything is multiplied, so that gradients of norm 1e-30 or 1e30 are treated right; there is no epsilon anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

Orders = Sequence[Sequence[int]]


@frozen(eq=False)
class Surgery:
    """The outcome on one Gram matrix.

    Attributes:
        weights: float64 [T, T]; row i holds the coefficients of task i's projected gradient in the given rows.
        negative: bool [T, T]; [i, j] says that the running gradient of i had a negative inner product with row j.
    """

    weights: np.ndarray
    negative: np.ndarray


def surgery(gram: np.ndarray, orders: Orders) -> Surgery:
    """PCGrad on a Gram matrix, float64 [T, T]; ``orders[i]`` lists the other tasks in the order in which i meets them.

    A row without length (zero on the diagonal) conflicts with nothing.
    """
    tasks = gram.shape[0]
    weights, negative = np.eye(tasks), np.zeros((tasks, tasks), dtype=bool)
    for i in range(tasks):
        for j in orders[i]:
            inner = float(weights[i] @ gram[:, j])
            if inner < 0 and gram[j, j] > 0:
                weights[i, j] -= inner / gram[j, j]
                negative[i, j] = True
    return Surgery(weights, negative)


def plain(gram: np.ndarray) -> Surgery:
    """No surgery: every task keeps its gradient; ``negative`` is read off the original rows."""
    return Surgery(np.eye(gram.shape[0]), (gram < 0) & ~np.eye(gram.shape[0], dtype=bool))


def weights(gram: Tensor, orders: Orders) -> Tensor:
    """Coefficients of the projected gradients, float64 [T, T], from the Gram matrix of the rows, any float [T, T].

    ``weights(J @ J.T, orders).sum(0) @ J`` is the update. Raises ValueError when the orders do not fit.
    """
    _check(gram.shape[0], orders)
    return torch.from_numpy(surgery(gram.double().cpu().numpy(), orders).weights)


def project(jacobian: Tensor, orders: Orders) -> Tensor:
    """The projected gradients, [T, P] in the dtype of ``jacobian``; PCGrad's update is their sum over T.

    Raises ValueError when the orders do not fit the number of rows.
    """
    _check(jacobian.shape[0], orders)
    scaled, exponents = scaled_rows([jacobian])
    scale = np.ldexp(1.0, exponents.cpu().numpy())
    coefficients = surgery(gram(scaled).cpu().numpy(), orders).weights * scale[:, None]
    return torch.from_numpy(coefficients).to(jacobian) @ scaled


def scaled_rows(pieces: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The pieces of a Jacobian, each [T, ...], side by side as [T, P], row t divided by 2 ** exponents[t] (exact but
    for subnormal numbers); and the exponents, int32 [T], which bring the largest entry of a row to [0.5, 1), 0 where a
    row is zero. A row that is not finite stays so, whatever its exponent.

    First side by side, then scaled: a few operations for all pieces, where a GPU waits for every launch.
    """
    rows = torch.cat([piece.reshape(len(piece), piece[0].numel()) for piece in pieces], 1)
    if not rows.numel():
        return rows, torch.zeros(len(rows), dtype=torch.int32, device=rows.device)
    limit = 126 if rows.dtype != torch.float64 else 1022
    exponents = torch.frexp(torch.linalg.vector_norm(rows, math.inf, 1)).exponent.clamp(-limit, limit)
    return rows.mul_(_reciprocal(exponents, rows.dtype)[:, None]), exponents


def _reciprocal(exponents: Tensor, dtype: torch.dtype) -> Tensor:
    """2 ** -exponents, exact, by setting the exponent bits (torch's ldexp goes through a float32 power)."""
    if dtype == torch.float64:
        return ((1023 - exponents.long()) << 52).view(torch.float64)
    return ((127 - exponents) << 23).view(torch.float32)


def gram(scaled: Tensor) -> Tensor:
    """Gram matrix of [T, P] rows, float64 [T, T]; every product and sum in float64."""
    wide = scaled.double()
    return wide @ wide.T


def _check(tasks: int, orders: Orders) -> None:
    if len(orders) != tasks or any(sorted(o) != [j for j in range(tasks) if j != i] for i, o in enumerate(orders)):
        raise ValueError(f"orders must list, for each of {tasks} tasks, the {tasks - 1} others once; found {orders!r}")
