"""A backbone with an attention of its own: a run, stopped, resumed and replayed; and what was proven of it is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mtlfn.run.commands import command
from mtlfn.run.commands.command import replay
from tests.models.families import make
from tests.run.test_run import result


@pytest.fixture(scope="module")
def deberta(tmp_path_factory) -> Path:
    return make("deberta-v3", tmp_path_factory.mktemp("padded") / "deberta")


def test_a_run_stops_goes_on_and_replays_to_the_same_bits(go, deberta, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(deberta.parent)
    settings = {"backbone": "deberta", "lora_dropout": 0.2}
    whole = go(**settings, output_dir=tmp_path / "whole")
    assert whole.code == 0, whole.err
    why = "micro-batches one by one, since it does not call the attention that it is given"
    assert "proven    deberta-v2 as in stock transformers, to " in whole.out
    assert why in whole.out
    for stop in (1, 3):
        assert go(**settings, output_dir=tmp_path / "stopped", max_steps=stop).code == 75
    assert go(**settings, output_dir=tmp_path / "stopped").code == 0
    assert result(tmp_path / "stopped")["digest"] == result(tmp_path / "whole")["digest"]
    monkeypatch.chdir(tmp_path)
    assert replay(["whole", "--all"]) == 0
    assert "segments are equal" in capfd.readouterr().out


def test_the_engines_end_near_each_other(go, deberta, tmp_path):
    losses = []
    for engine in ("merged", "loop"):
        ended = go(backbone=deberta, engine=engine, output_dir=tmp_path / engine, max_steps=4)
        assert ended.code == 75, ended.err
        lines = [json.loads(line) for line in (tmp_path / engine / "metrics.jsonl").read_text().splitlines()]
        losses.append([line["loss"] for line in lines if "event" not in line])
    for one, other in zip(*losses, strict=True):
        assert one == pytest.approx(other, rel=1e-3)


def test_what_cannot_be_had_with_it_is_refused(go, deberta, tmp_path):
    ended = go("--unpad", backbone=deberta, output_dir=tmp_path / "run")
    assert ended.code == 2
    assert "--unpad: deberta-v2 reads padded rectangles" in ended.message
    assert not (tmp_path / "run").exists()


def test_the_preflight_tells_what_was_proven(deberta, data, warm, tmp_path, capsys):
    where = ["--data-dir", str(data), "--cache-dir", str(warm), "--output-dir", str(tmp_path / "run")]
    assert command.doctor(["--backbone", str(deberta), "--tasks", "ddi", *where]) == 0
    assert "ok    backbone     deberta-v2 as in stock transformers, to " in capsys.readouterr().out
