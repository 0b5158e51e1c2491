"""Training speed against a Hugging Face Trainer loop: input tokens a second on one task, and S3b beside its plain sum.

Both sides have the same backbone, data, labels and loss, a LoRA adapter of rank 24 on the same linears with the same
factor and dropout, no other dropout, AdamW, plain gradients and no clipping, and as many *input tokens* (attention
mask 1) a step on average: the Trainer's batch size is our mean micro-batch, in examples. Ours is the S1 strategy with
its stream; the Trainer gets PEFT's layers, transformers' sdpa attention, the examples as ready lists in memory, and

    trainer             random order, each batch padded to its longest (`DataCollatorForTokenClassification` for tags,
                        for other kinds our own collate function, which fills the same rectangle)
    trainer, grouped    the same with `train_sampling_strategy="group_by_length"`

without logging, saving, evaluation, reports and the filter for NaN losses. Its clock runs from the begin of its first
step to the end of its last, so that neither its set-up nor the sorting by length counts; 50 steps a round are one of
its sorted blocks. Ours runs around stream and step. Before anything is timed, the gradients of one padded batch are
compared, dropout off and in float32; with `--precision` both sides are then timed in another one, the Trainer with its
own `bf16=True` or `fp16=True`.

    python scripts/bench_trainer.py [--task NAME] [--data-dir DATA] [--rounds 7] [--steps 50] [--json FILE]
                                    [--device cuda] [--model bert-base] [--precision bf16]
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import bench_parts as parts
import bench_setup
import numpy as np
import torch
import torch.nn.functional as F
from attrs import frozen
from bench_setup import Setup, setup
from torch import Tensor, nn
from transformers import (
    DataCollatorForTokenClassification,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from mtlfn.core import gradients
from mtlfn.core.batch import Batch, MicroBatch
from mtlfn.core.state import State
from mtlfn.data.kinds.kind import IGNORED
from mtlfn.data.task import Task
from mtlfn.data.tokens import stream
from mtlfn.data.tokens.collate import Inputs, collate
from mtlfn.data.tokens.store import Corpus
from mtlfn.models import backbone, heads, lora, model
from mtlfn.run.config import Config, default_cache
from mtlfn.run.machine import memory
from mtlfn.run.one.prepare import Prepared, prepare

ENDLESS = 10**9  # a budget that no benchmark meets
REAL = "bc5cdr_disease,ddi,hoc,pubmedqa"


@frozen
class Stretch:
    """What a candidate did in a round: input tokens, computed slots, seconds."""

    tokens: int
    slots: int
    seconds: float


class Network(nn.Module):
    """One task the way the Trainer wants it: tensors of a batch in, a dictionary with the mean loss out."""

    def __init__(self, prepared: Prepared) -> None:
        super().__init__()
        built, (self.task,) = prepared.model, prepared.tasks
        base, self.tokenizer = backbone.load(prepared.config.backbone), built.backbone.tokenizer
        settings = lora.LoraSettings(alpha_ratio=prepared.config.lora_alpha_ratio, dropout=prepared.config.lora_dropout)
        self.adapted = parts.plain_adapter(base, lora.rank_of(built.strategy), settings, "sdpa")
        names = heads.init(self.task, base.width, "00")
        self.head = nn.ParameterDict({name.replace(".", "_"): nn.Parameter(value) for name, value in names.items()})
        self.adapter = parts.adapter_parameters(self.adapted, built.linears)
        self.class_weights = built.class_weights[self.task.name]
        self.causal, self.tokens, self.slots = base.causal, 0, 0

    def own_head(self) -> dict[str, nn.Parameter]:
        """The head's parameters under the names of our state."""
        return {name: self.head[name.replace(".", "_")] for name in heads.init(self.task, 1, "00")}

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor,
        labels: Tensor | None = None,
        read: MicroBatch | None = None,
    ) -> dict[str, Tensor]:
        """``labels``: of tagging; ``read``: for other kinds our batch, which heads want on the CPU."""
        self.tokens, self.slots = self.tokens + attention_mask.sum(), self.slots + attention_mask.numel()
        hidden = self.adapted(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state
        if read is None:
            assert labels is not None, "of tagging, whose head reads nothing else"
            inputs, count = Inputs(input_ids, token_type_ids, input_ids, input_ids, labels), (labels != IGNORED).sum()
        else:
            inputs, count = read.inputs, read.tokens.loss
        features = F.layer_norm(hidden, hidden.shape[-1:])
        logits = heads.logits(self.task, self.own_head(), features, inputs, self.causal)
        total = heads.loss_sum(self.task, logits, inputs, self.class_weights)
        return {"loss": total / count, "logits": logits}


def rows_of(corpus: Corpus) -> list[dict[str, Any]]:
    """The examples as ready lists; of an example of several sequences the ids of its longest, by which it is sorted."""
    out = []
    for e in range(len(corpus)):
        at = [slice(int(corpus.starts[s]), int(corpus.starts[s + 1])) for s in corpus.sequences(e)]
        longest = max(at, key=lambda part: part.stop - part.start)
        ids, row = corpus.ids[longest].tolist(), {"example": e}
        if corpus.task.kind == "tagging":
            words, tags = corpus.marks[longest], corpus.label(e)
            labels = np.where(words >= 0, tags[np.maximum(words, 0)], IGNORED).tolist()
            row = {"token_type_ids": corpus.types[longest].tolist(), "attention_mask": [1] * len(ids), "labels": labels}
        out.append({"input_ids": ids, **row})
    return out


def collator(task: Task, corpus: Corpus, tokenizer: Any) -> Callable[[Sequence[dict[str, Any]]], dict[str, Any]]:
    """Pads a batch to its longest sequence: the stock one for tags, and for kinds that it does not know our own."""
    if task.kind == "tagging":
        return DataCollatorForTokenClassification(tokenizer)

    def padded(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        made = collate(corpus, [row["example"] for row in rows])
        read = made.inputs
        return {
            "input_ids": read.input_ids,
            "token_type_ids": read.token_types,
            "attention_mask": (torch.arange(read.input_ids.shape[1]) < read.lengths[:, None]).long(),
            "read": made,
        }

    return padded


def finish(device: torch.device) -> None:
    """Waits until a GPU has computed what was launched on it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Clock(TrainerCallback):
    """Seconds from the begin of the first step to the end of the last of so many, as computed."""

    def __init__(self, steps: int, device: torch.device) -> None:
        self.began, self.ended, self.left, self.device = None, 0.0, steps, device

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.began = self.began or time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.left -= 1
        if not self.left:
            finish(self.device)
        self.ended = time.perf_counter()


def trainer_loop(
    net: Network, rows: list[dict[str, Any]], pad: Callable, size: int, steps: int, order: str, rate: float, on: Setup
) -> Callable[[int], Stretch]:
    """A Trainer run of so many steps in the given order; another seed in every round."""
    there = on.device.type == "cuda"

    def run(seed: int) -> Stretch:
        clock, net.tokens, net.slots = Clock(steps, on.device), 0, 0
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                max_steps=steps,
                per_device_train_batch_size=size,
                train_sampling_strategy=order,
                learning_rate=rate,
                weight_decay=0.01,
                max_grad_norm=0.0,
                seed=seed,
                data_seed=seed,
                use_cpu=not there,
                bf16=on.precision == "bf16",
                fp16=on.precision == "fp16",
                logging_strategy="no",
                save_strategy="no",
                eval_strategy="no",
                report_to="none",
                disable_tqdm=True,
                logging_nan_inf_filter=False,
                remove_unused_columns=False,
                dataloader_pin_memory=there,
            )
            trainer = Trainer(net, arguments, train_dataset=rows, data_collator=pad, callbacks=[clock])
            trainer.remove_callback(PrinterCallback)
            trainer.train()
        return Stretch(int(net.tokens), net.slots, clock.ended - clock.began)

    return run


def our_loop(prepared: Prepared, start: State, steps: int) -> Callable[[int], Stretch]:
    """So many steps of our walk; every round goes on where the one before ended."""
    current = start

    def run(_: int) -> Stretch:
        nonlocal current
        before, began = current, time.perf_counter()
        with memory.uncollected():  # as in a run
            for _ in range(steps):
                current = prepared.step(current, prepared.stream(current))
        finish(prepared.model.device)
        seconds = time.perf_counter() - began
        tokens, slots = (
            sum(getattr(count, unit) for count in current.tokens.values())
            - sum(getattr(count, unit) for count in before.tokens.values())
            for unit in ("input", "padded")
        )
        return Stretch(tokens, slots, seconds)

    return run


def settings(arguments: Any, tasks: str, precision: str = "fp32", **changes: Any) -> Config:
    """The configuration of our side."""
    return Config(
        tasks=tasks,
        data_dir=arguments.data_dir,
        cache_dir=arguments.cache_dir,
        budget_tokens=ENDLESS,
        schedule_tokens=ENDLESS,
        warmup_ratio=0.0,
        micro_batch_tokens=arguments.micro_batch_tokens,
        backbone=arguments.backbone,
        device=arguments.device,
        precision=precision,
        **changes,
    )


def past_start(prepared: Prepared) -> State:
    """Two steps old: at the start every B is zero."""
    current = prepared.start()
    for _ in range(2):
        current = prepared.step(current, prepared.stream(current))
    return current


def check(prepared: Prepared, current: State, net: Network, batch: Mapping[str, Any], examples: Sequence[int]) -> float:
    """The largest relative error of a gradient on one batch, dropout off; Mismatch where it is not ours."""
    (task,), built, key = prepared.tasks, prepared.model, current.key
    parts.copy_into(net.adapter, parts.together(built, task, current.params))
    parts.copy_into(net.own_head(), current.params[f"head/{task.name}"])
    made = collate(prepared.train[task.name], examples)
    found = gradients.merged(
        lambda params, held, _: model.losses(built, params, held, None),
        current.params,
        built.reach,
        Batch((made,), current.cursors),
        key,
        {task.name: 1.0},
    ).rows
    ours = {name: rows[0] for name, rows in parts.together(built, task, found).items()}
    ours |= {f"head/{name}": rows[0] for name, rows in found[f"head/{task.name}"].items()}
    net.eval()
    there = {name: value.to(built.device) if isinstance(value, Tensor) else value for name, value in batch.items()}
    net(**there)["loss"].backward()
    theirs = {name: p.grad.clone() for name, p in net.adapter.items()}
    theirs |= {f"head/{name}": p.grad.clone() for name, p in net.own_head().items()}
    net.zero_grad()
    net.train()
    return max(parts.check_equal("gradient of the Trainer's model", ours, theirs).values())


def batch_size(prepared: Prepared) -> int:
    """The mean micro-batch of our stream, in examples."""
    (task,), config = prepared.tasks, prepared.config
    sizes = stream.example_sizes(prepared.train[task.name])
    window = stream.StreamConfig(budget_tokens=ENDLESS, micro_batch_tokens=config.micro_batch_tokens).window
    planned = stream.plan(*sizes, prepared.start().key, task.name, 0, window, config.micro_batch_tokens)
    return max(1, round(len(sizes[0]) / len(planned)))


def candidates(arguments: Any) -> tuple[dict[str, Callable[[int], Stretch]], dict[str, Any]]:
    """Everything that takes turns, and what was found out on the way there."""
    on, prepared = setup(arguments), prepare("s1", settings(arguments, arguments.task))
    (task,), start = prepared.tasks, past_start(prepared)
    corpus, net, size = prepared.train[task.name], Network(prepared).to(on.device), batch_size(prepared)
    rows, pad = rows_of(corpus), collator(task, corpus, net.tokenizer)
    epoch = rows * -(-arguments.steps * size // len(rows))  # else the clock counts begins of epochs, too
    examples = list(range(min(max(size, 4), len(rows))))  # several, so that there is padding
    error = check(prepared, start, net, pad([rows[e] for e in examples]), examples)
    rate, steps = prepared.config.learning_rate, arguments.steps
    if on.precision != "fp32":  # in which gradients were compared
        prepared = prepare("s1", settings(arguments, arguments.task, on.precision))
        start = past_start(prepared)
    made = {"ours": our_loop(prepared, start, steps)}
    for name, order in (("trainer", "random"), ("trainer, grouped", "group_by_length")):
        made[name] = trainer_loop(net, epoch, pad, size, steps, order, rate, on)
    for method in ("pcgrad", "sum") if arguments.multi_tasks != "none" else ():
        several = prepare("s3b", settings(arguments, arguments.multi_tasks, on.precision, gradients=method))
        made[f"s3b, {method}"] = our_loop(several, past_start(several), -(-steps // len(several.tasks)))
    return made, {"task": task.name, "error": error, "batch size": size, "mean length": corpus.tokens / len(rows)}


def measure(made: Mapping[str, Callable[[int], Stretch]], rounds: int) -> dict[str, dict[str, float]]:
    """Medians of input tokens a second, of the share of slots that are tokens, and of ratios within a round."""
    speeds: parts.Seconds = {name: [] for name in made}
    filled: parts.Seconds = {name: [] for name in made}
    for number in range(rounds + 1):
        for name, run in made.items():
            stretch = run(number)
            if number:  # the first round warms up
                speeds[name].append(stretch.tokens / stretch.seconds)
                filled[name].append(stretch.tokens / stretch.slots)
    ratios = {f"ours / {name}": parts.ratio(speeds["ours"], speeds[name]) for name in made if "trainer" in name}
    if "s3b, sum" in made:
        ratios["s3b, pcgrad / s3b, sum"] = parts.ratio(speeds["s3b, pcgrad"], speeds["s3b, sum"])
    return {
        "tokens/s": {name: statistics.median(values) for name, values in speeds.items()},
        "filled": {name: statistics.median(values) for name, values in filled.items()},
        "ratio": ratios,
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = bench_setup.options(parts.parser(__doc__, rounds=7))
    parser.add_argument("--task", default="semeval2014_t7", help="the one task")
    parser.add_argument("--data-dir", type=Path, help="folder with data; default: the embedded corpus")
    parser.add_argument("--cache-dir", type=Path)
    parser.add_argument("--multi-tasks", help="tasks of S3b; none: without S3b; default: all that there are")
    parser.add_argument("--steps", type=int, default=50, help="steps of a round; S3b takes a task's share of them")
    parser.add_argument("--micro-batch-tokens", type=int, default=512)
    arguments = parser.parse_args(argv)
    if arguments.multi_tasks is None:
        arguments.multi_tasks = REAL if arguments.data_dir else ""
    on = setup(arguments)
    machine = parts.begin(arguments.threads, "transformers", "peft", "accelerate", device=on.device)
    arguments.backbone = bench_setup.saved(on.model, arguments.cache_dir or default_cache())
    made, facts = candidates(arguments)
    print(
        f"\n{facts['task']}, {on.told}, r = 24: {facts['mean length']:.1f} tokens an example, "
        f"{facts['batch size']} examples a step of the Trainer; gradients agree within {facts['error']:.0e}",
        flush=True,
    )
    figures = measure(made, arguments.rounds)
    for name, speed in figures["tokens/s"].items():
        print(f"  {name:<18} {speed:8,.0f} input tokens/s  {figures['filled'][name]:6.1%} of the slots")
    for name, value in figures["ratio"].items():
        print(f"  {name:<26} {value:5.2f}")
    parts.write(arguments.json, machine, {**facts, **figures})


if __name__ == "__main__":
    main()
