"""Tagging: one IOB2 tag a word.

Scores: micro precision, recall and F1 of entities, exact borders and type; an I- that continues nothing is no entity.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from mtlfn.data.example import Example, Span, short
from mtlfn.data.iob2 import join_words, same_length, valid_iob2
from mtlfn.data.kinds import shuffle, whole
from mtlfn.data.kinds.kind import IGNORED, Kind, Offsets, Roles, items_of, named, of_type
from mtlfn.data.statistic import F1, Row, ratio, sets

if TYPE_CHECKING:
    from mtlfn.data.task import Task
    from mtlfn.data.tokens.store import Corpus

Codes = NDArray[np.int64]  # of tags: O is 0, B- odd, I- even


def problems(task: Task, example: Example) -> str | None:
    if problem := whole.sequences_problem(example):
        return problem
    text = example.texts[0][0]
    if len(example.tags) != len(example.words) or not example.words:
        return f"has {len(example.tags)} tags for {len(example.words)} words"
    known = set(task.classes)
    previous, end = "O", 0
    for (a, b), tag in zip(example.words, example.tags, strict=True):
        if tag not in known:
            return f"has the tag {tag!r}, expected one of {', '.join(task.classes)}"
        if not end <= a < b <= len(text):
            return f"has the word span {(a, b)} after {end} in a text of {len(text)} characters"
        if tag.startswith("I-") and previous[2:] != tag[2:]:
            return f"has the tag {short(tag)} after {short(previous)}: not IOB2"
        previous, end = tag, b
    return None


def example(roles: Roles, names: tuple[str, ...], name: str, unit: str) -> Example:
    tokens = [of_type(token, str, "strings as tokens") for token in items_of(roles, "tokens")]
    tags = tuple(named(tag, names) for tag in items_of(roles, "tags"))
    same_length(tokens, tags)
    text, words = join_words(tokens)
    return Example(id=name, unit=unit, texts=((text, None),), words=words, tags=tags)


def word_numbers(words: Sequence[Span], offsets: Offsets) -> list[int]:
    """The word's number at the first token that touches it, -1 elsewhere; words and tokens both run left to right."""
    marks, word = [-1] * len(offsets), 0
    for i, offset in enumerate(offsets):
        if offset is None:
            continue
        while word < len(words) and words[word][1] <= offset[0]:
            word += 1
        if word < len(words) and words[word][0] < offset[1]:
            marks[i] = word
            word += 1
    return marks


def classes(names: tuple[str, ...]) -> tuple[str, ...]:
    """The IOB2 tags of entity types."""
    return ("O", *(f"{prefix}-{name}" for name in names for prefix in "BI"))


@lru_cache(maxsize=64)  # asked for each example
def _numbers(names: tuple[str, ...]) -> dict[str, int]:
    return {tag: i for i, tag in enumerate(classes(names))}


def shuffled(examples: Sequence[Example], rng: np.random.Generator) -> tuple[Example, ...]:
    """The entities of each text are those of another one, in an order and at places drawn anew."""
    spans = [sorted(entities(e.tags)) for e in examples]
    needs = [sum(end - start for start, end, _ in each) for each in spans]
    chosen = shuffle.givers(needs, [len(e.words) for e in examples], rng)
    return tuple(
        evolve(e, tags=_placed(spans[giver], len(e.words), rng)) for e, giver in zip(examples, chosen, strict=True)
    )


def _placed(spans: Sequence[tuple[int, int, str]], words: int, rng: np.random.Generator) -> list[str]:
    """Tags of so many words with these entities in them."""
    tags = ["O"] * words
    mixed = [spans[i] for i in rng.permutation(len(spans))]
    widths = [end - start for start, end, _ in mixed]
    for at, width, (_, _, name) in zip(shuffle.places(widths, words, rng), widths, mixed, strict=True):
        tags[at : at + width] = [f"B-{name}", *[f"I-{name}"] * (width - 1)]
    return tags


def labels(task: Task, example: Example, marks: Sequence[int]) -> tuple[list[int], int]:
    """The number of each word's tag."""
    numbers = _numbers(task.labels)
    return [numbers[tag] for tag in example.tags], 0


def silent(example: Example, marks: Sequence[int], cut: bool) -> tuple[int, int]:
    """How many words have no token of their own, what was cut off aside, and how many entities have such a word."""
    shown = set(marks)
    reached = max(shown, default=-1) if cut else len(example.words)
    words = [i for i in range(min(reached, len(example.words))) if i not in shown]
    starts = [i for i, tag in enumerate(example.tags) if tag.startswith("B-")]
    # The entity that a word is in is the last one that began, if no O stands between.
    inside = {bisect_right(starts, i) for i in words if example.tags[i] != "O"}
    return len(words), len(inside)


def targets(
    corpus: Corpus, examples: Sequence[int], row_of: Mapping[int, int], uncut: set[int], marks: np.ndarray
) -> tuple[np.ndarray, int]:
    """int64 [rows, width], tag or IGNORED: they survive one by one."""
    out = np.full(marks.shape, IGNORED, dtype=np.int64)
    for e in examples:
        tags = corpus.label(e)
        for s in corpus.sequences(e):
            if s in row_of:
                row = marks[row_of[s]]
                out[row_of[s]][row >= 0] = tags[row[row >= 0]]
    return out, int((out != IGNORED).sum())


