"""One writer a run: a lock of the kernel, and where the file system knows none, a file that says who writes."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from mtlfn.run.disk import TEMPORARY, write_file
from mtlfn.run.errors import RESUMABLE

LOCK = "lock"  # of a run directory
OWNER = "lock.owner"


class Busy(Exception):
    """Another process writes this run: nothing is wrong, and the same command goes on once it has ended."""

    exit_code = RESUMABLE


@contextmanager
def held(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Holds the lock file as long as the block runs; the kernel drops it when the process ends, however it ends.

    A file system without locks has a file beside it instead, which names the process that writes. One that a killed
    process left is taken over where that process can be seen to be gone: on this host, since it began.

    Raises:
        Busy: another process holds it.
    """
    folder = path.parent
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"--output-dir {folder}: another process is writing this run; wait for it, or stop it") from None
        except OSError as error:
            say(f"lock      {path} cannot be locked ({error.strerror}); {OWNER} beside it says who writes")
            with _owned(path.with_name(OWNER), say):
                yield
            return
        yield


def free(path: Path) -> bool | None:
    """Whether nobody holds the lock file now; None where there is none, or no lock to be had."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@contextmanager
def _owned(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    here = _process(psutil.Process())
    while not _created(path, here):
        there = _read(path)
        if there.get("host") != here["host"] or _alive(there):
            raise Busy(
                f"--output-dir {path.parent}: process {there.get('process', '?')} on host {there.get('host', '?')} "
                f"is writing this run, as {path} says; wait for it, or stop it. If it is gone, remove that file"
            )
        if _taken_over(path, there, here):
            say(f"lock      process {there.get('process')} of {path.name} is gone: taken over")
            break
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _created(path: Path, here: dict[str, Any]) -> bool:
    """Whether there was no file, and now is one that names this process."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as file:
        json.dump(here, file)
    return True


def _taken_over(path: Path, gone: dict[str, Any], here: dict[str, Any]) -> bool:
    """Whether the file still named the process that is gone, and now names this one.

    Two that saw it gone at once must not take over one after the other, the second from the first: so who does makes
    a file of a fixed name first, which only one can, and then looks again.
    """
    claim = path.with_name(f"{path.name}{TEMPORARY}claim")
    try:
        os.close(os.open(claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        raise Busy(
            f"--output-dir {path.parent}: another process is taking this run over; wait for it, or stop it. If there "
            f"is none, remove {claim}"
        ) from None
    try:
        if _read(path) != gone:
            return False
        write_file(path, json.dumps(here).encode())
        return True
    finally:
        claim.unlink(missing_ok=True)


def _process(process: psutil.Process) -> dict[str, Any]:
    return {"host": socket.gethostname(), "process": process.pid, "began": process.create_time()}


def _read(path: Path) -> dict[str, Any]:
    try:
        written = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return written if isinstance(written, dict) else {}


def _alive(owner: dict[str, Any]) -> bool:
    try:
        return _process(psutil.Process(owner["process"])) == owner
    except (KeyError, TypeError, ValueError, psutil.Error):
        return False
