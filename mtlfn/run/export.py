"""Exports: for each task a standard PEFT adapter folder, and beside it the head that reads its hidden states.

Gated and attention fusion (S3a) are no sum of two products, so PEFT's layers cannot hold them: then the folder has our
tensors in ``adapter.safetensors`` and says so in ``head.json``.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import attrs
from safetensors.torch import save

from mtlfn.core.state import Tree
from mtlfn.models import cross_attention, lora
from mtlfn.models.model import Model
from mtlfn.run.disk import write_file


def export(model: Model, params: Tree, folder: Path) -> None:
    """Writes ``folder/<task>/``: PEFT's ``adapter_config.json`` and ``adapter_model.safetensors``, our ``head.*``."""
    for task in model.tasks:
        target = folder / task.name
        scratch = folder / f"{task.name}.tmp-{os.getpid()}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            weights = lora.export_weights(model.linears, model.strategy, task, model.read_out, params)
            if model.strategy.fusion == "sum":
                # No embedding is adapted; PEFT would ask the Hub about the vocabulary to find that out.
                model.adapted.save_pretrained(str(scratch), state_dict=dict(weights), save_embedding_layers=False)
            else:
                write_file(scratch / "adapter.safetensors", save(dict(weights)))
            tensors = {name: value.cpu().contiguous() for name, value in params[f"head/{task.name}"].items()}
            if task.level == 2 and cross_attention.SLOT in params:
                crossing = params[cross_attention.SLOT]
                tensors |= {f"{cross_attention.SLOT}.{name}": v.cpu().contiguous() for name, v in crossing.items()}
            write_file(scratch / "head.safetensors", save(tensors))
            reads = model.read_out if model.strategy.hierarchical and task.level == 1 else len(model.backbone.layers)
            about = {"task": attrs.asdict(task), "strategy": model.strategy.name, "reads_layer": reads}
            about |= {"read_out_layer": model.read_out, "backbone_digest": model.backbone.digest}
            about |= {"fusion": model.strategy.fusion, "peft": model.strategy.fusion == "sum"}
            write_file(scratch / "head.json", json.dumps(about, indent=1).encode())
            shutil.rmtree(target, ignore_errors=True)
            os.rename(scratch, target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
