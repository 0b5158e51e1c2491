"""Which state a run is scored by: with ``select = "best"`` the best on dev, of as many points of every budget."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mtlfn.analysis import study
from mtlfn.analysis.command import study as command
from mtlfn.analysis.reporting import run_page
from mtlfn.analysis.runs import cells
from mtlfn.core.state import digest
from mtlfn.run import documents
from mtlfn.run.commands.command import replay
from mtlfn.run.config import Config, identity
from mtlfn.run.errors import UsageError
from mtlfn.run.one import loop, prepare
from mtlfn.run.one.walk import advance
from mtlfn.run.storage import checkpoint
from tests.harm import older
from tests.run import ranks
from tests.run.conftest import contents, words
from tests.run.studies import TASKS, ended, write
from tests.run.test_resume import untimed
from tests.run.test_run import lines, result
from tests.tiny import make_data

# A rate that soon spoils what was learnt: the best state is an early one.
SPOILT = {"learning_rate": 0.2, "decay": "constant", "micro_batch_tokens": 32, "budget_tokens": 900, "seed": 2}


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("selected")


@pytest.fixture
def best(go, out) -> Path:
    """The folder of a finished run that chose its state; made once."""
    folder = out / "best"
    if not folder.exists():
        ran = go(**SPOILT, select="best", output_dir=folder)
        assert ran.code == 0, ran.err
    return folder


def evaluations(folder: Path) -> dict[int, float]:
    """Step -> mean primary metric on dev of every full evaluation."""
    metrics = {task: score["metric"] for task, score in result(folder)["scores"].items()}
    return {
        line["step"]: sum(line["scores"][task][name] for task, name in metrics.items()) / len(metrics)
        for line in lines(folder)
        if line.get("event") == "full"
    }


def products(folder: Path) -> dict[str, bytes]:
    return {name: data for part in ("predictions", "export") for name, data in contents(folder / part).items()}


def test_the_earliest_of_the_best_states_is_scored_and_exported(best, bert, data, warm):
    told, means = result(best), evaluations(best)
    selected = told["selected"]
    assert list(means.values()).count(max(means.values())) > 1  # of equals the earliest
    assert len(means) == prepare.POINTS == selected["points"]
    budget, at = told["tokens"]["total"], {line["step"]: line["tokens"] for line in lines(best) if "event" not in line}
    assert [at[step] * 10 // budget for step in means] == list(range(1, 11))
    assert selected["step"] == max(means, key=lambda step: (means[step], -step)) < told["steps"]
    assert selected["dev"] == pytest.approx(max(means.values()), abs=1e-12)
    assert sum(each["dev"] for each in told["scores"].values()) / 2 == pytest.approx(selected["dev"], abs=1e-12)

    # The same steps without anything around them: the state at that step, and what it gives.
    config = Config(
        backbone=str(bert), tasks="bc5cdr_disease,ddi", data_dir=data, cache_dir=warm, **SPOILT,
        select="best",
    )  # fmt: skip
    prepared = loop.load("s3b", config)
    walk = prepared.walk
    state = chosen = walk.start()
    while not walk.finished(state):
        state, _ = advance(walk, state, walk.stream(state))
        if state.step == selected["step"]:
            chosen = state
    assert digest(state) == told["digest"]
    assert digest(chosen.params) == selected["digest"] != digest(state.params)
    assert told["slots"] == {slot: digest(tensors) for slot, tensors in chosen.params.items()}
    for task in ("bc5cdr_disease", "ddi"):
        card = (best / f"export/{task}/README.md").read_text(encoding="utf-8")
        assert "One seed (2), from its best state on dev." in card
        assert f"in {selected['step']:,} steps." in card
        assert f"of the best state on dev of the run: `{digest(chosen)}`" in card
    _, predicted = prepared.evaluate_test(chosen)
    for task, predictions in predicted.items():
        there = (best / f"predictions/{task}.test.jsonl").read_text().splitlines()
        assert [json.loads(line)["prediction"] for line in there] == json.loads(json.dumps(predictions))


def test_by_default_nothing_is_chosen_and_the_identity_does_not_name_it(go, out, best):
    folder = out / "last"
    assert go(**SPOILT, output_dir=folder).code == 0
    assert "selected" not in result(folder)
    assert "select" not in documents.read(folder / "config.json")["identity"]
    assert result(folder)["digest"] != result(best)["digest"]  # evaluations are part of a state
    assert products(folder) != products(best)
    assert "select" not in identity(Config())
    assert identity(Config(select="best"))["select"] == "best"


def test_the_page_says_which_state_its_scores_are_of(go, out, best):
    last = out / "last"
    assert go(**SPOILT, output_dir=last).code == 0
    pages = {run: run_page.write(run).read_text(encoding="utf-8") for run in (best, last)}
    chosen = result(best)["selected"]
    assert f"of the best state on dev: that of step {chosen['step']:,}, after {chosen['tokens']:,} " in pages[best]
    assert chosen["digest"] in pages[best]
    assert "of the last state." not in pages[best]
    assert "The primary metric of each task, of the last state." in pages[last]


def test_stopped_at_every_step_it_chooses_the_same_state(go, out, best):
    folder, count = out / "stopped", result(best)["steps"]
    for stop in range(1, count):
        assert go(**SPOILT, select="best", output_dir=folder, max_steps=stop).code == 75
    assert go(**SPOILT, select="best", output_dir=folder).code == 0
    assert result(folder)["selected"] == result(best)["selected"]
    assert result(folder)["digest"] == result(best)["digest"]
    assert products(folder) == products(best)
    assert untimed(folder) == untimed(best)


@pytest.mark.slow
def test_on_two_processes_it_chooses_the_same_state_and_scores_it(go, out, usual):
    """The chosen state is evaluated again, by both."""
    named = {**SPOILT, "select": "best", "engine": "loop", "threads": 1, "data_dir": make_data(out / "tested", test=5)}
    one, two = out / "one", out / "two"
    assert go(**named, output_dir=one).code == 0
    ended = ranks.start(out, 2, ["--skip-smoke-test", *words({**usual, **named, "output_dir": two})])
    assert ended.codes() == [0, 0], ended.said()
    assert result(one)["selected"]["step"] < result(one)["steps"]
    for name in ("selected", "scores", "slots", "digest"):
        assert result(two)[name] == result(one)[name]
    assert products(two) == products(one)
    assert untimed(two) == untimed(one)


def test_it_is_kept_until_the_end_and_where_it_is_lost_the_run_goes_back_behind_it(go, out, best):
    chosen, count = result(best)["selected"]["step"], result(best)["steps"]
    assert chosen < count - 3
    place = checkpoint.place(best / "checkpoints", chosen)
    assert place in checkpoint.steps(best / "checkpoints")

    folder = out / "lost"
    assert go(**SPOILT, select="best", output_dir=folder, max_steps=count - 1).code == 75
    shutil.rmtree(checkpoint.place(folder / "checkpoints", chosen))
    ran = go(**SPOILT, select="best", output_dir=folder)
    assert ran.code == 0, ran.err
    assert f"checkpoint passed over: step-{chosen:08d}" in ran.out
    assert result(folder)["selected"] == result(best)["selected"]
    assert products(folder) == products(best)


def test_a_result_that_was_taken_away_is_made_again_of_the_same_state(go, out, best):
    folder = Path(shutil.copytree(best, out / "again"))
    (folder / "result.json").unlink()
    assert go(**SPOILT, select="best", output_dir=folder).code == 0
    assert result(folder)["selected"] == result(best)["selected"]
    assert products(folder) == products(best)


def test_replay_makes_what_was_chosen_again(best, out, capfd):
    assert replay([str(best), "--all"]) == 0
    assert "files made of the selected state again" in capfd.readouterr().out
    away = Path(shutil.copytree(best, out / "away"))
    shutil.rmtree(away / "checkpoints")
    assert replay([str(away), "--all"]) == 0
    assert "files made of the selected state again" in capfd.readouterr().out


def test_early_stopping_and_a_choice_of_ten_points_are_refused_together(go, tmp_path):
    ran = go(select="best", max_epochs=2, budget_tokens=None, output_dir=tmp_path / "run")
    assert ran.code == 2
    assert "--select best: with --max-epochs 2" in ran.message
    assert not (tmp_path / "run").exists()


# Studies


@pytest.fixture(scope="module")
def compared(bert, cache, tmp_path_factory) -> Path:
    """The folder of a finished study that chooses on every side, its file beside it."""
    folder = tmp_path_factory.mktemp("compared")
    data = make_data(folder / "data", test=12)
    places = {
        "backbone": str(bert),
        "data_dir": str(data),
        "cache_dir": str(cache),
        "micro_batch_tokens": 32,
        "budget_tokens": 800,
    }
    write(folder, places, seeds=1, select="best", keep=["ddi"], plain="updates")
    assert command("A test.", [str(folder / "study.toml"), "--output-dir", str(folder / "out")]) == 0
    return folder


def test_every_run_of_a_study_chooses_of_as_many_points(compared):
    runs = sorted(path.parent for path in (compared / "out").rglob("result.json"))
    assert len(runs) == 7  # one multi-task run, four S1 runs and two halves
    for run in runs:
        told = result(run)
        assert told["selected"]["points"] == 10, run
        assert documents.read(run / "config.json")["identity"]["select"] == "best"
        assert len(evaluations(run)) <= 10
    page = (compared / "out/report/report.md").read_text()
    assert "every run is scored by its best on dev" in page
    assert page.count("| select |") == 1
    assert study.about(study.read(compared / "study.toml"))["run"]["select"] == "best"


def test_the_second_half_of_the_exclusion_control_goes_on_from_the_chosen_state(compared):
    kept, excluded = (result(compared / "out/seed-0/exclusion" / half) for half in ("kept", "excluded"))
    assert excluded["slots"]["shared"] == kept["slots"]["shared"]


def test_sides_that_are_scored_by_other_rules_are_not_compared(compared, tmp_path):
    out = Path(shutil.copytree(compared / "out/seed-0", tmp_path / "out"))
    run = out / "total/ddi"
    config = documents.read(run / "config.json")
    del config["identity"]["select"]
    documents.write(run / "config.json", config)
    older(run)
    with pytest.raises(UsageError, match=r"is scored by its last state, RUN .*, by its best one"):
        cells.find([out])


def test_it_stands_above_the_runs_or_among_them_and_wrong_words_are_refused(tmp_path, capsys):
    above, among = (
        study.read(write(tmp_path, run, **of)) for run, of in (({}, {"select": "best"}), ({"select": "best"}, {}))
    )
    assert above == among
    assert above.run.select == "best"
    assert study.read(write(tmp_path, {})).run.select == "last"
    code, said = ended(capsys, write(tmp_path, {}, select="first"), "--plan")
    assert code == 2
    assert "select" in said
    assert "expected one of last, best" in said
    assert set(TASKS) == set(above.run.tasks.split(","))
