"""Relation: the class of two marked mentions in a text; the model reads ``@`` around the head, ``#`` around the tail.

Scores: micro precision, recall and F1 over all classes but the negative one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve

from mtlfn.data.example import DataError, Example, Span, short
from mtlfn.data.kinds import classification, whole
from mtlfn.data.kinds.kind import Laid, Offsets, Roles, single, text_of
from mtlfn.data.statistic import F1, Row, sets

if TYPE_CHECKING:
    from mtlfn.data.task import Task

HEAD, TAIL = 1, 2  # bits of a relation's token marks: a token of the mention,
HEAD_SIGN, TAIL_SIGN = 4, 8  # and the sign before it
Mentions = tuple[list[Span], list[Span]]  # pieces of head and tail, each with its sign as the first piece


def problems(task: Task, example: Example) -> str | None:
    if problem := whole.problems(task, example) or whole.one_label_problem(example):
        return problem
    text = example.texts[0][0]
    for name, pieces in (("head", example.head), ("tail", example.tail)):
        if not pieces or any(not 0 <= a < b <= len(text) for a, b in pieces):
            return f"has {name} spans {list(pieces)} in a text of {len(text)} characters"
    return None


def example(roles: Roles, names: tuple[str, ...], name: str, unit: str) -> Example:
    return Example(
        id=name,
        unit=unit,
        texts=((text_of(roles, "text"), None),),
        head=pieces(roles["head"]),
        tail=pieces(roles["tail"]),
        labels=(single(roles["label"], names),),
    )


def pieces(value: Any) -> tuple[Span, ...]:
    """A mention's character spans in text order, from ``[[start, end], ...]`` or one ``[start, end]``; or DataError."""
    spans = value
    if isinstance(value, list) and len(value) == 2 and not isinstance(value[0], list):
        spans = [value]
    well_formed = isinstance(spans, list) and all(
        isinstance(span, list) and len(span) == 2 and all(type(offset) is int for offset in span) for span in spans
    )
    if not well_formed:
        raise DataError(f"found the spans {short(value)}, expected a list of [start, end] in whole characters")
    return tuple(sorted((start, end) for start, end in spans))


def lay(examples: Sequence[Example], tokenizer: Any, max_length: int) -> list[Laid]:
    """With signs around the mentions, and of long texts a stretch around both."""
    windows = _windows([_marked(e) for e in examples], tokenizer, max_length)
    return [Laid(texts=[(text, None)], places=spans, cut=cut) for text, spans, cut in windows]


def marks(example: Example, offsets: Offsets, places: Mentions) -> list[int]:
    """Bits, -1 outside the text."""
    inside = np.array([offset is not None for offset in offsets])
    tokens = np.array([offset or (0, 0) for offset in offsets])
    bits = np.zeros(len(offsets), dtype=np.int64)
    for (sign, *rest), sign_bit, bit in zip(places, (HEAD_SIGN, TAIL_SIGN), (HEAD, TAIL), strict=True):
        bits += sign_bit * _touching(tokens, [sign]) + bit * _touching(tokens, rest)
    return np.where(inside, bits, -1).tolist()


def shown(marks: Sequence[int]) -> bool:
    """Whether both mentions have a token."""
    return all(any(m > 0 and m & bit for m in marks) for bit in (HEAD, TAIL))


def rows(task: Task, examples: Sequence[Example], predictions: Sequence[str]) -> Iterable[tuple[str, Row]]:
    for e, prediction in zip(examples, predictions, strict=True):
        yield e.unit, sets(set(e.labels) - {task.negative}, {prediction} - {task.negative})


def score(task: Task, examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, float]:
    micro = whole.scores(task, *whole.indicators(task, examples, [[p] for p in predictions]))
    return {f"relation_{name}": value for name, value in micro.items()}


def baselines(task: Task, train: Sequence[Example], examples: Sequence[Example]) -> dict[str, float]:
    """majority: the most frequent positive class, the best constant, as the negative class scores 0."""
    return whole.baselines(task, train, examples, whole.micro_f1, task.negative)


