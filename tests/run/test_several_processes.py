"""One run on several processes: the bits of one, ended together, whatever happens to one of them."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtlfn.run import documents
from mtlfn.run.commands.command import data
from mtlfn.run.commands.guard import guarded
from mtlfn.run.config import Config
from mtlfn.run.documents import typed
from mtlfn.run.documents.environment import Environment
from mtlfn.run.errors import UsageError
from mtlfn.run.machine import processes
from mtlfn.run.machine.processes import Processes
from mtlfn.run.one import together
from mtlfn.run.one.evaluations import rounds
from mtlfn.run.storage import checkpoint, seal
from tests.run import ranks
from tests.run.test_resume import untimed
from tests.run.test_run import result

HARD = {"engine": "loop", "weighting": "uncertainty", "lora_dropout": 0.2, "learning_rate": 0.01, "threads": 1}
NAMED = {**HARD, "quick_eval_examples": 6, "save_every_steps": 3}


@pytest.mark.slow
def test_begun_on_two_and_ended_on_one_a_run_is_that_of_one_process(flags, go, alone, tmp_path):
    folder = tmp_path / "run"
    begun = ranks.start(tmp_path, 2, flags(folder, max_steps=4))
    assert begun.codes() == [75, 75], begun.said()
    assert begun.said(1) == ""
    assert "to go on: torchrun --standalone --nproc_per_node=2 -m mtlfn.experiments.s3b" in begun.said()
    assert "processes 2, whole tasks each" in begun.said()
    assert typed.read(folder, Environment).told["processes"] == 2
    ended = go(**NAMED, output_dir=folder)
    assert ended.code == 0, ended.err
    assert "processes: 2 before, 1 now; nothing that decides a bit" in ended.out
    assert result(folder)["digest"] == result(alone)["digest"]
    assert untimed(folder) == untimed(alone)
    assert typed.read(folder, Environment).told["processes"] == 1


@pytest.mark.slow
def test_ended_on_three_with_two_tasks_it_is_that_of_one_process_in_every_file(flags, go, alone, tmp_path):
    """Also that a process without a task waits, and that a finished run says so on several processes."""
    folder = tmp_path / "run"
    assert go(**NAMED, output_dir=folder, max_steps=2).code == 75
    more = ranks.start(tmp_path, 3, flags(folder))
    assert more.codes() == [0, 0, 0], more.said()
    assert "1 of them only wait: there are 2 tasks" in more.said()
    assert untimed(folder) == untimed(alone)
    assert not seal.verify(folder).problems
    ours, theirs = seal.hashes(folder), seal.hashes(alone)
    apart = {documents.CONFIG, documents.ENVIRONMENT, documents.METRICS}
    assert {n: sha for n, sha in ours.items() if n not in apart} == {
        n: sha for n, sha in theirs.items() if n not in apart
    }
    again = ranks.start(tmp_path, 2, flags(folder))
    assert again.codes() == [0, 0]
    assert "this run is finished" in again.said()
    assert again.said(1) == ""


def slowed(rank: int) -> None:
    """Steps that take a moment, so that a signal comes between the first and the last."""
    from mtlfn.run.one import prepare

    take = prepare._step

    def slower(config, built):
        step = take(config, built)

        def wait(state, batch):
            time.sleep(0.2)
            return step(state, batch)

        return wait

    prepare._step = slower


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "whom"),
    [(signal.SIGINT, ()), (signal.SIGTERM, (1,))],
    ids=["ctrl-c", "one-of-them"],
)
def test_a_signal_ends_all_with_75_after_the_same_step(flags, go, alone, tmp_path, number, whom):
    folder = tmp_path / "run"
    begun = ranks.start(tmp_path, 2, flags(folder), patch=slowed)
    begun.wait_for("resume    nothing to resume")
    while not (folder / documents.METRICS).exists() or not (folder / documents.METRICS).read_text():
        time.sleep(0.02)
    begun.send(number, *whom)
    assert begun.codes() == [75, 75], begun.said()
    assert "stopped: asked to stop" in begun.said()
    assert begun.said(1) == ""
    assert checkpoint.steps(folder / "checkpoints")
    assert go(**NAMED, output_dir=folder).code == 0
    assert result(folder)["digest"] == result(alone)["digest"]


@pytest.mark.slow
@pytest.mark.parametrize("victim", [1, 0])
def test_a_process_that_is_killed_ends_all_and_the_run_goes_on(flags, alone, tmp_path, victim):
    folder = tmp_path / "run"
    begun = ranks.start(tmp_path, 2, flags(folder), patch=slowed)
    begun.wait_for("resume    nothing to resume")
    while not checkpoint.steps(folder / "checkpoints"):
        time.sleep(0.02)
    begun.send(signal.SIGKILL, victim)
    codes = begun.codes(60)
    assert codes[victim] == -9
    assert codes[1 - victim] == 75
    if victim:
        assert "another process of this run is gone" in begun.said()
    assert "Traceback" not in begun.said(0) + begun.said(1)
    again = ranks.start(tmp_path, 2, flags(folder))
    assert again.codes() == [0, 0], again.said()
    assert result(folder)["digest"] == result(alone)["digest"]
    assert untimed(folder) == untimed(alone)


def disturbed(rank: int) -> None:
    """In process 1 one bit of one tensor is another after the second step."""
    from mtlfn.run.one import prepare

    take = prepare._step

    def other(config, built):
        step = take(config, built)

        def disturb(state, batch):
            after = step(state, batch)
            if rank == 1 and after.step == 2:
                value = next(iter(after.params["head/ddi"].values())).view(-1)
                value[0].nextafter_(value[0] + 1)
            return after

        return disturb

    prepare._step = other


def test_states_that_differ_end_the_run_before_they_are_saved(flags, tmp_path):
    folder = tmp_path / "run"
    begun = ranks.start(tmp_path, 2, flags(folder), patch=disturbed)
    assert begun.codes() == [4, 4], begun.said()
    assert "process 1 has come to the digest" in begun.said()
    assert "differs is " in begun.said()
    assert "|head/ddi|" in begun.said()
    assert all(checkpoint.step_of(path) < 2 for path in checkpoint.steps(folder / "checkpoints"))


def test_what_several_processes_cannot_take_part_in_is_refused_in_one_line(flags, tmp_path):
    folder = tmp_path / "run"
    merged = ranks.start(tmp_path, 2, flags(folder, engine="merged"))
    assert merged.codes() == [2, 2]
    (line,) = merged.said().splitlines()
    assert line.startswith("mtlfn: --engine merged on 2 processes")
    assert "give --engine loop" in line
    assert merged.said(1) == ""
    assert not folder.exists()


@pytest.mark.parametrize(
    ("strategy", "changes", "words"),
    [
        ("s1", {"engine": "loop"}, "start it without torchrun"),
        ("s3b", {"engine": "merged"}, "give --engine loop"),
        ("s2", {"engine": "loop", "seeds": 2}, "one seed after the other"),
    ],
)
def test_check(strategy, changes, words):
    config = Config(**changes)
    with pytest.raises(UsageError, match=words):
        together.check(strategy, config, Processes(size=2))
    together.check(strategy, config, processes.ALONE)


@pytest.mark.parametrize(("rank", "line"), [(0, "only s2, s3a and s3b take several"), (1, "")])
def test_other_commands_are_refused_under_torchrun(monkeypatch, capsys, rank, line):
    for name, value in (("RANK", rank), ("WORLD_SIZE", 2), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", 1)):
        monkeypatch.setenv(name, str(value))
    assert data(["check", "nowhere"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert (line in said.err) if line else said.err == ""
    monkeypatch.setenv("WORLD_SIZE", "many")
    assert guarded(lambda: 0) == 2
    assert "WORLD_SIZE=many: expected a number" in capsys.readouterr().err


def test_a_process_that_cannot_begin_ends_all_and_is_named(flags, tmp_path):
    begun = ranks.start(tmp_path, 2, flags(tmp_path / "run"), rank1=["--backbone", tmp_path / "nowhere"])
    assert begun.codes() == [2, 2], begun.said()
    assert "mtlfn: process 1 of 2: --backbone" in begun.said()


@pytest.mark.slow
def test_processes_in_two_environments_do_not_begin(flags, tmp_path):
    begun = ranks.start(tmp_path, 2, flags(tmp_path / "run"), rank1=["--threads", "2"])
    assert begun.codes() == [4, 4], begun.said()
    assert "process 1 is in another environment than process 0" in begun.said()
    assert "threads: 1 before, 2 now" in begun.said()
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
def test_processes_that_see_other_data_do_not_begin(flags, tmp_path, data):
    import shutil

    shutil.copytree(data, tmp_path / "data")
    path = tmp_path / "data" / "ddi" / "train.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    begun = ranks.start(tmp_path, 2, flags(tmp_path / "run"), rank1=["--data-dir", tmp_path / "data"])
    assert begun.codes() == [4, 4], begun.said()
    assert "process 1 sees another run than process 0: data is" in begun.said()


def broken(rank: int) -> None:
    """A bug in process 1, in its second step."""
    from mtlfn.run.one import prepare

    take = prepare._step

    def other(config, built):
        step = take(config, built)

        def fail(state, batch):
            if rank == 1 and state.step == 1:
                raise ZeroDivisionError("a bug")
            return step(state, batch)

        return fail

    prepare._step = other


@pytest.mark.slow
def test_a_bug_in_one_process_ends_all_and_is_shown(flags, tmp_path):
    begun = ranks.start(tmp_path, 2, flags(tmp_path / "run"), patch=broken)
    assert begun.codes() == [1, 1], begun.said()
    assert "mtlfn: process 1 of 2: ZeroDivisionError: a bug" in begun.said()
    assert "Traceback" in begun.said(1)
    assert "Traceback" not in begun.said()


@pytest.mark.slow
def test_more_threads_than_before_are_told_with_the_way_back(flags, go, tmp_path):
    folder = tmp_path / "run"
    assert go(**{**HARD, "threads": 2}, output_dir=folder, max_steps=1, quick_eval_examples=6).code == 75
    begun = ranks.start(tmp_path, 2, flags(folder))
    assert begun.codes() == [4, 4], begun.said()
    assert "Give --threads, which torchrun otherwise sets to 1 through OMP_NUM_THREADS" in begun.said()


def test_an_interrupt_comes_after_an_exchange_and_never_within():
    reached = []

    def exchange(error: Exception | None) -> None:
        with processes._exchange():
            signal.raise_signal(signal.SIGINT)
            if error is not None:
                raise error
            reached.append("the end of the exchange")

    # What begins in the background of a shell ignores Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            exchange(None)
        assert reached
        with pytest.raises(processes.Gone, match="Connection closed by peer"):
            exchange(RuntimeError("Connection closed by peer\nand a stack"))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@given(st.dictionaries(st.text(min_size=1), st.integers(0, 1000), max_size=10), st.integers(1, 5))
def test_a_round_lasts_as_long_as_its_largest_task(slots: dict[str, int], size: int):
    turns = rounds(slots, size)
    assert all(len(turn) == size for turn in turns)
    assert sorted(task for turn in turns for tasks in turn for task in tasks) == sorted(slots)
    for turn in turns:
        largest = max(slots[task] for tasks in turn for task in tasks)
        assert max(sum(slots[task] for task in tasks) for tasks in turn) == largest
    if size == 1:
        assert [task for ((task,),) in turns] == list(slots)


def test_one_gpu_is_no_device_of_several_processes():
    two = Processes(size=2, local_size=2)
    assert processes.on_device(two, "cpu") is two
    with pytest.raises(UsageError, match="--device cuda:1: is one device, and 2 processes were started"):
        processes.on_device(two, "cuda:1")


def test_without_torchrun_there_is_no_group():
    import torch.distributed as dist

    assert not processes.several()
    everyone = processes.ALONE
    assert everyone.share_json({"a": 1}) == {"a": 1}
    assert everyone.gather_json((1, 2)) == [[1, 2]]
    assert everyone.gather_bytes(b"x") == [b"x"]
    assert everyone.agree(True)
    everyone.end(75, "words")
    assert not dist.is_initialized()
    assert json.dumps(together.reason(None, everyone)) == "null"
    assert os.environ.get("WORLD_SIZE") is None
