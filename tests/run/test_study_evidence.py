"""A study's folder is its own, its runs are what they were, and what fails takes only its dependants along."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from mtlfn.analysis import looks, study, study_command
from mtlfn.analysis.command import report, verdict
from mtlfn.analysis.command import study as command
from mtlfn.analysis.runs import cells
from mtlfn.analysis.statistics import verdict as statistics
from mtlfn.run import documents
from mtlfn.run.commands import track as following
from mtlfn.run.commands.command import track
from mtlfn.run.errors import UsageError
from mtlfn.run.track import trackers
from tests.harm import delete, empty, flip, truncate
from tests.run.conftest import contents
from tests.run.studies import TASKS, ended, write
from tests.run.test_run import result
from tests.run.test_track import Recorded
from tests.tiny import make_data

PLACES: dict[str, object] = {}  # of the tiny backbone and its data, once they are made


@pytest.fixture(scope="module")
def made(bert, cache, tmp_path_factory) -> Path:
    """A folder with data, and a study that has finished."""
    folder = tmp_path_factory.mktemp("study")
    data = make_data(folder / "data", test=12)
    PLACES.update(backbone=str(bert), data_dir=str(data), cache_dir=str(cache))
    assert command("A test.", [str(written(folder)), "--output-dir", str(folder / "out")]) == 0
    return folder


def written(folder: Path, run: dict[str, object] | None = None, **settings: object) -> Path:
    """The file of a study."""
    return write(folder, {**PLACES, **(run or {})}, **settings)


@pytest.fixture
def out(made, tmp_path) -> Path:
    """A copy of the finished study's folder."""
    return Path(shutil.copytree(made / "out", tmp_path / "out"))


def test_a_finished_study_is_finished(out, tmp_path, capsys):
    before = contents(out)
    code, said = ended(capsys, written(tmp_path), "--output-dir", out)
    assert code == 0, said
    assert said.count(": finished") == 10
    assert {n: d for n, d in contents(out).items() if not n.startswith("report")} == {
        n: d for n, d in before.items() if not n.startswith("report")
    }


def test_a_study_is_followed_until_its_last_look_or_until_all_is_decided(out, monkeypatch):
    monkeypatch.setitem(trackers.TRACKERS, "tensorboard", Recorded())
    told, line = out / "report/verdict.json", out / "seed-1/total/ddi/metrics.jsonl"
    naps, whole = [], told.read_bytes()

    def followed(then: Callable[[], object]) -> int:
        """How often the follower slept, of which the first time something happened."""

        def nap(seconds: float) -> None:
            naps.append(seconds)
            assert len(naps) == 1
            then()

        naps.clear()
        monkeypatch.setattr(following.time, "sleep", nap)
        assert track([str(out), "--to", "tensorboard", "--follow", "--every", "7"]) == 0
        return len(naps)

    def look(looks: list[int], verdict: str, exploratory: tuple[str, ...] = ()) -> None:
        document = json.loads(whole)
        document["settings"]["looks"] = looks
        document["studies"][0]["exploratory"] = exploratory
        for row in document["studies"][0]["tasks"].values():
            row["verdict"] = verdict
        told.write_text(json.dumps(document))

    def back() -> None:
        told.write_bytes(whole)

    assert followed(back) == 0
    told.unlink()
    assert followed(back) == 1
    told.write_bytes(whole[:100])
    assert followed(back) == 1
    line.touch()  # the study went on
    assert followed(told.touch) == 1
    look([2, 4], "inconclusive")
    assert followed(back) == 1
    look([2, 4], "no effect")
    assert followed(back) == 0
    look([2, 4], "no effect", ("another margin",))  # with which a study goes on, too
    assert followed(back) == 1
    assert {statistics.INCONCLUSIVE, statistics.NOT_LEARNT} == following.OPEN
    look([2], "inconclusive")
    assert followed(back) == 0


@pytest.mark.parametrize(
    ("run", "settings", "wanted"),
    [
        ({}, {"strategy": "s3a"}, "strategy is 's2' there and 's3a' now"),
        ({"budget_tokens": 500}, {}, "run.budget_tokens is 400 there and 500 now"),
        ({"learning_rate": 0.01}, {}, "run.learning_rate is "),
        ({"seed": 1}, {}, "run.seed is 0 there and 1 now"),
        ({"tasks": ["bc5cdr_disease", "hoc"]}, {}, "run.tasks is "),
        ({}, {"seeds": 3}, "seeds is 2 there and 3 now; give --seeds 2 to go on with it, or more to add to it"),
        ({}, {"seeds": 1}, "seeds is 2 there and 1 now"),
        ({}, {"margin": 0.05}, "margin is 0.02 there and 0.05 now; it was fixed before anything was seen"),
        ({}, {"keep": ["ddi"]}, "keep is [] there and ['ddi'] now"),
        ({}, {"controls": ["total"]}, "controls is ['per-task', 'total'] there and ['total'] now"),
    ],
)
@pytest.mark.parametrize("plan", [(), ("--plan",)])
def test_the_folder_of_another_study_is_refused(out, tmp_path, capsys, run, settings, wanted, plan):
    before = contents(out)
    code, said = ended(capsys, written(tmp_path, run, **settings), "--output-dir", out, *plan)
    assert code == 4
    assert f"is the folder of another study: {wanted}" in said
    assert contents(out) == before


@pytest.mark.parametrize("run", [{"budget_tokens": 500}, {"learning_rate": 0.01}, {"tasks": ["bc5cdr_disease", "hoc"]}])
@pytest.mark.parametrize("plan", [(), ("--plan",)])
def test_a_folder_without_a_record_is_refused_by_the_runs_in_it(out, tmp_path, capsys, run, plan):
    (out / looks.DOCUMENT).unlink()
    before = contents(out)
    code, said = ended(capsys, written(tmp_path, run), "--output-dir", out, *plan)
    assert code == 4
    assert "seed-0/multi: it holds a run of another configuration" in said
    assert contents(out) == before


def test_seeds_and_pairs_can_be_added(out, tmp_path, capsys):
    code, said = ended(capsys, written(tmp_path, pairwise=True), "--output-dir", out, "--seeds", 3)
    assert code == 0, said
    assert documents.read(out / looks.DOCUMENT)["seeds"] == 3
    assert ended(capsys, written(tmp_path, pairwise=True), "--output-dir", out)[0] == 4
    assert ended(capsys, written(tmp_path), "--output-dir", out, "--seeds", 3)[0] == 4


def test_a_run_that_took_the_place_of_another_is_refused(out, tmp_path, capsys):
    """Two seeds swapped, with all their seals in order."""
    (out / "seed-0/multi").rename(out / "away")
    (out / "seed-1/multi").rename(out / "seed-0/multi")
    (out / "away").rename(out / "seed-1/multi")
    code, said = ended(capsys, written(tmp_path), "--output-dir", out)
    assert code == 4
    assert "seed is 1 there and 0 now" in said


def test_other_data_under_a_study_that_goes_on_are_refused(made, out, tmp_path, capsys):
    data = Path(shutil.copytree(made / "data", tmp_path / "data"))
    path = data / "ddi" / "dev.jsonl"
    path.write_text(path.read_text().replace("aspirin", "codeine"))
    shutil.rmtree(out / "seed-1")
    code, said = ended(capsys, written(tmp_path, {"data_dir": str(data)}), "--output-dir", out)
    assert code == 1
    assert "seed-1/multi: " in said
    assert "cannot be compared with this run: other data: ddi, split dev" in said
    assert not (out / "seed-1/multi/config.json").exists()
    # With the data of the study it goes on.
    assert ended(capsys, written(tmp_path), "--output-dir", out)[0] == 0


# What was changed


FILES = (
    "seed-0/multi/result.json",
    "seed-0/multi/config.json",
    "seed-0/multi/ledger.jsonl",
    "seed-0/multi/metrics.jsonl",
    "seed-0/multi/tokens.json",
    "seed-0/multi/predictions/ddi.test.jsonl",
    "seed-0/multi/predictions/ddi.test.units.json",
    "seed-1/total/ddi/predictions/ddi.test.units.json",
    "seed-1/per-task/bc5cdr_disease/result.json",
)


def swap(path: Path, folder: Path) -> None:
    """The same file of the other seed."""
    other = Path(str(path).replace("seed-0", "seed-X").replace("seed-1", "seed-0").replace("seed-X", "seed-1"))
    path.write_bytes(other.read_bytes())


def reseal(path: Path, _: Path) -> None:
    """Another number in the document, and its hash made to fit."""

    def changed(found: object) -> object:
        if isinstance(found, dict):
            return {name: changed(value) for name, value in found.items()}
        if isinstance(found, list):
            return [changed(value) for value in found]
        return found * 2 + 1 if isinstance(found, float) else found

    document = json.loads(path.read_text())
    if documents.SEAL in document:
        del document[documents.SEAL]
        documents.write(path, changed(document))
    else:
        path.write_text(json.dumps(changed(document)))


