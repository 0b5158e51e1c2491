"""p-values of a difference against a margin, by counting replicates, and Holm's correction.

A p-value is (replicates on the side of the null hypothesis + 1) / (replicates + 1): never 0, and valid as a Monte Carlo
test (Davison & Hinkley 1997, ch. 4).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def p_below(replicates: NDArray[np.float64], bound: float) -> float:
    """One-sided, that the difference is below the bound."""
    return (int((replicates >= bound).sum()) + 1) / (len(replicates) + 1)


def p_above(replicates: NDArray[np.float64], bound: float) -> float:
    """One-sided, that the difference is above the bound."""
    return (int((replicates <= bound).sum()) + 1) / (len(replicates) + 1)


def p_within(replicates: NDArray[np.float64], margin: float) -> float:
    """That the difference lies between -margin and +margin: the larger of two one-sided p-values (Schuirmann 1987)."""
    return max(p_above(replicates, -margin), p_below(replicates, margin))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given: at most alpha wrong rejections a family (Holm 1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted
