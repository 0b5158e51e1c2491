"""A task name leads to one data set: a mapping first, then the data folder, else what is made here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

import attrs

from mtlfn.data import splits
from mtlfn.data.example import DataError
from mtlfn.data.official import OFFICIAL
from mtlfn.data.screening.apart import kept_apart
from mtlfn.data.tables import jsonl, public, reading
from mtlfn.data.tables.mapping import Mapping
from mtlfn.data.task import Dataset, check, in_parts

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")  # names become folders and parts of slot names
LONGEST = 100  # characters of a name: files are called "<task>.test.units.json" and more, folders "<task>+<task>"


def resolve(
    names: Sequence[str],
    data_dir: Path | None,
    mappings: dict[str, Mapping],
    *,
    base: Path | None = None,
    cache: Path | None = None,
    beside: Sequence[str] = (),
) -> tuple[Dataset, ...]:
    """The checked data sets of the tasks, in the order of their names; none trains on what another one holds out.

    Args:
        data_dir: holds ``<name>/{train,dev,test}.jsonl[.gz]``, or for SemEval tasks ``<name>/`` with the official
            files; without it, names are those of the embedded and planted tasks.
        mappings: task name -> mapping; comes before both.
        base: folder that relative sources of mappings start from; default: the working directory.
        cache: folder that keeps the files of the embedded tasks; they cannot be read without.
        beside: further tasks, whose dev and test texts the named ones do not train on either.

    Raises:
        DataError: no name, a name that is malformed, repeated or unknown, or data that ``check`` refuses.
        CacheError: the cache cannot be read or written.
    """
    check_names(names)
    wanted = (*names, *(name for name in beside if name not in names))
    resolved = (check(_resolve(name, data_dir, mappings, base or Path(), cache)) for name in wanted)
    datasets = tuple(map(splits.with_test, resolved))
    return tuple(map(in_parts, kept_apart(datasets[: len(names)], datasets[len(names) :])))


def check_names(names: Sequence[str]) -> None:
    """DataError where no task is named, or one twice, or with a name that cannot be that of a file."""
    if not names:
        raise DataError("no task is named; name at least one")
    for position, name in enumerate(names):
        if len(name) > LONGEST:
            shown = f"{name[:20]}…"
            raise DataError(
                f"the task name {shown!r} has {len(name)} characters, expected at most {LONGEST}, since files are "
                "named after it; choose a shorter one"
            )
        if not NAME.fullmatch(name):
            raise DataError(f"the task name {name!r} is not allowed: small letters, digits, '_', '.' and '-' only")
        if name in names[:position]:
            raise DataError(f"the task {name!r} is named twice; name every task once")


def _resolve(name: str, data_dir: Path | None, mappings: dict[str, Mapping], base: Path, cache: Path | None) -> Dataset:
    if name in mappings:
        return reading.read(name, mappings[name], base)
    if data_dir is not None:
        if name in known_in_folders():
            return in_folder(name, place(name, data_dir), base=base)
        raise _unknown(name, (*mappings, *known_in_folders()), f"in the data folder {data_dir} or as a mapping")
    if name in public.PUBLIC:
        return _public(name, None, base)
    from mtlfn.data.embedded import corpus as embedded
    from mtlfn.data.embedded import worlds

    if worlds.serves(name):
        return worlds.load(name)
    if name in embedded.SERVED:
        if cache is None:
            raise ValueError(f"the embedded task {name!r} is read from a cache, and none was given")
        return embedded.load(name, cache)
    where = "as an embedded task or a mapping"
    if name in jsonl.SCHEMAS:
        where += " (it is read from a data folder, and none was given)"
    known = worlds.NAMES if name.startswith("world_") else (*mappings, *embedded.SERVED, *public.PUBLIC)
    raise _unknown(name, known, where)


def known_in_folders() -> tuple[str, ...]:
    """The names that say themselves what is in their folder."""
    return (*jsonl.SCHEMAS, *OFFICIAL, *public.PUBLIC)


def place(name: str, data_dir: Path) -> Path:
    """Where a data folder has such a task; the subtasks of an official one share a folder."""
    return data_dir / (OFFICIAL[name].folder if name in OFFICIAL else name)


def in_folder(name: str, folder: Path, *, base: Path, strict: bool = False) -> Dataset:
    """The data set of such a name in its own folder; ``strict``: nothing is repaired or skipped."""
    if name in jsonl.SCHEMAS:
        return jsonl.read(folder, name)
    if name in OFFICIAL:
        from mtlfn.data.semeval import loading

        return loading.load(name, folder, strict=strict)
    return _public(name, folder, base)


def _public(name: str, folder: Path | None, base: Path) -> Dataset:
    """A public set: from the ``save_to_disk`` folder if there is one, else from the Hub."""
    mapping = public.PUBLIC[name]
    if folder is not None and folder.is_dir():
        mapping = attrs.evolve(mapping, source=str(folder.resolve()), revision=None, subset=None, data_dir=None)
    return reading.read(name, mapping, base)


def _unknown(name: str, known: Sequence[str], where: str) -> DataError:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return DataError(
        f"the task {name!r} is not known {where}; {hint}Known names: {', '.join(known)}; "
        f"for other data write a [task.{name}] mapping"
    )
