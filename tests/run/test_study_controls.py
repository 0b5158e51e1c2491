"""The controls that a study can ask for beside the two S1 sides: what they train on, and where they are told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from mtlfn.analysis import study
from mtlfn.analysis.command import study as command
from mtlfn.analysis.command import verdict
from mtlfn.analysis.runs import cells
from mtlfn.run import documents
from mtlfn.run.commands.command import replay
from mtlfn.run.commands.plan_command import token_controlled
from mtlfn.run.errors import UsageError
from mtlfn.run.many import execute, trials
from tests.harm import older
from tests.run.studies import TASKS, ended, write
from tests.run.test_run import result
from tests.tiny import make_data

File = Callable[..., Path]


@pytest.fixture(scope="module")
def file(bert, cache, tmp_path_factory) -> File:
    """Writes the file of a study of two tasks and two seeds into a folder."""
    data = make_data(tmp_path_factory.mktemp("controls") / "data", test=12)
    places = {"backbone": str(bert), "data_dir": str(data), "cache_dir": str(cache)}

    def written(folder: Path, options: dict[str, object] | None = None, **settings: object) -> Path:
        return write(folder, {**places, **(options or {})}, **settings)

    return written


# Shuffled labels


@pytest.fixture(scope="module")
def shuffled(file, tmp_path_factory) -> Path:
    """The folder of a finished study with shuffled labels, its file beside it."""
    folder = tmp_path_factory.mktemp("shuffled")
    assert command("A test.", [str(file(folder)), "--output-dir", str(folder / "out")]) == 0
    before = json.loads((folder / "out/report/verdict.json").read_text())
    asking = file(folder, auxiliary="shuffled")
    assert command("A test.", [str(asking), "--output-dir", str(folder / "out")]) == 0  # it can be added
    (folder / "before.json").write_text(json.dumps(before))
    return folder


def test_the_run_with_shuffled_labels_is_the_multi_task_run_but_for_the_labels_of_the_others(shuffled, capsys):
    out = shuffled / "out"
    parent = result(out / "seed-0/multi")
    for task, other in (TASKS, TASKS[::-1]):
        run = out / "seed-0/shuffled" / task
        made = result(run)
        assert made["tokens"]["total"] == parent["tokens"]["total"]
        assert made["tokens"]["per_task"] == parent["tokens"]["per_task"]  # the same texts in the same order
        assert (made["match"]["control"], made["match"]["shuffled_tasks"]) == ("shuffled", [other])
        there, here = (documents.read(folder / "config.json")["identity"] for folder in (out / "seed-0/multi", run))
        changed = {(t, s) for t in TASKS for s in here["data"][t] if here["data"][t][s] != there["data"][t][s]}
        assert changed == {(other, "train")}
        names = {name for name in {*here, *there} if here.get(name) != there.get(name)}
        assert names <= {"data", "shuffled_tasks", "parent", "frozen_slots", "schedule_tokens"}
        about, of_parent = (documents.read(folder / "data.json") for folder in (run, out / "seed-0/multi"))
        assert about[other]["notes"]["training examples with shuffled labels"] == 24
        assert about[task] == of_parent[task]
    digests = {documents.read(out / f"seed-{s}/shuffled/ddi/config.json")["hash"] for s in (0, 1)}
    assert len(digests) == 2
    assert replay([str(out / "seed-0/shuffled/ddi"), "--all"]) == 0


def test_the_difference_to_shuffled_labels_stands_beside_the_verdict_and_changes_nothing_in_it(
    shuffled, tmp_path, capsys
):
    out = shuffled / "out"
    document = json.loads((out / "report/verdict.json").read_text())
    (before,) = json.loads((shuffled / "before.json").read_text())["studies"]
    (after,) = document["studies"]
    for task in TASKS:
        row = dict(after["tasks"][task])
        told = row.pop("shuffled")
        assert row == before["tasks"][task]
        for seed in ("0", "1"):
            scores = [result(out / f"seed-{seed}" / at)["scores"][task]["test"] for at in ("multi", f"shuffled/{task}")]
            assert told["per_seed"][seed] == pytest.approx(scores[0] - scores[1], abs=1e-12)
    page = (out / "report/report.md").read_text()
    assert "## Shuffled labels" in page
    assert "labels shuffled, seed 1" in page
    code, said = ended(capsys, out, "--output", tmp_path, run=verdict)
    assert code == 0
    assert said.count("multi-task − the same with the other tasks' labels shuffled:") == 2


def test_a_study_that_asks_for_no_shuffled_labels_says_nothing_of_them(file, tmp_path, capsys):
    path = file(tmp_path)
    code, said = ended(capsys, path, "--output-dir", tmp_path / "out", "--plan")
    assert code == 0
    assert "shuffled" not in said
    assert "auxiliary" not in json.dumps(study.about(study.read(path)))
    code, said = ended(capsys, file(tmp_path, auxiliary="shuffled"), "--output-dir", tmp_path / "out", "--plan")
    assert "seed-1/shuffled/ddi s2 400 tokens" in said
    assert "14 runs" in said
    code, said = ended(capsys, file(tmp_path, auxiliary="mixed"), "--plan")
    assert code == 2
    assert "expected one of none, shuffled @ $.auxiliary" in said


def test_an_auxiliary_arm_cannot_be_taken_back(shuffled, tmp_path, file, capsys):
    code, said = ended(capsys, file(tmp_path), "--output-dir", shuffled / "out")
    assert code == 4
    assert "auxiliary is 'shuffled' there and 'none' now" in said


@pytest.mark.parametrize(
    ("names", "wanted"),
    [([], "the labels of no task were shuffled"), (list(TASKS), "the labels of bc5cdr_disease, ddi were shuffled")],
)
def test_labels_of_all_tasks_but_one_are_shuffled(shuffled, tmp_path, names, wanted):
    out = Path(shutil.copytree(shuffled / "out/seed-0", tmp_path / "out"))
    run = out / "shuffled/ddi"
    found = {name: value for name, value in result(run).items() if name != "files"}
    documents.write(run / "result.json", {**found, "match": {**found["match"], "shuffled_tasks": names}})
    older(run)
    with pytest.raises(UsageError, match=wanted):
        cells.find([out])


def test_other_data_under_shuffled_labels_are_refused(shuffled, file, tmp_path, capsys):
    settings = study.read(file(tmp_path, auxiliary="shuffled")).run
    assert settings.data_dir is not None
    data = Path(shutil.copytree(settings.data_dir, tmp_path / "data"))
    path = data / "ddi" / "train.jsonl"
    path.write_text(path.read_text().replace("aspirin", "codeine"))
    out = Path(shutil.copytree(shuffled / "out", tmp_path / "out"))
    shutil.rmtree(out / "seed-1/shuffled/bc5cdr_disease")
    code, said = ended(capsys, file(tmp_path, {"data_dir": str(data)}, auxiliary="shuffled"), "--output-dir", out)
    assert code == 1
    assert "cannot be compared with this run: other data: ddi, split train" in said


# Plain S1 by updates


@pytest.fixture(scope="module")
def by_updates(file, tmp_path_factory) -> Path:
    """The folder of a finished study with random sampling, plain S1 matched by updates."""
    folder = tmp_path_factory.mktemp("updates")
    path = file(folder, {"sampling": "proportional", "micro_batches": 2, "budget_tokens": 600}, plain="updates")
    assert command("A test.", [str(path), "--output-dir", str(folder / "out")]) == 0
    return folder / "out"


def steps(run: Path) -> list[dict]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if "event" not in line]


def test_plain_s1_by_updates_takes_as_many_and_each_on_as_much_of_the_task(by_updates):
    apart = 0
    for seed in (0, 1):
        parent = by_updates / f"seed-{seed}/multi"
        for task in TASKS:
            run = by_updates / f"seed-{seed}/updates/{task}"
            made, there = result(run), result(parent)
            assert made["steps"] == made["match"]["updates"] == there["steps"]
            assert made["match"]["control"] == "updates"
            assert made["schedule"] == made["tokens"]["total"]  # the parent's is as long as its budget
            drawn = [n for line in steps(parent) if (n := line["batch_tokens"][task])]
            apart += len(drawn) < there["steps"]  # what makes it differ from the control by tokens
            mean = made["tokens"]["total"] / made["steps"]
            assert mean == pytest.approx(sum(drawn) / len(drawn), rel=0.5)
    assert apart > 2
    assert replay([str(by_updates / "seed-0/updates/ddi"), "--all"]) == 0


def test_plain_s1_by_updates_is_called_so_wherever_it_is_told(by_updates, tmp_path, capsys):
    document = json.loads((by_updates / "report/verdict.json").read_text())
    assert [found["plain"] for found in document["studies"]] == ["updates"]
    assert not document["studies"][0]["missing"]
    page = (by_updates / "report/report.md").read_text()
    for said in (
        "less S1 with as many optimiser updates",
        "one that trained for as many updates as the multi-task model did (plain S1)",
        "All 8 pairs of runs agree to the token, or to the update",
        "plain S1: updates",
        "Plain S1 is matched by updates in this study",
    ):
        assert said in page
    assert "as many tokens of its task" not in page
    code, said = ended(capsys, by_updates, "--output", tmp_path, run=verdict)
    assert code == 0
    assert "controlled, plain: S1 on as many tokens in all, with as many updates" in said


def test_plain_s1_by_tokens_and_by_updates_are_not_one_side(by_updates, tmp_path):
    out = Path(shutil.copytree(by_updates, tmp_path / "out"))
    for kind, to in (("updates", "per-task"), ("per-task", "per-task")):
        assert (
            token_controlled(
                "A test.",
                [
                    "--match",
                    str(out / "seed-1/multi"),
                    "--control",
                    kind,
                    "--output-dir",
                    str(tmp_path / to),
                    "--tasks",
                    "ddi",
                ],
            )
            == 0
        )
    shutil.rmtree(out / "seed-1/updates")
    shutil.move(tmp_path / "per-task/per-task", out / "seed-1/per-task")
    (found,) = cells.find([out]).studies
    with pytest.raises(UsageError, match="plain S1 is matched by tokens in one and by updates in the other"):
        _ = found.plain


def test_a_run_of_another_number_of_updates_is_no_control(by_updates, tmp_path):
    out = Path(shutil.copytree(by_updates, tmp_path / "out"))
    run = out / "seed-0/updates/ddi"
    found = {name: value for name, value in result(run).items() if name != "files"}
    documents.write(run / "result.json", {**found, "steps": found["steps"] - 1})
    older(run)
    wanted = f"trained on {found['steps'] - 1} updates, the updates control .* needs {found['steps']}"
    with pytest.raises(UsageError, match=wanted):
        cells.find([out])


def test_with_uniform_sampling_plain_s1_takes_as_many_updates_anyway(file, tmp_path):
    """The same examples in the same order: only what the multi-task run's last step cut is whole here."""
    made = study.read(file(tmp_path, plain="updates", seeds=1))
    for kind in ("tokens", "updates"):
        nodes = study.nodes(attrs.evolve(made, plain=kind, controls=("per-task",)))
        assert execute.execute(tmp_path / kind, nodes, ["again"], say=lambda _: None) == 0
    for task in TASKS:
        one, other = (steps(tmp_path / at / task) for at in ("tokens/seed-0/per-task", "updates/seed-0/updates"))
        assert len(other) - 1 <= len(one) <= len(other)
        assert [line["tokens"] for line in one[:-1]] == [line["tokens"] for line in other[: len(one) - 1]]


