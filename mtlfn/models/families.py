"""What is known of families of backbones: which cannot be used and why, where LoRA goes, where positions begin.

Everything else is found out by looking at the model, and what is found is proven at load (models/proof.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Model types that the tests read, at many slots too, as stock transformers does: their proof can be short.
KNOWN = frozenset(
    {"bert", "biogpt", "deberta", "deberta-v2", "distilbert", "electra", "gemma", "gemma2", "gemma3_text", "gpt_neox"}
    | {"gpt_oss", "granite", "llama", "megatron-bert", "mistral", "modernbert", "mpnet", "olmo2", "opt", "phi", "phi3"}
    | {"qwen2", "qwen3", "roberta", "smollm3", "xlm-roberta"}
)
MOST_LAYERS = 1024  # of a real model; a configuration that asks for more is damaged, and building it would never end

# Model type -> why it cannot be used.
REFUSED = {
    "albert": "all of its layers are one set of weights, so that adapters could not differ from layer to layer",
    "fnet": "it mixes positions by a Fourier transform that takes padding for text",
    "led": "it attends in blocks of a fixed size and pads rows by itself",
    "longformer": "it attends in blocks of a fixed size and pads rows by itself",
    "big_bird": "it attends in blocks of a fixed size and pads rows by itself",
    "reformer": "it attends by hashing, so that what a row sees depends on random numbers",
    "mamba": "it is a state-space model: it has no attention whose projections could be adapted",
    "mamba2": "it is a state-space model: it has no attention whose projections could be adapted",
    "falcon_mamba": "it is a state-space model: it has no attention whose projections could be adapted",
    "rwkv": "it is a recurrent model: it has no attention whose projections could be adapted",
}
USABLE = "expected an encoder such as BERT or a decoder such as Llama"

# Families that count a row's positions from the padding index + 1.
_FROM_PADDING = frozenset(
    {"camembert", "data2vec-text", "esm", "ibert", "mpnet", "roberta", "roberta-prelayernorm"}
    | {"xlm-roberta", "xlm-roberta-xl", "xmod"}
)

# Names of the projections of queries and values, or of all three in one: where LoRA goes if PEFT has no default.
_PROJECTIONS = (
    ("q_proj", "v_proj"),
    ("query", "value"),
    ("query_proj", "value_proj"),
    ("q_lin", "v_lin"),
    ("q", "v"),
    ("Wqkv",),
    ("qkv_proj",),
    ("query_key_value",),
    ("in_proj",),
)


class BackboneError(ValueError):
    """A backbone that cannot be used; the message says which, why, and what to do."""


def first_line(error: Exception) -> str:
    """The beginning of what an error says, without what a terminal would obey: its first line, and what follows where
    that ends in a colon, as transformers' does that names a field of a configuration and then what is in it."""
    lines = (str(error).strip() or type(error).__name__).splitlines()
    text = " ".join(line.strip() for line in lines[: 2 if lines[0].endswith(":") else 1])
    return "".join(c if c.isprintable() else "?" for c in text)[:300]


def refusal(config: Any) -> str | None:
    """Why no model of this configuration can be used; None where nothing is known against it."""
    if reason := REFUSED.get(config.model_type):
        return reason
    if getattr(config, "is_encoder_decoder", False):
        return "it is an encoder-decoder"
    if config.model_type in _FROM_PADDING and not isinstance(config.pad_token_id, int):
        return "its configuration has no pad_token_id, from which it counts positions"
    depth = getattr(config, "num_hidden_layers", None)
    if depth is None:
        return "its configuration names no number of layers, as those of models of images and sound do"
    if not isinstance(depth, int) or not 1 <= depth <= MOST_LAYERS:
        return f"its configuration asks for {depth} layers, expected 1 to {MOST_LAYERS:,}"
    return None


def padding_position(config: Any) -> int | None:
    """The position of padding where a family counts its tokens from there on, passing over padding tokens."""
    if config.model_type not in _FROM_PADDING:
        return None
    return 1 if config.model_type == "mpnet" else config.pad_token_id  # MPNet's, whatever the configuration says


def first_position(config: Any) -> int:
    """The position of a row's first token: RoBERTa and its kin count from the padding index + 1."""
    padding = padding_position(config)
    return 0 if padding is None else padding + 1


def is_causal(config: Any) -> bool:
    """A decoder, one whose tokens see what lies before them alone: by architecture, or configured so.

    An architecture is a decoder's that is known for causal and not for masked language modelling; ``architectures``
    in the configuration would be simpler, but a GGUF file leaves it empty. Two-way decoders (``is_causal`` false, or
    ``use_bidirectional_attention``) are encoders.
    """
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    if getattr(config, "use_bidirectional_attention", False) or not getattr(config, "is_causal", True):
        return False
    kind = config.model_type
    only_causal = kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return only_causal or bool(getattr(config, "is_decoder", False))


def default_targets(model_type: str, linears: Sequence[str]) -> list[str] | None:
    """The linears that LoRA adapts by default: PEFT's choice, else the projections of queries and values.

    ``linears``: the names of all linears inside the layers. None where nothing fits.
    """
    from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as known

    ends = {name.rpartition(".")[2] for name in linears}
    for names in (tuple(known.get(model_type, ())), *_PROJECTIONS):
        if names and ends.issuperset(names):
            return list(names)
    return None
