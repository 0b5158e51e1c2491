"""Where a mapping's source lies and in which format: a folder or file read by its format's reader, or a Hub id."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from mtlfn.data.example import DataError
from mtlfn.data.tables.formats import NAMED, READERS
from mtlfn.data.tables.mapping import Mapping
from mtlfn.data.tables.table import Table

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
DISK = ("dataset_dict.json", "dataset_info.json", "state.json")
STEMS = ("train", "dev", "test", "validation", "valid", "devel", "development", "val", "eval", "training", "testing")


def tables(name: str, mapping: Mapping, base: Path) -> dict[Any, Table]:
    """Split -> table. DataError where the source is not there, or is of no format that is known."""
    path = base / Path(os.path.expanduser(mapping.source))  # as it is where there is no such user
    if not path.exists():
        if not on_hub(mapping):
            what = "file" if _a_file(mapping) else "folder"
            raise DataError(f"task {name}: the {what} {path} does not exist; correct source in [task.{name}]")
        if Path(mapping.source).exists():
            # The library would take a folder of the working directory for a Hub id, although base names another place.
            raise DataError(f"task {name}: the folder {path} does not exist; correct source in [task.{name}]")
        return _reader("hub")(name, mapping, path, {})
    if mapping.revision or mapping.subset or mapping.data_dir:
        what = "folder" if path.is_dir() else "file"
        raise DataError(
            f"task {name}: {path} is a {what}, so revision, subset and data_dir mean nothing; leave them out"
        )
    form = mapping.format or format_of(path, name)
    if form in ("disk", "hub", "bigbio"):
        return _reader("disk")(name, mapping, path, {})
    return _reader(form)(name, mapping, path, files_of(path, form, name))


def on_hub(mapping: Mapping) -> bool:
    """Whether the source may be an id of the Hub, where no folder has its name."""
    fits = mapping.format in (None, "hub", "bigbio") and HUB_ID.fullmatch(mapping.source) is not None
    return fits and not _a_file(mapping)


def _a_file(mapping: Mapping) -> bool:
    return any(mapping.source.endswith(endings) for _, endings in READERS.values() if endings)


def _reader(form: str) -> Callable[[str, Mapping, Path, dict[str, list[Path]]], dict[Any, Table]]:
    """(task, mapping, source, split -> its files) -> tables."""
    module, _ = READERS[form]
    return getattr(import_module(f"mtlfn.data.tables.{module}"), f"read_{form}")


def format_of(path: Path, name: str) -> str:
    """The format that the files say; DataError where they say none or several."""
    if path.is_dir() and any((path / file).is_file() for file in DISK):
        return "disk"
    there = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file() and not _hidden(p, path)]
    known = {form for form, (_, endings) in READERS.items() if any(p.name.endswith(endings) for p in there if endings)}
    if len(known) != 1:
        content = f"files of {', '.join(sorted(known))}" if known else "no file of a known ending"
        raise DataError(
            f"task {name}: {path} has {content}; expected a folder written by datasets.DatasetDict.save_to_disk, or "
            f"files of one format; say which under format in [task.{name}]: {', '.join(READERS)}"
        )
    return known.pop()


def _hidden(path: Path, below: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(below).parts)


def files_of(path: Path, form: str, name: str) -> dict[str, list[Path]]:
    """Split -> its files: of a file "train"; of a folder by the stems of files, or by the folders that they lie in.

    A stem may be a part of a name (``train-00000-of-00002.parquet``); without any, all files are "train".
    """
    endings = READERS[form][1] + NAMED.get(form, ())
    if path.is_file():
        return {"train": [path]}
    there = sorted(p for p in path.rglob("*") if p.is_file() and p.name.endswith(endings) and not _hidden(p, path))
    if not there:  # a format that was named, with files of any ending
        there = sorted(p for p in path.rglob("*") if p.is_file() and not _hidden(p, path))
    out: dict[str, list[Path]] = {}
    for file in there:
        out.setdefault(_split_of(file.relative_to(path)), []).append(file)
    if not out:
        raise DataError(f"task {name}: {path} has no file; give a folder with train and dev files")
    if set(out) == {""}:
        return {"train": out[""]}
    if rest := out.pop("", []):
        raise DataError(
            f"task {name}: {rest[0]} belongs to no split; give it the name of one ({', '.join(STEMS[:3])}), or move it"
        )
    return out


def _split_of(file: Path) -> str:
    """The split that a file's folders or name say; "" where they say none."""
    for part in (*file.parts[:-1], file.name):
        words = re.split(r"[^a-z]+", part.lower())
        if named := [stem for stem in STEMS if stem in words]:
            return {"training": "train", "testing": "test"}.get(named[0], named[0])
    return ""