@pytest.mark.parametrize("harm", [flip, truncate, empty, swap, delete, reseal])
def test_a_changed_file_of_any_run_is_found_and_named(out, harm):
    """By what verdict and report begin with."""
    tried = 0
    for name in FILES:
        path = out / name
        whole = path.read_bytes()
        if harm is not reseal or path.suffix == ".json":
            harm(path, out)
        if not path.exists() or path.read_bytes() != whole:
            tried += 1
            folder = name.partition("/predictions/")[0] if "/predictions/" in name else name.rpartition("/")[0]
            if path.name == documents.RESULT and harm is delete:
                assert cells.find([out]).unfinished == (out / folder,)
            else:
                with pytest.raises(UsageError, match=re.escape(path.name)) as refused:
                    cells.find([out])
                assert folder in str(refused.value)
        path.write_bytes(whole)
    assert tried >= 6
    assert not cells.find([out]).unfinished


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("seed-0/multi/result.json", reseal),
        ("seed-0/multi/metrics.jsonl", swap),
        ("seed-1/total/ddi/predictions/ddi.test.units.json", delete),
        ("seed-1/per-task/bc5cdr_disease/predictions/bc5cdr_disease.test.jsonl", truncate),
    ],
)
def test_what_was_changed_is_made_again_by_the_command_of_the_study(out, tmp_path, capsys, name, harm):
    whole = contents(out)
    harm(out / name, out)
    for judge, more in ((verdict, ["--output", str(tmp_path)]), (report, [])):
        assert ended(capsys, out, *more, run=judge)[0] == 2
    code, said = ended(capsys, written(tmp_path), "--output-dir", out)
    assert code == 0, said
    again = contents(out)
    assert {n: d for n, d in again.items() if "predictions/" in n} == {
        n: d for n, d in whole.items() if "predictions/" in n
    }
    for run in [p.parent for p in out.rglob("result.json")]:
        there = json.loads(whole[str(run.relative_to(out) / "result.json")])
        assert (result(run)["digest"], result(run)["scores"]) == (there["digest"], there["scores"])


def test_a_run_that_cannot_be_made_again_is_left_out_of_the_report(out, tmp_path, capsys):
    flip(out / "seed-0/multi/ledger.jsonl", out)
    code, said = ended(capsys, written(tmp_path), "--output-dir", out)
    assert code == 1
    assert "1 of 10 runs failed: seed-0/multi: " in said
    assert "ledger.jsonl" in said
    found = json.loads((out / "report/verdict.json").read_text())
    assert found["studies"][0]["seeds"] == [1]
    assert found["unfinished"] == [str(out / "seed-0/multi")]


def test_a_record_of_the_study_that_was_changed_is_refused_everywhere(out, tmp_path, capsys):
    path = out / looks.DOCUMENT
    path.write_text(path.read_text().replace("0.02", "0.2"))
    for code, said in (
        ended(capsys, written(tmp_path), "--output-dir", out),
        ended(capsys, out, "--output", tmp_path, run=verdict),
        ended(capsys, out, run=report),
    ):
        assert code == 2
        assert "study.json: cannot be used (its content is not what was written)" in said


# What fails


@pytest.fixture
def begun(made, tmp_path, monkeypatch) -> Path:
    """The folder of a study that has not begun."""
    return tmp_path / "begun"


def test_what_fails_takes_its_dependants_along_and_nothing_else(begun, tmp_path, capsys, monkeypatch):
    from mtlfn.run.one import smoke

    original = smoke.smoke

    def failing(prepared, probe):
        checks = original(prepared, probe)
        odd = prepared.config.seed == 0 and len(prepared.tasks) > 1
        return (smoke.Check("the loss falls", False, "from 0.7 to 0.69"),) if odd else checks[:1]

    monkeypatch.setattr(smoke, "smoke", failing)
    file = written(tmp_path, {"skip_smoke_test": False})
    code, said = ended(capsys, file, "--output-dir", begun)
    assert code == 1
    assert "5 of 10 runs failed:" in said
    assert "seed-0/multi: the smoke test failed: the loss falls: from 0.7 to 0.69." in said
    assert (
        "seed-0/per-task/bc5cdr_disease, seed-0/per-task/ddi, seed-0/total/bc5cdr_disease, seed-0/total/ddi: "
        "not begun: it needs seed-0/multi" in said
    )
    assert "to go on: python -m mtlfn.experiments.study" in said
    assert f"everything is in {begun / 'report'}, of what is finished" in said
    found = json.loads((begun / "report/verdict.json").read_text())
    assert found["settings"]["margin"] == 0.02
    assert found["studies"][0]["seeds"] == [1]
    assert len(list(begun.rglob("result.json"))) == 5
    # The one that failed begins all the same where that is asked for; the others stay as they are.
    code, said = ended(capsys, file, "--output-dir", begun, "--skip-smoke-test")
    assert code == 0
    assert f"without the smoke test: {begun}/seed-0/multi" in said
    page = (begun / "report/report.md").read_text()
    assert "smoke tests left out" in page
    assert "seed-0/multi, seed-0/total/bc5cdr_disease" in page


