"""Each study is held to its own declaration: its settings, its looks, its margin, wherever it is found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mtlfn.analysis import looks, outcome, rules
from mtlfn.analysis import study as studies
from mtlfn.analysis.command import report, verdict
from mtlfn.analysis.runs import cells
from mtlfn.analysis.statistics import planning
from mtlfn.analysis.statistics.verdict import Pair
from mtlfn.run import documents
from mtlfn.run.config import identity
from mtlfn.run.errors import UsageError
from tests.analysis import study_folder
from tests.analysis.made import edit, write_study, write_units
from tests.analysis.test_cells import beside
from tests.analysis.test_looks import RUN, declare, judged
from tests.analysis.test_verdict import found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study whose runs say of all their settings what it declared."""
    root = write_study(tmp_path / "study")
    said = json.loads(json.dumps(identity(RUN, strategy="s3b")))
    for path in root.glob("*/config.json"):
        edit(path, **{f"identity__{name}": value for name, value in said.items() if name != "seed"})
        edit(path, identity__gradients="pcgrad")  # which the strategy decides, and the run says
    declare(root)
    return root


def why(root: Path) -> list[str]:
    return judged(root)["studies"][0]["exploratory"]


# Settings


def test_runs_of_the_declared_settings_are_the_studys_own(folder: Path) -> None:
    assert why(folder) == []
    for path in folder.glob("*/config.json"):  # what the data decide, or where things lie
        edit(path, identity__max_length=64, identity__micro_batch_tokens=128,
             identity__read_out_layer=3, identity__backbone_digest="b")  # fmt: skip
    assert why(folder) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"budget_tokens": 999}, "budget_tokens 999 where the study declared 150000 (3 runs)"),
        ({"learning_rate": 0.5}, "learning_rate 0.5 where the study declared 0.001 (3 runs)"),
        ({"gradients": "sum"}, "gradients 'sum' where the study declared 'pcgrad' (3 runs)"),
        ({"select": "best"}, "select 'best' where the study declared 'last' (3 runs)"),
    ],
)
def test_runs_of_other_settings_are_told(folder: Path, changes: dict[str, Any], said: str) -> None:
    for path in folder.glob("*/config.json"):
        edit(path, **{f"identity__{name}": value for name, value in changes.items()})
    assert why(folder) == [said]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tasks": "answers,other"}, "tasks 'answers,mentions' where the study declared 'answers,other' (3 runs)"),
        ({"budget_tokens": 7}, "budget_tokens 150000 where the study declared 7 (3 runs)"),
    ],
)
def test_another_declaration_is_told(folder: Path, changes: dict[str, Any], said: str) -> None:
    document = documents.read(folder / looks.DOCUMENT)
    documents.write(folder / looks.DOCUMENT, {**document, "run": {**document["run"], **changes}})
    assert why(folder) == [said]


def test_another_strategy_is_told(tmp_path: Path) -> None:
    declare(write_study(tmp_path / "study", experiment="s3a"))
    assert why(tmp_path / "study") == ["strategy 's3a' where the study declared 's3b' (3 runs)"]


def test_a_control_with_a_learning_rate_of_its_own_is_told_unless_the_study_chooses_rates(folder: Path) -> None:
    for path in folder.glob("total-answers-*/config.json"):
        edit(path, identity__learning_rate=10)
    said = "token-controlled S1 of answers has learning_rate 10 beside 0.001 of the multi-task run"
    assert why(folder) == [said]
    (folder / looks.DOCUMENT).rename(folder / "away")
    assert why(folder) == ["no study fixed the margin and the number of seeds beforehand", said]
    (folder / "away").rename(folder / looks.DOCUMENT)
    document = documents.read(folder / looks.DOCUMENT)
    documents.write(folder / looks.DOCUMENT, {**document, "learning_rates": [0.001, 10]})
    assert why(folder) == []
    documents.write(folder / looks.DOCUMENT, {**document, "learning_rates": [0.001, 1]})
    assert why(folder) == ["learning_rate 10 of token-controlled S1 of answers, where the study chooses from 0.001, 1"]


def test_a_control_from_another_folder_is_told(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "plain-answers-1", tmp_path / "apart")
    runs = cells.find([folder, tmp_path / "apart"])
    (study,) = outcome.judge(runs, rules.rule({}, runs))["studies"]
    assert study["exploratory"] == [f"1 run is not in the study's folder, such as {tmp_path / 'apart'}"]


# Which study


