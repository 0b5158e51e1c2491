"""Candidates for links between mentions of a document: pairs near each other, each an example of kind "relation".

A pair lies in one sentence, or a source that reaches over (a time, in Clinical TempEval) lies in the sentence before or
after its target. Links between what is farther apart cannot be found; ``unreachable`` counts them.

The text of a pair is its whole sentences, or of those that have more than ``STRETCH`` words (a text without sentence
ends is one sentence) as many around the pair: what a corpus takes grows with its length, not with its square.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator

from attrs import frozen

from mtlfn.data.document import Document, Mention
from mtlfn.data.example import Example, Span
from mtlfn.data.windows import SENTENCE_END, hull, words

STRETCH = 400  # words of a pair's text, at most: more than 512 tokens, the longest rows by default, can show


@frozen(kw_only=True)
class Near:
    """Which mentions are a pair.

    Attributes:
        sources, targets: labels of mentions.
        reaching: labels of sources that may lie in a neighbouring sentence.
        words: words between the two, at most.
    """

    sources: Collection[str]
    targets: Collection[str]
    reaching: Collection[str] = ()
    words: int = 40


@frozen(kw_only=True)
class Candidates(Near):
    """Which pairs are candidates.

    Attributes:
        link: the label of the links to be found; ``positive``, ``negative``: the classes of pairs with and without it.
    """

    link: str
    positive: str
    negative: str


def sentences(text: str, borders: Collection[int] = ()) -> tuple[Span, ...]:
    """The sentences of a text, in order: together all of it. None goes across one of the ``borders``."""
    found = {*(match.end() for match in SENTENCE_END.finditer(text)), *borders}
    ends = sorted(end for end in found if 0 < end < len(text))
    return tuple(zip([0, *ends], [*ends, len(text)], strict=True))


def examples(document: Document, candidates: Candidates) -> tuple[Example, ...]:
    """An example a candidate, in the order of source and target in the document; none where nothing was linked."""
    if not document.linked:
        return ()
    linked = {(link.source, link.target) for link in document.links if link.label == candidates.link}
    return tuple(
        _example(document, source, target, window, (source.id, target.id) in linked, candidates)
        for source, target, window, _ in near(document, candidates)
    )


def shortened(document: Document, candidates: Candidates) -> int:
    """How many pairs are shown in a part of their sentences."""
    return sum(cut for *_, cut in near(document, candidates)) if document.linked else 0


def unreachable(document: Document, candidates: Candidates) -> int:
    """How many links to be found are between mentions that are no candidates."""
    reached = {(source.id, target.id) for source, target, *_ in near(document, candidates)}
    wanted = {(link.source, link.target) for link in document.links if link.label == candidates.link}
    return len(wanted - reached)


@frozen
class _Located:
    """A mention, its hull, its first and last sentence, and how many words begin up to its first and last character."""

    mention: Mention
    hull: Span
    first: int
    last: int
    opening: int
    closing: int

    @property
    def word(self) -> int:
        return max(self.opening - 1, 0)


def near(document: Document, candidates: Near) -> Iterator[tuple[Mention, Mention, Span, bool]]:
    """Source, target, the stretch of text that holds both, and whether that is less than their whole sentences."""
    whole = sentences(document.text, document.borders)
    begins = [start for start, _ in whole]
    spans = words(document.text)
    starts = [start for start, _ in spans]

    def located(mention: Mention) -> _Located:
        start, end = hull(mention.pieces)
        sentence = bisect_right(begins, start) - 1, bisect_right(begins, end - 1) - 1
        return _Located(mention, (start, end), *sentence, bisect_right(starts, start), bisect_right(starts, end - 1))

    ordered = [located(m) for m in sorted(document.mentions, key=lambda m: (hull(m.pieces), m.id))]
    targets = [place for place in ordered if place.mention.label in candidates.targets]
    target_words = [place.word for place in targets]
    for a in ordered:
        if a.mention.label not in candidates.sources:
            continue
        reach = 1 if a.mention.label in candidates.reaching else 0
        near = bisect_left(target_words, a.closing - STRETCH), bisect_right(target_words, a.closing + candidates.words)
        for b in targets[slice(*near)]:
            before, behind = (a, b) if a.hull <= b.hull else (b, a)
            extent = min(a.word, b.word), max(a.closing, b.closing)
            if (
                a.mention.id == b.mention.id
                or max(b.first - a.last, a.first - b.last) > reach
                or behind.opening - before.closing > candidates.words
                or extent[1] - extent[0] > STRETCH
            ):
                continue
            stretch = whole[min(a.first, b.first)][0], whole[max(a.last, b.last)][1]
            inside = bisect_left(starts, stretch[0]), bisect_left(starts, stretch[1])
            if cut := inside[1] - inside[0] > STRETCH:
                spare = STRETCH - (extent[1] - extent[0])
                first = min(max(extent[0] - spare // 2, inside[0]), inside[1] - STRETCH)
                stretch = min(spans[first][0], before.hull[0]), max(spans[first + STRETCH - 1][1], a.hull[1], b.hull[1])
            yield a.mention, b.mention, stretch, cut


def _example(
    document: Document, source: Mention, target: Mention, window: Span, linked: bool, candidates: Candidates
) -> Example:
    start, end = window
    return Example(
        id=f"{document.id}|{source.id}|{target.id}",
        unit=document.id,
        texts=((document.text[start:end], None),),
        head=moved(source, start),
        tail=moved(target, start),
        labels=(candidates.positive if linked else candidates.negative,),
        offset=start,
    )


def moved(mention: Mention, start: int) -> tuple[Span, ...]:
    """The pieces of a mention in a text that begins at ``start`` of the document's, from left to right."""
    return tuple(sorted((a - start, b - start) for a, b in mention.pieces))