def test_a_changed_environment_is_accepted_by_a_flag_and_told(out, tmp_path, capsys, monkeypatch):
    run = out / "seed-1/total/ddi"
    (run / "result.json").unlink()
    found = documents.read(run / "env.json")
    found["must_match"]["packages"]["torch"] = "1.0"
    documents.write(run / "env.json", found)
    code, said = ended(capsys, written(tmp_path), "--output-dir", out)
    assert code == 1
    assert "1 of 10 runs failed: seed-1/total/ddi: " in said
    assert "--accept-environment" in said
    code, said = ended(capsys, written(tmp_path), "--output-dir", out, "--accept-environment")
    assert code == 0
    assert f"went on in another environment: {run}" in said


# The rule


def test_the_plan_says_what_the_study_can_show_once_some_of_it_is_finished(out, tmp_path, capsys):
    code, said = ended(capsys, written(tmp_path), "--output-dir", out, "--plan")
    assert code == 0
    assert [said.count(f"power {task}:") for task in TASKS] == [1, 1]
    assert "2 seeds show a difference of" in said
    code, said = ended(capsys, written(tmp_path), "--output-dir", tmp_path / "new", "--plan")
    assert code == 0
    assert "a difference of" not in said


def test_a_study_ends_at_the_look_that_decides_it_and_the_looks_stay(made, tmp_path, capsys, monkeypatch):
    settings = {"seeds": 3, "looks": [2, 3], "draws": 20_000}
    decided = iter((False, True))
    monkeypatch.setattr(study, "all_decided", lambda document: next(decided))
    study.claim(study.read(written(tmp_path, **settings)), tmp_path / "out")
    without = shutil.ignore_patterns("study.json", "report")
    shutil.copytree(made / "out", tmp_path / "out", ignore=without, dirs_exist_ok=True)
    code, said = ended(capsys, written(tmp_path, **settings), "--output-dir", tmp_path / "out", "--max-hours", 1)
    assert code == 0, said
    assert said.count("level 0.0222 over 2 tasks") == 1
    assert said.count("level 0.0278 over 2 tasks") == 1
    assert [look["seeds"] for look in looks.taken(tmp_path / "out")] == [[[0, 1]], [[0, 1, 2]]]
    assert [look["exploratory"] for look in looks.taken(tmp_path / "out")] == [[], []]


def test_a_study_that_stopped_between_looks_takes_no_look_at_what_it_has_of_the_next(made, tmp_path, capsys):
    settings = {"seeds": 4, "looks": [2, 4], "draws": 20_000}
    out, file = tmp_path / "out", written(tmp_path, **settings)
    study.claim(study.read(file), out)
    shutil.copytree(made / "out", out, ignore=shutil.ignore_patterns("study.json", "report"), dirs_exist_ok=True)
    assert ended(capsys, file, "--output-dir", out, "--conclude")[0] == 0
    assert ended(capsys, file, "--output-dir", out, "--only", "seed-2/multi")[0] == 0
    assert ended(capsys, file, "--output-dir", out, "--conclude")[0] == 0
    assert ended(capsys, file, "--output-dir", out, "--max-hours", 1e-9)[0] == 75
    (look,) = looks.taken(out)
    assert (look["seeds"], look["exploratory"]) == ([[0, 1]], [])


def test_the_number_of_seeds_that_the_study_has_anyway_keeps_its_looks(tmp_path, monkeypatch):
    settings = {"seeds": 4, "looks": [2, 4], "draws": 20_000}
    looked, asked = [], study.read(written(tmp_path, **settings))

    def tell(stage, root, nodes, graph, of):
        looked.append((stage.seeds, len(graph) - len(nodes)))
        return False

    monkeypatch.setattr(study_command, "_tell", tell)
    for seeds in (4, 2, 3, 6):
        study_command._all(attrs.evolve(asked, seeds=seeds), tmp_path, lambda nodes: 0)
    assert looked == [(2, 10), (4, 0), (2, 0), (2, 5), (3, 0), (6, 0)]


def test_verdict_and_report_take_the_rule_that_the_study_fixed(out, tmp_path, capsys):
    for at in (out, out / "seed-0"):
        assert ended(capsys, at, "--output", tmp_path, run=verdict)[0] == 0
        assert json.loads((tmp_path / "verdict.json").read_text())["settings"]["margin"] == 0.02
    shutil.rmtree(out / "report")
    assert ended(capsys, out, run=report)[0] == 0
    assert json.loads((out / "report/verdict.json").read_text())["settings"]["draws"] == 4000
    code, said = ended(capsys, out, "--output", tmp_path, "--margin", 0.2, run=verdict)
    assert code == 0
    assert "NOT the rule of the study: margin 0.2 where the study fixed 0.02" in said
    assert ended(capsys, out, "--margin", 0.2, run=report)[0] == 0
    assert "NOT the rule of the study" in (out / "report/report.html").read_text()
