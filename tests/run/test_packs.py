"""Short runs share a job: which do, for any plan; and a job of several runs, whatever one of them does."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtlfn.run.config import Config
from mtlfn.run.many import estimate, packs, plan

BASE = plan.multi("s2", Config(budget_tokens=100), "base")


@st.composite
def plans(draw: st.DrawFn) -> tuple[list[plan.Node], list[plan.Node], dict[str, float]]:
    """Nodes that need some before them, those of them that are left, and the seconds of each."""
    nodes: list[plan.Node] = []
    for number in range(draw(st.integers(1, 14))):
        needs = draw(st.lists(st.sampled_from(nodes), max_size=2, unique=True)) if nodes else []
        nodes.append(attrs.evolve(BASE, name=f"n{number}", needs=tuple(need.name for need in needs)))
    finished = draw(st.sets(st.sampled_from([node.name for node in nodes])))
    done: set[str] = set()
    for node in nodes:  # what is finished had what it needs
        if node.name in finished and done.issuperset(node.needs):
            done.add(node.name)
    seconds = {node.name: draw(st.floats(0.1, 200)) for node in nodes}
    return nodes, [node for node in nodes if node.name not in done], seconds


@given(plans(), st.integers(1, 5))
def test_every_run_is_in_one_job_and_no_job_waits_for_itself(drawn, jobs):
    nodes, left, seconds = drawn
    shared = packs.packs(nodes, left, lambda node: seconds[node.name], jobs)
    assert sorted(node.name for pack in shared for node in pack) == sorted(node.name for node in left)
    assert all(shared)
    for pack in shared:
        names = [node.name for node in pack]
        assert names == sorted(names, key=[node.name for node in left].index)
        total = sum(seconds[name] for name in names)
        longest = max(total_of(part, seconds) for part in parts(nodes, left) if part & set(names))
        assert len(pack) == 1 or longest <= packs.LONG
        assert len(pack) == 1 or total <= packs.JOB + longest
        for node in pack:  # what a run needs is in its own job, or its own job is of it alone
            needs = set(node.needs) & {other.name for other in left}
            assert needs <= set(names) or len(pack) == 1


def parts(nodes: Sequence[plan.Node], left: Sequence[plan.Node]) -> list[set[str]]:
    """What hangs together, found by spreading until nothing changes."""
    open_, out = {node.name for node in left}, []
    pairs = [(node.name, need) for node in nodes for need in node.needs]
    while open_:
        part, before = {min(open_)}, None
        while part != before:
            before = set(part)
            part |= {name for pair in pairs if part.intersection(pair) for name in pair}
        out.append(part & open_)
        open_ -= part
    return out


def total_of(part: set[str], seconds: dict[str, float]) -> float:
    return sum(seconds[name] for name in part)


def study(seeds: int, tasks: int) -> list[plan.Node]:
    out = []
    for seed in range(seeds):
        full = attrs.evolve(BASE, name=f"seed-{seed}/multi")
        out += [full, *(attrs.evolve(BASE, name=f"seed-{seed}/{task}", needs=(full.name,)) for task in range(tasks))]
    return out


def test_short_runs_fill_jobs_equally_and_long_ones_have_one_each():
    nodes = study(8, 8)

    def sizes(seconds: float, jobs: int) -> list[int]:
        return [len(pack) for pack in packs.packs(nodes, nodes, lambda _: seconds, jobs)]

    assert sizes(2.0, 2) == [36] * 2  # 144 s in all
    assert sizes(5.0, 2) == [18] * 4  # 360 s: twice two jobs
    assert sizes(2.0, 8) == [9] * 8  # what needs one another stays together, so no more than seeds
    assert sizes(0.1, 2) == [36] * 2
    assert sizes(10.0, 2) == [1] * 72  # a seed takes more than a minute


def test_of_planted_worlds_it_is_known_beforehand_that_they_are_short(tmp_path):
    planted = Config(backbone="planted", budget_tokens=24_000)
    first = plan.multi("s2", planted, "first")
    need = attrs.evolve(first, name="second", needs=("first",))
    expected = estimate.estimate(tmp_path, (first, need))
    assert expected.seconds(need) < 5 < 60 < estimate.estimate(tmp_path, (BASE,)).seconds(BASE)


def test_runs_of_a_smaller_backbone_are_expected_to_be_shorter(tmp_path):
    def seconds(size: int | None) -> float:
        folder = tmp_path / f"of {size} bytes"
        folder.mkdir()
        if size is not None:
            with (folder / "model.safetensors").open("wb") as file:
                file.truncate(size)
        node = plan.multi("s2", Config(backbone=str(folder), budget_tokens=24_000), "first")
        return estimate.estimate(tmp_path, (node,)).seconds(node)

    usual = estimate.estimate(tmp_path, (BASE,)).seconds(attrs.evolve(BASE, tokens=24_000))
    assert seconds(10**9) == seconds(None) == usual
    assert seconds(910_000) == pytest.approx(usual / 100)
