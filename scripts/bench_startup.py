"""How long a user waits: `--help` of every command, and the second start of a run until its first step is done.

    python scripts/bench_startup.py [--rounds 5] [--json FILE] [-- options of a run]

The run is started once and stopped after a step, so that data are tokenised, the smoke test is over and a checkpoint
lies there; then it is started again and again, and the clock runs from the start of the process until it prints that a
step is done. Printed are medians, and where the time of one start goes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mtlfn.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
MODULES = ("mtlfn", *(module for module, _ in COMMANDS.values()))
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}


def helped(module: str) -> float:
    """Seconds of a command's --help."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", module, "--help"], env=ENVIRONMENT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def started(folder: Path, options: Sequence[str], steps: int) -> dict[str, float]:
    """Seconds from the start of the process until each of its first lines, and until the first step is done."""
    command = [sys.executable, "-m", "mtlfn.experiments.s3b", *options, "--output-dir", str(folder)]
    seen: dict[str, float] = {}
    began = time.perf_counter()
    with subprocess.Popen(
        [*command, "--max-steps", str(steps)], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        for line in run.stdout:
            for name, sign in {"loaded": "mtlfn s3b", "resumed": "resume ", "step": "stopped:"}.items():
                if line.startswith(sign):
                    seen.setdefault(name, time.perf_counter() - began)
    if run.returncode != 75 or "step" not in seen:
        raise SystemExit(f"the run ended with {run.returncode}; expected 75, stopped after step {steps}")
    return seen


def main(argv: Sequence[str]) -> None:
    own, options = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    asked = parser.parse_args(own)
    figures: dict[str, float] = {}
    for module in MODULES:
        figures[f"{module} --help"] = statistics.median(helped(module) for _ in range(asked.rounds))
    with tempfile.TemporaryDirectory(prefix="mtlfn-startup-") as scratch:
        folder = Path(scratch) / "run"
        figures["first start"] = started(folder, options, 1)["step"]
        rounds = [started(folder, options, 2 + i) for i in range(asked.rounds)]
    for name, label in {"loaded": "loaded", "resumed": "checked and resumed", "step": "first step done"}.items():
        figures[f"second start, {label}"] = statistics.median(each[name] for each in rounds)
    for name, seconds in figures.items():
        print(f"{name:<44} {seconds:6.2f} s")
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
