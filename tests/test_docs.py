"""What the pages on data, predictions and tracking show works: their files are read, their code runs, their commands
parse and name what there is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mtlfn.analysis.command import report
from mtlfn.data.tables import reading
from mtlfn.data.task import check
from mtlfn.run.commands import command
from mtlfn.run.preset import from_toml
from mtlfn.run.track.trackers import TRACKERS
from tests.run.conftest import go, usual, warm
from tests.tiny import bert, cache, data, rows, tiny_folder

__all__ = ["bert", "cache", "data", "go", "tiny_folder", "usual", "warm"]

DOCS = Path(__file__).parent.parent / "docs"
FORMATS = (DOCS / "data-formats.md").read_text(encoding="utf-8")
SECTIONS = {part.partition("\n")[0]: part for part in FORMATS.split("\n## ")[1:]}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def lines_of(page: str) -> list[list[str]]:
    """The commands of a page, as words."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return [line.split() for block in blocks(text, "bash") for line in block.splitlines()]


@pytest.mark.parametrize("name", SECTIONS)
def test_each_format_is_read_as_it_is_shown(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    section = SECTIONS[name]
    monkeypatch.chdir(tmp_path)
    for title, content in re.findall(r'^```\w+ title="(.+?)"\n(.*?)^```', section, flags=re.MULTILINE | re.DOTALL):
        (tmp_path / title).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / title).write_text(content, encoding="utf-8")
    (tmp_path / "words").mkdir(exist_ok=True)
    for code in blocks(section, "python"):
        exec(code, {})
    config = from_toml(tmp_path / "my.toml")
    assert config.task
    for task, mapping in config.task.items():
        dataset = check(reading.read(task, mapping, tmp_path))
        assert dataset.train, task
        assert dataset.dev, task


def test_every_format_has_a_section():
    from mtlfn.data.tables.formats import READERS

    shown = FORMATS.lower().replace("save_to_disk", "disk").replace("json lines", "jsonl")
    assert not [form for form in READERS if form not in shown]


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "predict": command.predict,
    "push": command.push,
    "track": command.track,
    "report": report,
}


def test_what_is_shown_of_a_finished_run_works(go, tmp_path, cache, monkeypatch, capfd):
    """The commands of two pages, as they are written, in a folder where ``results/RUN`` is a run."""
    monkeypatch.setenv("MTLFN_CACHE", str(cache))
    assert go(output_dir=tmp_path / "results/RUN").code == 0
    monkeypatch.chdir(tmp_path)
    row = rows("ddi", "dev", 1)[0]
    line = {"text": row["text"], "head": row["head"]["spans"], "tail": row["tail"]["spans"]}
    Path("rows.jsonl").write_text(__import__("json").dumps(line) + "\n")
    Path("words.conll").write_text("no O\ngout O\n")
    for folder in ("notes", "annotated"):
        Path(folder).mkdir()
        Path(folder, "one.txt").write_text("Tea meets zinc.")
    Path("annotated/one.ann").write_text("T1\tDrug 0 3\tTea\nT2\tDrug 10 14\tzinc\n")
    done = []
    for words in lines_of("predict.md") + lines_of("track.md"):
        if words[0] == "pip" or (words[1] == "track" and "tensorboard" not in words):
            continue
        if words[1] == "track":
            pytest.importorskip("tensorboardX", reason="extra track")
        assert words[0] == "mtlfn", words
        assert COMMANDS[words[1]](words[2:]) == 0, (words, capfd.readouterr().err)
        done.append(words[1])
    assert set(done) == set(COMMANDS)
    assert len(done) == 7
    for path in ("predicted.jsonl", "predicted/one.ann", "predicted.conll", "related/one.ann", "shared/README.md"):
        assert Path(path).is_file(), path
    assert Path("results/RUN/report/index.html").is_file()
    for code in blocks((DOCS / "predict.md").read_text(), "python"):
        exec(code, {})


def test_the_trackers_that_are_told_of_are_those_there_are():
    table = (DOCS / "track.md").read_text().partition("| tracker |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE) == ["tensorboard", "wandb", "mlflow", "trackio"]
    assert set(TRACKERS) == {"tensorboard", "wandb", "mlflow", "trackio"}


def test_every_flag_exists(capfd):
    """In the pages' code and tables; those of the commands that the pages are about, and of a run."""
    known = ""
    for run in (*COMMANDS.values(), lambda argv: command.main("s3b", "", argv)):
        run(["--help"])
    for words in (["init", "--help"], ["check", "--help"]):
        command.data(words)
    known = capfd.readouterr().out
    for page in ("data-formats.md", "predict.md", "track.md"):
        code = re.findall(r"```bash\n.*?```|`[^`\n]+`", (DOCS / page).read_text(), re.DOTALL)
        flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", "\n".join(code))) - {"--logdir"}
        assert flags
        assert not [flag for flag in flags if not re.search(rf"{flag}(?![\w-])", known)], page
