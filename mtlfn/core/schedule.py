"""The learning rate as a function of token progress, so that runs of equal budget and horizon follow one schedule."""

from __future__ import annotations

import math
from typing import Literal

from attrs import frozen


@frozen(kw_only=True)
class Schedule:
    """Linear warm-up, then decay.

    Attributes:
        peak: the highest learning rate.
        schedule_tokens: length of the schedule in input tokens (the horizon).
        warmup_ratio: share of the horizon spent warming up.
        decay: "linear" or "cosine" to zero at the horizon, or "constant".
    """

    peak: float
    schedule_tokens: int
    warmup_ratio: float = 0.1
    decay: Literal["linear", "cosine", "constant"] = "linear"


def learning_rate(schedule: Schedule, tokens: int) -> float:
    """The learning rate after ``tokens`` input tokens, counted with the batch that the step consumes."""
    progress = min(tokens / schedule.schedule_tokens, 1.0)
    if progress < schedule.warmup_ratio:
        return schedule.peak * progress / schedule.warmup_ratio
    rest = (1.0 - progress) / (1.0 - schedule.warmup_ratio) if schedule.warmup_ratio < 1 else 0.0
    if schedule.decay == "linear":
        return schedule.peak * rest
    if schedule.decay == "cosine":
        return schedule.peak * 0.5 * (1.0 - math.cos(math.pi * rest))
    return schedule.peak
