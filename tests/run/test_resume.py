"""Stopped anywhere, any number of times, by whatever means: the run that goes on ends in the same digest."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from mtlfn.core.state import digest
from mtlfn.run import documents
from mtlfn.run.config import Config
from mtlfn.run.one.loop import load
from mtlfn.run.one.prepare import Prepared
from mtlfn.run.one.walk import advance
from mtlfn.run.storage import checkpoint, record, seal
from tests.run.test_run import lines, result, steps

# Dropout is on by default; uncertainty and PCGrad carry state of their own from step to step.
HARD = {"weighting": "uncertainty", "gradients": "pcgrad", "lora_dropout": 0.2, "learning_rate": 0.01}
TIMES = ("seconds_per_step", "tokens_per_second", "examples_per_second", "eta_seconds", "check")


def untimed(folder: Path) -> list[dict]:
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines(folder)]


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("resumed")


@pytest.fixture
def whole(go, out):
    """Folder -> the run of the same settings that was never stopped; made once."""

    def never_stopped(**settings: object) -> Path:
        folder = out / ("whole-" + "-".join(f"{k}={v}" for k, v in settings.items()))
        if not folder.exists():
            assert go(**HARD, **settings, output_dir=folder).code == 0
        return folder

    return never_stopped


@pytest.mark.parametrize("engine", ["merged", "loop"])
def test_stopping_after_every_step_ends_in_the_same_digest(go, out, whole, engine):
    reference, folder = whole(engine=engine), out / f"every-{engine}"
    count = result(reference)["steps"]
    assert count >= 4
    for stop in range(count):
        ended = go(**HARD, engine=engine, output_dir=folder, max_steps=stop)
        assert ended.code == 75, ended.err
        assert f"step {stop}," in ended.out
        assert "to go on: python -m mtlfn.experiments.s3b" in ended.out
        assert "max-steps" not in ended.out.split("to go on:")[1]
        assert not (folder / "result.json").exists()
        assert len(steps(folder)) == stop if stop else True
    assert go(**HARD, engine=engine, output_dir=folder).code == 0
    assert result(folder)["digest"] == result(reference)["digest"]
    assert untimed(folder) == untimed(reference)
    assert len(checkpoint.steps(folder / "checkpoints")) <= 3


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["merged", "loop"])
def test_saved_at_every_step_and_resumed_from_every_one_the_whole_tail_is_equal(bert, data, warm, tmp_path, engine):
    """Thirty states of the real model, three passes over its data; every one is loaded, and every one after it made."""
    config = Config(
        backbone=str(bert), tasks="bc5cdr_disease,ddi", data_dir=data, cache_dir=warm, budget_tokens=1500,
        micro_batch_tokens=32, engine=engine, **HARD,
    )  # fmt: skip
    walk = load("s3b", config).walk
    saved, expected = [], []
    state = walk.start()
    while not walk.finished(state):
        saved.append(checkpoint.save(tmp_path / str(state.step), state, "an identity").path)
        expected.append(digest(state))
        state, _ = advance(walk, state, walk.stream(state))
    expected.append(digest(state))
    assert len(saved) >= 25
    for step, path in enumerate(saved):
        state = checkpoint.load(path, walk.start(), "an identity")
        tail = [digest(state)]
        while not walk.finished(state):
            state, _ = advance(walk, state, walk.stream(state))
            tail.append(digest(state))
        assert tail == expected[step:]


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int, number: int) -> None:
    """A real signal to this process while the metrics of a step are written."""
    append = record.append

    def then_signal(path: Path, line: dict) -> None:
        append(path, line)
        if line["step"] == step and "event" not in line:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(record, "append", then_signal)


@contextlib.contextmanager
def hangup(handler: signal.Handlers) -> Iterator[None]:
    """SIGHUP is handled so for a while, whatever was inherited."""
    before = signal.signal(signal.SIGHUP, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_step_saves_and_the_run_goes_on(go, out, whole, monkeypatch, number):
    folder, handlers = out / f"signal{number}", [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)]
    with hangup(signal.SIG_DFL), monkeypatch.context() as patch:  # ignored where the tests run under nohup
        stop_at(patch, 2, number)
        ended = go(**HARD, engine="merged", output_dir=folder)
    assert ended.code == 75
    assert "asked to stop" in ended.out
    assert checkpoint.steps(folder / "checkpoints")[-1].name == "step-00000002"
    assert [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert go(**HARD, engine="merged", output_dir=folder).code == 0
    assert result(folder)["digest"] == result(whole(engine="merged"))["digest"]


def test_under_nohup_a_run_outlives_its_terminal(go, out, whole, monkeypatch):
    with hangup(signal.SIG_IGN):
        stop_at(monkeypatch, 2, signal.SIGHUP)
        assert go(**HARD, engine="merged", output_dir=out / "nohup").code == 0
    assert result(out / "nohup")["digest"] == result(whole(engine="merged"))["digest"]


def test_a_process_that_is_told_to_end_leaves_75_and_goes_on_in_another(go, out, whole, bert, data, warm):
    folder = out / "process"
    argv = [
        *("--backbone", bert, "--tasks", "bc5cdr_disease,ddi", "--data-dir", data, "--cache-dir", warm),
        *("--budget-tokens", 40_000, "--micro-batch-tokens", 64, "--quick-eval-examples", 0, "--threads", 1),
        *("--output-dir", folder, *(p for k, v in HARD.items() for p in ("--" + k.replace("_", "-"), v))),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "mtlfn.experiments.s3b", *map(str, argv)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    deadline = time.monotonic() + 180
    while not (folder / "metrics.jsonl").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, complaint = process.communicate(timeout=120)
    assert process.returncode == 75, complaint
    assert "Traceback" not in complaint
    stopped = steps(folder)[-1]["step"]
    # This process goes on for two steps; a third one, never stopped, passes the same point.
    flags = {**HARD, "budget_tokens": 40_000, "threads": 1, "max_steps": stopped + 2}
    assert go(**flags, output_dir=folder).code == 75
    assert go(**flags, output_dir=out / "process-whole").code == 75
    assert manifest(folder)["digest"] == manifest(out / "process-whole")["digest"]


def manifest(folder: Path) -> dict:
    return json.loads((checkpoint.steps(folder / "checkpoints")[-1] / "manifest.json").read_text())


def test_killed_after_more_steps_than_were_saved_the_metrics_are_cut_back(go, out, whole):
    """What is left of a killed run: a checkpoint, later lines, half a line, an orphan of a save."""
    folder, reference = out / "killed", whole(engine="merged")
    assert go(**HARD, engine="merged", output_dir=folder, max_steps=2).code == 75
    later = (reference / "metrics.jsonl").read_text().splitlines(keepends=True)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write("".join(later[2:]) + later[0][:20])
    (folder / "checkpoints" / "step-00000003.tmp-1").mkdir()
    assert go(**HARD, engine="merged", output_dir=folder).code == 0
    assert result(folder)["digest"] == result(reference)["digest"]
    assert untimed(folder) == untimed(reference)
    assert not list((folder / "checkpoints").glob("*.tmp-*"))


def test_a_damaged_checkpoint_is_passed_over_loudly_and_the_digest_is_the_same(go, out, whole):
    folder = out / "damaged"
    assert go(**HARD, engine="merged", output_dir=folder, max_steps=2, save_every_steps=1).code == 75
    newest = checkpoint.steps(folder / "checkpoints")[-1]
    (newest / "state.safetensors").write_bytes((newest / "state.safetensors").read_bytes()[:-5])
    ended = go(**HARD, engine="merged", output_dir=folder)
    assert ended.code == 0
    assert "passed over: step-00000002" in ended.out
    assert "step 1," in ended.out
    assert result(folder)["digest"] == result(whole(engine="merged"))["digest"]


def test_stopped_between_the_last_checkpoint_and_the_result(go, out, whole):
    reference, folder = whole(engine="merged"), out / "late"
    shutil.copytree(reference, folder)
    for name in ("result.json", "tokens.json"):
        (folder / name).unlink()
    shutil.rmtree(folder / "export")
    shutil.rmtree(folder / "predictions")
    assert go(**HARD, engine="merged", output_dir=folder).code == 0
    found, expected = result(folder), result(reference)
    for document in (found, expected):
        del document["training_seconds"], document["peak_memory_bytes"]  # of the process, not of the run
    assert found == expected
    assert seal.verify(folder) == seal.Verified(True, ())
    assert untimed(folder) == untimed(reference)


def test_early_stopping_stops_and_resumes_exactly(go, out):
    """A learning rate of almost nothing: no evaluation is better than the first, so patience runs out."""
    early = {**HARD, "learning_rate": 1e-12, "max_epochs": 50, "patience": 2, "budget_tokens": None}
    reference, folder = out / "early", out / "early-resumed"
    assert go(**early, output_dir=reference).code == 0
    found = result(reference)
    events = [line for line in lines(reference) if line.get("event") == "full"]
    assert len(events) == 3
    assert events[-1]["step"] == found["steps"]
    assert found["tokens"]["total"] < 50 * 513
    for line in events[:2]:
        # Right after a full evaluation, and one step later: patience must come back as it was.
        for stop in (line["step"], line["step"] + 1):
            assert go(**early, output_dir=folder, max_steps=stop).code == 75
    assert go(**early, output_dir=folder).code == 0
    assert result(folder)["digest"] == found["digest"]
    assert untimed(folder) == untimed(reference)
    best = events[0]["step"]
    assert f"step-{best:08d}" in [p.name for p in checkpoint.steps(reference / "checkpoints")]


def test_epochs_end_at_their_number_when_scores_keep_rising(go, out, monkeypatch):
    rising, evaluate = iter(range(100)), Prepared.evaluate
    monkeypatch.setattr(
        Prepared, "evaluate", lambda *args, **named: attrs.evolve(evaluate(*args, **named), mean=next(rising) / 100)
    )
    folder = out / "epochs"
    assert go(max_epochs=2, patience=1, budget_tokens=None, output_dir=folder).code == 0
    about = documents.read(folder / "data.json")
    corpus = sum(task["train"]["tokens"] for task in about.values())
    assert result(folder)["tokens"]["total"] == 2 * corpus
    assert len([line for line in lines(folder) if line.get("event") == "full"]) == 2


def test_a_cache_that_is_cold_or_warm_makes_no_other_run(go, out, tmp_path):
    """What is tokenised on the way must not show: resumed again and again, the first time with an empty cache."""
    for stop in (1, 2, 3, 3, 3, 3):
        ended = go(**HARD, output_dir=out / "cold", cache_dir=tmp_path / "cache", max_steps=stop)
        assert ended.code == 75, ended.err


@pytest.mark.parametrize("there", [["lock"], ["data.json", "lock"], ["config.json.tmp-1"]])
def test_killed_before_the_first_file_was_complete_a_run_can_start(go, out, whole, tmp_path, there):
    reference, folder = whole(engine="merged"), tmp_path / "begun"
    folder.mkdir()
    for name in there:
        (folder / name).write_bytes((reference / name.partition(".tmp")[0]).read_bytes())
    assert go(**HARD, engine="merged", output_dir=folder, max_steps=0).code == 75
