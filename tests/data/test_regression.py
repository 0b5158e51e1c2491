"""Numbers as labels: standardised by the training data, stored as floats, scored by correlation."""

from __future__ import annotations

import json
import math
import statistics

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mtlfn.data import metrics
from mtlfn.data.example import DataError, Example
from mtlfn.data.kinds import regression
from mtlfn.data.screening import survey
from mtlfn.data.task import Dataset, Task, check, fitted, label_counts, problems
from mtlfn.data.tokens import store
from mtlfn.models import backbone
from mtlfn.run.one import evaluate
from tests.tiny import bert, tiny_folder

__all__ = ["bert", "tiny_folder"]
TASK = Task(name="close", kind="regression", level=2)
BAD = (math.nan, math.inf, -math.inf, None)
finite = st.floats(allow_nan=False, allow_infinity=False)


def examples(*values: float | None) -> tuple[Example, ...]:
    return tuple(Example(id=str(i), unit=str(i), texts=(("a", "b"),), value=v) for i, v in enumerate(values))


def dataset(train: tuple[float | None, ...], dev: tuple[float | None, ...] = (1.0, 2.5)) -> Dataset:
    return Dataset(task=fitted(TASK, examples(*train)), train=examples(*train), dev=examples(*dev))


@given(st.lists(st.decimals(-(10**6), 10**6, places=3).map(float), min_size=1, max_size=30))
def test_standardised_by_mean_and_deviation_of_the_population(values):
    task = fitted(TASK, examples(*values))
    size = max(map(abs, values))
    assert task.mean == pytest.approx(statistics.fmean(values), abs=1e-12 * size)
    assert task.std == pytest.approx(statistics.pstdev(values) or 1.0, rel=1e-6, abs=1e-12 * size)


@given(st.lists(finite, min_size=1, max_size=30))
def test_any_finite_values_have_a_finite_mean_and_a_deviation_above_zero(values):
    task = fitted(TASK, examples(*values))
    assert math.isfinite(task.mean)
    assert 0 < task.std < math.inf
    assert fitted(TASK, examples(*reversed(values))) == task


def test_equal_values_are_not_divided_by_zero():
    assert fitted(TASK, examples(0.1, 0.1, 0.1)) == evolve(TASK, mean=0.1, std=1.0)
    assert fitted(TASK, examples(0.0)) == TASK
    assert fitted(TASK, ()) == TASK


@pytest.mark.parametrize("value", BAD)
def test_values_that_are_no_numbers_are_refused(value):
    assert problems(TASK, examples(value)[0]) == f"has the value {value}, expected a finite number"
    with pytest.raises(DataError, match=f"task close, dev, example '1' has the value {value}"):
        check(dataset((1.0, 2.0), (1.0, value)))
    assert problems(TASK, examples(-2.5)[0]) is None


@pytest.mark.parametrize("label", [10**400, -(10**400), [1.0, 10**400], [1.7e308, 1.7e308], "1e400"])
def test_numbers_beyond_any_float_are_refused(label):
    with pytest.raises(DataError, match=r"^found .{1,60}, expected .* finite.* for label$"):
        regression.example({"text": "a", "label": label}, (), "1", "1")


def test_there_are_no_labels_to_count():
    assert label_counts(TASK, examples(1.0, 2.0)) == {}
    assert TASK.classes == ("value",)


def test_stored_values_are_standardised_floats_and_come_back_from_the_cache(bert, tmp_path):
    tokenizer, data = backbone.load(str(bert)).tokenizer, dataset((10.0, 20.0, 40.0), (30.0, -1e6))
    for split, wanted in (("train", (10, 20, 40)), ("dev", (30, -1e6))):
        made, again = (store.load(data, split, tokenizer, 16, tmp_path) for _ in range(2))
        expected = (np.array(wanted) - statistics.fmean((10, 20, 40))) / statistics.pstdev((10, 20, 40))
        np.testing.assert_allclose(made.labels, expected, rtol=1e-6)
        assert made.labels.dtype == again.labels.dtype == np.float32
        assert made.digest == again.digest
        np.testing.assert_array_equal(made.labels, again.labels)
        assert made.label(1).tolist() == [made.labels[1]]
    other = store.load(dataset((10.0, 20.0, 40.5), (30.0, -1e6)), "dev", tokenizer, 16, tmp_path)
    assert other.digest != made.digest  # what dev's labels mean depends on training


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=2, max_size=20))
def test_scores_are_those_of_scipy(pairs):
    gold, predicted = ([round(v, 2) for v in column] for column in zip(*pairs, strict=True))
    found = metrics.score(TASK, examples(*gold), predicted)
    assert list(found) == ["pearson", "spearman"]
    assert TASK.metric == "pearson"
    if len({*gold}) == 1 or len({*predicted}) == 1:
        assert found == {"pearson": 0.0, "spearman": 0.0}
    else:
        assert found["pearson"] == pytest.approx(stats.pearsonr(gold, predicted).statistic, abs=1e-9)
        assert found["spearman"] == pytest.approx(stats.spearmanr(gold, predicted).statistic, abs=1e-9)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_model_that_predicts_no_number_has_no_correlation(value):
    assert metrics.score(TASK, examples(1.0, 2.0, 3.0), [1.0, 2.0, value]) == {"pearson": 0.0, "spearman": 0.0}


@pytest.mark.parametrize("prediction", ["2.0", [2.0], None, True])
def test_predictions_of_another_form_are_refused(prediction):
    with pytest.raises(DataError, match=r"task close, example '1': the prediction is .*, expected a number"):
        metrics.score(TASK, examples(1.0, 2.0), [1.0, prediction])


def test_one_example_has_no_correlation():
    assert metrics.score(TASK, examples(1.0), [1.0]) == {"pearson": 0.0, "spearman": 0.0}


def test_the_baseline_is_a_constant():
    assert metrics.baselines(TASK, examples(1.0, 2.0), examples(3.0, 5.0, 4.0)) == {"mean": 0.0}


def test_the_survey_shows_the_values(bert):
    lines = list(survey.describe(dataset((1.0, 2.0, 6.0)), backbone.load(str(bert)).tokenizer, 64, {}))
    assert "  values  mean 3  std 2.16  least 1  most 6" in lines
    assert not [line for line in lines if line.startswith("  labels")]


def test_written_predictions_hold_numbers(tmp_path):
    held = Dataset(task=TASK, train=(), dev=examples(1.0, 2.5))
    path = evaluate.write_predictions(tmp_path, held, "dev", [0.5, 2.25])
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["gold"], row["prediction"]) for row in rows] == [(1.0, 0.5), (2.5, 2.25)]
