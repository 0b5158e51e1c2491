"""Sufficient statistics of the test units: a primary metric is a function of their sum, and nothing else.

So a bootstrap over documents, queries or sentences weighs rows and never scores a prediction again. What the columns
are, ``statistic`` says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from attrs import field, frozen

from mtlfn.data import mentions, metrics, official
from mtlfn.data.example import DataError, Example
from mtlfn.data.formats.document import Document, Query
from mtlfn.data.kinds import KINDS
from mtlfn.data.scoring import ranking, spans, temporal
from mtlfn.data.statistic import F1, MEAN, Array, Row, Statistic, sets
from mtlfn.data.task import OFFICIAL, Dataset, Task, kind_of

SCHEMA = 1

# Official scorers that give 1, not 0, where there is neither a gold nor a predicted item.
EMPTY_IS_RIGHT = ("semeval2016_t12", "semeval2016_t12_spans", "semeval2021_t6", "semeval2021_t6_labels")


@frozen(eq=False)
class UnitStatistics:
    """Of one split of one task.

    Attributes:
        units: U names, in the order of first appearance.
        values: float64 [U, K]; what the K columns are is said above.
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
    documents = dataset.gold[split] if task.official else ()
    if task.official and len(examples) != len(predictions):
        raise DataError(f"task {task.name}: {len(predictions)} predictions for {len(examples)} examples of {split}")
    if not task.official:
        metrics.check_predictions(task, examples, predictions)
    units = tuple(dict.fromkeys([*map(official.unit, documents), *(e.unit for e in examples)]))
    if not units:
        raise DataError(f"task {task.name}: the {split} split is empty; statistics need at least one unit")
    sums = {unit: np.zeros(statistic_of(task).width(len(task.labels))) for unit in units}
    for unit, row in _rows(dataset, documents, examples, predictions):
        sums[unit] += row
    held: dict[str, list[Any]] = {unit: [] for unit in units}
    for unit, found in [(official.unit(d), _gold(d)) for d in documents] or [(e.unit, _asked(e)) for e in examples]:
        held[unit].append(found)
    return UnitStatistics(units, np.stack([sums[unit] for unit in units]), gold=tuple(_hash(held[u]) for u in units))


def value(task: Task, sums: Array) -> Array:
    """The primary metric of sums of statistics over units: [..., K] -> [...].

    A unit may be left out, or weigh as much as several. What is 0/0 is what the task's scorer makes of it.
    """
    found = statistic_of(task).value(sums)
    if task.official in EMPTY_IS_RIGHT:
        predicted, gold = sums[..., 1], sums[..., 3]
        return np.where(predicted + gold > 0, found, 1.0)
    return found


def statistic_of(task: Task) -> Statistic:
    """What the primary metric is a function of; official metrics are means (MAP) or F1."""
    if task.official:
        return MEAN if task.metric == "map" else F1
    return kind_of(task).statistic


def to_json(task: Task, found: UnitStatistics) -> str:
    """The content of ``predictions/<task>.<split>.units.json``; floats survive to the bit."""
    document = {
        "schema": SCHEMA,
        "task": task.name,
        "metric": task.metric,
        "kind": task.kind,
        "level": task.level,
        "labels": list(task.labels),
        "official": task.official,
        "units": list(found.units),
        "gold": list(found.gold),
        "values": found.values.tolist(),
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
    except (ValueError, TypeError, KeyError):
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


def _rows(
    dataset: Dataset, documents: Sequence[Any], examples: Sequence[Example], predictions: Sequence[Any]
) -> Iterable[tuple[str, Row]]:
    """Unit and what to add to its statistics."""
    task = dataset.task
    if task.official:
        return _OFFICIAL[task.official](dataset, documents, examples, predictions)
    return kind_of(task).rows(task, examples, predictions)


# Official tasks


def _disorders(
    dataset: Dataset, documents: Sequence[Document], examples: Sequence[Example], predictions: Sequence[Any]
) -> Iterable[tuple[str, Row]]:
    found = mentions.found(dataset, documents, examples, predictions)
    for document in documents:
        gold = {m.pieces for m in document.mentions}
        # The official script does not see a document without a gold mention.
        yield document.id, sets(gold, {m.pieces for m in found[document.id]} if gold else set())


def _events(
    dataset: Dataset, documents: Sequence[Document], examples: Sequence[Example], predictions: Sequence[Any]
) -> Iterable[tuple[str, Row]]:
    found = mentions.found(dataset, documents, examples, predictions)
    for document in documents:
        both = ({m.pieces for m in held if m.label == "EVENT"} for held in (document.mentions, found[document.id]))
        yield document.id, sets(*both)


def _techniques(
    dataset: Dataset, documents: Sequence[Document], examples: Sequence[Example], predictions: Sequence[Any]
) -> Iterable[tuple[str, Row]]:
    found = mentions.found(dataset, documents, examples, predictions)
    for document in documents:
        for earned, covered in spans.credit(document.mentions, found[document.id]).values():
            yield document.id, (sum(earned), len(earned), sum(covered), len(covered))


def _labels(
    _: Dataset, documents: Sequence[Any], examples: Sequence[Example], predictions: Sequence[Any]
) -> Iterable[tuple[str, Row]]:
    found = {e.unit: set(p) for e, p in zip(examples, predictions, strict=True)}
    return [(name, sets(set(labels), found[name])) for name, _, labels in documents]


def _links(
    _: Dataset, documents: Sequence[Document], examples: Sequence[Example], predictions: Sequence[Any]
) -> Iterable[tuple[str, Row]]:
    found = official.found_links(documents, examples, predictions)
    return [(gold.id, temporal.link_counts(gold, given)) for gold, given in zip(documents, found, strict=True)]


def _ranks(
    _: Dataset, documents: Sequence[Query], examples: Sequence[Example], predictions: Sequence[Any]
) -> Iterable[tuple[str, Row]]:
    for example, scores in zip(examples, predictions, strict=True):
        yield example.unit, (ranking.average_precision([c == "relevant" for c in example.labels], scores), 1.0)


_OFFICIAL: Mapping[str, Callable[..., Iterable[tuple[str, Row]]]] = {
    "semeval2014_t7": _disorders,
    "semeval2015_t14": _disorders,
    "semeval2016_t12": _links,
    "semeval2016_t12_spans": _events,
    "semeval2017_t3": _ranks,
    "semeval2017_t3_b": _ranks,
    "semeval2017_t3_c": _ranks,
    "semeval2021_t6": _techniques,
    "semeval2021_t6_labels": _labels,
}


# What was asked


def _asked(example: Example) -> Any:
    return example.id, example.tags, example.labels, example.mentions, example.value


def _gold(document: Any) -> Any:
    if isinstance(document, Document):
        held = sorted((m.label, m.pieces, m.id) for m in document.mentions)
        return held, sorted((link.label, link.source, link.target) for link in document.links)
    if isinstance(document, Query):
        return [(c.id, c.label) for c in document.candidates]
    return document[2]  # the labels of a text


def _hash(asked: Any) -> str:
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
