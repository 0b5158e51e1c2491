"""The stream meets its budget to the token, shows every example once a pass, and goes on from anywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlfn.core import state as states
from mtlfn.core.batch import Batch, Cursor, MicroBatch
from mtlfn.core.keys import root
from mtlfn.core.state import State
from mtlfn.core.tokens import TokenCount
from mtlfn.data.kinds.kind import IGNORED
from mtlfn.data.tokens import stream as streams
from mtlfn.data.tokens.collate import Inputs, collate
from mtlfn.data.tokens.store import Corpus
from mtlfn.data.tokens.stream import StreamConfig
from tests.core.corpora import KINDS, corpora, corpus
from tests.core.families import raw_bytes

Walk = list[tuple[State, Batch]]


@st.composite
def settings_of_a_stream(draw: st.DrawFn) -> StreamConfig:
    return StreamConfig(
        budget_tokens=draw(st.integers(1, 500)),
        micro_batch_tokens=draw(st.integers(1, 60)),
        sampling=draw(st.sampled_from(["uniform", "proportional", "temperature"])),
        temperature=draw(st.sampled_from([0.5, 1.0, 2.0, 10.0])),
        micro_batches=draw(st.integers(0, 4)),
        window=draw(st.integers(1, 12)),
    )


runs = st.tuples(settings_of_a_stream(), corpora(), st.integers(0, 2**31))


def begin(seed: int, tasks: Mapping[str, Corpus]) -> State:
    return states.init(root(seed), {"shared": {"w": torch.zeros(1)}}, tuple(tasks))


def advance(state: State, batch: Batch) -> State:
    tokens = {task: count + batch.tokens_of(task) for task, count in state.tokens.items()}
    return attrs.evolve(state, step=state.step + 1, cursors=batch.cursors, tokens=tokens)


def walk(config: StreamConfig, tasks: Mapping[str, Corpus], seed: int) -> tuple[Walk, State]:
    """Every state with its batch, and the state at the end of the budget."""
    stream, state, steps = streams.build(config, tasks), begin(seed, tasks), []
    while state.input_tokens < config.budget_tokens:
        steps.append((state, stream(state)))
        assert steps[-1][1].tokens.input > 0, "a step that trains on nothing would never end"
        state = advance(*steps[-1])
    return steps, state


def rows_of(corpus: Corpus, micro_batch: MicroBatch) -> list[tuple[int, int]]:
    """(sequence, tokens kept) of every row, read off the ids, which name positions; checks the whole rectangle."""
    inputs: Inputs = micro_batch.inputs
    out = []
    for r, n in enumerate(inputs.lengths.tolist()):
        start = int(inputs.input_ids[r, 0])
        sequence = int(np.searchsorted(corpus.starts, start, side="right")) - 1
        assert corpus.starts[sequence] == start
        assert 1 <= n <= corpus.length(sequence)
        for found, source, filler in (
            (inputs.input_ids, corpus.ids, 0),
            (inputs.token_types, corpus.types, 0),
            (inputs.marks, corpus.marks, -1),
        ):
            assert found[r].tolist() == source[start : start + n].tolist() + [filler] * (found.shape[1] - n)
        out.append((sequence, n))
    assert inputs.input_ids.shape == (len(out), max(n for _, n in out))
    return out


def examples_of(corpus: Corpus, rows: list[tuple[int, int]]) -> list[int]:
    """The examples in order of appearance, each once."""
    found = [int(np.searchsorted(corpus.examples, s, side="right")) - 1 for s, _ in rows]
    return list(dict.fromkeys(found))


def assert_labels_and_counts(corpus: Corpus, micro_batch: MicroBatch) -> None:
    """The rule of the cut, written out: token labels survive one by one, all others only with a whole example."""
    rows, labels = rows_of(corpus, micro_batch), micro_batch.inputs.labels
    row_of = {s: r for r, (s, _) in enumerate(rows)}
    whole = {s for s, n in rows if n == corpus.length(s)}
    examples, kind, loss = examples_of(corpus, rows), corpus.task.kind, 0
    if kind == "tagging":
        assert labels.shape == micro_batch.inputs.input_ids.shape
        for r, (s, n) in enumerate(rows):
            marks = corpus.marks[corpus.starts[s] : corpus.starts[s] + n]
            expected = [int(corpus.label(s)[m]) if m >= 0 else IGNORED for m in marks]
            loss += sum(m >= 0 for m in marks.tolist())
            assert labels[r].tolist() == expected + [IGNORED] * (labels.shape[1] - n)
    elif kind == "ranking":
        expected = []
        for e in examples:
            if set(corpus.sequences(e)) <= whole:
                of = dict(zip(corpus.sequences(e), corpus.label(e).tolist(), strict=True))
                expected += [[row_of[g], row_of[b]] for g in of for b in of if of[g] and not of[b]]
        loss = len(expected)
        assert labels.shape == (loss, 2)
        assert sorted(labels.tolist()) == sorted(expected)
    else:
        assert len(labels) == len(rows)
        for r, (s, _) in enumerate(rows):
            loss += s in whole
            if kind == "multilabel":
                assert labels.dtype == torch.float32
                expected = corpus.label(s).tolist() if s in whole else [None] * 4
                assert [None if math.isnan(v) else v for v in labels[r].tolist()] == expected
            elif kind == "regression":
                assert (labels.dtype, labels.shape) == (torch.float32, (len(rows),))
                assert labels[r].item() == corpus.label(s)[0] if s in whole else labels[r].isnan()
            else:
                assert labels[r].item() == (corpus.label(s)[0] if s in whole else IGNORED)
    assert micro_batch.tokens == TokenCount(
        input=sum(n for _, n in rows),
        loss=loss,
        padded=len(rows) * max(n for _, n in rows),
        examples=len(examples),
    )


def assert_equal_batches(found: Batch, expected: Batch) -> None:
    assert dict(found.cursors) == dict(expected.cursors)
    assert [(m.task, m.tokens) for m in found.micro_batches] == [(m.task, m.tokens) for m in expected.micro_batches]
    for a, b in zip(found.micro_batches, expected.micro_batches, strict=True):
        for name in attrs.fields_dict(Inputs):
            assert raw_bytes(getattr(a.inputs, name)) == raw_bytes(getattr(b.inputs, name))


@given(runs)
def test_the_budget_is_met_to_the_token_and_only_the_last_batch_is_cut(run):
    config, tasks, seed = run
    steps, end = walk(config, tasks, seed)
    assert end.input_tokens == config.budget_tokens
    assert all(state.input_tokens < config.budget_tokens for state, _ in steps)
    rows = [
        (tasks[m.task].length(s), n, i)
        for i, (_, batch) in enumerate(steps)
        for m in batch.micro_batches
        for s, n in rows_of(tasks[m.task], m)
    ]
    short = [at for at, (length, n, _) in enumerate(rows) if n < length]
    assert short in ([], [len(rows) - 1]), "whole sequences first, then one cut, then nothing"
    assert all(rows[at][2] == len(steps) - 1 for at in short)
    assert streams.build(config, tasks)(end).micro_batches == ()


@given(runs, st.data())
def test_some_of_the_tasks_are_drawn_as_far_as_in_the_whole_run(run, data):
    """The same micro-batches of each of them in the same order, whatever is drawn of the others between them."""
    config, tasks, seed = run
    steps, end = walk(config, tasks, seed)
    seen = {task: end.tokens[task].input for task in tasks}
    names = data.draw(st.lists(st.sampled_from(sorted(tasks)), min_size=1, unique=True))
    group = {task: tasks[task] for task in tasks if task in names}
    if not (budget := sum(seen[task] for task in group)):
        return
    among = {} if config.sampling == "uniform" else {task: corpus.tokens for task, corpus in tasks.items()}
    of_group = attrs.evolve(config, budget_tokens=budget, among=among)
    alone, last = walk(of_group, group, seed)
    assert {task: last.tokens[task].input for task in group} == {task: seen[task] for task in group}

    def drawn(walked: Walk) -> list[tuple[str, list[tuple[int, int]]]]:
        each = [m for _, batch in walked for m in batch.micro_batches if m.task in group]
        return [(m.task, rows_of(tasks[m.task], m)) for m in each]

    assert drawn(alone) == drawn(steps)
    middle, batch = data.draw(st.sampled_from(alone))
    assert_equal_batches(streams.build(of_group, group)(middle), batch)  # and goes on from anywhere


@given(runs)
def test_counts_per_task_are_those_of_the_rows(run):
    config, tasks, seed = run
    steps, end = walk(config, tasks, seed)
    seen = dict.fromkeys(tasks, TokenCount())
    for _, batch in steps:
        for m in batch.micro_batches:
            assert_labels_and_counts(tasks[m.task], m)
            seen[m.task] += m.tokens
    assert dict(end.tokens) == seen
    assert sum(count.input for count in seen.values()) == config.budget_tokens


@given(runs)
def test_every_pass_sees_every_example_once_and_no_micro_batch_crosses_it(run):
    config, tasks, seed = run
    config = attrs.evolve(config, budget_tokens=max(config.budget_tokens, sum(c.tokens for c in tasks.values())))
    steps, _ = walk(config, tasks, seed)
    at = {task: (0, set()) for task in tasks}  # completed passes, examples of the running one
    for _, batch in steps[:-1]:  # the last may be cut
        for m in batch.micro_batches:
            passes, shown = at[m.task]
            examples = examples_of(tasks[m.task], rows_of(tasks[m.task], m))
            assert not shown & set(examples), "an example came twice in one pass"
            shown = shown | set(examples)
            at[m.task] = (passes + 1, set()) if len(shown) == len(tasks[m.task]) else (passes, shown)
        assert {task: cursor.epoch for task, cursor in batch.cursors.items()} == {t: n for t, (n, _) in at.items()}
        assert all((batch.cursors[t].position == 0) == (not shown) for t, (_, shown) in at.items())


@settings(max_examples=25)
@given(runs)
def test_a_fresh_stream_goes_on_from_any_state_and_no_state_is_changed(run):
    config, tasks, seed = run
    steps, end = walk(config, tasks, seed)
    used = streams.build(config, tasks)
    used(end)
    for state, batch in reversed(steps):
        before = states.digest(state)
        assert_equal_batches(streams.build(config, tasks)(state), batch)
        assert_equal_batches(used(state), batch)  # whatever it was asked before
        assert states.digest(state) == before


@given(runs)
def test_padded_slots_stay_within_a_micro_batch_unless_one_example_is_larger(run):
    config, tasks, seed = run
    for _, batch in walk(config, tasks, seed)[0]:
        for m in batch.micro_batches:
            assert m.tokens.padded <= config.micro_batch_tokens or m.tokens.examples == 1
            assert m.inputs.input_ids.numel() == m.tokens.padded


@given(runs)
def test_a_step_holds_the_micro_batches_it_should_in_canonical_order(run):
    config, tasks, seed = run
    steps, _ = walk(config, tasks, seed)
    order = {task: i for i, task in enumerate(tasks)}
    for _, batch in steps[:-1]:
        drawn = [order[m.task] for m in batch.micro_batches]
        assert drawn == sorted(drawn)
        if config.sampling == "uniform":
            assert drawn == list(range(len(tasks)))
        else:
            assert len(drawn) == (config.micro_batches or len(tasks))


@given(st.sampled_from(KINDS), st.integers(0, 2**31), st.data())
def test_labels_survive_the_cut_as_they_should(kind, seed, data):
    several = 3 if kind == "ranking" else 1
    sizes = st.lists(st.integers(1, 6), min_size=several, max_size=several)
    lengths = data.draw(st.lists(sizes, min_size=1, max_size=3))
    source = corpus(kind, kind, lengths, seed)
    chosen = data.draw(st.permutations(range(len(lengths))))
    for left in range(source.tokens + 3):  # every possible cut
        made = streams.exact([(source, np.array(chosen))], left)
        if left == 0:
            assert made == ()
            continue
        (micro_batch,) = made
        assert micro_batch.tokens.input == min(left, source.tokens)
        assert_labels_and_counts(source, micro_batch)


def test_what_does_not_survive_counts_as_tokens_and_not_as_loss():
    lengths = {kind: [[3], [4]] for kind in KINDS} | {"ranking": [[3, 2], [2, 2]]}
    for kind in KINDS:
        source = corpus(kind, kind, lengths[kind], seed=5)
        if kind == "tagging":
            source.marks[:] = [0, -1, 1, 0, 1, 2, -1]
            source = attrs.evolve(source, labels=np.zeros(5, np.int32), label_starts=np.array([0, 2, 5]))
        if kind == "ranking":
            source = attrs.evolve(source, labels=np.array([1, 0, 0, 1], np.int32))
        loss = [m.tokens.loss for m in (streams.exact([(source, np.array([0, 1]))], n)[0] for n in range(1, 8))]
        assert loss == {
            "tagging": [1, 1, 2, 3, 4, 5, 5],
            "ranking": [0, 0, 0, 0, 1, 1, 1],  # 9 tokens; the second pair is never whole below 9
        }.get(kind, [0, 0, 1, 1, 1, 1, 2])


@pytest.mark.parametrize("kind", KINDS)
def test_a_micro_batch_without_a_token_is_none(kind):
    source = corpus(kind, kind, [[2]], seed=0)
    assert collate(source, [0], [0]) is None
    assert collate(source, [0]).tokens.input == 2


@given(corpora(max_examples=30), st.integers(1, 80), st.integers(1, 40), st.integers(0, 2**31), st.integers(0, 3))
def test_a_plan_is_a_permutation_in_micro_batches(tasks, slots, window, seed, epoch):
    for task, source in tasks.items():
        rows, longest = streams.example_sizes(source)
        made = streams.plan(rows, longest, root(seed), task, epoch, window, slots)
        assert sorted(np.concatenate(made).tolist()) == list(range(len(source)))
        for batch in made:
            sequences = [source.length(s) for e in batch for s in source.sequences(e)]
            assert len(sequences) * max(sequences) <= slots or len(batch) == 1
            assert [longest[e] for e in batch] == sorted(longest[e] for e in batch)


@given(corpora(max_examples=30), st.integers(1, 80), st.data())
def test_evaluation_shows_each_chosen_example_once(tasks, slots, data):
    source = next(iter(tasks.values()))
    chosen = data.draw(st.lists(st.integers(0, len(source) - 1), unique=True, min_size=1))
    made = streams.evaluation_batches(source, chosen, slots)
    assert sorted(e for batch in made for e in batch) == sorted(chosen)
    for batch in made:
        sequences = [source.length(s) for e in batch for s in source.sequences(e)]
        assert len(sequences) * max(sequences) <= slots or len(batch) == 1


def test_evaluation_of_no_example_is_no_batch():
    source = corpus("a", "classification", [[3], [2]], seed=0)
    assert streams.evaluation_batches(source, [], 16) == []
    assert streams.evaluation_batches(source, range(0), 16) == []


def test_micro_batches_hold_as_much_as_fits():
    rows, longest = np.ones(10, np.int64), np.full(10, 8)
    assert [len(b) for b in streams.fill(np.arange(10), rows, longest, 32)] == [4, 4, 2]
    assert [len(b) for b in streams.fill(np.arange(3), rows, longest, 7)] == [1, 1, 1]
    assert streams.fill(np.arange(0), rows, longest, 32) == []


def test_inside_a_window_examples_of_similar_length_go_together():
    lengths = np.arange(64) % 16 + 1
    made = streams.plan(np.ones(64, np.int64), lengths, root(0), "a", 0, 64, 64)
    padded = sum(len(batch) * int(lengths[batch].max()) for batch in made)
    assert padded < 1.2 * lengths.sum()  # in shuffled order it is 1.6 times
    assert [len(b) for b in made] != sorted((len(b) for b in made), reverse=True)  # the micro-batches are shuffled


def test_seeds_tasks_and_passes_have_their_own_order():
    rows, longest = np.ones(40, np.int64), np.ones(40, np.int64)
    orders = {
        tuple(np.concatenate(streams.plan(rows, longest, root(seed), task, epoch, window, 4)).tolist())
        for seed in range(4)
        for task in ("a", "b")
        for epoch in range(4)
        for window in (40,)
    }
    assert len(orders) == 4 * 2 * 4


def test_asking_again_for_a_pass_gives_the_same_plan_and_a_new_key_a_new_one():
    tasks = {"a": corpus("a", "tagging", [[n % 7 + 1] for n in range(30)], seed=1)}
    stream = streams.build(StreamConfig(budget_tokens=10**6, micro_batch_tokens=20), tasks)
    first, other = begin(1, tasks), begin(2, tasks)
    later = attrs.evolve(first, cursors={"a": Cursor(3, 2)})
    batches = [stream(s) for s in (first, later, other, first)]
    assert_equal_batches(batches[0], batches[3])
    ids = [b.micro_batches[0].inputs.input_ids.tolist() for b in batches[:3]]
    assert ids[0] != ids[1] != ids[2] != ids[0]
