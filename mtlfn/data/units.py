"""Sufficient statistics of the test units: a primary metric is a function of their sum, and nothing else.

So a bootstrap over documents, queries or sentences weighs rows and never scores a prediction again. What the columns
are, ``statistic`` says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import field, frozen

from mtlfn.data import metrics
from mtlfn.data.example import DataError, Example
from mtlfn.data.kinds import KINDS
from mtlfn.data.official import OFFICIAL
from mtlfn.data.statistic import Array, Statistic
from mtlfn.data.task import Dataset, Task, kind_of

SCHEMA = 1


@frozen(eq=False)
class UnitStatistics:
    """Of one split of one task.

    Attributes:
        units: U names, in the order of first appearance.
        values: float64 [U, K]; the K columns are those of the task's ``statistic``.
        gold: of every unit, a hash of what predictions are compared with: runs can be compared if they agree.
    """

    units: tuple[str, ...]
    values: Array
    gold: tuple[str, ...] = field(default=(), kw_only=True)


def statistics(dataset: Dataset, split: str, predictions: Sequence[Any]) -> UnitStatistics:
    """The statistics of a split.

    Args:
        predictions: one for each example of the split, as ``metrics.score`` reads them.

    Official tasks have a unit for every gold document or query of the split, also where it has no example.

    Raises:
        DataError: predictions that do not fit the examples; a split without any unit.
    """
    task, examples = dataset.task, dataset[split]
    if task.official:
        if len(examples) != len(predictions):
            raise DataError(f"task {task.name}: {len(predictions)} predictions for {len(examples)} examples of {split}")
        official, gold = OFFICIAL[task.official], dataset.gold[split]
        rows = official.rows(dataset, gold, examples, predictions)
        asked = [(official.unit(each), official.asked(each)) for each in gold]
    else:
        metrics.check_predictions(task, examples, predictions)
        rows = kind_of(task).rows(task, examples, predictions)
        asked = [(e.unit, _asked(e)) for e in examples]
    units = tuple(dict.fromkeys(unit for unit, _ in asked))
    if not units:
        raise DataError(f"task {task.name}: the {split} split is empty; statistics need at least one unit")
    sums = {unit: np.zeros(statistic_of(task).width(len(task.labels))) for unit in units}
    for unit, row in rows:
        sums[unit] += row
    questions: dict[str, list[Any]] = {unit: [] for unit in units}
    for unit, question in asked:
        questions[unit].append(question)
    return UnitStatistics(units, np.stack([sums[u] for u in units]), gold=tuple(_hash(questions[u]) for u in units))


def value(task: Task, sums: Array) -> Array:
    """The primary metric of sums of statistics over units: [..., K] -> [...].

    A unit may be left out, or weigh as much as several. What is 0/0 is what the task's scorer makes of it.
    """
    return statistic_of(task).value(sums)


def statistic_of(task: Task) -> Statistic:
    """What the primary metric is a function of."""
    return OFFICIAL[task.official].statistic if task.official else kind_of(task).statistic


def to_json(task: Task, measured: UnitStatistics) -> str:
    """The content of ``predictions/<task>.<split>.units.json``; floats survive to the bit."""
    document = {
        "schema": SCHEMA,
        "task": task.name,
        "metric": task.metric,
        "kind": task.kind,
        "level": task.level,
        "labels": list(task.labels),
        "official": task.official,
        "units": list(measured.units),
        "gold": list(measured.gold),
        "values": measured.values.tolist(),
    }
    return json.dumps(document) + "\n"


def from_json(text: str, where: str) -> tuple[Task, UnitStatistics]:
    """Reads it back; of the task, what ``value`` needs.

    Args:
        where: the file, as errors name it.

    Raises:
        DataError: not such a file, of another schema, or its parts do not fit together.
    """
    try:
        document = json.loads(text)
        schema = document["schema"]
    except (ValueError, RecursionError, TypeError, KeyError):
        raise DataError(f"{where}: not a file of unit statistics; evaluate the run again") from None
    if schema != SCHEMA:
        raise DataError(f"{where}: has schema {schema!r}, expected {SCHEMA}; evaluate the run with this version again")
    try:
        names = {key: document[key] for key in ("kind", "level", "official")}
        task = Task(name=document["task"], labels=tuple(document["labels"]), **names)
        if (task.official and task.official not in OFFICIAL) or task.kind not in KINDS:
            raise DataError(f"{where}: has a task of kind {task.kind!r} and scorer {task.official!r}, known to no one")
        units, gold = tuple(document["units"]), tuple(document["gold"])
        values = np.array(document["values"], dtype=np.float64)
        metric = document["metric"]
    except (ValueError, TypeError, KeyError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{where}: is damaged ({type(error).__name__}: {error}); evaluate the run again") from None
    if metric != task.metric:
        raise DataError(f"{where}: was made for the metric {metric!r}, expected {task.metric!r}; evaluate it again")
    if not units or len(set(units)) != len(units) or len(gold) != len(units):
        raise DataError(f"{where}: has {len(set(units))} different units of {len(units)} and {len(gold)} gold hashes")
    width = statistic_of(task).width(len(task.labels))
    if values.shape != (len(units), width) or not np.isfinite(values).all():
        raise DataError(f"{where}: has values of shape {values.shape}, expected {(len(units), width)}, finite")
    for unit, row in zip(units, values, strict=True):
        if wrong := statistic_of(task).impossible(row):
            raise DataError(f"{where}: unit {unit!r} has {wrong}: no predictions give that; evaluate the run again")
    return task, UnitStatistics(units, values, gold=gold)


def _asked(example: Example) -> Any:
    """What a prediction for an example is compared with, as JSON."""
    return example.id, example.tags, example.labels, example.mentions, example.value


def _hash(asked: Any) -> str:
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
