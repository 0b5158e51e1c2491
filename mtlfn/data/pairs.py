"""Candidates for links between mentions of a document: pairs near each other, each an example of kind "relation".

A pair lies in one sentence, or a source that reaches over (a time, in Clinical TempEval) lies in the sentence before or
after its target. Links between what is farther apart cannot be found; ``unreachable`` counts them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection

from attrs import frozen

from mtlfn.data.formats.document import Document, Mention
from mtlfn.data.task import Example, Span
from mtlfn.data.windows import SENTENCE_END, hull, words


@frozen(kw_only=True)
class Candidates:
    """Which pairs are candidates.

    Attributes:
        link: the label of the links to be found; ``positive``, ``negative``: the classes of pairs with and without it.
        sources, targets: labels of mentions.
        reaching: labels of sources that may lie in a neighbouring sentence.
        words: words between the two, at most.
    """

    link: str
    positive: str
    negative: str
    sources: Collection[str]
    targets: Collection[str]
    reaching: Collection[str]
    words: int = 40


def sentences(text: str) -> tuple[Span, ...]:
    """The sentences of a text, in order: together all of it."""
    ends = [m.end() for m in SENTENCE_END.finditer(text) if m.end() < len(text)]
    return tuple(zip([0, *ends], [*ends, len(text)], strict=True))


def examples(document: Document, candidates: Candidates) -> tuple[Example, ...]:
    """An example a candidate, in the order of source and target in the document; none where nothing was linked."""
    if not document.linked:
        return ()
    linked = {(link.source, link.target) for link in document.links if link.label == candidates.link}
    return tuple(
        _example(document, source, target, window, (source.id, target.id) in linked, candidates)
        for source, target, window in _pairs(document, candidates)
    )


def unreachable(document: Document, candidates: Candidates) -> int:
    """How many links to be found are between mentions that are no candidates."""
    reached = {(source.id, target.id) for source, target, _ in _pairs(document, candidates)}
    wanted = {(link.source, link.target) for link in document.links if link.label == candidates.link}
    return len(wanted - reached)


def _pairs(document: Document, candidates: Candidates) -> list[tuple[Mention, Mention, Span]]:
    """Source, target and the stretch of text that holds both in whole sentences."""
    found = sentences(document.text)
    starts = [start for start, _ in found]
    word_starts = [start for start, _ in words(document.text)]

    def place(mention: Mention) -> tuple[int, int]:
        """First and last sentence of a mention."""
        start, end = hull(mention.pieces)
        return bisect_right(starts, start) - 1, bisect_right(starts, end - 1) - 1

    def between(a: Mention, b: Mention) -> int:
        first, second = sorted((hull(a.pieces), hull(b.pieces)))
        return bisect_right(word_starts, second[0]) - bisect_right(word_starts, first[1] - 1)

    ordered = sorted(document.mentions, key=lambda m: (hull(m.pieces), m.id))
    sources = [m for m in ordered if m.label in candidates.sources]
    targets = [m for m in ordered if m.label in candidates.targets]
    places = {m.id: place(m) for m in (*sources, *targets)}
    out = []
    for source in sources:
        for target in targets:
            if source.id == target.id:
                continue
            (a, b), (c, d) = places[source.id], places[target.id]
            gap = max(c - b, a - d, 0)
            if gap > (1 if source.label in candidates.reaching else 0) or between(source, target) > candidates.words:
                continue
            out.append((source, target, (found[min(a, c)][0], found[max(b, d)][1])))
    return out


def _example(
    document: Document, source: Mention, target: Mention, window: Span, linked: bool, candidates: Candidates
) -> Example:
    start, end = window

    def moved(mention: Mention) -> tuple[Span, ...]:
        return tuple(sorted((a - start, b - start) for a, b in mention.pieces))

    return Example(
        id=f"{document.id}|{source.id}|{target.id}",
        unit=document.id,
        texts=((document.text[start:end], None),),
        head=moved(source),
        tail=moved(target),
        labels=(candidates.positive if linked else candidates.negative,),
        offset=start,
    )
