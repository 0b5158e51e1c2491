"""RQ4: where tasks conflict, where training with another task helps or hurts, and whether likeness foretells it.

    transfer      source -> target: the target's test score in a run on the two tasks less that of plain S1, which saw
                  as many tokens of the target; mean over seeds
    conflicts     of the multi-task runs: the share of the steps in which two tasks met and the first one's gradient
                  (under PCGrad: what the tasks before left of it) had a negative inner product with the second's on
                  some group of tensors; and the mean cosine of the whole gradients; in all and in every tenth of the
                  training
    overlap       Jaccard index of two tasks' label names and of the word types of their training texts
    correlation   Spearman's rank correlation of each of these with transfer, over ordered pairs

Ordered pairs share tasks and so are not independent: the correlation comes without a p-value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from attrs import frozen

from mtlfn.analysis.runs import cells
from mtlfn.analysis.runs.records import Runs, test_score
from mtlfn.data.example import CacheError, DataError
from mtlfn.run import documents
from mtlfn.run.documents.result import Conflict
from mtlfn.run.errors import UsageError
from mtlfn.run.storage.run_record import RunRecord

Pair = tuple[str, str]
PARTS = 10
LEAST_PAIRS = 6  # ordered pairs with a transfer: three tasks, each trained with each
WORD = re.compile(r"\w+")


@frozen
class Met:
    """How two tasks' gradients met: steps, steps with a negative inner product, sum of cosines."""

    met: int = 0
    negative: int = 0
    cosine: float = 0.0

    def __add__(self, other: Met) -> Met:
        return Met(self.met + other.met, self.negative + other.negative, self.cosine + other.cosine)

    def __sub__(self, other: Met) -> Met:
        return Met(self.met - other.met, self.negative - other.negative, self.cosine - other.cosine)

    @property
    def frequency(self) -> float | None:
        return self.negative / self.met if self.met else None

    @property
    def mean_cosine(self) -> float | None:
        return self.cosine / self.met if self.met else None


@frozen
class Correlation:
    """Spearman's rho over ``pairs`` ordered pairs; None where there are too few or one side does not vary."""

    rho: float | None
    pairs: int


def matrix(runs: Runs) -> dict[Pair, dict[int, float]]:
    """(source, target) -> seed -> transfer; pairs of tasks without a run, or without plain S1, are not in it."""
    out: dict[Pair, dict[int, float]] = {}
    for (two, seed), run in sorted(runs.pairs.items()):
        for source, target in (two, two[::-1]):
            plain = runs.controls.get(("per-task", target, seed))
            together = test_score(run, target)
            alone = None if plain is None else test_score(plain, target)
            if together is not None and alone is not None:
                out.setdefault((source, target), {})[seed] = together - alone
    return out


def means(matrix: Mapping[Pair, Mapping[int, float]]) -> dict[Pair, float]:
    """Over the seeds."""
    return {pair: math.fsum(seeds.values()) / len(seeds) for pair, seeds in matrix.items()}


def conflicts(runs: Sequence[RunRecord]) -> dict[Pair, Met]:
    """(i, j) -> how i's gradient met j's, over all steps of all the runs."""
    out: dict[Pair, Met] = {}
    for run in runs:
        for pair, met in _read(run.result.conflicts).items():
            out[pair] = out.get(pair, Met()) + met
    return out


def over_time(runs: Sequence[RunRecord], parts: int = PARTS) -> dict[Pair, list[Met]]:
    """The same for every ``1 / parts`` of the training's tokens. The steps' lines hold sums up to the step."""
    out: dict[Pair, list[Met]] = {}
    for run in runs:
        if not run.steps:
            continue
        budget, before = run.steps[-1].tokens, {}
        for part in range(1, parts + 1):
            inside = [step for step in run.steps if step.tokens * parts <= budget * part]
            sums = _read(inside[-1].meetings) if inside else {}
            for pair, met in sums.items():
                row = out.setdefault(pair, [Met()] * parts)
                row[part - 1] += met - before.get(pair, Met())
            before = sums
    return out


def _read(table: Mapping[str, Conflict]) -> dict[Pair, Met]:
    out = {}
    for name, row in table.items():
        first, _, second = name.partition(" > ")
        out[first, second] = Met(row.met, row.negative, (row.cosine or 0.0) * row.met)
    return out


def jaccard(one: Collection[str], other: Collection[str]) -> float | None:
    """Shared / all; None where both are empty."""
    a, b = set(one), set(other)
    return len(a & b) / len(a | b) if a | b else None


def overlaps(sets: Mapping[str, Collection[str]]) -> dict[Pair, float]:
    """Jaccard index of every two tasks that have something."""
    return {
        (one, other): value
        for one in sets
        for other in sets
        if one != other and (value := jaccard(sets[one], sets[other])) is not None and sets[one] and sets[other]
    }


def labels(study: cells.Study) -> dict[str, frozenset[str]]:
    """Task -> its label names: entity types, classes or labels; empty for ranking and regression."""
    run = next(iter(study.multi.values()))
    return {task: frozenset(cells.statistics(run, task)[0].labels) for task in study.tasks}


def vocabulary(run: RunRecord) -> tuple[dict[str, frozenset[str]], str]:
    """Task -> the word types (runs of letters and digits, small letters) of its training texts, read from the data.

    Returns what could be had, and why the rest could not: runs do not keep texts.
    """
    from mtlfn.data import sources
    from mtlfn.data.task import kind_of
    from mtlfn.run.config import default_cache, listed

    if run.configuration is None or run.data is None:
        return {}, f"{documents.CONFIG} or {documents.DATA} of a run is missing"
    try:
        config = run.configuration.config()
        # As the run read them: embedded tasks come from its cache, which is filled anew where it is empty.
        cache, beside = config.cache_dir or default_cache(), listed(config.held_out_tasks)
        datasets = sources.resolve(run.tasks, config.data_dir, config.task, cache=cache, beside=beside)
    except (KeyError, DataError, CacheError, OSError, UsageError) as error:
        return {}, f"the training texts cannot be read: {error}"
    out, odd = {}, []
    for dataset in datasets:
        name = dataset.task.name
        if len(kind_of(dataset.task).training(dataset.train)) == run.data.tasks[name].splits["train"].examples:
            out[name] = words(text for example in dataset.train for pair in example.texts for text in pair if text)
        else:
            odd.append(name)
    return out, f"the data are not those of the runs any more: {', '.join(odd)}" if odd else ""


def words(texts: Any) -> frozenset[str]:
    """The word types of texts."""
    return frozenset(word for text in texts for word in WORD.findall(text.lower()))


def correlation(signal: Mapping[Pair, float | None], transfer: Mapping[Pair, float]) -> Correlation:
    """Spearman's rank correlation over the ordered pairs that have both."""
    from scipy.stats import spearmanr

    points = [(value, transfer[pair]) for pair, value in signal.items() if value is not None and pair in transfer]
    varies = all(len(set(column)) > 1 for column in zip(*points, strict=True))
    if len(points) < LEAST_PAIRS or not varies:
        return Correlation(None, len(points))
    one, other = (list(column) for column in zip(*points, strict=True))
    return Correlation(float(np.asarray(spearmanr(one, other))[0]), len(points))
