"""``metrics.jsonl``: a line a step, and between them evaluations, memory and alerts. A record: nothing is missing.

Each line ends with the first digits of the SHA-256 of the rest, and the lines of steps count on from 1. A line that is
damaged, missing or out of place is so found out, when a run goes on and when it is replayed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from attrs import frozen

from mtlfn.run.disk import write_file

Line = dict[str, Any]
WATCHING = ("save_every_steps", "quick_eval_examples")  # which may change from start to start, and change no bit
CHECKED = re.compile(rb'(.*), "check": "([0-9a-f]{8})"\}', re.DOTALL)


@frozen(eq=False)
class Sound:
    """What of a record can be relied on.

    Attributes:
        lines: those before the first that cannot; ``bytes``: as they stand in the file.
        steps: how many steps they hold, from 1 on.
        checked: whether each of them has its check; those of older versions have none.
        problem: what is wrong with the next line; "" where nothing is.
    """

    lines: tuple[Line, ...]
    bytes: tuple[bytes, ...]
    steps: int
    checked: bool
    problem: str

    @cached_property
    def by_step(self) -> dict[int, list[Line]]:
        """Step -> its lines."""
        out: dict[int, list[Line]] = {}
        for line in self.lines:
            out.setdefault(line["step"], []).append(line)
        return out

    @cached_property
    def watches(self) -> list[Line]:
        """The lines that change how the run is watched."""
        return [line for line in self.lines if line.get("event") == "watch"]


def watching(lines: Iterable[Line], settings: Mapping[str, Any]) -> dict[str, Any]:
    """How a run is watched after these lines, if it began with these settings."""
    now = {name: settings[name] for name in WATCHING}
    for line in lines:
        if line.get("event") == "watch":
            now = {name: line[name] for name in WATCHING}
    return now


def append(path: Path, line: Line) -> None:
    """One line at the end of a file, flushed."""
    text = json.dumps(line)
    with path.open("a", encoding="utf-8") as file:
        file.write(f'{text[:-1]}, "check": "{_check(text.encode())}"}}\n')


def sync(path: Path) -> None:
    """Puts what was appended on the disk."""
    if path.exists():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def lines(path: Path) -> Iterator[Line]:
    """The lines that can be read, whatever lies between them."""
    for raw in path.read_bytes().splitlines() if path.exists() else ():
        try:
            yield line_of(raw)
        except ValueError:
            continue


def sound(path: Path, older: bool = False) -> Sound:
    """The record up to its first flaw. A last line without its end is what a kill leaves: no flaw, and not there.

    ``older``: whether the run began with a version whose lines have no check.
    """
    lines, raws, steps, checked, problem = [], [], 0, True, ""
    for number, raw in enumerate(path.read_bytes().split(b"\n")[:-1] if path.exists() else (), 1):
        try:
            line = line_of(raw)
            if CHECKED.fullmatch(raw) is None and not older:
                raise ValueError("is not what was written")
            steps = _follows(line, steps)
        except ValueError as error:
            problem = f"line {number} (after step {steps}) {error}"
            break
        lines.append(line)
        raws.append(raw)
        checked = checked and CHECKED.fullmatch(raw) is not None
    return Sound(tuple(lines), tuple(raws), steps, checked, problem)


def cut(path: Path, record: Sound, step: int) -> tuple[Line, ...]:
    """Drops the lines after ``step``; those that stay."""
    count = sum(line["step"] <= step for line in record.lines)  # steps never fall
    if path.exists():
        write_file(path, b"".join(raw + b"\n" for raw in record.bytes[:count]))
    return record.lines[:count]


def line_of(raw: bytes) -> Line:
    """The line in these bytes; ValueError where it is damaged. Lines of older versions have no check."""
    if (checked := CHECKED.fullmatch(raw)) is not None:
        raw = checked[1] + b"}"
        if _check(raw) != checked[2].decode():
            raise ValueError("is not what was written")
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError("is not what was written") from None
    if not isinstance(line, dict) or type(line.get("step")) is not int or line["step"] >= 2**63 or "check" in line:
        raise ValueError("is not what was written")
    return line


def _follows(line: Line, steps: int) -> int:
    """The steps with this line; ValueError where it does not follow the one before."""
    wanted = steps if "event" in line else steps + 1
    if line["step"] != wanted:
        raise ValueError(f"is of step {line['step']}, expected {wanted}")
    return wanted


def _check(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:8]
