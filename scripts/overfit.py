"""Can head, loss and decoding express a task? Each task alone is trained on a few of its examples until it knows them.

    python scripts/overfit.py [--data-dir DIR] [--tasks NAMES] [--examples 20] [--steps 150] [--backbone minilm]

Half of the examples are those that hold something to find (a mention, a relation, a label), as far as there are so
many; every query has a relevant candidate. What is printed is the primary metric on these very examples, by the
definitions of mtlfn/data/metrics.py: near 1, or something in between loses what the task asks for.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from functools import partial

import attrs
import torch

from mtlfn.core import keys, state, step
from mtlfn.core.batch import Batch
from mtlfn.core.schedule import Schedule
from mtlfn.data import metrics, sources
from mtlfn.data.embedded import corpus as embedded
from mtlfn.data.example import Example
from mtlfn.data.task import Dataset, Task, kind_of, label_counts
from mtlfn.data.tokens import store
from mtlfn.data.tokens.collate import collate
from mtlfn.models import backbone, lora, model
from mtlfn.models.strategy import S3B
from mtlfn.run.config import default_cache
from mtlfn.run.one import evaluate

KEY = keys.root(0)


def positive(task: Task, example: Example) -> bool:
    """Whether there is something to find in an example."""
    if task.kind == "tagging":
        return any(tag != "O" for tag in example.tags)
    if task.kind == "spans":
        return bool(example.mentions)
    if task.kind == "ranking":
        return len(set(example.labels)) > 1
    return bool(example.labels) and example.labels[0] != task.negative


def chosen(dataset: Dataset, count: int) -> tuple[Example, ...]:
    """The first half of the examples that are positive, and others, in the order of the data."""
    task, train = dataset.task, dataset.train
    found = [i for i, e in enumerate(train) if positive(task, e)]
    rest = [i for i, e in enumerate(train) if not positive(task, e)]
    if task.kind == "ranking":  # a query without a relevant candidate scores 0, whatever is known of it
        return tuple(train[i] for i in found[:count])
    half = found[: max(count // 2, count - len(rest))]
    return tuple(train[i] for i in sorted(half + rest[: count - len(half)]))


def overfit(dataset: Dataset, name: str, steps: int, max_length: int) -> tuple[float, int, float, float]:
    """Score on the training examples, steps taken, first and last loss."""
    base = backbone.load(name)
    cache = default_cache()
    train = store.load(dataset, "train", base.tokenizer, max_length, cache)
    task = dataset.task
    built = model.build(
        base,
        S3B,
        [task],
        lora.LoraSettings(dropout=0.0),
        label_counts={task.name: {**label_counts(task, dataset.train), "": len(dataset.train)}},
    )
    config = step.StepConfig(
        schedule=Schedule(peak=2e-3, schedule_tokens=10**12, warmup_ratio=0.0, decay="constant"), weight_decay=0.0
    )
    run = step.build(config, partial(model.losses, built), built.reach)
    batch = Batch((collate(train, range(len(train))),), {})
    current = state.init(KEY, model.init_params(built, KEY), (task.name,))
    losses: list[float] = []
    while len(losses) < steps and (not losses or losses[-1] > 0.003):
        current = run(current, batch)
        losses.append(float(current.last.loss[task.name]))
    scored = store.load(dataset, "dev", base.tokenizer, max_length, cache)
    predicted = evaluate.predictions(built, current.params, scored, dataset.dev, range(len(dataset.dev)))
    return metrics.score(task, dataset.dev, predicted)[kind_of(task).metric], len(losses), losses[0], losses[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--tasks", default=",".join(embedded.NAMES))
    parser.add_argument("--examples", type=int, default=20, help="ranking: a query for every ten")
    parser.add_argument("--steps", type=int, default=150, help="at most")
    parser.add_argument("--backbone", default="minilm")
    parser.add_argument("--max-length", type=int, default=256)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.tasks.split(","):
        (dataset,) = sources.resolve([name], given.data_dir, {}, cache=default_cache())
        count = given.examples if dataset.task.kind != "ranking" else max(given.examples // 10, 1)
        few = chosen(dataset, count)
        dataset = attrs.evolve(dataset, train=few, dev=few)
        began = time.perf_counter()
        score, steps, first, last = overfit(dataset, given.backbone, given.steps, given.max_length)
        print(
            f"{name}: {kind_of(dataset.task).metric} {score:.3f} on {len(few)} training examples after {steps} "
            f"steps, loss {first:.3f} -> {last:.4f}, {time.perf_counter() - began:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