def test_each_of_two_studies_is_judged_by_its_own_declaration(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    declare(write_study(one), seeds=5, looks=(3, 5), draws=20_000)
    declare(write_study(other, experiment="s3a"), margin=0.09, strategy="s3a", draws=20_000)
    for order in ([one, other], [other, one]):
        with pytest.raises(UsageError, match=r"RUN: the studies fixed other rules: margin 0.0. in .*; give --margin$"):
            studies.judge(order)
        document = studies.judge(order, margin=0.01)
        of = {study["name"]: study for study in document["studies"]}
        assert of["s3b"]["exploratory"] == []
        assert of["s3a"]["exploratory"] == ["margin 0.01 where the study fixed 0.09"]
        assert (of["s3b"]["looks"], of["s3a"]["looks"]) == ([3, 5], [3])
        assert document["settings"]["level"] == pytest.approx(0.05 * 9 / 25)
    (look,), (apart,) = looks.taken(one), looks.taken(other)  # the same look, whatever was named first
    assert (look["seeds"], look["exploratory"], len(look["digests"])) == ([[0, 1, 2]], [], 15)
    assert apart["exploratory"] == ["margin 0.01 where the study fixed 0.09"]


def test_a_study_is_found_from_the_folder_above_it(tmp_path: Path) -> None:
    root = study_folder.write(tmp_path / "results" / "study", pairs=False, exclusion=False)
    declare(root, seeds=2, margin=0.05)
    document = studies.judge([tmp_path / "results"])
    assert document["settings"]["margin"] == 0.05
    assert document["studies"][0]["exploratory"] == []
    assert [look["margin"] for look in looks.taken(root)] == [0.05]
    assert report([str(tmp_path / "results")]) == 0
    page = (tmp_path / "results" / "report" / "report.md").read_text()
    assert "Looks at this study on record: 1: at 2 seeds by margin 0.05." in page


def test_only_a_report_goes_by_the_last_report(tmp_path: Path) -> None:
    root = study_folder.write(tmp_path / "study", pairs=False, exclusion=False)
    settings = {"margin": 0.2, "alpha": 0.3, "draws": 5000}
    study_folder.save(root / "report" / "verdict.json", {"settings": settings})
    assert studies.judge([root])["settings"]["margin"] == 0.01
    assert report([str(root)]) == 0
    document = json.loads((root / "report" / "verdict.json").read_text())
    assert {name: document["settings"][name] for name in settings} == settings


# The level of a look


def test_power_is_of_the_level_of_the_look(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    declare(folder, seeds=10, looks=(3, 10), draws=20_000)
    assert verdict([str(folder), "--power"]) == 0
    shown = capsys.readouterr().out
    runs = cells.find([folder])
    (row,) = [line for line in shown.splitlines() if line.startswith("answers:")]
    for level, right in ((0.0045, True), (0.05, False)):
        plan = outcome.plans(runs, rules.Rule(alpha=level, draws=20_000), 3)["answers"]
        assert plan
        assert (f"3 seeds show a difference of {plan['smallest_effect']:.3f}" in row) is right


def test_advice_is_of_the_level_that_each_number_of_seeds_will_have() -> None:
    undecided = Pair(*(found(0.035, unit=1e-6, seed=0.01**2) for _ in range(2)))
    by_look = planning.shared(lambda seeds: looks.level((3, 5, 10), 0.05, seeds), 5, ())
    numbers = {name: planning.advise(undecided, 0.01, level).seeds or 99
               for name, level in {"now": by_look(3), "looks": by_look, "last": by_look(10)}.items()}  # fmt: skip
    assert numbers["last"] == numbers["looks"] < numbers["now"]


@pytest.mark.parametrize("looked", ["", "looks = [3]\n"])
def test_too_few_draws_are_told_before_anything_is_trained(tmp_path: Path, looked: str) -> None:
    path = tmp_path / "study.toml"
    path.write_text(f"seeds = 3\n{looked}alpha = 0.001\ndraws = 10000\n[run]\ntasks = 'a_task,another_task'\n")
    with pytest.raises(UsageError, match=r"draws is 10000, expected at least 20000: its level, 0\.001, needs"):
        studies.read(path)


# What an earlier look showed


def test_what_an_earlier_look_showed_stands_in_every_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = study_folder.write(tmp_path / "study", pairs=False, exclusion=False)
    declare(root, seeds=2, draws=4000, alpha=0.3)
    studies.judge([root])
    document = documents.read(root / looks.DOCUMENT)
    (look,) = document[looks.TAKEN]
    assert look["verdicts"][0]["mentions"] == ["genuine transfer", "genuine transfer"]
    # The same study, one seed further, with a look at which the first task is not shown.
    document |= {"looks": [2, 3], "seeds": 3}
    documents.write(root / looks.DOCUMENT, document)
    at = root / "seed-2"
    study_folder.run(at / "multi", "multi2", 2, study_folder.TASKS, study_folder.SHARE, 0.6, weighting="uncertainty")
    for i, task in enumerate(study_folder.TASKS):
        for kind, tokens in (("total", study_folder.TOTAL), ("per-task", study_folder.SHARE)):
            name, score = kind.replace("per-task", "plain"), 0.5 if kind == "total" else 0.4
            score = 0.9 if task == "mentions" else score
            study_folder.run(at / kind / f"t{i}", f"{name}2{i}", 2, [task], tokens, score, match=("multi2", kind),
                             weighting="uncertainty")  # fmt: skip
    (study,) = studies.judge([root])["studies"]
    row = study["tasks"]["mentions"]
    assert study["exploratory"] == []
    assert row["at_this_look"] == ["inconclusive", "inconclusive"]
    assert (row["verdict"], row["row"], row["advice"]) == ("genuine transfer", "genuine transfer", "")
    assert row["why"].startswith("shown at the look at 2 seeds, and stands; at this one: no cell was shown")
    assert "at_this_look" not in study["tasks"]["answers"]
    assert looks.taken(root)[1]["verdicts"][0]["mentions"] == ["inconclusive", "inconclusive"]
    assert studies.judge([root])["studies"][0]["tasks"]["mentions"] == row  # and again, by the record with both
    assert len(looks.taken(root)) == 2
    assert report([str(root)]) == 0
    said = "genuine transfer (at the look at 2 seeds)"
    assert f"▲ {said}" in (root / "report" / "report.md").read_text()
    assert said in (root / "report" / "verdict.tex").read_text()
    assert "at the look at 2 seeds" in (root / "report" / "verdict.csv").read_text()
    assert verdict([str(root), "--output", str(tmp_path)]) == 0
    stands = (
        "mentions: what an earlier look showed stands; this one by itself: inconclusive; RQ5, controlled alone: inc"
    )
    assert stands in capsys.readouterr().out
    assert stands in (root / "report" / "report.md").read_text()
    # By another margin it is no look that the study declared, and nothing of it stands.
    assert "at_this_look" not in studies.judge([root], margin=0.02)["studies"][0]["tasks"]["mentions"]


def test_a_look_at_runs_that_were_made_anew_does_not_stand() -> None:
    taken = [{"exploratory": [], "digests": ["a", "b"], "seeds": [[0, 1]], "verdicts": [{"t": ["x", "y"]}]}]
    assert looks.before(taken, [0, 1, 2], {"a", "b", "c"}) == [(2, {"t": ["x", "y"]})]
    assert looks.before(taken, [0, 1, 2], {"a", "c"}) == []
    assert looks.before(taken, [0, 1], {"a", "b"}) == []
    assert looks.before([{**taken[0], "exploratory": ["why"]}], [0, 1, 2], {"a", "b"}) == []


# Looks that were paid for


def again(root: Path, attempt: str) -> None:
    """As if all runs had been trained anew, and to other bits."""
    for path in root.glob("*/result.json"):
        document = json.loads(path.read_text())
        document["digest"] += attempt
        if document["match"]:
            document["match"]["parent"]["digest"] += attempt
        path.write_text(json.dumps(document))


def test_a_look_at_runs_that_were_trained_again_is_not_the_studys_own(folder: Path) -> None:
    """Else whoever trains until something is shown has as many tests, each at the whole level."""
    own = studies.judge([folder])
    assert own["studies"][0]["exploratory"] == []
    assert studies.judge([folder]) == own  # the same runs again
    said = "other runs of these seeds were looked at before, and such a look is paid for once"
    for attempt in ("-b", "-c"):
        again(folder, attempt)
        assert studies.judge([folder])["studies"][0]["exploratory"] == [said]
    assert looks.words(looks.taken(folder)).count("(exploratory)") == 2


def test_runs_that_were_added_to_those_of_a_look_are_no_other_runs(folder: Path, tmp_path: Path) -> None:
    last = [path for path in folder.iterdir() if path.name.endswith("-2")]
    for path in last:
        path.rename(tmp_path / path.name)
    declare(folder, seeds=3, looks=(2, 3))
    assert studies.judge([folder])["studies"][0]["exploratory"] == []
    for path in last:
        (tmp_path / path.name).rename(path)
    assert studies.judge([folder])["studies"][0]["exploratory"] == []


def test_what_stands_beside_the_verdict_may_be_trained_again(folder: Path) -> None:
    """The runs of the two sides are those that were looked at; one with shuffled labels is another."""
    kind = {"shuffled_tasks": ["mentions"]}
    for attempt in ("", "-b"):
        shutil.rmtree(folder / "beside", ignore_errors=True)
        beside(folder, "beside", "shuffled", {"answers": 500, "mentions": 500}, **kind)
        write_units(folder / "beside", "answers", 0.0, 1, "shuffled")
        edit(folder / "beside" / "result.json", digest=f"shuffled{attempt}")
        assert studies.judge([folder])["studies"][0]["exploratory"] == []
    assert {"shuffled", "shuffled-b"} == {d for look in looks.taken(folder) for d in look["digests"] if d[0] == "s"}


def test_a_study_of_one_side_is_judged_as_declared(folder: Path) -> None:
    for control, others in (("total", "plain-*"), ("per-task", "total-*")):
        root = folder.parent / control
        shutil.copytree(folder, root)
        for path in root.glob(others):
            shutil.rmtree(path)
        assert why(root) == ["6 runs are missing, so that not every side has every seed"]
        declare(root, controls=(control,))
        assert why(root) == []
        shutil.rmtree(next(root.glob(f"{ {'total': 'total', 'per-task': 'plain'}[control] }-*-0")))
        assert why(root) == ["1 run is missing, so that not every side has every seed"]
