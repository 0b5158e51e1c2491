"""Spans found in texts: exactly, roughly by overlap (disorders of 2014 and 2015), or with partial credit (2021).

A document is a sequence of mentions. Of disorders with the same pieces, the last one counts: the official scripts key
them by document and span string.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import TypeVar

from mtlfn.data.document import Mention
from mtlfn.data.example import DataError, Span

Pieces = tuple[Span, ...]
Mentions = Mapping[str, Sequence[Mention]]  # document id -> what is marked in it
Disorder = TypeVar("Disorder")


def share_strict_relaxed(gold: Mentions, predicted: Mentions, *, with_cui: bool) -> dict[str, float]:
    """SemEval-2014 task 7 (``with_cui=False``) and SemEval-2015 task 14, task 1 (both ways).

    Args:
        with_cui: whether the attribute "cui" must agree for a match, strict or relaxed; letter case never matters, a
            missing one agrees with a missing one only.

    Returns:
        strict_precision, strict_recall, strict_f1: the same pieces in the same order. relaxed_precision,
        relaxed_recall, relaxed_f1: pairs as by ``matched``. strict_accuracy: same pieces and same CUI, of all gold
        mentions; relaxed_accuracy: the same, of those with the same pieces (Task B of 2014). All are taken over all
        documents together; what is 0/0 is 0.

    Predictions for a document without a gold mention are left out: the script does not see such a document.
    """
    total = predictions = strict = relaxed = same_span = same_both = 0
    for name, mentions in gold.items():
        wanted = {mention.pieces: mention for mention in mentions}
        given = {mention.pieces: mention for mention in predicted.get(name, ())} if wanted else {}
        exact = [pieces for pieces in wanted if pieces in given]
        right = sum(_same_cui(wanted[pieces], given[pieces]) for pieces in exact)
        total, predictions = total + len(wanted), predictions + len(given)
        same_span, same_both = same_span + len(exact), same_both + right
        strict += right if with_cui else len(exact)
        relaxed += len(matched(wanted, given, _same_cui if with_cui else _always))
    return {
        **_rates("strict", strict, predictions, total),
        **_rates("relaxed", relaxed, predictions, total),
        "strict_accuracy": ratio(same_both, total),
        "relaxed_accuracy": ratio(same_both, same_span),
    }


def matched(
    gold: Mapping[Pieces, Disorder], predicted: Mapping[Pieces, Disorder], agree: Callable[[Disorder, Disorder], bool]
) -> dict[Pieces, Pieces]:
    """Gold -> its prediction, by the relaxed rule for one document; only what agrees is compared.

    Exact matches come first. Then every gold left, by span, takes the unused prediction that it overlaps most (of
    equals the first by span); the others that it overlaps are used up and match nothing. The official script visits
    gold in the order of a hash; where a prediction overlaps two, its score may differ from run to run, this one not.
    """
    pairs = {at: at for at in gold if at in predicted and agree(gold[at], predicted[at])}
    unused = sorted(predicted.keys() - pairs.keys())
    for at in sorted(gold.keys() - pairs.keys()):
        touched = [other for other in unused if _overlap(at, other) > 0 and agree(gold[at], predicted[other])]
        if touched:
            pairs[at] = max(touched, key=lambda other: _overlap(at, other))
            unused = [other for other in unused if other not in touched]
    return pairs


def partial_credit(gold: Mentions, predicted: Mentions) -> dict[str, float]:
    """SemEval-2021 task 6, subtask 2 (the measure of Da San Martino et al. 2019).

    A predicted span earns the share of its characters that gold spans of its document and label cover, a gold span
    the share that predicted ones cover.

    Returns:
        partial_precision: mean over predicted spans; partial_recall: mean over gold spans; partial_f1: 1 where there
        is neither a gold nor a predicted span; and "partial_f1:<label>" for each label of either, from precision and
        recall of that label alone. What is 0/0 is 0.

    Spans of one document and label that share a character are one span first, their union, on both sides: a pair by
    pair sum would count shared characters twice and pass 1. Without such spans the two are the same.

    Raises:
        DataError: predictions for a document that gold does not have.
    """
    if unknown := sorted(predicted.keys() - gold.keys()):
        raise DataError(f"predictions for the document {unknown[0]!r}, expected one of the {len(gold)} gold documents")
    shares = total_credit(gold, predicted)
    earned = chain.from_iterable(earned for earned, _ in shares.values())
    covered = chain.from_iterable(covered for _, covered in shares.values())
    precision, recall, f1 = _means(earned, covered)
    return {
        "partial_precision": precision,
        "partial_recall": recall,
        "partial_f1": f1 if shares else 1.0,
        **{f"partial_f1:{label}": _means(*shares[label])[2] for label in sorted(shares)},
    }


def total_credit(gold: Mentions, predicted: Mentions) -> dict[str, tuple[list[float], list[float]]]:
    """Label -> the shares that predicted and gold spans of all gold documents earn: ``credit`` of each, in turn."""
    shares: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for name, mentions in gold.items():
        for label, (earned, covered) in credit(mentions, predicted.get(name, ())).items():
            shares[label][0].extend(earned)
            shares[label][1].extend(covered)
    return dict(shares)


def credit(gold: Iterable[Mention], predicted: Iterable[Mention]) -> dict[str, tuple[list[float], list[float]]]:
    """Label -> the shares that predicted and gold spans of one document earn, by the rule of ``partial_credit``."""
    wanted, given = _merged(gold), _merged(predicted)
    return {
        label: (_shares(given[label], wanted[label]), _shares(wanted[label], given[label]))
        for label in sorted(wanted.keys() | given.keys())
    }


def united(mentions: Iterable[Mention]) -> tuple[Mention, ...]:
    """The spans that ``partial_credit`` scores: those of one label that share a character are one. In text order.

    A prediction file holds these, since the organisers' scorer counts what it reads span by span.
    """
    spans = [
        (min(characters), max(characters) + 1, label)
        for label, each in _merged(mentions).items()
        for characters in each
    ]
    return tuple(
        Mention(id=str(i), label=label, pieces=((start, end),)) for i, (start, end, label) in enumerate(sorted(spans))
    )


def ratio(part: float, whole: float) -> float:
    """The quotient; 0 where it is 0/0."""
    return float(part / whole) if whole else 0.0


def _rates(name: str, hits: int, predictions: int, total: int) -> dict[str, float]:
    return {
        f"{name}_precision": ratio(hits, predictions),
        f"{name}_recall": ratio(hits, total),
        f"{name}_f1": ratio(2 * hits, predictions + total),
    }


def _same_cui(gold: Mention, predicted: Mention) -> bool:
    return (gold["cui"] or "").lower() == (predicted["cui"] or "").lower()


def _always(gold: object, predicted: object) -> bool:
    return True


def _overlap(one: Pieces, other: Pieces) -> int:
    """The largest from piece to piece. Both ends count, so that 10-15 and 15-20 overlap by one; 0 or less is none."""
    return max((min(b, d) - max(a, c) + 1 for a, b in one for c, d in other), default=0)


def _merged(mentions: Iterable[Mention]) -> dict[str, list[set[int]]]:
    """Label -> the characters of each of its spans; spans that share one are one."""
    spans: dict[str, list[set[int]]] = defaultdict(list)
    for mention in mentions:
        characters = {at for start, end in mention.pieces for at in range(start, end)}
        apart = [span for span in spans[mention.label] if span.isdisjoint(characters)]
        characters.update(*(span for span in spans[mention.label] if not span.isdisjoint(characters)))
        spans[mention.label] = [*apart, characters]
    return spans


def _shares(spans: Iterable[set[int]], others: Sequence[set[int]]) -> list[float]:
    """Of each span, how much the others cover."""
    return [ratio(sum(len(span & other) for other in others), len(span)) for span in spans]


def _means(earned: Iterable[float], covered: Iterable[float]) -> tuple[float, float, float]:
    """Precision, recall and F1."""
    precision, recall = (ratio(sum(shares), len(shares)) for shares in (list(earned), list(covered)))
    return precision, recall, ratio(2 * precision * recall, precision + recall)
