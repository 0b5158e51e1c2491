"""A program that ends with the process that began it: ``python -IS tied.py PARENT PROGRAM [WORD ...]``.

The kernel sends it SIGTERM when that process dies, however it dies, where the kernel knows how (Linux).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PARENT_DEATH = 1  # PR_SET_PDEATHSIG of Linux's prctl.h


def command(words: Sequence[str]) -> list[str]:
    """What begins a program so; the process that calls this is the one to begin it."""
    return [sys.executable, "-IS", __file__, str(os.getpid()), *words]  # of the standard library alone


def main(argv: Sequence[str]) -> None:
    """Becomes the program."""
    parent, words = int(argv[0]), list(argv[1:])
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PARENT_DEATH, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the kernel was asked
            sys.exit(-signal.SIGTERM)
    os.execvp(words[0], words)


if __name__ == "__main__":
    main(sys.argv[1:])
