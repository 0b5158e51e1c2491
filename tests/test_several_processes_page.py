"""What docs/several-processes.md shows works: its commands, small, end in one digest, and its flags exist."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mtlfn.run import documents
from mtlfn.run.commands.command import parse
from tests.tiny import bert, cache, data, tiny_folder  # noqa: F401

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "several-processes.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(block) for block in re.findall(r"^```bash\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)]


def flags(command: list[str]) -> list[str]:
    return command[command.index("mtlfn.experiments.s3b") + 1 :]


@pytest.mark.parametrize("command", COMMANDS, ids=[" ".join(command[:3]) for command in COMMANDS])
def test_flags_exist(command: list[str]):
    config = parse("mtlfn.experiments.s3b", "", flags(command))
    assert not isinstance(config, int)
    assert (config.engine, config.threads) == ("loop", 1)


@pytest.mark.slow
def test_two_processes_and_one_end_in_one_digest(bert, data, cache, tmp_path):  # noqa: F811
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("OMP_NUM_THREADS", None)
    small = f"--backbone {bert} --data-dir {data} --cache-dir {cache} --tasks bc5cdr_disease,ddi --skip-smoke-test "
    small += "--budget-tokens 500 --micro-batch-tokens 64"
    digests = []
    for number, command in enumerate(command for command in COMMANDS if "--nnodes=2" not in command):
        words = [word.replace("results/large", str(tmp_path / str(number))) for word in command]
        module = {"torchrun": [sys.executable, "-m", "torch.distributed.run"], "python": [sys.executable]}[words[0]]
        subprocess.run([*module, *words[1:], *small.split()], check=True, env=environment, cwd=tmp_path)
        digests.append(documents.read(tmp_path / str(number) / documents.RESULT)["digest"])
    assert len(digests) == 2
    assert len(set(digests)) == 1
