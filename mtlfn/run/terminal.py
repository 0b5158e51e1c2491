"""The console: it may be gone, it may be interrupted, and it obeys what it is sent.

Standard output that nobody reads any more and Ctrl-C do not end in a stack trace. What comes from data (names of
columns and files, labels, ids) is never sent as anything but characters: a name that holds an escape sequence could
clear the screen, set its title or fill the clipboard.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TextIO

AGAIN = 2.0  # seconds until an interrupt that was swallowed comes again
# What is no character to look at: control characters, changes of the direction of writing, ends of lines that are none,
# halves of characters.
UNSEEN = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_UNSEEN = re.compile(f"[{UNSEEN}]")
# What a console may be sent all the same: line ends and tabs, and of colours and progress bars (tyro, rich, tqdm) the
# sequences for styles, one line up, erasing a line and hiding the cursor.
_SENT = re.compile(rf"(\x1b\[(?:[0-9;]*[mAK]|\?25[lh])|[\n\r\t])|[{UNSEEN}]")


def shown(text: str, keep: str = "") -> str:
    """The text; what is no character to look at, and not in ``keep``, is written as ``\\x1b`` or ``\\u202e``."""
    return _UNSEEN.sub(lambda match: match[0] if match[0] in keep else _written(match[0]), text)


def some(names: Sequence[str], most: int = 3) -> str:
    """The first few names, and how many more."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def say(line: str) -> None:
    """Prints a line, whatever is in it."""
    print(shown(line))


def _written(character: str) -> str:
    return character.encode("unicode_escape").decode()


class Lasting:
    """A stream whose writes never fail: once its reader is gone, or its disk is full, what is written is dropped.

    A training then goes on with its log alone. Sequences that a console would obey are written as characters, but for
    those of colours and progress bars: the last door, also for what libraries print.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes, or drops."""
        clean = _SENT.sub(lambda match: match[1] or _written(match[0]), text)
        try:
            self._stream.write(clean)
        except UnicodeEncodeError:
            code = self._stream.encoding
            self._stream.write(clean.encode(code, "backslashreplace").decode(code))
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
    except Exception:
        sys.excepthook = _unhandled  # the interpreter will show it, when this door is shut
        raise
    finally:
        output.flush()
        errors.flush()
        sys.stdout, sys.stderr = before


def _unhandled(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if sys.stderr is not None:
        Lasting(sys.stderr).write("".join(traceback.format_exception(kind, error, trace)))


@contextmanager
def counted(numbers: Iterable[int]) -> Iterator[Callable[[], int]]:
    """These signals do nothing but count, for as long as the block lasts: how many came."""
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in numbers}
    try:
        yield lambda: len(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM is what Ctrl-C is: a KeyboardInterrupt, where nothing better was arranged, and never a lost one.

    A library that catches everything may swallow a KeyboardInterrupt; so it comes again, every ``AGAIN`` seconds, until
    it has come through to here. One that follows another sooner is the same: torchrun hands on what its terminal has
    sent to all, and the second may not meet the first on its way.
    """

    def interrupt(number: int, frame: Any) -> None:
        if number != signal.SIGALRM and signal.getitimer(signal.ITIMER_REAL)[0] > 0:
            return
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
