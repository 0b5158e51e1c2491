"""Backbones that load and cannot be trained as asked: one line says so before anything is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mtlfn.data.tokens import store
from mtlfn.models import backbone, units
from tests import tiny
from tests.models.families import make


def edited(folder: Path, **settings: object) -> Path:
    """The model in a folder with other settings in its config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


def refused(ended, run: Path) -> str:
    assert ended.code == 2, ended.out
    assert "Traceback" not in ended.err
    assert ended.err.count("\n") <= 8, ended.err
    assert not run.exists()
    return ended.message


def test_a_tokenizer_of_another_model_is_refused(go, tmp_path):
    """Ids beyond the embeddings would be an index error in the middle of a run, on a GPU one of the device."""
    folder = tiny.make_bert(tmp_path / "small")
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder)
    model.resize_token_embeddings(20)
    model.save_pretrained(folder)
    told = refused(go(backbone=folder, output_dir=tmp_path / "run"), tmp_path / "run")
    assert "has the token " in told
    assert "the embeddings have 20: the tokenizer is another model's" in told


def test_a_second_text_where_the_model_knows_one_is_refused(go, tmp_path):
    """BERT with one type of token: its tokenizer still numbers the second text of a pair 1."""
    from transformers import AutoConfig, AutoModel

    folder = tiny.make_bert(tmp_path / "one")
    config = AutoConfig.from_pretrained(folder)
    config.type_vocab_size = 1
    AutoModel.from_config(config).save_pretrained(folder)
    told = refused(go(backbone=folder, tasks="hoc,pubmedqa", output_dir=tmp_path / "run"), tmp_path / "run")
    assert "token type 1" in told


def test_a_model_of_hardly_any_positions_is_refused(go, tmp_path):
    from transformers import AutoConfig, AutoModel

    folder = tiny.make_bert(tmp_path / "short")
    config = AutoConfig.from_pretrained(folder)
    config.max_position_embeddings = 4
    AutoModel.from_config(config).save_pretrained(folder)
    told = refused(go(backbone=folder, output_dir=tmp_path / "run"), tmp_path / "run")
    assert "takes rows of at most 4 tokens, expected 8 or more" in told


def test_a_precision_that_a_family_cannot_compute_in_is_refused(go, tmp_path, monkeypatch):
    """DeBERTa's first version mixes dtypes under autocast, which a CPU without units for bfloat16 does without."""
    monkeypatch.setattr(units, "has_amx", lambda: True)
    folder = make("deberta", tmp_path / "deberta")
    ended = go(backbone=folder, precision="bf16", output_dir=tmp_path / "run")
    assert "deberta cannot be trained with --precision bf16" in refused(ended, tmp_path / "run")
    assert go(backbone=folder, output_dir=tmp_path / "run", max_steps=1).code == 75


def test_a_finished_run_is_not_shown_for_its_weights_under_another_configuration(go, tmp_path):
    """The weights of a Mistral with a shorter window are another model."""
    folder = make("mistral", tmp_path / "mistral")
    command = {"backbone": folder, "output_dir": tmp_path / "run"}
    assert go(**command).code == 0
    assert "this run is finished" in go(**command).out
    edited(folder, sliding_window=4)
    ended = go(**command)
    assert ended.code == 4, ended.out
    assert "a finished run of the same weights under another configuration" in ended.message


def test_mismatched_sizes_are_told(tmp_path):
    folder = edited(make("bert", tmp_path / "bert"), intermediate_size=128)
    with pytest.raises(backbone.BackboneError, match=r"12 tensors have other shapes, .* \[64\], expected \[128\]"):
        backbone.load(str(folder))


def test_the_side_that_a_tokenizer_cuts_is_part_of_what_it_gives(bert):
    tokenizer = backbone.load(str(bert)).tokenizer
    usual = store.tokenizer_digest(tokenizer)
    tokenizer.truncation_side = "left"
    assert store.tokenizer_digest(tokenizer) != usual
