"""Scores are functions of gold and predictions alone, by the definitions of seqeval and scikit-learn.

Beside them stand trivial baselines of the primary metric, so that a score can be read: what does it take to get it
without looking at the text?
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mtlfn.data.scoring.classes import correlations
from mtlfn.data.task import DataError, Example, Task, standardised
from mtlfn.data.windows import in_characters, in_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

Prediction = str | float | list[str] | list[float] | list[list]
DRAWS = 20


def score(task: Task, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
    """Metric name -> value in [0, 1] (regression: in [-1, 1]); ``task.metric`` is among them.

    Args:
        predictions: one an example. tagging: one IOB2 tag a word; spans: a list of [label, [[start, end], ...]] in
            characters of the unit's text; relation, classification: a class; multilabel: a list of labels; ranking:
            one number a candidate, higher is better, NaN lowest; regression: a number.

    The values: tagging: micro precision, recall and F1 of entities, exact borders and type, a tag I- that continues
    nothing is no entity. spans: micro precision, recall and F1 of mentions, all pieces and type exact; mentions are
    sets, one said twice counts once. relation: micro precision, recall and F1 over all classes but the negative one.
    classification: accuracy, and F1 averaged over the classes that occur in gold or predictions. multilabel: micro
    precision, recall and F1, and F1 averaged over all labels. ranking: mean average precision and mean reciprocal
    rank; equal scores keep the order of the list, a query without a relevant candidate counts 0. regression: Pearson's
    and Spearman's correlation, both 0 for fewer than two examples, constant values or a prediction that is not finite.
    What is 0/0 is 0.

    Raises:
        DataError: no examples, or predictions that do not fit them.
    """
    check_predictions(task, examples, predictions)
    if task.kind == "tagging":
        return _entities(examples, predictions)
    if task.kind == "ranking":
        return _ranking(examples, predictions)
    if task.kind == "spans":
        return _spans(examples, predictions)
    if task.kind == "regression":
        finite = all(map(math.isfinite, predictions))
        return correlations([e.value for e in examples], predictions if finite else [0.0] * len(predictions))
    return _classes(task, examples, predictions)


def check_predictions(task: Task, examples: Sequence[Example], predictions: Sequence[Prediction]) -> None:
    """DataError where ``score`` could not read them: no examples, or predictions that do not fit them."""
    if not examples or len(examples) != len(predictions):
        raise DataError(
            f"task {task.name}: {len(predictions)} predictions for {len(examples)} examples, "
            "expected one each and at least one"
        )
    for example, prediction in zip(examples, predictions, strict=True):
        if problem := _problem(task, example, prediction):
            raise DataError(f"task {task.name}, example {example.id!r}: the prediction {problem}")


def _problem(task: Task, example: Example, prediction: Any) -> str | None:
    if task.kind == "regression":
        return None if type(prediction) in (int, float) else f"is {prediction!r}, expected a number"
    single = task.kind in ("relation", "classification")
    if single != isinstance(prediction, str):
        return f"is {prediction!r}, expected a {'class name' if single else 'list'}"
    wanted = {"tagging": len(example.words), "ranking": len(example.texts)}.get(task.kind)
    if wanted is not None and len(prediction) != wanted:
        return f"has {len(prediction)} values, expected {wanted}"
    if task.kind == "ranking":
        return None
    if task.kind == "spans":
        prediction = [label for label, _ in prediction]
    for name in [prediction] if single else prediction:
        if name not in task.classes:
            return f"holds {name!r}, expected one of {', '.join(task.classes)}"
    return None


def _entities(examples: Sequence[Example], predictions: Sequence[Any]) -> dict[str, float]:
    # The function behind seqeval's scores with mode="strict", called once instead of once a score.
    from seqeval.metrics.v1 import precision_recall_fscore_support
    from seqeval.scheme import IOB2

    gold = [list(e.tags) for e in examples]
    precision, recall, f1, _ = precision_recall_fscore_support(
        gold, [list(p) for p in predictions], average="micro", scheme=IOB2, zero_division=0
    )
    return {"entity_f1": float(f1), "entity_precision": float(precision), "entity_recall": float(recall)}


def _spans(examples: Sequence[Example], predictions: Sequence[Any]) -> dict[str, float]:
    gold = {(e.unit, mention) for e in examples for mention in e.mentions}
    found = {
        (e.unit, (label, tuple((start, end) for start, end in pieces)))
        for e, mentions in zip(examples, predictions, strict=True)
        for label, pieces in mentions
    }
    hits = len(gold & found)
    precision, recall = _ratio(hits, len(found)), _ratio(hits, len(gold))
    return {
        "span_f1": _ratio(2 * hits, len(gold) + len(found)),
        "span_precision": precision,
        "span_recall": recall,
    }


def _classes(task: Task, examples: Sequence[Example], predictions: Sequence[Any]) -> dict[str, float]:
    from sklearn.metrics import f1_score, precision_recall_fscore_support

    # Indicator matrices: scikit-learn guesses from names, and warns, whether many classes might be a regression.
    # The last column is empty, since it takes a matrix of one column for one binary vector.
    predicted_labels = [p if task.kind == "multilabel" else [p] for p in predictions]
    gold = np.pad(_indicator(task, [e.labels for e in examples]), ((0, 0), (0, 1)))
    predicted = np.pad(_indicator(task, predicted_labels), ((0, 0), (0, 1)))
    if task.kind == "classification":
        present = np.flatnonzero(gold.any(axis=0) | predicted.any(axis=0))
        macro = f1_score(gold, predicted, average="macro", labels=present, zero_division=0)
        return {"macro_f1": float(macro), "accuracy": float((gold == predicted).all(axis=1).mean())}
    columns = [i for i, label in enumerate(task.labels) if label != task.negative]
    precision, recall, f1, _ = precision_recall_fscore_support(
        gold, predicted, average="micro", labels=columns, zero_division=0
    )
    micro = {"f1": float(f1), "precision": float(precision), "recall": float(recall)}
    if task.kind == "relation":
        return {f"relation_{name}": value for name, value in micro.items()}
    macro = f1_score(gold, predicted, average="macro", labels=columns, zero_division=0)
    return {f"micro_{name}": value for name, value in micro.items()} | {"macro_f1": float(macro)}


def _ranking(examples: Sequence[Example], predictions: Sequence[Any]) -> dict[str, float]:
    found = [_relevant_ranks(example, prediction) for example, prediction in zip(examples, predictions, strict=True)]
    reciprocal = [1 / ranks[0] if ranks else 0.0 for ranks in found]
    return {"map": float(np.mean([_precision_at(ranks) for ranks in found])), "mrr": float(np.mean(reciprocal))}


def _relevant_ranks(example: Example, prediction: Sequence[float]) -> list[int]:
    """Ranks, from 1, of the relevant candidates."""
    scores = [-math.inf if math.isnan(value) else value for value in prediction]
    order = sorted(range(len(scores)), key=lambda i: -scores[i])  # stable: ties keep the order of the list
    return [rank for rank, i in enumerate(order, 1) if example.labels[i] == "relevant"]


def average_precision(example: Example, prediction: Sequence[float]) -> float:
    """Of one query; its mean over the queries is "map"."""
    return _precision_at(_relevant_ranks(example, prediction))


def _precision_at(ranks: Sequence[int]) -> float:
    return sum(hit / rank for hit, rank in enumerate(ranks, 1)) / len(ranks) if ranks else 0.0


def baselines(task: Task, train: Sequence[Example], examples: Sequence[Example]) -> dict[str, float]:
    """Name -> primary metric of predictions that ignore the text, learnt from ``train``, scored on ``examples``.

    majority: classification: the most frequent class; relation: the most frequent positive class (the best constant,
        as the negative class scores 0); multilabel: always the most frequent label (no label scores 0); tagging: no
        entity; ranking: the order of the list.
    random: mean score of 20 fixed draws of the tag of a random training word (made IOB2), or the labels of a random
        training example; ranking: the exact mean over all orders.
    lookup: tagging: the most frequent training tag of the word, O for unknown words, made IOB2; spans: every
        occurrence of words that are more often a mention than not in training.
    spans, majority: the whole text as a mention of the most frequent label.
    mean: regression, and nothing else there: the mean of the training values (a constant: no correlation).

    Raises:
        DataError: one of the two is empty.
    """
    if not train or not examples:
        raise DataError(
            f"task {task.name}: baselines need training examples ({len(train)}) and others to score ({len(examples)})"
        )
    if task.kind == "ranking":
        listed = [average_precision(e, [0.0] * len(e.texts)) for e in examples]
        return {"majority": float(np.mean(listed)), "random": float(np.mean([_random_order(e) for e in examples]))}
    if task.kind == "regression":
        constant = [standardised(task, train).mean] * len(examples)
        return {"mean": score(task, examples, constant)[task.metric]}
    rng = np.random.Generator(np.random.Philox(0))
    if task.kind == "tagging":
        return _tagging_baselines(task, train, examples, rng)
    if task.kind == "spans":
        guesses = {"majority": whole_texts(train, examples), "lookup": known_spans(train, examples)}
        return {name: score(task, examples, guess)[task.metric] for name, guess in guesses.items()}
    seen, gold = _indicator(task, [e.labels for e in train]), _indicator(task, [e.labels for e in examples])
    counts = seen.sum(axis=0)
    if task.negative is not None:
        counts[task.labels.index(task.negative)] = -1
    constant = np.zeros_like(gold)
    constant[:, counts.argmax()] = counts.max() > 0  # what training never shows is not predicted
    draws = [_f1(task, gold, seen[rng.integers(len(seen), size=len(gold))]) for _ in range(DRAWS)]
    return {"majority": _f1(task, gold, constant), "random": float(np.mean(draws))}


def _random_order(example: Example) -> float:
    """Mean average precision over all orders of the candidates.

    With n candidates, r relevant: rank k holds a relevant one with probability r/n, and then 1 + (k-1)(r-1)/(n-1)
    of the first k are relevant on average; sum the quotient by k over all ranks, divide by r.
    """
    n, relevant = len(example.labels), example.labels.count("relevant")
    if relevant == 0 or n == 1:
        return float(relevant)
    harmonic = sum(1 / k for k in range(1, n + 1))
    return (harmonic + (relevant - 1) / (n - 1) * (n - harmonic)) / n


def _indicator(task: Task, labels: Sequence[Sequence[str]]) -> NDArray[np.bool_]:
    """(examples, labels) with True where an example has the label."""
    column = {label: i for i, label in enumerate(task.labels)}
    matrix = np.zeros((len(labels), len(column)), dtype=bool)
    for row, names in enumerate(labels):
        matrix[row, [column[name] for name in names]] = True
    return matrix


def _f1(task: Task, gold: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float:
    """The primary metric of the three kinds with labels, from indicator matrices; scikit-learn is slow for 20 draws."""
    hits, total = (gold & predicted).sum(axis=0), gold.sum(axis=0) + predicted.sum(axis=0)
    if task.kind == "classification":
        return float(np.mean(2 * hits[total > 0] / total[total > 0]))
    columns = [i for i, label in enumerate(task.labels) if label != task.negative]
    return _ratio(2 * hits[columns].sum(), total[columns].sum())


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


def _tagging_baselines(
    task: Task, train: Sequence[Example], examples: Sequence[Example], rng: np.random.Generator
) -> dict[str, float]:
    code = {tag: i for i, tag in enumerate(task.classes)}  # O is 0, B- odd, I- even
    seen = np.array([code[tag] for e in train for tag in e.tags])
    gold = np.array([code[tag] for e in examples for tag in e.tags])
    first = np.cumsum([0, *(len(e.tags) for e in examples[:-1])])
    random = [_entity_f1(gold, _iob2(seen[rng.integers(len(seen), size=len(gold))], first)) for _ in range(DRAWS)]
    counts = Counter((word, code[tag]) for e in train for word, tag in zip(_words(e), e.tags, strict=True))
    # Rising frequency, then falling code: the last one stays, and the order of the examples does not matter.
    usual = dict(sorted(counts, key=lambda pair: (counts[pair], -pair[1])))
    lookup = np.array([usual.get(word, 0) for e in examples for word in _words(e)])
    return {
        "majority": 0.0,
        "random": float(np.mean(random)),
        "lookup": _entity_f1(gold, _iob2(lookup, first)),
    }


def _words(example: Example) -> list[str]:
    return [example.texts[0][0][a:b] for a, b in example.words]


def _iob2(codes: NDArray[np.int64], first: NDArray[np.int64]) -> NDArray[np.int64]:
    """Tag codes where an I- that continues nothing became a B-; ``first`` are the positions that begin a sentence."""
    entity = (codes + 1) // 2  # the same for B- and I- of one type: a repaired tag still serves its successor
    before = np.concatenate([[0], entity[:-1]])
    before[first] = 0
    dangling = (codes > 0) & (codes % 2 == 0) & (before != entity)
    return codes - dangling


def _entity_f1(gold: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Entity F1 of IOB2 tag codes laid end to end (no sentence begins with I-, so entities end with their sentence)."""
    starts = (gold % 2 == 1) & (gold == predicted)
    hits = starts & (_ends(gold) == _ends(predicted))
    return _ratio(2 * hits.sum(), (gold % 2 == 1).sum() + (predicted % 2 == 1).sum())


