"""What the pages on many runs show works: commands parse and do what is said, flags and scripts are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from mtlfn.analysis.command import Study
from mtlfn.run.commands.command import cli
from tests.run.studies import ended, write
from tests.tiny import make_data

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("many-runs.md", "slurm.md")}
COMMANDS = [
    line
    for page in PAGES.values()
    for block in re.findall(r"^```bash\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
PREFIX = "python -m mtlfn.experiments.study "
STUDIES = [line for line in COMMANDS if line.startswith(PREFIX)]


@pytest.mark.parametrize("line", STUDIES)
def test_the_commands_are_commands(line):
    asked = cli(Study, shlex.split(line.removeprefix(PREFIX)), None, "study", "A test.")
    assert isinstance(asked, Study)
    asked.machines.check()


def test_the_other_commands_are_scripts_or_what_was_just_written():
    others = [line for line in COMMANDS if line not in STUDIES]
    assert others
    for line in others:
        script = line.split()[1]
        assert script == "queue.sh" or (ROOT / script).is_file()


def test_flags_that_the_pages_name_are_there():
    flags = {flag for page in PAGES.values() for flag in re.findall(r"`(--[a-z-]+)", page)}
    known = {
        f"--{name.replace('_', '-')}"
        for kind in (Study, Study.__attrs_attrs__.machines.default.factory)
        for name in kind.__annotations__
    }
    assert flags <= known, flags - known


def test_what_the_pages_show_runs(bert, cache, tmp_path, capsys, monkeypatch):
    """All commands that need neither Snakemake nor Slurm, in the order in which they are shown."""
    places = {"backbone": str(bert), "data_dir": str(make_data(tmp_path / "data", test=12)), "cache_dir": str(cache)}
    write(tmp_path, {**places, "output_dir": "out"}, seeds=1, controls=["total"])
    monkeypatch.chdir(tmp_path)
    lines = [line for line in STUDIES if not {"--jobs", "--slurm"} & set(line.split())]
    assert len(lines) == 4
    for line in lines:
        code, said = ended(capsys, *shlex.split(line.removeprefix(PREFIX)))
        assert code == 0, (line, said)
    assert (tmp_path / "out/report/verdict.json").exists()
    assert (tmp_path / "queue.sh").read_text().startswith("#!/usr/bin/env bash")
