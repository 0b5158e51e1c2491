"""A split of a source as rows, whatever file it lies in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import field, frozen

Row = dict[str, Any]
Place = str  # where in a split a row is: "row 3", "line 17"


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
    """

    place: str
    rows: Callable[[], Iterator[tuple[Place, Row]]]
    columns: tuple[str, ...] | None = None
    names: Mapping[str, tuple[str, ...]] = field(factory=dict)
    by_role: bool = False
    notes: dict[str, int] = field(factory=dict)
