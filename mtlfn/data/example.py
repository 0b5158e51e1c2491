"""The one schema in which every reader hands over its examples."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import lru_cache

from attrs import field, frozen

Span = tuple[int, int]  # characters, 0-based, end exclusive


class DataError(ValueError):
    """Data that cannot be used; the message names the file and line (or example), what was found and what to do."""


class CacheError(OSError):
    """A folder of the cache that cannot be read or made; ``strerror`` says why."""


def _one_each(names: Iterable[str]) -> tuple[str, ...]:
    """Names as tuple; equal ones are one object, in however many examples they occur."""
    return tuple(map(sys.intern, names))


@lru_cache(maxsize=1 << 15)  # more than a text of 1000 words has
def _one(span: Span) -> Span:
    return span


def _spans(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans as tuple. Short texts have words at the same places: equal spans that were read not long ago are one."""
    return tuple(map(_one, spans))


@frozen(kw_only=True)
class Example:
    """One example of any task.

    A million of them are held in memory: tags, labels and word spans, which they have in common, are held once.

    Attributes:
        id: unique within the task and split.
        unit: document, query or sentence that this example belongs to: what statistics resample.
        texts: the sequences that go through the model, each (text, second text or None).
            ranking: one per candidate, (query, candidate); every other kind: exactly one.
        words: tagging, spans: character span of each word of ``texts[0][0]``, in order, not overlapping.
        tags: tagging: one IOB2 tag per word.
        head, tail: relation: the pieces of the two mentions in ``texts[0][0]``, in text order.
        labels: relation, classification: exactly one class; multilabel: any number of labels;
            ranking: "relevant" or "irrelevant" per candidate; tagging, spans, regression: empty.
        mentions: spans: (label, pieces) of the mentions that begin in this text, in characters of the whole text.
        offset: spans: where this text begins in the whole one.
        value: regression: a finite number.
    """

    id: str
    unit: str
    texts: tuple[tuple[str, str | None], ...]
    words: tuple[Span, ...] = field(default=(), converter=_spans)
    tags: tuple[str, ...] = field(default=(), converter=_one_each)
    head: tuple[Span, ...] = ()
    tail: tuple[Span, ...] = ()
    labels: tuple[str, ...] = field(default=(), converter=_one_each)
    mentions: tuple[tuple[str, tuple[Span, ...]], ...] = ()
    offset: int = 0
    value: float | None = None


def half_character(text: str) -> str | None:
    """JSON can hold half of a surrogate pair, which is no character and cannot be written."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"holds {text[error.start]!a} at character {error.start + 1}, half of a character (a surrogate)"
    return None


def short(value: object) -> str:
    """A value as messages show it."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
