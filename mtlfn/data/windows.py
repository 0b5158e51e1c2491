"""From documents to examples: a text is cut between sentences into windows, and no offset is lost.

Words are runs of letters, runs of digits or single signs, so that a mention that ends inside "T6" still ends at a word.
A window is as many sentences as it has room for; a sentence that alone has too many words is cut between words. In
training, no cut goes through a mention. In evaluation the cuts do not look at the mentions, which a model would not
know: a mention that a cut goes through counts as missed.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from attrs import evolve

from mtlfn.data.document import Document
from mtlfn.data.example import Example, Span

WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")
SENTENCE_END = re.compile(r"[.!?][\"')\]]*\s+|\n\s*\n\s*")
WORDS = 100  # of a window, at most; clinical text has about 1.5 word pieces a word


def words(text: str) -> tuple[Span, ...]:
    """The words of a text, in order; every character that is no white space belongs to one."""
    return tuple(match.span() for match in WORD.finditer(text))


def hull(pieces: Sequence[Span]) -> Span:
    """From the first character of a mention to its last."""
    return min(start for start, _ in pieces), max(end for _, end in pieces)


def cut(text: str, keep: Iterable[Span] = (), limit: int = WORDS) -> tuple[Span, ...]:
    """The windows of a text, in order: together all of it. No cut lies inside a span of ``keep``.

    A window has at most ``limit`` words, unless a span of ``keep`` alone has more. Time and memory grow with the length
    of the text, not with its square, also where no sentence ends.
    """
    whole = _together(keep)
    starts = [start for start, _ in words(text)]
    sentences = _outside((match.end() for match in SENTENCE_END.finditer(text)), whole)
    between = _outside(starts[1:], whole)
    out, begin, first = [], 0, 0  # the window begins at this character and this word
    while len(starts) - first > limit:
        reach = starts[first + limit]  # the word that does not fit
        end = _last(sentences, begin, reach) or _last(between, begin, reach)
        if not end:
            later = bisect_right(between, reach)
            if later == len(between):
                break
            end = between[later]
        out.append((begin, end))
        begin, first = end, bisect_left(starts, end)
    return (*out, (begin, len(text)))


def _together(spans: Iterable[Span]) -> list[Span]:
    """The spans in order; those that share a character are one."""
    out: list[Span] = []
    for start, end in sorted(spans):
        if out and start < out[-1][1]:
            out[-1] = out[-1][0], max(out[-1][1], end)
        else:
            out.append((start, end))
    return out


def _outside(places: Iterable[int], spans: Sequence[Span]) -> list[int]:
    """The places, given in order, that no span has before and behind them."""
    out, i = [], 0
    for place in places:
        while i < len(spans) and spans[i][1] <= place:
            i += 1
        if i == len(spans) or place <= spans[i][0]:
            out.append(place)
    return out


def _last(places: Sequence[int], after: int, most: int) -> int:
    """The greatest of the places that is above ``after`` and no more than ``most``; 0 where there is none."""
    i = bisect_right(places, most) - 1
    return places[i] if i >= 0 and places[i] > after else 0


def examples(document: Document, labels: Sequence[str], *, training: bool, limit: int = WORDS) -> tuple[Example, ...]:
    """The examples of kind "spans" of a document: a window each, without those that have no word.

    A mention belongs to the window that its first character is in. Mentions of other types are left out.
    """
    mentions = tuple((m.label, m.pieces) for m in document.mentions if m.label in labels)
    whole = Example(id=document.id, unit=document.id, texts=((document.text, None),), mentions=mentions)
    return parts(whole, training=training, limit=limit)


def parts(whole: Example, *, training: bool, limit: int = WORDS) -> tuple[Example, ...]:
    """A text with its mentions in windows that have a word; mentions stay in characters of the whole text."""
    ((text, _),) = whole.texts
    keep = [hull(pieces) for _, pieces in whole.mentions] if training else ()
    windows = cut(text, keep, limit)
    inside: dict[int, list[tuple[str, tuple[Span, ...]]]] = {}
    for label, pieces in whole.mentions:
        number = bisect_right(windows, (hull(pieces)[0], len(text))) - 1
        inside.setdefault(number, []).append((label, pieces))
    return tuple(
        evolve(
            whole,
            id=f"{whole.id}@{start}",
            texts=((text[start:end], None),),
            words=spans,
            mentions=tuple(inside.get(number, ())),
            offset=start,
        )
        for number, (start, end) in enumerate(windows)
        if (spans := words(text[start:end]))
    )


def whole_of(part: Example) -> str:
    """The id of the text that a window is of, in whose characters its mentions are."""
    return part.id.rpartition("@")[0] or part.id


def in_words(example: Example, pieces: Sequence[Span]) -> tuple[Span, ...] | None:
    """The pieces as word numbers, end exclusive; None where a piece is not made of whole words of the example."""
    words, places = example.words, []
    for a, b in pieces:
        first = bisect_left(words, a - example.offset, key=lambda word: word[0])
        last = bisect_left(words, b - example.offset, lo=first, key=lambda word: word[1])
        if last == len(words) or (words[first][0], words[last][1]) != (a - example.offset, b - example.offset):
            return None
        places.append((first, last + 1))
    return tuple(places)


def in_characters(example: Example, pieces: Iterable[Span]) -> tuple[Span, ...]:
    """Word numbers as characters of the document."""
    at = example.offset
    return tuple((at + example.words[a][0], at + example.words[b - 1][1]) for a, b in pieces)
