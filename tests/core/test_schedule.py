"""The learning rate is a function of token progress: up, then down to zero at the horizon, never above its peak."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtlfn.core.schedule import Schedule, learning_rate

schedules = st.builds(
    Schedule,
    peak=st.floats(1e-6, 1),
    schedule_tokens=st.integers(1, 10**9),
    warmup_ratio=st.sampled_from([0.0, 0.06, 0.1, 0.5, 1.0]),
    decay=st.sampled_from(["linear", "cosine", "constant"]),
)
share = st.floats(0, 2)


@given(schedules, share)
def test_the_rate_stays_between_zero_and_the_peak(schedule, at):
    rate = learning_rate(schedule, int(at * schedule.schedule_tokens))
    assert 0 <= rate <= schedule.peak * (1 + 1e-12)


@given(schedules, share, share)
def test_the_rate_rises_through_the_warm_up_and_never_after(schedule, a, b):
    first, second = sorted(int(x * schedule.schedule_tokens) for x in (a, b))
    warm = schedule.warmup_ratio * schedule.schedule_tokens
    early, late = learning_rate(schedule, first), learning_rate(schedule, second)
    if second < warm:
        assert late == pytest.approx(schedule.peak * second / warm, rel=1e-9)
        assert early <= late
    elif first > warm:
        assert late <= early + 1e-12 * schedule.peak
        if schedule.decay == "constant":
            assert early == late == schedule.peak
        elif first < second <= schedule.schedule_tokens and second - first > 1e-6 * schedule.schedule_tokens:
            assert late < early


@given(schedules, st.integers(0, 10**6))
def test_from_the_horizon_on_the_rate_is_zero(schedule, beyond):
    rate = learning_rate(schedule, schedule.schedule_tokens + beyond)
    if schedule.decay == "constant":
        assert rate == schedule.peak
    else:
        assert rate == pytest.approx(0, abs=1e-12 * schedule.peak)


@given(schedules.filter(lambda s: s.warmup_ratio < 1))
def test_the_peak_is_reached_where_the_warm_up_ends(schedule):
    schedule = attrs.evolve(schedule, schedule_tokens=10**6)
    rate = learning_rate(schedule, round(schedule.warmup_ratio * 10**6))
    assert rate == pytest.approx(schedule.peak, rel=1e-9)
    assert (learning_rate(schedule, 0) == 0) == (schedule.warmup_ratio > 0)


@given(schedules, share, st.integers(1, 1000))
def test_only_the_progress_counts(schedule, at, times):
    tokens = int(at * schedule.schedule_tokens)
    longer = attrs.evolve(schedule, schedule_tokens=times * schedule.schedule_tokens)
    assert learning_rate(longer, times * tokens) == pytest.approx(learning_rate(schedule, tokens), rel=1e-9, abs=1e-18)


def test_the_shapes_of_decay():
    made = {d: Schedule(peak=2.0, schedule_tokens=1000, warmup_ratio=0.2, decay=d) for d in ("linear", "cosine")}
    assert [learning_rate(made["linear"], n) for n in (100, 200, 400, 600, 800)] == pytest.approx([1, 2, 1.5, 1, 0.5])
    # cos at a quarter, half and three quarters of the way down
    assert [learning_rate(made["cosine"], n) for n in (400, 600, 800)] == pytest.approx([1 + 0.5**0.5, 1, 1 - 0.5**0.5])
