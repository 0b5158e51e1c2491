"""What cannot be done is refused with one clear message and the right exit code, and nothing is overwritten."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from mtlfn.run.disk import Disk
from tests.run.conftest import Ended, contents
from tests.run.test_run import result


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def copied(data, tmp_path) -> Path:
    return Path(shutil.copytree(data, tmp_path / "data"))


@pytest.fixture
def begun(go, tmp_path_factory) -> Path:
    """A run that was stopped after a step; a copy for each test."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    assert go(output_dir=folder, max_steps=1).code == 75
    return folder


def refused(ended: Ended, code: int, *wanted: str) -> None:
    """The exit code, every wanted word in the message, and no stack trace anywhere."""
    assert ended.code == code, ended.err
    for word in wanted:
        assert word in ended.message, ended.message
    assert ended.out == ""
    assert "Traceback" not in ended.err
    if ended.err.startswith("mtlfn: "):
        assert ended.err.count("\n") == 1


def damage(data: Path, task: str, split: str, line: int, change) -> Path:
    """Changes a line (from 1) of a data file: ``change`` is a new text, or a function of the row."""
    path = data / task / f"{split}.jsonl"
    rows = path.read_text().splitlines()
    rows[line - 1] = change if isinstance(change, str) else json.dumps(change(json.loads(rows[line - 1])))
    path.write_text("\n".join(rows) + "\n")
    return path


def without(column: str):
    return lambda row: {k: v for k, v in row.items() if k != column}


@pytest.mark.parametrize(
    ("task", "split", "line", "change", "wanted"),
    [
        ("ddi", "train", 3, without("label"), ["'label'", "missing"]),
        ("ddi", "dev", 2, without("head"), ["'head'", "missing"]),
        ("ddi", "train", 1, lambda row: row | {"label": "loves"}, ["'loves'", "mechanism"]),
        ("ddi", "train", 1, lambda row: row | {"head": {"spans": [[0, 999]]}}, ["head", "999"]),
        ("bc5cdr_disease", "train", 5, lambda row: row | {"tags": row["tags"][1:]}, ["tags for", "tokens"]),
        ("bc5cdr_disease", "dev", 1, lambda row: row | {"tags": ["I-Disease"] * len(row["tags"])}, ["I-Disease"]),
        ("bc5cdr_disease", "train", 24, '{"id": "x", "tokens": [', ["JSON"]),
        ("bc5cdr_disease", "train", 2, "[1, 2]", ["[1, 2]", "JSON object"]),
        ("ddi", "train", 2, lambda row: row | {"text": "\ud800" + row["text"]}, ["'\\ud800' at character 1", "half"]),
        ("ddi", "dev", 2, lambda row: row | {"id": "a\udc80"}, ["'\\udc80' at character 2", "half"]),
        ("ddi", "train", 2, "9" * 5000, ["999", "JSON object"]),
        ("ddi", "train", 2, "[" * 100_000, ["[[[", "JSON object"]),
    ],
)
def test_a_damaged_line_is_named_by_file_and_number(go, copied, folder, task, split, line, change, wanted):
    path = damage(copied, task, split, line, change)
    refused(go(data_dir=copied, output_dir=folder), 2, f"{path}, line {line}", *wanted)
    assert not folder.exists()


def test_a_split_that_is_no_file_is_not_passed_over(go, copied, folder):
    os.mkfifo(copied / "ddi" / "test.jsonl")
    refused(go(data_dir=copied, output_dir=folder), 2, str(copied / "ddi" / "test.jsonl"), "is not a file")