def _touching(offsets: np.ndarray, pieces: Sequence[Span]) -> np.ndarray:
    """Which of the character spans, int [n, 2], share a character with one of the pieces: bool [n]."""
    out = np.zeros(len(offsets), dtype=bool)
    for a, b in pieces:
        out |= (offsets[:, 0] < b) & (a < offsets[:, 1])
    return out


def _marked(example: Example) -> tuple[str, Mentions]:
    """The text with ``@`` around the head and ``#`` around the tail, and where the pieces of both now stand."""
    text = example.texts[0][0]
    # (position, 0 closes a mention and 1 opens one, sign): at one position mentions close before others open.
    inserts = sorted(
        insert
        for pieces, sign in ((example.head, "@"), (example.tail, "#"))
        for insert in ((pieces[0][0], 1, f"{sign} "), (pieces[-1][1], 0, f" {sign}"))
    )
    out, at, signs, inserted = "", 0, {}, []
    for position, opens, sign in inserts:
        out += text[at:position]
        if opens:
            signs[sign[0]] = (len(out), len(out) + 1)
        inserted.append((len(out), len(out) + len(sign)))
        out, at = out + sign, position
    out += text[at:]

    def moved(position: int, opens: bool) -> int:
        """A piece's start lies behind, its end before, what was inserted at its own position."""
        return position + sum(len(sign) for p, _, sign in inserts if p < position or (p == position and opens))

    head, tail = (
        [signs[sign], *_without([(moved(a, True), moved(b, False)) for a, b in pieces], inserted)]
        for pieces, sign in ((example.head, "@"), (example.tail, "#"))
    )
    return out, (head, tail)


def _without(pieces: Sequence[Span], inserted: Sequence[Span]) -> list[Span]:
    """The pieces less what was inserted inside them (the signs of a mention nested in another), from left to right."""
    out = []
    for a, b in pieces:
        for start, end in inserted:
            if a < start < b:
                out.append((a, start))
                a = end
        out.append((a, b))
    return out


def _windows(
    marked: Sequence[tuple[str, Mentions]], tokenizer: Any, max_length: int
) -> list[tuple[str, Mentions, bool]]:
    """Each text, or, where it is too long, a stretch of it around both mentions; spans in it; whether it was cut."""
    room = max_length - tokenizer.num_special_tokens_to_add()
    out = [(text, spans, False) for text, spans in marked]
    long = [i for i, (text, _) in enumerate(marked) if len(text.encode()) > room]  # a token has at least one byte
    if not long:
        return out
    encoded = tokenizer(
        [marked[i][0] for i in long], add_special_tokens=False, return_offsets_mapping=True, verbose=False
    )
    for i, offsets in zip(long, encoded["offset_mapping"], strict=True):
        if len(offsets) > room:
            out[i] = _window(*marked[i], np.array(offsets), room)
    return out


def _window(text: str, spans: Mentions, offsets: np.ndarray, room: int) -> tuple[str, Mentions, bool]:
    """The stretch of ``room`` tokens that has both mentions in its middle, or as much of them as it holds."""
    both = np.flatnonzero(_touching(offsets, [*spans[0], *spans[1]]))
    first = 0
    if len(both):
        spare = max(room - int(both[-1] - both[0] + 1), 0)
        first = max(min(int(both[0]) - spare // 2, len(offsets) - room), 0)
    start, end = int(offsets[first, 0]), int(offsets[first + room - 1, 1])
    head, tail = ([(a - start, b - start) for a, b in pieces] for pieces in spans)
    return text[start:end], (head, tail), True


KIND = evolve(  # a classification, of what the signs mark
    classification.KIND,
    metric="relation_f1",
    statistic=F1,
    positive="relation but the negative class",
    problems=problems,
    negative_class=True,
    roles=("text", "head", "tail", "label"),
    optional=("id", "unit"),
    example=example,
    lay=lay,
    marks=marks,
    shown=shown,
    rows=rows,
    score=score,
    baselines=baselines,
)
