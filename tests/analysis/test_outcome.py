"""The command: what it prints and writes, and what it says to a user's mistakes."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mtlfn.analysis.command import verdict
from mtlfn.data import units
from tests.analysis.made import TASKS, edit, scored, write_study

FAST = ["--draws", "1000"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("runs"))


def test_planted_effects_are_found_and_told(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verdict([str(runs), *FAST, "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    document = json.loads((tmp_path / "out" / "verdict.json").read_text())
    (study,) = document["studies"]
    said = {task: row["verdict"] for task, row in study["tasks"].items()}
    assert said == {"answers": "genuine transfer", "mentions": "data exposure only"}
    for name in ("genuine", "exposure", "answers", "verdict.json"):
        assert name in printed
    row = study["tasks"]["answers"]
    assert row["scores"]["multi-task"]["1"] == float(
        units.value(TASKS["answers"], scored("answers", 0.1, 1, "multi").values.sum(0))
    )
    assert row["controlled"]["estimate"] == pytest.approx(0.1, abs=0.01)
    assert row["controlled"]["per_seed"].keys() == {"0", "1", "2"}
    low, high = row["controlled"]["interval_95"]
    narrow = row["controlled"]["interval_90"]
    assert low < narrow[0] < row["controlled"]["estimate"] < narrow[1] < high
    parts = [row[side]["p"]["above"] for side in ("controlled", "plain")]
    assert max(parts) == row["p"]["genuine transfer"] <= row["holm"]["genuine transfer"] <= 0.05
    assert parts[0] == row["row_p"]["genuine transfer"] <= row["row_holm"]["genuine transfer"]
    assert {task: each["row"] for task, each in study["tasks"].items()} == said
    assert row["plain"]["units_only"] is False
    assert document["settings"]["margin"] == 0.01
    assert len(document["runs"]) == 15
    assert {run["tokens"]["total"] for run in document["runs"]} == {500, 1000}
    control = next(run for run in document["runs"] if run["path"].endswith("plain-answers-2"))
    assert control["match"]["control"] == "per-task"
    assert control["digest"]
    with (tmp_path / "out" / "verdict.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["verdict"] for line in lines] == list(said.values())
    assert float(lines[0]["controlled_estimate"]) == row["controlled"]["estimate"]
    assert float(lines[0]["holm:genuine transfer"]) == row["holm"]["genuine transfer"]
    assert [line["row"] for line in lines] == list(said.values())


def test_without_a_study_everything_is_exploratory_in_every_output(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verdict([str(runs), *FAST, "--output", str(tmp_path)]) == 0
    why = "no study fixed the margin and the number of seeds beforehand"
    assert f"EXPLORATORY: {why}" in capsys.readouterr().out
    document = json.loads((tmp_path / "verdict.json").read_text())
    assert document["studies"][0]["exploratory"] == [why]
    with (tmp_path / "verdict.csv").open() as file:
        assert {line["exploratory"] for line in csv.DictReader(file)} == {why}


def test_the_same_runs_give_the_same_bytes(runs: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert verdict([str(runs), *FAST, "--output", str(tmp_path / name)]) == 0
    for file in ("verdict.json", "verdict.csv"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_what_is_missing_is_shown(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "runs"
    shutil.copytree(runs, folder)
    for seed in range(3):
        shutil.rmtree(folder / f"total-answers-{seed}")
        if seed:
            shutil.rmtree(folder / f"plain-mentions-{seed}")
    (folder / "total-mentions-1" / "result.json").unlink()
    assert verdict([str(folder), *FAST, "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    document = json.loads((tmp_path / "verdict.json").read_text())
    (study,) = document["studies"]
    assert len(study["missing"]) == 6
    assert "missing: answers, token-controlled S1, seed 2: no run is the total control of" in printed
    assert "answers: inconclusive; run the token-controlled S1" in printed
    assert "not finished:" in printed
    answers, mentions = study["tasks"]["answers"], study["tasks"]["mentions"]
    assert answers["controlled"] is None
    assert answers["p"] == dict.fromkeys(answers["p"])
    assert (answers["verdict"], answers["advice"]) == ("inconclusive", "run the token-controlled S1")
    assert mentions["plain"]["units_only"] is True
    assert mentions["controlled"]["per_seed"].keys() == {"0", "2"}
    assert mentions["verdict"] == "inconclusive"
    with (tmp_path / "verdict.csv").open() as file:
        first = next(csv.DictReader(file))
    assert (first["controlled_estimate"], first["mean:token-controlled S1"]) == ("", "")
    assert (first["plain_seeds"], first["verdict"]) == ("3", "inconclusive")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "RUN: name at least one run directory"),
        (["nowhere"], "RUN nowhere: is not a folder"),
        (["RUNS", "--margin", "0"], "--margin 0: expected a finite number above 0"),
        (["RUNS", "--alpha", "0.5"], "--alpha 0.5: expected a level between 0 and 0.5"),
        (["RUNS", "--draws", "999"], "--draws 999: expected at least 1000 for 2 tasks at level 0.05"),
        (["RUNS", "--draws", "1000", "--alpha", "0.01"], "--draws 1000: expected at least 2000"),
        (["RUNS", *FAST, "--output", "/proc/no"], "--output /proc/no: cannot be written"),
    ],
)
def test_mistakes_of_the_user(
    runs: Path, flags: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert verdict([str(runs) if flag == "RUNS" else flag for flag in flags]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_run_is_one_message(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    edit(tmp_path / "runs" / "multi-0" / "predictions" / "answers.test.units.json", schema=7)
    assert verdict([str(tmp_path / "runs"), *FAST]) == 2
    err = capsys.readouterr().err
    assert "multi-0" in err
    assert "has schema 7, expected 1" in err


def test_help_imports_no_model_library() -> None:
    program = (
        "import sys; from mtlfn.analysis.command import verdict; code = verdict(['--help']);"
        "print([m for m in ('torch', 'scipy', 'transformers') if m in sys.modules], code)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "[] 0" in ended.stdout
    assert "--margin" in ended.stdout
