"""Reads what the SemEval-2017 Task 3 scorer reads: gold (``.relevancy``) and predictions (``.pred``), tab-separated."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Judgement(NamedTuple):
    """A line. ``label``: the gold label, or the system's decision."""

    query: str
    candidate: str
    rank: int
    score: float
    label: bool


def read(path: Path) -> tuple[Judgement, ...]:
    """The lines in their order."""
    judgements = []
    for line in path.read_bytes().decode().removesuffix("\n").split("\n"):
        query, candidate, rank, score, label = line.split("\t")
        judgements.append(Judgement(query, candidate, int(rank), float(score), {"true": True, "false": False}[label]))
    return tuple(judgements)