@pytest.mark.parametrize("split", ["train", "dev"])
def test_an_empty_or_missing_split(go, copied, folder, split):
    path = copied / "ddi" / f"{split}.jsonl"
    path.write_text("")
    refused(go(data_dir=copied, output_dir=folder), 2, str(path), "empty")
    path.unlink()
    refused(go(data_dir=copied, output_dir=folder), 2, str(copied / "ddi"), split)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("named", "wanted"),
    [
        ({"tasks": "ddi,disease"}, ["'disease'", "bc5cdr_disease", "pubmedqa"]),
        ({"tasks": "dddi"}, ["'dddi'", "did you mean 'ddi'"]),
        ({"tasks": "ddi,ddi"}, ["'ddi'", "twice"]),
        ({"tasks": ","}, ["task"]),
        ({"tasks": None}, ["--data-dir", "--tasks"]),
        ({"tasks": "ddi", "data_dir": None}, ["'ddi'", "data folder"]),
        ({"budget_tokens": 0}, ["budget_tokens", ">= 1", "0"]),
        ({"budget_tokens": -5}, ["budget_tokens", ">= 1", "-5"]),
        ({"budget_tokens": "abc"}, ["--budget-tokens", "'abc'"]),
        ({"budget_tokens": "1.5"}, ["--budget-tokens", "'1.5'"]),
        ({"backbone": "nobody/such-a-model"}, ["--backbone", "nobody/such-a-model"]),
        ({"backbone": "missing.gguf"}, ["--backbone", "missing.gguf"]),
        ({"max_length": 257}, ["--max-length 257", "256 positions"]),
        ({"lora_targets": "nonsense"}, ["--lora-targets", "nonsense"]),
        ({"read_out_layer": 4}, ["--read-out-layer 4", "1 to 3"]),
        ({"device": "nonsense"}, ["--device nonsense", "cpu"]),
        ({"device": "cuda:99"}, ["--device cuda:99", "cpu"]),
        ({"engine": "steam"}, ["--engine", "steam", "merged"]),
        ({"budjet_tokens": 5}, ["--budjet-tokens", "--budget-tokens"]),
        ({"device": "meta"}, ["--device meta"]),
        ({"threads": 1000000}, ["threads", "<= 512", "1000000"]),
        ({"learning_rate": "inf"}, ["learning_rate", "finite", "inf"]),
        ({"lora_alpha_ratio": "inf"}, ["lora_alpha_ratio", "finite", "inf"]),
        ({"weight_decay": "nan"}, ["weight_decay", "nan"]),
        ({"micro_batches": 7}, ["--micro-batches 7", "uniform", "--sampling"]),
        ({"output_dir": "x" * 300}, ["x" * 300, "File name too long"]),
    ],
)
def test_a_flag_that_cannot_be_is_named(go, folder, named, wanted):
    refused(go(**{"output_dir": folder, **named}), 2, *wanted)
    assert not folder.exists()


def test_a_data_folder_that_is_not_there(go, folder, tmp_path):
    refused(go(output_dir=folder, data_dir=tmp_path / "nowhere"), 2, str(tmp_path / "nowhere"), "does not exist")
    assert not folder.exists()


