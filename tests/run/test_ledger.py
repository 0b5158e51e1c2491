"""The ledger notices any change to itself, survives a torn line, and says which line holds for a step."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtlfn.core.state import leaf_digests
from mtlfn.run.storage import ledger
from mtlfn.run.storage.archive import Diverged, Place, restore, with_breaks
from tests.run.test_checkpoint import IDENTITY, at


def archive(folder: Path):
    return restore(Place(folder, IDENTITY), at(0), lambda _: None)


def written(folder: Path, *steps: int) -> Path:
    """An archive with these steps; its ledger."""
    kept, _ = archive(folder)
    for step in steps:
        kept.save(at(step))
    return folder / "ledger.jsonl"


def test_the_chain_begins_with_the_configuration_and_never_breaks(tmp_path):
    entries = ledger.read(written(tmp_path, 1, 2, 3), IDENTITY)
    assert [e.step for e in entries] == [1, 2, 3]
    assert [e.previous for e in entries] == [IDENTITY, entries[0].hash, entries[1].hash]
    with pytest.raises(ledger.Broken, match="line 1"):
        ledger.read(tmp_path / "ledger.jsonl", "another")


def test_any_flipped_bit_is_noticed_and_the_line_named(tmp_path):
    path = written(tmp_path, 1, 2, 3)
    whole = path.read_bytes()
    second = whole.index(b"\n") + 1
    third = whole.index(b"\n", second) + 1
    for i in range(second, third - 1, 3):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        with pytest.raises(ledger.Broken, match="line 2"):
            ledger.read(path, IDENTITY)


def test_lines_taken_out_or_swapped_are_noticed(tmp_path):
    path = written(tmp_path, 1, 2, 3)
    one, two, three = path.read_bytes().splitlines(keepends=True)
    for lines in ((two, three), (one, three), (one, three, two), (one, one, two)):
        path.write_bytes(b"".join(lines))
        with pytest.raises(ledger.Broken):
            ledger.read(path, IDENTITY)


def test_a_torn_last_line_is_not_there_and_goes_with_the_next(tmp_path):
    path = written(tmp_path, 1, 2)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert [e.step for e in ledger.read(path, IDENTITY)] == [1]
    archive(tmp_path)  # the checkpoint of step 2 is there: its line comes back
    assert path.read_bytes() == whole


def test_a_step_that_is_reached_again_must_be_the_same(tmp_path):
    written(tmp_path, 1, 2, 3)
    for step in (2, 3):
        (tmp_path / "checkpoints" / f"step-0000000{step}" / "state.json").unlink()
    assert not (tmp_path / "checkpoints" / "step-00000001").exists()
    kept, state = archive(tmp_path)
    assert state is None
    kept.check(at(1))
    kept.check(at(2))
    with pytest.raises(Diverged, match=r"step 3 .* params\|shared\|a"):
        kept.check(changed(3))
    kept.check(at(9))  # never reached before


def changed(step: int):
    """The state of a step with another value in one tensor."""
    state = at(step)
    state.params["shared"]["a"][1, 1] += 1
    return state


def test_an_equal_step_is_no_second_line(tmp_path):
    path = written(tmp_path, 1, 2)
    before = path.read_bytes()
    (tmp_path / "checkpoints" / "step-00000002" / "state.json").unlink()
    kept, state = archive(tmp_path)
    assert state.step == 1
    kept.save(at(2))
    assert path.read_bytes() == before


def test_an_accepted_change_voids_what_came_later_and_enters_the_state(tmp_path):
    path = written(tmp_path, 1, 2)
    kept, state = archive(tmp_path)
    broken = kept.accept(state, "threads: 1 before, 2 now")
    assert broken.lineage.breaks == ("threads: 1 before, 2 now",)
    entries = ledger.read(path, IDENTITY)
    assert list(ledger.current(entries)) == [1, 2]
    assert len(ledger.digests(entries)[2]) == 2
    _, again = archive(tmp_path)  # stopped before the next checkpoint: the state on the disk knows nothing of it
    assert again.lineage.breaks == broken.lineage.breaks
    assert with_breaks(at(1), entries).lineage.breaks == ()
    (tmp_path / "checkpoints" / "step-00000002" / "state.json").unlink()
    kept, state = archive(tmp_path)
    assert state.step == 1
    kept.accept(state, "threads: 1 before, 2 now")
    assert list(ledger.current(kept.entries)) == [1]
    assert ledger.breaks(kept.entries) == {1: ("threads: 1 before, 2 now",)}


def test_the_first_leaf_that_differs_is_named(tmp_path):
    line = ledger.entry(at(1), IDENTITY)
    assert ledger.first_difference(line, leaf_digests(at(1))) is None
    other = at(1)
    other.optimizer.mean["shared"]["b"] += 1
    assert ledger.first_difference(line, leaf_digests(other)) == "optimizer|mean|shared|b"
    assert "leaves" in ledger.first_difference(line, {})
