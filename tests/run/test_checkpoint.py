"""A checkpoint is there in full or passed over loudly; the best and the newest two stay."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import attrs
import pytest
import torch

from mtlfn.core import state as states
from mtlfn.core.state import NonFinite, Progress, digest
from mtlfn.run.disk import Disk, sweep, write_file
from mtlfn.run.storage import checkpoint
from tests.core.families import assert_bitwise
from tests.run.conftest import contents
from tests.tiny import KEY, clones

IDENTITY = "an identity"
RELEASED = Path(__file__).parent / "released"
PARAMS = {"shared": {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(-0.0)}, "head/x": {"w": torch.ones(2)}}


def at(step: int, best_step: int | None = None) -> states.State:
    """A state of its own for every step, with awkward values in it."""
    made = states.init(KEY, clones(PARAMS), ("x", "y"))
    made.params["shared"]["a"][0, 0] = step
    made.params["shared"]["a"][0, 1] = float("nan")
    return attrs.evolve(
        made, step=step, progress=Progress(best=0.1, best_step=best_step), nonfinite=NonFinite(2**40, 1)
    )


def save(folder: Path, *steps: int, best_step: int | None = None) -> None:
    for step in steps:
        checkpoint.save(folder, at(step, best_step), IDENTITY)


def load(folder: Path, identity: str = IDENTITY) -> tuple[states.State | None, list[str]]:
    said: list[str] = []
    return checkpoint.load_newest(folder, at(0), identity, said.append), said


def names(folder: Path) -> list[int]:
    return [int(p.name.removeprefix("step-")) for p in checkpoint.steps(folder)]


def test_what_is_saved_comes_back_to_the_bit(tmp_path):
    path = checkpoint.save(tmp_path / "deep" / "down", at(7), IDENTITY).path
    assert path.name == "step-00000007"
    found, said = load(path.parent)
    assert digest(found) == digest(at(7)) != digest(at(8))
    assert said == []
    assert set(contents(path)) == {"manifest.json", "state.json", "state.safetensors"}
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["digest"] == digest(at(7))
    assert {name: entry["bytes"] for name, entry in manifest["files"].items()} == {
        name: len(data) for name, data in contents(path).items() if name != "manifest.json"
    }


def test_nothing_to_load(tmp_path):
    assert load(tmp_path / "nowhere") == (None, [])


@pytest.mark.parametrize("file", ["manifest.json", "state.json", "state.safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "emptied", "deleted"])
def test_a_damaged_newest_is_passed_over_loudly_for_the_one_before(tmp_path, file, damage):
    save(tmp_path, 1, 2)
    path = tmp_path / "step-00000002" / file
    if damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] if damage == "truncated" else b"")
    found, said = load(tmp_path)
    assert digest(found) == digest(at(1))
    (line,) = said
    assert "passed over" in line
    assert "step-00000002" in line
    assert file == "manifest.json" or file in line


@pytest.mark.parametrize("file", ["state.json", "state.safetensors"])
def test_any_flipped_byte_of_the_state_is_noticed(tmp_path, file):
    save(tmp_path, 1, 2)
    path = tmp_path / "step-00000002" / file
    whole = path.read_bytes()
    for i in range(0, len(whole), max(len(whole) // 40, 1)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        found, said = load(tmp_path)
        assert digest(found) == digest(at(1))
        assert file in said[0]


def test_any_flipped_byte_of_the_manifest_is_noticed_or_harmless(tmp_path):
    save(tmp_path, 1, 2)
    path = tmp_path / "step-00000002" / "manifest.json"
    whole = path.read_bytes()
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        found, said = load(tmp_path)
        assert digest(found) == digest(at(1 if said else 2)), whole[max(i - 20, 0) : i + 20]


def test_a_state_whose_digest_is_not_the_one_in_the_manifest_is_refused(tmp_path):
    """Every file is as the manifest says; only the digest of what is in them is another."""
    save(tmp_path, 1, 2)
    path = tmp_path / "step-00000002" / "manifest.json"
    path.write_text(path.read_text().replace(digest(at(2)), digest(at(1))))
    found, said = load(tmp_path)
    assert digest(found) == digest(at(1))
    assert "digest is not the one written" in said[0]


def test_all_damaged_is_none_and_every_one_is_named(tmp_path):
    save(tmp_path, 1, 2)
    for path in tmp_path.rglob("state.json"):
        path.unlink()
    found, said = load(tmp_path)
    assert found is None
    assert [("step-00000002" in line, "step-00000001" in line) for line in said] == [(True, False), (False, True)]


def test_another_identity_or_schema_is_refused_with_the_reason(tmp_path, monkeypatch):
    save(tmp_path, 1)
    found, said = load(tmp_path, "another")
    assert found is None
    assert "another configuration" in said[0]
    monkeypatch.setattr(checkpoint, "SCHEMA", 0)
    found, said = load(tmp_path)
    assert found is None
    assert "schema 1, this version reads schema 0" in said[0]


def test_a_state_of_another_shape_is_refused_by_leaf(tmp_path):
    save(tmp_path, 1)
    other = states.init(KEY, {**clones(PARAMS), "shared": {"a": torch.zeros(2, 2), "b": torch.tensor(0.0)}}, ("x", "y"))
    said: list[str] = []
    assert checkpoint.load_newest(tmp_path, other, IDENTITY, said.append) is None
    assert "shared|a" in said[0]


def test_the_newest_two_and_the_best_are_kept(tmp_path):
    save(tmp_path, 1, 2, 3, 4)
    assert names(tmp_path) == [3, 4]
    save(tmp_path, 5, 6, 7, best_step=4)
    assert names(tmp_path) == [4, 6, 7]
    save(tmp_path, 8, best_step=8)
    assert names(tmp_path) == [7, 8]


def test_what_was_just_saved_is_never_pruned(tmp_path):
    """Two later ones are damaged: the run went back, and its new checkpoints are the only ones that can be used."""
    save(tmp_path, 8, 9)
    for step in (8, 9):
        (tmp_path / f"step-0000000{step}" / "state.json").unlink()
    save(tmp_path, 3)
    found, _ = load(tmp_path)
    assert digest(found) == digest(at(3))


class Losing(Disk):
    """Says that it wrote, and did not."""

    def write(self, handle: int, data: memoryview) -> int:
        super().write(handle, data[:-1])
        return len(data)


class Full(Disk):
    """Has room for so many bytes."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, handle: int, data: memoryview) -> int:
        if self.room <= 0:
            raise OSError(28, "No space left on device")
        written = super().write(handle, data[: self.room])
        self.room -= written
        return written


