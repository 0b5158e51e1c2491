"""From run directories to pairs: what belongs together, what is missing, and what cannot be compared."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtlfn.analysis.runs import cells
from mtlfn.run.errors import UsageError
from tests.analysis.made import UNITS, digest, edit, scored, write_control, write_multi, write_run, write_study


def read_all(paths: Sequence[Path]) -> None:
    for study in cells.find(paths).studies:
        for task in study.tasks:
            for control in cells.CONTROLS:
                cells.sides(study, task, control)


def refused(said: str, *paths: Path) -> str:
    with pytest.raises(UsageError) as caught:
        read_all(paths)
    assert said in str(caught.value)
    return str(caught.value)


def test_a_folder_of_runs_is_a_study(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "runs")
    found = cells.find([folder])
    (study,) = found.studies
    assert (study.name, study.tasks, tuple(study.multi)) == ("s3b", ("answers", "mentions"), (0, 1, 2))
    assert len(study.controls) == 12
    assert study.missing == found.unfinished == found.unused == ()
    named = cells.find([*sorted(folder.iterdir()), folder])  # each of them named, and once more by its folder
    assert named.studies[0].controls.keys() == study.controls.keys()


def test_rows_are_seeds_and_sides_are_what_they_say(tmp_path: Path) -> None:
    (study,) = cells.find([write_study(tmp_path / "runs")]).studies
    made = cells.sides(study, "answers", "total")
    assert made is not None
    task, held = made
    assert (task.name, held.seeds) == ("answers", (0, 1, 2))
    assert held.multi.shape == held.control.shape == (3, UNITS, 2)
    for row in range(3):
        assert np.array_equal(held.multi[row], scored("answers", 0.1, row, "multi").values)
        assert np.array_equal(held.control[row], scored("answers", 0.0, row, "total").values)


def test_a_seed_without_its_control_is_missing_and_the_others_are_used(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "runs")
    shutil.rmtree(folder / "total-answers-1")
    (study,) = cells.find([folder]).studies
    (missing,) = study.missing
    assert (missing.task, missing.side, missing.seed) == ("answers", "token-controlled S1", 1)
    assert "multi-1" in missing.why
    made = cells.sides(study, "answers", "total")
    assert made is not None
    assert made[1].seeds == (0, 2)
    assert np.array_equal(made[1].control[1], scored("answers", 0.0, 2, "total").values)
    for seed in (0, 2):
        shutil.rmtree(folder / f"total-answers-{seed}")
    (study,) = cells.find([folder]).studies
    assert cells.sides(study, "answers", "total") is None


def test_an_unfinished_run_is_listed_or_refused(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "runs")
    (folder / "total-answers-1" / "result.json").unlink()
    found = cells.find([folder])
    assert found.unfinished == (folder / "total-answers-1",)
    assert len(found.studies[0].missing) == 1
    refused("total-answers-1: has not finished (no result.json)", folder, folder / "total-answers-1")


def test_runs_that_take_no_part_are_told_why(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "runs")
    shutil.rmtree(folder / "multi-2")
    write_run(folder / "alone", "s1", 0, {"answers": 7}, None)
    found = cells.find([folder])
    assert tuple(found.studies[0].multi) == (0, 1)
    reasons = {run.path.name: why for run, why in found.unused}
    assert reasons["alone"] == "one task, and matched with no multi-task run"
    assert reasons["total-answers-2"].endswith("multi-2")
    assert len(reasons) == 5


def test_the_second_half_of_an_exclusion_belongs_to_the_full_run_by_way_of_the_first(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "runs")
    kept = write_control(folder / "kept", folder / "multi-0", 0, "per-task", "mentions", 0.0)
    edit(kept / "result.json", match__control="kept")
    tuned = write_control(folder / "tuned", kept, 0, "per-task", "answers", 0.0)
    edit(tuned / "result.json", match__control="exclusion")
    found = cells.find([folder])
    (study,) = found.studies
    assert study.controls["exclusion", "answers", 0].path == tuned
    assert not [key for key in study.controls if key[0] == "exclusion" and key != ("exclusion", "answers", 0)]
    assert found.unused == ()
    assert cells.sides(study, "answers", "exclusion")[1].seeds == (0,)
    shutil.rmtree(kept)
    (run, why) = cells.find([folder]).unused[0]
    assert run.path == tuned
    assert why.startswith("its multi-task run is not among the runs")


def test_experiments_and_settings_are_studies_of_their_own(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "runs")
    other = write_multi(folder / "other", 0, {"answers": 0.1, "mentions": 0.1}, "s3a")
    changed = write_multi(folder / "wider", 0, {"answers": 0.1, "mentions": 0.1})
    edit(changed / "config.json", identity__rank=32)
    found = cells.find([folder])
    assert [study.name for study in found.studies] == ["s3b (multi-0)"]
    assert {run.path.name: why for run, why in found.unused} == dict.fromkeys(
        ("other", "wider"), "no run is matched with it"
    )
    for parent in (other, changed):
        write_control(folder / f"{parent.name}-total", parent, 0, "total", "answers", 0.0)
    found = cells.find([folder])
    names = {study.name: len(study.missing) for study in found.studies}
    assert names == {"s3b (multi-0)": 0, "s3a": 3, "s3b (wider)": 3}
    assert found.unused == ()


def test_seeds_that_stopped_early_at_totals_of_their_own_are_one_study(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "runs")
    for seed in range(3):
        more = 100 * seed
        for path in folder.glob(f"*-{seed}/result.json"):
            found = json.loads(path.read_text())
            single = len(found["tokens"]["per_task"]) == 1
            plain = single and found["match"]["control"] == "per-task"
            each = more if single and not plain else more // 2
            per_task = {task: tokens + each for task, tokens in found["tokens"]["per_task"].items()}
            total = sum(per_task.values())
            edit(path, tokens__per_task=per_task, tokens__total=total)
            if single:
                edit(path, match__tokens=total)
    (study,) = cells.find([folder]).studies
    assert sorted(study.multi) == [0, 1, 2]
    assert len({run.tokens.total for run in study.multi.values()}) == 3
    assert study.missing == ()
    assert cells.sides(study, "answers", "total")[1].seeds == (0, 1, 2)


def test_without_any_control_everything_is_missing(tmp_path: Path) -> None:
    write_multi(tmp_path / "multi-0", 0, {"answers": 0.1, "mentions": 0.1})
    (study,) = cells.find([tmp_path / "multi-0"]).studies
    assert len(study.missing) == 4


def test_two_runs_of_one_seed(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "runs")
    write_multi(folder / "twin", 1, {"answers": 0.1, "mentions": 0.1})
    said = refused("both are seed 1", folder)
    assert "multi-1" in said
    assert "twin" in said
    shutil.rmtree(folder / "twin")
    write_control(folder / "twin", folder / "multi-1", 1, "total", "answers", 0.0)
    refused("twin: both are seed 1", folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tokens__total": 999}, "trained on 999 tokens, its match says 1,000: not a control"),
        ({"tokens__total": 999, "match__tokens": 999}, "trained on 999 tokens, the total control of RUN"),
        ({"match__tasks": ["mentions"]}, "its match says control 'total' of mentions, and it trained answers"),
        ({"match__tasks": []}, "its match says control 'total' of , and it trained answers"),
        ({"match__parent": {}}, "result.json cannot be read (match.parent.path is missing"),
        ({"tokens": None}, "result.json cannot be read (tokens is not what it should be, Tokens)"),
    ],
)
def test_a_control_that_is_none(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    folder = write_study(tmp_path / "runs")
    edit(folder / "total-answers-1" / "result.json", **changes)
    assert "total-answers-1" in refused(said, folder)


def beside(folder: Path, name: str, control: str, trained: dict[str, int], **match: Any) -> Path:
    """A run of several tasks that is matched with the multi-task run of seed 1."""
    parent = folder / "multi-1"
    named = {"identity": "i", "digest": digest(parent), "experiment": "s3b", "seed": 1, "path": str(parent)}
    document = {"parent": named, "control": control, "tasks": [*trained], "tokens": sum(trained.values()), **match}
    return write_run(folder / name, "s3b", 1, trained, document)


@pytest.mark.parametrize(
    ("control", "tokens", "match", "said"),
    [
        ("shuffled", {"answers": 5, "mentions": 5}, {"shuffled_tasks": ["mentions"]}, "needs 1000"),
        ("shuffled", {"answers": 5, "mentions": 5}, {"shuffled_tasks": ["mentions"], "tokens": 1000}, "not a control"),
        ("pair", {"answers": 500, "mentions": 400}, {}, "the pair control of RUN"),
        ("pair", {"answers": 600, "mentions": 400}, {}, "tokens of answers, RUN"),
        ("kept", {"mentions": 501}, {}, "task mentions needs 500"),
        ("kept", {"mentions": 500}, {"tokens": 7}, "trained on 500 tokens, its match says 7"),
    ],
)
def test_every_run_that_is_matched_has_the_tokens_of_its_match(
    tmp_path: Path, control: str, tokens: dict[str, int], match: dict[str, Any], said: str
) -> None:
    folder = write_study(tmp_path / "runs")
    beside(folder, "odd", control, tokens, **match)
    assert f"RUN {folder / 'odd'}: trained on" in refused(said, folder)


def test_the_second_half_of_an_exclusion_has_the_tokens_of_its_tasks(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "runs")
    kept = beside(folder, "kept", "kept", {"mentions": 500})
    tuned = beside(folder, "tuned", "exclusion", {"answers": 499})
    edit(tuned / "result.json", match__parent__digest=digest(kept))
    refused("tuned: trained on 499 tokens, the exclusion control of RUN", folder)


@pytest.mark.parametrize(
    ("control", "tokens"), [("pair", {"answers": 500, "mentions": 500}), ("kept", {"mentions": 500})]
)
def test_twins_of_every_kind_are_refused(tmp_path: Path, control: str, tokens: dict[str, int]) -> None:
    folder = write_study(tmp_path / "runs")
    for name in ("one", "other"):
        beside(folder, name, control, tokens)
    refused("both are seed 1 of the same; leave one out", folder)


SETTINGS = {
    "backbone_digest": "b",
    "tokenizer_digest": "t",
    "max_length": 64,
    "weight_decay": 0.01,
    "learning_rate": 0.001,
    "gradients": "pcgrad",
    "budget_tokens": 1000,
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backbone_digest", "c"),
        ("tokenizer_digest", "u"),
        ("max_length", 65),
        ("weight_decay", 0.1),
        ("precision", "bf16"),
        ("data", {"answers": {"train": "other"}}),
    ],
)
def test_a_control_has_the_settings_of_its_multi_task_run(tmp_path: Path, name: str, value: object) -> None:
    folder = write_study(tmp_path / "runs")
    data = {"answers": {"train": "a"}, "mentions": {"train": "m"}}
    for path in folder.glob("*/config.json"):
        edit(path, **{f"identity__{key}": said for key, said in {**SETTINGS, "data": data}.items()})
    control = folder / "total-answers-1" / "config.json"
    own = {"gradients": "sum", "schedule_tokens": 1000, "strategy": "s1", "frozen_slots": []}
    edit(control, **{f"identity__{key}": said for key, said in own.items()})
    assert cells.find([folder]).unused == ()
    edit(control, **{f"identity__{name}": value})
    said = refused(f"total-answers-1: cannot be compared with RUN {folder / 'multi-1'}", folder)
    assert (name if name != "data" else "train of answers is other in it and a there") in said


def test_a_control_has_the_pace_of_its_multi_task_run(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "runs")
    for path in folder.glob("*/result.json"):
        edit(path, schedule=2 * json.loads(path.read_text())["tokens"]["total"])
    assert cells.find([folder]).unused == ()
    edit(folder / "plain-answers-1" / "result.json", schedule=1500)
    refused("its learning rate falls over 1,500 tokens, at that run's pace it would over 1,000", folder)


def test_a_plain_control_needs_the_share_of_its_task(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "runs")
    edit(folder / "multi-1" / "result.json", tokens__per_task={"answers": 501, "mentions": 499})
    refused("plain-answers-1: trained on 500 tokens, the per-task control of RUN", folder)


def test_no_test_predictions(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "runs")
    (folder / "plain-answers-1" / "predictions" / "answers.test.units.json").unlink()
    refused("plain-answers-1: has no test predictions of task answers", folder)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("units", lambda old: [*old[:5], "x", *old[6:]], "test unit 5 is 'd5' in one and 'x' in the other"),
        ("gold", lambda old: [*old[:7], "x", *old[8:]], "the gold of test unit 'd7' differs"),
        ("labels", lambda _: ["Z"], "is not the same in both"),
        ("values", lambda old: old[1:], "has values of shape"),
    ],
)
def test_runs_that_saw_other_units(tmp_path: Path, key: str, value: Callable[[Any], Any], said: str) -> None:
    folder = write_study(tmp_path / "runs")
    path = folder / "plain-answers-1" / "predictions" / "answers.test.units.json"
    edit(path, **{key: value(json.loads(path.read_text())[key])})
    message = refused(said, folder)
    assert "plain-answers-1" in message
    assert key == "values" or "multi-0" in message


def test_a_unit_too_few_is_named(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "runs")
    path = folder / "total-mentions-2" / "predictions" / "mentions.test.units.json"
    document = json.loads(path.read_text())
    edit(path, **{key: document[key][:3] + document[key][4:] for key in ("units", "gold", "values")})
    refused("has 120 test units in one and 119 in the other; 'd3' is in one only", folder)


def test_more_units_than_examples_are_refused(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "runs")
    data = {"answers": {"test": {"examples": 119}}}
    (folder / "plain-answers-1" / "data.json").write_text(json.dumps(data))
    message = refused("has 120 units of 119 test examples, expected no more units than examples", folder)
    assert "plain-answers-1" in message


def test_what_is_no_run(tmp_path: Path) -> None:
    refused("name at least one run directory")
    refused("is not a folder", tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    refused("holds no run", tmp_path / "empty")
    write_run(tmp_path / "single", "s1", 0, {"answers": 7}, None)
    refused("no multi-task run among the 1 finished runs", tmp_path / "single")
    (tmp_path / "single" / "result.json").write_text("{")
    refused("result.json: no JSON", tmp_path / "single")


def test_what_lies_inside_a_run_is_no_run(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "runs", seeds=1)
    inside = folder / "multi-0" / "checkpoints" / "step-1"
    inside.mkdir(parents=True)
    (inside / "config.json").write_text("{}")
    assert cells.find([folder]).unfinished == ()
