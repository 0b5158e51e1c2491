"""The backbone of the planted worlds: a token a word, weights that nothing outside it decides."""

from __future__ import annotations

import torch

from mtlfn.data.embedded import worlds
from mtlfn.models import backbone, planted, proof
from tests import tiny


def test_it_is_the_same_every_time_and_touches_no_global_generator():
    torch.manual_seed(5)
    before = tiny.generators()
    one = backbone.load("planted")
    assert tiny.generators() == before
    torch.manual_seed(6)
    other = backbone.load("planted")
    assert one.digest == other.digest
    assert (one.name, one.hub_id, one.causal, one.width) == ("planted", None, False, planted.WIDTH)


def test_every_word_of_the_worlds_is_one_token_and_no_other_is_known():
    tokenizer = backbone.load("planted").tokenizer
    ids = tokenizer(" ".join(worlds.VOCABULARY), add_special_tokens=False)["input_ids"]
    assert len(set(ids)) == len(ids) == len(worlds.VOCABULARY)
    assert tokenizer.unk_token_id not in ids
    assert tokenizer("asthma", add_special_tokens=False)["input_ids"] == [tokenizer.unk_token_id]


def test_its_matrices_are_drawn_and_no_two_are_the_same():
    model, _ = planted.make()
    matrices = [value for value in model.parameters() if value.dim() > 1]
    assert len(matrices) >= 3 + 6 * planted.LAYERS
    for matrix in matrices:
        assert abs(matrix.std().item() / planted.STD - 1) < 0.15
    assert len({tuple(matrix.flatten()[:4].tolist()) for matrix in matrices}) == len(matrices)


def test_it_is_read_end_to_end_as_stock_transformers_reads_it():
    assert proof.prove(backbone.load("planted"), 16).way == "ragged"
