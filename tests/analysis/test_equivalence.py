"""Tests by counting, two one-sided tests against a textbook case, and Holm's correction against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mtlfn.analysis.statistics.equivalence import holm, p_above, p_below, p_within

probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def test_counts() -> None:
    replicates = np.array([-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert p_above(replicates, 0.0) == 4 / 10  # three at or below
    assert p_below(replicates, 0.0) == 8 / 10  # seven at or above
    assert p_above(replicates, -9.0) == p_below(replicates, 9.0) == 1 / 10
    assert p_within(replicates, 1.0) == max(p_above(replicates, -1.0), p_below(replicates, 1.0)) == 7 / 10


def test_two_one_sided_tests_of_a_textbook_case() -> None:
    # Student (1908), hours of sleep gained by ten patients with either of two drugs; what lies within 2.5 hours counts
    # as equivalent. statsmodels' ttost_paired gives the same p-value, 0.0211.
    one = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    other = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    bounds = [
        stats.ttest_rel(one + 2.5, other, alternative="greater"),
        stats.ttest_rel(one - 2.5, other, alternative="less"),
    ]
    exact = max(float(test.pvalue) for test in bounds)
    difference = one - other
    error = difference.std(ddof=1) / np.sqrt(10)
    replicates = difference.mean() + error * stats.t.ppf((np.arange(100_000) + 0.5) / 100_000, 9)
    assert p_within(replicates, 2.5) == pytest.approx(exact, abs=2e-5)
    assert exact == pytest.approx(0.0211, abs=1e-4)
    assert p_within(replicates, 1.5) > 0.5


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=50), st.floats(0, 1))
def test_within_is_the_larger_one_and_never_zero(values: list[float], margin: float) -> None:
    replicates = np.array(values)
    assert p_within(replicates, margin) >= 1 / (len(values) + 1)
    assert p_above(replicates, margin) == p_below(-replicates, -margin)
    # Equivalence at level a is the interval of 1 - 2a inside the margins.
    inside = sorted(values)[0] > -margin and sorted(values)[-1] < margin
    assert (p_within(replicates, margin) == 1 / (len(values) + 1)) == inside


@given(probabilities)
def test_holm_by_its_definition(values: list[float]) -> None:
    # Reject the smallest as long as it is at most a / (number left); the adjusted p-value is the least such level.
    count = len(values)
    order = sorted(range(count), key=lambda i: values[i])
    adjusted = holm(values)
    for rank, i in enumerate(order):
        assert adjusted[i] == min(1.0, max((count - j) * values[order[j]] for j in range(rank + 1)))


def test_holm_of_known_values() -> None:
    # Holm (1979) as every textbook has it; statsmodels' multipletests(method="holm") gives the same.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []
