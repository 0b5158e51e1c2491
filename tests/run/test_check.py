"""The check of data reads what a run would read: tasks of a configuration, whatever files they lie in."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtlfn.run.commands.command import data as command
from mtlfn.run.commands.command import main, replay

TOML = """
tasks = "pairs,words"

[task.pairs]
source = "pairs.csv"
kind = "classification"
level = 2
labels = ["no", "yes"]
columns = { text = "a", text_pair = "b", label = "label" }

[task.words]
source = "words"
kind = "tagging"
level = 1
labels = ["Disease"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = "".join(f"text {i},other {i},{'yes' if i % 2 else 'no'}\n" for i in range(60))
    (tmp_path / "pairs.csv").write_text("a,b,label\n" + rows)
    (tmp_path / "words").mkdir()
    for split in ("train", "dev"):
        (tmp_path / "words" / f"{split}.conll").write_text(f"no O\nflu{split} S-Disease\n\nrest O\n")
    (tmp_path / "my.toml").write_text(TOML)
    return tmp_path / "my.toml"


def test_the_tasks_of_a_configuration_are_read_as_a_run_would(file, bert, cache, monkeypatch, capfd):
    monkeypatch.setenv("MTLFN_CACHE", str(cache))
    assert command(["check", "--config", str(file), "--backbone", str(bert)]) == 0
    said = capfd.readouterr().out
    assert "pairs: classification, level 2, metric macro_f1" in said
    assert "dev split: a tenth of the training units" in said
    assert "words: tagging, level 1, metric entity_f1" in said
    assert "sentences whose tags were made IOB2: 2" in said
    assert command(["check", "--config", str(file), "--task", "words", "--backbone", str(bert)]) == 0
    assert "pairs:" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "expected DIR --task NAME, or --config FILE"),
        (["--task", "ddi"], "expected DIR --task NAME, or --config FILE"),
        (
            ["--config", "{file}", "--task", "ddi"],
            "--task ddi: is none of the tasks of the configuration (pairs, words)",
        ),
        (["{file}.not"], "my.toml.not: no such folder; expected DIR --task NAME, or --config FILE"),
        (["."], "expected DIR --task NAME, or --config FILE; of your own files, mtlfn data init . writes such a FILE"),
        (["--config", "{file}.not"], "my.toml.not: cannot be read"),
        (["--config", "{file}", "--strict"], "--strict: is for the organisers' files of an official task"),
    ],
)
def test_wrong_use_is_told(file, argv, said, capfd):
    assert command(["check", *(word.format(file=file) for word in argv)]) == (2 if argv else 0)
    told = capfd.readouterr()
    assert said in told.err if argv else "--config" in told.out


def test_a_wrong_row_is_told_by_file_and_line(file, bert, cache, monkeypatch, capfd):
    monkeypatch.setenv("MTLFN_CACHE", str(cache))
    with (file.parent / "pairs.csv").open("a") as rows:
        rows.write("text,other,maybe\n")
    assert command(["check", "--config", str(file), "--backbone", str(bert)]) == 2
    assert "pairs.csv, line 62: the example 'train-0000060' has the label 'maybe'" in capfd.readouterr().err


def test_a_run_of_files_beside_its_configuration_replays_from_anywhere(file, bert, cache, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(file.parent)
    flags = ["--config", file.name, "--backbone", str(bert), "--cache-dir", str(cache), "--output-dir", "run"]
    flags += ["--budget-tokens", "300", "--micro-batch-tokens", "64", "--skip-smoke-test", "--quick-eval-examples", "0"]
    assert main("s3b", "A test.", flags) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert replay([str(file.parent / "run"), "--all"]) == 0, capfd.readouterr().out
