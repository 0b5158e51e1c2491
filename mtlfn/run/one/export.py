"""Exports: for each task a standard PEFT adapter folder, and beside it the head that reads its hidden states.

Gated and attention fusion (S3a) are no sum of two products, so PEFT's layers cannot hold them: then the folder has our
tensors in ``adapter.safetensors`` and says so in ``head.json``.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import attrs
from safetensors.torch import save

from mtlfn.core.state import Tree
from mtlfn.data.task import Task
from mtlfn.models import cross_attention, lora
from mtlfn.models.model import Model
from mtlfn.run.disk import TEMPORARY, write_file
from mtlfn.run.one.card import Facts, card

HEAD, TENSORS, USE, CARD = "head.json", "head.safetensors", "predict.json", "README.md"
PEFT_SETTINGS, PEFT_ADAPTER, OWN_ADAPTER = "adapter_config.json", "adapter_model.safetensors", "adapter.safetensors"
# What an export consists of; another file in its folder is somebody's own.
FILES = (CARD, PEFT_SETTINGS, PEFT_ADAPTER, OWN_ADAPTER, HEAD, TENSORS, USE)


def export(
    model: Model,
    params: Tree,
    folder: Path,
    max_length: int,
    usual: Mapping[str, str | None],
    tokenizer: str,
    facts: Mapping[str, Facts] | None = None,
    paired: Collection[str] = (),
) -> None:
    """Writes ``folder/<task>/``: PEFT's ``adapter_config.json`` and ``adapter_model.safetensors``, our ``head.*``, what
    predictions take (``predict.json``) and a card. The same parameters give the same bytes.

    Args:
        max_length: of a sequence, in tokens.
        usual: task -> the class of a text without a token (``evaluate.usual_class``).
        tokenizer: digest of the tokenizer.
        facts: task -> what the run says of it, for the card.
        paired: tasks all of whose texts stand beside a second one (``evaluate.paired``).
    """
    for task in model.tasks:
        target = folder / task.name
        scratch = folder / f"{task.name}{TEMPORARY}{os.getpid()}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            _write_adapter(model, task, params, scratch)
            _write_head(model, task, params, scratch)
            own, pairs = (facts or {}).get(task.name), task.name in paired
            write_json(scratch / USE, _use(model, max_length, usual[task.name], tokenizer, pairs))
            written = card(model, task, reads_layer(model, task), max_length, own, pairs)
            write_file(scratch / CARD, written.encode())
            shutil.rmtree(target, ignore_errors=True)
            os.rename(scratch, target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _write_adapter(model: Model, task: Task, params: Tree, folder: Path) -> None:
    """The task's adapter, in the form of PEFT where PEFT has one for it."""
    weights = lora.export_weights(model.linears, model.strategy, task, model.read_out, params)
    if model.strategy.fusion != "sum":
        write_file(folder / OWN_ADAPTER, save(dict(weights)))
        return
    write_json(folder / PEFT_SETTINGS, lora.export_config(model.adapted, model.backbone))
    names = {name.replace(f".{lora.ADAPTER}.weight", ".weight"): value for name, value in weights.items()}
    write_file(folder / PEFT_ADAPTER, save(names, metadata={"format": "pt"}))


def _write_head(model: Model, task: Task, params: Tree, folder: Path) -> None:
    """The task's head and cross-attention, and what they are of."""
    tensors = {name: value.cpu().contiguous() for name, value in params[f"head/{task.name}"].items()}
    if task.level == 2 and cross_attention.SLOT in params:
        crossing = params[cross_attention.SLOT]
        tensors |= {f"{cross_attention.SLOT}.{name}": v.cpu().contiguous() for name, v in crossing.items()}
    write_file(folder / TENSORS, save(tensors))
    about = {
        "task": attrs.asdict(task),
        "strategy": model.strategy.name,
        "reads_layer": reads_layer(model, task),
        "read_out_layer": model.read_out,
        "backbone_digest": model.backbone.digest,
        "backbone_hub_id": model.backbone.hub_id,
        "backbone_revision": model.backbone.revision,
        "fusion": model.strategy.fusion,
        "peft": model.strategy.fusion == "sum",
    }
    write_json(folder / HEAD, about)


def _use(model: Model, max_length: int, usual: str | None, tokenizer: str, paired: bool) -> dict[str, Any]:
    """What a prediction takes beside the tensors and ``head.json``."""
    config = model.adapted.peft_config[lora.ADAPTER]
    return {
        "hierarchical": model.strategy.hierarchical,
        "lora_alpha_ratio": config.lora_alpha / config.r,
        "linears": [linear.name for linear in model.linears],
        "precision": str(model.precision).removeprefix("torch."),
        "max_length": max_length,
        "tokenizer_digest": tokenizer,
        "usual_class": usual,
        **({"paired": True} if paired else {}),
        **({"unpad": True} if model.unpad else {}),
    }


def write_json(path: Path, document: dict) -> None:
    write_file(path, (json.dumps(document, indent=1) + "\n").encode())


def reads_layer(model: Model, task: Task) -> int:
    """The layer, counted from 1, whose hidden states the task's head reads."""
    return model.read_out if model.strategy.hierarchical and task.level == 1 else len(model.backbone.layers)
