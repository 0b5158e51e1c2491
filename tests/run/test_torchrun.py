"""One run on one, two and four processes, and under torchrun itself: one digest, however often it is stopped."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from mtlfn.run import documents
from mtlfn.run.storage import checkpoint
from tests import tiny
from tests.run import ranks
from tests.run.conftest import words
from tests.run.test_resume import untimed
from tests.run.test_run import result

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture
def flags(usual):
    def of(folder: Path, **named: object) -> list[str]:
        settings = {
            **usual,
            "tasks": ",".join(tiny.JSONL_TASKS),
            "budget_tokens": 20_000,
            "micro_batch_tokens": 32,
            "quick_eval_examples": 8,
            "engine": "loop",
            "weighting": "uncertainty",
            "gradients": "pcgrad",
            "lora_dropout": 0.2,
            "learning_rate": 0.01,
            "output_dir": folder,
            **named,
        }
        return ["--skip-smoke-test", *words(settings)]

    return of


def last_digest(folder: Path) -> tuple[int, str]:
    """Step and digest of the ledger's last line."""
    line = json.loads((folder / documents.LEDGER).read_text().splitlines()[-1])
    return line["step"], line["digest"]


@pytest.mark.parametrize("strategy", ["s2", "s3a", "s3b"])
def test_fifty_steps_have_one_digest_on_one_two_and_four_processes(flags, tmp_path, strategy):
    digests = {}
    for size in (1, 2, 4):
        folder = tmp_path / str(size)
        run = ranks.start(tmp_path / "said", size, flags(folder, max_steps=50, threads=1), strategy)
        assert run.codes(600) == [75] * size, run.said()
        digests[size] = last_digest(folder)
        assert digests[size][0] == 50
    assert digests[1] == digests[2] == digests[4]


def test_stopped_on_two_it_goes_on_on_one_and_on_four(flags, tmp_path):
    folder, whole = tmp_path / "run", tmp_path / "whole"
    few = {"budget_tokens": 2500, "threads": 1, "save_every_steps": 4}
    assert ranks.start(tmp_path / "said", 1, flags(whole, **few)).codes(600) == [0]
    for size, steps in ((2, 5), (1, 9), (4, 13), (2, None)):
        more = {} if steps is None else {"max_steps": steps}
        run = ranks.start(tmp_path / "said", size, flags(folder, **few, **more))
        assert run.codes(600) == [75 if more else 0] * size, run.said()
    assert result(folder)["digest"] == result(whole)["digest"]
    assert untimed(folder) == untimed(whole)
    python("-m", "mtlfn.replay", folder, "--all")


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_moments_it_ends_in_the_same_digest(flags, tmp_path, seed):
    """Any process, in the start, in a step, in a save or in an evaluation; the others are gone within the minute."""
    folder, whole = tmp_path / "run", tmp_path / "whole"
    few = {"budget_tokens": 2500, "threads": 1, "save_every_steps": 2}
    began = time.monotonic()
    assert ranks.start(tmp_path / "said", 2, flags(whole, **few)).codes(600) == [0, 0]
    seconds, moments, kills = time.monotonic() - began, random.Random(seed), 0
    for attempt in range(40):
        size, run_in = moments.choice((2, 3)), moments.uniform(0.3, 1.0) * seconds
        run = ranks.start(tmp_path / "said", size, flags(folder, **few))
        ends = time.monotonic() + run_in * (1 if attempt < 6 else 10)
        while time.monotonic() < ends and all(process.is_alive() for process in run.processes):
            time.sleep(0.01)
        victim = moments.randrange(size)
        if run.processes[victim].is_alive():
            run.send(signal.SIGKILL, victim)
            kills += 1
        codes = run.codes(60)
        assert all(code in (0, 75, -9) for code in codes), [run.said(rank) for rank in range(size)]
        assert codes.count(-9) <= 1, "a process did not end within the minute"
        if (folder / "result.json").exists():
            break
    assert kills
    assert result(folder)["digest"] == result(whole)["digest"]
    assert untimed(folder) == untimed(whole)


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **changes}


