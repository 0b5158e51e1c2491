"""The run directory: what it belongs to, who may write it, and the settings it was made with."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from mtlfn.data.task import SPLITS
from mtlfn.run import documents
from mtlfn.run.config import DEFAULTS, LABELS, Config, folder_name, identity, listed, settings, task_names
from mtlfn.run.disk import PASSING, TEMPORARY, make_folder
from mtlfn.run.documents import Altered, typed
from mtlfn.run.documents.configuration import SCHEMA, Configuration
from mtlfn.run.documents.environment import Environment
from mtlfn.run.errors import MISMATCH, RESUMABLE, UsageError
from mtlfn.run.one import describe
from mtlfn.run.one.prepare import Prepared
from mtlfn.run.storage import archive, checkpoint, kaggle, ledger, lock

DISK_ERRORS = (*PASSING, errno.EROFS, errno.EACCES, errno.EPERM)
BEGUN = (lock.LOCK, documents.DATA)  # what a run that was killed while it began has left at most


class Mismatch(Exception):
    """The run directory belongs to something else, or did not repeat; the message names the difference."""

    exit_code = MISMATCH


class Failed(Exception):
    """The run cannot go on as it is, and the same command would not help; the message says what might."""

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Stopped(Exception):
    """The disk failed while the run went on; what was saved before stands."""

    exit_code = RESUMABLE


def resolve(config: Config, strategy: str) -> Path:
    """The run directory: as asked for, or named by the settings that decide the run."""
    if config.output_dir is not None:
        return config.output_dir
    return kaggle.results() / folder_name(strategy, config)


def check_settings(folder: Path, config: Config, strategy: str) -> None:
    """Compares the settings with those of the run directory, before anything slow happens."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output-dir {folder}: is a file; name a folder")
    if not (folder / documents.CONFIG).exists():
        if (folder / "checkpoints").exists() or (folder / documents.LEDGER).exists():
            raise Mismatch(
                f"--output-dir {folder}: holds a run, and its {documents.CONFIG} is missing, which says of what; put "
                "it back, or name another folder"
            )
        if folder.exists() and any(p.name not in BEGUN and TEMPORARY not in p.name for p in folder.iterdir()):
            raise Mismatch(f"--output-dir {folder}: not empty and not a run of mtlfn; name another folder")
        return
    # Settings whose default depends on the data are compared later, when they are known.
    asked = {**identity(config, strategy=strategy), "tasks": ",".join(task_names(config))}
    asked = {n: v for n, v in asked.items() if v not in (None, "") and not (n == "read_out_layer" and v == 0)}
    _compare(folder, recorded(folder).identity, json.loads(json.dumps(asked)), subset=True)


def recorded(folder: Path) -> Configuration:
    """What the directory belongs to. Mismatch where its ``config.json`` cannot be used."""
    try:
        configuration = typed.read(folder, Configuration)
    except (OSError, Altered) as error:
        raise Mismatch(
            f"--output-dir {folder}: {documents.CONFIG} cannot be used ({error}); put it back as it was, or name "
            "another folder"
        ) from None
    if configuration.schema not in range(1, SCHEMA + 1):
        raise Mismatch(
            f"--output-dir {folder}: {documents.CONFIG} has schema {configuration.schema}, expected 1 to {SCHEMA}: it "
            "was written by a newer version of mtlfn, or altered; use that version, or name another folder"
        )
    return configuration


def of_older_version(folder: Path) -> bool:
    """Whether the run began with a version that checked less of what it wrote."""
    return recorded(folder).schema < SCHEMA


def with_recorded_size(folder: Path, config: Config) -> Config:
    """The configuration with the micro-batch size that was found when the run began, if it began and none is given."""
    if config.micro_batch_tokens is not None or not (folder / documents.CONFIG).exists():
        return config
    return attrs.evolve(config, micro_batch_tokens=recorded(folder).identity.get("micro_batch_tokens"))


def make(folder: Path) -> None:
    """The folder, if it can be written."""
    try:
        make_folder(folder)
        (folder / lock.LOCK).touch()
    except OSError as error:
        raise _unwritable(folder, error) from None


