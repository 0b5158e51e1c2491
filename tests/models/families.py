"""A tiny random model of every family of backbones: windows below the rows, soft caps that bite, wide weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import field, frozen

from tests.tiny import LAYERS, POSITIONS, WIDTH

WINDOW = 8
SPECIAL = ("<s>", "<pad>", "</s>")


@frozen
class Family:
    """How a model of a family is made, and what is to come of it.

    Attributes:
        config: the name of its configuration's class in transformers.
        way: how it is read: ragged or padded.
        targets: where LoRA goes by default.
        causal: whether its tokens see only what lies before them.
        settings: beside those that all share.
        shared: whether it takes the names of settings that most share.
    """

    config: str
    way: str
    targets: tuple[str, ...]
    causal: bool
    settings: Mapping[str, Any] = field(factory=dict)
    shared: bool = True


QV = ("q_proj", "v_proj")
GROUPED = {"num_key_value_heads": 2}
GEMMA = {**GROUPED, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": WINDOW}
BOTH = {"layer_types": ["sliding_attention", "full_attention"] * (LAYERS // 2)}
DEBERTA_V3 = {
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_buckets": 16,
    "share_att_key": True,
    "position_biased_input": False,
    "norm_rel_ebd": "layer_norm",
}
FAMILIES = {
    "bert": Family("BertConfig", "ragged", ("query", "value"), False),
    "bert-decoder": Family("BertConfig", "ragged", ("query", "value"), True, {"is_decoder": True}),
    "roberta": Family("RobertaConfig", "ragged", ("query", "value"), False, {"max_position_embeddings": POSITIONS + 2}),
    "xlm-roberta": Family(
        "XLMRobertaConfig", "ragged", ("query", "value"), False, {"max_position_embeddings": POSITIONS + 2}
    ),
    "electra": Family("ElectraConfig", "ragged", ("query", "value"), False, {"embedding_size": 16}),
    "distilbert": Family(
        "DistilBertConfig",
        "ragged",
        ("q_lin", "v_lin"),
        False,
        {"dim": WIDTH, "n_layers": LAYERS, "n_heads": 4, "hidden_dim": 64},
        shared=False,
    ),
    "mpnet": Family("MPNetConfig", "padded", ("q", "v"), False, {"max_position_embeddings": POSITIONS + 2}),
    "deberta": Family("DebertaConfig", "padded", ("in_proj",), False, {**DEBERTA_V3, "position_buckets": -1}),
    "deberta-v2": Family(
        "DebertaV2Config", "padded", ("query_proj", "value_proj"), False, {**DEBERTA_V3, "conv_kernel_size": 3}
    ),
    "deberta-v3": Family("DebertaV2Config", "padded", ("query_proj", "value_proj"), False, DEBERTA_V3),
    "modernbert": Family(
        "ModernBertConfig",
        "ragged",
        ("Wqkv",),
        False,
        {"local_attention": 2 * WINDOW, "global_attn_every_n_layers": 2, "cls_token_id": 0, "sep_token_id": 2},
    ),
    "megatron-bert": Family("MegatronBertConfig", "padded", ("query", "value"), False),
    "llama": Family("LlamaConfig", "ragged", QV, True, GROUPED),
    "llama-two-way": Family("LlamaConfig", "ragged", QV, False, {**GROUPED, "is_causal": False}),
    "qwen2": Family(
        "Qwen2Config",
        "ragged",
        QV,
        True,
        {**GROUPED, "use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 2},
    ),
    "qwen3": Family("Qwen3Config", "ragged", QV, True, {**GROUPED, "head_dim": 16}),
    "mistral": Family("MistralConfig", "ragged", QV, True, {**GROUPED, "sliding_window": WINDOW}),
    "gemma": Family("GemmaConfig", "ragged", QV, True, {**GROUPED, "head_dim": 8}),
    "gemma2": Family("Gemma2Config", "ragged", QV, True, {**GEMMA, "attn_logit_softcapping": 5.0}),
    "gemma3": Family("Gemma3TextConfig", "ragged", QV, True, {**GEMMA, **BOTH}),
    "gemma3-two-way": Family(
        "Gemma3TextConfig", "ragged", QV, False, {**GEMMA, **BOTH, "use_bidirectional_attention": True}
    ),
    "phi": Family("PhiConfig", "ragged", ("fc1", "fc2", "q_proj", "v_proj"), True),
    "phi3": Family("Phi3Config", "ragged", ("qkv_proj",), True, {"sliding_window": WINDOW}),
    "gpt-neox": Family("GPTNeoXConfig", "ragged", ("query_key_value",), True),
    "opt": Family("OPTConfig", "ragged", QV, True, {"ffn_dim": 64, "word_embed_proj_dim": WIDTH, "init_std": 0.3}),
    "biogpt": Family("BioGptConfig", "ragged", QV, True),
    "smollm3": Family("SmolLM3Config", "ragged", QV, True, GROUPED),
    "olmo2": Family("Olmo2Config", "ragged", QV, True),
    "granite": Family("GraniteConfig", "ragged", QV, True, GROUPED),
    # Not on the list: sinks.
    "gpt-oss": Family(
        "GptOssConfig",
        "ragged",
        QV,
        True,
        {**GROUPED, **BOTH, "head_dim": 8, "sliding_window": WINDOW, "num_local_experts": 2, "num_experts_per_tok": 1},
    ),
}
SHARED = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}


def make(family: str, folder: Path, **changes: Any) -> Path:
    """A folder with a random model of the family and a byte-level tokenizer; the same at every call."""
    import transformers

    about = FAMILIES[family]
    tokenizer()(folder)
    settings = {
        "vocab_size": 256 + len(SPECIAL),
        "max_position_embeddings": POSITIONS,
        "initializer_range": 0.3,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
    }
    settings |= SHARED if about.shared else {}
    config = getattr(transformers, about.config)(**{**settings, **about.settings, **changes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        transformers.AutoModel.from_config(config).save_pretrained(folder)
    return folder


def tokenizer() -> Callable[[Path], Any]:
    """Writes a byte-level tokenizer without merges into a folder."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({piece: i for i, piece in enumerate([*SPECIAL, *alphabet])}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_input_names=["input_ids", "attention_mask"],
    )
    return fast.save_pretrained