def test_what_plain_means_is_fixed_with_the_study(by_updates, file, tmp_path, capsys):
    options = {"sampling": "proportional", "micro_batches": 2, "budget_tokens": 600}
    code, said = ended(capsys, file(tmp_path, options), "--output-dir", by_updates)
    assert code == 4
    assert "plain is 'updates' there and 'tokens' now" in said
    code, said = ended(capsys, file(tmp_path, options, plain="steps"), "--plan")
    assert code == 2
    assert "expected one of tokens, updates @ $.plain" in said
    code, said = ended(capsys, file(tmp_path, options, plain="updates"), "--output-dir", tmp_path / "x", "--plan")
    assert "seed-0/updates/ddi s1" in said
    assert "per-task" not in said
    one, other = (study.folder(study.read(file(tmp_path, plain=plain))) for plain in ("tokens", "updates"))
    assert one != other


# Learning rates

RATES = (0.0001, 0.003, 0.01)


@pytest.fixture(scope="module")
def tuned(file, tmp_path_factory) -> Path:
    """The folder of a finished study with three learning rates."""
    folder = tmp_path_factory.mktemp("rates")
    path = file(folder, learning_rates=list(RATES))
    assert command("A test.", [str(path), "--output-dir", str(folder / "out")]) == 0
    return folder / "out"


