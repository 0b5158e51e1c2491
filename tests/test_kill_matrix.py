"""Real processes and real SIGKILLs: ten of them here, in every phase, for both engines; the script does more."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_a_run_killed_anywhere_ends_in_the_digest_of_one_that_was_not():
    ended = subprocess.run(
        [sys.executable, ROOT / "scripts" / "kill_matrix.py", "--kills", "10"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
    )
    print(ended.stdout)  # the resume points, shown where this fails
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "10 kills, every run ended in the digest, record and files of the one that was never killed" in ended.stdout
    assert len(set(re.findall(r"never killed: digest (\w+)", ended.stdout))) == 2
    assert len({int(step) for step in re.findall(r"\(from (\d+)\)", ended.stdout)} - {0}) >= 2