def python(*words: object) -> str:
    ended = subprocess.run(
        [sys.executable, *map(str, words)], env=environment(OMP_NUM_THREADS="1"), capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def torchrun(size: int, argv: list[str]) -> subprocess.Popen[str]:
    """torchrun as a user starts it: OMP_NUM_THREADS is unset, and torchrun sets it to 1."""
    surroundings = environment()
    surroundings.pop("OMP_NUM_THREADS", None)
    words = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={size}", "-m", "mtlfn.experiments.s3b"]
    return subprocess.Popen(
        [sys.executable, *words, *argv], env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_torchrun_stopped_by_a_signal_goes_on_on_another_number(flags, tmp_path, number):
    folder, whole = tmp_path / "run", tmp_path / "whole"
    few = {"budget_tokens": 4000, "save_every_steps": 2}
    assert ranks.start(tmp_path / "said", 1, flags(whole, **few, threads=1)).codes(600) == [0]
    begun = torchrun(2, flags(folder, **few))
    while begun.poll() is None and len(checkpoint.steps(folder / "checkpoints")) < 2:
        time.sleep(0.05)
    begun.send_signal(number)
    said = begun.communicate(timeout=60)[0]
    assert begun.returncode != 0, said
    assert "stopped: asked to stop" in said, said
    assert "OMP_NUM_THREADS, which torchrun sets to 1" in said
    assert not (folder / "result.json").exists()
    again = torchrun(4, flags(folder, **few))
    said = again.communicate(timeout=600)[0]
    assert again.returncode == 0, said
    assert result(folder)["digest"] == result(whole)["digest"]
    assert untimed(folder) == untimed(whole)


def recorded(path: Path, rank: int) -> None:
    """Puts on record which process tokenises, proves the backbone and takes the smoke test."""
    from mtlfn.data.tokens import store
    from mtlfn.run.machine import proven
    from mtlfn.run.one import smoke

    for module, name in ((store, "tokenise"), (proven, "prove"), (smoke, "smoke")):
        work = getattr(module, name)

        def told(*given: object, _work=work, _name=name, **named: object) -> object:
            with path.open("a") as file:
                file.write(f"{_name} {rank}\n")
            return _work(*given, **named)

        setattr(module, name, told)


def test_what_begins_a_run_is_done_once(flags, tmp_path):
    path = tmp_path / "record"
    words = [w for w in flags(tmp_path / "run", cache_dir=tmp_path / "cache", max_steps=1) if w != "--skip-smoke-test"]
    run = ranks.start(tmp_path / "said", 3, words, patch=partial(recorded, path))
    assert run.codes(600) == [75] * 3, run.said()
    work = path.read_text().split("\n")
    assert {"prove 0", "smoke 0"} < {*work}
    assert work.count("prove 0") == work.count("smoke 0") == 1
    assert not [line for line in work if line and not line.endswith(" 0")]
    assert [line for line in work if line.startswith("tokenise ")]


def sleeping(path: Path, rank: int) -> None:
    """The proof of the backbone takes a minute."""
    from mtlfn.run.machine import proven

    def slow(*_: object) -> None:
        path.touch()
        time.sleep(60)

    proven.prove = slow


def test_ctrl_c_while_the_others_wait_for_the_first_ends_all(flags, tmp_path):
    begun = ranks.start(
        tmp_path / "said",
        2,
        flags(tmp_path / "run", cache_dir=tmp_path / "cache"),
        patch=partial(sleeping, tmp_path / "in"),
    )
    while not (tmp_path / "in").exists():
        time.sleep(0.05)
    begun.send(signal.SIGINT)
    assert begun.codes(30) == [75, 75], begun.said()
    assert "mtlfn: stopped; what was saved stands" in begun.said()
    assert "Traceback" not in begun.said() + begun.said(1)
