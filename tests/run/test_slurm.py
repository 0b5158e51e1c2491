"""Studies on Slurm: what is asked of it, the script of arrays, and both on a real one of one node."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import attrs
import pytest

from mtlfn.run.config import Config
from mtlfn.run.errors import UsageError
from mtlfn.run.many import array, execute, launch, lease, plan, slurm, together
from tests.run import slurm as real
from tests.run.studies import ended, write
from tests.run.test_run import result
from tests.run.test_study_nodes import ROOT, side_by_side
from tests.tiny import make_data


def node(name: str, *needs: str) -> plan.Node:
    return attrs.evolve(plan.multi("s2", Config(), name), needs=needs)


NODES = (node("a"), node("b", "a"), node("c", "b"), node("d", "a"), node("e"))


def text(path: Path, queue: slurm.Queue, **named: Any) -> str:
    machines = together.Machines(jobs=1, queue=queue, threads=3, **named)
    return array.script(
        path, path.parent / "a folder", NODES, ["python", "study.toml"], machines, {"PYTHONPATH": "/x y"}
    )


def test_a_run_that_a_gpu_was_asked_for_does_not_train_on_the_processor(tmp_path, monkeypatch):
    path, told = tmp_path / "queue.sh", f"export {lease.LEASED}='{lease.QUEUED}'"
    for gpus in (0, 1):
        machines = together.Machines(jobs=1, queue=slurm.Queue(), gpus=gpus)
        array.export(path, tmp_path, NODES, ["python", "study.toml"], machines)
        assert (told in path.read_text().splitlines()) == bool(gpus)
        given = together.launched(tmp_path, NODES, NODES, ["python", "study.toml"], machines).environment
        assert given.get(lease.LEASED) == (lease.QUEUED if gpus else None)
    monkeypatch.setattr(lease, "seen", lambda: 0)
    monkeypatch.setenv(lease.LEASED, lease.QUEUED)
    with pytest.raises(UsageError, match="--gpus: a GPU was asked of the cluster for this run, and PyTorch cannot use"):
        execute.only(tmp_path / "out", NODES, ["a"], [])


def test_runs_come_after_all_that_they_need():
    assert [[n.name for n in level] for level in array.levels(NODES)] == [["a", "e"], ["b", "d"], ["c"]]
    assert array.levels(()) == []


STRAW = """#!/bin/bash
printf '%s|' "$@" >>"$CALLS"; echo >>"$CALLS"
echo $((100 + $(wc -l <"$CALLS")))
"""


@pytest.fixture
def straw(tmp_path) -> dict[str, str]:
    """A Slurm whose commands write down what they are asked for, and a Python that ends as it is told."""
    (tmp_path / "bin").mkdir()
    for name, code in (("sbatch", STRAW), ("scontrol", STRAW), ("python", '#!/bin/bash\necho "$@"; exit $CODE\n')):
        (tmp_path / "bin" / name).write_text(code)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "calls").touch()
    own = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    return {**own, "PATH": f"{tmp_path / 'bin'}:{os.defpath}", "CALLS": str(tmp_path / "calls")}


def bash(path: Path, own: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", path, *words], env=own, capture_output=True, text=True, check=False)


def calls(own: dict[str, str]) -> list[list[str]]:
    return [line.split("|")[:-1] for line in Path(own["CALLS"]).read_text().splitlines()]


def test_the_script_queues_each_level_after_the_one_before_and_the_verdict_last(tmp_path, straw, monkeypatch):
    monkeypatch.setattr(array, "LARGEST", 1)
    path = tmp_path / "queue.sh"
    queue = slurm.Queue(partition="long", constraint="a100", minutes=90, memory_mb=5000, extra=("--comment=a b",))
    path.write_text(text(path, queue, gpus=2))
    said = bash(path, straw)
    assert said.returncode == 0, said.stderr
    asked = calls(straw)
    assert [words[-2:] for words in asked] == [
        ["0", "0"],
        ["0", "1"],
        ["1", "0"],
        ["1", "1"],
        ["2", "0"],
        [str(path), "conclude"],
    ]
    after = [[word for word in words if word.startswith("--dependency")] for words in asked]
    assert after == [
        [],
        [],
        ["--dependency=afterany:101:102"],
        ["--dependency=afterany:101:102"],
        ["--dependency=afterany:103:104"],
        ["--dependency=afterany:105"],
    ]
    for word in ("--partition=long", "--constraint=a100", "--gpus=2", "--comment=a b", "--cpus-per-task=3"):
        assert all(word in words for words in asked)
    assert {word for words in asked[:-1] for word in words if word.startswith(("--time", "--mem", "--array"))} == {
        "--time=90",
        "--mem=5000",
        "--array=0-0",
    }


@pytest.mark.parametrize(
    ("code", "grows", "restarts", "again"),
    [
        ("0", False, "0", False),
        ("75", True, "7", True),
        ("75", False, "1", True),
        ("75", False, "2", False),
        ("4", True, "0", False),
    ],
)
def test_a_job_of_the_script_runs_its_node_and_is_queued_again_as_long_as_it_comes_further(
    tmp_path, straw, code, grows, restarts, again
):
    path = tmp_path / "queue.sh"
    path.write_text(text(path, slurm.Queue(minutes=31)))
    run = tmp_path / "a folder/d"
    run.mkdir(parents=True)
    if grows:
        python = tmp_path / "bin/python"
        python.write_text(f'#!/bin/bash\necho x >>"{run}/ledger.jsonl"\necho "$@"; exit $CODE\n')
    own = {**straw, "CODE": code, "SLURM_JOB_ID": "9", "SLURM_ARRAY_TASK_ID": "1", "SLURM_RESTART_COUNT": restarts}
    said = bash(path, own, "1", "0")
    assert said.stdout.splitlines()[0] == "study.toml --only d --max-hours 0.5000"
    assert calls(own) == ([["requeue", "9"]] if again else [])
    assert said.returncode == (0 if again else int(code))


def test_without_sbatch_it_is_said_where_to_go(monkeypatch):
    monkeypatch.setattr(slurm.shutil, "which", lambda _: None)
    with pytest.raises(UsageError, match="--slurm: sbatch is not on this machine; give the command on a login node"):
        slurm.check()


# The real one


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    if why := real.lacking():
        pytest.skip(why)
    with real.cluster(tmp_path_factory.mktemp("slurm")) as own:
        yield {**own, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}


@pytest.fixture
def file(bert, cache, tmp_path) -> Path:
    data = make_data(tmp_path / "data", test=12)
    places = {"backbone": str(bert), "data_dir": str(data), "cache_dir": str(cache), "output_dir": "out"}
    return write(tmp_path, places, seeds=1, controls=["total"])


def digests(out: Path) -> dict[str, str]:
    return {str(path.parent.relative_to(out)): result(path.parent)["digest"] for path in out.rglob("result.json")}


def serial(file: Path, capsys) -> dict[str, str]:
    out = file.parent / "serial"
    code, said = ended(capsys, file, "--output-dir", out)
    assert code == 0, said
    return digests(out)


def stop_once(run: Path) -> threading.Thread:
    """Somebody asks a run to save and leave as soon as it has begun."""

    def ask() -> None:
        until = time.monotonic() + 600
        while not (run / "config.json").exists() and time.monotonic() < until:
            time.sleep(0.01)
        (run / "STOP").touch()

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


@pytest.mark.slow
@side_by_side
def test_a_study_on_slurm_is_the_study_and_a_run_that_left_in_time_goes_on(file, cluster, capsys):
    wanted = serial(file, capsys)
    out = file.parent / "out"
    asker = stop_once(out / "seed-0/multi")
    words = [sys.executable, "-m", "mtlfn.experiments.study", str(file), "--slurm", "--memory", "1500", "--jobs", "2"]
    said = subprocess.run(words, env=cluster, capture_output=True, text=True, timeout=1500, check=False)
    asker.join()
    assert said.returncode == 0, said.stdout + said.stderr
    assert digests(out) == wanted
    log = launch.log(out, "seed-0/multi").read_text()
    assert log.count("start 1 from here") + log.count("start 2 from here") == 2, log  # two allocations
    assert (out / "report/verdict.json").exists()


@pytest.mark.slow
def test_the_script_of_arrays_runs_the_study_on_slurm(file, cluster, capsys):
    wanted = serial(file, capsys)
    path, out = file.parent / "queue.sh", file.parent / "out"
    flags = ("--partition", "main", "--memory", 1500, "--minutes", 20)
    assert ended(capsys, file, "--export-slurm", path, *flags)[0] == 0
    asker = stop_once(out / "seed-0/multi")
    said = bash(path, cluster)
    assert said.returncode == 0, said.stderr
    until = time.monotonic() + 1200
    while not (out / "report/verdict.json").exists():
        assert time.monotonic() < until, [p.read_text()[-500:] for p in (out / "logs").glob("*.log")]
        time.sleep(1)
    asker.join()
    assert digests(out) == wanted
    assert "goes on in another job" in "".join(p.read_text() for p in (out / "logs").glob("mtlfn-0-*.log"))


def test_a_job_that_ends_before_its_run_begins_is_not_queued_for_ever(tmp_path):
    logs = tmp_path / ".snakemake/slurm_logs" / slurm.RULE / "00007"
    logs.mkdir(parents=True)
    for number in range(slurm.FUTILE):
        (logs / f"{number}.log").write_text("srun: fatal")
        os.utime(logs / f"{number}.log", (number, number))
    assert slurm.unbegun(tmp_path) is None
    (logs / "9.log").touch()
    assert slurm.unbegun(tmp_path) == logs / f"{slurm.FUTILE - 1}.log"
    (tmp_path / launch.TRIES).mkdir()
    (
        tmp_path / launch.TRIES / launch.name(7)
    ).touch()  # it began: a run that is queued again and again is as it should be
    assert slurm.unbegun(tmp_path) is None


@pytest.fixture
def answers(tmp_path, monkeypatch):
    """A Slurm that answers as it is told, and writes down what it is asked for."""
    (tmp_path / "bin").mkdir()
    for name in ("squeue", "scontrol", "scancel"):
        (tmp_path / "bin" / name).write_text(
            f'#!/bin/bash\necho {name} "$@" >>{tmp_path}/asked\ncat {tmp_path}/{name}\n'
        )
        (tmp_path / "bin" / name).chmod(0o755)
        (tmp_path / name).touch()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.defpath}")
    return tmp_path


def test_jobs_that_wait_are_taken_back_and_those_of_others_and_those_that_run_are_not(answers):
    name = slurm.job_name(Path("x/12-ab"))
    lines = [f"5 PENDING {name}_7", f"6 RUNNING {name}_8", "7 PENDING other", f"8_3 PENDING {name}"]
    (answers / "squeue").write_text("\n".join(lines) + "\n")
    slurm.cancel(name)
    assert (answers / "asked").read_text().splitlines()[-1] == "scancel 5 8_3"
    (answers / "squeue").write_text("")
    slurm.cancel(name)
    assert (answers / "asked").read_text().splitlines()[-1].startswith("squeue")


def test_a_cluster_without_accounts_of_ended_jobs_is_asked_for_its_queue(answers):
    queue = slurm.Queue(partition="p", account="a", constraint="c")
    assert slurm.options(queue, "name")[:5] == [
        "--default-resources",
        "tasks=1",
        "slurm_partition=p",
        "slurm_account=a",
        "constraint=c",
    ]
    assert "--slurm-status-command" not in slurm.options(queue, "name")
    assert "--slurm-no-account" not in slurm.options(queue, "name")
    (answers / "scontrol").write_text("AccountingStorageType   = accounting_storage/none\n")
    assert slurm.options(slurm.Queue(), "name")[-3:] == ["--slurm-no-account", "--slurm-status-command", "squeue"]
