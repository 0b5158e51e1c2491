"""The demo: every verdict is decided, and is the one that was planted; its page says what is there."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from mtlfn.analysis import study
from mtlfn.analysis.command import study as command
from mtlfn.analysis.command import verdict as verdict_command
from mtlfn.analysis.statistics import verdict
from mtlfn.data.embedded import worlds

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FILE, PAGE = ROOT / "experiments/study-demo.toml", ROOT / "docs/study-demo.md"
PLANTED = {
    "world_together_genuine": (verdict.GENUINE, verdict.GENUINE),
    "world_together_exposure": (verdict.EXPOSURE, verdict.EXPOSURE),
    "world_together_negative": (verdict.NEGATIVE, verdict.NEGATIVE),
    "world_together_source": (verdict.NO_EFFECT, verdict.EXPOSURE),  # the cell, and the row
}


def test_it_compares_one_task_of_each_planted_verdict():
    demo = study.read(FILE)
    assert set(demo.run.tasks.split(",")) == set(PLANTED) <= set(worlds.NAMES)
    assert {cell for cell, _ in PLANTED.values()} == {
        verdict.GENUINE, verdict.EXPOSURE, verdict.NEGATIVE, verdict.NO_EFFECT,
    }  # fmt: skip
    assert demo.seeds >= 3
    assert len(study.nodes(demo)) == demo.seeds * 9 == 72


def test_the_page_says_of_every_task_what_is_planted():
    page = PAGE.read_text()
    for task, (cell, _) in PLANTED.items():
        (row,) = (line for line in page.splitlines() if line.startswith(f"| `{task}`"))
        assert row.split("|")[3].strip().startswith(cell)
    sizes = {task: len(worlds.load(task).train) for task in PLANTED}
    for task, named in (("source", "6,000"), ("genuine", "400"), ("exposure", "200"), ("negative", "700")):
        assert f"{named} texts" in page or f"{named} texts" in page.replace("its ", "")
        assert abs(sizes[f"world_together_{task}"] / int(named.replace(",", "")) - 1) < 0.05


def test_the_commands_of_the_page_are_understood(tmp_path, capsys):
    lines = [
        line for block in re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL) for line in block.split("\n")
    ]
    studies = [shlex.split(line)[3:] for line in lines if "mtlfn.experiments.study" in line]
    assert len(studies) == 2
    for argv in studies:
        path, *flags = argv
        assert command("A test.", [str(ROOT / path), *{*flags, "--plan"}, "--output-dir", str(tmp_path / "out")]) == 0
    assert "72 runs" in capsys.readouterr().out
    (power,) = (shlex.split(line)[2:] for line in lines if line.startswith("mtlfn verdict"))
    assert verdict_command([str(tmp_path) if word == "FOLDER" else word for word in power]) == 2
    assert "holds no run" in capsys.readouterr().err


def shown() -> dict[str, list[str]]:
    """Task -> the columns of its line in the table of the README."""
    lines = [[column.strip() for column in line.split("│")[1:-1]] for line in README.splitlines() if line[:1] == "│"]
    return {line[0]: line[1:] for line in lines if line[0] in PLANTED}


def test_the_table_of_the_readme_is_of_the_demo():
    assert {task: (columns[3].removesuffix(" (ceiling)"), columns[4]) for task, columns in shown().items()} == PLANTED
    page = PAGE.read_text().replace("−", "-")  # with a sign of its own
    for task, (multi, controlled, plain, *_) in shown().items():
        (row,) = (line for line in page.splitlines() if line.startswith(f"| {task.rpartition('_')[2]} |"))
        assert [cell.split()[0] for cell in row.split("|")[3:6]] == [multi, controlled, plain]


@pytest.mark.slow
def test_every_verdict_is_the_planted_one(tmp_path):
    assert command("A test.", [str(FILE), "--output-dir", str(tmp_path / "out")]) == 0
    document = json.loads((tmp_path / "out/report/verdict.json").read_text())
    (told,) = document["studies"]
    assert told["exploratory"] == []
    assert {task: (row["verdict"], row["row"]) for task, row in told["tasks"].items()} == PLANTED
    assert (tmp_path / "out/report/report.html").is_file()
    for task, (multi, controlled, plain, *_) in shown().items():
        # To the digit only on the processor that the table was made on.
        row = told["tasks"][task]
        scores = row["scores"]["multi-task"].values()
        found = (sum(scores) / len(scores), row["controlled"]["estimate"], row["plain"]["estimate"])
        assert found == pytest.approx((float(multi), float(controlled), float(plain)), abs=0.15)
