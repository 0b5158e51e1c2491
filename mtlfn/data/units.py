"""Sufficient statistics of the test units: a primary metric is a function of their sum, and nothing else.

So a bootstrap over documents, queries or sentences weighs rows and never scores a prediction again. The columns:

    F1 of any kind            hits, predicted, found, gold: precision is hits / predicted, recall is found / gold
    F1 averaged over classes  for each class: hits, predicted, gold
    means (MAP)               sum, number
    Pearson's correlation     n, Σx, Σy, Σx², Σy², Σxy of gold x and predicted y, both centred and scaled
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from mtlfn.data import mentions, metrics, official
from mtlfn.data.formats.document import Document, Query
from mtlfn.data.scoring import ranking, spans, temporal
from mtlfn.data.task import METRICS, OFFICIAL, DataError, Dataset, Example, Task

SCHEMA = 1
Row = Sequence[float]
Array = NDArray[np.float64]

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
    sums = {unit: np.zeros(_width(task)) for unit in units}
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
    if task.metric == "map":
        return _ratio(sums[..., 0], sums[..., 1])
    if task.metric == "macro_f1":
        hits, predicted, gold = np.moveaxis(sums.reshape(*sums.shape[:-1], -1, 3), -1, 0)
        return _ratio(_ratio(2 * hits, predicted + gold).sum(-1), (predicted + gold > 0).sum(-1))
    if task.metric == "pearson":
        return _pearson(sums)
    hits, predicted, found, gold = np.moveaxis(sums, -1, 0)
    precision, recall = _ratio(hits, predicted), _ratio(found, gold)
    empty = float(task.official in EMPTY_IS_RIGHT)
    return np.where(predicted + gold > 0, _ratio(2 * precision * recall, precision + recall), empty)


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
        if (task.official and task.official not in OFFICIAL) or task.kind not in METRICS:
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
    if values.shape != (len(units), _width(task)) or not np.isfinite(values).all():
        raise DataError(f"{where}: has values of shape {values.shape}, expected {(len(units), _width(task))}, finite")
    for unit, row in zip(units, values, strict=True):
        if wrong := _impossible(task, row):
            raise DataError(f"{where}: unit {unit!r} has {wrong}: no predictions give that; evaluate the run again")
    return task, UnitStatistics(units, values, gold=gold)


def _impossible(task: Task, row: Array) -> str:
    """What cannot be in the statistics of a unit, in words; "" where nothing."""
    if task.metric == "pearson":
        n, x, y, xx, yy, xy = row
        if n < 1 or xx < 0 or yy < 0:
            return "counts or squares below zero"
        slack = 1e-9 * max(n * max(xx, yy), 1.0)
        bounded = x * x <= n * xx + slack and y * y <= n * yy + slack and xy * xy <= xx * yy + slack
        return "" if bounded else "sums that no numbers have"
    if (row < 0).any():
        return "a count below zero"
    if task.metric == "map":
        return "" if row[0] <= row[1] * (1 + 1e-12) else f"a sum of precisions of {row[0]:g} over {row[1]:g} queries"
    if task.metric == "macro_f1":
        parts = [("hits", "predictions", "gold labels", *triple) for triple in row.reshape(-1, 3)]
    else:
        hits, predicted, found, gold = row
        parts = [("hits", "predictions", "", hits, predicted, hits), ("found", "gold", "", found, gold, found)]
    for few, many, more, part, whole, other in parts:
        for name, limit in ((many, whole), (more, other)):
            if part > limit * (1 + 1e-12):
                return f"{part:g} {few} of {limit:g} {name}"
    return ""


def _width(task: Task) -> int:
    """K."""
    widths = {"map": 2, "macro_f1": 3 * len(task.labels), "pearson": 6}
    return widths.get(task.metric, 4)


def _rows(
    dataset: Dataset, documents: Sequence[Any], examples: Sequence[Example], predictions: Sequence[Any]
) -> Iterable[tuple[str, Row]]:
    """Unit and what to add to its statistics."""
    task = dataset.task
    if task.official:
        return _OFFICIAL[task.official](dataset, documents, examples, predictions)
    units = [e.unit for e in examples]
    if task.kind == "tagging":
        return zip(units, map(_sets, (_entities(e.tags) for e in examples), map(_entities, predictions)), strict=True)
    if task.kind == "spans":
        return _mention_sets(examples, predictions)
    if task.kind == "ranking":
        found = map(metrics.average_precision, examples, predictions)
        return zip(units, ((precision, 1.0) for precision in found), strict=True)
    if task.kind == "regression":
        return zip(units, _moments([e.value or 0.0 for e in examples], predictions), strict=True)
    names = [(set(e.labels), {p} if isinstance(p, str) else set(p)) for e, p in zip(examples, predictions, strict=True)]
    if task.metric == "macro_f1":
        return zip(units, (_confusion(task, g, p) for g, p in names), strict=True)
    return zip(units, (_sets(g - {task.negative}, p - {task.negative}) for g, p in names), strict=True)


def _sets(gold: set[Any], predicted: set[Any]) -> Row:
    hits = len(gold & predicted)
    return hits, len(predicted), hits, len(gold)


def _entities(tags: Sequence[str]) -> set[tuple[int, int, str]]:
    """(first word, last + 1, type) of every B- with the I- of its type that follow; another I- is no entity."""
    found = set()
    for start, tag in enumerate(tags):
        if tag.startswith("B-"):
            end = start + 1
            while end < len(tags) and tags[end] == f"I-{tag[2:]}":
                end += 1
            found.add((start, end, tag[2:]))
    return found


def _mention_sets(examples: Sequence[Example], predictions: Sequence[Any]) -> list[tuple[str, Row]]:
    gold: dict[str, set[Any]] = {e.unit: set() for e in examples}
    found: dict[str, set[Any]] = {e.unit: set() for e in examples}
    for example, marked in zip(examples, predictions, strict=True):
        gold[example.unit].update(example.mentions)
        found[example.unit].update((label, tuple((a, b) for a, b in pieces)) for label, pieces in marked)
    return [(unit, _sets(gold[unit], found[unit])) for unit in gold]


def _confusion(task: Task, gold: set[str], predicted: set[str]) -> Row:
    return [n for c in task.labels for n in (c in gold and c in predicted, c in predicted, c in gold)]


def _moments(gold: Sequence[float], predicted: Sequence[float]) -> list[Row]:
    """For each pair 1, x, y, x², y², xy. Both are centred and scaled over the whole split first, which changes no
    correlation and keeps squares of large or nearly equal numbers exact enough; a prediction that is not finite makes
    all of them nothing, as in ``metrics.score``."""
    finite = all(map(math.isfinite, predicted))
    x, y = _standard(gold), _standard(predicted if finite else [0.0] * len(gold))
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1).tolist()


def _standard(column: Sequence[float]) -> Array:
    values = np.asarray(column, dtype=np.float64)
    values = values / (np.abs(values).max(initial=0.0) or 1.0)
    values = values - values.mean() if values.min() < values.max() else np.zeros_like(values)
    return values / (np.abs(values).max() or 1.0)


def _pearson(sums: Array) -> Array:
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread = [_spread(n, one, square) for one, square in ((x, xx), (y, yy))]
    # sqrt before the product, which would underflow
    return np.clip(_ratio(xy - _ratio(x * y, n), np.sqrt(spread[0]) * np.sqrt(spread[1])), -1.0, 1.0)


def _spread(n: Array, total: Array, squares: Array) -> Array:
    """Sum of squares about the mean; 0 where it is no more than the rounding of equal values."""
    left = squares - _ratio(total * total, n)
    return np.where(left > 1e-13 * squares, left, 0.0)


def _ratio(part: Array, whole: Array) -> Array:
    """The quotient; 0 where it is 0/0."""
    part, whole = np.broadcast_arrays(np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64))
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole != 0)


# Official tasks


def _disorders(
    dataset: Dataset, documents: Sequence[Document], examples: Sequence[Example], predictions: Sequence[Any]
) -> Iterable[tuple[str, Row]]:
    found = mentions.found(dataset, documents, examples, predictions)
    for document in documents:
        gold = {m.pieces for m in document.mentions}
        # The official script does not see a document without a gold mention.
        yield document.id, _sets(gold, {m.pieces for m in found[document.id]} if gold else set())


def _events(
    dataset: Dataset, documents: Sequence[Document], examples: Sequence[Example], predictions: Sequence[Any]
) -> Iterable[tuple[str, Row]]:
    found = mentions.found(dataset, documents, examples, predictions)
    for document in documents:
        both = ({m.pieces for m in held if m.label == "EVENT"} for held in (document.mentions, found[document.id]))
        yield document.id, _sets(*both)


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
    return [(name, _sets(set(labels), found[name])) for name, _, labels in documents]


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
