"""``mtlfn data init``: a first configuration, drafted by looking at files."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from mtlfn.data import sources, splits
from mtlfn.data.example import DataError, half_character
from mtlfn.data.kinds import KINDS
from mtlfn.data.tables import reading
from mtlfn.data.tables.sources import STEMS
from mtlfn.data.task import Dataset, check, in_parts
from mtlfn.run import terminal
from mtlfn.run.disk import make_folder, write_file
from mtlfn.run.draft.columns import Draft
from mtlfn.run.draft.look import Source, look
from mtlfn.run.errors import OK, USAGE, UsageError
from mtlfn.run.preset import from_toml

WIDTH = 110  # characters of a line of the file, where a list can be broken
TENTH = "a tenth of the training units, by a hash of their names, is one"


def init(folder: Path, output: Path, say: Callable[[str], None] = terminal.say) -> int:
    """Looks, writes the file, and reads its tasks as a run would.

    Returns:
        OK, or USAGE where what was written cannot be read as it is: the file stands, and what is wrong is said.

    Raises:
        UsageError, DataError: there is nothing to look at, nothing that shows a task, or already a file.
    """
    if not folder.exists():
        raise UsageError(f"{folder}: does not exist; name a folder of data, or a file")
    if output.exists():
        raise UsageError(f"--output {output}: exists, and is not written over; name another file")
    places = _places(folder)
    names = [_name(place) for place in places]
    names = _unlike(names)
    parts = [
        _table(f"{name}{suffix}", drafted, source, _shown(place, output))
        for place, name in zip(places, names, strict=True)
        for source in (look(name, place),)
        for suffix, drafted in source.drafts
    ]
    head = (
        f"# Drafted by looking at the files; what is a guess says so. It is read by\n"
        f"#     mtlfn data check --config {output.name}\n"
    )
    text = head + "".join(parts)
    if problem := half_character(text):
        raise DataError(f"{str(folder)!a}: the draft, with its names and labels, {problem}; TOML cannot hold it")
    make_folder(output.parent)
    write_file(output, text.encode())
    say(f"{output} has {len(parts)} task{'s' if len(parts) > 1 else ''}:")
    return _proved(output, say)


def _unlike(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that are the same."""
    out: list[str] = []
    for name in names:
        free = (f"{name}_{number}" for number in itertools.count(1) if f"{name}_{number}" not in [*names, *out])
        out.append(name if names.count(name) == 1 else next(free))
    return out


def _proved(output: Path, say: Callable[[str], None]) -> int:
    code = OK
    for name, mapping in from_toml(output).task.items():
        try:
            say(f"  {name}: {_told(in_parts(splits.with_test(check(reading.read(name, mapping, output.parent)))))}")
        except DataError as error:
            say(f"  {name}: cannot be read yet: {error}")
            code = USAGE
    say(f"next: mtlfn data check --config {output}")
    return code


def _told(dataset: Dataset) -> str:
    sizes = ", ".join(f"{len(dataset[split]):,} {split}" for split in ("train", "dev", "test") if dataset[split])
    return f"{dataset.task.kind}, level {dataset.task.level}, {sizes}"


def _places(folder: Path) -> list[Path]:
    """The folder; or, where it holds nothing but folders, and their names are no splits, each of them."""
    if folder.is_file():
        return [folder]
    there = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    if not there:
        raise UsageError(f"{folder}: is empty; name a folder of data, or a file")
    inside = [p for p in there if p.is_dir()]
    splits = any(word in STEMS for p in inside for word in re.split(r"[^a-z]+", p.name.lower()))
    return inside if len(inside) == len(there) and not splits else [folder]


def _name(place: Path) -> str:
    """The name of a task, of that of a file or folder."""
    stem = place.resolve().name.split(".")[0] if place.is_file() else place.resolve().name
    name = re.sub(r"[^a-z0-9_.-]+", "_", stem.lower()).strip("_.-")[: sources.LONGEST - 20]
    return name or "mine"


def _shown(place: Path, output: Path) -> str:
    """The source, from the folder of the file where it lies below that."""
    base, there = output.resolve().parent, place.resolve()
    return there.relative_to(base).as_posix() if there.is_relative_to(base) and there != base else str(there)


# TOML


def _table(name: str, drafted: Draft, source: Source, place: str) -> str:
    key = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)
    out = [f"\n[task.{key}]", f"source = {_quoted(place)}", f'format = "{source.form}"', f'kind = "{drafted.kind}"']
    out.append(f"level = {KINDS[drafted.kind].level}")
    for field, value in (("labels", drafted.labels), ("names", drafted.names)):
        if value:
            out.append(f"{field} = {_list(value)}")
    for field, text in (("negative", drafted.negative), ("tags", drafted.tags), ("separator", drafted.separator)):
        if text is not None:
            out.append(f"{field} = {_quoted(text)}")
    if drafted.columns:
        out.append(f"columns = {_inline(drafted.columns)}")
    named = {split: called for split, called in source.splits.items() if called is not None}
    made = [split for split in ("dev", "test") if split not in named]
    out.append(f"splits = {_inline(named)}" + (f"  # no {' and no '.join(made)} split: {TENTH}" if made else ""))
    for line, text in enumerate(out):
        field = text.partition(" = ")[0]
        if field in drafted.guesses:
            out[line] = f"# {field}: {terminal.shown(drafted.guesses[field])}\n{text}"
    return "\n".join(out) + "\n"


def _inline(table: dict[str, str]) -> str:
    return "{ " + ", ".join(f"{field} = {_quoted(value)}" for field, value in table.items()) + " }"


def _list(values: Sequence[str]) -> str:
    line = f"[{', '.join(map(_quoted, values))}]"
    return line if len(line) < WIDTH else "[\n" + "".join(f"    {_quoted(value)},\n" for value in values) + "]"


def _quoted(text: str) -> str:
    """A string of TOML, which has JSON's escapes, and wants one for DEL, too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
