"""CoNLL columns: a word a line, blank lines between sentences, ``-DOCSTART-`` before each document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from mtlfn.data import files
from mtlfn.data.example import DataError, short
from mtlfn.data.tables.mapping import Mapping
from mtlfn.data.tables.table import Row, Table, of_files

START = "-DOCSTART-"


def read_conll(name: str, mapping: Mapping, path: Path, paths: dict[str, list[Path]]) -> dict[Any, Table]:
    """Words in the first column and tags in the last, or in those that the mapping numbers; see ``sentences``.

    A document, from one ``-DOCSTART-`` to the next, is a unit; in a file without any, each sentence is.
    """
    wanted = {"tokens": mapping.columns.tokens or "0", "tags": mapping.columns.tags or "-1"}
    numbers = {}
    for role, column in wanted.items():
        if not re.fullmatch("-?[0-9]{1,9}", column):
            raise DataError(
                f"task {name}: the column for {role} is {column!r}, expected a number: CoNLL files name no columns; 0 "
                "is the first, -1 the last"
            )
        numbers[role] = int(column)

    return of_files(paths, path, partial(sentences, **numbers), by_role=True)


def fields_of(text: str) -> list[str]:
    """The columns of a line: parted by tabs where it has one, else by blanks."""
    return text.split("\t") if "\t" in text else text.split()


def is_comment(text: str, width: int) -> bool:
    """Whether a line begins with ``# ``, has no tab and not as many columns as are expected."""
    return text.startswith("# ") and "\t" not in text and len(fields_of(text)) != width


def word_column(path: Path) -> int:
    """The column that words stand in: the first, or the second where the first one of the first sentence holds nothing
    but numbers, as in CoNLL-U."""
    numbers: list[bool] = []
    for _, line in files.text_lines(path):
        text = line.rstrip("\r\n")
        fields = fields_of(text)
        if not text.strip() or fields[0] == START:
            if numbers:
                break
        elif not is_comment(text, 0):
            numbers.append(len(fields) > 1 and re.fullmatch(r"\d+([-.]\d+)?", fields[0]) is not None)
    return int(len(numbers) > 1 and all(numbers))


def sentences(path: Path, tokens: int, tags: int) -> Iterator[tuple[str, Row]]:
    """(line of its first word, row with tokens, tags and, where there are documents, its unit) of every sentence.

    Columns and comments: see ``fields_of`` and ``is_comment``.
    """
    words: list[str] = []
    labels: list[str] = []
    document, first, width = 0, 0, 0
    for number, line in chain(files.text_lines(path), [(0, "")]):
        text = line.rstrip("\r\n")
        fields = fields_of(text)
        starts = bool(fields) and fields[0] == START
        if not text.strip() or starts:
            if words:
                unit = {"unit": f"document {document}"} if document else {}
                yield f"line {first}", {"tokens": words, "tags": labels, **unit}
                words, labels = [], []
            document += starts
            continue
        if is_comment(text, width):
            continue
        width = width or len(fields)
        if len(fields) != width or len(fields) < 2:
            raise DataError(
                f"{path}, line {number}: found {short(text)} with {len(fields)} columns, expected "
                f"{max(width, 2)} as in the lines before; a blank line ends a sentence"
            )
        first = first if words else number
        try:
            words.append(fields[tokens])
            labels.append(fields[tags])
        except IndexError:
            raise DataError(
                f"{path}, line {number}: has {len(fields)} columns, and the columns {tokens} and {tags} were asked for"
            ) from None
