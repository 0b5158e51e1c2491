"""What the survey of a large data set needs: little memory, and the figures that counting by hand gives."""

from __future__ import annotations

import tracemalloc

from hypothesis import example, given
from hypothesis import strategies as st

from mtlfn.data.example import Example
from mtlfn.data.screening import survey
from mtlfn.data.task import Dataset, Task

TASK = Task(name="t", kind="classification", level=2, labels=("x",))
WORDS = st.lists(st.sampled_from(["no", "No", "."]), min_size=survey.NGRAM - 2, max_size=survey.NGRAM + 3)


def examples(texts: list[str]) -> tuple[Example, ...]:
    return tuple(Example(id=f"{i}", unit=f"{i}", texts=((t, None),), labels=("x",)) for i, t in enumerate(texts))


def runs(words: list[str]) -> set[tuple[str, ...]]:
    small = [word.lower() for word in words]
    return {tuple(small[i : i + survey.NGRAM]) for i in range(len(small) - survey.NGRAM + 1)}


@example([["no"] * survey.NGRAM], [["No"] * survey.NGRAM, ["."] * survey.NGRAM, []])
@given(st.lists(WORDS, max_size=6), st.lists(WORDS, max_size=6))
def test_overlap_is_the_share_of_examples_with_a_run_of_words_that_training_has(train, dev):
    made = Dataset(task=TASK, train=examples([" ".join(w) for w in train]), dev=examples([" ".join(w) for w in dev]))
    seen = set().union(*map(runs, train))
    assert survey.overlap(made, "dev") == (sum(bool(runs(w) & seen) for w in dev) / len(dev) if dev else 0.0)


def test_overlap_holds_no_run_of_words_that_only_training_has():
    train = examples([" ".join(f"w{i + j}" for j in range(20)) for i in range(0, 20_000, 20)])
    made = Dataset(task=TASK, train=train, dev=train[:1])
    tracemalloc.start()
    try:
        assert survey.overlap(made, "dev") == 1.0
        assert tracemalloc.get_traced_memory()[1] < 100_000  # the runs of training are 13,000, of about 80 bytes
    finally:
        tracemalloc.stop()


def test_lengths_are_measured_a_few_texts_at_a_time(monkeypatch):
    asked = []

    def encodings(texts, _):
        asked.append(len(texts))
        return [text for text, _ in texts]

    monkeypatch.setattr(survey, "encodings", encodings)
    count = 2 * survey.CHUNK + 3
    found = survey.lengths(TASK, examples(["x" * (i % 7) for i in range(count)]), None)
    assert found.tolist() == [i % 7 for i in range(count)]
    assert asked == [survey.CHUNK, survey.CHUNK, 3]
    assert survey.lengths(TASK, (), None).tolist() == []
