"""Kill it anywhere: a real training, killed with SIGKILL again and again, must end in the digest of one never killed.

A victim is the real command in a process of its own. It says which phase it is in (start-up, step, save, evaluation,
export); this script waits for a phase drawn at random, then a random moment, and kills. The same command is given
again until it finishes. Asserted: every kill ended the process by signal 9, the digest and the ledger's digests are
those of the undisturbed run, and together the kills landed in every phase.

    python scripts/kill_matrix.py [--kills 100] [--engines merged,loop] [--seed 0] [-- options of the run]

Without options of the run: a tiny random model that saves at every step. `-- --budget-tokens 20000` and the like run
the default command instead (MiniLM, the embedded tasks, the default cadence).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PHASES = ("start-up", "step", "save", "evaluation", "export")
HARD = ("--weighting", "uncertainty", "--gradients", "pcgrad", "--lora-dropout", "0.2")
SIGN = "PHASE "


def victim(argv: Sequence[str]) -> int:
    """The real command in this process; says on stderr where it is. Steps and saves are slow: kills land in them."""
    sys.path.insert(0, str(ROOT))
    from mtlfn.run import disk
    from mtlfn.run.commands.command import main
    from mtlfn.run.one import conclude, training
    from mtlfn.run.one.prepare import Prepared
    from mtlfn.run.storage.archive import Archive

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        print(SIGN + name, file=sys.stderr, flush=True)
        try:
            yield
        finally:
            print(SIGN + "between", file=sys.stderr, flush=True)

    def within(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **named: Any) -> Any:
            with phase(name):
                return function(*args, **named)

        return wrapped

    def slow(function: Callable[..., Any], seconds: float) -> Callable[..., Any]:
        def wrapped(*args: Any) -> Any:
            time.sleep(seconds)
            return function(*args)

        return wrapped

    for name in ("create", "write", "fsync", "rename", "unlink", "rmdir"):
        setattr(disk.Disk, name, slow(getattr(disk.Disk, name), 0.001))
    training.advance = within("step", slow(training.advance, 0.02))
    Archive.save = within("save", Archive.save)
    Prepared.evaluate = within("evaluation", Prepared.evaluate)
    conclude.conclude = within("export", conclude.conclude)
    return main("s3b", "A victim.", argv)


class Victim:
    """A running victim: where it is, and what it printed."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.phases: list[str] = ["start-up"]
        self.said: list[str] = []
        self.began, self.startup = time.monotonic(), 0.0  # seconds until it left the first phase
        command = [sys.executable, __file__, "--victim", *argv]
        # Complaints and phases come through one pipe, so that what was said last is where it was killed.
        own = {**os.environ, "HF_HUB_OFFLINE": "1"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=own)
        self._threads = [threading.Thread(target=self._listen), threading.Thread(target=self._read)]
        for thread in self._threads:
            thread.start()

    def _listen(self) -> None:
        for line in self.process.stderr:
            if line.startswith(SIGN):
                self.startup = self.startup or time.monotonic() - self.began
                self.phases.append(line.removeprefix(SIGN).strip())
            else:
                self.said.append(line)

    def _read(self) -> None:
        self.said += self.process.stdout

    def kill_in(self, phase: str, after: int, delay: float) -> bool:
        """Kills in the ``after``-th visit to a phase, or some moments later; False where it ended before."""
        while self.process.poll() is None and self.phases.count(phase) < after:
            time.sleep(0.0005)
        time.sleep(delay)
        if self.process.poll() is not None:
            return False
        self.process.send_signal(signal.SIGKILL)
        return True

    def wait(self) -> int:
        code = self.process.wait()
        for thread in self._threads:
            thread.join()
        return code

    @property
    def resumed_at(self) -> int | None:
        """The step it resumed at; None where it did not come so far."""
        for line in self.said:
            if line.startswith("resume"):
                return int(line.split()[2].strip(",")) if "from a verified checkpoint" in line else 0
        return None


def run(argv: Sequence[str]) -> float:
    """A victim that nobody kills; the seconds of its start-up. Raises where it does not finish."""
    ended = Victim(argv)
    if (code := ended.wait()) != 0:
        raise SystemExit(f"the undisturbed command ended with {code}:\n{''.join(ended.said[-20:])}")
    return ended.startup


TIMES = ("seconds_per_step", "tokens_per_second", "examples_per_second", "eta_seconds", "check")


