"""Labels and numbers of whole texts: the labels of SemEval-2021 task 6, subtask 1, and graded similarity."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from mtlfn.data.example import DataError


def labels_f1(
    gold: Mapping[str, Collection[str]], predicted: Mapping[str, Collection[str]], labels: Sequence[str]
) -> dict[str, float]:
    """micro_f1 and macro_f1 over all ``labels``, as scikit-learn computes them with ``zero_division=1``.

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
    from sklearn.metrics import f1_score

    names = sorted(gold)
    columns = range(len(labels))
    matrices = _indicator(gold, names, labels), _indicator(predicted, names, labels)
    return {
        f"{average}_f1": float(f1_score(*matrices, average=average, labels=columns, zero_division=1))
        for average in ("micro", "macro")
    }


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
            value = float(pearsonr(one, other).statistic)
        return 0.0 if np.isnan(value) else value

    # A factor changes no correlation, but keeps sums and squares of extreme values in range.
    scaled = [values / (np.abs(values).max() or 1.0) for values in columns]
    return {"pearson": of(*scaled), "spearman": of(*(rankdata(values) for values in columns))}


def _same_length(gold: Sequence[object], predicted: Sequence[object]) -> None:
    if len(gold) != len(predicted):
        raise DataError(f"{len(predicted)} predictions for {len(gold)} gold values, expected one each")


def _indicator(found: Mapping[str, Collection[str]], names: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """(documents, labels + 1); the last column is empty, for scikit-learn takes a single one for a binary vector."""
    column = {label: i for i, label in enumerate(labels)}
    matrix = np.zeros((len(names), len(labels) + 1), dtype=bool)
    for row, name in enumerate(names):
        for label in found[name]:
            if label not in column:
                raise DataError(f"document {name!r} has the label {label!r}, expected one of {', '.join(labels)}")
            matrix[row, column[label]] = True
    return matrix
