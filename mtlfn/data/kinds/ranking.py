"""Ranking: candidates of a query, relevant or not; training sees pairs of a relevant and an irrelevant one.

Scores: mean average precision and mean reciprocal rank; equal scores keep the order of the list, a query without a
relevant candidate counts 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve

from mtlfn.data.example import DataError, Example
from mtlfn.data.kinds import shuffle, whole
from mtlfn.data.kinds.kind import Kind, Roles, items_of, named, of_type, text_of
from mtlfn.data.statistic import MEAN, Row

if TYPE_CHECKING:
    from mtlfn.data.task import Task
    from mtlfn.data.tokens.store import Corpus

RELEVANCE = ("relevant", "irrelevant")


def problems(task: Task, example: Example) -> str | None:
    if len(example.labels) != len(example.texts) or not example.texts:
        return f"has {len(example.labels)} relevance labels for {len(example.texts)} candidates"
    return whole.unknown_label(example, RELEVANCE)


def example(roles: Roles, names: tuple[str, ...], name: str, unit: str) -> Example:
    return of_candidates(roles, name, unit, lambda value: _relevance(value, names))


def of_candidates(roles: Roles, name: str, unit: str, label: Callable[[Any], str]) -> Example:
    """A query with its candidates; ``label``: of what the table says of one of them."""
    query = text_of(roles, "query")
    texts = tuple((query, of_type(item, str, "strings as candidates")) for item in items_of(roles, "candidates"))
    return Example(id=name, unit=unit, texts=texts, labels=tuple(map(label, items_of(roles, "relevance"))))


def _relevance(value: Any, names: Sequence[str]) -> str:
    if isinstance(value, str) or names:
        return named(value, names)
    if of_type(value, (int, float), "a number, bool or string for relevance") != value:
        raise DataError(f"found {value}, expected a number for relevance")
    return "relevant" if value > 0 else "irrelevant"


def training(examples: Sequence[Example]) -> tuple[Example, ...]:
    """A query gives max(relevant, irrelevant) pairs, so that each candidate occurs; queries without either none."""
    pairs = []
    for query in examples:
        by_label: dict[str, list[tuple[str, str | None]]] = {label: [] for label in RELEVANCE}
        for text, label in zip(query.texts, query.labels, strict=True):
            by_label[label].append(text)
        good, bad = by_label["relevant"], by_label["irrelevant"]
        for i in range(max(len(good), len(bad)) if good and bad else 0):
            pair = (good[i % len(good)], bad[i % len(bad)])
            pairs.append(evolve(query, id=f"{query.id}#{i}", texts=pair, labels=RELEVANCE))
    return tuple(pairs)


def labels(task: Task, example: Example, marks: Sequence[int]) -> tuple[list[int], int]:
    """1 for each relevant candidate, 0 for the others."""
    return [int(label == "relevant") for label in example.labels], 0


def targets(
    corpus: Corpus, examples: Sequence[int], row_of: Mapping[int, int], uncut: set[int], marks: np.ndarray
) -> tuple[np.ndarray, int]:
    """int64 [pairs, 2], rows of the relevant and the irrelevant candidate; only of lists that are whole."""
    pairs = []
    for e in examples:
        sequences, relevance = list(corpus.sequences(e)), corpus.label(e)
        if all(s in uncut for s in sequences):
            good = [row_of[s] for s, relevant in zip(sequences, relevance, strict=True) if relevant]
            bad = [row_of[s] for s, relevant in zip(sequences, relevance, strict=True) if not relevant]
            pairs += [(g, b) for g in good for b in bad]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2), len(pairs)


def prediction_problem(task: Task, example: Example, prediction: Any) -> str | None:
    return whole.list_problem(prediction, len(example.texts))


def joined(task: Task, example: Example, rows: list[Any]) -> list[float]:
    """A score a candidate; one without a token comes last."""
    last = min((row for row in rows if row is not None), default=0.0) - 1.0
    return [last if row is None else row for row in rows]


def ordered(prediction: Sequence[float]) -> list[int]:
    """The candidates from the highest score to the lowest, NaN last."""
    scores = [-math.inf if math.isnan(value) else value for value in prediction]
    return sorted(range(len(scores)), key=lambda i: -scores[i])  # stable: ties keep the order of the list


def relevant_ranks(example: Example, prediction: Sequence[float]) -> list[int]:
    """Ranks, from 1, of the relevant candidates."""
    return [rank for rank, i in enumerate(ordered(prediction), 1) if example.labels[i] == "relevant"]


def average_precision(example: Example, prediction: Sequence[float]) -> float:
    """Of one query; its mean over the queries is "map"."""
    ranks = relevant_ranks(example, prediction)
    return sum(hit / rank for hit, rank in enumerate(ranks, 1)) / len(ranks) if ranks else 0.0


def rows(task: Task, examples: Sequence[Example], predictions: Sequence[Any]) -> Iterable[tuple[str, Row]]:
    for e, prediction in zip(examples, predictions, strict=True):
        yield e.unit, (average_precision(e, prediction), 1.0)


def score(task: Task, examples: Sequence[Example], predictions: Sequence[Any]) -> dict[str, float]:
    queries = list(zip(examples, predictions, strict=True))
    reciprocal = [1 / ranks[0] if (ranks := relevant_ranks(e, p)) else 0.0 for e, p in queries]
    return {"map": float(np.mean([average_precision(e, p) for e, p in queries])), "mrr": float(np.mean(reciprocal))}


def baselines(task: Task, train: Sequence[Example], examples: Sequence[Example]) -> dict[str, float]:
    """majority: the order of the list; random: the exact mean over all orders."""
    listed = [average_precision(e, [0.0] * len(e.texts)) for e in examples]
    return {"majority": float(np.mean(listed)), "random": float(np.mean([_random_order(e) for e in examples]))}


def _random_order(example: Example) -> float:
    """Mean average precision over all orders of the candidates.

    With n candidates, r relevant: rank k holds a relevant one with probability r/n, and then 1 + (k-1)(r-1)/(n-1)
    of the first k are relevant on average; sum the quotient by k over all ranks, divide by r.
    """
    n, relevant = len(example.labels), example.labels.count("relevant")
    if relevant == 0 or n == 1:
        return float(relevant)
    harmonic = sum(1 / k for k in range(1, n + 1))
    return (harmonic + (relevant - 1) / (n - 1) * (n - harmonic)) / n


KIND = Kind(
    metric="map",
    statistic=MEAN,
    positive="relevant candidate",
    problems=problems,
    classes=lambda labels: ("score",),
    counted=lambda task: RELEVANCE,
    mentioned=lambda example: (label for label in example.labels if label == "relevant"),
    roles=("query", "candidates", "relevance"),
    gold="relevance",
    least_labels=0,
    example=example,
    unanswered=lambda task, roles: [0] * len(items_of(roles, "candidates")),
    training=training,
    shuffled=shuffle.within_lists,
    labels=labels,
    targets=targets,
    prediction_problem=prediction_problem,
    joined=joined,
    nothing=lambda task, example, usual: [-1.0] * len(example.texts),
    answer=lambda example: list(example.labels),
    guesses=lambda task, train, examples: {"order of the list": [[0.0] * len(e.texts) for e in examples]},
    rows=rows,
    score=score,
    baselines=baselines,
)
