"""From examples with character offsets to tokens with marks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from attrs import evolve, frozen

from mtlfn.data.task import Example, Span, Task
from mtlfn.data.windows import in_words

HEAD, TAIL = 1, 2  # bits of a relation's token marks: a token of the mention,
HEAD_SIGN, TAIL_SIGN = 4, 8  # and the sign before it
Mentions = tuple[list[Span], list[Span]]  # pieces of head and tail, each with its sign as the first piece
CHUNK = 512  # texts handed to the tokenizer at once


@frozen
class Tokenised:
    """One example in tokens: per sequence ids, token types and marks; its labels as numbers (regression: the value less
    the task's mean, over its standard deviation).

    ``truncated``: some token was cut off. ``usable``: every sequence has a token, and the tokens still show what the
    label speaks of. ``lost``: how many mentions the head of kind "spans" cannot express: cut off, not made of whole
    words, or too wide. ``silent``: tagging: how many words came to no token, and how many entities have such a word.
    """

    ids: list[list[int]]
    types: list[list[int]]
    marks: list[list[int]]
    labels: list[int] | list[float]
    truncated: bool
    usable: bool
    lost: int = 0
    silent: tuple[int, int] = (0, 0)


def training_examples(task: Task, examples: Sequence[Example]) -> tuple[Example, ...]:
    """What training draws from: ranking queries become pairs of candidates, everything else stays.

    A query gives max(relevant, irrelevant) pairs, so that each candidate occurs; queries without either give none.
    """
    if task.kind != "ranking":
        return tuple(examples)
    pairs = []
    for example in examples:
        by_label: dict[str, list[tuple[str, str | None]]] = {"relevant": [], "irrelevant": []}
        for text, label in zip(example.texts, example.labels, strict=True):
            by_label[label].append(text)
        good, bad = by_label["relevant"], by_label["irrelevant"]
        for i in range(max(len(good), len(bad)) if good and bad else 0):
            pair = (good[i % len(good)], bad[i % len(bad)])
            pairs.append(evolve(example, id=f"{example.id}#{i}", texts=pair, labels=("relevant", "irrelevant")))
    return tuple(pairs)


def tokenise(task: Task, examples: Sequence[Example], tokenizer: Any, max_length: int) -> Iterator[Tokenised]:
    """Tokens of every example, in order; special tokens included, no sequence longer than ``max_length``."""
    numbers = {label: i for i, label in enumerate(task.classes)}
    for at in range(0, len(examples), CHUNK):
        chunk = examples[at : at + CHUNK]
        if task.kind == "relation":
            windows = _windows([_marked(e) for e in chunk], tokenizer, max_length)
            texts = [[(text, None)] for text, _, _ in windows]
            spans_of = [spans for _, spans, _ in windows]
            narrowed = [cut for _, _, cut in windows]
        else:
            texts, spans_of, narrowed = [list(e.texts) for e in chunk], [None] * len(chunk), [False] * len(chunk)
        encoded = iter(_encode([t for ts in texts for t in ts], tokenizer, max_length))
        for example, sequences, spans, cut in zip(chunk, texts, spans_of, narrowed, strict=True):
            rows = [next(encoded) for _ in sequences]
            marks = [_marks(task, example, offsets, spans) for _, _, offsets, _ in rows]
            usable = all(any(m > 0 and m & bit for m in marks[0]) for bit in (HEAD, TAIL)) if spans else True
            usable = usable and all(ids for ids, _, _, _ in rows)
            labels, lost = _labels(task, example, numbers), 0
            if task.kind == "spans":
                labels, lost = _span_labels(task, example, marks[0])
            yield Tokenised(
                ids=[ids for ids, _, _, _ in rows],
                types=[types for _, types, _, _ in rows],
                marks=marks,
                labels=labels,
                truncated=cut or any(overflow for _, _, _, overflow in rows),
                usable=usable,
                lost=lost,
                silent=_silent(example, marks[0], bool(rows[0][3])) if task.kind == "tagging" else (0, 0),
            )


Row = tuple[list[int], list[int], list[Span | None], bool]


def encodings(texts: Sequence[tuple[str, str | None]], tokenizer: Any, max_length: int | None = None) -> list[Any]:
    """The tokenizer's encoding of every sequence, in order, cut at ``max_length`` tokens if there is one.

    A text alone and one with a second text are different to a tokenizer, whatever else is in the list.
    """
    out: list[Any] = [None] * len(texts)
    for paired in (False, True):
        chosen = [i for i, (_, second) in enumerate(texts) if (second is not None) == paired]
        if not chosen:
            continue
        encoded = tokenizer(
            [texts[i][0] for i in chosen],
            [texts[i][1] for i in chosen] if paired else None,
            truncation=max_length is not None and ("longest_first" if paired else True),
            max_length=max_length,
            padding=False,
            return_token_type_ids=False,  # the encodings have types and offsets all the same
            return_attention_mask=False,
            verbose=False,
        )
        for i, encoding in zip(chosen, encoded.encodings, strict=True):
            out[i] = encoding
    return out


def _encode(texts: Sequence[tuple[str, str | None]], tokenizer: Any, max_length: int) -> Iterator[Row]:
    """(ids, token types, character offsets in the first text, cut) of every sequence."""
    for encoding in encodings(texts, tokenizer, max_length):
        inside = [
            offset if sequence == 0 and offset[0] < offset[1] else None
            for offset, sequence in zip(encoding.offsets, encoding.sequence_ids, strict=True)
        ]
        yield list(encoding.ids), list(encoding.type_ids), inside, bool(encoding.overflowing)


def _silent(example: Example, marks: Sequence[int], cut: bool) -> tuple[int, int]:
    """How many words have no token of their own, what was cut off aside, and how many entities have such a word."""
    shown = set(marks)
    reached = max(shown, default=-1) if cut else len(example.words)
    words = [i for i in range(min(reached, len(example.words))) if i not in shown]
    starts = [i for i, tag in enumerate(example.tags) if tag.startswith("B-")]
    # The entity that a word is in is the last one that began, if no O stands between.
    inside = {bisect_right(starts, i) for i in words if example.tags[i] != "O"}
    return len(words), len(inside)


def _span_labels(task: Task, example: Example, marks: Sequence[int]) -> tuple[list[int], int]:
    """For each mention that can be expressed: label, number of pieces, and first word and width - 1 of each piece."""
    shown = set(marks)
    out: list[int] = []
    lost = 0
    for label, pieces in dict.fromkeys(example.mentions):
        found = in_words(example, sorted(set(pieces)))
        good = found is not None and all(b - a <= task.max_width and {a, b - 1} <= shown for a, b in found)
        if good and (len(found) == 1 or task.discontiguous):
            out += [task.labels.index(label), len(found), *(n for a, b in found for n in (a, b - a - 1))]
        else:
            lost += 1
    return out, lost


def _labels(task: Task, example: Example, numbers: dict[str, int]) -> list[int] | list[float]:
    if task.kind == "spans":
        return []
    if task.kind == "regression":
        return [(example.value - task.mean) / task.std]
    if task.kind == "tagging":
        return [numbers[tag] for tag in example.tags]
    if task.kind == "multilabel":
        return [int(label in example.labels) for label in task.classes]
    if task.kind == "ranking":
        return [int(label == "relevant") for label in example.labels]
    return [numbers[example.labels[0]]]


def _marks(task: Task, example: Example, offsets: Sequence[Span | None], spans: Mentions | None) -> list[int]:
    if task.kind in ("tagging", "spans"):
        return _word_numbers(example.words, offsets)
    if spans is None:
        return [-1] * len(offsets)
    inside = np.array([offset is not None for offset in offsets])
    places = np.array([offset or (0, 0) for offset in offsets])
    bits = np.zeros(len(offsets), dtype=np.int64)
    for (sign, *pieces), sign_bit, bit in zip(spans, (HEAD_SIGN, TAIL_SIGN), (HEAD, TAIL), strict=True):
        bits += sign_bit * _touching(places, [sign]) + bit * _touching(places, pieces)
    return np.where(inside, bits, -1).tolist()


def _touching(offsets: np.ndarray, pieces: Sequence[Span]) -> np.ndarray:
    """Which of the character spans, int [n, 2], share a character with one of the pieces: bool [n]."""
    out = np.zeros(len(offsets), dtype=bool)
    for a, b in pieces:
        out |= (offsets[:, 0] < b) & (a < offsets[:, 1])
    return out


def _word_numbers(words: Sequence[Span], offsets: Sequence[Span | None]) -> list[int]:
    """The word's number at the first token that touches it, -1 elsewhere; words and tokens both run left to right."""
    marks, word = [-1] * len(offsets), 0
    for i, offset in enumerate(offsets):
        if offset is None:
            continue
        while word < len(words) and words[word][1] <= offset[0]:
            word += 1
        if word < len(words) and words[word][0] < offset[1]:
            marks[i] = word
            word += 1
    return marks


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
