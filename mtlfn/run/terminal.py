"""Standard output that nobody reads any more, and Ctrl-C: neither ends in a stack trace."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

AGAIN = 2.0  # seconds


class Lasting:
    """A stream whose writes never fail: once its reader is gone, or its disk is full, what is written is dropped.

    A training then goes on with its log alone.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes, or drops."""
        try:
            return self._stream.write(text)
        except OSError:
            self._end()
            return len(text)

    def flush(self) -> None:
        """Flushes, or drops."""
        try:
            self._stream.flush()
        except OSError:
            self._end()

    def _end(self) -> None:
        # What is still buffered goes nowhere too, also when the interpreter flushes for the last time.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def lasting() -> Iterator[None]:
    """Output and errors last; a standard stream that was closed leads nowhere, so that no file takes its number."""
    before = sys.stdout, sys.stderr
    if None in (sys.stdin, *before):
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(number)
    output, errors = (Lasting(stream or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")) for stream in before)
    sys.stdout, sys.stderr = output, errors  # type: ignore[assignment]
    try:
        yield
    finally:
        output.flush()
        errors.flush()
        sys.stdout, sys.stderr = before


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM is what Ctrl-C is: a KeyboardInterrupt, where nothing better was arranged, and never a lost one.

    A library that catches everything may swallow a KeyboardInterrupt; so it comes again, every ``AGAIN`` seconds, until
    it has come through to here.
    """

    def interrupt(number: int, frame: Any) -> None:
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in (*numbers, signal.SIGALRM)}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
