"""The token store: the same arrays however they were made, mapped from the file, and never taken when damaged."""

from __future__ import annotations

import os
import shutil
import weakref
from pathlib import Path

import numpy as np
import pyarrow
import pytest

from mtlfn.data.task import Dataset, kind_of
from mtlfn.data.tokens import store, tokenise
from mtlfn.models import backbone
from tests import tiny
from tests.tiny import bert, tiny_folder

__all__ = ["bert", "tiny_folder"]
TASKS = sorted(tiny.datasets())
LENGTH = 24


@pytest.fixture(scope="module")
def tokenizer(bert):
    return backbone.load(str(bert)).tokenizer


def load(name: str, tokenizer, cache: Path) -> store.Corpus:
    return store.load(tiny.datasets()[name], "train", tokenizer, LENGTH, cache)


def folder_in(cache: Path) -> Path:
    (found,) = (cache / "tokens").iterdir()
    return found


def equal(one: store.Corpus, other: store.Corpus) -> bool:
    return one.digest == other.digest and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in store.COLUMNS
    )


@pytest.mark.parametrize("name", TASKS)
def test_rows_that_became_arrays_in_small_batches_come_back_one_by_one(name, tokenizer, tmp_path, monkeypatch):
    data, batch = tiny.datasets()[name], 5
    examples = kind_of(data.task).training(data.train)
    rows = [row for row in tokenise.tokenise(data.task, examples, tokenizer, LENGTH) if row.usable]
    monkeypatch.setattr(store, "BATCH", batch)
    corpus = load(name, tokenizer, tmp_path)
    assert len(corpus) == len(rows) > batch
    for i, row in enumerate(rows):
        at = [slice(*corpus.starts[s : s + 2]) for s in corpus.sequences(i)]
        for held, wanted in ((corpus.ids, row.ids), (corpus.types, row.types), (corpus.marks, row.marks)):
            assert [held[each].tolist() for each in at] == wanted
        assert corpus.label(i).tolist() == pytest.approx(row.labels)


def test_few_rows_are_held_as_lists(tokenizer, tmp_path, monkeypatch):
    alive, most, plain = weakref.WeakValueDictionary(), [], store.tokenise

    def counted(*given):
        for row in plain(*given):
            alive[len(most)] = row
            most.append(len(alive))
            yield row

    monkeypatch.setattr(store, "tokenise", counted)
    monkeypatch.setattr(store, "BATCH", 4)
    load("hoc", tokenizer, tmp_path)
    assert len(most) == 24
    assert max(most) <= 2 * 4 + 1  # a batch, the one before it, and the row that is made


def test_stored_arrays_lie_in_the_file_and_not_in_memory(tokenizer, tmp_path):
    made = load("hoc", tokenizer, tmp_path)
    before = pyarrow.total_allocated_bytes()
    again = load("hoc", tokenizer, tmp_path)
    assert pyarrow.total_allocated_bytes() == before
    for corpus in (made, again):
        for name in store.COLUMNS:
            assert not getattr(corpus, name).flags.owndata
            assert not getattr(corpus, name).flags.writeable


def test_a_split_without_a_usable_example_is_kept_too(tokenizer, tmp_path):
    hoc = tiny.datasets()["hoc"]
    empty = Dataset(task=hoc.task, train=())
    made, again = (store.load(empty, "train", tokenizer, LENGTH, tmp_path) for _ in range(2))
    assert equal(made, again)
    assert (len(made), made.tokens) == (0, 0)
    assert made.starts.tolist() == made.examples.tolist() == made.label_starts.tolist() == [0]


@pytest.mark.parametrize("name", [store.TABLE, store.NOTED])
def test_whichever_byte_is_damaged_the_arrays_are_the_right_ones(name, tokenizer, tmp_path):
    right = load("hoc", tokenizer, tmp_path)
    path = folder_in(tmp_path) / name
    content = path.read_bytes()
    for at in range(0, len(content), len(content) // 40):
        damaged = bytearray(content)
        damaged[at] ^= 0xFF
        path.unlink()  # the file that is mapped stays as it is
        path.write_bytes(damaged)
        assert equal(load("hoc", tokenizer, tmp_path), right), at


def test_what_an_earlier_version_or_a_broken_copy_left_is_made_again(tokenizer, tmp_path):
    right = load("hoc", tokenizer, tmp_path)
    folder = folder_in(tmp_path)
    for left in ({}, {"data-00000-of-00001.arrow": b"x", store.NOTED: b"{}"}, {store.TABLE: b"", store.NOTED: b"[]"}):
        shutil.rmtree(folder)
        folder.mkdir()
        for name, content in left.items():
            (folder / name).write_bytes(content)
        assert equal(load("hoc", tokenizer, tmp_path), right)
        assert sorted(path.name for path in folder.iterdir()) == sorted([store.TABLE, store.NOTED])
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_store_that_reads_otherwise_than_it_was_written_is_an_error_that_names_it(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_read", lambda _: None)
    with pytest.raises(OSError, match="reads otherwise") as caught:
        load("hoc", tokenizer, tmp_path)
    assert caught.value.filename == str(folder_in(tmp_path))


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o755), (0o002, 0o775), (0o077, 0o700)])
def test_a_shared_cache_can_be_read_by_whom_the_umask_says(tokenizer, tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        load(TASKS[0], tokenizer, tmp_path / "cache")
    finally:
        os.umask(before)
    assert folder_in(tmp_path / "cache").stat().st_mode & 0o777 == mode
