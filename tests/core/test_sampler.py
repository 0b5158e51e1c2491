"""Tasks are drawn as often as the probabilities say, and the same step always draws the same."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from mtlfn.core.keys import root
from mtlfn.data.tokens.sampler import draw, probabilities

sizes = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 10**9), min_size=1)
SIZES = {"a": 100, "b": 900, "c": 2500, "d": 400}


@given(sizes, st.floats(0.05, 100))
def test_probabilities_are_the_power_law(volumes, temperature):
    found = probabilities("temperature", volumes, temperature)
    assert list(found) == list(volumes)
    assert math.isclose(sum(found.values()), 1)
    for i in volumes:
        for j in volumes:
            if found[i] > 0 and found[j] > 0:
                expected = (math.log(volumes[i]) - math.log(volumes[j])) / temperature
                assert math.isclose(math.log(found[i]) - math.log(found[j]), expected, abs_tol=1e-9, rel_tol=1e-9)


@given(sizes)
def test_temperature_one_is_proportional_and_a_large_one_uniform(volumes):
    proportional = probabilities("proportional", volumes, 7.0)
    total = sum(volumes.values())
    assert proportional == probabilities("temperature", volumes, 1.0)
    assert all(math.isclose(p, volumes[t] / total) for t, p in proportional.items())
    uniform = probabilities("uniform", volumes, 7.0)
    assert uniform == dict.fromkeys(volumes, 1 / len(volumes))
    for t, p in probabilities("temperature", volumes, 1e9).items():
        assert math.isclose(p, uniform[t], rel_tol=1e-6)


def test_a_small_temperature_overflows_nothing():
    assert probabilities("temperature", {"a": 10**9, "b": 1}, 0.01) == {"a": 1.0, "b": 0.0}


@pytest.mark.parametrize(("sampling", "temperature"), [("proportional", 2.0), ("temperature", 2.0), ("temperature", 5)])
@pytest.mark.parametrize("seed", [0, 1])
def test_draws_come_as_often_as_the_probabilities_say(sampling, temperature, seed):
    expected = {"proportional": SIZES, "temperature": {t: n ** (1 / temperature) for t, n in SIZES.items()}}[sampling]
    steps, count = 1500, 3
    drawn = Counter(t for s in range(steps) for t in draw(sampling, SIZES, temperature, count, root(seed), s))
    shares = [expected[t] / sum(expected.values()) * steps * count for t in SIZES]
    assert chisquare([drawn[t] for t in SIZES], shares).pvalue > 1e-3  # the seeds are fixed: no false alarm


@given(sizes, st.integers(1, 8), st.integers(0, 2**31), st.integers(0, 10**6))
def test_a_draw_is_a_function_of_key_and_step_in_canonical_order(volumes, count, seed, step):
    drawn = draw("temperature", volumes, 2.0, count, root(seed), step)
    assert len(drawn) == count
    places = [list(volumes).index(t) for t in drawn]
    assert places == sorted(places)
    assert drawn == draw("temperature", volumes, 2.0, count, root(seed), step)
    assert draw("uniform", volumes, 2.0, count, root(seed), step) == tuple(volumes)


def test_steps_and_seeds_draw_differently():
    draws = [tuple(draw("proportional", SIZES, 1, 4, root(seed), s) for s in range(50)) for seed in range(5)]
    assert len(set(draws)) == 5
    assert all(len(set(one)) > 5 for one in draws)
