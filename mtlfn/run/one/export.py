"""Exports: for each task a standard PEFT adapter folder, and beside it the head that reads its hidden states.

Gated and attention fusion (S3a) are no sum of two products, so PEFT's layers cannot hold them: then the folder has our
tensors in ``adapter.safetensors`` and says so in ``head.json``.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import attrs
from safetensors.torch import save

from mtlfn.core.state import Tree
from mtlfn.data.task import Task
from mtlfn.models import cross_attention, lora
from mtlfn.models.model import Model
from mtlfn.run.disk import write_file


def export(
    model: Model, params: Tree, folder: Path, max_length: int, usual: Mapping[str, str | None], tokenizer: str
) -> None:
    """Writes ``folder/<task>/``: PEFT's ``adapter_config.json`` and ``adapter_model.safetensors``, our ``head.*``, what
    predictions take (``predict.json``) and a card. The same parameters give the same bytes.

    Args:
        max_length: of a sequence, in tokens.
        usual: task -> the class of a text without a token (``evaluate.usual_class``).
        tokenizer: digest of the tokenizer.
    """
    standard = model.strategy.fusion == "sum"
    for task in model.tasks:
        target = folder / task.name
        scratch = folder / f"{task.name}.tmp-{os.getpid()}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            weights = lora.export_weights(model.linears, model.strategy, task, model.read_out, params)
            if standard:
                write_json(scratch / "adapter_config.json", lora.export_config(model.adapted, model.backbone))
                names = {name.replace(f".{lora.ADAPTER}.weight", ".weight"): value for name, value in weights.items()}
                write_file(scratch / "adapter_model.safetensors", save(names, metadata={"format": "pt"}))
            else:
                write_file(scratch / "adapter.safetensors", save(dict(weights)))
            tensors = {name: value.cpu().contiguous() for name, value in params[f"head/{task.name}"].items()}
            if task.level == 2 and cross_attention.SLOT in params:
                crossing = params[cross_attention.SLOT]
                tensors |= {f"{cross_attention.SLOT}.{name}": v.cpu().contiguous() for name, v in crossing.items()}
            write_file(scratch / "head.safetensors", save(tensors))
            about = {"task": attrs.asdict(task), "strategy": model.strategy.name, "reads_layer": _reads(model, task)}
            about |= {"read_out_layer": model.read_out, "backbone_digest": model.backbone.digest}
            about |= {"backbone_hub_id": model.backbone.hub_id, "backbone_revision": model.backbone.revision}
            about |= {"fusion": model.strategy.fusion, "peft": standard}
            write_json(scratch / "head.json", about)
            write_json(scratch / "predict.json", _use(model, max_length, usual[task.name], tokenizer))
            write_file(scratch / "README.md", card(model, task).encode())
            shutil.rmtree(target, ignore_errors=True)
            os.rename(scratch, target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _use(model: Model, max_length: int, usual: str | None, tokenizer: str) -> dict[str, Any]:
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
    }


def write_json(path: Path, document: dict) -> None:
    write_file(path, (json.dumps(document, indent=1) + "\n").encode())


def _reads(model: Model, task: Task) -> int:
    """The layer, counted from 1, whose hidden states the task's head reads."""
    return model.read_out if model.strategy.hierarchical and task.level == 1 else len(model.backbone.layers)


def card(model: Model, task: Task) -> str:
    """The README.md of an export: which base it belongs to, how it is loaded, and where it does not work."""
    base, depth = model.backbone, len(model.backbone.layers)
    at = f", revision {base.revision}" if base.revision else ""
    where = f"[{base.hub_id}](https://huggingface.co/{base.hub_id}){at}" if base.hub_id else "a local folder or file"
    # The weights of many models are stored in half precision, in which transformers would compute.
    options = f', revision="{base.revision}"' if base.hub_id and base.revision else ""
    options += f', gguf_file="{Path(base.name).name}"' if Path(base.name).suffix == ".gguf" else ""
    options += ", dtype=torch.float32"
    layer, crosses = _reads(model, task), model.strategy.hierarchical and task.level == 2
    if crosses:
        reads = (
            "`last_hidden_state` and, through the cross-level attention in the same file, "
            f"`hidden_states[{model.read_out}]`, which is first normalised to mean 0 and variance 1 over each token"
        )
    else:
        hidden = "last_hidden_state" if layer == depth else f"hidden_states[{layer}]"
        reads = f"`{hidden}`, normalised to mean 0 and variance 1 over each token"
    return (CARD if model.strategy.fusion == "sum" else FUSED_CARD).substitute(
        front=f"base_model: {base.hub_id}\n" if base.hub_id else "",
        task=task.name,
        kind=task.kind,
        strategy=model.strategy.name,
        fusion=model.strategy.fusion,
        where=where,
        family=base.model.config.model_type,
        digest=base.digest,
        source=base.hub_id or "FOLDER",
        options=options,
        reads=reads,
        auto=" (`AutoPeftModelForFeatureExtraction` takes the right one.)" if base.hub_id else "",
    )


HEAD = """---
${front}library_name: peft
tags:
- lora
- mtlfn
---
# Adapter for ${task} (${kind})

Made by mtlfn with strategy ${strategy}. It belongs to one base model, ${where}, of the family ${family}. The SHA-256 of
that model's weights, over names, types, shapes and bytes, is

    ${digest}

On other weights it gives other numbers; `mtlfn.models.backbone.load(NAME).digest` says what a model's is.
"""
CARD = Template(
    HEAD
    + """
## Loading

```python
import torch
from peft import PeftModel
from transformers import AutoModel

base = AutoModel.from_pretrained("${source}"${options})
model = PeftModel.from_pretrained(base, ".").eval()  # "." is this folder
```

Load it onto `AutoModel`, the model without a head. On another class the names of the weights do not match: PEFT then
warns of missing adapter keys, and the adapter does nothing.${auto}

The head is not part of the PEFT adapter. Its tensors are in `head.safetensors`, what they are in `head.json`. It reads
${reads}.
"""
)
FUSED_CARD = Template(
    HEAD
    + """
The two adapters of this strategy are joined by ${fusion} fusion, which is no sum of products, so PEFT cannot hold them:
`adapter.safetensors` has the tensors as mtlfn names them. The head's are in `head.safetensors`, what they are in
`head.json`; it reads ${reads}.
"""
)