class ReadOnly(Disk):
    """Refuses whatever changes it."""

    def mkdir(self, path: Path) -> None:
        raise OSError(30, "Read-only file system")


def test_nothing_is_pruned_before_the_new_one_was_verified(tmp_path):
    save(tmp_path, 1, 2)
    with pytest.raises(checkpoint.Damaged, match="does not read back"):
        checkpoint.save(tmp_path, at(3), IDENTITY, Losing())
    found, _ = load(tmp_path)
    assert digest(found) == digest(at(2))
    assert {1, 2} <= set(names(tmp_path))


@pytest.mark.parametrize("room", [0, 1, 10, 500, 2000])
def test_a_full_disk_leaves_nothing_and_touches_nothing(tmp_path, room):
    save(tmp_path, 1, 2)
    before = contents(tmp_path)
    assert room < sum(len(data) for name, data in before.items() if "00000002" in name)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(tmp_path, at(3), IDENTITY, Full(room))
    assert contents(tmp_path) == before
    assert names(tmp_path) == [1, 2]
    assert digest(load(tmp_path)[0]) == digest(at(2))


def test_a_read_only_disk_leaves_nothing_and_touches_nothing(tmp_path):
    save(tmp_path, 1, 2)
    before = contents(tmp_path)
    with pytest.raises(OSError, match="Read-only"):
        checkpoint.save(tmp_path, at(3), IDENTITY, ReadOnly())
    assert contents(tmp_path) == before


def test_orphans_of_an_interrupted_save_are_ignored_and_swept(tmp_path):
    save(tmp_path, 1)
    before = contents(tmp_path)
    orphan = tmp_path / "step-00000009.tmp-123"
    orphan.mkdir()
    (orphan / "state.json").write_text("{")
    assert names(tmp_path) == [1]
    found, said = load(tmp_path)
    assert digest(found) == digest(at(1))
    assert said == []
    sweep(tmp_path)
    assert contents(tmp_path) == before
    assert not orphan.exists()


