"""Which tasks a step draws micro-batches from: a pure function of the key and the step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from mtlfn.core.keys import Key, fold, numpy_generator

Sampling = Literal["uniform", "proportional", "temperature"]


def probabilities(sampling: Sampling, sizes: Mapping[str, int], temperature: float) -> dict[str, float]:
    """P(task) proportional to size ** (1 / temperature); sizes in tokens. "proportional" is temperature 1.

    "uniform" gives 1 / T, though it draws every task once a step instead of drawing at random.
    """
    if sampling == "uniform":
        return {task: 1 / len(sizes) for task in sizes}
    tau = temperature if sampling == "temperature" else 1.0
    # Relative to the largest, so that no power overflows at a small temperature.
    largest = max(sizes.values())
    powers = {task: (size / largest) ** (1 / tau) for task, size in sizes.items()}
    total = sum(powers.values())
    return {task: power / total for task, power in powers.items()}


def per_step(sampling: Sampling, asked: int, tasks: int) -> int:
    """Micro-batches a step: every task's one where sampling is uniform, else as many as asked for (0: as tasks)."""
    return tasks if sampling == "uniform" else asked or tasks


def draw(
    sampling: Sampling, sizes: Mapping[str, int], temperature: float, count: int, key: Key, step: int
) -> tuple[str, ...]:
    """The tasks of one step's micro-batches, in canonical order; ``count`` of them unless sampling is uniform."""
    tasks = tuple(sizes)
    if sampling == "uniform":
        return tasks
    chances = list(probabilities(sampling, sizes, temperature).values())
    drawn = numpy_generator(fold(key, "sample", step)).choice(len(tasks), size=count, p=chances)
    return tuple(tasks[i] for i in np.sort(drawn))
