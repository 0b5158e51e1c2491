"""A disk that is full, or fails: every command says so in a line, leaves nothing half made, and may be given again."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import attrs
import pytest

from mtlfn.data.example import CacheError
from mtlfn.run.commands import push
from mtlfn.run.commands.command import data as command
from mtlfn.run.commands.guard import guarded
from mtlfn.run.config import Config
from mtlfn.run.disk import PASSING, Disk, write_file
from mtlfn.run.errors import RESUMABLE, USAGE, UsageError, unusable_cache
from mtlfn.run.many import execute, plan, together
from mtlfn.run.one import directory, loop
from mtlfn.run.track import follow


def no_room(*_, **__):
    """As ``os.write`` says it: without a name."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def full(monkeypatch):
    monkeypatch.setattr(Disk, "write", no_room)


def nodes(count: int) -> tuple[plan.Node, ...]:
    first = plan.multi("s2", Config(budget_tokens=100), "run-0")
    return tuple(attrs.evolve(first, name=f"run-{i}") for i in range(count))


@pytest.mark.parametrize("number", PASSING, ids=errno.errorcode.get)
@pytest.mark.parametrize("named", [True, False])
def test_what_the_disk_refuses_for_now_is_one_line_and_the_same_command_goes_on(number, named, tmp_path, capsys):
    def work() -> int:
        raise OSError(number, os.strerror(number), *([str(tmp_path)] if named else []))

    assert guarded(work) == RESUMABLE
    told = capsys.readouterr().err
    assert told.startswith(
        f"mtlfn: {tmp_path}: {os.strerror(number)}; " if named else f"mtlfn: {os.strerror(number)}; "
    )
    assert told.endswith("free some space or mend the disk, and give the same command again\n")
    assert isinstance(directory.stopped(tmp_path, OSError(number, "")), directory.Stopped)


@pytest.mark.usefixtures("full")
def test_a_write_names_the_file_that_was_to_be_written(tmp_path):
    with pytest.raises(OSError, match="No space") as told:
        write_file(tmp_path / "mine", b"text")
    assert told.value.filename == str(tmp_path / "mine")
    with pytest.raises(OSError, match="No space") as told:
        follow.write_cursor(tmp_path / "track/cursor.json", follow.Cursor())
    assert told.value.filename == str(tmp_path / "track/cursor.json")


@pytest.mark.usefixtures("full")
def test_a_draft_that_finds_no_room(tmp_path, capsys):
    (tmp_path / "pairs.csv").write_text("text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(40)))
    assert command(["init", str(tmp_path / "pairs.csv"), "--output", str(tmp_path / "my.toml")]) == RESUMABLE
    assert f"mtlfn: {tmp_path / 'my.toml'}: No space left on device; free some space" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.csv"]


@pytest.mark.usefixtures("full")
def test_a_start_of_many_runs_that_finds_no_room(tmp_path, capsys):
    program = tmp_path / "snakemake"
    program.write_text("#!/bin/sh\necho 9.9.9\n")
    program.chmod(0o755)
    machines = together.Machines(jobs=2, snakemake=program)
    words = [sys.executable, "-c", ""]
    assert guarded(lambda: together.execute(tmp_path / "out", nodes(2), ["again"], words, machines)) == RESUMABLE
    assert "launch.json: No space left on device; free some space" in capsys.readouterr().err
    assert not [path for path in (tmp_path / "out/.jobs").iterdir() if path.is_dir()]


def test_a_dry_run_that_finds_no_room_names_its_folder_and_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "export").mkdir()
    for name in ("a", "b"):
        (tmp_path / "export" / name).write_text(name)
    write = Disk.write
    for target in (tmp_path / "dry", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with monkeypatch.context() as patch:
            patch.setattr(
                Disk, "write", lambda self, handle, data: write(self, handle, data) if data == b"a" else no_room()
            )
            with pytest.raises(OSError, match="No space") as told:
                push._copied(tmp_path / "export", ["a", "b"], target)
        assert told.value.filename == str(target / "b")
        assert target.exists() == (target.name == "empty")
        push._copied(tmp_path / "export", ["a", "b"], target)
        assert sorted(path.name for path in target.iterdir()) == ["a", "b"]


def test_a_run_that_finds_no_room_to_begin_in_is_stopped_and_no_other_is_tried(tmp_path, monkeypatch, capsys):
    began = []

    def run(strategy, config, command, beside):
        began.append(config.output_dir.name)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "touch", no_room)
            directory.make(config.output_dir)

    monkeypatch.setattr(loop, "run", run)
    assert guarded(lambda: execute.execute(tmp_path, nodes(3), ["again"])) == RESUMABLE
    told = capsys.readouterr().err
    assert (
        f"--output-dir {tmp_path / 'run-0'}: No space left on device. The run stopped; nothing was saved yet." in told
    )
    assert "Free some space or mend the disk, and give the same command again" in told
    monkeypatch.setattr(loop, "run", lambda _, config, *__: (began.append(config.output_dir.name), no_room()))
    assert guarded(lambda: execute.execute(tmp_path, nodes(3), ["again"])) == RESUMABLE
    assert began == ["run-0", "run-0"]


def test_a_cache_without_room_is_no_cache_that_cannot_be_used(tmp_path, capsys):
    def work(number: int) -> int:
        raise unusable_cache(tmp_path, OSError(number, os.strerror(number)))

    assert isinstance(unusable_cache(tmp_path, OSError(errno.ENOSPC, "")), CacheError)
    assert isinstance(unusable_cache(tmp_path, OSError(errno.EROFS, "")), UsageError)
    assert guarded(lambda: work(errno.ENOSPC)) == RESUMABLE
    assert capsys.readouterr().err.startswith(f"mtlfn: {tmp_path}: No space left on device; free some space")
    assert guarded(lambda: work(errno.EROFS)) == USAGE
    told = capsys.readouterr().err
    assert told.startswith(f"mtlfn: the cache {tmp_path}: cannot be used (Read-only file system); name another folder")
    assert "cache_dir in its [run]" in told
    assert "MTLFN_CACHE" in told
