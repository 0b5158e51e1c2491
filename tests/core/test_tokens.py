"""Counts add up part by part, and the cut keeps a prefix: whole sequences, then one cut, then nothing."""

from __future__ import annotations

import attrs
from hypothesis import example, given
from hypothesis import strategies as st

from mtlfn.core.batch import Batch, MicroBatch
from mtlfn.core.tokens import TokenCount, cut, total

counts = st.builds(TokenCount, *[st.integers(0, 10**12)] * 4)
lengths = st.lists(st.integers(1, 300), max_size=20)


@example([3, 2], -1)
@given(lengths, st.integers(-5, 3000))
def test_the_cut_meets_the_budget_with_a_prefix(sizes, left):
    kept = cut(sizes, left)
    assert len(kept) == len(sizes)
    assert sum(kept) == min(max(left, 0), sum(sizes))
    whole = next((i for i, (k, n) in enumerate(zip(kept, sizes, strict=True)) if k != n), len(sizes))
    assert all(0 <= k < n for k, n in zip(kept[whole : whole + 1], sizes[whole : whole + 1], strict=True))
    assert not any(kept[whole + 1 :])


@given(lengths, st.integers(0, 3000), st.integers(0, 3000))
def test_cutting_twice_is_cutting_once_at_the_smaller(sizes, first, second):
    assert cut(cut(sizes, first), second) == cut(sizes, min(first, second))


@given(st.lists(counts, max_size=6))
def test_counts_add_up_part_by_part_in_python_ints(parts):
    for name in attrs.fields_dict(TokenCount):
        value = getattr(total(parts), name)
        assert type(value) is int
        assert value == sum(getattr(part, name) for part in parts)


@given(st.lists(st.tuples(st.sampled_from("abc"), counts), max_size=8))
def test_a_batch_counts_by_task_and_knows_who_carries_a_label(parts):
    batch = Batch(tuple(MicroBatch(task, None, count) for task, count in parts), {})
    for task in "abc":
        assert batch.tokens_of(task) == total(count for name, count in parts if name == task)
    assert batch.tokens == total(count for _, count in parts)
    labelled = [task for task, count in parts if count.loss]
    assert batch.present == tuple(sorted(set(labelled), key=labelled.index))
    for chosen in (("a",), ("c", "a")):
        assert [(m.task, m.tokens) for m in batch.only(*chosen).micro_batches] == [
            (task, count) for task, count in parts if task in chosen and count.loss
        ]
