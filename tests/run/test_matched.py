"""What a match asks for is a function of the parent's token log alone: equal to the token, whatever the log says."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlfn.run import config as configs
from mtlfn.run import documents
from mtlfn.run.documents.configuration import Configuration
from mtlfn.run.documents.result import Result, Tokens
from mtlfn.run.errors import UsageError
from mtlfn.run.one import matched

LOGS = st.dictionaries(
    st.sampled_from(["bc5cdr_disease", "ddi", "hoc", "pubmedqa", "semeval2017_t3"]),
    st.integers(1, 10**9),
    min_size=2,
)


def finished(log: dict[str, int], horizon: int, **changes: object) -> matched.Finished:
    config = configs.Config(tasks=",".join(log), budget_tokens=sum(log.values()), **changes)
    recorded = Configuration(experiment="s3b", identity={}, settings=configs.settings(config))
    tokens = Tokens(total=sum(log.values()), per_task=log)
    result = Result(experiment="s3b", seed=3, identity="a", digest="b", tokens=tokens)
    return matched.Finished(Path("there"), recorded, result, horizon)


@settings(max_examples=30, deadline=None)
@given(LOGS, st.floats(0.5, 4.0), st.sampled_from(["uniform", "proportional", "temperature"]), st.integers(0, 7))
def test_controls_have_the_tokens_of_the_log(log, stretch, sampling, micro_batches):
    total = sum(log.values())
    horizon = max(round(total * stretch), 1)
    run = finished(log, horizon, sampling=sampling, micro_batches=micro_batches)
    for task, share in log.items():
        full, plain = (matched.control(run, task, kind) for kind in ("total", "per-task"))
        assert full.budget_tokens == total
        assert full.schedule_tokens == horizon  # the same point of the schedule at the same number of tokens
        assert plain.budget_tokens == share
        assert abs(plain.schedule_tokens / plain.budget_tokens - horizon / total) <= 1 / share
        count = len(log) if sampling == "uniform" else micro_batches or len(log)
        assert (full.sampling, full.micro_batches) == ("proportional", count)
        assert plain.sampling == "uniform"
        for child in (full, plain):
            assert child.tasks == task
            assert child.parent.digest == "b"
            assert child.max_epochs is None


@settings(max_examples=30, deadline=None)
@given(LOGS, st.data())
def test_the_halves_of_the_exclusion_control_share_out_the_tokens_of_the_full_run(log, data):
    keep = data.draw(st.lists(st.sampled_from(sorted(log)), min_size=1, max_size=len(log) - 1, unique=True))
    run = finished(log, sum(log.values()))
    first = matched.kept(run, keep)
    second = matched.excluded(run, run, keep, ("shared",))
    assert first.budget_tokens == sum(log[t] for t in keep)
    assert first.budget_tokens + second.budget_tokens == sum(log.values())
    assert set(first.tasks.split(",")) | set(second.tasks.split(",")) == set(log)
    assert not set(first.tasks.split(",")) & set(second.tasks.split(","))
    assert second.frozen_slots == ("shared",)


@pytest.mark.parametrize(
    "child",
    [
        lambda run: matched.kept(run, ["ddi", "hoc"]),
        lambda run: matched.kept(run, ["bc5cdr_disease"]),
        lambda run: matched.excluded(run, run, ["bc5cdr_disease"], ("shared",)),
        lambda run: matched.pair(run, ["ddi", "hoc"]),
    ],
    ids=["kept", "excluded, before the first half", "excluded", "pair"],
)
def test_a_group_that_was_given_no_token_is_told(child):
    """Random sampling may have drawn none of its tasks."""
    run = finished({"bc5cdr_disease": 100, "ddi": 0, "hoc": 0}, 100)
    with pytest.raises(UsageError, match=r"^there: it gave no token to ddi, hoc, .*; leave the task out, or"):
        child(run)
    assert matched.pair(run, ["bc5cdr_disease", "ddi"]).budget_tokens == 100


def with_data(run: matched.Finished, folder: Path, sizes: dict[str, int | None]) -> matched.Finished:
    """The run in a folder, whose data.json has training splits of these tokens."""
    said = {task: {"train": {"examples": 9, **({} if n is None else {"tokens": n})}} for task, n in sizes.items()}
    documents.write(folder / documents.DATA, said)
    return attrs.evolve(run, path=folder)


def test_with_random_sampling_a_group_is_drawn_among_all_tasks(tmp_path):
    log, sizes = {"ddi": 10, "hoc": 20, "pubmedqa": 30}, {"ddi": 100, "hoc": 300, "pubmedqa": 200}
    run = with_data(finished(log, 60, sampling="proportional"), tmp_path, sizes)
    assert configs.sizes(matched.pair(run, ["ddi", "hoc"]).drawn_among) == sizes
    assert matched.pair(with_data(finished(log, 60), tmp_path, sizes), ["ddi", "hoc"]).drawn_among == ""
    assert matched.shuffled(run, "ddi").drawn_among == ""  # all tasks are there
    older = with_data(run, tmp_path, {**sizes, "hoc": None})
    with pytest.raises(UsageError, match="does not say how many tokens hoc has, as it is of an older version; train"):
        matched.pair(older, ["ddi", "hoc"])
