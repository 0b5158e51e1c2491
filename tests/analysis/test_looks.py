"""The level is spent, not given away, and every look at a study is on record."""

from __future__ import annotations

import csv
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtlfn.analysis import looks, outcome, rules
from mtlfn.analysis import study as studies
from mtlfn.analysis.command import report, verdict
from mtlfn.analysis.runs import cells
from mtlfn.run import documents
from mtlfn.run.config import Config
from mtlfn.run.errors import UsageError
from tests.analysis import study_folder
from tests.analysis.made import write_study

FAST = ["--draws", "4000"]


@given(st.sets(st.integers(2, 60), min_size=1, max_size=6).map(sorted), st.floats(0.001, 0.4))
def test_the_levels_of_all_looks_sum_to_alpha(numbers: list[int], alpha: float) -> None:
    spent = looks.levels(numbers, alpha)
    assert sum(spent) == pytest.approx(alpha)
    assert min(spent) > 0


def test_the_level_of_a_look() -> None:
    # alpha (n/N)²: 0.09, 0.25, 1 of it by the looks, and each adds its own share.
    assert looks.levels((3, 5, 10), 0.05) == pytest.approx([0.0045, 0.008, 0.0375])
    assert looks.level((3, 5, 10), 0.05, 5) == pytest.approx(0.008)
    assert looks.level((3, 5, 10), 0.05, 4) == pytest.approx(0.008)
    assert looks.level((3, 5, 10), 0.05, 12) == pytest.approx(0.0375)
    assert looks.level((5,), 0.05, 5) == looks.level((), 0.05, 7) == 0.05


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A study of two seeds that can be reported on, and declared a look at 2."""
    root = study_folder.write(tmp_path / "whole", pairs=False, exclusion=False)
    declare(root, seeds=2)
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The runs of a study that declared one look, at 3 seeds."""
    declare(write_study(tmp_path / "study"))
    return tmp_path / "study"


RUN = Config(tasks="answers,mentions")


def declare(root: Path, **settings: object) -> None:
    """As if it had been declared before its runs, with their tasks and weighting."""
    shape = {"seeds": 3, "looks": (), "draws": 4000, "run": RUN, **settings}
    studies.claim(studies.Study(**shape), root / "new")
    document = documents.read(root / "new" / looks.DOCUMENT)
    shutil.rmtree(root / "new")
    run = next(iter(cells.find([root]).studies[0].multi.values()))
    document["run"] |= {"tasks": ",".join(run.tasks)} if run.tasks != ("answers", "mentions") else {}
    document["run"] |= {"weighting": weighting} if (weighting := run.setting("weighting")) else {}
    documents.write(root / looks.DOCUMENT, document)


def judged(root: Path, **asked: object) -> dict:
    given = {"margin": None, "alpha": None, "draws": None, **asked}
    runs = cells.find([root])
    return outcome.judge(runs, rules.rule(given, runs))


def test_what_was_declared_is_not_exploratory(folder: Path) -> None:
    document = judged(folder)
    assert document["studies"][0]["exploratory"] == []
    assert document["settings"]["level"] == 0.05
    assert document["settings"]["looks"] == [3]


