"""A study as a graph for other programs, one node of it in a process, its verdict so far, and runs side by side."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mtlfn.analysis import looks, study, study_command
from mtlfn.analysis.command import Study
from mtlfn.analysis.study_command import node_command
from mtlfn.run import documents
from mtlfn.run.errors import UsageError
from mtlfn.run.many import snakemake
from tests.run.studies import ended, write
from tests.run.test_run import result
from tests.tiny import make_data

ROOT = Path(__file__).parents[2]


def installed() -> bool:
    """Whether there is a Snakemake to be called."""
    try:
        snakemake.program(None)
    except UsageError:
        return False
    return True


side_by_side = pytest.mark.skipif(
    "not __import__('tests.run.test_study_nodes', fromlist=['']).installed()",
    reason="Snakemake is not installed; scripts/setup_cluster.sh makes an environment that has it",
)


@pytest.fixture(scope="module")
def places(bert, cache, tmp_path_factory) -> dict[str, str]:
    """Of the tiny backbone and its data."""
    data = make_data(tmp_path_factory.mktemp("data"), test=12)
    return {"backbone": str(bert), "data_dir": str(data), "cache_dir": str(cache)}


@pytest.fixture
def file(places, tmp_path) -> Path:
    return write(tmp_path, {**places, "output_dir": "out"})


def test_the_folder_of_the_data_may_stand_on_the_command_line(places, tmp_path, capsys, monkeypatch):
    """A study that is shipped does not know where a user keeps the files."""
    monkeypatch.chdir(Path(places["data_dir"]).parent)
    apart = {name: place for name, place in places.items() if name != "data_dir"}
    common = {"output_dir": str(tmp_path / "out"), "budget_tokens": 300}
    whole = write(tmp_path, {**places, **common}).rename(tmp_path / "whole.toml")
    bare = write(tmp_path, {**apart, **common})
    given = ("--data-dir", Path(places["data_dir"]).name)
    named = graph(capsys, bare, *given)
    assert [node["id"] for node in named["nodes"]] == [node["id"] for node in graph(capsys, whole)["nodes"]]
    command = named["nodes"][0]["command"]
    assert command[command.index("--data-dir") + 1] == str(Path(places["data_dir"]).resolve())
    first = ("--only", named["nodes"][0]["id"], "--skip-smoke-test")
    code, said = ended(capsys, bare, *first)
    assert code == 2, said
    assert "read from a data folder" in said
    assert ended(capsys, bare, *first, *given)[0] == 0
    digest = result(tmp_path / "out" / named["nodes"][0]["id"])["digest"]
    shutil.rmtree(tmp_path / "out")
    assert ended(capsys, whole, *first)[0] == 0
    assert result(tmp_path / "out" / named["nodes"][0]["id"])["digest"] == digest


def graph(capsys, file: Path, *flags: object) -> dict[str, Any]:
    capsys.readouterr()
    code, said = ended(capsys, file, "--plan", "--json", *flags)
    assert code == 0, said
    return json.loads(said)


def test_the_plan_is_a_graph_for_other_programs(file, tmp_path, capsys):
    found = graph(capsys, file)
    nodes = {node["id"]: node for node in found["nodes"]}
    assert len(nodes) == 10
    assert found["folder"] == str(tmp_path / "out")
    for name, node in nodes.items():
        assert node["needs"] == ([] if name.endswith("multi") else [f"{name.split('/')[0]}/multi"])
        assert node["command"][-2:] == ["--only", name]
        assert node["command"][:4] == [sys.executable, "-m", "mtlfn.experiments.study", str(file)]
        assert node["minutes"] > node["tokens"] / 1500 / 60  # there is more to a run than its training
        assert node["memory_mb"] > 0
    assert nodes["seed-0/multi"]["tokens"] == nodes["seed-0/total/ddi"]["tokens_at_most"] == 400
    assert nodes["seed-0/per-task/ddi"]["tokens"] == 200
    assert nodes["seed-0/per-task/ddi"]["tokens_at_most"] == 400  # the multi-task run decides
    assert found["conclude"][-1] == "--conclude"
    assert not (tmp_path / "out").exists()


def test_a_preset_is_named_to_every_node_as_it_was_named(tmp_path, capsys, monkeypatch):
    """Also in another process and folder, where ``preset:NAME`` is no file."""
    monkeypatch.chdir(tmp_path)
    found = graph(capsys, Path("preset:study-demo"))
    commands = [node["command"] for node in found["nodes"]] + [found["conclude"]]
    words = commands[0][commands[0].index("preset:study-demo") :]
    assert all("preset:study-demo" in command for command in commands)
    assert words[1] == "--output-dir"
    assert Path(words[2]).is_absolute()
    monkeypatch.chdir("/")
    assert ended(capsys, *words[:3], "--plan")[0] == 0


def test_files_of_the_working_folder_are_no_modules_of_a_run(file, tmp_path, capsys, monkeypatch):
    """A user may have written a tokenize.py or random.py; only a package that lies there itself is found there."""
    alone = [sys.executable, "-m", "mtlfn.experiments.study"]
    for folder, wanted in ((tmp_path, [sys.executable, "-P", *alone[1:]]), (ROOT, alone)):
        monkeypatch.chdir(folder)
        assert graph(capsys, file)["nodes"][0]["command"][: len(wanted)] == wanted
    asked = Study(file)
    made = study.read(file)
    assert node_command(asked, made, tmp_path)[: len(wanted) + 1] == [sys.executable, "-P", *alone[1:]]
    assert str(ROOT) in snakemake.ours()["PYTHONPATH"].split(os.pathsep)


def test_the_plan_has_the_seeds_that_were_asked_for(file, capsys):
    found = graph(capsys, file, "--seeds", 3, "--skip-smoke-test")
    assert len(found["nodes"]) == 15
    (flags,) = {tuple(node["command"][4:-2]) for node in found["nodes"]}
    assert flags[2:] == ("--seeds", "3", "--threads", "1", "--skip-smoke-test")


def test_trials_are_nodes_that_the_runs_need(places, tmp_path, capsys):
    path = write(tmp_path, {**places, "output_dir": "out"}, learning_rates=[0.001, 0.003], seeds=1, controls=["total"])
    nodes = {node["id"]: node["needs"] for node in graph(capsys, path)["nodes"]}
    trials = ["rate-0.001/multi", "rate-0.003/multi"]
    assert nodes["seed-0/multi"] == trials
    assert nodes["rate-0.003/total/ddi"] == trials
    assert nodes["seed-0/total/ddi"] == ["seed-0/multi", "rate-0.001/total/ddi", "rate-0.003/total/ddi"]


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        (["--only", "seed-0/mult"], "--only seed-0/mult: is no run of the study; did you mean seed-0/multi?"),
        (["--only", "seed-1/total/ddi"], "needs seed-1/multi, which is not finished; give --only seed-1/multi first"),
        (["--json"], "--json: goes with --plan; give that too"),
        (["--conclude"], "is finished; run some of the study first"),
        (["--only", "seed-0/multi", "--jobs", "2"], "--only and --jobs: expected one of them"),
        (["--plan", "--only", "seed-0/multi"], "--plan and --only: expected one of them"),
        (["--plan", "--conclude"], "--plan and --conclude: expected one of them"),
        (["--gpus", "1"], "--gpus 1: goes with --jobs, --slurm or --export-slurm"),
        (["--jobs", "2", "--partition", "x"], "--partition x: goes with --slurm or --export-slurm; give that too"),
        (["--jobs", "2", "--snakemake", "/none"], "--snakemake /none: cannot be run"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(file, tmp_path, capsys, flags, wanted):
    code, said = ended(capsys, file, *flags)
    assert code == 2
    assert wanted in said
    assert not list(tmp_path.rglob("config.json"))[1:]  # that of the tiny backbone may lie there; no run began


def test_a_file_is_no_folder_of_a_study(file, capsys):
    code, said = ended(capsys, file, "--output-dir", file)
    assert (code, said) == (2, f"mtlfn: --output-dir {file}: is a file; name a folder")


def test_a_report_that_cannot_be_written_names_what_writes_it_elsewhere(file, tmp_path, capsys, monkeypatch):
    made = study.read(file)
    for folder in (tmp_path / "out", tmp_path / "out/report"):
        folder.mkdir()
        with monkeypatch.context() as patch:
            patch.setattr(os, "access", lambda path, _, folder=folder: path != folder)
            with pytest.raises(UsageError) as told:
                study_command._tell(made, tmp_path / "out", [], [], "")
        assert str(told.value) == (
            f"{tmp_path / 'out/report'}: cannot be written; mtlfn report {tmp_path / 'out'} --output DIR writes a "
            "report elsewhere"
        )


def test_a_node_at_a_time_is_the_study(file, tmp_path, capsys):
    """In another order than the plan's, each once more than it takes."""
    out = tmp_path / "out"
    nodes = [node["id"] for node in graph(capsys, file)["nodes"] if node["id"].startswith("seed-1")]
    for name in nodes:
        assert ended(capsys, file, "--only", name)[0] == 0
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    code, said = ended(capsys, file, "--only", nodes[0])
    assert (code, said) == (0, f"{nodes[0]}: finished")
    assert stamps == {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    code, said = ended(capsys, file, "--conclude")
    assert code == 0, said
    assert "report, of what is finished" in said
    (look,) = looks.taken(out)
    assert look["seeds"] == [[1]]
    found = graph(capsys, file)
    assert found["nodes"][0]["memory_mb"] != 2500  # as the finished runs took


def test_a_node_that_is_not_as_it_was_sealed_is_made_again_and_what_needs_it_says_so(file, tmp_path, capsys):
    run = tmp_path / "out/seed-0/multi"
    assert ended(capsys, file, "--only", "seed-0/multi")[0] == 0
    digest = result(run)["digest"]
    (run / documents.TOKENS).write_text("{}")
    code, said = ended(capsys, file, "--only", "seed-0/total/ddi")
    assert code == 2
    assert "it is not as it was when it finished" in said
    assert ended(capsys, file, "--only", "seed-0/multi")[0] == 0
    assert result(run)["digest"] == digest
    assert ended(capsys, file, "--only", "seed-0/total/ddi")[0] == 0


def test_what_a_study_declares_is_not_lost_where_many_of_its_runs_begin_at_once(places, tmp_path):
    """Twenty claim and look at the same time; every look stays on record."""
    out = tmp_path / "out"
    made = study.read(write(tmp_path, {**places, "output_dir": "out"}))
    document = {
        "settings": {"margin": 0.02, "alpha": 0.05, "draws": 1, "level": 0.05},
        "studies": [{"seeds": [0], "exploratory": [], "tasks": {}}],
    }

    def look(number: int) -> None:
        study.claim(made, out)
        looks.record(out, {**document, "runs": [{"digest": str(number)}]})
        study.claim(made, out)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(look, range(20)))
    assert sorted(int(each["digests"][0]) for each in looks.taken(out)) == list(range(20))


