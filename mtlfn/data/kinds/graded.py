"""Graded ranking: candidates of a query with grades, 0 for irrelevant; training sees pairs of unequal grades.

Score: nDCG of the first ten (Järvelin and Kekäläinen, TOIS 2002), with the gain 2^grade - 1 and the discount
log2(rank + 1) of Burges et al. (ICML 2005); equal scores keep the order of the list, a query without a grade above 0
counts 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve

from mtlfn.data.example import DataError, Example, short
from mtlfn.data.kinds import ranking, whole
from mtlfn.data.kinds.kind import Roles
from mtlfn.data.statistic import Row

if TYPE_CHECKING:
    from mtlfn.data.task import Task
    from mtlfn.data.tokens.store import Corpus

FIRST = 10  # ranks that count
MOST = 32  # the highest grade: 2^32 is exact
GRADES = frozenset(map(str, range(MOST + 1)))


def problems(task: Task, example: Example) -> str | None:
    if len(example.labels) != len(example.texts) or not example.texts:
        return f"has {len(example.labels)} grades for {len(example.texts)} candidates"
    unknown = [label for label in example.labels if label not in GRADES]
    return f"has the grade {short(unknown[0])}, expected a whole number from 0 to {MOST}" if unknown else None


def example(roles: Roles, names: tuple[str, ...], name: str, unit: str) -> Example:
    return ranking.of_candidates(roles, name, unit, _grade)


def _grade(value: Any) -> str:
    if type(value) not in (int, float) or not 0 <= value <= MOST or value != int(value):
        raise DataError(f"found {short(value)}, expected a whole number from 0 to {MOST} for relevance")
    return str(int(value))


def grades(example: Example) -> list[int]:
    """Of the candidates."""
    return [int(label) for label in example.labels]


def training(examples: Sequence[Example]) -> tuple[Example, ...]:
    """Each candidate beside one of another grade, better ones first; queries of one grade alone give none."""
    pairs = []
    for query in examples:
        order = sorted(range(len(query.texts)), key=lambda i: -int(query.labels[i]))
        for number, i in enumerate(order):
            others = [j for j in order if int(query.labels[j]) < int(query.labels[i])]
            if others:
                chosen = (i, others[number % len(others)])
                texts, labels = ([column[k] for k in chosen] for column in (query.texts, query.labels))
                pairs.append(evolve(query, id=f"{query.id}#{number}", texts=tuple(texts), labels=tuple(labels)))
    return tuple(pairs)


def labels(task: Task, example: Example, marks: Sequence[int]) -> tuple[list[int], int]:
    """The grade of each candidate."""
    return grades(example), 0


def targets(
    corpus: Corpus, examples: Sequence[int], row_of: Mapping[int, int], uncut: set[int], marks: np.ndarray
) -> tuple[np.ndarray, int]:
    """int64 [pairs, 2], rows of the better and the worse candidate; only of lists that are whole."""
    pairs = []
    for e in examples:
        sequences, grades = list(corpus.sequences(e)), corpus.label(e).tolist()
        if all(s in uncut for s in sequences):
            graded = list(zip(sequences, grades, strict=True))
            pairs += [(row_of[s], row_of[t]) for s, better in graded for t, worse in graded if better > worse]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2), len(pairs)


def ndcg(grades: Sequence[int], scores: Sequence[float]) -> float:
    """Of one query."""
    best = _gain(sorted(grades, reverse=True))
    return _gain([grades[i] for i in ranking.ordered(scores)]) / best if best else 0.0


def _gain(grades: Sequence[int]) -> float:
    return math.fsum((2**grade - 1) / math.log2(rank + 1) for rank, grade in enumerate(grades[:FIRST], 1))


def rows(task: Task, examples: Sequence[Example], predictions: Sequence[Any]) -> Iterable[tuple[str, Row]]:
    for e, prediction in zip(examples, predictions, strict=True):
        yield e.unit, (ndcg(grades(e), prediction), 1.0)


def score(task: Task, examples: Sequence[Example], predictions: Sequence[Any]) -> dict[str, float]:
    each = [ndcg(grades(e), p) for e, p in zip(examples, predictions, strict=True)]
    return {KIND.metric: math.fsum(each) / len(each)}


def baselines(task: Task, train: Sequence[Example], examples: Sequence[Example]) -> dict[str, float]:
    """majority: the order of the list; random: mean score of fixed draws of an order."""
    rng = np.random.Generator(np.random.Philox(0))
    listed = [[0.0] * len(e.texts) for e in examples]
    draws = [score(task, examples, [rng.random(len(e.texts)).tolist() for e in examples]) for _ in range(whole.DRAWS)]
    return {
        "majority": score(task, examples, listed)[KIND.metric],
        "random": float(np.mean([draw[KIND.metric] for draw in draws])),
    }


def better(example: Example) -> tuple[str, ...]:
    """The grades above 0."""
    return tuple(label for label in example.labels if label != "0")


KIND = evolve(
    ranking.KIND,
    metric="ndcg",
    positive="candidate above grade 0",
    problems=problems,
    occurrences=lambda example: (),
    counted=lambda task: (),
    mentioned=better,
    example=example,
    training=training,
    labels=labels,
    targets=targets,
    answer=grades,
    rows=rows,
    score=score,
    baselines=baselines,
)
