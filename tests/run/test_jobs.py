"""One run of a start in its own process: how it ends, what stops it, what it leases, and what is asked of Snakemake.

The runs here are scripts that end as they are told, so that their ends, and not their training, are what is seen.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import attrs
import psutil
import pytest

from mtlfn.run import documents
from mtlfn.run.config import Config
from mtlfn.run.documents import typed
from mtlfn.run.errors import UsageError
from mtlfn.run.machine import deadline
from mtlfn.run.many import console, job, launch, lease, plan, snakemake, together
from mtlfn.run.many import execute as one_after_the_other
from mtlfn.run.many.launch import Item, Launch
from mtlfn.run.storage import lock, notebook
from tests.run.test_study_nodes import side_by_side

SCRIPT = """
import json, os, signal, sys, time
from pathlib import Path
names = sys.argv[sys.argv.index("--only") + 1]
root = Path(os.environ["ROOT"])
with (root / "calls").open("a") as file:
    file.write(json.dumps([names, sys.argv[1:], os.environ.get("CUDA_VISIBLE_DEVICES")]) + "\\n")
def run(name):
    how = (root / name / "how").read_text()
    saved = root / name / "ledger.jsonl"
    if how == "grow":
        saved.write_text(saved.read_text() + "a line\\n" if saved.exists() else "a line\\n")
        if len(saved.read_text().splitlines()) < 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if how in ("wait", "end"):
        code = 75 if how == "wait" else 0
        signal.signal(signal.SIGTERM, lambda *_: (print("mtlfn: saved"), sys.exit(code)))
        (root / name / "waits").touch()
        time.sleep(60)
    print("a line")
    print(f"mtlfn: it ended with {how}")
    return int(how)
for name in names.split(","):
    if code := run(name):
        sys.exit(code)
    print(f"{name}: finished", flush=True)
