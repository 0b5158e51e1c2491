"""``resumes.json``: from where a run went on, each time it did. Who never stopped has none."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from attrs import frozen

from mtlfn.run import documents
from mtlfn.run.documents import typed


@frozen
class Resumes:
    """``resumes.json``: the step of the checkpoint that each resume went on from, in their order."""

    FILE: ClassVar[str] = documents.RESUMES

    steps: tuple[int, ...] = ()


def steps(folder: Path) -> tuple[int, ...]:
    """The steps that a run went on from; none where no file tells."""
    found = typed.attempt(folder, Resumes)
    return () if found is None else found.steps


def add(folder: Path, step: int) -> None:
    """Puts on record that the run goes on from a step."""
    typed.write(folder, Resumes((*steps(folder), step)))
