"""The card of an export, its README.md: what it is for, what it was trained on and scored with, how it is loaded.

A function of the run alone, so that it is made again to the byte: no path, no time, no machine. A verdict comes later,
of several runs: the card says where it stands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from string import Template

from attrs import frozen

from mtlfn.data.task import Task
from mtlfn.models.model import Model

LISTED = 40  # labels that are named
SELECTED = {"last": "last state", "best": "best state on dev"}  # ``select`` -> what of a run is exported
PIPELINES = {  # kind -> what the Hub calls it
    "tagging": "token-classification",
    "spans": "token-classification",
    "ranking": "text-ranking",
    "graded": "text-ranking",
}
CALLS = {  # kind -> rows that a model of it is called with
    "relation": '[{"text": "Aspirin eased pain.", "head": [0, 7], "tail": [14, 18]}]',
    "ranking": '[{"query": "What eases pain?", "candidates": ["Aspirin does.", "Rain does not."]}]',
    "graded": '[{"query": "What eases pain?", "candidates": ["Aspirin does.", "Rain does not."]}]',
}
ONE_TEXT = '["Aspirin eased pain."]'
TWO_TEXTS = '[{"text": "Aspirin eased pain.", "text_pair": "Pain went away."}]'


@frozen(kw_only=True)
class Facts:
    """What a run says of a task.

    Attributes:
        terms: of its data, as their source states them; "" where they are not known.
        examples: split -> how many; digest: of the tokenised training split.
        dev, test: value of the primary metric; None where there is no such split.
        baselines: of predictions that read nothing, on dev.
        tokens, total: input tokens of this task, and of all that were trained together.
        tasks: all of them. seed: of the run. steps, state: of the state that is exported. select: which state that is,
            as in ``Config``. control: what the run is a control of, "" where of nothing.
    """

    terms: str
    examples: Mapping[str, int]
    digest: str
    dev: float | None
    test: float | None
    baselines: Mapping[str, float]
    tokens: int
    total: int
    tasks: tuple[str, ...]
    seed: int
    steps: int
    state: str
    select: str
    control: str


def card(model: Model, task: Task, layer: int, max_length: int, facts: Facts | None, paired: bool) -> str:
    """The text. ``layer``: whose hidden states the head reads; ``paired``: whether it was trained on pairs of texts."""
    base, depth = model.backbone, len(model.backbone.layers)
    at = f", revision {base.revision}" if base.revision else ""
    where = f"[{base.hub_id}](https://huggingface.co/{base.hub_id}){at}" if base.hub_id else "a local folder or file"
    # The weights of many models are stored in half precision, in which transformers would compute.
    options = f', revision="{base.revision}"' if base.hub_id and base.revision else ""
    options += f', gguf_file="{Path(base.name).name}"' if Path(base.name).suffix == ".gguf" else ""
    options += ", dtype=torch.float32"
    crosses = model.strategy.hierarchical and task.level == 2
    if crosses:
        reads = (
            "`last_hidden_state` and, through the cross-level attention in the same file, "
            f"`hidden_states[{model.read_out}]`, which is first normalised to mean 0 and variance 1 over each token"
        )
    else:
        hidden = "last_hidden_state" if layer == depth else f"hidden_states[{layer}]"
        reads = f"`{hidden}`, normalised to mean 0 and variance 1 over each token"
    return (CARD if model.strategy.fusion == "sum" else FUSED_CARD).substitute(
        front=(f"base_model: {base.hub_id}\n" if base.hub_id else "") + _front(task, facts),
        task=task.name,
        kind=task.kind,
        says=_says(task),
        scores="" if facts is None else _scores(task, facts),
        training="" if facts is None else _training(facts),
        limits=_limits(task, max_length),
        strategy=model.strategy.name,
        fusion=model.strategy.fusion,
        where=where,
        family=base.model.config.model_type,
        digest=base.digest,
        source=base.hub_id or "FOLDER",
        named="" if base.hub_id else ', backbone="FOLDER"',
        rows=CALLS.get(task.kind, TWO_TEXTS if paired else ONE_TEXT),
        options=options,
        reads=reads,
        auto=" (`AutoPeftModelForFeatureExtraction` takes the right one.)" if base.hub_id else "",
    )


def _front(task: Task, facts: Facts | None) -> str:
    """What the Hub reads: the kind of model, and its scores."""
    pipeline = PIPELINES.get(task.kind, "text-classification")
    lines = [f"pipeline_tag: {pipeline}"]
    values = [] if facts is None else [(split, getattr(facts, split)) for split in ("dev", "test")]
    if values := [(split, value) for split, value in values if value is not None and math.isfinite(value)]:
        lines += ["model-index:", f"- name: {task.name}", "  results:"]
        for split, value in values:
            lines += [
                f"  - task: {{type: {pipeline}}}",
                f'    dataset: {{name: "{task.name}", type: "{task.name}", split: {split}}}',
                f"    metrics: [{{type: {task.metric}, value: {value!r}}}]",
            ]
    return "\n".join(lines) + "\n"


def _says(task: Task) -> str:
    shown = ", ".join(f"`{label}`" for label in task.labels[:LISTED])
    more = len(task.labels) - LISTED
    labels = f" Labels: {shown}{f' and {more} more' if more > 0 else ''}." if task.labels else ""
    return labels + (f" `{task.negative}` says that there is no relation." if task.negative else "")


def _scores(task: Task, facts: Facts) -> str:
    rows = "".join(f"| {split} | {_shown(value)} |\n" for split, value in (("dev", facts.dev), ("test", facts.test)))
    trivial = ", ".join(f"{name} {_shown(value)}" for name, value in facts.baselines.items())
    beside = f"\nPredictions that read nothing, on dev: {trivial}.\n" if trivial else ""
    control = f" It is a control: {facts.control}." if facts.control else ""
    return (
        f"\n## Scores\n\n| split | {task.metric} |\n| --- | --- |\n{rows}{beside}\n"
        f"One seed ({facts.seed}), from its {SELECTED[facts.select]}.{control} Whether training on several tasks "
        "helped is no question that one run\nanswers: a verdict is a study's, and stands in its `verdict.json` and "
        "report.\n"
    )


def _training(facts: Facts) -> str:
    sizes = ", ".join(f"{count:,} {split}" for split, count in facts.examples.items())
    together = f", of {facts.total:,} on {', '.join(facts.tasks)} together" if len(facts.tasks) > 1 else ""
    return (
        f"\n## Training data\n\n{facts.terms or 'Their terms are not known here: look at their source'}.\n\n"
        f"Examples: {sizes}. Trained on {facts.tokens:,} input tokens of this task{together}, in {facts.steps:,} "
        "steps.\n"
        f"SHA-256 of the tokenised training split: `{facts.digest}`; of the {SELECTED[facts.select]} of the run: "
        f"`{facts.state}`.\n"
    )


def _limits(task: Task, max_length: int) -> str:
    long = {
        "spans": "Longer texts are read in windows; no mention crosses one.",
        "relation": "Of longer texts a stretch around both mentions is read.",
        "tagging": "Words behind that get the tag O.",
    }.get(task.kind, "What is behind that is not read.")
    return (
        f"Sequences have at most {max_length} tokens. {long} Texts unlike those of training, in genre or language, "
        "are\nnot what the scores speak of. A research artefact, not a medical device: no decision about a patient may "
        "rest on it.\n"
    )


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


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

On other weights it gives other numbers; `mtlfn.models.backbone.load(NAME).digest` says what a model's is.${says}
${scores}${training}"""
USE = """
## Use

```python
import mtlfn

model = mtlfn.load("."${named})  # "." is this folder; another base than the one above is refused
print(model(${rows}))
```

`mtlfn predict . --input FILE` predicts on files.
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
    + USE
    + """
## Limits

${limits}"""
)
FUSED_CARD = Template(
    HEAD
    + """
The two adapters of this strategy are joined by ${fusion} fusion, which is no sum of products, so PEFT cannot hold them:
`adapter.safetensors` has the tensors as mtlfn names them. The head's are in `head.safetensors`, what they are in
`head.json`; it reads ${reads}.
"""
    + USE
    + """
## Limits

${limits}"""
)
