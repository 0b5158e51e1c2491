"""IOB2, the tag scheme of every tagging task here: B- begins an entity, I- goes on with one of its type."""

from __future__ import annotations

from collections.abc import Sequence

from mtlfn.data.example import DataError, Span


def valid_iob2(tags: Sequence[str]) -> list[str]:
    """The tags with every I- that continues nothing of its type made a B-."""
    out: list[str] = []
    for tag in tags:
        continues = bool(out) and out[-1][2:] == tag[2:] and out[-1] != "O"
        out.append("B-" + tag[2:] if tag.startswith("I-") and not continues else tag)
    return out


def join_words(words: Sequence[str]) -> tuple[str, tuple[Span, ...]]:
    """The words joined by one blank, and the character span of each in that text. DataError names an empty word."""
    spans, end = [], -1
    for position, word in enumerate(words):
        if not word:
            raise DataError(f"the word at position {position} is empty, expected at least one character")
        start = end + 1
        end = start + len(word)
        spans.append((start, end))
    return " ".join(words), tuple(spans)


def same_length(tokens: Sequence[str], tags: Sequence[str]) -> None:
    """DataError with both lengths, unless there is one tag a token and at least one token."""
    if not tokens or len(tokens) != len(tags):
        raise DataError(f"{len(tags)} tags for {len(tokens)} tokens, expected one tag a token and at least one token")