def test_an_output_folder_that_is_a_file(go, tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    refused(go(output_dir=path), 2, f"--output-dir {path}", "file")
    refused(go(output_dir=path / "below"), 2, f"--output-dir {path / 'below'}", "cannot be written")
    assert path.read_text() == "mine"


def test_an_output_folder_that_holds_something_else(go, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    refused(go(output_dir=tmp_path), 4, f"--output-dir {tmp_path}", "not empty", "another folder")
    assert contents(tmp_path) == {"thesis.txt": b"mine"}


def test_an_empty_output_folder_is_welcome(go, tmp_path):
    assert go(output_dir=tmp_path, max_steps=0).code == 75


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_folder_without_permission(go, tmp_path):
    tmp_path.chmod(0o500)
    try:
        refused(go(output_dir=tmp_path / "run"), 2, "--output-dir", "cannot be written", "Permission denied")
    finally:
        tmp_path.chmod(0o700)


def test_an_output_folder_on_a_read_only_disk(go, folder, monkeypatch):
    def read_only(self, *_, **__):
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Disk, "mkdir", read_only)
        ended = go(output_dir=folder)
    refused(ended, 2, f"--output-dir {folder}", "cannot be written", "Read-only file system")


def test_a_disk_that_fills_up_stops_the_run_and_loses_nothing(go, folder, monkeypatch):
    """The room ends in the third checkpoint; with room again, the same command ends in the digest of one with room."""
    assert go(output_dir=folder.with_name("roomy")).code == 0
    room, write = 800_000, Disk.write  # of about 300,000 a checkpoint

    def limited(self, handle, data):
        nonlocal room
        if (room := room - len(data)) < 0:
            raise OSError(28, "No space left on device")
        return write(self, handle, data)

    with monkeypatch.context() as patch:
        patch.setattr(Disk, "write", limited)
        ended = go(output_dir=folder, save_every_steps=1)
    assert ended.code == 75
    assert f"--output-dir {folder}: No space left on device" in ended.message
    assert "same command" in ended.message
    assert "Traceback" not in ended.err
    held = [p.name for p in sorted((folder / "checkpoints").iterdir())]
    assert held
    assert not [name for name in held if "tmp" in name]
    again = go(output_dir=folder)
    assert again.code == 0
    assert f"resume    step {int(held[-1][5:])}" in again.out
    assert result(folder)["digest"] == result(folder.with_name("roomy"))["digest"]


@pytest.mark.parametrize(
    ("named", "wanted"),
    [
        ({"seed": 1}, ["seed is 0 there and 1 now"]),
        ({"budget_tokens": 501}, ["budget_tokens is 500 there and 501 now"]),
        ({"weighting": "uncertainty"}, ["weighting"]),
        ({"engine": "loop"}, ["engine"]),
        ({"detach_level1": None, "gradients": "sum"}, ["gradients is 'pcgrad' there and 'sum' now"]),
        ({"tasks": "ddi"}, ["tasks"]),
        ({"tasks": "bc5cdr_disease,ddi,hoc"}, ["tasks"]),
        ({"lora_dropout": 0.0}, ["lora_dropout"]),
    ],
)
def test_a_run_of_another_configuration_is_left_alone(go, begun, named, wanted):
    before = contents(begun)
    refused(go(output_dir=begun, **named), 4, f"--output-dir {begun}", *wanted)
    assert contents(begun) == before


def test_a_run_on_other_data_or_another_backbone_is_left_alone(go, begun, copied, bert, tmp_path):
    before = contents(begun)
    damage(copied, "ddi", "train", 1, lambda row: row | {"label": "int" if row["label"] != "int" else "none"})
    refused(go(output_dir=begun, data_dir=copied), 4, "train of ddi has the hash")
    other = Path(shutil.copytree(bert, tmp_path / "other"))
    tensors = load_file(other / "model.safetensors")
    tensors["encoder.layer.0.output.dense.bias"][0] += 1
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    refused(go(output_dir=begun, backbone=other), 4, "backbone_digest is")
    assert contents(begun) == before


def test_a_backbone_that_was_copied_or_is_named_by_another_path_is_the_same(go, begun, bert, tmp_path, monkeypatch):
    other = Path(shutil.copytree(bert, tmp_path / "else where" / "other"))
    ended = go(output_dir=begun, backbone=other, max_steps=1)
    assert ended.code == 75, ended.err
    monkeypatch.chdir(other.parent)
    ended = go(output_dir=begun, backbone="other", max_steps=1)
    assert ended.code == 75, ended.err


def test_a_backbone_of_equal_weights_and_another_configuration_is_another_environment(go, begun, bert, tmp_path):
    other = Path(shutil.copytree(bert, tmp_path / "other"))
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    refused(go(output_dir=begun, backbone=other), 4, "hashes.backbone_settings")


def test_the_same_settings_in_another_spelling_are_the_same_run(go, begun):
    ended = go(output_dir=begun, gradients="pcgrad", read_out_layer=2, tasks="ddi, bc5cdr_disease", max_steps=1)
    assert ended.code == 75, ended.err


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        "\x00",
        '{"identity": null}',
    ],
)
def test_a_damaged_config_is_left_alone(go, begun, text):
    (begun / "config.json").write_text(text)
    before = contents(begun)
    refused(go(output_dir=begun), 4, f"--output-dir {begun}", "config.json", "another folder")
    assert contents(begun) == before


def test_a_missing_config_is_told_from_a_folder_of_something_else(go, begun):
    (begun / "config.json").unlink()
    before = contents(begun)
    refused(go(output_dir=begun), 4, f"--output-dir {begun}", "config.json is missing", "put it back")
    assert contents(begun) == before


@pytest.mark.parametrize("name", ["checkpoints", "metrics.jsonl"])
def test_a_file_for_a_folder_and_the_other_way_round(go, begun, name):
    path = begun / name
    if path.is_dir():
        shutil.rmtree(path)
        path.write_text("")
    else:
        path.unlink()
        path.mkdir()
    ended = go(output_dir=begun)
    assert ended.code == 2
    assert str(path) in ended.message
    assert "a directory" in ended.message or "Not a directory" in ended.message


def test_a_damaged_environment_counts_as_another_one(go, begun):
    (begun / "env.json").write_text("[1, 2]")
    ended = go(output_dir=begun)
    assert ended.code == 4
    assert "--accept-environment" in ended.message


def test_a_damaged_result_is_no_stack_trace(go, begun):
    (begun / "result.json").write_text("{")
    assert go(output_dir=begun).code in (0, 2, 4)


def test_a_cache_that_cannot_be_written(go, folder, tmp_path):
    (tmp_path / "file").write_text("mine")
    place = tmp_path / "file"
    refused(go(output_dir=folder, cache_dir=place), 2, "--cache-dir", str(place))
    embedded = {"tasks": "semeval2017_t3", "data_dir": None}
    refused(go(output_dir=folder, cache_dir=place, **embedded), 2, f"the cache {place}: cannot be used (")
    assert not folder.exists()


def test_a_bug_is_not_hidden(go, folder, monkeypatch):
    """An error that is nobody's input keeps its stack trace."""
    from mtlfn.run.one import prepare

    monkeypatch.setattr(prepare, "_max_length", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        go(output_dir=folder)
