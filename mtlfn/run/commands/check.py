"""``mtlfn data check``: data sets read and described, before anything is trained on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from mtlfn.data import sources
from mtlfn.data.access import TERMS
from mtlfn.data.official import OFFICIAL
from mtlfn.data.screening import survey
from mtlfn.data.tables import public
from mtlfn.data.task import Dataset
from mtlfn.data.task import check as checked
from mtlfn.run import terminal
from mtlfn.run.config import Config, default_cache, task_names
from mtlfn.run.errors import OK, UsageError
from mtlfn.run.one.prepare import read_tasks


def check(
    folder: Path | None,
    config: Config | None,
    task: str | None,
    backbone: str,
    strict: bool,
    say: Callable[[str], None] = terminal.say,
) -> int:
    """Prints what is in a folder, or what the tasks of a configuration are.

    Args:
        folder: that of the task, or the data folder that it lies in.
        config: its tasks are read as a run would; with ``task``, this one alone.

    Raises:
        UsageError, DataError: something cannot be read.
    """
    from mtlfn.models import backbone as backbones

    if config is not None and strict:
        raise UsageError(
            "--strict: is for the organisers' files of an official task, given as DIR --task NAME; of a file with "
            "tasks, what cannot be used is an error where skip_unusable is not set"
        )
    if config is not None:
        datasets = _configured(config, task)
    elif folder is not None and task is not None:
        datasets = iter((checked(_lying(folder, task, strict)),))
    else:
        if folder is not None and not folder.is_dir():
            raise UsageError(f"{folder}: no such folder; expected DIR --task NAME, or --config FILE")
        own = "" if folder is None else f"; of your own files, mtlfn data init {folder} writes such a FILE"
        raise UsageError(f"mtlfn data check: expected DIR --task NAME, or --config FILE{own}")
    try:
        base = backbones.load(backbone)
    except backbones.BackboneError as error:
        raise UsageError(str(error)) from None
    terms = {**TERMS, **{name: official.terms for name, official in OFFICIAL.items()}, **public.NOTES}
    for number, dataset in enumerate(datasets):
        if number:
            say("")
        for line in survey.describe(dataset, base.tokenizer, backbones.longest(base), terms):
            say(line)
    return OK


def _configured(config: Config, task: str | None) -> Iterator[Dataset]:
    names = task_names(config)
    if task is not None and task not in names:
        raise UsageError(f"--task {task}: is none of the tasks of the configuration ({', '.join(names)})")
    datasets = read_tasks(config, config.cache_dir or default_cache())
    return (dataset for dataset in datasets if task in (None, dataset.task.name))


def _lying(folder: Path, name: str, strict: bool) -> Dataset:
    """A task of a known name, in its own folder or in the data folder that has it."""
    if name not in (known := sources.known_in_folders()):
        raise UsageError(f"--task {name}: expected one of {', '.join(known)}; for other data give --config FILE")
    below = sources.place(name, folder)
    lies = below if below.is_dir() else folder
    if not lies.is_dir():
        raise UsageError(f"the folder {lies} of task {name} does not exist; put its files there")
    return sources.in_folder(name, lies, base=Path(), strict=strict)
