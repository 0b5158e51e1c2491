"""A save that is stopped at any system call, or whose unsynced bytes are lost, leaves the old or the new state."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mtlfn.core.state import digest
from mtlfn.run.storage import ledger
from mtlfn.run.storage.archive import Place, restore
from tests.run.disks import Cut, PowerCut
from tests.run.test_checkpoint import IDENTITY, at

ROOT = Path(__file__).parent.parent.parent


def begin(folder: Path) -> Path:
    """An archive with two steps in it, so that the third prunes."""
    folder.mkdir(parents=True)
    archive, _ = restore(Place(folder, IDENTITY), at(0), print)
    for step in (1, 2):
        archive.save(at(step))
    return folder


def holds(folder: Path, *wanted: int) -> int:
    """The step of the newest state, which is one of those wanted and whole; goes on from it, as a run would."""
    said: list[str] = []
    archive, found = restore(Place(folder, IDENTITY), at(0), said.append)
    assert found.step in wanted
    assert digest(found) == digest(at(found.step))
    assert digest(found) in ledger.digests(archive.entries)[found.step]
    assert all("ledger.jsonl has no line for step-0000000" in text for text in said)
    reached = found.step
    for step in range(reached + 1, 5):
        archive.save(at(step))
    assert list(ledger.current(ledger.read(folder / "ledger.jsonl", IDENTITY))) == [1, 2, 3, 4]
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == ["step-00000003", "step-00000004"]
    assert not list(folder.rglob("*.tmp-*"))
    return reached


def test_killed_at_every_system_call_of_a_save(tmp_path):
    begin(tmp_path / "begin")
    ended = subprocess.run(
        [sys.executable, "-m", "tests.run.save_and_die", tmp_path],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
    )
    tries = [tuple(map(int, line.split())) for line in ended.stdout.splitlines()]
    *killed, (last, code) = tries
    assert code == 0
    assert len(killed) > 40
    assert {how for _, how in killed} == {signal.SIGKILL}
    reached = [holds(tmp_path / str(n), 2, 3) for n, _ in killed]
    assert reached == sorted(reached)
    assert set(reached) == {2, 3}
    assert holds(tmp_path / str(last), 3) == 3


def test_what_was_not_fsynced_may_be_lost(tmp_path):
    """The power goes at every call of a save; of many possible disks after it, each holds the old or the new state."""
    base, draw, reached = begin(tmp_path / "begin"), random.Random(0), set()
    for n in range(1, 200):
        folder = Path(shutil.copytree(base, tmp_path / str(n)))
        cut = Cut(folder, n)
        archive, _ = restore(Place(folder, IDENTITY, cut), at(0), print)
        try:
            archive.save(at(3))
            finished = True
        except PowerCut:
            finished = False
        for i in range(6):
            left = tmp_path / f"{n}-{i}"
            cut.lose(left, draw)
            reached.add(survives(left, (3,) if finished else (2, 3)))
        if finished:
            break
    assert finished
    assert n > 20
    assert reached == {2, 3}


def survives(folder: Path, wanted: tuple[int, ...]) -> int:
    archive, found = restore(Place(folder, IDENTITY), at(0), lambda _: None)
    assert found is not None
    assert found.step in wanted
    assert digest(found) == digest(at(found.step))
    archive.save(at(4))
    assert restore(Place(folder, IDENTITY), at(0), lambda _: None)[1].step == 4
    return found.step


def test_without_fsync_the_model_loses_states(tmp_path, monkeypatch):
    """The model can see what it is there to see: a writer that never syncs fails it."""
    base, draw = begin(tmp_path / "begin"), random.Random(0)
    monkeypatch.setattr(Cut, "fsync", lambda self, handle: None)
    cut = Cut(base, 10_000)
    archive, _ = restore(Place(base, IDENTITY, cut), at(0), print)
    archive.save(at(3))
    for i in range(20):
        cut.lose(tmp_path / str(i), draw)

    def all_survive() -> None:
        for i in range(20):
            survives(tmp_path / str(i), (3,))

    with pytest.raises((AssertionError, ledger.Broken)):
        all_survive()