"""


@attrs.frozen
class Start:
    """A start whose runs end as their files say."""

    folder: Path
    root: Path

    def begin(self, number: int) -> subprocess.Popen[bytes]:
        """The job of a run."""
        return subprocess.Popen([sys.executable, "-m", "mtlfn.run.many.job", str(self.folder), str(number)])

    def run(self, number: int) -> tuple[int, launch.Outcome | None]:
        """A job from its beginning to its end: its exit code, and what is on record."""
        return self.begin(number).wait(60), launch.told(self.folder, number)

    def calls(self) -> list[list]:
        """Every time a run began: its name, its words and the GPUs that it may see."""
        return [json.loads(line) for line in (self.root / "calls").read_text().splitlines()]


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "script.py").write_text(SCRIPT)
    open_ = []

    def made(
        *how: object, after: dict[int, tuple[int, ...]] | None = None, jobs: dict[int, int] | None = None, **settings
    ) -> Start:
        root, start = tmp_path / "root", tmp_path / "start"
        for folder in (start / launch.DONE, start / launch.RUNNING):
            folder.mkdir(parents=True)
        for number, each in enumerate(how):
            (root / f"run-{number}").mkdir(parents=True)
            (root / f"run-{number}" / "how").write_text(str(each))
        runs = tuple(
            Item(
                name=f"run-{n}",
                after=(after or {}).get(n, ()),
                job=(jobs or {}).get(n, n),
                tokens=10,
                minutes=30.0,
                memory_mb=100,
            )
            for n in range(len(how))
        )
        command = (sys.executable, str(tmp_path / "script.py"))
        environment = {"ROOT": str(root)}
        settings = {"root": str(root), "working": str(tmp_path), "command": command, "runs": runs, **settings}
        typed.write(start, Launch(environment=environment, **settings))
        held = lock.held(start / launch.LOCK, print)
        held.__enter__()
        open_.append(held)
        return Start(start, root)

    yield made
    for held in open_:
        held.__exit__(None, None, None)


def wait_for(path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until, path
        time.sleep(0.01)


def test_how_a_run_ended_is_on_record_with_its_reason(make):
    start = make(0, 2, 75, 1)
    codes, outcomes = zip(*(start.run(n) for n in range(4)), strict=True)
    assert codes == (0, 0, 0, 0)
    assert [o.state for o in outcomes] == ["finished", "failed", "left", "failed"]
    assert [o.code for o in outcomes] == [0, 2, 75, 1]
    assert outcomes[1].why == "it ended with 2"
    assert len(start.calls()) == 4  # none was tried again
    assert "a line\nmtlfn: it ended with 0\n" in launch.log(start.root, "run-0").read_text()


def test_what_needs_a_failed_run_is_not_begun_and_what_needs_one_that_was_stopped_is_left(make):
    start = make(1, 75, 0, 0, 0, after={2: (0,), 3: (1,), 4: (2,)})
    ends = [start.run(n)[1] for n in range(5)]
    assert [o.state for o in ends] == ["failed", "left", "not begun", "left", "not begun"]
    assert ends[2].why == "not begun: it needs run-0"
    assert [name for name, *_ in start.calls()] == ["run-0", "run-1"]


def test_runs_that_share_a_job_end_each_for_itself(make):
    start = make(0, 0, 2, 0, 0, after={1: (0,), 3: (2,), 4: (3,)}, jobs=dict.fromkeys(range(5), 0))
    assert start.run(0)[0] == 0
    ends = [launch.told(start.folder, number) for number in range(5)]
    assert [end and (end.state, end.code) for end in ends] == [
        *(("finished", 0), ("finished", 0), ("failed", 2)),
        *(("not begun", 1), ("not begun", 1)),
    ]
    assert [end and end.why for end in ends[2:]] == [
        "it ended with 2",
        "not begun: it needs run-2",
        "not begun: it needs run-3",
    ]
    assert [call[0] for call in start.calls()] == ["run-0,run-1,run-2,run-3,run-4"]


def test_the_others_of_a_job_go_on_after_one_that_failed_or_was_killed(make):
    start = make(0, "die", 1, "grow", 0, jobs=dict.fromkeys(range(5), 0))
    assert start.run(0)[0] == 0
    states = [end and end.state for end in (launch.told(start.folder, number) for number in range(5))]
    assert states == ["finished", "failed", "failed", "finished", "finished"]
    begun = [call[0].split(",")[0] for call in start.calls()]
    assert begun == ["run-0", *["run-1"] * 3, "run-2", *["run-3"] * 6]
    assert not list((start.folder / launch.RUNNING).glob("*.json"))


def test_what_is_left_of_a_job_is_left_and_each_run_shows_while_it_runs(make):
    start = make(0, "wait", 0, jobs=dict.fromkeys(range(3), 0))
    process = start.begin(0)
    wait_for(start.root / "run-1/waits")
    wait_for(start.folder / launch.RUNNING / launch.name(1))
    assert (first := launch.told(start.folder, 0)) is not None
    assert first.state == "finished"
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    ends = [launch.told(start.folder, number) for number in (1, 2)]
    assert [end and (end.state, end.why) for end in ends] == [("left", "saved")] * 2


def test_a_run_that_was_killed_begins_again_while_it_comes_further(make):
    start = make("grow", "die")
    assert start.run(0)[1].state == "finished"
    assert len(start.calls()) == 6
    code, outcome = start.run(1)
    assert (code, outcome.state) == (0, "failed")
    assert outcome.why.startswith("ended 3 times without coming further")
    assert len(start.calls()) == 6 + 3


@pytest.mark.parametrize("way", ["file", "signal", "starter gone", "job killed"])
def test_a_run_is_asked_to_save_and_leave(make, way, monkeypatch):
    start = make("wait")
    process = start.begin(0)
    wait_for(start.root / "run-0/waits")
    running = documents.read(start.folder / launch.RUNNING / launch.name(0))
    assert running["name"] == "run-0"
    if way == "file":
        (start.folder / launch.STOP).touch()
    elif way == "signal":
        process.terminate()
    elif way == "starter gone":
        (start.folder / launch.LOCK).rename(start.folder / "away")  # nobody holds the new one
        (start.folder / launch.LOCK).touch()
    else:
        process.kill()
    assert process.wait(60) == (-signal.SIGKILL if way == "job killed" else 0)
    if way == "job killed":  # the kernel told the run
        until = time.monotonic() + 30
        while "mtlfn: saved" not in launch.log(start.root, "run-0").read_text():
            assert time.monotonic() < until
            time.sleep(0.05)
        assert launch.told(start.folder, 0) is None
    else:
        assert launch.told(start.folder, 0).state == "left"
        assert launch.told(start.folder, 0).why == "saved"
        assert not (start.folder / launch.RUNNING / launch.name(0)).exists()


@pytest.mark.parametrize("how", ["wait", "end"])
def test_a_job_whose_start_goes_while_it_runs_leaves(make, how):
    start = make(how, 0, jobs={0: 0, 1: 0})
    process = start.begin(0)
    wait_for(start.root / "run-0/waits")
    shutil.rmtree(start.folder)
    assert process.wait(60) == 75


def test_a_job_of_a_start_that_is_gone_does_nothing(make):
    start = make(0)
    (start.folder / Launch.FILE).unlink()
    assert start.run(0) == (75, None)
    assert not (start.root / "calls").exists()


def test_a_run_waits_for_the_process_that_still_saves_it(make):
    start = make(0)
    with lock.held(start.root / "run-0/lock", print):
        process = start.begin(0)
        wait_for((start.folder / launch.RUNNING / launch.name(0)).with_suffix(".lock"))
        time.sleep(3.0)  # ten times what it would take to begin
        assert process.poll() is None
        assert not (start.root / "calls").exists()
    assert process.wait(60) == 0
    assert launch.told(start.folder, 0).state == "finished"


def test_runs_leave_before_their_start_is_over_and_before_their_allocation_is(make):
    start = make(0, ends=time.time() + 7200)
    assert start.run(0)[1].state == "finished"
    (call,) = start.calls()
    assert 1.9 < float(call[1][-1]) <= 2.0
    assert call[1][-2] == "--max-hours"


def test_on_kaggle_a_run_gets_its_hours_as_it_counts_them_from_the_start_of_the_container(make, monkeypatch):
    """Six hours into a session of eight, two are left, and the run has to see two."""
    monkeypatch.setenv(notebook.SIGN, "Batch")
    ends = time.time() + 7200
    start = make(0, ends=ends)
    assert start.run(0)[1].state == "finished"
    hours = float(start.calls()[0][1][-1])
    container = psutil.Process(1).create_time()
    assert deadline.began() == container
    assert deadline.Deadline(container, hours).left() == pytest.approx(ends - time.time(), abs=2)


def test_on_kaggle_no_run_begins_when_the_session_is_over(make, monkeypatch):
    """There are hours since the container began, and none are left."""
    monkeypatch.setenv(notebook.SIGN, "Batch")
    start = make(0, ends=time.time() - 1)
    assert start.run(0)[1].state == "left"
    assert not (start.root / "calls").exists()


def test_no_run_begins_when_the_time_is_over(make):
    start = make(0, ends=time.time() - 1)
    assert start.run(0)[1].state == "left"
    assert not (start.root / "calls").exists()


def test_a_job_of_a_queue_that_left_in_time_is_queued_again_until_it_comes_no_further(make):
    start = make(75, 4, waits=True)
    assert [start.run(0)[0] for _ in range(3)] == [75, 75, 75]
    hours = float(start.calls()[0][1][-1])
    assert hours == pytest.approx(29 / 60, abs=1e-3)  # of 30 minutes, one is kept
    assert launch.told(start.folder, 0) is None
    code, outcome = start.run(0)
    assert (code, outcome.state) == (0, "failed")
    assert "ended 3 times without coming further" in outcome.why
    assert start.run(1) == (0, launch.told(start.folder, 1))  # other hardware: told, and not queued again
    assert launch.told(start.folder, 1).code == 4


# GPUs


def test_each_run_leases_a_gpu_of_its_own(make):
    start = make("wait", "wait", 0, gpus=("3", "5"))
    jobs = [start.begin(0), start.begin(1)]
    for name in ("run-0", "run-1"):
        wait_for(start.root / name / "waits")
    third = start.begin(2)
    time.sleep(1.0)
    assert third.poll() is None
    assert len(start.calls()) == 2  # both are taken: the third waits
    jobs[0].terminate()
    assert jobs[0].wait(60) == third.wait(60) == 0
    (start.folder / launch.STOP).touch()
    jobs[1].wait(60)
    (first, second, last) = (gpu for *_, gpu in sorted(start.calls()))
    assert {first, second} == {"3", "5"}
    assert last == first


def test_a_gpu_stays_leased_as_long_as_a_process_has_it_however_the_others_end(tmp_path):
    held = lease.take(tmp_path, ("0",), lambda: False)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=(held.handle,))
    held.end()
    assert lease.take(tmp_path, ("0",), lambda: False) is None
    child.kill()
    child.wait()
    again = lease.take(tmp_path, ("0", "1"), lambda: False)
    other = lease.take(tmp_path, ("0", "1"), lambda: False)
    assert (again.gpu, other.gpu) == ("0", "1")
    again.end()
    other.end()


def test_gpus_are_those_that_this_process_may_see(monkeypatch):
    monkeypatch.setattr(lease, "seen", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert lease.visible(2) == ("0", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,MIG-7")
    assert lease.visible(2) == ("4", "MIG-7")
    with pytest.raises(UsageError, match="--gpus 3: CUDA_VISIBLE_DEVICES is '4,MIG-7', which are 2"):
        lease.visible(3)


@pytest.mark.parametrize(
    ("listed", "there", "said"),
    [
        ("", 0, "--gpus 2: CUDA_VISIBLE_DEVICES is '', which are none; leave --gpus out, or unset it"),
        (None, 0, "--gpus 2: PyTorch can use 0 here; leave --gpus out, or see"),
        (None, 1, "--gpus 2: PyTorch can use 1 here; give --gpus 1"),
        ("0,7", 1, "--gpus 2: PyTorch can use 1 here; give --gpus 1"),
    ],
)
def test_more_gpus_than_there_are_cannot_be_leased(tmp_path, monkeypatch, listed, there, said):
    """Else the runs that get one that is not there would train on the processor."""
    monkeypatch.setattr(lease, "seen", lambda: there)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if listed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    with pytest.raises(UsageError) as told:
        execute(tmp_path, straw(tmp_path / "snakemake", "9.9.9"), [], gpus=2)
    assert str(told.value).startswith(said)
    assert "\n" not in str(told.value)


def test_a_run_that_a_gpu_was_leased_for_does_not_train_on_the_processor(make, tmp_path, monkeypatch):
    start = make(0, gpus=("3",))
    script = tmp_path / "script.py"
    script.write_text(script.read_text().replace('"CUDA_VISIBLE_DEVICES"', f'"{lease.LEASED}"'))
    start.run(0)
    assert start.calls()[0][2] == "3"  # the run is told
    monkeypatch.setattr(lease, "seen", lambda: 0)
    monkeypatch.setenv(lease.LEASED, "3")
    with pytest.raises(UsageError, match="GPU 3 was leased for this run, and PyTorch cannot use it"):
        one_after_the_other.only(tmp_path / "out", nodes(2), ["first"], [])
    lease.check("cpu")  # as asked for
    monkeypatch.setattr(lease, "seen", lambda: 1)
    lease.check("auto")


def test_a_folder_of_leases_that_others_can_write_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(lease.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = lease.place()
    assert folder.parent == tmp_path
    folder.chmod(0o777)
    with pytest.raises(UsageError, match="is not a folder of yours alone"):
        lease.place()


def test_why_a_run_is_left_is_what_it_said_and_not_the_command_that_goes_on(tmp_path):
    """That one is of a run; the start says its own."""
    log = tmp_path / "run.log"
    log.write_text("stopped: asked to stop · step 10\nto go on: python -m mtlfn.experiments.study --only run-0\n")
    assert job._last(log, 0) == "stopped: asked to stop · step 10"


def test_what_a_killed_start_left_goes_with_the_next_one_whatever_is_left_and_stays_beside_one_that_is_under_way(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(plan, "progress", lambda root, nodes: {node.name: "finished" for node in nodes})
    place = tmp_path / "out" / launch.FOLDER
    machines = together.Machines(jobs=2)
    serial = lambda: one_after_the_other.execute(tmp_path / "out", nodes(2), ["again"])  # noqa: E731
    beside = lambda: together.execute(tmp_path / "out", nodes(2), ["again"], [], machines)  # noqa: E731
    assert serial() == 0
    assert not place.exists()
    for way in (serial, beside):
        (place / "1-dead/done").mkdir(parents=True)
        with lock.held(place / launch.LOCK, print):
            assert way() == 0
            assert (place / "1-dead/done").is_dir()
        assert way() == 0
        assert [path.name for path in place.iterdir()] == [launch.LOCK]


# Snakemake


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """No Snakemake anywhere."""
    for name in (snakemake.WHERE, snakemake.ENVIRONMENT):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(snakemake.shutil, "which", lambda _: None)
    monkeypatch.setattr(snakemake.sys, "executable", str(tmp_path / "bin/python"))
    monkeypatch.setattr(snakemake.mtlfn, "__file__", str(tmp_path / "mtlfn/__init__.py"))
    return tmp_path


def straw(path: Path, version: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)
    return path


def test_without_snakemake_it_is_said_what_to_install(alone):
    with pytest.raises(UsageError) as told:
        snakemake.program(None)
    said = str(told.value)
    assert "\n" not in said
    for part in ("bash scripts/setup_cluster.sh", "mtlfn[cluster]", "--snakemake or MTLFN_SNAKEMAKE", "one after"):
        assert part in said


def test_snakemake_is_looked_for_where_it_was_named_and_then_where_the_script_puts_it(alone, monkeypatch):
    ours = straw(alone / ".venv-cluster/bin/snakemake", "9.27.1")
    assert snakemake.program(None) == ours
    monkeypatch.setenv(snakemake.ENVIRONMENT, str(straw(alone / "venv/bin/snakemake", "9.1.0").parents[1]))
    assert snakemake.program(None) == alone / "venv/bin/snakemake"
    monkeypatch.setenv(snakemake.WHERE, str(straw(alone / "named", "10.0")))
    assert snakemake.program(None) == alone / "named"
    assert snakemake.program(straw(alone / "asked", "9.0.1")) == alone / "asked"
    with pytest.raises(UsageError, match=r"--snakemake .*old: is Snakemake 7.32.4, expected 9 or newer"):
        snakemake.program(straw(alone / "old", "7.32.4"))
    with pytest.raises(UsageError, match=r"--snakemake .*none: cannot be run"):
        snakemake.program(alone / "none")
    with pytest.raises(UsageError, match="is no Snakemake that runs"):
        snakemake.program(straw(alone / "odd", "hello"))


def test_a_snakemake_that_was_named_from_here_is_found_from_anywhere(alone, monkeypatch):
    """It is begun in the folder of its start."""
    venv = straw(alone / "venv/bin/snakemake", "9.1.0").parents[1]
    monkeypatch.chdir(alone)
    assert snakemake.program(Path("venv/bin/snakemake")) == venv / "bin/snakemake"
    monkeypatch.setenv(snakemake.ENVIRONMENT, "venv")
    assert snakemake.program(None) == venv / "bin/snakemake"
    monkeypatch.chdir(venv / "bin")
    monkeypatch.setenv(snakemake.WHERE, "./snakemake")
    assert snakemake.program(None) == venv / "bin/snakemake"
    monkeypatch.chdir(alone)
    monkeypatch.setattr(snakemake.shutil, "which", lambda name: str(venv / "bin/snakemake"))
    monkeypatch.setenv(snakemake.WHERE, "snakemake")  # as a shell looks for it
    assert snakemake.program(None) == venv / "bin/snakemake"


@pytest.mark.parametrize("cache", [None, "/theirs"])
def test_what_snakemake_keeps_lies_in_the_start_and_a_run_has_its_own_cache(tmp_path, monkeypatch, cache):
    """The home may be one to read only; and the files of the working folder are no modules of a job."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if cache is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", cache)
    program = straw(tmp_path / "snakemake", "9.9.9")
    program.write_text(
        f'{program.read_text()}[ "$1" = --version ] || cp resources.json {tmp_path}; echo $XDG_CACHE_HOME\n'
    )
    execute(tmp_path, program, [])
    kept = Path((tmp_path / "out/logs/snakemake.log").read_text().splitlines()[-1])
    assert kept.parents[1] == tmp_path / "out/.jobs"
    words = shlex.split(json.loads((tmp_path / "resources.json").read_text())["command"])
    assert words[:3] == (
        ["env", "-u", "XDG_CACHE_HOME"] if cache is None else ["env", f"XDG_CACHE_HOME={cache}", words[2]]
    )
    assert words[-5:-1] == [sys.executable, "-P", "-m", "mtlfn.run.many.job"]


