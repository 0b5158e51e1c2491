"""Whole runs on the device: stopped, killed, resumed and replayed to the bit; memory read, searched and exhausted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mtlfn.run import documents
from mtlfn.run.commands import command
from mtlfn.run.errors import UsageError
from mtlfn.run.machine import batch_size, cublas, memory
from mtlfn.run.watch import monitors
from tests.core import tiny as plain
from tests.run.test_monitors import at

ROOT = Path(__file__).parents[2]
HARD = {"weighting": "uncertainty", "lora_dropout": 0.2, "learning_rate": 0.01, "save_every_steps": 2}


def result(folder: Path) -> dict:
    return documents.read(folder / "result.json")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_stopped_resumed_and_replayed_a_run_has_one_digest(go, device, tmp_path, precision):
    options = {**HARD, "precision": precision, "device": device}
    assert go(**options, output_dir=tmp_path / "whole").code == 0
    assert go(**options, output_dir=tmp_path / "again").code == 0
    for steps in (1, 3, None):
        go(**options, output_dir=tmp_path / "parts", max_steps=steps)
    digests = {result(tmp_path / name)["digest"] for name in ("whole", "again", "parts")}
    assert len(digests) == 1
    assert result(tmp_path / "whole")["nonfinite_steps"] == 0
    assert command.replay([str(tmp_path / "whole"), "--all"]) == 0


@pytest.mark.parametrize("flag", ["--unpad", "--gradient-checkpointing"])
def test_every_way_of_computing_resumes_to_the_bit(go, device, tmp_path, flag):
    options = {**HARD, "device": device}
    assert go(flag, **options, output_dir=tmp_path / "whole").code == 0
    for steps in (2, None):
        go(flag, **options, output_dir=tmp_path / "parts", max_steps=steps)
    assert result(tmp_path / "whole")["digest"] == result(tmp_path / "parts")["digest"]


def test_killed_with_sigkill_a_run_goes_on_to_the_same_digest(go, device, bert, data, warm, tmp_path):
    options = {**HARD, "device": device, "budget_tokens": 2000}
    assert go(**options, output_dir=tmp_path / "whole").code == 0
    flags = {**options, "backbone": bert, "tasks": "bc5cdr_disease,ddi", "data_dir": data, "cache_dir": warm}
    flags |= {"micro_batch_tokens": 64, "quick_eval_examples": 0, "output_dir": tmp_path / "killed"}
    words = [word for name, value in flags.items() for word in ("--" + name.replace("_", "-"), str(value))]
    metrics = tmp_path / "killed" / "metrics.jsonl"
    argv = [sys.executable, "-m", "mtlfn.experiments.s3b", *words, "--skip-smoke-test", "--threads", "1"]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, env={**os.environ}) as victim:
        limit = time.monotonic() + 240
        while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= 4):
            assert victim.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < limit
            time.sleep(0.01)
        victim.kill()
    assert victim.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "result.json").exists()
    assert go(**options, output_dir=tmp_path / "killed").code == 0
    assert result(tmp_path / "whole")["digest"] == result(tmp_path / "killed")["digest"]


def test_memory_is_read_and_a_leak_on_the_device_is_told(device):
    probe, hoard, said, written = memory.probe(device), [], [], []
    before = probe()
    assert 0 < before.used <= before.total
    observe = monitors.memory(probe, written.append, lambda *alert: said.append(alert), every=1)
    for step in range(1, monitors.WINDOW + 1):
        hoard.append(torch.ones(64 * 2**18, device=device))  # 64 MB
        observe(at(step), plain.batch(0))
    assert probe().own - before.own > 0.9 * len(hoard) * 64 * 2**20
    assert [kind for _, kind, _ in said] == ["memory"]
    assert memory.peak(device)["allocated" if device.type == "cuda" else "resident"] >= len(hoard) * 64 * 2**20
    assert [line["event"] for line in written] == ["memory"] * monitors.WINDOW


def test_the_batch_size_that_was_searched_is_recorded_and_never_searched_again(go, device, tmp_path, monkeypatch):
    options = {**HARD, "device": device, "micro_batch_tokens": None, "budget_tokens": 2000}
    assert go(**options, output_dir=tmp_path / "run", max_steps=2).code == 75
    size = documents.read(tmp_path / "run" / "config.json")["settings"]["micro_batch_tokens"]
    assert size == 128
    monkeypatch.setattr(batch_size, "search", lambda *_: pytest.fail("searched again"))
    assert go(**options, output_dir=tmp_path / "run").code == 0


def test_a_smaller_size_is_taken_where_the_first_does_not_fit(device):
    """What the device really says of too much memory, as accelerate's helper hears it."""
    tried = []

    def attempt(slots: int) -> float:
        tried.append(slots)
        if slots > 100:
            torch.empty(2**60, dtype=torch.uint8, device=device)
        return 0.5

    assert batch_size.search(attempt, 256) == 64
    assert tried == [256, 128, 64]
    with pytest.raises(UsageError, match="does not fit into memory"):
        batch_size.search(lambda slots: torch.empty(2**60, dtype=torch.uint8, device=device).numel(), 64)


def test_out_of_memory_ends_in_one_line(go, device, tmp_path, monkeypatch):
    from mtlfn.models import heads

    loss = heads.loss_sum

    def greedy(task, logits, inputs, weights):
        taken = torch.empty(2**60, dtype=torch.uint8, device=logits.device)
        return loss(task, logits, inputs, weights) + taken[0]

    options = {**HARD, "device": device, "output_dir": tmp_path / "run"}
    assert go(**options, max_steps=2).code == 75
    with monkeypatch.context() as patch:
        patch.setattr(heads, "loss_sum", greedy)
        ended = go(**options)
    assert ended.code == 2
    assert "out of memory: " in ended.message
    assert "--micro-batch-tokens" in ended.message
    assert "Traceback" not in ended.err
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert max(line["step"] for line in lines) == 2
    assert go(**options).code == 0  # and what was saved goes on


def test_the_environment_names_the_gpu(go, device, tmp_path):
    assert go(**HARD, device=device, output_dir=tmp_path / "run", max_steps=1).code == 75
    found = documents.read(tmp_path / "run" / "env.json")
    assert found["must_match"]["device"] == device.type
    assert found["must_match"]["switches"]["deterministic"] is True
    assert found["must_match"]["switches"]["tf32"] is False
    assert ("gpu" in found["must_match"]) == (device.type == "cuda")
    if device.type == "cuda":
        assert found["must_match"]["gpu"]["name"] == torch.cuda.get_device_name(device)
        assert "allocated" in memory.peak(device)


def test_products_repeat_where_torch_looks_at_its_variable_once(device, monkeypatch):
    monkeypatch.setenv(cublas.VARIABLE, cublas.DETERMINISTIC)
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("error")
    try:
        cublas.look_once(device)
        assert (cublas.VARIABLE in os.environ) == (device.type == "cpu")
        rows, weight = (torch.arange(n * 384.0, device=device).view(n, 384).sin() for n in (2560, 384))
        first, second = (torch.nn.functional.linear(rows, weight, weight[0]) for _ in range(2))
        assert torch.equal(first, second)
    finally:
        torch.set_deterministic_debug_mode(before)
