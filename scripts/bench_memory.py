"""What a step of a large decoder holds and takes: engines, recomputed activations and precision, layer by layer.

    python scripts/bench_memory.py [--shape llama-1b] [--layers 4,8] [--size 4x128] [--tasks 5] [--json FILE]

The backbone is a Llama of random weights with the widths of a model of 1 B parameters (hidden size 2048, 32 heads with
8 of keys and values, 8192 in the middle) and a few of its 16 layers: what one layer adds, the rest would add too. Every
variant runs in a process of its own: its peak is what it holds above the model (on a CPU: resident set; on CUDA: what
torch has allocated). Printed: peak and time of a PCGrad step of S3b for each number of layers, and from the difference
what all 16 would come to.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from bench_parts import corpus, tasks_of

from mtlfn.core import keys, schedule, state, step
from mtlfn.core.batch import Batch
from mtlfn.core.gradients import ENGINES
from mtlfn.data.tokens.collate import collate
from mtlfn.models import attention, lora, model
from mtlfn.models.backbone import Backbone, assemble
from mtlfn.models.strategy import S3B
from mtlfn.run.config import Config
from mtlfn.run.machine import memory
from mtlfn.run.one.loop import fix_numerics

SHAPES = {  # widths of Llama 3.2 1B and of SmolLM2 135M, and how many layers they have
    "llama-1b": ({"hidden_size": 2048, "intermediate_size": 8192, "heads": 32, "keys": 8}, 16),
    "smollm2-135m": ({"hidden_size": 576, "intermediate_size": 1536, "heads": 9, "keys": 3}, 30),
}
VOCABULARY = 8000  # embeddings take no part in the cost of a step
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
STEPS = 3


def backbone(shape: str, layers: int) -> Backbone:
    """A Llama of random weights."""
    from transformers import LlamaConfig, LlamaModel

    attention.register()
    widths, _ = SHAPES[shape]
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=widths["hidden_size"],
        intermediate_size=widths["intermediate_size"],
        num_attention_heads=widths["heads"],
        num_key_value_heads=widths["keys"],
        num_hidden_layers=layers,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = LlamaModel(config)
    tokenizer: Any = SimpleNamespace(is_fast=True, model_input_names=["input_ids", "attention_mask"], pad_token_id=0)
    return assemble(made, tokenizer, shape)


def one(asked: argparse.Namespace) -> dict[str, float]:
    """Seconds of a step, and megabytes at its peak above what the model and the state hold."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    fix_numerics(Config(threads=asked.threads))
    tasks, generator = tasks_of(asked.tasks), np.random.Generator(np.random.Philox(0))
    rows, width = map(int, asked.size.split("x"))
    built = model.build(
        backbone(asked.shape, asked.one),
        S3B,
        tasks,
        lora.LoraSettings(),
        label_counts={t.name: dict.fromkeys((*t.classes, ""), 10) for t in tasks},
        device=device,
        precision=DTYPES[asked.precision],
        recompute=asked.recompute,
    )
    made = [collate(c := corpus(t, rows, width, generator, VOCABULARY), range(len(c))) for t in tasks]
    start = state.init(keys.root(0), model.init_params(built, keys.root(0)), tuple(t.name for t in tasks))
    batch = Batch(tuple(m for m in made if m is not None), start.cursors)
    rates = schedule.Schedule(peak=1e-3, schedule_tokens=10**9, warmup_ratio=0.0)
    taken = step.build(
        step.StepConfig(schedule=rates, engine=ENGINES[asked.engine]), partial(model.losses, built), built.reach
    )
    read = memory.probe(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device) if device.type == "cuda" else read().resident
    seconds = []
    for _ in range(STEPS):
        began = time.perf_counter()
        taken(start, batch)
        seconds.append(time.perf_counter() - began)
    peak = memory.peak(device)
    held = peak["allocated" if device.type == "cuda" else "resident"] - before
    return {"megabytes": held / 2**20, "seconds": min(seconds), "tokens": batch.tokens.input}


def variant(asked: argparse.Namespace, layers: int, engine: str, recompute: bool, precision: str) -> dict[str, float]:
    """The same in a process of its own."""
    flags = ["--one", layers, "--engine", engine, "--precision", precision, *(["--recompute"] if recompute else [])]
    same = ["--shape", asked.shape, "--size", asked.size, "--tasks", asked.tasks, "--threads", asked.threads]
    ran = subprocess.run(
        [sys.executable, __file__, *map(str, [*flags, *same])], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(ran.stdout.splitlines()[-1])


def table(asked: argparse.Namespace) -> dict[str, Any]:
    """Prints a line a variant; returns the figures."""
    few, more = sorted(map(int, asked.layers.split(",")))
    whole = SHAPES[asked.shape][1]
    print(f"S3b with PCGrad, {asked.tasks} tasks of {asked.size} tokens, {asked.shape}, fp32 state")
    print(f"{'':<26}{f'{few} layers':>20}{f'{more} layers':>20}{f'all {whole}, estimated':>24}")
    figures = {}
    precisions = asked.precisions.split(",")
    for precision, engine, recompute in itertools.product(precisions, ("merged", "loop"), (False, True)):
        small, large = (variant(asked, n, engine, recompute, precision) for n in (few, more))
        all_ = {
            name: large[name] + (large[name] - small[name]) / (more - few) * (whole - more)
            for name in ("megabytes", "seconds")
        }
        name = f"{precision}, {engine}{', recomputed' if recompute else ''}"
        figures[name] = {str(few): small, str(more): large, "all": all_}
        cells = (f"{found['megabytes']:,.0f} MB {found['seconds']:.2f} s" for found in (small, large, all_))
        print(f"{name:<26}" + "".join(f"{cell:>{size}}" for cell, size in zip(cells, (20, 20, 24), strict=True)))
    return figures


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="llama-1b")
    parser.add_argument("--layers", default="4,8", help="two numbers of layers")
    parser.add_argument("--size", default="4x128", help="rows x tokens of each task")
    parser.add_argument("--tasks", type=int, default=5)
    parser.add_argument("--precisions", default="fp32", help="fp32, bf16, fp16, separated by commas")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    for name, options in {
        "--one": {"type": int},
        "--engine": {"default": "merged"},
        "--precision": {"default": "fp32"},
        "--recompute": {"action": "store_true"},
    }.items():
        parser.add_argument(name, help=argparse.SUPPRESS, **options)
    asked = parser.parse_args(argv)
    if asked.one:
        print(json.dumps(one(asked)))
        return
    figures = table(asked)
    if asked.json:
        about = {"torch": torch.__version__, "size": asked.size, "threads": asked.threads}
        asked.json.write_text(json.dumps({**about, "figures": figures}, indent=1))


if __name__ == "__main__":
    main()