def test_a_damaged_checkpoint_is_replaced_by_a_good_one_of_the_same_step(tmp_path):
    save(tmp_path, 1, 2)
    (tmp_path / "step-00000002" / "state.json").write_text("{")
    save(tmp_path, 2)
    found, said = load(tmp_path)
    assert digest(found) == digest(at(2))
    assert said == []


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "result.json"
    write_file(path, b"old")
    with pytest.raises(OSError, match="No space"):
        write_file(path, b"newer", Full(3))
    assert contents(tmp_path) == {"result.json": b"old"}


def test_files_that_were_swapped_between_checkpoints_are_refused(tmp_path):
    save(tmp_path, 1, 2)
    one, two = (tmp_path / f"step-0000000{i}" / "state.safetensors" for i in (1, 2))
    older = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(older)
    found, said = load(tmp_path)
    assert found is None
    assert all("state.safetensors" in line for line in said)
    assert len(said) == 2


def test_a_whole_checkpoint_under_the_name_of_another_is_refused(tmp_path):
    save(tmp_path, 1, 2)
    shutil.rmtree(tmp_path / "step-00000002")
    shutil.copytree(tmp_path / "step-00000001", tmp_path / "step-00000002")
    found, said = load(tmp_path)
    assert digest(found) == digest(at(1))
    assert "holds step 1" in said[0]


@pytest.mark.parametrize("keep", [0, 1, 8, 9, 40, -8, -1])
def test_tensors_cut_off_anywhere_are_refused(tmp_path, keep):
    """At the length field, inside the header, inside the data, one byte short."""
    save(tmp_path, 1, 2)
    path = tmp_path / "step-00000002" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    found, said = load(tmp_path)
    assert digest(found) == digest(at(1))
    assert "state.safetensors" in said[0]


def test_a_checkpoint_that_was_forged_with_its_manifest_does_not_fit_the_ledger(tmp_path):
    """Every hash inside is right; only the ledger knows that the run never was in this state."""
    save(tmp_path, 1)
    known = {1: {digest(at(1))}, 2: {digest(at(2))}}
    forged = attrs.evolve(at(2), nonfinite=NonFinite(0, 0))
    checkpoint.save(tmp_path, forged, IDENTITY)
    said: list[str] = []
    found = checkpoint.load_newest(tmp_path, at(0), IDENTITY, said.append, known)
    assert digest(found) == digest(at(1))
    assert "ledger" in said[0]


def test_a_state_of_an_older_schema_is_migrated_one_schema_after_the_other(tmp_path, monkeypatch):
    save(tmp_path, 1)
    now = states.SCHEMA

    def add(name: str):
        def migrate(found: dict) -> dict:
            return {**found, "nonfinite|total": found["nonfinite|total"] + 1, "last|grad_norm": float(len(name))}

        return migrate

    monkeypatch.setattr(states, "SCHEMA", now + 2)
    monkeypatch.setattr(checkpoint, "SCHEMA", now + 2)
    monkeypatch.setattr(states, "MIGRATIONS", {now: add("a"), now + 1: add("bb")})
    found, said = load(tmp_path)
    assert said == []
    assert found.nonfinite.total == at(1).nonfinite.total + 2
    assert found.last.grad_norm == 2.0
    monkeypatch.setattr(states, "MIGRATIONS", {now: add("a")})
    found, said = load(tmp_path)
    assert found is None
    assert f"schema {now}" in said[0]


@pytest.mark.parametrize("schema", range(1, states.SCHEMA + 1))
def test_the_checkpoint_of_every_released_schema_is_read(schema):
    """``released/schema-N`` was written by the first release with that schema, and is never written again."""
    found, said = load(RELEASED / f"schema-{schema}")
    assert said == []
    assert (found.step, found.progress, found.nonfinite) == (3, Progress(0.1, 2), NonFinite(2**40, 1))
    assert_bitwise(found.params["shared"]["a"], at(3).params["shared"]["a"])


def test_no_pickle_anywhere():
    root = Path(checkpoint.__file__).parent.parent
    for path in root.rglob("*.py"):
        text = path.read_text()
        assert "import pickle" not in text, path
        assert "torch.load" not in text, path
        assert "torch.save" not in text, path
