"""Shuffled labels: every kind keeps its texts and how often it asks for what, and little of what belongs together."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlfn.core.keys import root
from mtlfn.data.example import Example
from mtlfn.data.kinds import KINDS as KINDS_OF_TASK
from mtlfn.data.kinds import shuffle
from mtlfn.data.kinds.tagging import entities
from mtlfn.data.shuffled import NOTE, shuffled
from mtlfn.data.task import Dataset, problems
from mtlfn.data.windows import in_words
from tests.data.test_units import KINDS, WORDS, example


def split(kind: str, seed: int, count: int) -> Dataset:
    """Training examples of unequal length, of which some texts have no word before the tenth character."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        e = example(KINDS[kind], rng, i, f"u{i}")
        if e.words:
            most = int(rng.integers(1, len(WORDS) + 1))
            tags, mentions = e.tags[:most], tuple(m for m in e.mentions if all(p in WORDS[:most] for p in m[1]))
            e = evolve(e, words=tuple(WORDS[:most]), tags=tags, mentions=mentions)
        made.append(e)
    return Dataset(task=KINDS[kind], train=tuple(made), dev=tuple(made[:1]))


def asked(e: Example) -> list[Any]:
    """What is asked of an example, without where it stands."""
    if e.tags:
        return sorted((end - start, name) for start, end, name in entities(e.tags))
    if e.words:
        return sorted((label, _shape(e, pieces)) for label, pieces in e.mentions)
    return [*sorted(e.labels), e.value]


def _shape(e: Example, pieces: Any) -> tuple[tuple[int, int], ...]:
    at = in_words(e, sorted(pieces))
    assert at is not None
    return tuple((a - at[0][0], b - at[0][0]) for a, b in at)


@pytest.mark.parametrize("kind", KINDS_OF_TASK)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_texts_stay_and_what_is_asked_of_them_stays_as_often(kind: str, seed: int, count: int) -> None:
    before = split(kind, seed, count)
    after = shuffled({"t": before}, ["t"], root(seed))["t"]
    assert after.dev == before.dev
    assert after.notes == {NOTE: count}
    bare = {"tags": (), "labels": (), "mentions": (), "value": None}
    assert [evolve(e, **bare) for e in after.train] == [evolve(e, **bare) for e in before.train]
    assert [problems(after.task, e) for e in after.train] == [problems(before.task, e) for e in before.train]
    sides = [Counter(repr(asked(e)) for e in d.train) for d in (before, after)]
    assert sides[0] == sides[1]
    if kind in ("ranking", "graded"):
        assert [asked(e) for e in after.train] == [asked(e) for e in before.train]
        assert len(KINDS_OF_TASK[kind].training(after.train)) == len(KINDS_OF_TASK[kind].training(before.train))


@pytest.mark.parametrize("kind", KINDS_OF_TASK)
def test_labels_and_texts_part(kind: str) -> None:
    """Of 300 examples no more keep their labels than an independent draw would, and every seed draws anew."""
    before = split(kind, 5, 300)
    one, again, other = (shuffled({"t": before}, ["t"], root(seed))["t"].train for seed in (0, 0, 1))
    assert one == again != other
    answers = [(e.tags, e.labels, e.mentions, e.value) for e in before.train]
    same = sum((e.tags, e.labels, e.mentions, e.value) == a for e, a in zip(one, answers, strict=True))
    if kind in ("ranking", "graded"):  # orders of a list that look alike, of all its orders
        counts = [Counter(e.labels).values() for e in before.train]
        by_chance = np.mean([math.prod(map(math.factorial, c)) / math.factorial(sum(c)) for c in counts])
    else:
        pairs = np.random.default_rng(0).integers(300, size=(20_000, 2))
        by_chance = np.mean([answers[i] == answers[j] for i, j in pairs])
    assert same < 300 * (by_chance + 0.1)


def test_a_draw_does_not_depend_on_which_other_tasks_are_drawn() -> None:
    made = {name: evolve(split(kind, 3, 20)) for name, kind in (("a", "classification"), ("b", "tagging"))}
    both, alone = (shuffled(made, names, root(0)) for names in (["a", "b"], ["b"]))
    assert both["b"] == alone["b"] != made["b"]
    assert alone["a"] is made["a"]


def test_givers_are_a_uniform_draw_of_the_permutations_that_have_room() -> None:
    """Needs 3, 1, 0 and rooms 3, 3, 1: by counting, the first goes to one of two, and what is left is free."""
    rng, count = np.random.default_rng(0), 8000
    seen = Counter(tuple(shuffle.givers([3, 1, 0], [3, 3, 1], rng)) for _ in range(count))
    fits = {(0, 1, 2), (0, 2, 1), (1, 0, 2), (2, 0, 1)}
    assert seen.keys() == fits
    assert all(abs(n / count - 1 / len(fits)) < 0.02 for n in seen.values())


@given(st.lists(st.integers(0, 3), max_size=5), st.integers(0, 9), st.integers(0, 2**32))
def test_places_lie_apart_in_order_and_inside(widths: list[int], spare: int, seed: int) -> None:
    words = sum(widths) + spare
    at = shuffle.places(widths, words, np.random.default_rng(seed))
    ends = [0, *(start + width for start, width in zip(at, widths, strict=True))]
    assert all(end <= start for end, start in zip(ends, [*at, words], strict=True))
    with pytest.raises(ValueError, match="do not fit"):
        shuffle.places([words + 1], words, np.random.default_rng(0))
