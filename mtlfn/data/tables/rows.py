"""One row of a table as an example: the values of its columns, by role, in the form that the kind of task needs.

DataError says what was found and what was expected; the caller adds the table and the row.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve

from mtlfn.data.example import DataError, Example
from mtlfn.data.kinds.kind import Roles, of_type
from mtlfn.data.task import Task, kind_of


def class_names(feature: Any) -> tuple[str, ...]:
    """Names of a class-label feature, also inside lists; otherwise empty."""
    while (inner := getattr(feature, "feature", None)) is not None:
        feature = inner
    return tuple(getattr(feature, "names", None) or ())


def example(task: Task, roles: Roles, names: tuple[str, ...], number: str, negative: str | None = None) -> Example:
    """The example in a row.

    Args:
        roles: role -> value; the roles are those of ``Columns``.
        names: of integer tags or labels, in the order of the integers; without them, an integer may be a label itself.
        number: the id of a row without one.
        negative: multilabel: the label that says that there is none.
    """
    name = _key(roles["id"], "id") if "id" in roles else number
    unit = _key(roles["unit"], "unit") if "unit" in roles else name
    if not names:
        roles = {**roles, kind_of(task).gold: _labels(roles[kind_of(task).gold], task.labels)}
    whole = kind_of(task).example(roles, names, name, unit)
    if negative is None or not kind_of(task).none_is_an_answer:
        return whole
    return evolve(whole, labels=tuple(label for label in whole.labels if label != negative))


def _labels(value: Any, labels: tuple[str, ...]) -> Any:
    """The value with integers as strings, where these are labels."""
    if isinstance(value, list):
        return [_labels(each, labels) for each in value]
    return str(value) if type(value) is int and str(value) in labels else value


def _key(value: Any, role: str) -> str:
    if value == "":
        raise DataError(f"found '' for {role}, expected a string that is not empty, or a whole number")
    return str(of_type(value, (str, int), f"a string or whole number for {role}"))
