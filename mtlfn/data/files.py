"""Files of data as they are read: lines within limits, and JSON in which no object has a key twice.

The limits lie far above what real data hold. What is beyond them is a mistake (a file without line ends) or an attack
(a few compressed bytes that become gigabytes), and would otherwise end in a machine without memory.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mtlfn.data.example import DataError

LINE = 2**24  # bytes of a line
RATIO = 250  # bytes that a compressed one may become; text has 3 to 20, the same text over and over up to 100
FREE = 2**26  # bytes that any compressed file may become
BLOCK = 2**20
STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
TOKEN = re.compile(rf"(?P<key>{STRING})\s*:|{STRING}|[{{}}]")  # of JSON: what tells objects and their keys


class RepeatedKey(DataError):
    """An object of JSON has a key twice: which value is meant, nobody knows."""

    def __init__(self, key: str) -> None:
        super().__init__(f"an object has the key {key!r} more than once, expected each key once; remove one")


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, numbered from 1, without their line feed, of a file that may be ``.gz``.

    Bytes, since only a line feed ends a line (text mode splits at more). DataError where a line or what a compressed
    file becomes is beyond the limits, or where it is no whole gzip file.
    """
    number, rest = 0, b""
    for block in _blocks(path):
        if block.isspace() and not rest.strip():  # a file of nothing but line ends would take minutes line by line
            number += block.count(b"\n")
            rest = block.rpartition(b"\n")[2] if b"\n" in block else rest + block
        else:
            *whole, rest = (rest + block).split(b"\n")
            for line in whole:
                number += 1
                if line.strip():
                    _check(line, path, number)
                    yield number, line
        _check(rest, path, number + 1)
    if rest.strip():
        yield number + 1, rest


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """All lines as text, blank ones and their line feeds too, numbered from 1; a byte order mark is no part of it.

    DataError as in ``lines``, and where a line is not UTF-8.
    """
    number, rest = 0, b""

    def text(line: bytes) -> str:
        try:
            return decoded(line, marked=number == 1)
        except DataError as error:
            raise DataError(f"{path}, line {number}: {error}; write the file in that encoding") from None

    for block in _blocks(path):
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            number += 1
            _check(line, path, number)
            yield number, text(line + b"\n")
        _check(rest, path, number + 1)
    if rest:
        number += 1
        yield number, text(rest)


def decoded(data: bytes, *, marked: bool = False) -> str:
    """UTF-8 as text; ``marked``: a byte order mark may come first. DataError without place, which the caller adds."""
    try:
        return data.decode("utf-8-sig" if marked else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"found the byte {data[error.start]:#04x} at {error.start + 1}, expected UTF-8") from error


def bytes_of(path: Path) -> bytes:
    """All of a file of lines; DataError where one of them is beyond the limit."""
    lines = []
    with path.open("rb") as stream:
        while line := stream.readline(LINE + 2):
            _check(line.removesuffix(b"\n"), path, len(lines) + 1)
            lines.append(line)
    return b"".join(lines)


def parse(text: str) -> Any:
    """The value in a JSON text; RepeatedKey, or what ``json.loads`` raises."""
    return json.loads(text, object_pairs_hook=_unique)


def value(content: bytes, path: Path, expected: str) -> Any:
    """The value of a whole file of JSON; DataError says the place, and what was expected in words."""
    try:
        text = decoded(content, marked=True)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    try:
        return parse(text)
    except RepeatedKey as error:
        raise DataError(f"{path}, line {line_of_repetition(text)}: {error}") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: expected {expected} ({error.msg})") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise DataError(f"{path}: expected {expected} that can be read ({error})") from None


def line_of_repetition(text: str) -> int:
    """The line, from 1, in which the object begins for which ``parse`` raised RepeatedKey: the first one that ends."""
    objects: list[tuple[int, list[str]]] = []  # those not yet closed: start, keys
    for token in TOKEN.finditer(text):
        if token["key"]:
            objects[-1][1].append(json.loads(token["key"]))
        elif token[0] == "{":
            objects.append((token.start(), []))
        elif token[0] == "}":
            start, keys = objects.pop()
            if len(set(keys)) < len(keys):
                return text.count("\n", 0, start) + 1
    return 1


def _blocks(path: Path) -> Iterator[bytes]:
    packed, size = path.suffix == ".gz", 0
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as stream:
            most = max(FREE, RATIO * path.stat().st_size) if packed else None
            while block := stream.read(BLOCK):
                size += len(block)
                if most is not None and size > most:
                    raise DataError(
                        f"{path} becomes more than {most:,} bytes, expected at most {RATIO} for each of its "
                        f"{path.stat().st_size:,}; if it is what you mean, decompress it and give that file"
                    )
                yield block
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a whole gzip file ({error}); copy or compress it again") from error


def _check(line: bytes, path: Path, number: int) -> None:
    if len(line) > LINE:
        raise DataError(
            f"{path}, line {number}: has more than {LINE:,} bytes, expected fewer; is its line end missing? Write one "
            "example or note a line, and cut longer texts"
        )


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        raise RepeatedKey(next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1))
    return unique
