"""A folder that is made once and used only as it was made: whole, or again from the start.

It is written beside its place, with a manifest of the SHA-256 of every file, and renamed; what a writer that was killed
left behind has another name. Before every use the files are compared with the manifest.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from mtlfn.data.example import CacheError

MANIFEST = "manifest.json"


def kept(folder: Path, write: Callable[[Path], None]) -> Path:
    """The folder itself, made where it is missing or not as it was made.

    Args:
        write: fills an empty folder; called only then, and by one process at a time.

    Raises:
        CacheError: the folder cannot be read or made.
    """
    try:
        if not _intact(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with locked(folder.with_name(f"{folder.name}.lock")):
                if not _intact(folder):  # another process may have made it while this one waited
                    _make(folder, write)
    except OSError as error:
        raise CacheError(error.errno, error.strerror, str(folder)) from error
    return folder


def _intact(folder: Path) -> bool:
    """Whether the folder holds the files of its manifest, as they were written, and nothing else."""
    try:
        return json.loads((folder / MANIFEST).read_bytes()) == _digests(folder)
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return False


def _digests(folder: Path) -> dict[str, str]:
    """Path below the folder -> SHA-256 of the file, for all files but the manifest."""
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    }


def _make(folder: Path, write: Callable[[Path], None]) -> None:
    scratch = scratch_beside(folder)
    try:
        write(scratch)
        (scratch / MANIFEST).write_text(json.dumps(_digests(scratch), indent=0))
        if not _intact(folder):  # where no lock keeps them out, another process may have been faster
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def scratch_beside(folder: Path) -> Path:
    """A new folder beside another one, of a name that no other process takes; readable by whom the umask says."""
    scratch = folder.with_name(f"{folder.name}.tmp-{os.getpid()}-{os.urandom(4).hex()}")
    scratch.mkdir()
    return scratch


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits for the lock file and holds it as long as the block runs; the kernel drops it when the process ends.

    Where the file cannot be opened, or the file system knows no locks, the block runs all the same.
    """
    with ExitStack() as opened:
        with suppress(OSError):
            fcntl.flock(opened.enter_context(path.open("a")), fcntl.LOCK_EX)
        yield
