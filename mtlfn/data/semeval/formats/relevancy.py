"""The files of the SemEval-2017 Task 3 scorer: gold (``.relevancy``) and predictions (``.pred``), a line a candidate.

Five columns separated by tabs: question, answer, rank, score, label, in the order of the XML file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from mtlfn.data.document import Log, Query, decode
from mtlfn.data.example import DataError
from mtlfn.data.semeval.formats.semeval2017_t3 import LABELS, Subtask, known, positive


@frozen(kw_only=True)
class Judgement:
    """A line of the scorer's gold or prediction file. ``label``: the gold label, or the system's decision."""

    query: str
    candidate: str
    rank: int
    score: float
    label: bool


def read_relevancy(path: Path) -> tuple[Judgement, ...]:
    """The lines of a gold or prediction file, in their order. DataError names file and line, found and expected."""
    judgements: dict[tuple[str, str], Judgement] = {}
    for number, line in enumerate(decode(path.read_bytes(), path, Log(strict=True)).split("\n"), 1):
        cells = line.removesuffix("\r").split("\t")
        if cells == [""]:
            continue
        if len(cells) != 5 or cells[4] not in ("true", "false"):
            expected = "question, answer, rank, score and true or false, separated by tabs"
            raise DataError(f"{path}, line {number}: found {line!r}, expected {expected}")
        query, candidate, rank, score, label = cells
        try:
            judgement = Judgement(
                query=query, candidate=candidate, rank=int(rank), score=float(score), label=label == "true"
            )
        except ValueError as error:
            said = f"found the rank {rank!r} and the score {score!r}, expected two numbers"
            raise DataError(f"{path}, line {number}: {said}") from error
        if (query, candidate) in judgements:
            raise DataError(f"{path}, line {number}: found {query} {candidate} again, expected each pair once")
        judgements[query, candidate] = judgement
    return tuple(judgements.values())


def write_relevancy(path: Path, subtask: Subtask, queries: Sequence[Query]) -> None:
    """The scorer's gold file: question, answer, rank, 1 / rank, label; one line a candidate.

    Raises:
        DataError: a candidate without a label, with a rank below 1, or an id with a tab or line break.
    """
    known(subtask)

    def cells(query: Query, position: int) -> tuple[int, float, bool]:
        candidate = query.candidates[position]
        label = positive(subtask, candidate.label)
        if label is None or candidate.rank < 1:
            problem = f"the label {candidate.label!r} and the rank {candidate.rank}"
            expected = f"one of {', '.join(LABELS[subtask])} and at least 1"
            raise DataError(f"the candidate {candidate.id!r} of {query.id!r} has {problem}, expected {expected}")
        return candidate.rank, 1 / candidate.rank, label

    _write_table(path, queries, cells)


def write_predictions(
    path: Path, subtask: Subtask, queries: Sequence[Query], scores: Mapping[str, Sequence[float]]
) -> None:
    """The scorer's prediction file: question, answer, 0, score, whether the score is above 0; one line a candidate.

    Args:
        scores: query id -> one finite number a candidate, in the order of the candidates; higher is more relevant.
            Written so that reading gives the same number.

    Raises:
        DataError: a query without scores or with another number of them, a score that is not finite, or an id with
            a tab or line break.
    """
    known(subtask)
    for query in queries:
        if query.id not in scores:
            raise DataError(f"the query {query.id!r} has no scores, expected {len(query.candidates)}")
        if len(scores[query.id]) != len(query.candidates):
            problem = f"{len(scores[query.id])} scores for {len(query.candidates)} candidates"
            raise DataError(f"the query {query.id!r} has {problem}, expected one each")

    def cells(query: Query, position: int) -> tuple[int, float, bool]:
        score = float(scores[query.id][position])
        if not math.isfinite(score):
            name = query.candidates[position].id
            raise DataError(f"the candidate {name!r} of {query.id!r} has the score {score}, expected a finite number")
        return 0, score, score > 0

    _write_table(path, queries, cells)


def _write_table(path: Path, queries: Sequence[Query], cells: Callable[[Query, int], tuple[int, float, bool]]) -> None:
    lines = []
    for query in queries:
        for position, candidate in enumerate(query.candidates):
            if re.search("[\t\r\n]", query.id + candidate.id):
                raise DataError(f"found a tab or line break in {query.id!r} or {candidate.id!r}, expected none in ids")
            rank, score, label = cells(query, position)
            lines.append(f"{query.id}\t{candidate.id}\t{rank}\t{score!r}\t{'true' if label else 'false'}\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(lines).encode("utf-8"))
