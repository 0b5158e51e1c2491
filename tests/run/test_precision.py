"""Runs in lower precision and with recomputed activations: resumable to the bit, and named for what they are."""

from __future__ import annotations

import json

import pytest
import torch

from mtlfn.core import scaling
from mtlfn.run import documents
from mtlfn.run.config import Config, identity
from mtlfn.run.errors import UsageError
from mtlfn.run.one import prepare

HARD = {"weighting": "uncertainty", "lora_dropout": 0.2, "learning_rate": 0.01, "save_every_steps": 2}


def result(folder) -> dict:
    return documents.read(folder / "result.json")


def scales(folder) -> list[float]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line["loss_scale"] for line in lines if "event" not in line]


def test_recomputation_does_not_change_a_bit_of_a_run(go, tmp_path):
    assert go(**HARD, output_dir=tmp_path / "kept").code == 0
    assert go("--gradient-checkpointing", **HARD, output_dir=tmp_path / "again").code == 0
    kept, again = result(tmp_path / "kept"), result(tmp_path / "again")
    assert kept["digest"] == again["digest"]
    assert kept["identity"] != again["identity"]
    assert kept["peak_memory_bytes"]["resident"] > 2**20


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_run_in_lower_precision_resumes_to_the_bit(go, tmp_path, precision):
    options = {**HARD, "precision": precision}
    said = go(**options, output_dir=tmp_path / "whole")
    assert said.code == 0
    assert f"cpu · {precision} · deterministic" in said.out
    for steps in (1, 3, None):
        go(**options, output_dir=tmp_path / "parts", max_steps=steps)
    whole, parts = result(tmp_path / "whole"), result(tmp_path / "parts")
    assert whole["digest"] == parts["digest"]
    assert whole["nonfinite_steps"] == 0
    expected = scaling.START if precision == "fp16" else 1.0
    assert set(scales(tmp_path / "whole")) == {expected}
    assert result(tmp_path / "whole")["scores"]


def test_another_precision_is_another_run(go, tmp_path):
    assert go(**HARD, precision="fp16", output_dir=tmp_path / "run", max_steps=1).code == 75
    said = go(**HARD, output_dir=tmp_path / "run")
    assert said.code == 4
    assert "precision is 'fp16' there and 'fp32' now" in said.message


def test_what_came_later_is_no_part_of_older_identities():
    plain = identity(Config())
    assert not {"precision", "gradient_checkpointing", "unpad"} & plain.keys()
    assert identity(Config(precision="bf16"))["precision"] == "bf16"
    assert identity(Config(gradient_checkpointing=True))["gradient_checkpointing"] is True


def test_tf32_is_named_in_the_identity_and_refused_without_a_gpu(go, tmp_path):
    assert "tf32" not in identity(Config())
    assert identity(Config(tf32=True))["tf32"] is True
    said = go("--tf32", device="cpu", output_dir=tmp_path / "run")
    assert said.code == 2
    assert "--tf32: it is there on CUDA devices, and --device is cpu; leave it out" in said.message
    assert not (tmp_path / "run").exists()


def test_tf32_is_off_for_products_and_convolutions_unless_asked_for(monkeypatch):
    from mtlfn.run.one.loop import fix_numerics

    places = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    for asked in (True, False):
        with monkeypatch.context() as patch:  # torch asks, too, when it seeds
            patch.setattr(torch.cuda, "is_available", lambda: True)
            fix_numerics(Config(tf32=asked))
        after = [place.allow_tf32 for place in places]
        for place, value in zip(places, before, strict=True):
            place.allow_tf32 = value
        assert after == [asked, asked]


def test_what_half_precision_is_computed_in_is_part_of_the_environment(go, tmp_path, monkeypatch):
    from mtlfn.models import units

    monkeypatch.setattr(units, "has_amx", lambda: True)
    options = {**HARD, "precision": "bf16", "output_dir": tmp_path / "run"}
    assert "AMX multiplies bf16 here: this run is in bf16" in go(**options, max_steps=1).out
    assert documents.read(tmp_path / "run" / "env.json")["must_match"]["products"] == "bfloat16"
    monkeypatch.setattr(units, "has_amx", lambda: False)
    said = go(**options)
    assert said.code == 4
    assert "products: bfloat16 before, float32 now" in said.message


def test_bfloat16_without_units_for_it_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    with pytest.raises(UsageError, match="--precision bf16: Tesla T4 has no bfloat16 units; use --precision fp16"):
        prepare._precision("bf16", torch.device("cuda"))
    assert prepare._precision("fp16", torch.device("cuda")) == torch.float16


def test_a_run_without_padding_computes_its_tokens_alone_and_resumes_to_the_bit(go, tmp_path):
    assert go("--unpad", **HARD, output_dir=tmp_path / "whole").code == 0
    for steps in (2, None):
        go("--unpad", **HARD, output_dir=tmp_path / "parts", max_steps=steps)
    assert go(**HARD, output_dir=tmp_path / "padded").code == 0
    whole, parts, padded = (result(tmp_path / name) for name in ("whole", "parts", "padded"))
    assert whole["digest"] == parts["digest"] != padded["digest"]
    assert whole["tokens"]["input_share_of_slots"] == 1.0 > padded["tokens"]["input_share_of_slots"]
    assert whole["tokens"]["per_task"] == padded["tokens"]["per_task"]


def test_a_backbone_that_overflows_in_half_precision_is_told_another_precision(go, tmp_path, monkeypatch):
    from mtlfn.models import heads

    loss = heads.loss_sum
    monkeypatch.setattr(heads, "loss_sum", lambda *args: loss(*args) * float("inf"))
    for flags, code in (({"smoke": True}, 3), ({}, 1)):
        folder = tmp_path / str(code)
        ended = go(precision="fp16", output_dir=folder, budget_tokens=2000, **flags)
        assert ended.code == code
        assert "--precision bf16 or fp32" in ended.message
        assert "nan" not in ended.message
    lines = [json.loads(line) for line in (tmp_path / "1" / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss_scale"] for line in lines if "event" not in line] == [
        2.0**power for power in (15, 14, 13, 12, 11)
    ]
