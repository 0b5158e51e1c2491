"""SemEval-2016 task 12, Clinical TempEval: sets of spans, of spans with a value, and of links under temporal closure.

Counts are summed over the gold documents; what is predicted for others is ignored. Precision is 1 where nothing is
predicted, recall is 1 where there is no gold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from mtlfn.data.document import Document, Mention
from mtlfn.data.example import DataError
from mtlfn.data.scoring.spans import Mentions, Pieces, ratio

TYPES = ("TIMEX3", "EVENT")
PROPERTIES = (
    ("TIMEX3", "Class"),
    ("EVENT", "Type"),
    ("EVENT", "Degree"),
    ("EVENT", "Polarity"),
    ("EVENT", "ContextualModality"),
    ("EVENT", "DocTimeRel"),
)
CLINICAL = "clin"  # in the id of every document whose links were annotated

SpanLink = tuple[Pieces, Pieces]  # from container to contained


def entities(gold: Mentions, predicted: Mentions) -> dict[str, float]:
    """Subtasks TS and ES: "precision:TIMEX3", "recall:TIMEX3", "f1:TIMEX3", and the same of EVENT.

    A mention is right if all its pieces are, in their order; attributes play no part, doubles count once.
    """
    scores: dict[str, float] = {}
    for label in TYPES:
        pairs = [(_pieces(mentions, label), _pieces(predicted.get(name, ()), label)) for name, mentions in gold.items()]
        scores |= _set_scores(f":{label}", pairs)
    return scores


def attributes(gold: Mentions, predicted: Mentions) -> dict[str, float]:
    """Subtasks TA, EA and DR: "precision:EVENT:Polarity" and so on: pieces and value must both be right.

    A mention without the property is not counted for it, neither as gold nor as predicted.
    """
    scores: dict[str, float] = {}
    for label, name in PROPERTIES:
        pairs = [
            (_values(mentions, label, name), _values(predicted.get(document, ()), label, name))
            for document, mentions in gold.items()
        ]
        scores |= _set_scores(f":{label}:{name}", pairs)
    return scores


def contains(gold: Mapping[str, Document], predicted: Mapping[str, Document]) -> dict[str, float]:
    """Subtask CR: contains_precision, contains_recall, contains_f1 of narrative containers.

    Only links "TLINK:CONTAINS" of documents with "clin" in their id count, as (pieces of source, pieces of target).
    precision: predicted links in the closure of the gold ones; recall: gold links in the closure of the predicted.

    The closure is that of start and end points under ``<``: source contains target means start of source < start of
    target, end of target < end of source. No relation leads from an end to a start, so that a chain of starts is a
    chain of links and so is a chain of ends: it is the transitive closure of the links.

    Raises:
        DataError: a link to a mention that its document does not have.
    """
    hits = predictions = recovered = total = 0
    for name, document in gold.items():
        counts = link_counts(document, predicted.get(name))
        hits, predictions, recovered, total = (
            a + b for a, b in zip((hits, predictions, recovered, total), counts, strict=True)
        )
    return _rates("contains_{}", hits, predictions, recovered, total)


def link_counts(gold: Document, predicted: Document | None) -> tuple[int, int, int, int]:
    """Of one document, as ``contains`` sums them: predicted links that follow from gold ones, predicted links, gold
    links that follow from predicted ones, gold links."""
    if CLINICAL not in gold.id:
        return 0, 0, 0, 0
    wanted, given = _contains(gold), _contains(predicted) if predicted else set()
    return _following(given, wanted), len(given), _following(wanted, given), len(wanted)


def closure(links: Iterable[SpanLink]) -> dict[Pieces, set[Pieces]]:
    """Container -> all that it contains by transitivity; on a cycle everything contains everything, itself too."""
    contained: dict[Pieces, list[Pieces]] = defaultdict(list)
    for source, target in links:
        contained[source].append(target)
    closed: dict[Pieces, set[Pieces]] = {}
    for source, targets in contained.items():
        reached, ahead = set(targets), list(targets)
        while ahead:
            further = [target for target in contained.get(ahead.pop(), ()) if target not in reached]
            reached.update(further)
            ahead += further
        closed[source] = reached
    return closed


def _following(links: Iterable[SpanLink], premises: Iterable[SpanLink]) -> int:
    """How many of the links follow from the given ones."""
    closed = closure(premises)
    return sum(target in closed.get(source, ()) for source, target in links)


def _contains(document: Document) -> set[SpanLink]:
    pieces = {mention.id: mention.pieces for mention in document.mentions}
    links = [link for link in document.links if link.label == "TLINK:CONTAINS"]
    for link in links:
        for end in (link.source, link.target):
            if end not in pieces:
                raise DataError(
                    f"document {document.id!r}, link {link.id!r}: found no mention {end!r}, "
                    "expected the ids of two mentions of the document"
                )
    return {(pieces[link.source], pieces[link.target]) for link in links}


def _pieces(mentions: Iterable[Mention], label: str) -> set[Pieces]:
    return {mention.pieces for mention in mentions if mention.label == label}


def _values(mentions: Iterable[Mention], label: str, name: str) -> set[tuple[Pieces, str]]:
    return {(m.pieces, value) for m in mentions if m.label == label and (value := m[name]) is not None}


def _set_scores(part: str, pairs: list[tuple[set[Any], set[Any]]]) -> dict[str, float]:
    hits = sum(len(wanted & given) for wanted, given in pairs)
    predictions, total = sum(len(given) for _, given in pairs), sum(len(wanted) for wanted, _ in pairs)
    return _rates("{}" + part, hits, predictions, hits, total)


def _rates(key: str, hits: int, predictions: int, recovered: int, total: int) -> dict[str, float]:
    precision, recall = hits / predictions if predictions else 1.0, recovered / total if total else 1.0
    f1 = ratio(2 * precision * recall, precision + recall)
    return {key.format("precision"): precision, key.format("recall"): recall, key.format("f1"): f1}
