"""Labels and numbers of whole texts: the labels of SemEval-2021 task 6, subtask 1, and graded similarity."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtlfn.data.example import DataError


def labels_f1(
    gold: Mapping[str, Collection[str]], predicted: Mapping[str, Collection[str]], labels: Sequence[str]
) -> dict[str, float]:
    """micro_f1 and macro_f1 over all ``labels``, by the organisers' rule, scikit-learn's with ``zero_division=1``.

    Args:
        gold, predicted: document id -> its labels; a repeated one counts once.

    A label that is in neither gold nor predictions scores 1 in the macro average; micro_f1 is 1 if that is so of all.

    Raises:
        DataError: no label, no document, other documents in the predictions than in gold, or a label not in ``labels``.
    """
    if not gold or not labels:
        raise DataError(f"{len(gold)} documents and {len(labels)} labels, expected at least one of both")
    if odd := sorted(gold.keys() ^ predicted.keys()):
        where = "gold" if odd[0] in gold else "predictions"
        raise DataError(f"the document {odd[0]!r} is in the {where} only, expected the same documents in both")
    wanted, answered = (_indicator(labels_of, sorted(gold), labels) for labels_of in (gold, predicted))
    hits, both = (wanted & answered).sum(axis=0), wanted.sum(axis=0) + answered.sum(axis=0)
    return {"micro_f1": float(_f1(hits.sum(), both.sum())), "macro_f1": float(_f1(hits, both).mean())}


def correlations(gold: Sequence[float], predicted: Sequence[float]) -> dict[str, float]:
    """pearson and spearman, each in [-1, 1]; equal values share their mean rank.

    Where one of them is constant, or holds fewer than two values, no correlation is defined: both are 0.

    Raises:
        DataError: the lengths differ, or a value is not finite.
    """
    _same_length(gold, predicted)
    from scipy.stats import ConstantInputWarning, NearConstantInputWarning, pearsonr, rankdata

    columns = [np.asarray(values, dtype=float) for values in (gold, predicted)]
    for name, values in zip(("gold", "predicted"), columns, strict=True):
        if not np.isfinite(values).all():
            place = int(np.flatnonzero(~np.isfinite(values))[0])
            raise DataError(f"{name} value {place} is {values[place]}, expected a finite number")
    if len(gold) < 2:
        return {"pearson": 0.0, "spearman": 0.0}

    def of(one: np.ndarray, other: np.ndarray) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", (ConstantInputWarning, NearConstantInputWarning))
            value, _ = np.asarray(pearsonr(one, other), dtype=np.float64)
        return 0.0 if np.isnan(value) else float(value)

    # A factor changes no correlation, but keeps sums and squares of extreme values in range.
    scaled = [values / (np.abs(values).max() or 1.0) for values in columns]
    return {"pearson": of(*scaled), "spearman": of(*(rankdata(values) for values in columns))}


def _same_length(gold: Sequence[object], predicted: Sequence[object]) -> None:
    if len(gold) != len(predicted):
        raise DataError(f"{len(predicted)} predictions for {len(gold)} gold values, expected one each")


def _f1(hits: Any, both: Any) -> NDArray[np.float64]:
    """Of hits and the sum of gold and predictions; 1 where there is neither."""
    return np.where(both > 0, 2 * hits / np.maximum(both, 1), 1.0)


def _indicator(
    labels_of: Mapping[str, Collection[str]], names: Sequence[str], labels: Sequence[str]
) -> NDArray[np.bool_]:
    """(documents, labels) with True where a document has the label."""
    column = {label: i for i, label in enumerate(labels)}
    matrix = np.zeros((len(names), len(labels)), dtype=bool)
    for row, name in enumerate(names):
        for label in labels_of[name]:
            if label not in column:
                raise DataError(f"document {name!r} has the label {label!r}, expected one of {', '.join(labels)}")
            matrix[row, column[label]] = True
    return matrix
