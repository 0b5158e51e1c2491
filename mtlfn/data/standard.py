"""Mean and standard deviation of values, the same bits on every machine."""

from __future__ import annotations

import math
from collections.abc import Sequence


def centre(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation.

    Sums are rounded once (fsum), so that every machine gets the same bits: labels, and with them the data's digest, are
    made of these numbers. A factor keeps the squares of extreme values in range.
    """
    n, scale = len(values), max(map(abs, values)) or 1.0
    mean = math.fsum(v / scale for v in values) / n
    variance = math.fsum((v / scale - mean) * (v / scale - mean) for v in values) / n
    return scale * mean, scale * math.sqrt(variance)
