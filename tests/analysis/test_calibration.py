"""The calibration script runs, and finds what it must."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "calibrate_statistics.py"


@pytest.mark.slow
def test_a_quick_calibration_prints_its_tables() -> None:
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick"],
        capture_output=True,
        text=True,
        check=True,
        cwd=SCRIPT.parents[1],
    )
    lines = [line.split() for line in ended.stdout.splitlines()]
    borders = [line for line in lines if line[:1] in (["map"], ["f1"], ["accuracy"]) and line[1:3] == ["3", "200"]]
    assert [line[0] for line in borders] == ["map", "f1", "accuracy"]
    for line in borders:
        shares = [float(word.rstrip("%")) for word in line[6:15]]
        assert shares[0] >= 80  # 20 studies a line
        assert max(shares[1:]) <= 25
    assert sum("at any" not in " ".join(line) and line[:1] == ["map"] and "s/u" in line for line in lines) == 3
    planted = [line for line in lines if line[:3] == ["S", "5", "s/u"]]
    assert len(planted) == 9
    for line in planted:  # effects of four margins: never another cell
        assert float(line[-1].rstrip("%")) <= 5
    advised = [line[1] for line in lines if line[:1] == ["S"] and line[3:6] == ["decided", "at", "once;"]]
    assert advised == ["3", "5", "10"]
