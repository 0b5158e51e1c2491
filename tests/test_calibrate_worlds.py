"""The calibration by planted worlds, in seconds: it trains, goes on, ends in time, and its table counts right."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mtlfn.analysis.statistics import verdict
from mtlfn.analysis.statistics.bootstrap import Difference

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "scripts" / "calibrate_worlds.py"
SMALL = ("--studies", "1", "--seeds", "2", "--worlds", "unrelated", "--budget-tokens", "600", "--processes", "1")


def run(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, "--folder", folder, *SMALL, *flags],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
    )


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("calibrate_worlds", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # attrs looks a class's module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.slow
def test_it_ends_when_the_time_is_over_goes_on_with_the_same_command_and_trains_nothing_twice(tmp_path):
    none = run(tmp_path, "--minutes", "0")
    assert none.returncode == 0, none.stdout + none.stderr
    assert "0 of 1 studies complete" in none.stdout
    assert not list(tmp_path.rglob("result.json"))

    first = run(tmp_path, "--minutes", "9")
    assert "1 of 1 studies complete, 2 seeds each; 2 of 2 triples of runs of 600 tokens" in first.stdout, first.stderr
    results = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("result.json")}
    assert sorted(str(path.parent.relative_to(tmp_path)) for path in results) == [
        f"unrelated/study-0/seed-{seed}/{name}"
        for seed in (0, 1)
        for name in ("multi-task", "per-task/world_unrelated_target", "total/world_unrelated_target")
    ]
    assert not list(tmp_path.rglob("checkpoints"))

    again = run(tmp_path, "--minutes", "0")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("result.json")} == results
    assert again.stdout.split(" min")[0].rsplit(";", 1)[0] == first.stdout.split(" min")[0].rsplit(";", 1)[0]
    assert again.returncode == first.returncode


@pytest.mark.parametrize(("flags", "said"), [(("--seeds", "1"), "--seeds 1"), (("--worlds", "flat"), "'flat' is none")])
def test_wrong_flags_are_refused_by_name(tmp_path, flags, said):
    ended = run(tmp_path, *flags)
    assert ended.returncode == 2
    assert said in ended.stderr


def judged(script: ModuleType, world: str, said: str, *controlled: float) -> object:
    made = Difference(controlled, 300, np.array(controlled), 0.0, 0.0)
    return script.Judged(world, said, made, made)


def test_the_table_counts_right_wrong_and_inconclusive_verdicts(script):
    said = [verdict.GENUINE] * 8 + [verdict.INCONCLUSIVE] * 2
    lines, missed = script.table([judged(script, "genuine", each, 0.3, 0.5) for each in said], 0.05)
    (row,) = (line for line in lines if line.startswith("genuine transfer") and "80%" in line)
    assert row.split()[2:] == ["10", "8", *["0"] * 7, "2", "0%", "80%"]
    assert any("+0.400 (0.103)" in line for line in lines)
    assert missed == 0


@pytest.mark.parametrize(
    ("world", "said", "missed"),
    [
        ("genuine", [verdict.GENUINE] * 7 + [verdict.INCONCLUSIVE] * 3, 1),  # too few are right
        ("negative", [verdict.NEGATIVE] * 7 + [verdict.INCONCLUSIVE] * 3, 1),
        ("unrelated", [verdict.NO_EFFECT] * 7 + [verdict.INCONCLUSIVE] * 3, 0),  # no power is asked of these
        ("exposure", [verdict.INCONCLUSIVE] * 10, 0),
        ("unrelated", [verdict.NO_EFFECT] * 19 + [verdict.GENUINE], 0),  # 5 % wrong
        ("unrelated", [verdict.NO_EFFECT] * 18 + [verdict.GENUINE] * 2, 1),
        ("genuine", [verdict.GENUINE] * 18 + [verdict.EXPOSURE] * 2, 1),
    ],
)
def test_a_world_out_of_bounds_is_marked(script, world, said, missed):
    lines, found = script.table([judged(script, world, each, 0.0, 0.1) for each in said], 0.05)
    assert found == missed
    assert sum(line.endswith("!") for line in lines) == missed


def test_every_world_has_a_planted_verdict(script):
    from mtlfn.data.embedded import worlds

    assert tuple(script.PLANTED) == worlds.WORLDS
    assert sorted(script.PLANTED.values()) == sorted(verdict.CLAIMS)  # the nine cells: two of them are one claim
