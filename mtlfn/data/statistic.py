"""What a primary metric is a sum of: a row of numbers a unit, so that the metric is a function of their sum alone.

F1 of any kind            hits, predicted, recalled, gold: precision is hits / predicted, recall is recalled / gold
F1 of sets                the same, where what is hit is what is recalled
F1 averaged over classes  for each class: hits, predicted, gold
means (MAP)               sum, number
Pearson's correlation     n, Σx, Σy, Σx², Σy², Σxy of gold x and predicted y, both centred and scaled
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

Array = NDArray[np.float64]
Row = Sequence[float]
SLACK = 1e-12  # of a count that is a sum of fractions


@frozen(eq=False)
class Statistic:
    """A family of metrics.

    Attributes:
        width: (number of labels) -> K, the columns of a row.
        value: sums of rows [..., K] -> the metric [...]; what is 0/0 is 0.
        furthest: how far apart two values can be.
        impossible: row [K] -> what no predictions give, in words; "" where nothing is.
    """

    width: Callable[[int], int]
    value: Callable[[Array], Array]
    impossible: Callable[[Array], str]
    furthest: float = 1.0


def ratio(part: Any, whole: Any) -> Array:
    """The quotient; 0 where it is 0/0."""
    part, whole = np.broadcast_arrays(np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64))
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole != 0)


def sets(gold: Collection[Any], predicted: Collection[Any]) -> Row:
    """Row of ``F1`` of two sets."""
    hits = len(set(gold) & set(predicted))
    return hits, len(predicted), hits, len(gold)


def _f1(sums: Array) -> Array:
    hits, predicted, recalled, gold = np.moveaxis(sums, -1, 0)
    precision, recall = ratio(hits, predicted), ratio(recalled, gold)
    return ratio(2 * precision * recall, precision + recall)


def _set_f1(sums: Array) -> Array:
    hits, predicted, _, gold = np.moveaxis(sums, -1, 0)
    return ratio(2 * hits, predicted + gold)


def empty_is_right(f1: Statistic) -> Statistic:
    """An F1 that is 1, not 0, where nothing is predicted and there is no gold."""

    def value(sums: Array) -> Array:
        predicted, gold = sums[..., 1], sums[..., 3]
        return np.where(predicted + gold > 0, f1.value(sums), 1.0)

    return evolve(f1, value=value)


def _beyond(parts: Sequence[tuple[str, str, float, float]]) -> str:
    for part_name, whole_name, part, whole in parts:
        if part > whole * (1 + SLACK):
            return f"{part:g} {part_name} of {whole:g} {whole_name}"
    return ""


def _impossible_f1(row: Array) -> str:
    if (row < 0).any():
        return "a count below zero"
    hits, predicted, recalled, gold = row
    return _beyond([("hits", "predictions", hits, predicted), ("found", "gold", recalled, gold)])


def _macro(sums: Array) -> Array:
    hits, predicted, gold = np.moveaxis(sums.reshape(*sums.shape[:-1], -1, 3), -1, 0)
    return ratio(ratio(2 * hits, predicted + gold).sum(-1), (predicted + gold > 0).sum(-1))


def _impossible_macro(row: Array) -> str:
    if (row < 0).any():
        return "a count below zero"
    triples = row.reshape(-1, 3)
    return _beyond(
        [
            part
            for hits, predicted, gold in triples
            for part in (("hits", "predictions", hits, predicted), ("hits", "gold labels", hits, gold))
        ]
    )


def _mean(sums: Array) -> Array:
    return ratio(sums[..., 0], sums[..., 1])


def _impossible_mean(row: Array) -> str:
    if (row < 0).any():
        return "a count below zero"
    fits = row[0] <= row[1] * (1 + SLACK)
    return "" if fits else f"a sum of precisions of {row[0]:g} over {row[1]:g} queries"


def _pearson(sums: Array) -> Array:
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread = [_spread(n, one, square) for one, square in ((x, xx), (y, yy))]
    # sqrt before the product, which would underflow
    return np.clip(ratio(xy - ratio(x * y, n), np.sqrt(spread[0]) * np.sqrt(spread[1])), -1.0, 1.0)


def _spread(n: Array, total: Array, squares: Array) -> Array:
    """Sum of squares about the mean; 0 where it is no more than the rounding of equal values."""
    spread = squares - ratio(total * total, n)
    return np.where(spread > 1e-13 * squares, spread, 0.0)


def _impossible_pearson(row: Array) -> str:
    n, x, y, xx, yy, xy = row
    if n < 1 or xx < 0 or yy < 0:
        return "counts or squares below zero"
    slack = 1e-9 * max(n * max(xx, yy), 1.0)
    bounded = x * x <= n * xx + slack and y * y <= n * yy + slack and xy * xy <= xx * yy + slack
    return "" if bounded else "sums that no numbers have"


def moments(gold: Sequence[float], predicted: Sequence[float]) -> list[Row]:
    """Rows of ``PEARSON``, one a pair: 1, x, y, x², y², xy.

    Both are centred and scaled over all pairs first, which changes no correlation and keeps squares of large or nearly
    equal numbers exact enough; a prediction that is not finite makes all of them nothing.
    """
    finite = all(map(math.isfinite, predicted))
    x, y = _standard(gold), _standard(predicted if finite else [0.0] * len(gold))
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1).tolist()


def _standard(column: Sequence[float]) -> Array:
    values = np.asarray(column, dtype=np.float64)
    values = values / (np.abs(values).max(initial=0.0) or 1.0)
    values = values - values.mean() if values.min() < values.max() else np.zeros_like(values)
    return values / (np.abs(values).max() or 1.0)


F1 = Statistic(lambda labels: 4, _f1, _impossible_f1)
SET_F1 = evolve(F1, value=_set_f1)
MACRO_F1 = Statistic(lambda labels: 3 * labels, _macro, _impossible_macro)
MEAN = Statistic(lambda labels: 2, _mean, _impossible_mean)
PEARSON = Statistic(lambda labels: 6, _pearson, _impossible_pearson, furthest=2.0)
