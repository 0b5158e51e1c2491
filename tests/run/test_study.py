"""A study from its file to its verdict: parity of every pair, a kill in the middle, wrong files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mtlfn.analysis import study
from mtlfn.analysis.command import study as command
from mtlfn.analysis.runs import cells
from mtlfn.run.errors import UsageError
from tests.run.test_plan import final_params, result

ROOT = Path(__file__).parents[2]
TASKS = ("bc5cdr_disease", "ddi", "pubmedqa")


@pytest.fixture
def file(bert, corpora, cache, tmp_path) -> Path:
    """A study of three tasks whose budget no batch divides."""
    path = tmp_path / "study.toml"
    path.write_text(
        f"""
seeds = 2
keep = ["ddi", "pubmedqa"]
pairwise = true
draws = 4000

[run]
tasks = {list(TASKS)}
backbone = "{bert}"
data_dir = "{corpora}"
cache_dir = "{cache}"
output_dir = "out"
budget_tokens = 1001
micro_batch_tokens = 64
max_length = 64
threads = 1
skip_smoke_test = true
"""
    )
    return path


@pytest.fixture
def corpora(tmp_path) -> Path:
    """The made-up data sets, with test splits."""
    from tests.tiny import make_data

    return make_data(tmp_path / "data", test=12)


@pytest.mark.slow
def test_a_study_that_is_killed_goes_on_and_every_pair_has_equal_tokens(file, tmp_path, capsys):
    assert command("A test.", [str(file), "--plan"]) == 0
    said = capsys.readouterr().out
    assert "24 runs" in said
    assert not (tmp_path / "out").exists()

    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    code = f"from mtlfn.analysis.command import study; study('A test.', [{str(file)!r}])"
    child = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.DEVNULL)
    began = time.monotonic()
    while not (tmp_path / "out/seed-0/total").exists() and time.monotonic() - began < 120:
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    done = list((tmp_path / "out").rglob("result.json"))
    assert 0 < len(done) < 24
    stamps = {path: path.stat().st_mtime_ns for path in done}

    assert command("A test.", [str(file)]) == 0
    out = tmp_path / "out"
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())  # what was done is not done again
    for seed in (0, 1):
        multi = result(out / f"seed-{seed}/multi")
        assert multi["tokens"]["total"] == 1001
        for task in TASKS:
            total, share = (result(out / f"seed-{seed}/{kind}/{task}") for kind in ("total", "per-task"))
            assert total["tokens"]["total"] == 1001
            assert share["tokens"]["total"] == multi["tokens"]["per_task"][task]
            assert total["seed"] == share["seed"] == seed
        kept, tuned = (out / f"seed-{seed}/exclusion/{half}" for half in ("kept", "excluded"))
        assert result(kept)["tokens"]["total"] + result(tuned)["tokens"]["total"] == 1001
        assert final_params(kept)["shared"].keys() == final_params(tuned)["shared"].keys()
        pair = result(out / f"seed-{seed}/pairs/bc5cdr_disease+ddi")
        assert pair["tokens"]["total"] == sum(multi["tokens"]["per_task"][t] for t in ("bc5cdr_disease", "ddi"))
        assert pair["match"]["control"] == "pair"

    document = json.loads((out / "report/verdict.json").read_text())
    (found,) = document["studies"]
    assert list(found["tasks"]) == list(TASKS)
    assert not found["missing"]
    assert set(found["tasks"]["bc5cdr_disease"]["exclusion"]["per_seed"]) == {"0", "1"}
    assert "exclusion" not in found["tasks"]["ddi"]
    for task in TASKS:
        # The verdict's own score is that of the run.
        score = found["tasks"][task]["scores"]["multi-task"]["0"]
        assert score == pytest.approx(result(out / "seed-0/multi")["scores"][task]["test"], abs=1e-12)

    again = command("A test.", [str(file)])
    assert again == 0
    assert "24/24] seed-1/pairs/ddi+pubmedqa: finished" in capsys.readouterr().out


def test_a_control_that_lacks_is_listed_as_missing(file, tmp_path):
    made = study.read(file)
    nodes = [n for n in study.nodes(made) if "pairs" not in n.name and "exclusion" not in n.name and "seed-0" in n.name]
    from mtlfn.run.many import execute

    assert execute.execute(tmp_path / "out", nodes[:-1], ["again"]) == 0
    (found,) = cells.find([tmp_path / "out"]).studies
    assert [(m.task, m.side, m.seed) for m in found.missing] == [("pubmedqa", "token-controlled S1", 0)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("seeds = 0", "seeds"),
        ("strategy = 's1'", "expected one of s2, s3a, s3b @ $.strategy"),
        ("margin = inf", "'margin' must be a finite number: inf"),
        ("colour = 3", "colour"),
        ("[run]\nbudget = 3", "[run]: unknown key budget: did you mean budget_tokens"),
        ("[run]\nseeds = 3", "seeds stands above [run], not in it"),
        ("run = 3", "run is 3, expected a table [run]"),
        ("[run]\ntasks = 'ddi'", "name two tasks or more"),
        ("keep = ['other']", "other is none of the tasks"),
        ("seeds = ", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_told_by_key(tmp_path, text, wanted, capsys):
    path = tmp_path / "study.toml"
    path.write_text(text + "\n")
    assert command("A test.", [str(path), "--plan"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert wanted in said


@pytest.mark.parametrize("flag", ["--seeds", "--threads", "--max-hours"])
def test_a_flag_of_nought_is_refused(flag, capsys):
    assert command("A test.", [str(ROOT / "experiments/study-cpu.toml"), "--plan", flag, "0"]) == 2
    assert flag.removeprefix("--").replace("-", "_") in " ".join(capsys.readouterr().err.split())


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        study.read(tmp_path / "none.toml")


def test_the_preset_is_a_study_of_the_embedded_tasks():
    made = study.read(ROOT / "experiments/study-cpu.toml")
    assert made.run.budget_tokens == 150_000
    assert len(study.nodes(made)) == 3 * (1 + 2 * 5 + 2)
    assert made.keep == ("semeval2017_t3", "semeval2021_t6")
