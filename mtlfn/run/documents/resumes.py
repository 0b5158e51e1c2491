"""``resumes.json``: from where a run went on, each time it did. Runs that earlier versions began have none."""

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


def steps(folder: Path) -> tuple[int, ...] | None:
    """The steps that a run went on from; None where no file tells."""
    document = typed.attempt(folder, Resumes)
    return None if document is None else document.steps


def begin(folder: Path) -> None:
    """Puts on record that a run begins, and has not gone on yet; one that began before has its record."""
    if steps(folder) is None:
        typed.write(folder, Resumes())


def add(folder: Path, step: int) -> None:
    """Puts on record that the run goes on from a step."""
    typed.write(folder, Resumes((*(steps(folder) or ()), step)))
