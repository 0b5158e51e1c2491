"""What exactness costs: saving and loading against plain files, and what stands around the steps of a run.

    python scripts/bench_costs.py [--megabytes 150] [--rounds 5] [--folder DIR] [-- options of a run]

First a state of so many megabytes is saved and loaded, in turn with a plain write or read of as many bytes with fsync
and SHA-256; what is printed are medians and the median of the ratios within a round. Then a run is trained (by default
the default command with a budget of 50,000 tokens) with clocks around checkpoints, ledger, monitors and observers,
and around batches and evaluations, which every trainer has; what is printed is how much of the time of the steps.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import attrs
import torch

from mtlfn.core import keys, state
from mtlfn.run.commands.command import main as train
from mtlfn.run.disk import write_file
from mtlfn.run.one import start
from mtlfn.run.one.surroundings import Surroundings
from mtlfn.run.storage import checkpoint

LEAST = 3  # megabytes of a state of 300 tensors


def timed(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def save_and_load(folder: Path, megabytes: int, rounds: int) -> None:
    """Prints what a save and a load take, in seconds and as ratios to plain files."""
    numbers = megabytes * 2**20 // 4 // 3  # parameters and two moments of each
    shape = (numbers // 300 // 768, 768)
    params = {"shared": {f"layer{i}": keys.normal(keys.fold("00", i), shape, 1.0) for i in range(300)}}
    made = state.init(keys.root(0), params, ("a", "b"))
    data = os.urandom(sum(len(part) for part in state.encode(made).values()))
    ratios: dict[str, list[float]] = {"save": [], "load": []}
    seconds: dict[str, list[float]] = {"save": [], "plain write": [], "load": [], "plain read": []}
    for i in range(rounds):
        now = attrs.evolve(made, step=i + 1)
        plain = folder / "plain"

        def read(path: Path = plain) -> None:
            hashlib.sha256(path.read_bytes()).hexdigest()

        def write(path: Path = plain) -> None:
            hashlib.sha256(data).hexdigest()
            write_file(path, data)

        taken = {
            "save": timed(lambda now=now: checkpoint.save(folder / "checkpoints", now, "an identity")),
            "plain write": timed(write),
            "load": timed(lambda: checkpoint.load_newest(folder / "checkpoints", made, "an identity", print)),
            "plain read": timed(read),
        }
        for name, value in taken.items():
            seconds[name].append(value)
        ratios["save"].append(taken["save"] / taken["plain write"])
        ratios["load"].append(taken["load"] / taken["plain read"])
    print(f"a state of {len(data) / 2**20:.0f} MB, medians of {rounds} rounds")
    for name, values in seconds.items():
        print(f"  {name:<12} {statistics.median(values):.3f} s")
    for name, values in ratios.items():
        print(f"  {name} / plain  {statistics.median(values):.2f}")


def around_a_run(folder: Path, options: Sequence[str]) -> None:
    """Prints how long what stands around the steps takes, beside the steps."""
    around_them = ("observers and monitors", "checks", "checkpoints and ledger")
    spent = dict.fromkeys((*around_them, "batches", "evaluations", "steps"), 0.0)
    surround = start.surround

    def clocked(name: str, function: Callable) -> Callable:
        def wrapped(*args: object) -> object:
            began = time.perf_counter()
            try:
                return function(*args)
            finally:
                spent[name] += time.perf_counter() - began

        return wrapped

    def instrumented(*args: object) -> Surroundings:
        around = surround(*args)
        hooks = around.hooks
        hooks = attrs.evolve(
            hooks,
            observe=clocked("observers and monitors", hooks.observe),
            check=clocked("checks", hooks.check),
            stop=clocked("checks", hooks.stop),
            due=clocked("checks", hooks.due),
            save=clocked("checkpoints and ledger", hooks.save),
            evaluated=clocked("observers and monitors", hooks.evaluated),
            look=clocked("evaluations", hooks.look),
        )
        walk = attrs.evolve(
            around.walk,
            step=clocked("steps", around.walk.step),
            stream=clocked("batches", around.walk.stream),
            evaluate=clocked("evaluations", around.walk.evaluate),
        )
        return attrs.evolve(around, walk=walk, hooks=hooks)

    start.surround = instrumented
    try:
        code = train("s3b", "A run with clocks.", [*options, "--output-dir", str(folder / "run")])
    finally:
        start.surround = surround
    if code != 0:
        raise SystemExit(code)
    total = spent.pop("steps")
    print(f"steps: {total:.1f} s")
    for name, value in spent.items():
        print(f"  {name:<24} {value:7.3f} s  {value / total:.2%}")
    together = sum(spent[name] for name in around_them)
    print(f"  {'the first three':<24} {together:7.3f} s  {together / total:.2%} of the steps")


def main(argv: Sequence[str]) -> None:
    own, options = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to write; default: a temporary folder")
    asked = parser.parse_args(own)
    if asked.megabytes < LEAST:
        parser.error(f"--megabytes {asked.megabytes}: expected {LEAST} or more, for 300 tensors")
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory(prefix="mtlfn-costs-", dir=asked.folder) as scratch:
        save_and_load(Path(scratch), asked.megabytes, asked.rounds)
        around_a_run(Path(scratch), options or ["--budget-tokens", "50000"])


if __name__ == "__main__":
    main(sys.argv[1:])
