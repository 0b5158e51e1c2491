"""``python -m mtlfn.data check``: a data set read and described, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mtlfn.data import sources
from mtlfn.data.access import TERMS
from mtlfn.data.official import OFFICIAL
from mtlfn.data.screening import survey
from mtlfn.data.semeval import loading
from mtlfn.data.tables import jsonl, public
from mtlfn.data.task import Dataset
from mtlfn.data.task import check as checked
from mtlfn.run import terminal
from mtlfn.run.errors import OK, UsageError


def check(folder: Path, name: str, backbone: str, strict: bool, say: Callable[[str], None] = terminal.say) -> int:
    """Prints what is in a folder; UsageError, DataError or BackboneError where it cannot be read."""
    from mtlfn.models import backbone as backbones

    dataset = checked(_read(folder, name, strict))
    try:
        base = backbones.load(backbone)
    except backbones.BackboneError as error:
        raise UsageError(str(error)) from None
    terms = {**TERMS, **{name: official.terms for name, official in OFFICIAL.items()}, **public.NOTES}
    for line in survey.describe(dataset, base.tokenizer, backbones.longest(base), terms):
        say(line)
    return OK


def _read(folder: Path, name: str, strict: bool) -> Dataset:
    lies = folder / name if (folder / name).is_dir() else folder
    if name in OFFICIAL:
        below = folder / OFFICIAL[name].folder
        return loading.load(name, below if below.is_dir() else folder, strict=strict)
    if name in jsonl.SCHEMAS:
        return jsonl.read(lies, name)
    if name in public.PUBLIC:
        if not lies.is_dir():
            raise UsageError(f"the folder {lies} of task {name} does not exist; save the data set there (save_to_disk)")
        return sources.public_set(name, lies, Path())
    known = (*jsonl.SCHEMAS, *OFFICIAL, *public.PUBLIC)
    raise UsageError(f"--task {name}: expected one of {', '.join(known)}")
