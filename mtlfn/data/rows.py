"""One row of a table as an example: the values of its columns, by role, in the form that the kind of task needs.

DataError says what was found and what was expected; the caller adds the table and the row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve

from mtlfn.data.jsonl import join_words, pieces, same_length
from mtlfn.data.task import DataError, Example, Task

Row = dict[str, Any]


def class_names(feature: Any) -> tuple[str, ...]:
    """Names of a class-label feature, also inside lists; otherwise empty."""
    while (inner := getattr(feature, "feature", None)) is not None:
        feature = inner
    return tuple(getattr(feature, "names", None) or ())


def example(task: Task, roles: Row, names: tuple[str, ...], number: str, negative: str | None = None) -> Example:
    """The example in a row.

    Args:
        roles: role -> value; the roles are those of ``hub.Columns``.
        names: of integer tags or labels, in the order of the integers.
        number: the id of a row without one.
        negative: multilabel: the label that says that there is none.
    """
    name = _key(roles["id"], "id") if "id" in roles else number
    unit = _key(roles["unit"], "unit") if "unit" in roles else name
    made = _MAKE[task.kind](roles, names, name, unit)
    return evolve(made, labels=tuple(x for x in made.labels if x != negative)) if task.kind == "multilabel" else made


def _tagging(roles: Row, names: tuple[str, ...], name: str, unit: str) -> Example:
    tokens = [of_type(token, str, "strings as tokens") for token in _items(roles, "tokens")]
    tags = tuple(_named(tag, names) for tag in _items(roles, "tags"))
    same_length(tokens, tags)
    text, words = join_words(tokens)
    return Example(id=name, unit=unit, texts=((text, None),), words=words, tags=tags)


def _relation(roles: Row, names: tuple[str, ...], name: str, unit: str) -> Example:
    return Example(
        id=name,
        unit=unit,
        texts=((_text(roles, "text"), None),),
        head=pieces(roles["head"]),
        tail=pieces(roles["tail"]),
        labels=(_single(roles["label"], names),),
    )


def _ranking(roles: Row, names: tuple[str, ...], name: str, unit: str) -> Example:
    query = _text(roles, "query")
    texts = tuple((query, of_type(item, str, "strings as candidates")) for item in _items(roles, "candidates"))
    labels = tuple(_relevance(value, names) for value in _items(roles, "relevance"))
    return Example(id=name, unit=unit, texts=texts, labels=labels)


def _classification(roles: Row, names: tuple[str, ...], name: str, unit: str) -> Example:
    return Example(id=name, unit=unit, texts=(_pair(roles),), labels=(_single(roles["label"], names),))


def _multilabel(roles: Row, names: tuple[str, ...], name: str, unit: str) -> Example:
    labels = dict.fromkeys(_named(value, names) for value in _items(roles, "labels"))
    return Example(id=name, unit=unit, texts=(_pair(roles),), labels=tuple(labels))


def _regression(roles: Row, names: tuple[str, ...], name: str, unit: str) -> Example:
    return Example(id=name, unit=unit, texts=(_pair(roles),), value=_number(roles["label"]))


_MAKE: dict[str, Callable[[Row, tuple[str, ...], str, str], Example]] = {
    "tagging": _tagging,
    "relation": _relation,
    "ranking": _ranking,
    "classification": _classification,
    "multilabel": _multilabel,
    "regression": _regression,
}


def _items(roles: Row, role: str) -> list[Any]:
    return of_type(roles[role], list, f"a list for {role}")


def _text(roles: Row, role: str) -> str:
    value = roles[role]
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return " ".join(value)
    return of_type(value, str, f"a string for {role}")


def _pair(roles: Row) -> tuple[str, str | None]:
    return _text(roles, "text"), _text(roles, "text_pair") if roles.get("text_pair") is not None else None


def _key(value: Any, role: str) -> str:
    return str(of_type(value, (str, int), f"a string or whole number for {role}"))


def _single(value: Any, names: Sequence[str]) -> str:
    """One class, which some tables keep in a list."""
    if isinstance(value, list) and len(value) != 1:
        raise DataError(f"found {value!r}, expected one class")
    return _named(value[0] if isinstance(value, list) else value, names)


def _number(value: Any) -> float:
    """A number, or the mean of several, such as the marks of several annotators."""
    numbers = value if isinstance(value, list) and value else [value]
    for number in numbers:
        if type(number) not in (int, float) or not math.isfinite(number):
            raise DataError(f"found {number!r}, expected a finite number for label")
    return math.fsum(numbers) / len(numbers)


def _named(value: Any, names: Sequence[str]) -> str:
    if isinstance(value, str):
        return value
    of_type(value, int, "a string or a class-label integer")
    if not names:
        raise DataError(f"found {value}, a class without a name; list the names in order under names in the mapping")
    if not 0 <= value < len(names):
        raise DataError(f"found the class {value}, expected 0 to {len(names) - 1} ({', '.join(names)})")
    return names[value]


def _relevance(value: Any, names: Sequence[str]) -> str:
    if isinstance(value, str) or names:
        return _named(value, names)
    return "relevant" if of_type(value, (int, float), "a number, bool or string for relevance") > 0 else "irrelevant"


def of_type(value: Any, form: type, expected: str) -> Any:
    if not isinstance(value, form):
        raise DataError(f"found {value!r}, expected {expected}")
    return value
