"""What the data of a run cost at its first start: peak memory and time, by the number of training examples.

    python scripts/bench_memory_data.py [--tasks hoc,bc5cdr_disease] [--examples 10000,100000,1000000] [--json FILE]

JSON Lines of made-up short examples (10 to 20 words) are written, and three commands read them, each in a process of
its own whose peak is its largest resident set: a run of a small budget from an empty cache to its result ("first
start"), the same again in another directory ("second start": tokens come from the cache), and ``mtlfn.data check``.
The smoke test is skipped: it knows no size of data. With ``--most`` megabytes, a command that takes more ends the
script with 1.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
HELD_OUT = 50  # examples of dev and of test each
BUDGET = 1000  # input tokens
WORDS = (
    "the",
    "patient",
    "cells",
    "tumor",
    "growth",
    "with",
    "acute",
    "renal",
    "failure",
    "protein",
    "expression",
    "was",
    "found",
    "in",
    "treatment",
    "dose",
    "effect",
    "no",
    "evidence",
    "for",
    "increased",
    "risk",
    "after",
    "therapy",
    "associated",
    "disease",
)
HALLMARKS = ("cellular energetics", "inducing angiogenesis", "resisting cell death")


def _words(drawn: random.Random) -> list[str]:
    return drawn.choices(WORDS, k=drawn.randint(10, 20))


def _bc5cdr_disease(name: str, drawn: random.Random) -> dict[str, Any]:
    words = _words(drawn)
    tags = ["O"] * len(words)
    at = drawn.randrange(len(words) - 1)
    tags[at : at + 2] = ["B-Disease", "I-Disease"]
    return {"id": name, "tokens": words, "tags": tags}


def _ddi(name: str, drawn: random.Random) -> dict[str, Any]:
    words = _words(drawn)
    head, tail = sorted(drawn.sample(range(len(words)), 2))
    spans = {}
    for role, at in (("head", head), ("tail", tail)):
        start = len(" ".join(words[:at])) + (at > 0)
        spans[role] = {"spans": [[start, start + len(words[at])]]}
    label = drawn.choice(("none", "mechanism", "effect", "advise", "int"))
    return {"id": name, "doc_id": f"doc-{name}", "text": " ".join(words), **spans, "label": label}


def _hoc(name: str, drawn: random.Random) -> dict[str, Any]:
    labels = drawn.sample(HALLMARKS, drawn.randint(0, 2))
    return {"id": name, "doc_id": f"doc-{name}", "text": " ".join(_words(drawn)), "labels": labels}


def _pubmedqa(name: str, drawn: random.Random) -> dict[str, Any]:
    words = _words(drawn)
    contexts = [{"section": "RESULTS", "text": " ".join(words[5:])}]
    label = drawn.choice(("yes", "no", "maybe"))
    return {"id": name, "question": " ".join(words[:5]), "contexts": contexts, "long_answer": "-", "label": label}


ROWS: dict[str, Callable[[str, random.Random], dict[str, Any]]] = {
    "bc5cdr_disease": _bc5cdr_disease,
    "ddi": _ddi,
    "hoc": _hoc,
    "pubmedqa": _pubmedqa,
}


def write(folder: Path, task: str, examples: int) -> None:
    """The data folder of a task: so many training examples, and few to evaluate on."""
    (folder / task).mkdir(parents=True)
    for split, count in (("train", examples), ("dev", HELD_OUT), ("test", HELD_OUT)):
        drawn = random.Random(f"{task} {split}")
        with (folder / task / f"{split}.jsonl").open("w") as out:
            for i in range(count):
                out.write(json.dumps(ROWS[task](f"{split}-{i}", drawn)) + "\n")


def measured(command: Sequence[str]) -> dict[str, float]:
    """Peak resident megabytes, seconds, and seconds of the CPU, of a command; one that fails ends the script."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(command, env=ENVIRONMENT, stdout=said, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)  # it was waited for here, not by subprocess
        if child.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)}: ended with {child.returncode}\n{said.read()[-2000:]}")
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)  # macOS counts bytes, Linux KiB
    busy = used.ru_utime + used.ru_stime
    return {"megabytes": peak / 2**20, "seconds": time.perf_counter() - began, "cpu_seconds": busy}


def commands(folder: Path, task: str, options: Sequence[str]) -> dict[str, list[str]]:
    """What is measured, in this order."""
    python = [sys.executable, "-m"]
    run = [*python, "mtlfn.experiments.s1", "--data-dir", str(folder), "--tasks", task, "--skip-smoke-test"]
    run += ["--budget-tokens", str(BUDGET), "--cache-dir", str(folder / "cache"), *options]
    return {
        "first start": [*run, "--output-dir", str(folder / "first")],
        "second start": [*run, "--output-dir", str(folder / "second")],
        "data check": [*python, "mtlfn.data", "check", str(folder), "--task", task],
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(ROWS), help=f"some of {', '.join(ROWS)}")
    parser.add_argument("--examples", default="10000,100000,1000000", help="numbers of training examples")
    parser.add_argument("--most", type=float, help="megabytes that no command may exceed")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("options", nargs="*", help="after --: further options of the run")
    asked = parser.parse_args(argv)
    figures: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    print(f"{'task':<16}{'examples':>10}  {'command':<14}{'peak':>10}{'time':>10}{'CPU':>10}")
    for task in asked.tasks.split(","):
        for examples in map(int, asked.examples.split(",")):
            with tempfile.TemporaryDirectory(prefix="mtlfn-memory-") as scratch:
                folder = Path(scratch)
                write(folder, task, examples)
                for name, command in commands(folder, task, asked.options).items():
                    found = measured(command)
                    figures.setdefault(task, {}).setdefault(str(examples), {})[name] = found
                    shown = f"{found['megabytes']:>7,.0f} MB{found['seconds']:>8.1f} s{found['cpu_seconds']:>8.1f} s"
                    print(f"{task:<16}{examples:>10,}  {name:<14}{shown}", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps({"tasks": figures}, indent=1))
    peaks = [each["megabytes"] for sizes in figures.values() for found in sizes.values() for each in found.values()]
    if asked.most is not None and max(peaks) > asked.most:
        raise SystemExit(f"a command took {max(peaks):,.0f} MB, expected {asked.most:,.0f} at most")


if __name__ == "__main__":
    main()
