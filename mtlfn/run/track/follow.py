"""The new lines of a ``metrics.jsonl`` that grows, is cut when a run is resumed, and grows again with the same lines.

A line is named by its step and its place among the lines of that step, which a resumed run repeats. The cursor is the
last line that was sent; it is saved before a line is sent, so that none is ever sent twice. (One may be lost, where the
process is killed between the two.)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from mtlfn.run.disk import make_folder, write_file
from mtlfn.run.errors import UsageError
from mtlfn.run.storage.record import Line, line_of

FRESH = (-1, 0)  # before every line


@frozen
class Cursor:
    """What was sent: the last line, as (step, place among the lines of that step); ``name``: of the tracker's own run,
    "" before it has one; ``digest``: of the configuration that it belongs to."""

    last: tuple[int, int] = FRESH
    name: str = ""
    digest: str = ""


def read_cursor(path: Path) -> Cursor:
    """The cursor in a file; a fresh one where there is none. UsageError where the file is something else."""
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        step, place = document["last"]
        return Cursor((int(step), int(place)), str(document["name"]), str(document["digest"]))
    except FileNotFoundError:
        return Cursor()
    except (ValueError, OverflowError, RecursionError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path}: is not what was written ({type(error).__name__}); remove it to send everything once more"
        ) from None


def write_cursor(path: Path, cursor: Cursor) -> None:
    make_folder(path.parent)
    document = {"last": list(cursor.last), "name": cursor.name, "digest": cursor.digest}
    write_file(path, (json.dumps(document) + "\n").encode())


@define
class Tail:
    """A file that is read as it grows. A change of it from under the reader (it was cut, or is another file) makes the
    reader begin anew; damaged lines, and a last one without its end, are passed over."""

    path: Path
    _inode: int = -1
    _offset: int = 0
    _at: tuple[int, int] = field(default=FRESH)

    def lines(self, after: tuple[int, int]) -> Iterator[tuple[tuple[int, int], Line]]:
        """The lines that were added, behind ``after``, with their names."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return
        if status.st_ino != self._inode or status.st_size < self._offset:
            self._inode, self._offset, self._at = status.st_ino, 0, FRESH
        with self.path.open("rb") as file:
            file.seek(self._offset)
            while (raw := file.readline()).endswith(b"\n"):
                self._offset += len(raw)
                try:
                    line = line_of(raw[:-1])
                except ValueError:
                    continue
                step, place = self._at
                self._at = (line["step"], place + 1 if line["step"] == step else 0)
                if self._at > after:
                    yield self._at, line