def setting(run: Path, name: str) -> object:
    return documents.read(run / "config.json")["identity"].get(name)


def dev(run: Path) -> float:
    """The mean dev score over the tasks of a run."""
    scores = [each["dev"] for each in result(run)["scores"].values()]
    return sum(scores) / len(scores)


@pytest.mark.slow
def test_every_side_has_equal_trials_and_takes_the_rate_that_was_best_on_dev(tuned):
    found = {}
    for side in ("multi", *(f"{kind}/{task}" for kind in ("total", "per-task") for task in TASKS)):
        scores = {rate: dev(tuned / f"rate-{rate!r}" / side) for rate in RATES}
        best = found[side] = min(rate for rate, score in scores.items() if score == max(scores.values()))
        assert {setting(tuned / f"seed-{seed}" / side, "learning_rate") for seed in (0, 1)} == {best}
        for rate in RATES:
            trial = tuned / f"rate-{rate!r}" / side
            assert (setting(trial, "learning_rate"), setting(trial, "seed"), setting(trial, "trial")) == (
                rate,
                -1,
                True,
            )
        assert setting(tuned / "seed-0" / side, "trial") is None
    assert len(set(found.values())) > 1  # else nothing shows that sides choose by themselves
    parent = result(tuned / f"rate-{found['multi']!r}/multi")["digest"]
    for rate in RATES:
        assert result(tuned / f"rate-{rate!r}/total/ddi")["match"]["parent"]["digest"] == parent


