"""The backbone of the planted worlds: a small BERT of random weights in which every made-up word is one token.

It is made here, in a moment, and needs no file: a study of planted worlds trains dozens of runs, and what it plants
must not be known to anything that was pretrained. Its weights are a pure function of the corpus version.
"""

from __future__ import annotations

from typing import Any

from mtlfn.core import keys
from mtlfn.data.embedded import worlds
from mtlfn.data.embedded.draw import VERSION

NAME = "planted"
WIDTH, LAYERS, HEADS, POSITIONS = 64, 2, 4, 64
STD = 0.1  # of its weights; BERT's own 0.02 is for pretraining: at this width, features would hardly differ
SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}


def make() -> tuple[Any, Any]:
    """The model and its fast tokenizer."""
    from transformers import BertConfig, BertModel

    vocabulary = {piece: i for i, piece in enumerate((*SPECIAL.values(), *worlds.VOCABULARY))}
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=POSITIONS,
    )
    model = BertModel(config, add_pooling_layer=False)
    key = keys.fold(keys.root(0), "planted backbone", VERSION)
    weights = {
        name: keys.normal(keys.fold(key, name), tuple(parameter.shape), STD)
        for name, parameter in model.named_parameters()
        if parameter.dim() > 1  # gains and biases stay at 1 and 0
    }
    model.load_state_dict(weights, strict=False)
    return model, _tokenizer(vocabulary)


def _tokenizer(vocabulary: dict[str, int]) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(piece, vocabulary[piece]) for piece in ("[CLS]", "[SEP]")],
    )
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=inputs, **SPECIAL)
