"""Gradients on several ranks are, to the bit, those of one process; here every rank is a thread."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mtlfn.core import gradients, methods, step
from mtlfn.core.keys import fold, root
from mtlfn.core.ranks import Ranks, across, costs, shares
from mtlfn.core.schedule import Schedule
from mtlfn.core.state import State, digest
from tests.core import tiny
from tests.core.tiny import REACH, TASKS

SUBSETS = [s for n in range(1, 5) for s in itertools.combinations(TASKS, n)]


def together(size: int, work: Callable[[Ranks], object]) -> list:
    """What each of so many ranks comes to, in a thread each that gathers for real."""
    vectors: list[Tensor | None] = [None] * size
    barrier = threading.Barrier(size, timeout=30)
    results: list = [None] * size

    def member(rank: int) -> None:
        def gather(vector: Tensor) -> Sequence[Tensor]:
            vectors[rank] = vector
            barrier.wait()
            everyone = [v.clone() for v in vectors if v is not None]
            barrier.wait()
            return everyone

        results[rank] = work(Ranks(rank, size, gather))

    threads = [threading.Thread(target=member, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def gradient_digests(engine: gradients.Engine, tasks: tuple[str, ...]) -> tuple[str, str]:
    """Of losses and rows of a batch of these tasks."""
    weights = {task: 0.3 + i for i, task in enumerate(TASKS)}
    params = tiny.begin().params
    result = engine(tiny.loss(), params, REACH, tiny.batch(3, tasks), fold(root(5), "step"), weights)
    return digest(dict(result.losses)), digest({s: dict(names) for s, names in result.rows.items()})


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6])
def test_gathered_gradients_are_those_of_one_process(size: int):
    for tasks in SUBSETS:
        alone = gradient_digests(gradients.loop, tasks)
        assert (
            together(size, lambda ranks, t=tasks: gradient_digests(across(gradients.loop, ranks), t)) == [alone] * size
        )


def state_after(engine: gradients.Engine, steps: int) -> State:
    schedule = Schedule(peak=0.02, schedule_tokens=8_000, warmup_ratio=0.2)
    config = step.StepConfig(schedule=schedule, engine=engine, method=methods.method("pcgrad"), weighting="uncertainty")
    take, state = step.build(config, tiny.loss(), REACH), tiny.begin()
    for number in range(steps):
        state = take(state, tiny.batch(number, SUBSETS[-1 - number % 6]))
    return state


@pytest.mark.parametrize("size", [2, 4])
def test_fifty_steps_end_in_one_digest(size: int):
    alone = digest(state_after(gradients.loop, 50))
    assert together(size, lambda ranks: digest(state_after(across(gradients.loop, ranks), 50))) == [alone] * size


def test_an_infinite_loss_is_gathered_as_it_is():
    def exploding(params, batch, key):
        return {t: v * (float("inf") if t == "b" else 1.0) for t, v in tiny.loss()(params, batch, key).items()}

    def taken(engine: gradients.Engine) -> State:
        config = step.StepConfig(schedule=Schedule(peak=0.02, schedule_tokens=100), engine=engine)
        return step.build(config, exploding, REACH)(tiny.begin(), tiny.batch(0))

    alone = taken(gradients.loop)
    assert alone.nonfinite.in_a_row == 1
    assert together(2, lambda ranks: digest(taken(across(gradients.loop, ranks)))) == [digest(alone)] * 2


@given(st.dictionaries(st.text(min_size=1), st.integers(0, 10**6), max_size=12), st.integers(1, 6))
def test_every_task_has_one_rank_and_no_rank_far_too_much(costs_of: dict[str, int], size: int):
    tasks = shares(costs_of, size)
    assert len(tasks) == size
    assert sorted(t for each in tasks for t in each) == sorted(costs_of)
    most = max(sum(costs_of[t] for t in each) for each in tasks)
    # Whoever ends last began its last task when nobody had less to do.
    assert most <= sum(costs_of.values()) / size + max(costs_of.values(), default=0)


def test_fewer_tasks_than_ranks_leave_the_last_without():
    assert shares({"a": 1, "b": 2}, 4) == (("b",), ("a",), (), ())


def test_a_task_that_trains_less_costs_less():
    batch = tiny.batch(0)
    price = costs(batch, REACH)
    assert tuple(price) == TASKS
    assert price["a"] / batch.tokens_of("a").padded < price["c"] / batch.tokens_of("c").padded


def test_a_loss_of_another_type_is_refused():
    def double(params, batch, key):
        return {t: v.double() for t, v in tiny.loss()(params, batch, key).items()}

    engine = across(gradients.loop, Ranks(0, 2, lambda vector: [vector, vector]))
    with pytest.raises(TypeError, match=r"found torch\.float64"):
        engine(double, tiny.begin().params, REACH, tiny.batch(0), root(1), dict.fromkeys(TASKS, 1.0))


def test_one_rank_is_the_engine_itself():
    assert across(gradients.loop, Ranks(0, 1, lambda vector: [vector])) is gradients.loop
