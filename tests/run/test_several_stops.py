"""Every stop of a run on several processes is one of all: after the same step, with one exit code, and no bit else."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Collection
from functools import partial
from pathlib import Path

import pytest

from mtlfn.run import documents
from mtlfn.run.machine import deadline
from mtlfn.run.storage import checkpoint
from tests.run import ranks
from tests.run.test_environment import Clock
from tests.run.test_resume import untimed
from tests.run.test_run import lines, result, steps
from tests.run.test_several_processes import HARD
from tests.tiny import make_data

# A checkpoint is due every tenth of the budget, so that some steps have none: a stop after them has to make it.
NAMED = {**HARD, "budget_tokens": 1500, "quick_eval_examples": 6, "save_every_steps": 1000}

Spoilt = Collection[tuple[str, int]]  # task, step


def newest(folder: Path) -> int:
    """The step of the last checkpoint."""
    return checkpoint.step_of(checkpoint.steps(folder / "checkpoints")[-1])


def goes_on_on_one(go, folder: Path, step: int, alone: Path, **named: object) -> None:
    """The run goes on from the whole checkpoint of a step, on one process, and is the one that was never stopped."""
    ended = go(**NAMED, output_dir=folder, **named)
    assert ended.code == 0, ended.err
    assert f"step {step}," in ended.out
    assert "passed over" not in ended.out
    assert result(folder)["digest"] == result(alone)["digest"]
    assert untimed(folder) == untimed(alone)


def put(path: Path, step: int, rank: int) -> None:
    """Process 1 puts a file as it begins to take a step."""
    from mtlfn.run.one import prepare

    take = prepare._step

    def watched(config, built):
        one_step = take(config, built)

        def then_take(state, batch):
            if rank == 1 and state.step + 1 == step:
                path.touch()
            return one_step(state, batch)

        return then_take

    prepare._step = watched


def put_at_the_end(path: Path, rank: int) -> None:
    """A file is put once the last state is there, and not yet evaluated on test."""
    from mtlfn.run.one import conclude

    whole = conclude.conclude

    def put_first(*given):
        path.touch()
        return whole(*given)

    conclude.conclude = put_first


@pytest.mark.parametrize("last", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_file_named_stop_ends_all_after_the_same_step(flags, go, alone, tmp_path, last):
    """In the last step too: it is taken again, since the evaluation after it is left."""
    folder, count = tmp_path / "run", result(alone)["steps"]
    during, at = (count, count - 1) if last else (2, 2)
    begun = ranks.start(tmp_path, 2, flags(folder), patch=partial(put, folder / "STOP", during))
    assert begun.codes() == [75, 75], begun.said()
    assert "stopped: asked to stop by the file STOP" in begun.said()
    assert begun.said(1) == ""
    assert not (folder / "STOP").exists()
    assert newest(folder) == at
    goes_on_on_one(go, folder, at, alone)


@pytest.mark.slow
def test_a_file_named_stop_ends_all_before_the_last_state_is_tested(flags, go, alone, tmp_path):
    folder, tested = tmp_path / "run", make_data(tmp_path / "data", test=5)
    patch = partial(put_at_the_end, folder / "STOP")
    begun = ranks.start(tmp_path, 2, flags(folder, data_dir=tested), patch=patch)
    assert begun.codes() == [75, 75], begun.said()
    assert "stopped: asked to stop by the file STOP, while the last state was evaluated" in begun.said()
    assert begun.said(1) == ""
    goes_on_on_one(go, folder, result(alone)["steps"], alone, data_dir=tested)
    assert all(score["test"] is not None for score in result(folder)["scores"].values())


def test_a_file_named_save_makes_a_checkpoint_that_all_agree_on(flags, tmp_path):
    folder = tmp_path / "run"
    begun = ranks.start(tmp_path, 2, flags(folder, max_steps=2), patch=partial(put, folder / "SAVE", 1))
    assert begun.codes() == [75, 75], begun.said()
    assert not (folder / "SAVE").exists()
    saved = [json.loads(line)["step"] for line in (folder / documents.LEDGER).read_text().splitlines()]
    assert saved == [1, 2]


def short_of_time(minutes: int, rank: int) -> None:
    """The first process has so many minutes left, and one passes at every look at its clock. By that of the other,
    which has no say, all time is over."""
    made, clock = deadline.Deadline, Clock(60.0)
    began = clock.now - 3600 + 60 * (minutes if rank == 0 else -60)
    deadline.Deadline = lambda start, hours: made(began, 1.0, clock)


def test_a_time_limit_ends_all_after_the_same_step(flags, go, alone, tmp_path):
    folder = tmp_path / "run"
    begun = ranks.start(tmp_path, 2, flags(folder), patch=partial(short_of_time, 12))
    assert begun.codes() == [75, 75], begun.said()
    assert "stopped: --max-hours 11.5 " in begun.said()
    assert begun.said(1) == ""
    assert 0 < newest(folder) < result(alone)["steps"]
    goes_on_on_one(go, folder, newest(folder), alone)


@pytest.mark.slow
def test_short_of_time_again_and_again_a_run_comes_to_its_end(flags, alone, tmp_path):
    folder, reached, said = tmp_path / "run", [0], ""
    for _ in range(20):
        begun = ranks.start(tmp_path, 2, flags(folder), patch=partial(short_of_time, 30))
        codes = begun.codes()
        said += begun.said()
        if codes == [0, 0]:
            break
        assert codes == [75, 75], begun.said()
        reached.append(newest(folder))
    assert "passed over" not in said
    assert reached == sorted(reached)
    assert len(reached) > 2, said
    assert result(folder)["digest"] == result(alone)["digest"]
    assert untimed(folder) == untimed(alone)


def spoil(losses: Spoilt, gradients: Spoilt, rank: int) -> None:
    """In some steps the loss of a task is not finite, or its gradient alone. Only the process that has the task sees
    it."""
    from mtlfn.models import heads
    from mtlfn.run.one import prepare

    take, loss_sum, now = prepare._step, heads.loss_sum, [0]

    def watched(config, built):
        one_step = take(config, built)

        def then_take(state, batch):
            now[0] = state.step + 1
            return one_step(state, batch)

        return then_take

    def spoilt(task, *given):
        loss = loss_sum(task, *given)
        if (task.name, now[0]) in gradients:
            loss.register_hook(lambda gradient: gradient * math.nan)
        return loss * math.nan if (task.name, now[0]) in losses else loss

    prepare._step, heads.loss_sum = watched, spoilt


def test_steps_that_are_not_finite_in_one_process_are_skipped_by_all(flags, tmp_path):
    folder, whole = tmp_path / "run", tmp_path / "whole"
    patch = partial(spoil, {("ddi", 2)}, {("bc5cdr_disease", 4)})
    one, two = (ranks.start(tmp_path, size, flags(to), patch=patch) for size, to in ((1, whole), (2, folder)))
    assert one.codes() == [0], one.said()
    assert two.codes() == [0, 0], two.said()
    alerts = [line["step"] for line in lines(folder) if line.get("kind") == "nonfinite"]
    assert alerts == [2, 4]
    assert all(f"ALERT     nonfinite at step {step}:" in two.said() for step in alerts)
    assert two.said(1) == ""
    assert result(folder)["nonfinite_steps"] == 2
    assert result(folder)["digest"] == result(whole)["digest"]
    assert untimed(folder) == untimed(whole)


@pytest.mark.slow
def test_a_loss_that_stays_not_finite_in_one_process_ends_all_with_a_checkpoint(flags, tmp_path):
    folder = tmp_path / "run"
    patch = partial(spoil, {("ddi", step) for step in range(2, 20)}, ())
    for _ in range(2):  # begun, and gone on with
        ended = ranks.start(tmp_path, 2, flags(folder), patch=patch)
        assert ended.codes() == [1, 1], ended.said()
        assert "not finite in 5 steps in a row; saved step 6," in ended.said()
        assert "Traceback" not in ended.said()
        assert ended.said(1) == ""
        assert steps(folder)[-1]["nonfinite"] == 5
        assert newest(folder) == 6
        assert not (folder / documents.RESULT).exists()
    assert "resume    step 6, " in ended.said()
    assert "passed over" not in ended.said()


def interrupted_early(rank: int) -> None:
    """Ctrl-C while the processes meet."""
    from mtlfn.run.machine import processes

    processes.join = lambda: signal.raise_signal(signal.SIGINT)


def test_ctrl_c_before_the_processes_have_met_ends_all(flags, tmp_path):
    begun = ranks.start(tmp_path, 2, flags(tmp_path / "run"), patch=interrupted_early)
    assert begun.codes() == [75, 75], begun.said()
    assert begun.said() == "mtlfn: stopped; what was saved stands, and the same command goes on from it\n"
    assert begun.said(1) == ""
