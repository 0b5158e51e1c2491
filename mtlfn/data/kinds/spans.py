"""Spans: mentions that IOB2 tags cannot hold: they may overlap, nest, have several labels or several pieces.

Scores: micro precision, recall and F1 of mentions, all pieces and type exact; mentions are sets, one said twice counts
once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve

from mtlfn.data import windows
from mtlfn.data.example import DataError, Example, Span, short
from mtlfn.data.kinds import shuffle, whole
from mtlfn.data.kinds.kind import Kind, Roles, items_of, named, text_of
from mtlfn.data.kinds.relation import pieces as pieces_of
from mtlfn.data.kinds.tagging import word_numbers, words_of
from mtlfn.data.statistic import F1, Row, ratio, sets
from mtlfn.data.windows import in_characters, in_words, words

if TYPE_CHECKING:
    from mtlfn.data.task import Task
    from mtlfn.data.tokens.store import Corpus


WIDEST = 64  # words of a piece of a mention, at most


def problems(task: Task, example: Example) -> str | None:
    if problem := whole.sequences_problem(example):
        return problem
    if not example.words:
        return "has no word"
    for label, pieces in example.mentions:
        if label not in task.labels:
            return f"has a mention of type {label!r}, expected one of {', '.join(task.labels)}"
        if not pieces or any(not 0 <= a < b for a, b in pieces):
            return f"has a mention with the pieces {list(pieces)}"
    return None


def example(roles: Roles, names: tuple[str, ...], name: str, unit: str) -> Example:
    mentions = tuple(dict.fromkeys(_mention(item, names) for item in items_of(roles, "mentions")))
    text = text_of(roles, "text")
    if outside := [mention for mention in mentions if max(end for _, end in mention[1]) > len(text)]:
        raise DataError(f"found {short(outside[0])} in a text of {len(text)} characters")
    return Example(id=name, unit=unit, texts=((text, None),), words=words(text), mentions=mentions)


def _mention(value: Any, names: Sequence[str]) -> tuple[str, tuple[Span, ...]]:
    """From an object with ``label`` and either ``start`` and ``end`` or ``spans``, or from [label, spans]."""
    if isinstance(value, list) and len(value) == 2:
        label, spans = value
    elif isinstance(value, dict) and "label" in value and (value.get("spans") or {"start", "end"} <= value.keys()):
        spans = [value["start"], value["end"]] if value.get("spans") is None else value["spans"]
        label = value["label"]
    else:
        raise DataError(
            f"found the mention {short(value)}, expected an object with label and spans ([[start, end], ...]) or with "
            "label, start and end"
        )
    return named(label, names), pieces_of(spans)


def fitted(task: Task, train: Sequence[Example]) -> Task:
    """With the widest piece of a training mention, in words, and whether mentions have several pieces."""
    mentions = [(e, pieces) for e in train for _, pieces in e.mentions]
    return evolve(
        task,
        max_width=min(max((b - a for e, p in mentions for a, b in in_words(e, p) or ()), default=1), WIDEST),
        discontiguous=any(len(pieces) > 1 for _, pieces in mentions),
    )


def united(predictions: Sequence[Any]) -> list[list]:
    """The mentions of all windows of a text, in text order."""
    return sorted((mention for prediction in predictions for mention in prediction), key=lambda m: (m[1], m[0]))


def shuffled(examples: Sequence[Example], rng: np.random.Generator) -> tuple[Example, ...]:
    """The mentions of each text are those of another one, each moved as a whole to a place drawn anew.

    A mention that is not made of whole words is left out: no head can express it.
    """
    mentions = [[(label, at) for label, pieces in e.mentions if (at := in_words(e, sorted(pieces)))] for e in examples]
    needs = [max((_width(at) for _, at in each), default=0) for each in mentions]
    chosen = shuffle.givers(needs, [len(e.words) for e in examples], rng)
    return tuple(
        evolve(e, mentions=tuple((label, _moved(e, at, rng)) for label, at in mentions[giver]))
        for e, giver in zip(examples, chosen, strict=True)
    )


def _moved(example: Example, at: Sequence[Span], rng: np.random.Generator) -> tuple[Span, ...]:
    """Pieces, given as word numbers, at a place drawn in an example, in characters."""
    (start,) = shuffle.places([_width(at)], len(example.words), rng)
    return in_characters(example, [(a + start - at[0][0], b + start - at[0][0]) for a, b in at])


def _width(at: Sequence[Span]) -> int:
    """Words from the first of a mention to its last; ``at``: word numbers of its pieces, in order."""
    return max(b for _, b in at) - at[0][0]


def labels(task: Task, example: Example, marks: Sequence[int]) -> tuple[list[int], int]:
    """For each mention that can be expressed: label, number of pieces, and first word and width - 1 of each piece.

    The others are counted: cut off, not made of whole words, or too wide.
    """
    shown = set(marks)
    out: list[int] = []
    lost = 0
    for label, pieces in dict.fromkeys(example.mentions):
        places = in_words(example, sorted(set(pieces)))
        if (
            places is not None
            and (len(places) == 1 or task.discontiguous)
            and all(b - a <= task.max_width and {a, b - 1} <= shown for a, b in places)
        ):
            out += [task.labels.index(label), len(places), *(n for a, b in places for n in (a, b - a - 1))]
        else:
            lost += 1
    return out, lost


def targets(
    corpus: Corpus, examples: Sequence[int], row_of: Mapping[int, int], uncut: set[int], marks: np.ndarray
) -> tuple[np.ndarray, int]:
    """int64 [pieces, 5]: row, mention, label, first word, width - 1; a row that was cut loses its marks."""
    pieces, count = [], 0
    for e in examples:
        (s,) = corpus.sequences(e)
        if s in uncut:
            count += 1
            pieces += _pieces(row_of[s], corpus.label(e).tolist())
        elif s in row_of:
            marks[row_of[s]] = -1
    return np.array(pieces, dtype=np.int64).reshape(-1, 5), count


def _pieces(row: int, stored: Sequence[int]) -> list[tuple[int, int, int, int, int]]:
    """The stored labels of a row, a tuple a piece."""
    out, at, mention = [], 0, 0
    while at < len(stored):
        label, count = stored[at : at + 2]
        for i in range(count):
            word, width = stored[at + 2 + 2 * i : at + 4 + 2 * i]
            out.append((row, mention, label, word, width))
        at, mention = at + 2 + 2 * count, mention + 1
    return out


def prediction_problem(task: Task, example: Example, prediction: Any) -> str | None:
    return whole.list_problem(prediction) or whole.unknown_prediction([label for label, _ in prediction], task)


def joined(task: Task, example: Example, rows: list[Any]) -> list[list]:
    """[label, pieces in characters of the unit's text] of each mention."""
    return [[label, [list(span) for span in in_characters(example, pieces)]] for label, pieces in rows[0]]


def answer(example: Example) -> list[list]:
    return [[label, [list(span) for span in pieces]] for label, pieces in example.mentions]


def _mentions(prediction: Sequence[Any]) -> set[Any]:
    return {(label, tuple((start, end) for start, end in pieces)) for label, pieces in prediction}


def rows(task: Task, examples: Sequence[Example], predictions: Sequence[Any]) -> Iterable[tuple[str, Row]]:
    """One a unit: a mention that two windows of a text show is one; in two texts of a unit it is two."""
    units: dict[str, tuple[set[Any], set[Any]]] = {}
    for e, prediction in zip(examples, predictions, strict=True):
        gold, predicted = units.setdefault(e.unit, (set(), set()))
        text = windows.whole_of(e)
        gold |= {(text, mention) for mention in e.mentions}
        predicted |= {(text, mention) for mention in _mentions(prediction)}
    return [(unit, sets(*both)) for unit, both in units.items()]


def score(task: Task, examples: Sequence[Example], predictions: Sequence[Any]) -> dict[str, float]:
    by_unit = [row for _, row in rows(task, examples, predictions)]
    hits, predicted, _, gold = (sum(column) for column in zip(*by_unit, strict=True)) if by_unit else (0, 0, 0, 0)
    return {
        "span_f1": float(ratio(2 * hits, gold + predicted)),
        "span_precision": float(ratio(hits, predicted)),
        "span_recall": float(ratio(hits, gold)),
    }


def baselines(task: Task, train: Sequence[Example], examples: Sequence[Example]) -> dict[str, float]:
    """majority: the whole text as a mention of the most frequent label; lookup: every occurrence of words that are more
    often a mention than not in training."""
    return {name: score(task, examples, g)[KIND.metric] for name, g in guesses(task, train, examples).items()}


def guesses(task: Task, train: Sequence[Example], examples: Sequence[Example]) -> dict[str, list[Any]]:
    return {"majority": whole_texts(train, examples), "lookup": known_spans(train, examples)}


def whole_texts(train: Sequence[Example], examples: Sequence[Example]) -> list[list]:
    """Every text as one mention of the label that training has most."""
    counts = Counter(label for e in train for label, _ in e.mentions)
    if not counts:
        return [[] for _ in examples]
    label = max(sorted(counts), key=counts.__getitem__)
    return [[[label, [[e.offset + e.words[0][0], e.offset + e.words[-1][1]]]]] for e in examples]


def known_spans(train: Sequence[Example], examples: Sequence[Example]) -> list[list]:
    """Runs of words that were a mention in at least half of the places where training has them, by label."""
    marked: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for e in train:
        for label, pieces in set(e.mentions):
            if len(pieces) == 1 and (at := in_words(e, pieces)) is not None:
                marked[label, _run(e, *at[0])] += 1
    wanted = {run for _, run in marked}
    occurrences = Counter(run for e in train for run, _ in _runs(e, wanted))
    known: dict[tuple[str, ...], list[str]] = {}
    for label, run in marked:
        if 2 * marked[label, run] >= occurrences[run]:
            known.setdefault(run, []).append(label)
    return [
        [[label, [list(in_characters(e, [at])[0])]] for run, at in _runs(e, known) for label in sorted(known[run])]
        for e in examples
    ]


def _run(example: Example, start: int, end: int) -> tuple[str, ...]:
    return tuple(word.lower() for word in words_of(example)[start:end])


def _runs(example: Example, wanted: Collection[tuple[str, ...]]) -> Iterator[tuple[tuple[str, ...], tuple[int, int]]]:
    """Where runs of words that are wanted stand in an example, in word numbers."""
    lengths = sorted({len(run) for run in wanted})
    words = [word.lower() for word in words_of(example)]
    for start in range(len(words)):
        for length in lengths:
            run = tuple(words[start : start + length])
            if len(run) == length and run in wanted:
                yield run, (start, start + length)


def _labels_of(example: Example) -> tuple[str, ...]:
    return tuple(label for label, _ in example.mentions)


KIND = Kind(
    metric="span_f1",
    statistic=F1,
    level=1,
    positive="mention",
    problems=problems,
    occurrences=_labels_of,
    shuffled=shuffled,
    mentioned=_labels_of,
    roles=("text", "mentions"),
    gold="mentions",
    least_labels=1,
    example=example,
    unanswered=lambda task, roles: [],
    parts=lambda example, training: windows.parts(example, training=training),
    united=united,
    fitted=fitted,
    marks=lambda example, offsets, places: word_numbers(example.words, offsets),
    labels=labels,
    targets=targets,
    prediction_problem=prediction_problem,
    joined=joined,
    nothing=lambda task, example, usual: [],
    answer=answer,
    guesses=guesses,
    rows=rows,
    score=score,
    baselines=baselines,
)
