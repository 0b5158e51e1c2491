"""A folder of the cache is used only as it was made: whole, unaltered, by however many processes at once."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mtlfn.data.cache import MANIFEST, kept
from mtlfn.data.example import CacheError

FILES = {"a.txt": b"first", "deep/b.txt": b"second"}

# Writes slowly; says when it has begun and how often it was asked to write.
SLOW = """
import sys, time
from pathlib import Path
from mtlfn.data.cache import kept

def write(folder):
    (folder / "a.txt").write_bytes(b"first")
    print("writing", flush=True)
    time.sleep(float(sys.argv[2]))
    (folder / "deep").mkdir()
    (folder / "deep/b.txt").write_bytes(b"second")

kept(Path(sys.argv[1]), write)
print("done", flush=True)
"""


def write(folder: Path) -> None:
    (folder / "deep").mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)


def refuse(folder: Path) -> None:
    raise AssertionError("an intact folder was written again")


def start(folder: Path, seconds: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SLOW, str(folder), str(seconds)], stdout=subprocess.PIPE)


def content(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return kept(tmp_path / "cache" / "task", write)


def test_written_once(folder: Path) -> None:
    assert content(folder) == FILES
    assert kept(folder, refuse) == folder
    assert {path.name for path in folder.parent.iterdir()} == {"task", "task.lock"}


DAMAGE: dict[str, Callable[[Path], object]] = {
    "altered": lambda folder: (folder / "a.txt").write_bytes(b"fIrst"),
    "cut": lambda folder: os.truncate(folder / "deep/b.txt", 3),
    "missing": lambda folder: (folder / "a.txt").unlink(),
    "added": lambda folder: (folder / "deep/c.txt").write_bytes(b""),
    "no manifest": lambda folder: (folder / MANIFEST).unlink(),
    "half a manifest": lambda folder: os.truncate(folder / MANIFEST, 20),
    "another manifest": lambda folder: (folder / MANIFEST).write_text("[]"),
    "empty": lambda folder: [path.unlink() for path in folder.rglob("*") if path.is_file()],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_is_not_as_it_was_made_is_made_again(folder: Path, damage: Callable[[Path], object]) -> None:
    damage(folder)
    kept(folder, write)
    assert content(folder) == FILES
    kept(folder, refuse)


def test_a_writer_that_fails_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    def half(folder: Path) -> None:
        (folder / "a.txt").write_bytes(b"first")
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        kept(tmp_path / "other" / "task", half)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["task.lock"]


def test_what_a_killed_writer_leaves_is_never_used(tmp_path: Path) -> None:
    folder = tmp_path / "task"
    with start(folder, 60) as process:
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    assert not folder.exists()
    assert any(".tmp-" in path.name for path in tmp_path.iterdir())  # it had begun
    kept(folder, write)
    assert content(folder) == FILES


@pytest.mark.parametrize("damaged", [False, True])
def test_two_processes_at_once_write_once_and_both_end_well(tmp_path: Path, damaged: bool) -> None:
    folder = tmp_path / "task"
    if damaged:
        kept(folder, write)
        DAMAGE["altered"](folder)
    processes = [start(folder, 0.5) for _ in range(2)]
    out = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(out) == [b"done\n", b"writing\ndone\n"]
    assert content(folder) == FILES


def test_where_no_lock_keeps_them_out_the_first_one_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    folder = tmp_path / "task"

    def overtaken(scratch: Path) -> None:
        write(scratch)
        kept(folder, write)  # another process, meanwhile
        first.append((folder / MANIFEST).stat().st_ino)

    first: list[int] = []
    assert kept(folder, overtaken) == folder
    assert (folder / MANIFEST).stat().st_ino == first[0]
    assert content(folder) == FILES
    assert not [path for path in tmp_path.iterdir() if ".tmp-" in path.name]


def test_one_that_waits_goes_on_when_the_writer_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "task"
    with start(folder, 60) as first:
        assert first.stdout.readline() == b"writing\n"
        with start(folder, 0) as second:
            time.sleep(0.2)
            first.send_signal(signal.SIGKILL)
            assert second.communicate()[0] == b"writing\ndone\n"
    assert content(folder) == FILES


def test_a_place_that_cannot_be_written_is_an_error_of_the_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CacheError) as caught:
        kept(tmp_path / "file" / "task", write)
    assert caught.value.strerror
    assert (tmp_path / "file").read_text() == "mine"
