"""What single values of a column can be: texts, labels, places in a text, numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def is_list_of(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(fits, value))


def is_strings(value: Any) -> bool:
    return is_list_of(value, lambda each: isinstance(each, str)) and bool(value)


def is_words(value: Any) -> bool:
    return isinstance(value, str) and bool(value.split())


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_labels(value: Any) -> bool:
    return is_list_of(value, is_key)


def is_span(value: Any) -> bool:
    return is_list_of(value, lambda each: type(each) is int) and len(value) == 2


def is_pieces(value: Any) -> bool:
    return is_span(value) or (is_list_of(value, is_span) and bool(value))


def is_mention(value: Any) -> bool:
    return isinstance(value, dict) and is_key(value.get("label")) and bool({"start", "spans"} & value.keys())


def is_key(value: Any) -> bool:
    return isinstance(value, str) or type(value) is int


def is_whole(value: Any) -> bool:
    """Whether it is a number of things: whole, and not below 0."""
    return type(value) in (int, float) and 0 <= value == value // 1


def parts_of(value: Any) -> list[Any]:
    return value.split() if isinstance(value, str) else list(value or [])


def number_of(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def label_of(value: Any, names: Sequence[str]) -> str:
    return names[value] if type(value) is int and 0 <= value < len(names) else str(value)


def distinct(labels: Any) -> tuple[str, ...]:
    return tuple(sorted(set(labels)))
