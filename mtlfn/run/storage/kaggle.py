"""Kaggle notebooks: where output survives, and where the output of an earlier version of the notebook lies."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from mtlfn.core.state import State
from mtlfn.run import documents
from mtlfn.run.disk import make_folder, write_file, write_folder
from mtlfn.run.storage import archive, checkpoint, ledger
from mtlfn.run.storage.checkpoint import Damaged
from mtlfn.run.storage.notebook import here

ROOT = "MTLFN_KAGGLE_ROOT"  # instead of /kaggle
DEPTH = 4  # folders between ``input`` and ``checkpoints``, at most
CARRIED = (
    documents.CONFIG,
    documents.DATA,
    documents.ENVIRONMENT,
    documents.SMOKE,
    documents.METRICS,
    documents.LOG,
    documents.RESUMES,
)


def root() -> Path:
    """The folder that holds ``input`` and ``working``."""
    return Path(os.environ.get(ROOT, "/kaggle"))


def results() -> Path:
    """Where runs lie unless told otherwise: on Kaggle, below the only folder that outlives the notebook."""
    return root() / "working" / "results" if here() else Path("results")


def bring_back(place: archive.Place, start: State, say: Callable[[str], None]) -> None:
    """Copies the newest valid checkpoint of this run below ``input`` into its directory, unless that is as far already.

    A notebook's output becomes an input of its next version; which folder it gets there is up to its owner.
    """
    reached = max((checkpoint.step_of(p) for p in checkpoint.steps(place.checkpoints)), default=-1)
    folders = [
        path.parent
        for depth in range(1, DEPTH + 1)  # not "**": an input may be a data set of a million files
        for path in (root() / "input").glob("*/" * depth + "checkpoints/step-*/manifest.json")
    ]
    for target in sorted(folders, key=lambda p: p.name, reverse=True):
        if not checkpoint.NAME.fullmatch(target.name) or checkpoint.step_of(target) <= reached:
            continue
        try:
            checkpoint.load(target, start, place.identity)
            entries = ledger.read(target.parent.parent / documents.LEDGER, place.identity)
        except (Damaged, ledger.Broken) as error:
            if "another configuration" not in str(error):
                say(f"passed over in {target.parent.parent}: {error}")
            continue
        _copy(target, entries, place)
        say(f"brought back step {checkpoint.step_of(target)} from {target.parent.parent}")
        return


def _copy(target: Path, entries: tuple[ledger.Entry, ...], place: archive.Place) -> None:
    source = target.parent.parent
    make_folder(place.checkpoints)
    for name in CARRIED:
        if (source / name).is_file():
            write_file(place.folder / name, (source / name).read_bytes())
    if entries:
        write_file(place.ledger, (source / documents.LEDGER).read_bytes())
    for each in checkpoint.steps(target.parent):  # the best one too, and those to fall back on
        copied = place.checkpoints / each.name
        if not copied.exists():
            write_folder(copied, ((p.name, [p.read_bytes()]) for p in each.iterdir() if p.is_file()))
