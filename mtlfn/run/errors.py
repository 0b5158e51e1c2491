"""How a command ends: its exit codes, and the error of who asked for something that cannot be."""

from __future__ import annotations

from pathlib import Path

from mtlfn.data.example import CacheError
from mtlfn.run.disk import PASSING

# Finished; a bug, or a part that failed; wrong usage; the preflight failed; bits or files are not what they were;
# stopped, and the same command goes on.
OK, BUG, USAGE, PREFLIGHT, MISMATCH, RESUMABLE = 0, 1, 2, 3, 4, 75


class UsageError(ValueError):
    """Something the user asked for that cannot be; the message names the flag, what was found and what to do."""


def unusable_cache(cache: Path, error: OSError) -> Exception:
    """What to say of a cache that cannot be read or written: that another is needed, or only more room."""
    if error.errno in PASSING:
        return CacheError(error.errno, error.strerror, str(cache))
    how = "--cache-dir, for a study with cache_dir in its [run], or with MTLFN_CACHE"
    return UsageError(f"the cache {cache}: cannot be used ({error.strerror}); name another folder with {how}")
