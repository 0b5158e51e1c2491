"""The disk as a writer sees it: one method a system call, so that a test can stop, fill or forget it at any of them.

What is built from these calls is there in full or not at all: written beside its place, fsynced, renamed, and the
folder fsynced. A name that holds ``TEMPORARY`` is never read; ``sweep`` removes what an interrupted writer left.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

TEMPORARY = ".tmp-"
# What refuses a write now, and not once there is room or the disk is mended.
PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE)
Buffer = bytes | memoryview


class Disk:
    """The real one. Every method is one call that can fail with OSError."""

    def create(self, path: Path) -> int:
        """A new, empty file, open for writing."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)

    def open_end(self, path: Path) -> int:
        """An existing file, open for writing at its end."""
        return os.open(path, os.O_WRONLY | os.O_APPEND)

    def open_folder(self, path: Path) -> int:
        """A folder, open to be fsynced."""
        return os.open(path, os.O_RDONLY)

    def write(self, handle: int, data: memoryview) -> int:
        """The number of bytes written, perhaps fewer than given."""
        return os.write(handle, data)

    def fsync(self, handle: int) -> None:
        os.fsync(handle)

    def close(self, handle: int) -> None:
        os.close(handle)

    def mkdir(self, path: Path) -> None:
        os.mkdir(path)

    def rename(self, source: Path, target: Path) -> None:
        os.rename(source, target)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def rmdir(self, path: Path) -> None:
        os.rmdir(path)


REAL = Disk()


def write_file(path: Path, data: bytes, disk: Disk = REAL) -> None:
    """Puts a file in its place, over an older one if there is one."""
    scratch = path.with_name(f"{path.name}{TEMPORARY}{os.getpid()}")
    try:
        _write(scratch, [data], disk)
        disk.rename(scratch, path)
    except OSError as error:
        _forget(scratch)
        error.filename, error.filename2 = os.fspath(path), None  # a write names none, and the others one that is gone
        raise
    sync(path.parent, disk)


def make_folder(path: Path, disk: Disk = REAL) -> None:
    """Makes a folder and those above it that are missing; their names are on the disk."""
    if path.is_dir():
        return
    make_folder(path.parent, disk)
    try:
        disk.mkdir(path)
    except FileExistsError:  # made by another process just now, or a file, which the next call says
        return
    sync(path.parent, disk)


def write_folder(target: Path, files: Iterable[tuple[str, Iterable[Buffer]]], disk: Disk = REAL) -> None:
    """Puts a folder with these files in its place; an older one of the same name is taken away just before.

    ``files``: names, each with the parts of its content; asked for one after the other, while they are written.
    """
    scratch = target.with_name(f"{target.name}{TEMPORARY}{os.getpid()}")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        disk.mkdir(scratch)
        for name, parts in files:
            _write(scratch / name, parts, disk)
        sync(scratch, disk)
        if target.exists():
            remove_folder(target, disk)
        disk.rename(scratch, target)
    except OSError:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    sync(target.parent, disk)


def append(path: Path, data: bytes, disk: Disk = REAL) -> None:
    """Adds to the end of a file that exists; returns once it is on the disk."""
    handle = disk.open_end(path)
    try:
        _write_all(handle, [data], disk)
    finally:
        disk.close(handle)


def remove_folder(target: Path, disk: Disk = REAL) -> None:
    """Takes a folder of files out of sight in one call, then deletes it."""
    scratch = target.with_name(f"{target.name}{TEMPORARY}{os.getpid()}-old")
    shutil.rmtree(scratch, ignore_errors=True)
    disk.rename(target, scratch)
    for path in sorted(scratch.iterdir()):
        disk.unlink(path)
    disk.rmdir(scratch)


def sync(folder: Path, disk: Disk = REAL) -> None:
    """Fsyncs the names in a folder."""
    handle = disk.open_folder(folder)
    try:
        disk.fsync(handle)
    finally:
        disk.close(handle)


def sweep(folder: Path) -> None:
    """Removes what interrupted writers left in a folder."""
    for orphan in folder.glob(f"*{TEMPORARY}*"):
        _forget(orphan)


def _write(path: Path, parts: Iterable[Buffer], disk: Disk) -> None:
    handle = disk.create(path)
    try:
        _write_all(handle, parts, disk)
    finally:
        disk.close(handle)


def _write_all(handle: int, parts: Iterable[Buffer], disk: Disk) -> None:
    for part in parts:
        left = memoryview(part)
        while left:
            left = left[disk.write(handle, left) :]
    disk.fsync(handle)


def _forget(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