# Side by side, with the real Snakemake


def command(file: Path, *flags: object) -> list[str]:
    return [sys.executable, "-m", "mtlfn.experiments.study", str(file), *map(str, flags)]


def begun(file: Path, *flags: object) -> subprocess.Popen[str]:
    own = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command(file, *flags), env=own, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finished(file: Path, *flags: object) -> str:
    process = begun(file, *flags)
    said, _ = process.communicate(timeout=1500)
    assert process.returncode == 0, said
    return said


def outcome(out: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Digest of every run, and the verdict but for paths and times."""
    digests = {str(path.parent.relative_to(out)): result(path.parent)["digest"] for path in out.rglob("result.json")}
    said = json.dumps(json.loads((out / "report/verdict.json").read_text())).replace(str(out), "OUT")
    verdict = json.loads(re.sub(r'"(date|training_seconds|(sha256))": [^,}]*', '"": 0', said))
    verdict.pop("(sha256)", None)
    return digests, verdict


LONGER = {"budget_tokens": 4000}  # runs that a kill some seconds later still meets


@pytest.fixture(scope="module")
def serial(places, tmp_path_factory) -> tuple[dict[str, str], dict[str, Any]]:
    """What one after the other is: of one seed, five runs."""
    folder = tmp_path_factory.mktemp("serial")
    finished(write(folder, {**places, **LONGER, "output_dir": "out"}, seeds=1))
    return outcome(folder / "out")


@pytest.fixture
def small(places, tmp_path) -> Path:
    return write(tmp_path, {**places, **LONGER, "output_dir": "out"}, seeds=1)


@pytest.mark.slow
@side_by_side
def test_side_by_side_is_what_one_after_the_other_is(small, tmp_path, serial):
    said = finished(small, "--jobs", 2)
    assert outcome(tmp_path / "out") == serial
    assert said.count("finished in") == 5
    assert "[5/5]" in said
    again = finished(small, "--jobs", 2)
    assert "5 of 5 runs are finished" in again
    assert outcome(tmp_path / "out") == serial


@pytest.mark.slow
@side_by_side
def test_whatever_is_killed_whenever_the_same_command_goes_on_to_the_same_bits(small, tmp_path, serial):
    """The start, Snakemake, a job or a run, each with signal 9 at a random moment; and Ctrl-C."""
    random_, out = random.Random(0), tmp_path / "out"
    for which in ("start", "snakemake", "job", "Ctrl-C", "run"):
        process = begun(small, "--jobs", 2)
        victim = _victim(which, process, random_)
        if victim is not None:
            os.kill(victim, signal.SIGINT if which == "Ctrl-C" else signal.SIGKILL)
        said, _ = process.communicate(timeout=1500)
        wanted = (-9,) if which == "start" else (0, 75)  # 0 where all had ended just before, or went on
        wanted = (0,) if victim is None else wanted  # all ended before
        assert process.returncode in wanted, (which, said)
        assert "Traceback" not in said
    finished(small, "--jobs", 2)
    assert outcome(out) == serial
    assert not list((out / ".jobs").glob("*/"))


def _victim(which: str, process: subprocess.Popen[str], random_: random.Random) -> int | None:
    """The process to kill, some moments after there is one; None where all ended before."""
    import psutil

    signs = {"snakemake": "bin/snakemake", "job": "mtlfn.run.many.job", "run": "--only"}
    until = time.monotonic() + 600
    while process.poll() is None and time.monotonic() < until:
        children = psutil.Process(process.pid).children(recursive=True)
        for child in children:
            try:
                words = " ".join(child.cmdline())
            except psutil.Error:
                continue
            sign = signs.get(which, "--only")
            if sign in words and not any(other in words for other in ("--version", "env PYTHON", "many/tied.py")):
                time.sleep(random_.uniform(0, 6))
                return process.pid if which in ("start", "Ctrl-C") else child.pid
        time.sleep(0.05)
    return None


@pytest.mark.slow
@side_by_side
def test_short_runs_share_a_process_and_end_in_the_same_bits(cache, tmp_path):
    """Also where the job of all of them is killed in between."""
    worlds = [f"world_together_{name}" for name in ("genuine", "exposure", "negative", "source")]
    run = {"tasks": worlds, "backbone": "planted", "budget_tokens": 6000, "max_length": 16, "cache_dir": str(cache)}
    for name in ("serial", "jobs"):
        (tmp_path / name).mkdir()
        file = write(tmp_path / name, {**run, "output_dir": "out"})
        if name == "jobs":
            process = begun(file, "--jobs", 2)
            victim = _victim("job", process, random.Random(1))
            if victim is not None:
                os.kill(victim, signal.SIGKILL)
            process.communicate(timeout=1500)
        finished(file, *(("--jobs", 2) if name == "jobs" else ()))
    out = tmp_path / "jobs/out"
    assert outcome(out) == outcome(tmp_path / "serial/out")
    logs = [path for path in (out / "logs").rglob("*.log") if path.name != "snakemake.log"]
    assert 2 <= len(logs) < len(list(out.rglob("result.json"))) / 2


@pytest.mark.slow
@side_by_side
def test_one_failed_run_fails_what_needs_it_and_not_the_study(places, tmp_path):
    small = write(tmp_path, {**places, "output_dir": "out"}, controls=["total"])
    run = tmp_path / "out/seed-0/multi"
    run.mkdir(parents=True)
    (run / "of somebody").write_text("else")
    process = begun(small, "--jobs", 2)
    said, _ = process.communicate(timeout=1500)
    assert process.returncode == 4, said  # before anything runs, as one after the other
    (run / "of somebody").unlink()
    (run / "lock").mkdir()  # the run cannot lock it
    process = begun(small, "--jobs", 2)
    said, _ = process.communicate(timeout=1500)
    assert process.returncode == 1, said
    assert "3 of 6 runs failed" in said
    assert said.count("not begun: it needs seed-0/multi") >= 2
    assert len(list((tmp_path / "out").rglob("result.json"))) == 3
    assert (tmp_path / "out/report/verdict.json").exists()
