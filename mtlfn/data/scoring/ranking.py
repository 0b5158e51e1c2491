"""SemEval-2017 task 3: the first ten candidates of each question, and the decision on every one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mtlfn.data.example import DataError
from mtlfn.data.scoring.spans import ratio

DEPTH = 10

Ranked = tuple[Sequence[bool], Sequence[float], Sequence[bool]]  # per candidate: relevant, its score, decided relevant


def ranking(questions: Sequence[Ranked]) -> dict[str, float]:
    """Scores of questions whose candidates are in the order of the file.

    The highest score comes first, equal scores keep their order, NaN is lowest.

    Returns:
        map: mean over questions of the mean precision at the relevant ones of the first ten; a question without any
        there counts 0, and what is relevant below them is not asked for. mrr: mean of 1 / first relevant rank, 0
        beyond ten (the official output is in percent). avg_rec: mean over k = 1..10 of the relevant among the first
        k, by min(k, all relevant), both summed over the questions. accuracy, precision, recall, f1: of the decisions,
        over all candidates. What is 0/0 is 0; so is avg_rec without any relevant candidate, where the official
        script stops.

    Raises:
        DataError: a question whose three sequences differ in length.
    """
    top: list[list[bool]] = []
    relevant: list[int] = []
    decisions: list[tuple[bool, bool]] = []
    for number, (wanted, scores, decided) in enumerate(questions):
        if not len(wanted) == len(scores) == len(decided):
            raise DataError(
                f"question {number}: {len(wanted)} relevances, {len(scores)} scores, {len(decided)} decisions, "
                "expected one each a candidate"
            )
        top.append(_first(wanted, scores))
        relevant.append(sum(map(bool, wanted)))
        decisions += [(bool(w), bool(d)) for w, d in zip(wanted, decided, strict=True)]
    recalls = [
        ratio(sum(sum(row[:k]) for row in top), sum(min(k, count) for count in relevant)) for k in range(1, DEPTH + 1)
    ]
    hits, predicted, total = decisions.count((True, True)), sum(d for _, d in decisions), sum(relevant)
    return {
        "map": ratio(sum(map(_precision_of, top)), len(top)),
        "mrr": ratio(sum(1 / (row.index(True) + 1) for row in top if any(row)), len(top)),
        "avg_rec": sum(recalls) / DEPTH,
        "accuracy": ratio(sum(w == d for w, d in decisions), len(decisions)),
        "precision": ratio(hits, predicted),
        "recall": ratio(hits, total),
        "f1": ratio(2 * hits, predicted + total),
    }


def average_precision(relevant: Sequence[bool], scores: Sequence[float]) -> float:
    """Of one question, as ``ranking`` averages it."""
    return _precision_of(_first(relevant, scores))


def _first(relevant: Sequence[bool], scores: Sequence[float]) -> list[bool]:
    """Whether the first ten by score are relevant."""
    keys = [-math.inf if math.isnan(score) else score for score in scores]
    order = sorted(range(len(keys)), key=keys.__getitem__, reverse=True)  # equal ones keep their order
    return [bool(relevant[i]) for i in order[:DEPTH]]


def _precision_of(row: Sequence[bool]) -> float:
    ranks = [rank for rank, relevant in enumerate(row, 1) if relevant]
    return ratio(sum(hit / rank for hit, rank in enumerate(ranks, 1)), len(ranks))
