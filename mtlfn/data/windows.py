"""From documents to examples: a text is cut between sentences into windows, and no offset is lost.

Words are runs of letters, runs of digits or single signs, so that a mention that ends inside "T6" still ends at a word.
A window is as many sentences as it has room for; a sentence that alone has too many words is cut between words. In
training, no cut goes through a mention. In evaluation the cuts do not look at the mentions, which a model would not
know: a mention that a cut goes through counts as missed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mtlfn.data.formats.document import Document, Mention
from mtlfn.data.task import Example, Span

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

    A window has at most ``limit`` words, unless a span of ``keep`` alone has more.
    """
    inside: set[int] = set()
    for start, end in keep:
        inside.update(range(start + 1, end))
    found = words(text)
    sentences = {match.end() for match in SENTENCE_END.finditer(text)} - inside
    between = [start for start, _ in found[1:] if start not in inside]
    out, begin, first = [], 0, 0  # the window begins at this character and this word
    while len(found) - first > limit:
        reach = found[first + limit][0]  # the word that does not fit
        fits = [p for p in sentences if begin < p <= reach] or [p for p in between if begin < p <= reach]
        later = [p for p in between if p > reach]
        if not fits and not later:
            break
        end = max(fits) if fits else min(later)
        out.append((begin, end))
        begin = end
        first = next((i for i in range(first, len(found)) if found[i][0] >= end), len(found))
    return (*out, (begin, len(text)))


def examples(document: Document, labels: Sequence[str], *, training: bool, limit: int = WORDS) -> tuple[Example, ...]:
    """The examples of kind "spans" of a document: a window each, without those that have no word.

    A mention belongs to the window that its first character is in. Mentions of other types are left out.
    """
    wanted = [m for m in document.mentions if m.label in labels]
    keep = [hull(m.pieces) for m in wanted] if training else ()
    made = []
    for start, end in cut(document.text, keep, limit):
        text = document.text[start:end]
        if not (inside := words(text)):
            continue
        held = tuple(_plain(m) for m in wanted if start <= hull(m.pieces)[0] < end)
        made.append(
            Example(
                id=f"{document.id}@{start}",
                unit=document.id,
                texts=((text, None),),
                words=inside,
                mentions=held,
                offset=start,
            )
        )
    return tuple(made)


def _plain(mention: Mention) -> tuple[str, tuple[Span, ...]]:
    return mention.label, mention.pieces


def in_words(example: Example, pieces: Sequence[Span]) -> tuple[Span, ...] | None:
    """The pieces as word numbers, end exclusive; None where a piece is not made of whole words of the example."""
    starts = {a + example.offset: i for i, (a, _) in enumerate(example.words)}
    ends = {b + example.offset: i + 1 for i, (_, b) in enumerate(example.words)}
    found = [(starts.get(a), ends.get(b)) for a, b in pieces]
    if any(a is None or b is None for a, b in found):
        return None
    return tuple(found)


def in_characters(example: Example, pieces: Iterable[Span]) -> tuple[Span, ...]:
    """Word numbers as characters of the document."""
    at = example.offset
    return tuple((at + example.words[a][0], at + example.words[b - 1][1]) for a, b in pieces)
