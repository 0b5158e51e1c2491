"""Documents with stand-off annotation as rows, whatever file they lie in: brat, BioC and BigBIO give the same ones.

``spans``: a row a document. ``tagging``: a row a sentence. ``relation``: a row an ordered pair of mentions of one
sentence, of types that some relation of the training split joins in that order, so that all splits have the same kind
of candidates. What rows cannot hold is left out and counted: no split looks at its annotation to be cut.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache, partial
from typing import Any

from attrs import field, frozen

from mtlfn.data.document import Document, Link, Mention, fits
from mtlfn.data.example import DataError, Span, short
from mtlfn.data.semeval.pairs import STRETCH, Near, moved, near, sentences
from mtlfn.data.tables.mapping import Mapping, entity_types, split_name
from mtlfn.data.tables.table import FIRST, Place, Row, Table
from mtlfn.data.windows import cut, hull, words

UNUSABLE = "unusable annotations left out"
SHOWN = 12  # labels that an error lists
GAP = 2**16  # characters of a document that lie in no passage, at most


@frozen
class Tally:
    """What reading a split counts, in words.

    ``skip``: whether what cannot be used is left out, too, or an error. ``problems``: of the first left out.
    """

    counts: dict[str, int]
    skip: bool = False
    problems: list[str] = field(factory=list)

    def count(self, what: str) -> None:
        """Something that the rows cannot hold, or that is to be known."""
        self.counts[what] = self.counts.get(what, 0) + 1

    def unusable(self, problem: str) -> None:
        """Something that is wrong: DataError, or counted."""
        if not self.skip:
            raise DataError(problem)
        self.count(UNUSABLE)
        if len(self.problems) < FIRST:
            self.problems.append(problem)


Read = Callable[[Tally], Iterator[tuple[Place, Document]]]  # the documents of a split


@frozen(kw_only=True)
class Annotation:
    """A mention as a file has it. ``text``: what the file says that it is; None where it does not. ``place``: in it."""

    id: str
    label: str
    pieces: tuple[Span, ...]
    text: str | None
    place: Place


@frozen(kw_only=True)
class Relation:
    """A relation as a file has it; ``ends``: ids of head and tail, if it has these two."""

    label: str
    ends: tuple[str, ...]
    place: Place


# From a file's annotations to a document


def document(
    name: str,
    text: str,
    annotations: Iterable[Annotation],
    relations: Iterable[Relation],
    others: Collection[str],
    tally: Tally,
    borders: tuple[int, ...] = (),
) -> Document:
    """The document; an annotation that is not in the text, or not what it says it is, is unusable.

    Args:
        others: ids of what relations may join and no row can hold (events, relations).
        borders: where parts of the text begin (``laid``).
    """
    mentions: dict[str, Mention] = {}
    known: set[str] = set()
    for each in annotations:
        if each.id in known:
            tally.unusable(
                f"{each.place}: the id {each.id!r} is also that of another; ids must be unique in a document"
            )
            continue
        known.add(each.id)
        if all(start == end for start, end in each.pieces):
            tally.count("mentions without characters left out")
        elif problem := mismatch(each, text):
            tally.unusable(f"{each.place}: {problem}")
        else:
            mentions[each.id] = Mention(id=each.id, label=each.label, pieces=_joined(each.pieces, text))
    links: list[Link] = []
    for each in relations:
        if len(each.ends) != 2:
            tally.count("relations that do not join two mentions left out")
        elif unknown := [end for end in each.ends if end not in known and end not in others]:
            tally.unusable(f"{each.place}: found the id {unknown[0]!r}, expected that of a mention of the document")
        elif not set(each.ends) <= mentions.keys():
            tally.count("relations of what is no mention in the rows left out")
        else:
            head, tail = each.ends
            links.append(Link(id=str(len(links)), label=each.label, source=head, target=tail))
    return Document(id=name, text=text, mentions=tuple(mentions.values()), links=tuple(links), borders=borders)


def mismatch(annotation: Annotation, text: str) -> str | None:
    """Where an annotation is not in the text, or not what it says; white space of any kind counts as a blank."""
    if not fits(annotation.pieces, text):
        return (
            f"found the offsets {short(list(annotation.pieces))} in a text of {len(text):,} characters, expected a "
            "start before each end"
        )
    if annotation.text is None:
        return None
    there = " ".join(text[start:end] for start, end in annotation.pieces)
    shown, expected = _blank(annotation.text), _blank(there)
    # How the pieces of a mention are joined, every tool decides for itself.
    if shown == expected or (len(annotation.pieces) > 1 and shown.replace(" ", "") == expected.replace(" ", "")):
        return None
    counted = "; are line ends of two characters counted as one?" if "\r\n" in text else ""
    return (
        f"found {short(annotation.text)}, expected what its offsets give, {short(there)}; offsets count characters "
        f"(not bytes) from 0{counted}"
    )


def _blank(text: str) -> str:
    return "".join(" " if character.isspace() else character for character in text)


def _joined(pieces: Iterable[Span], text: str) -> tuple[Span, ...]:
    """The pieces from left to right; those that touch, or that white space alone parts (a line end), are one."""
    out: list[Span] = []
    for start, end in sorted(pieces):
        if out and (start <= out[-1][1] or text[out[-1][1] : start].isspace()):
            out[-1] = out[-1][0], max(out[-1][1], end)
        else:
            out.append((start, end))
    return tuple(out)


def laid(parts: Iterable[tuple[int, str]]) -> tuple[str, tuple[int, ...]]:
    """The text of a document of parts at their offsets, line feeds between them, and where parts begin. DataError where
    two overlap."""
    out: list[str] = []
    begins: list[int] = []
    at, gap = 0, 0
    for offset, text in sorted((part for part in parts if part[1]), key=lambda part: part[0]):
        if offset < at:
            raise DataError(f"the passage at {offset:,} begins inside the one before, which ends at {at:,}")
        gap += offset - at
        if gap > GAP:
            raise DataError(f"the passage at {offset:,} is far from the one before, which ends at {at:,}")
        out += ["\n" * (offset - at), text]
        begins.append(offset)
        at = offset + len(text)
    return "".join(out), tuple(begins)


# From documents to rows


@frozen
class _Split:
    """A split to be read as rows; ``pairs``: of types, (head, tail), that are candidates, read when asked for."""

    name: str  # of the task
    place: Place
    read: Read
    mapping: Mapping
    trained: bool
    pairs: Callable[[], set[tuple[str, str]]]
    notes: dict[str, int] = field(factory=dict)
    unusable: list[str] = field(factory=list)
    texts: dict[str, str] = field(factory=dict)

    def rows(self) -> Iterator[tuple[Place, Row]]:
        """Rows by role with their places. DataError where nothing in the training split has a label asked for."""
        self.notes.clear()
        self.unusable.clear()
        tally = Tally(self.notes, self.mapping.skip_unusable, self.unusable)
        wanted, (rows_of, labelled) = entity_types(self.mapping), ROWS[self.mapping.kind]
        seen: Counter[str] = Counter()
        for where, document in self.read(tally):
            self.texts[document.id] = document.text
            seen.update(each.label for each in labelled(document))
            if not words(document.text):
                tally.count("documents without a word left out")
                continue
            for row in rows_of(self, document, wanted, tally):
                yield where, row
        if self.trained:
            expect_labels(self.name, self.place, wanted, seen)


def tables(name: str, mapping: Mapping, form: str, splits: dict[Any, tuple[Place, Read]]) -> dict[Any, Table]:
    """Tables by role.

    Args:
        name: of the task. form: of the files, as errors name it.
        splits: name -> how errors name it, its documents.
    """
    if mapping.kind not in ROWS:
        raise DataError(f"task {name}: the kind is {mapping.kind!r}, and {form} holds {', '.join(ROWS)}; correct kind")
    train = split_name(mapping.splits.train)
    pairs = cache(partial(_pairs, splits[train][1] if train in splits else lambda _: iter(()), mapping))
    out = {}
    for split, (place, read) in splits.items():
        rows = _Split(name, place, read, mapping, split == train, pairs)
        out[split] = Table(
            place=place, rows=rows.rows, by_role=True, notes=rows.notes, unusable=rows.unusable, texts=rows.texts
        )
    return out


def expect_labels(name: str, place: Place, wanted: Collection[str], seen: Collection[str]) -> None:
    """DataError where none of the labels asked for was seen in the training split."""
    if set(wanted) & set(seen):
        return
    labels = ", ".join(sorted(map(repr, seen))[:SHOWN]) + (" and more" if len(seen) > SHOWN else "")
    raise DataError(
        f"task {name}: nothing in {place} has one of the labels {', '.join(wanted)}, labels found: {labels or 'none'}; "
        f"correct labels in [task.{name}]"
    )


def _pairs(read: Read, mapping: Mapping) -> set[tuple[str, str]]:
    """Types of head and tail of every relation between two mentions with a label of the mapping."""
    out = set()
    for _, each in read(Tally({}, mapping.skip_unusable)):
        kind = {mention.id: mention.label for mention in each.mentions}
        links = [link for link in each.links if link.label in mapping.labels and link.source != link.target]
        out |= {(kind[link.source], kind[link.target]) for link in links}
    return out


def _of_labels(document: Document, labels: Collection[str], tally: Tally) -> list[Mention]:
    out = []
    for mention in document.mentions:
        if mention.label in labels:
            out.append(mention)
        else:
            tally.count("mentions of other labels left out")
    return out


def spans_rows(document: Document, labels: Collection[str], tally: Tally) -> Iterator[Row]:
    """The document."""
    mentions = [[m.label, [list(piece) for piece in m.pieces]] for m in _of_labels(document, labels, tally)]
    yield {"id": document.id, "unit": document.id, "text": document.text, "mentions": mentions}


def tagging_rows(document: Document, labels: Collection[str], tally: Tally) -> Iterator[Row]:
    """Its sentences, long ones in parts: words and their IOB2 tags. Of mentions that overlap, the first and longest."""
    text = document.text
    spans = words(text)
    starts, ends = [start for start, _ in spans], [end for _, end in spans]
    borders = [bisect_left(starts, a + end) for a, b in sentences(text, document.borders) for _, end in cut(text[a:b])]
    tags = ["O"] * len(spans)
    entities = set()
    for mention in _of_labels(document, labels, tally):
        if len(mention.pieces) > 1:
            tally.count("mentions of several pieces left out of tags")
            continue
        start, end = hull(mention.pieces)
        first, last = bisect_left(starts, start), bisect_right(ends, end)
        if first >= last or (starts[first], ends[last - 1]) != (start, end):
            tally.count("mentions of parts of words left out of tags")
        elif bisect_right(borders, first) != bisect_right(borders, last - 1):
            tally.count("mentions across sentences left out of tags")
        else:
            entities.add((first, -last, mention.label))
    free = 0  # the word from which on no tag is set
    for first, behind, label in sorted(entities):
        if first < free:
            tally.count("mentions that overlap another left out of tags")
            continue
        tags[first:-behind] = [f"B-{label}", *[f"I-{label}"] * (-behind - first - 1)]
        free = -behind
    for first, last in zip([0, *borders], borders, strict=False):
        if first < last:
            yield {
                "id": f"{document.id}@{starts[first]}",
                "unit": document.id,
                "tokens": [text[a:b] for a, b in spans[first:last]],
                "tags": tags[first:last],
            }


def relation_rows(
    document: Document, labels: tuple[str, ...], negative: str, pairs: set[tuple[str, str]], tally: Tally
) -> Iterator[Row]:
    """Its candidates: mentions of one sentence, no more than ``STRETCH`` words apart, of a pair of types."""
    kind = {mention.id: mention.label for mention in document.mentions}
    related: dict[tuple[str, str], set[str]] = {}
    for link in document.links:
        if link.label not in labels:
            tally.count("relations of other labels left out")
        elif link.source == link.target:
            tally.count("relations of a mention with itself left out")
        elif (kind[link.source], kind[link.target]) not in pairs:
            tally.count("relations of types that no training relation joins left out")
        else:
            related.setdefault((link.source, link.target), set()).add(link.label)
    candidates = Near(sources={head for head, _ in pairs}, targets={tail for _, tail in pairs}, words=STRETCH)
    for head, tail, (start, end), _ in near(document, candidates):
        if (head.label, tail.label) not in pairs:
            continue
        ordered = sorted(
            related.pop((head.id, tail.id), {negative}), key=lambda label: (label == negative, labels.index(label))
        )
        for _ in ordered[1:]:
            tally.count("relations beside another of their mentions left out")
        yield {
            "id": f"{document.id}|{head.id}|{tail.id}",
            "unit": document.id,
            "text": document.text[start:end],
            "head": [list(piece) for piece in moved(head, start)],
            "tail": [list(piece) for piece in moved(tail, start)],
            "label": ordered[0],
        }
    for several in related.values():
        for _ in several:
            tally.count("relations across sentences left out")


def _candidates(split: _Split, document: Document, labels: tuple[str, ...], tally: Tally) -> Iterator[Row]:
    assert split.mapping.negative is not None, "the mapping looked"
    return relation_rows(document, labels, split.mapping.negative, split.pairs(), tally)


# kind -> the rows of a document of a split, and what of it has the labels asked for
ROWS: dict[str, tuple[Callable[[_Split, Document, tuple[str, ...], Tally], Iterator[Row]], Callable[[Document], Any]]]
ROWS = {
    "spans": (lambda _, *given: spans_rows(*given), lambda document: document.mentions),
    "tagging": (lambda _, *given: tagging_rows(*given), lambda document: document.mentions),
    "relation": (_candidates, lambda document: document.links),
}