def outcome(folder: Path) -> tuple[dict[str, str], dict[int, str]]:
    """What must be equal, by name, and the ledger's digest of every step."""
    lines = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    steps = (json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines())
    record = [{k: v for k, v in line.items() if k not in TIMES} for line in steps if line.get("event") != "memory"]
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for part in ("predictions", "export")
        for path in sorted((folder / part).rglob("*"))
        if path.is_file()
    }
    result = json.loads((folder / "result.json").read_text())
    if left := [path.name for path in folder.rglob("*") if ".tmp-" in path.name or path.name == "evaluation"]:
        raise SystemExit(f"{folder}: {left[0]} is left")
    equal = {"digest": result["digest"], "scores": json.dumps(result["scores"]), "metrics.jsonl": json.dumps(record)}
    return equal | files, {e["step"]: e["digest"] for e in lines}


def matrix(argv: Sequence[str], kills: int, random_: random.Random, work: Path, visits: int) -> Counter[str]:
    """Kills victims of one command until there were enough; how many kills landed in each phase."""
    reference = work / "never-killed"
    startup = run([*argv, "--output-dir", str(reference)])
    expected, ledger = outcome(reference)
    print(f"never killed: digest {expected['digest']}, {len(ledger)} checkpoints", flush=True)
    landed: Counter[str] = Counter()
    done = rounds = 0
    while done < kills:
        folder = work / f"killed-{rounds}"
        rounds += 1
        points = []
        while not (folder / "result.json").exists():
            current = Victim([*argv, "--output-dir", str(folder)])
            hit = False
            if done < kills:
                # Each phase in turn is aimed at; moments are random.
                phase = PHASES[done % len(PHASES)]
                after = 1 if phase in ("start-up", "export") else random_.randint(1, visits)
                delay = random_.uniform(0, startup if phase == "start-up" else 0.01)
                hit = current.kill_in(phase, after, delay)
            code = current.wait()
            if hit and code == -signal.SIGKILL:
                done += 1
                landed[current.phases[-1]] += 1
                points.append((current.phases[-1], current.resumed_at))
            elif code != 0:
                raise SystemExit(f"a victim ended with {code}:\n{''.join(current.said[-20:])}")
        shown = ", ".join(f"{phase} (from {'-' if at is None else at})" for phase, at in points)
        print(f"run {rounds}: {len(points)} kills: {shown}", flush=True)
        found, theirs = outcome(folder)
        differing = [step for step in theirs if theirs[step] != ledger.get(step, theirs[step])]
        odd = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        if odd or differing:
            raise SystemExit(f"MISMATCH in {folder}: {', '.join(odd)} differ, the ledger at steps {differing}")
    return landed


def main(argv: Sequence[str]) -> int:
    if argv[:1] == ["--victim"]:
        return victim(argv[1:])
    own, _, options = (argv[: argv.index("--")], "--", argv[argv.index("--") + 1 :]) if "--" in argv else (argv, "", [])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--engines", default="merged,loop")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(own)
    engines, random_ = asked.engines.split(","), random.Random(asked.seed)
    landed: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="mtlfn-kill-") as scratch:
        for i, engine in enumerate(engines):
            work = Path(scratch) / engine
            flags = [*HARD, "--engine", engine, *(options or tiny(Path(scratch)))]
            share = asked.kills // len(engines) + (i < asked.kills % len(engines))
            print(f"engine {engine}: {share} kills", flush=True)
            landed += matrix(flags, share, random_, work, 4)
    print(f"kills by phase: {dict(landed)}")
    if missing := [phase for phase in PHASES if not landed[phase]]:
        print(f"no kill landed in {', '.join(missing)}")
        return 1
    print(f"{landed.total()} kills, every run ended in the digest, record and files of the one that was never killed")
    return 0


def tiny(folder: Path) -> list[str]:
    """Options of a quick run: a tiny random BERT, made-up data, a checkpoint at every step."""
    sys.path.insert(0, str(ROOT))
    from tests import tiny as made

    backbone, data = folder / "tiny-bert", folder / "data"
    if not data.exists():
        made.make_bert(backbone)
        made.make_data(data)
    return [
        *("--backbone", str(backbone), "--data-dir", str(data), "--cache-dir", str(folder / "cache")),
        *("--tasks", "bc5cdr_disease,ddi,hoc", "--budget-tokens", "1200", "--micro-batch-tokens", "64"),
        *("--save-every-steps", "1", "--quick-eval-examples", "6", "--threads", "1", "--skip-smoke-test"),
        *("--learning-rate", "0.01"),
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
