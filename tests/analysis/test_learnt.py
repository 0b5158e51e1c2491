"""Ceiling, floor and collapse: told from test scores and from dev scores beside the simple baselines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mtlfn.analysis import outcome
from mtlfn.analysis.runs import cells
from mtlfn.analysis.statistics import learnt
from tests.analysis.made import edit, write_study

RULE = outcome.Rule(draws=1000)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return write_study(tmp_path / "runs")


def learnt_so(runs: Path, dev: float, pattern: str = "*", task: str = "answers") -> None:
    """Gives runs a dev score and a baseline of 0.3."""
    for path in runs.glob(f"{pattern}/result.json"):
        document = json.loads(path.read_text())
        if task in document["tokens"]["per_task"]:
            edit(path, scores={task: {"metric": "map", "dev": dev, "baselines": {"random": 0.3, "majority": 0.1}}})


def row(runs: Path, task: str = "answers") -> dict:
    return outcome.judge(cells.find([runs]), RULE)["studies"][0]["tasks"][task]


def test_where_nothing_is_known_nothing_is_said(runs: Path) -> None:
    assert (row(runs)["level"], row(runs)["collapses"], row(runs)["units_are"]) == ("", {}, "")


def test_no_side_above_the_baseline_is_not_learnt(runs: Path) -> None:
    learnt_so(runs, 0.3)
    said = row(runs)
    assert (said["level"], said["verdict"], said["row"]) == ("floor", "not learnt", "inconclusive")
    assert "train on more tokens" in said["advice"]
    learnt_so(runs, 0.31, "multi-*")
    assert (row(runs)["level"], row(runs)["verdict"]) == ("", "genuine transfer")


def test_the_ceiling_leaves_no_room_for_the_margin(runs: Path) -> None:
    (study,) = cells.find([runs]).studies
    scores = {"multi-task": {"0": 0.995}, "token-controlled S1": {"0": 0.99}, "plain S1": {}}
    assert learnt.level(study, "answers", scores, 0.01) == "ceiling"
    assert learnt.level(study, "answers", scores, 0.005) == ""


def test_a_collapsed_seed_is_flagged_and_counted_by_side(runs: Path) -> None:
    learnt_so(runs, 0.6)
    assert row(runs)["collapses"] == {}
    learnt_so(runs, 0.3, "multi-1")
    said = row(runs)
    assert said["collapses"] == {
        "multi-task": {"seeds": [1], "of": 3, "interval_95": pytest.approx([0.008, 0.906], abs=1e-3)}
    }
    (line,) = learnt.words(said)
    assert line.startswith("multi-task: 1 of 3 seeds collapsed to the simple baseline or below (seed 1;")
    assert "1 of 3 seeds collapsed" in outcome.as_csv(outcome.judge(cells.find([runs]), RULE))


def test_rates_are_those_of_the_exact_interval() -> None:
    # Clopper & Pearson, as every table has them; scipy's binomtest gives the same.
    from scipy.stats import binomtest

    for failed, count in ((0, 3), (1, 10), (10, 10)):
        exact = binomtest(failed, count).proportion_ci(0.95, "exact")
        assert learnt.rate(failed, count) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize(("examples", "said"), [(120, "single examples"), (500, "groups of examples")])
def test_it_is_told_what_a_unit_is(runs: Path, examples: int, said: str) -> None:
    (runs / "multi-0" / "data.json").write_text(json.dumps({"answers": {"test": {"examples": examples}}}))
    assert row(runs)["units_are"] == said