@pytest.mark.slow
def test_trials_are_told_and_take_no_part_in_the_verdict(tuned, tmp_path, capsys):
    (found,) = json.loads((tuned / "report/verdict.json").read_text())["studies"]
    assert found["seeds"] == [0, 1]
    assert found["exploratory"] == []
    rows = found["trials"]
    assert len(rows) == 3 * 5
    for row in rows:
        side = {"multi-task": "multi", "token-controlled S1": "total", "plain S1": "per-task"}[row["side"]]
        assert row["dev"] == dev(tuned / f"rate-{row['learning_rate']!r}" / side / row["task"])
        assert row["used"] == row["best"]
    page = (tuned / "report/report.md").read_text()
    assert "## Learning rates" in page
    assert "Each side's learning rate was chosen by itself" in page
    assert "| trials of learning rates | 15 |" in page
    code, said = ended(capsys, tuned, "--output", tmp_path, run=verdict)
    assert code == 0
    assert "NOT equal trials" not in said
    assert "takes no part" not in said


@pytest.mark.slow
def test_a_side_without_its_trials_is_told(tuned, tmp_path, capsys):
    out = Path(shutil.copytree(tuned, tmp_path / "out"))
    rate = setting(out / "seed-0/total/ddi", "learning_rate")
    shutil.rmtree(out / f"rate-{rate!r}/total/ddi")
    code, said = ended(capsys, out, "--output", tmp_path, run=verdict)
    assert code == 0
    assert "NOT equal trials: not every side has the same trials of its learning rate" in said
    assert "token-controlled S1 of ddi: its runs do not have the learning rate with the best dev score" in said
    for trial in out.glob("rate-*/multi"):
        shutil.rmtree(trial)
    code, said = ended(capsys, out, "--output", tmp_path, run=verdict)
    assert code == 0
    assert said.count("a trial, and no run that it is for is among the runs") == 11


@pytest.mark.slow
def test_a_study_with_learning_rates_goes_on_where_it_was(tuned, file, tmp_path, capsys):
    out = Path(shutil.copytree(tuned, tmp_path / "out"))
    before = {run: result(run)["digest"] for run in (p.parent for p in out.rglob("result.json"))}
    shutil.rmtree(out / "seed-1")
    shutil.rmtree(out / f"rate-{RATES[0]!r}/per-task")
    code, said = ended(capsys, file(tmp_path, learning_rates=list(RATES)), "--output-dir", out)
    assert code == 0, said
    assert {run: result(run)["digest"] for run in before} == before
    code, said = ended(capsys, file(tmp_path, learning_rates=list(RATES[:2])), "--output-dir", out)
    assert code == 4
    assert "learning_rates is [0.0001, 0.003, 0.01] there and [0.0001, 0.003] now" in said


@pytest.mark.parametrize(
    ("rates", "options", "wanted"),
    [
        ([0.1], {}, "expected two or more different numbers above 0 to choose from"),
        ([0.1, 0.1], {}, "learning_rates is [0.1, 0.1], expected two or more different"),
        ([0.1, 0.0], {}, "expected two or more different numbers above 0"),
        ([0.1, 0.2], {"learning_rate": 0.1}, "learning_rate stands in [run] and learning_rates above it"),
        (["fast", 0.2], {}, "expected float, found 'fast'"),
    ],
)
def test_wrong_learning_rates_are_told(file, tmp_path, capsys, rates, options, wanted):
    code, said = ended(capsys, file(tmp_path, options, learning_rates=rates), "--plan")
    assert code == 2
    assert wanted in said


def test_the_plan_has_the_trials_before_the_runs_that_need_them(file, tmp_path, capsys):
    code, said = ended(capsys, file(tmp_path, learning_rates=[0.1, 0.2]), "--output-dir", tmp_path / "x", "--plan")
    assert code == 0
    assert "20 runs" in said
    assert "rate-0.2/total/ddi s1 400 tokens 0.2 min to do after rate-0.1/multi, rate-0.2/multi" in said
    assert "to do after seed-0/multi, rate-0.1/total/ddi, rate-0.2/total/ddi" in said
    assert trials.best({0.3: 0.5, 0.1: 0.5, 0.2: 0.4}) == 0.1
