"""A checkpoint is there in full or passed over loudly; the best and the newest two stay."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest
import torch

from mtlfn.core import state
from mtlfn.core.state import NonFinite, Progress, digest
from mtlfn.run import checkpoint
from tests.run.conftest import contents
from tests.tiny import KEY, clones

IDENTITY = "an identity"
PARAMS = {"shared": {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(-0.0)}, "head/x": {"w": torch.ones(2)}}


def at(step: int, best_step: int | None = None) -> state.State:
    """A state of its own for every step, with awkward values in it."""
    made = state.init(KEY, clones(PARAMS), ("x", "y"))
    made.params["shared"]["a"][0, 0] = step
    made.params["shared"]["a"][0, 1] = float("nan")
    return attrs.evolve(
        made, step=step, progress=Progress(best=0.1, best_step=best_step), nonfinite=NonFinite(2**40, 1)
    )


def save(folder: Path, *steps: int, best_step: int | None = None) -> None:
    for step in steps:
        checkpoint.save(folder, at(step, best_step), IDENTITY)


def load(folder: Path, identity: str = IDENTITY) -> tuple[state.State | None, list[str]]:
    said: list[str] = []
    return checkpoint.load_newest(folder, at(0), identity, said.append), said


def names(folder: Path) -> list[int]:
    return [int(p.name.removeprefix("step-")) for p in checkpoint.steps(folder)]


def test_what_is_saved_comes_back_to_the_bit(tmp_path):
    path = checkpoint.save(tmp_path / "deep" / "down", at(7), IDENTITY)
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
    monkeypatch.setattr(checkpoint, "SCHEMA", 99)
    found, said = load(tmp_path)
    assert found is None
    assert "schema 1" in said[0]
    assert "99" in said[0]


def test_a_state_of_another_shape_is_refused_by_leaf(tmp_path):
    save(tmp_path, 1)
    other = state.init(KEY, {**clones(PARAMS), "shared": {"a": torch.zeros(2, 2), "b": torch.tensor(0.0)}}, ("x", "y"))
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


def test_nothing_is_pruned_before_the_new_one_was_verified(tmp_path, monkeypatch):
    save(tmp_path, 1, 2)
    monkeypatch.setattr(checkpoint, "_write", lambda path, data: path.write_bytes(data[:-1]))
    with pytest.raises(checkpoint.Damaged):
        save(tmp_path, 3)
    found, _ = load(tmp_path)
    assert digest(found) == digest(at(2))
    assert {1, 2} <= set(names(tmp_path))


def test_a_save_that_fails_leaves_nothing_and_touches_nothing(tmp_path, monkeypatch):
    save(tmp_path, 1, 2)
    before = contents(tmp_path)

    def full(path: Path, data: bytes) -> None:
        path.write_bytes(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write", full)
    with pytest.raises(OSError, match="No space"):
        save(tmp_path, 3)
    assert contents(tmp_path) == before
    assert names(tmp_path) == [1, 2]


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
    checkpoint.sweep(tmp_path)
    assert contents(tmp_path) == before
    assert not orphan.exists()


def test_a_damaged_checkpoint_is_replaced_by_a_good_one_of_the_same_step(tmp_path):
    save(tmp_path, 1, 2)
    (tmp_path / "step-00000002" / "state.json").write_text("{")
    save(tmp_path, 2)
    found, said = load(tmp_path)
    assert digest(found) == digest(at(2))
    assert said == []


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    checkpoint.write_file(path, b"old")

    def full(path: Path, data: bytes) -> None:
        path.write_bytes(data[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.write_file(path, b"new")
    assert path.read_bytes() == b"old"
