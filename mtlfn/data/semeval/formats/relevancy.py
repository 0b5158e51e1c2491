"""The prediction file of the SemEval-2017 Task 3 scorer (``.pred``), a line a candidate.

Five columns separated by tabs: question, answer, rank, score, label, in the order of the XML file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mtlfn.data.document import Query
from mtlfn.data.example import DataError
from mtlfn.data.semeval.formats.semeval2017_t3 import Subtask, known


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
    lines = []
    for query in queries:
        if query.id not in scores:
            raise DataError(f"the query {query.id!r} has no scores, expected {len(query.candidates)}")
        if len(scores[query.id]) != len(query.candidates):
            problem = f"{len(scores[query.id])} scores for {len(query.candidates)} candidates"
            raise DataError(f"the query {query.id!r} has {problem}, expected one each")
        for candidate, score in zip(query.candidates, map(float, scores[query.id]), strict=True):
            if re.search("[\t\r\n]", query.id + candidate.id):
                raise DataError(f"found a tab or line break in {query.id!r} or {candidate.id!r}, expected none in ids")
            if not math.isfinite(score):
                place = f"the candidate {candidate.id!r} of {query.id!r}"
                raise DataError(f"{place} has the score {score}, expected a finite number")
            lines.append(f"{query.id}\t{candidate.id}\t0\t{score!r}\t{'true' if score > 0 else 'false'}\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(lines).encode("utf-8"))
