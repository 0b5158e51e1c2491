"""From examples with character offsets to tokens with marks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attrs import frozen

from mtlfn.data.example import Example, Span
from mtlfn.data.task import Task, kind_of

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


def tokenise(task: Task, examples: Sequence[Example], tokenizer: Any, max_length: int) -> Iterator[Tokenised]:
    """Tokens of every example, in order; special tokens included, no sequence longer than ``max_length``."""
    kind = kind_of(task)
    for at in range(0, len(examples), CHUNK):
        chunk = examples[at : at + CHUNK]
        laid = kind.lay(chunk, tokenizer, max_length)
        encoded = iter(_encode([text for each in laid for text in each.texts], tokenizer, max_length))
        for example, each in zip(chunk, laid, strict=True):
            rows = [next(encoded) for _ in each.texts]
            marks = [kind.marks(example, offsets, each.places) for _, _, offsets, _ in rows]
            labels, lost = kind.labels(task, example, marks[0])
            yield Tokenised(
                ids=[ids for ids, _, _, _ in rows],
                types=[types for _, types, _, _ in rows],
                marks=marks,
                labels=labels,
                truncated=each.cut or any(overflow for _, _, _, overflow in rows),
                usable=kind.shown(marks[0]) and all(ids for ids, _, _, _ in rows),
                lost=lost,
                silent=kind.silent(example, marks[0], bool(rows[0][3])),
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