@pytest.mark.parametrize(
    ("settings", "asked", "said"),
    [
        ({"seeds": 5}, {}, "seeds 0, 1 where the study declared 0 to 4"),
        ({"seeds": 5, "looks": (3, 5)}, {}, "seeds 0, 1 where the study declared 0 to 2 or 0 to 4"),
        ({"seeds": 10, "looks": (3,)}, {}, "seeds 0, 1 where the study declared 0 to 2"),
        ({}, {"margin": 0.02}, "margin 0.02 where the study fixed 0.01"),
        ({}, {"alpha": 0.1}, "alpha 0.1 where the study fixed 0.05"),
    ],
)
def test_anything_else_is_exploratory_everywhere(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: dict, asked: dict, said: str
) -> None:
    folder = whole
    declare(folder, **{"seeds": 2, **settings})
    flags = [part for name, value in asked.items() for part in (f"--{name}", str(value))]
    assert verdict([str(folder), *flags, "--output", str(tmp_path)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"EXPLORATORY: {said}" in printed
    document = json.loads((tmp_path / "verdict.json").read_text())
    assert document["studies"][0]["exploratory"] == [said]
    with (tmp_path / "verdict.csv").open() as file:
        assert {line["exploratory"] for line in csv.DictReader(file)} == {said}
    assert report([str(folder), *flags]) == 0
    by = f"at 2 seeds by margin {asked.get('margin', 0.01):g} (exploratory)"
    assert f"Looks at this study on record: 1: {by}." in (folder / "report" / "report.md").read_text()
    for name in ("report.html", "report.md", "verdict.tex"):
        text = (folder / "report" / name).read_text()
        assert "(exploratory)" in text, name
        assert said in text, name


def test_other_seeds_than_the_first_are_exploratory(folder: Path) -> None:
    # As many as declared, but chosen: one of the declared seeds is gone, another has taken its place.
    for path in list(folder.glob("*-0")):
        shutil.rmtree(path)
    write_study(folder / "more", seeds=4)
    for path in [p for n in (0, 1, 2) for p in (folder / "more").glob(f"*-{n}")]:
        shutil.rmtree(path)
    (why,) = judged(folder)["studies"][0]["exploratory"]
    assert why == "seeds 1, 2, 3 where the study declared 0 to 2"


def test_a_seed_that_lacks_a_side_is_exploratory(folder: Path) -> None:
    shutil.rmtree(folder / "plain-answers-2")
    (why,) = judged(folder)["studies"][0]["exploratory"]
    assert why == "1 run is missing, so that not every side has every seed"


def test_every_look_is_kept_once(folder: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert verdict([str(folder), "--output", str(tmp_path)]) == 0
    (look,) = looks.taken(folder)
    assert look["seeds"] == [[0, 1, 2]]
    assert look["verdicts"][0]["answers"] == ["genuine transfer", "genuine transfer"]
    assert len(look["digests"]) == 15
    assert look["exploratory"] == []
    assert datetime.fromisoformat(look["date"]).tzinfo == UTC
    assert verdict([str(folder / "multi-0"), str(folder), "--margin", "0.2", "--output", str(tmp_path)]) == 0
    assert [each["margin"] for each in looks.taken(folder)] == [0.01, 0.2]
    (folder / looks.DOCUMENT).write_text((folder / looks.DOCUMENT).read_text().replace("0.2", "0.3"))
    with pytest.raises(UsageError, match="put it back as it was"):
        looks.taken(folder)


def test_who_takes_the_record_away_has_no_declaration_either(folder: Path, tmp_path: Path) -> None:
    assert verdict([str(folder), "--output", str(tmp_path)]) == 0
    (folder / looks.DOCUMENT).unlink()
    (why,) = judged(folder)["studies"][0]["exploratory"]
    assert why == "no study fixed the margin and the number of seeds beforehand"
    study = studies.Study(seeds=3, draws=4000, run=RUN)
    for _ in range(2):  # and neither does it come back by being declared again
        studies.claim(study, folder)
        (why,) = judged(folder)["studies"][0]["exploratory"]
        assert why == "it was declared when 15 of its runs were finished"


def test_a_study_that_grows_keeps_its_looks(folder: Path, tmp_path: Path) -> None:
    assert verdict([str(folder), "--output", str(tmp_path)]) == 0
    study = studies.Study(seeds=3, draws=4000, pairwise=True, run=RUN)
    studies.claim(study, folder)
    assert len(looks.taken(folder)) == 1
    assert judged(folder)["studies"][0]["exploratory"] == []


def test_a_pilot_is_no_look(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verdict([str(folder), "--power", "--seeds", "5"]) == 0
    assert "answers: 5 seeds show a difference of 0." in capsys.readouterr().out
    assert looks.taken(folder) == []


def test_power_from_given_variances(capsys: pytest.CaptureFixture[str]) -> None:
    assert verdict(["--power", "--unit-sd", "0.002", "--seed-sd", "0.001", "--seeds", "5", "--tasks", "4"]) == 0
    assert "given variances: 5 seeds show a difference of 0.0" in capsys.readouterr().out
    for flags, said in (
        (["--power"], "--power: expected the runs of a pilot, or --unit-sd and --seed-sd"),
        (["--power", "--unit-sd", "-1", "--seed-sd", "1"], "--unit-sd -1.0: expected a number from 0 to 10,000"),
        (
            ["--power", "--unit-sd", "1", "--seed-sd", "1", "--seeds", "1"],
            "--seeds 1: expected a number from 2 to 10,000",
        ),
        (["--power", "--unit-sd", "1", "--seed-sd", "1e300"], "--seed-sd 1e+300: expected a number from 0 to 10,000"),
        (["--power", "--unit-sd", "1", "--seed-sd", "1", "--seeds", "1000000000"], "--seeds 1000000000: expected"),
    ):
        assert verdict(flags) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seeds = 5\nlooks = [5, 3]", "looks is [5, 3], expected growing numbers of seeds"),
        ("seeds = 5\nlooks = [3, 4]", "the last of them seeds = 5"),
        ("seeds = 5\nlooks = [1, 5]", "from 2 on"),
        ("seeds = 10\nlooks = [2, 10]\ndraws = 5000", "draws is 5000, expected at least 10000"),
    ],
)
def test_looks_that_cannot_be(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "study.toml").write_text(f"{text}\n[run]\ntasks = 'a_task,another_task'\n")
    with pytest.raises(UsageError) as error:
        studies.read(tmp_path / "study.toml")
    assert said in str(error.value)


def test_more_seeds_than_declared_do_not_move_the_look(tmp_path: Path) -> None:
    import attrs

    (tmp_path / "study.toml").write_text("seeds = 3\n[run]\ntasks = 'a_task,another_task'\n")
    declared = studies.read(tmp_path / "study.toml")
    more = attrs.evolve(declared, seeds=6)
    assert more.looks == (3,)
    assert [each.seeds for each in studies.stages(more)] == [3, 6]
    studies.claim(declared, tmp_path)
    studies.check(more, tmp_path, more_seeds=True)
    (tmp_path / "study.toml").write_text("seeds = 6\n[run]\ntasks = 'a_task,another_task'\n")
    with pytest.raises(Exception, match=r"looks is \[3\] there and \[6\] now; it was fixed"):
        studies.check(studies.read(tmp_path / "study.toml"), tmp_path, more_seeds=True)


def test_a_record_of_a_version_that_knew_no_looks(folder: Path) -> None:
    path = folder / looks.DOCUMENT
    document = {
        k: v for k, v in json.loads(path.read_text()).items() if k not in ("looks", looks.TAKEN, looks.LATE, "(sha256)")
    }
    path.write_text(json.dumps(document))
    assert looks.recorded(folder)["looks"] == [3]
    assert judged(folder)["studies"][0]["exploratory"] == []