def _ends(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """For every word the next position that does not continue an entity."""
    n = len(codes)
    stops = np.where((codes > 0) & (codes % 2 == 0), n, np.arange(n))
    return np.minimum.accumulate(np.append(stops[1:], n)[::-1])[::-1]


def whole_texts(train: Sequence[Example], examples: Sequence[Example]) -> list[list]:
    """Every text as one mention of the label that training has most."""
    counts = Counter(label for e in train for label, _ in e.mentions)
    if not counts:
        return [[] for _ in examples]
    label = max(sorted(counts), key=counts.__getitem__)
    return [[[label, [[e.offset + e.words[0][0], e.offset + e.words[-1][1]]]]] for e in examples]


def known_spans(train: Sequence[Example], examples: Sequence[Example]) -> list[list]:
    """Runs of words that were a mention in at least half of the places where training has them, by label."""
    marked: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for e in train:
        for label, pieces in set(e.mentions):
            if len(pieces) == 1 and (at := in_words(e, pieces)) is not None:
                marked[label, _run(e, *at[0])] += 1
    wanted = {run for _, run in marked}
    seen = Counter(run for e in train for run, _ in _runs(e, wanted))
    known: dict[tuple[str, ...], list[str]] = {}
    for label, run in marked:
        if 2 * marked[label, run] >= seen[run]:
            known.setdefault(run, []).append(label)
    return [
        [[label, [list(in_characters(e, [at])[0])]] for run, at in _runs(e, known) for label in sorted(known[run])]
        for e in examples
    ]


def _run(example: Example, start: int, end: int) -> tuple[str, ...]:
    return tuple(word.lower() for word in _words(example)[start:end])


def _runs(example: Example, wanted: Collection[tuple[str, ...]]) -> Iterator[tuple[tuple[str, ...], tuple[int, int]]]:
    """Where runs of words that are wanted stand in an example, in word numbers."""
    lengths = sorted({len(run) for run in wanted})
    words = [word.lower() for word in _words(example)]
    for start in range(len(words)):
        for length in lengths:
            run = tuple(words[start : start + length])
            if len(run) == length and run in wanted:
                yield run, (start, start + length)
