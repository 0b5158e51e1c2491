"""Where and on what a benchmark computes: device, backbone, precision; and clocks that know a GPU.

Backbones other than MiniLM have random weights, which a step takes as long for. A GPU is timed with events of its
stream: what lies between two of them is the time that the caller waits, launches included.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from attrs import frozen

from mtlfn.models import attention, backbone
from mtlfn.models.backbone import Backbone, assemble
from mtlfn.run.one.prepare import resolve_device

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
VOCABULARY = 30_522  # of BERT; embeddings take no part in the cost of a step
BERTS = {  # hidden size, layers, heads, size in the middle
    "bert-tiny": (64, 2, 2, 128),
    "bert-base": (768, 12, 12, 3072),
}
LLAMAS = {  # hidden size, layers, heads, heads of keys and values, size in the middle
    "llama-tiny": (64, 2, 4, 2, 128),
    "llama-1b": (2048, 16, 32, 8, 8192),
    "llama-7b": (4096, 32, 32, 32, 11008),
}
CPU = torch.device("cpu")
MINILM = os.environ.get("MTLFN_MINILM", "minilm")  # a folder, where its package is not installed
RANDOM = (*BERTS, *LLAMAS)
MODELS = ("minilm", *RANDOM)


@frozen
class Setup:
    """Device, backbone ("minilm" or a random one of ``MODELS``), precision, and whether activations are recomputed.

    ``layers``: of a random one; None for all.
    """

    device: torch.device = CPU
    model: str = "minilm"
    precision: str = "fp32"
    checkpointing: bool = False
    layers: int | None = None

    @property
    def dtype(self) -> torch.dtype:
        return DTYPES[self.precision]

    @property
    def told(self) -> str:
        """In words."""
        name = "MiniLM" if self.model == "minilm" else f"random {self.model}"
        return f"{name}, {self.precision}{', recomputed' * self.checkpointing}, {self.device}"


HERE = Setup()


def options(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Adds the flags that a ``Setup`` is read from."""
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--model", choices=MODELS, default="minilm")
    parser.add_argument("--precision", choices=DTYPES, default="fp32")
    parser.add_argument("--checkpointing", action="store_true", help="activations are recomputed")
    return parser


def setup(arguments: argparse.Namespace) -> Setup:
    """What the flags ask for; SystemExit where there is no such device."""
    return Setup(device_of(arguments.device), arguments.model, arguments.precision, arguments.checkpointing)


def device_of(name: str) -> torch.device:
    """The device; SystemExit where there is none."""
    try:
        return resolve_device(name)
    except ValueError as error:
        raise SystemExit(str(error)) from None


def sizes(name: str) -> tuple[int, int]:
    """Hidden size and layers of a random backbone."""
    hidden, layers, *_ = BERTS.get(name) or LLAMAS[name]
    return hidden, layers


def base(name: str, few: int | None = None) -> Backbone:
    """A backbone, the same at every call, on the CPU; ``few``: layers of a random one, if not all."""
    if name == "minilm":
        return backbone.load(MINILM)
    from transformers.initialization import no_init_weights

    attention.register()
    hidden, layers, *rest = BERTS.get(name) or LLAMAS[name]
    with no_init_weights():
        made = (_bert if name in BERTS else _llama)(hidden, few or layers, *rest)
    _fill(made)
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if name in BERTS else [])]
    tokenizer: Any = SimpleNamespace(is_fast=True, model_input_names=names, pad_token_id=0)
    return assemble(made, tokenizer, name)


def _fill(made: torch.nn.Module) -> None:
    """Random weights of the usual size, the same million again and again: a model of 7 B has them in seconds."""
    drawn = torch.from_numpy(np.random.Generator(np.random.Philox(0)).standard_normal(10**6, dtype=np.float32)) * 0.02
    for name, weight in made.named_parameters():
        flat = weight.data.view(-1)
        if weight.ndim > 1:
            for start in range(0, len(flat), len(drawn)):
                part = flat[start : start + len(drawn)]
                part.copy_(drawn[: len(part)])
        else:
            flat.fill_(float(name.endswith("weight")))  # gains of norms; biases are zero


def saved(name: str, folder: Path) -> str:
    """What ``--backbone`` takes for a backbone: a random one is saved in a folder, with MiniLM's tokenizer."""
    if name == "minilm":
        return MINILM
    if not (folder / name / "tokenizer.json").exists():
        backbone.load(MINILM).tokenizer.save_pretrained(folder / name)
        base(name).model.save_pretrained(folder / name)
    return str(folder / name)


def _bert(hidden: int, layers: int, heads: int, middle: int) -> Any:
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads}
    config = BertConfig(vocab_size=VOCABULARY, intermediate_size=middle, **sizes)
    return BertModel(config, add_pooling_layer=False)


def _llama(hidden: int, layers: int, heads: int, keys: int, middle: int) -> Any:
    from transformers import LlamaConfig, LlamaModel

    sizes = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads}
    return LlamaModel(LlamaConfig(vocab_size=VOCABULARY, intermediate_size=middle, num_key_value_heads=keys, **sizes))


clock: Callable[[], float] = time.perf_counter  # of the CPU


def seconds(call: Callable[[], object], device: torch.device) -> float:
    """How long a call takes: to its end on the device, not to its last launch."""
    if device.type != "cuda":
        began = clock()
        call()
        return clock() - began
    torch.cuda.synchronize(device)
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    before.record()
    call()
    after.record()
    torch.cuda.synchronize(device)
    return before.elapsed_time(after) / 1e3


def machine(device: torch.device) -> dict[str, Any]:
    """What computes."""
    if device.type != "cuda":
        return {"processor": platform.processor() or platform.machine()}
    about = torch.cuda.get_device_properties(device)
    return {
        "gpu": about.name,
        "memory (GB)": round(about.total_memory / 2**30),
        "cuda": torch.version.cuda,
        "tf32": torch.backends.cuda.matmul.allow_tf32,
    }