@pytest.mark.slow
@side_by_side
def test_what_snakemake_cannot_do_is_in_its_log_and_a_brace_in_a_path_is_no_wildcard(tmp_path):
    start = tmp_path / "st{a}rt"
    (start / "done").mkdir(parents=True)
    (start / "launch.json").write_text(json.dumps({"runs": [{"job": 0, "after": [], "memory_mb": 1, "minutes": 1}]}))
    about = {"command": shlex.join(["ls", str(start / "none")]), "threads": 1, "gpu": 0, "slurm_extra": ""}
    (start / "resources.json").write_text(json.dumps(about))
    words = snakemake.command(snakemake.program(None), start, 1, None, "local")
    ended = subprocess.run(words, env=snakemake.environment(start), capture_output=True, text=True)
    assert ended.returncode == 1
    assert "WorkflowError" in ended.stdout + ended.stderr
    assert f"'{start}/none'" in ended.stdout + ended.stderr  # the command had begun


def test_snakemake_is_not_given_what_is_meant_for_our_interpreter(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    assert "PYTHONPATH" not in snakemake.environment()
    assert snakemake.ours()["PYTHONPATH"].split(os.pathsep)[-1] == "/theirs"


# The start


def nodes(count: int) -> tuple[plan.Node, ...]:
    """A run, and others that need it."""
    config = Config(budget_tokens=100)
    first = plan.multi("s2", config, "first")
    return (first, *(attrs.evolve(first, name=f"run-{i}", needs=("first",)) for i in range(1, count)))


def execute(tmp_path: Path, program: Path, said: list[str], **named) -> int:
    machines = together.Machines(jobs=2, snakemake=program, **named)
    return together.execute(tmp_path / "out", nodes(3), ["again"], [sys.executable, "-c", ""], machines, said.append)


def test_a_snakemake_that_begins_nothing_is_told_with_its_log(tmp_path):
    program = tmp_path / "snakemake"
    program.write_text('#!/bin/sh\n[ "$1" = --version ] && echo 9.9.9 && exit\necho it is broken\nexit 3\n')
    program.chmod(0o755)
    with pytest.raises(Exception, match="Snakemake ended with 3 and began nothing; see") as told:
        execute(tmp_path, program, [])
    assert told.value.exit_code == 1
    assert (tmp_path / "out/logs/snakemake.log").read_text() == "it is broken\n"
    assert not [path for path in (tmp_path / "out/.jobs").iterdir() if path.is_dir()]


@pytest.mark.parametrize("end", ["kill -9 $$", "mkdir tries; exit 1"])  # it, or a job that had begun a run
def test_what_is_killed_leaves_everything_to_go_on(tmp_path, end):
    program = tmp_path / "snakemake"
    program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo 9.9.9 && exit\n{end}\n')
    program.chmod(0o755)
    said: list[str] = []
    assert execute(tmp_path, program, said) == 75
    assert any("3 of 3 runs are left: first, run-1, run-2" in line for line in said)
    assert said[-1] == "to go on: again"


def test_one_start_of_a_study_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(together, "PATIENCE", 0.2)
    program = straw(tmp_path / "snakemake", "9.9.9")
    (tmp_path / "out/.jobs").mkdir(parents=True)
    with (
        lock.held(tmp_path / "out/.jobs" / launch.LOCK, print),
        pytest.raises(lock.Busy, match="another process runs this study; wait for it"),
    ):
        execute(tmp_path, program, [])


def test_tokens_are_read_off_the_last_whole_step(tmp_path):
    assert launch.tokens(tmp_path) == 0
    path = tmp_path / documents.METRICS
    path.write_text('{"step": 1, "tokens": 10}\n{"step": 2, "tokens": 25}\n{"step": 2, "event": "quick"}\n{"step": 3,')
    assert launch.tokens(tmp_path) == 25


# What is shown


@pytest.fixture
def shown(make):
    """A start of three runs: one finished, one failed, one that runs and has seen 6 of its 10 tokens."""
    start = make(0, 1, 0)
    what = typed.read(start.folder, Launch)
    launch.tell(start.folder, 0, launch.Outcome(state="finished", code=0, seconds=90.0))
    launch.tell(start.folder, 1, launch.Outcome(state="failed", code=1, why="a reason"))
    documents.write(start.folder / launch.RUNNING / launch.name(2), {"name": "run-2", "gpu": "5"})
    (start.root / "run-2" / documents.METRICS).write_text('{"step": 1, "tokens": 6}\n')
    return start.folder, what


def test_a_line_a_run_that_began_or_ended(shown):
    said: list[str] = []
    view = console.View(*shown, 4, said.append)
    view.update()
    view.update()
    assert said == [
        "[5/7] run-0: finished in 1.5 min",
        "[5/7] run-1: failed: a reason",
        "[5/7] run-2: 10 tokens, GPU 5",
    ]
    assert view.ended[1].code == 1


def test_on_a_terminal_there_is_a_bar_over_tokens_with_what_runs_now(shown, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    view = console.View(*shown, 4, print)
    view.update()
    (row,) = view._bar.tasks
    assert (row.completed, row.total) == (16, 30)
    assert row.fields["now"] == "run-2"
    view.close()
    assert "run-1: failed: a reason" in capsys.readouterr().out