def claim(folder: Path, strategy: str, prepared: Prepared, command: Sequence[str]) -> Prepared:
    """Writes what the directory belongs to, or checks that it belongs to this run, which is returned as it is there."""
    if (folder / documents.CONFIG).exists():
        return identified(folder, prepared)
    try:
        typed.write(folder, describe.data(prepared))
        typed.write(
            folder,
            Configuration(
                schema=SCHEMA,
                experiment=strategy,
                identity=prepared.identity,
                hash=prepared.identity_hash,
                settings=settings(prepared.config),
                command=list(command),
            ),
        )
    except OSError as error:
        raise _unwritable(folder, error) from None
    return prepared


def identified(folder: Path, prepared: Prepared) -> Prepared:
    """What was prepared, under the identity that the directory has; Mismatch where that is another run's.

    The identity of a run of an older version holds labels, and its checkpoints and ledger hold the hash of that.
    """
    there = recorded(folder).identity
    _compare(folder, there, json.loads(json.dumps(prepared.identity)))
    return attrs.evolve(prepared, identity=dict(there))


def check_backbone(folder: Path, now: str) -> None:
    """Mismatch where a finished run read its weights under another configuration, such as another window.

    The identity holds the weights alone; a run that goes on has its whole environment compared.
    """
    there = typed.read(folder, Environment).backbone_settings
    if there is not None and there != now:
        raise Mismatch(
            f"--output-dir {folder}: it holds a finished run of the same weights under another configuration: "
            f"backbone_settings is {there!r} there and {now!r} now; name another folder, or give that run's backbone"
        )


def place(folder: Path, prepared: Prepared) -> archive.Place:
    """Where the run keeps its state."""
    return archive.Place(folder, prepared.identity_hash)


def stopped(folder: Path, error: OSError | checkpoint.Damaged) -> Exception:
    """What to raise where the disk refused a write; an error that is not the disk's comes back as it is."""
    if isinstance(error, OSError) and error.errno not in DISK_ERRORS:
        return error
    saved = checkpoint.steps(folder / "checkpoints")
    stands = f"the checkpoint of step {checkpoint.step_of(saved[-1])} stands" if saved else "nothing was saved yet"
    what = error.strerror if isinstance(error, OSError) else str(error)
    return Stopped(
        f"--output-dir {folder}: {what}. The run stopped; {stands}. Free some space or mend the disk, and give the "
        "same command again"
    )


def broken(error: ledger.Broken) -> Mismatch:
    """What to say of a ledger that was altered."""
    return Mismatch(f"{error}. To go on without it, move {documents.LEDGER} away: the next checkpoint begins a new one")


def _unwritable(folder: Path, error: OSError) -> Exception:
    """What to say where a run cannot begin: that another folder is needed, or only more room in this one."""
    if error.errno in PASSING:
        return stopped(folder, error)
    return UsageError(f"--output-dir {folder}: cannot be written ({error.strerror}); name another folder")


def _compare(folder: Path, there: Mapping[str, Any], here: Mapping[str, Any], subset: bool = False) -> None:
    # Hashes of the data last: another setting explains more.
    names = (here.keys() if subset else there.keys() | here.keys()) - LABELS
    for name in sorted(names, key=lambda name: (name == "data", name)):
        before, now = there.get(name, DEFAULTS.get(name)), here.get(name, DEFAULTS.get(name))
        if name == "tasks" and subset and sorted(listed(str(before))) == sorted(listed(str(now))):
            continue  # their order is the model's
        if before == now:
            continue
        if name == "data":
            changed = _changed_data(before or {}, now or {})
            raise Mismatch(
                f"--output-dir {folder}: it holds a run on other data: {changed}; name another folder, or give the "
                "data of that run to resume it"
            )
        raise Mismatch(
            f"--output-dir {folder}: it holds a run of another configuration: {name} is {before!r} there "
            f"and {now!r} now; name another folder, or give the settings of that run to resume it"
        )


def _changed_data(before: dict[str, dict[str, str]], now: dict[str, dict[str, str]]) -> str:
    """The first split whose hash is another one."""
    names = [(task, split) for task in sorted({*before, *now}) for split in SPLITS]
    task, split = next((t, s) for t, s in names if before.get(t, {}).get(s) != now.get(t, {}).get(s))
    there, here = (hashes.get(task, {}).get(split, "missing") for hashes in (before, now))
    return f"{split} of {task} has the hash {there} there and {here} now"