def prediction_problem(task: Task, example: Example, prediction: Any) -> str | None:
    return whole.list_problem(prediction, len(example.words)) or whole.unknown_prediction(prediction, task)


def joined(task: Task, example: Example, rows: list[Any]) -> list[str]:
    """A tag a word; words that were cut off have no token: no entity."""
    return valid_iob2([rows[0].get(word, "O") for word in range(len(example.words))])


def entities(tags: Sequence[str]) -> set[tuple[int, int, str]]:
    """(first word, last + 1, type) of every B- with the I- of its type that follow; another I- is no entity."""
    out = set()
    for start, tag in enumerate(tags):
        if tag.startswith("B-"):
            end = start + 1
            while end < len(tags) and tags[end] == f"I-{tag[2:]}":
                end += 1
            out.add((start, end, tag[2:]))
    return out


def rows(task: Task, examples: Sequence[Example], predictions: Sequence[Any]) -> Iterable[tuple[str, Row]]:
    for e, prediction in zip(examples, predictions, strict=True):
        yield e.unit, sets(entities(e.tags), entities(prediction))


def score(task: Task, examples: Sequence[Example], predictions: Sequence[Any]) -> dict[str, float]:
    sums = np.array([row for _, row in rows(task, examples, predictions)], dtype=np.float64).sum(axis=0)
    hits, answers, _, total = sums
    return {
        "entity_f1": float(F1.value(sums)),
        "entity_precision": float(ratio(hits, answers)),
        "entity_recall": float(ratio(hits, total)),
    }


def baselines(task: Task, train: Sequence[Example], examples: Sequence[Example]) -> dict[str, float]:
    """majority: no entity; random: mean score of fixed draws of the tag of a random training word, made IOB2; lookup:
    the most frequent training tag of the word, O for unknown words, made IOB2."""
    rng = np.random.Generator(np.random.Philox(0))
    code = _numbers(task.labels)
    codes = np.array([code[tag] for e in train for tag in e.tags])
    gold = np.array([code[tag] for e in examples for tag in e.tags])
    first = np.cumsum([0, *(len(e.tags) for e in examples[:-1])])
    draws = [
        _entity_f1(gold, _iob2(codes[rng.integers(len(codes), size=len(gold))], first)) for _ in range(whole.DRAWS)
    ]
    counts = Counter((word, code[tag]) for e in train for word, tag in zip(words_of(e), e.tags, strict=True))
    # Rising frequency, then falling code: the last one stays, and the order of the examples does not matter.
    usual = dict(sorted(counts, key=lambda pair: (counts[pair], -pair[1])))
    lookup = np.array([usual.get(word, 0) for e in examples for word in words_of(e)])
    return {
        "majority": 0.0,
        "random": float(np.mean(draws)),
        "lookup": _entity_f1(gold, _iob2(lookup, first)),
    }


def words_of(example: Example) -> list[str]:
    """The words as they are written."""
    return [example.texts[0][0][a:b] for a, b in example.words]


def _iob2(codes: Codes, first: Codes) -> Codes:
    """Tag codes where an I- that continues nothing became a B-; ``first`` are the positions that begin a sentence."""
    entity = (codes + 1) // 2  # the same for B- and I- of one type: a repaired tag still serves its successor
    before = np.concatenate([[0], entity[:-1]])
    before[first] = 0
    dangling = (codes > 0) & (codes % 2 == 0) & (before != entity)
    return codes - dangling


def _entity_f1(gold: Codes, predicted: Codes) -> float:
    """Entity F1 of IOB2 tag codes laid end to end (no sentence begins with I-, so entities end with their sentence)."""
    starts = (gold % 2 == 1) & (gold == predicted)
    hits = starts & (_ends(gold) == _ends(predicted))
    return float(ratio(2 * hits.sum(), (gold % 2 == 1).sum() + (predicted % 2 == 1).sum()))


def _ends(codes: Codes) -> Codes:
    """For every word the next position that does not continue an entity."""
    n = len(codes)
    stops = np.where((codes > 0) & (codes % 2 == 0), n, np.arange(n))
    return np.minimum.accumulate(np.append(stops[1:], n)[::-1])[::-1]


KIND = Kind(
    metric="entity_f1",
    statistic=F1,
    level=1,
    positive="entity",
    tags=True,
    problems=problems,
    classes=classes,
    occurrences=lambda example: example.tags,
    mentioned=lambda example: (tag[2:] for tag in example.tags if tag.startswith("B-")),
    roles=("tokens", "tags"),
    gold="tags",
    least_labels=1,
    example=example,
    unanswered=lambda task, roles: ["O"] * len(items_of(roles, "tokens")),
    shuffled=shuffled,
    marks=lambda example, offsets, places: word_numbers(example.words, offsets),
    labels=labels,
    silent=silent,
    targets=targets,
    prediction_problem=prediction_problem,
    joined=joined,
    nothing=lambda task, example, usual: ["O"] * len(example.words),
    answer=lambda example: list(example.tags),
    rows=rows,
    score=score,
    baselines=baselines,
)
