"""A study side by side against one run after the other, and what a node costs beside its training.

    python scripts/bench_jobs.py [study|nodes|plan] [--rounds 1] [--study FILE] [--nodes 100] [--json FILE]

study   wall clock of a study with two threads, one run after the other, against --jobs 2 --threads 1, in turn; and
        whether both ended in runs of the digests that their threads give, each time the same
nodes   many runs of a tiny model: seconds a node in one process, in the processes that they share side by side, and of
        the scheduler alone (the same graph, its runs replaced by a program that ends at once)
plan    a plan of 2,000 nodes: seconds and memory of the graph, of its start, and of a lease taken and given back

The cache is warm: what is tokenised once is no part of what is compared.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def command(study: Path, out: Path, *flags: object) -> list[str]:
    words = [study, "--output-dir", out, "--skip-smoke-test", *flags]
    return [sys.executable, "-m", "mtlfn.experiments.study", *map(str, words)]


def seconds(words: Sequence[str]) -> float:
    """Wall clock of a command; what it said where it fails."""
    began = time.monotonic()
    own = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    ended = subprocess.run(words, env=own, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(
            f"{' '.join(words)} ended with {ended.returncode}:\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}"
        )
    return time.monotonic() - began


def digests(out: Path) -> dict[str, str]:
    return {
        path.parent.relative_to(out).as_posix(): json.loads(path.read_text())["digest"]
        for path in sorted(out.rglob("result.json"))
    }


def whole_study(study: Path, rounds: int, work: Path) -> dict[str, Any]:
    """Serial with two threads, and two runs of one thread at a time."""
    seconds(command(study, work / "warm", "--threads", 1, "--only", _first(study)))
    ways = {"serial, 2 threads": ("--threads", 2), "2 jobs of 1 thread": ("--jobs", 2, "--threads", 1)}
    took: dict[str, list[float]] = {name: [] for name in ways}
    seen: dict[str, dict[str, str]] = {}
    for number in range(rounds):
        for name, flags in ways.items():
            out = work / f"{number}-{name.split()[0]}"
            took[name].append(seconds(command(study, out, *flags)))
            print(f"round {number + 1}: {name}: {took[name][-1]:.0f} s", flush=True)
            if seen.setdefault(name, digests(out)) != digests(out):
                raise SystemExit(f"{out}: other digests than in the first round")
    serial, jobs = took.values()
    ratios = [b / a for a, b in zip(serial, jobs, strict=True)]
    print(f"runs: {len(seen['serial, 2 threads'])}; side by side ÷ serial: {sorted(ratios)[len(ratios) // 2]:.2f}")
    return {"seconds": took, "ratio": sorted(ratios)[len(ratios) // 2]}


def _first(study: Path) -> str:
    from mtlfn.analysis import study as studies

    return studies.nodes(studies.read(study))[0].name


def tiny_study(work: Path, nodes: int) -> Path:
    """A study of so many runs of a tiny random model: five a seed."""
    from tests import tiny
    from tests.run import studies

    places = {"backbone": str(tiny.make_bert(work / "bert")), "data_dir": str(tiny.make_data(work / "data", test=12))}
    return studies.write(work, {**places, "cache_dir": str(work / "cache")}, seeds=max(1, nodes // 5), draws=4000)


def many_nodes(nodes: int, work: Path) -> dict[str, float]:
    """Seconds a node, each way."""
    study = tiny_study(work, nodes)
    nodes = 5 * max(1, nodes // 5)
    seconds(command(study, work / "warm", "--only", "seed-0/multi"))
    start = seconds(command(study, work / "warm", "--only", "seed-0/multi"))
    serial = seconds(command(study, work / "serial"))
    jobs = seconds(command(study, work / "jobs", "--jobs", 2))
    if digests(work / "serial") != digests(work / "jobs"):
        raise SystemExit("side by side and one after the other ended in other digests")
    scheduler = timed(lambda: schedule(nodes, work / "straw", [sys.executable, "-c", ""]))
    figures = {
        "a run in one process": serial / nodes,
        "a run side by side, two at a time": 2 * jobs / nodes,
        "a process that finds its run finished": start,
        "the scheduler and its job alone": 2 * scheduler / nodes,
    }
    for name, value in figures.items():
        print(f"{name}: {value:.2f} s")
    return figures


def schedule(nodes: int, out: Path, program: Sequence[str]) -> None:
    """A graph of so many nodes, a fifth of which the others need, whose runs are a program."""
    from mtlfn.run.many import together

    machines = together.Machines(jobs=2)
    code = together.execute(out, graph(nodes), ["bench"], program, machines, lambda _: None)
    if code:
        raise SystemExit(f"the scheduler ended with {code}; see {out / 'logs'}")


def graph(nodes: int) -> tuple[Any, ...]:
    """So many nodes in groups of five, as a study has them."""
    from mtlfn.run.config import Config
    from mtlfn.run.many import plan

    out, config = [], Config()
    for seed in range(max(1, nodes // 5)):
        full = plan.multi("s3b", config, f"seed-{seed}/multi")
        out += [full]
        for kind in ("per-task", "total"):
            out += plan.controls(lambda root: root, 150_000, ("a", "b"), kind, f"seed-{seed}/{kind}", (full.name,))
    return tuple(out)


def timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def big_plan(nodes: int, work: Path) -> dict[str, float]:
    """A plan in time and memory: nothing runs."""
    from mtlfn.run.documents import typed
    from mtlfn.run.many import estimate, lease, plan, together

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    all_ = graph(nodes)
    machines = together.Machines(jobs=2)
    figures = {
        "progress": timed(lambda: plan.progress(work, all_)),
        "graph as JSON": timed(lambda: json.dumps(estimate.graph(work, all_, ["command"]))),
        "what a start writes": timed(
            lambda: typed.write(work, together.launched(work, all_, all_, ["command"], machines))
        ),
        "lease and back": timed(lambda: [lease.take(work, ("0", "1"), lambda: False).end() for _ in range(nodes)]),
    }
    figures["memory, MB"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    for name, value in figures.items():
        print(f"{nodes:,} nodes: {name}: {value:.2f}{'' if 'MB' in name else ' s'}")
    return figures


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("study", "nodes", "plan"), nargs="?", default="study")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--study", type=Path, default=ROOT / "experiments/study-cpu.toml")
    parser.add_argument("--nodes", type=int, default=None)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="mtlfn-jobs-") as scratch:
        work = Path(scratch)
        if asked.what == "study":
            figures: dict[str, Any] = whole_study(asked.study, asked.rounds, work)
        elif asked.what == "nodes":
            figures = many_nodes(asked.nodes or 100, work)
        else:
            figures = big_plan(asked.nodes or 2000, work)
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
