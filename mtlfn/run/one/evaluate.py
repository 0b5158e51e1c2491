"""Evaluation: predictions of a split, their scores, and the trivial baselines beside them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from mtlfn.core.keys import fold, numpy_generator, root
from mtlfn.core.state import Tree
from mtlfn.data import metrics, units
from mtlfn.data.example import Example
from mtlfn.data.official import OFFICIAL
from mtlfn.data.semeval import evaluation
from mtlfn.data.task import Dataset, Task, kind_of, label_counts
from mtlfn.data.tokens.collate import collate
from mtlfn.data.tokens.store import Corpus
from mtlfn.data.tokens.stream import evaluation_batches, example_sizes
from mtlfn.models.model import Model, predict
from mtlfn.run.disk import write_file

SLOTS = 2048  # padded slots of an evaluation micro-batch

Done = Callable[[int], None]  # told how many examples are done


@frozen(eq=False)
class Job:
    """The predictions of a task: of how many examples, in how many padded slots, and how they are made."""

    examples: int
    slots: int
    make: Callable[[Done], list]


Jobs = Mapping[str, Job]  # task -> what is to be predicted
Through = Callable[[Jobs], Mapping[str, list]]  # -> task -> its predictions


def straight(jobs: Jobs) -> dict[str, list]:
    """Predictions as they are made, kept nowhere."""
    return {task: job.make(lambda _: None) for task, job in jobs.items()}


def predictions(
    model: Model,
    params: Tree,
    corpus: Corpus,
    examples: Sequence[Example],
    chosen: Sequence[int],
    usual: str | None = None,
    done: Done = lambda _: None,
    slots: int = SLOTS,
) -> list:
    """One prediction for each chosen example, in their order, as ``metrics.score`` reads them.

    ``usual``: the class of a text without a token, of which nothing can be told. ``slots``: of a micro-batch, padded;
    another number may give other last bits.
    """
    out: dict[int, Any] = {}
    for batch in evaluation_batches(corpus, chosen, slots):
        rows: dict[int, Any] = {}
        if (micro_batch := collate(corpus, batch.tolist())) is not None:
            rows = dict(zip(micro_batch.inputs.sequences.tolist(), predict(model, params, micro_batch), strict=True))
        for e in batch.tolist():
            out[e] = _joined(corpus.task, examples[e], [rows.get(s) for s in corpus.sequences(e)], usual)
        done(len(out))
    return [out[int(e)] for e in chosen]


def usual_class(task: Task, train: Sequence[Example]) -> str | None:
    """The most frequent class in training, the first of equals; None for kinds whose examples have no one class."""
    if not kind_of(task).single:
        return None
    counts = label_counts(task, train)
    return max(counts, key=counts.__getitem__)


def paired(task: Task, train: Sequence[Example]) -> bool:
    """Whether every text that was trained on stands beside a second one, where the kind leaves that open."""
    return "text_pair" in kind_of(task).optional and all(pair is not None for e in train for _, pair in e.texts)


def _joined(task: Task, example: Example, rows: list[Any], usual: str | None) -> Any:
    """The rows of one example as its prediction; a row is None where a text has no token."""
    kind = kind_of(task)
    if all(row is None for row in rows):
        return kind.nothing(task, example, usual)
    return kind.joined(task, example, rows)


def seconds_per_token(model: Model, params: Tree, corpora: Mapping[str, Corpus]) -> float:
    """What an input token takes in an evaluation: one micro-batch of the largest corpus, timed."""
    corpus = max(corpora.values(), key=lambda corpus: corpus.tokens)
    batches = evaluation_batches(corpus, range(min(len(corpus), SLOTS)), SLOTS // 4)
    micro_batch = collate(corpus, max(batches, key=len).tolist())
    if micro_batch is None:
        return 0.0
    began = time.monotonic()
    predict(model, params, micro_batch)
    return (time.monotonic() - began) / micro_batch.tokens.input


def quick_subset(task: str, size: int, count: int) -> list[int]:
    """``count`` of ``size`` examples (all if fewer), the same in every run and evaluation."""
    return np.sort(_shuffled(task, size)[:count]).tolist()


def _shuffled(task: str, size: int) -> np.ndarray:
    return numpy_generator(fold(root(0), "quick", task)).permutation(size)


def whole_units(task: str, examples: Sequence[Example], count: int) -> list[int]:
    """The examples of so many whole units that they have ``count`` texts or a few more; the same in every run."""
    units = list(dict.fromkeys(e.unit for e in examples))
    members: dict[str, list[int]] = {unit: [] for unit in units}
    for i, e in enumerate(examples):
        members[e.unit].append(i)
    out: list[int] = []
    texts = 0
    for i in _shuffled(task, len(units)):
        if texts >= count:
            break
        out += members[units[i]]
        texts += sum(len(examples[j].texts) for j in members[units[i]])
    return sorted(out)


def predicted(
    model: Model,
    params: Tree,
    split: str,
    corpora: Mapping[str, Corpus],
    datasets: Mapping[str, Dataset],
    count: int | None = None,
    through: Through = straight,
) -> dict[str, list]:
    """Predictions of a split per task; on ``count`` examples of each, or all. A task without this split is left out.

    ``through``: what asks for the predictions.
    """
    jobs: dict[str, Job] = {}
    for task in model.tasks:
        if task.name not in corpora:
            continue
        corpus, dataset = corpora[task.name], datasets[task.name]
        chosen = _chosen(task, dataset[split], count)
        rows, longest = example_sizes(corpus)
        slots = int((rows * longest)[chosen].sum())
        usual = usual_class(task, dataset.train)
        make = partial(predictions, model, params, corpus, dataset[split], chosen, usual)
        jobs[task.name] = Job(len(chosen), slots, make)
    return {**through(jobs)}


def _chosen(task: Task, gold: Sequence[Example], count: int | None) -> list[int]:
    """The examples that are evaluated. Official scores are those of whole units."""
    if count is None:
        return list(range(len(gold)))
    return whole_units(task.name, gold, count) if task.official else quick_subset(task.name, len(gold), count)


def score(
    split: str, datasets: Mapping[str, Dataset], predictions: Mapping[str, list], count: int | None = None
) -> dict[str, dict[str, float]]:
    """Scores per task of the predictions that ``predicted`` gave for the same ``count``."""
    scores = {}
    for name, answers in predictions.items():
        task, gold = datasets[name].task, datasets[name][split]
        examples = [gold[i] for i in _chosen(task, gold, count)]
        scores[name] = (
            evaluation.score(datasets[name], split, examples, answers, whole=count is None)
            if task.official
            else metrics.score(task, examples, answers)
        )
    return scores


def primary(tasks: Sequence[Task], scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The primary metric of each task."""
    return {task.name: scores[task.name][task.metric] for task in tasks}


def write_predictions(folder: Path, dataset: Dataset, split: str, predicted: list) -> Path:
    """One JSON line an example: id, unit, gold and prediction.

    Beside it what the score is a sum of, unit by unit (``<task>.<split>.units.json``), for paired tests; for official
    tasks the organisers' files below ``official/<task>``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    task, answer = dataset.task, kind_of(dataset.task).answer
    path = folder / f"{task.name}.{split}.jsonl"
    lines = (
        json.dumps({"id": e.id, "unit": e.unit, "gold": answer(e), "prediction": p})
        for e, p in zip(dataset[split], predicted, strict=True)
    )
    write_file(path, "".join(line + "\n" for line in lines).encode())
    statistics = units.to_json(task, units.statistics(dataset, split, predicted))
    write_file(folder / f"{task.name}.{split}.units.json", statistics.encode())
    if task.official:
        OFFICIAL[task.official].write(dataset, split, folder / "official" / task.name, predicted)
    return path
