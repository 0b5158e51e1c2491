"""A split of a source as rows, whatever file it lies in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from attrs import field, frozen

Row = dict[str, Any]
Place = str  # where in a split a row is: "row 3", "line 17"
FIRST = 3  # problems that are told of what was left out; of the others only how many


@frozen(kw_only=True, eq=False)
class Table:
    """One split.

    Attributes:
        place: how errors name it.
        rows: its rows, each with its place; may be asked for more than once.
        columns: their names; None where each row has its own.
        names: column -> names of its integer classes, in the order of the integers; absent where it has none.
        by_role: whether the columns have the names of roles, because the format says what is text and what annotation.
        notes: what reading it found, in words -> how often; filled while rows are read.
        unusable: what is wrong with the first of what was left out; filled while rows are read.
        texts: where units are documents, unit -> its whole text; filled while rows are read.
    """

    place: str
    rows: Callable[[], Iterator[tuple[Place, Row]]]
    columns: tuple[str, ...] | None = None
    names: Mapping[str, tuple[str, ...]] = field(factory=dict)
    by_role: bool = False
    notes: dict[str, int] = field(factory=dict)
    unusable: list[str] = field(factory=list)
    texts: dict[str, str] = field(factory=dict)


def place_of(split: str, several: Sequence[Path]) -> Place:
    """How errors name a split that lies in files."""
    return several[0].name if len(several) == 1 else f"split {split} ({len(several)} files)"


def of_files(
    paths: Mapping[str, list[Path]],
    root: Path,
    read: Callable[[Path], Iterator[tuple[Place, Row]]],
    *,
    by_role: bool = False,
) -> dict[Any, Table]:
    """A table a split; of several files, places and units say which file they are of.

    Args:
        paths: split -> its files. root: what their names start from.
        read: the rows of a file with their places.
    """

    def rows(several: list[Path]) -> Iterator[tuple[Place, Row]]:
        for path in several:
            if len(several) == 1:
                yield from read(path)
                continue
            shown = path.relative_to(root).as_posix()
            for where, row in read(path):
                own = {"unit": f"{shown}, {row['unit']}"} if by_role and "unit" in row else {}
                yield f"{shown}, {where}", {**row, **own}

    return {
        split: Table(
            place=place_of(split, several),
            rows=partial(rows, several),
            by_role=by_role,
        )
        for split, several in paths.items()
    }
