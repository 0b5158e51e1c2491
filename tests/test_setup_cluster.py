"""The environment of Snakemake: its own, of exact versions, made once; with a Python of straw, as test_scripts has."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

import pytest

from tests.test_scripts import ROOT, Project

PINS = ROOT / "constraints-cluster.txt"
SNAKEMAKE = """printf '#!/bin/sh\\necho 9.27.1\\n' >"$SNAKEMAKE"; chmod +x "$SNAKEMAKE\""""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    for name in ("scripts/setup_cluster.sh", "constraints-cluster.txt"):
        shutil.copy(ROOT / name, made.root / name)
    venv = tmp_path / "of snakemake"
    made.env |= {"MTLFN_CLUSTER_VENV": str(venv), "PIP": SNAKEMAKE, "SNAKEMAKE": str(venv / "bin/snakemake")}
    return made


def test_it_is_made_once_of_the_exact_versions_and_beside_the_one_that_trains(project: Project) -> None:
    ran = project.run("setup_cluster.sh")
    assert ran.code == 0, ran
    assert ran.messages[-1] == f"mtlfn: ready: {project.env['SNAKEMAKE']} 9.27.1"
    (call,) = project.asked("pip install")
    assert call.endswith("-r constraints-cluster.txt")
    assert not project.venv.exists()
    assert project.run("setup_cluster.sh").code == 0
    assert len(project.asked("pip install")) == 1
    (project.root / "constraints-cluster.txt").write_text("snakemake==9.28.0\n")
    assert project.run("setup_cluster.sh").code == 0
    assert len(project.asked("pip install")) == 2


def test_a_failed_installation_is_not_trusted(project: Project) -> None:
    ran = project.run("setup_cluster.sh", PIP="exit 1")
    assert ran.code == 3
    assert ran.messages[-1].startswith("mtlfn: ")
    assert project.run("setup_cluster.sh").code == 0
    assert len(project.asked("pip install")) == 2


def test_every_version_is_exact_and_within_the_bounds_of_the_extra() -> None:
    lines = [line for line in PINS.read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.+]*", line) for line in lines)
    pins = dict(line.lower().split("==") for line in lines)
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["cluster"]
    for bound in extra:
        name, least, below = re.fullmatch(r"(.+)>=(\d+),<(\d+)", bound).groups()
        assert int(least) <= int(pins[name].split(".")[0]) < int(below)
