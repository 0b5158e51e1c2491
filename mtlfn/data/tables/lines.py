"""Tables of lines: JSON Lines, JSON lists, CSV and TSV. What cannot be read is told by file and line.

The values of CSV are strings, whatever they look like: a label "NA" or "None" stays one. (`datasets` reads them by way
of pandas, to which those are missing values.)
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mtlfn.data import files
from mtlfn.data.example import DataError, short
from mtlfn.data.tables.mapping import Mapping
from mtlfn.data.tables.table import Row, Table, of_files

LISTS = ("tokens", "tags", "labels", "candidates", "relevance", "mentions", "head", "tail")  # roles whose value is one
SIGNS = {",": "a comma", "\t": "a tab", ";": "a semicolon", "|": "a bar"}  # what may stand between columns
HINT = re.compile(r"sep=.?")  # a first line that tells a spreadsheet what parts columns
BLANK = ("tokens", "tags")  # lists whose parts a blank may separate


def read_jsonl(name: str, mapping: Mapping, path: Path, paths: dict[str, list[Path]]) -> dict[Any, Table]:
    """JSON Lines, or a JSON list in a file ``.json``: objects."""
    return of_files(paths, path, objects)


def read_csv(name: str, mapping: Mapping, path: Path, paths: dict[str, list[Path]]) -> dict[Any, Table]:
    """Comma-separated values with a line of names."""
    return of_files(paths, path, partial(_records, ",", mapping))


def read_tsv(name: str, mapping: Mapping, path: Path, paths: dict[str, list[Path]]) -> dict[Any, Table]:
    """Tab-separated values with a line of names."""
    return of_files(paths, path, partial(_records, "\t", mapping))


def objects(path: Path) -> Iterator[tuple[str, Row]]:
    """Where each stands (``line 3``; ``item 3`` of a list in a file ``.json``) and the object; DataError names both."""
    if path.name.endswith(".json") and (content := files.bytes_of(path)).lstrip()[:1] == b"[":
        yield from _list(path, content)
        return
    for number, line in files.lines(path):
        try:
            row = row_of(line)
        except DataError as error:
            raise DataError(f"{path}, line {number}: {error}") from error
        yield f"line {number}", _opened(row)


def _list(path: Path, content: bytes) -> Iterator[tuple[str, Row]]:
    rows = files.value(content, path, "a list of JSON objects")
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(f"{path}, item {number}: found {short(row)}, expected a JSON object")
        yield f"item {number}", _opened(row)


def _opened(row: Row) -> Row:
    """The row, and the fields of records in it as ``column.field``, too."""
    inner = {f"{name}.{key}": v for name, value in row.items() if isinstance(value, dict) for key, v in value.items()}
    return {**_opened(inner), **row} if inner else row


def row_of(line: bytes) -> Row:
    """The object in a line; DataError without file and line, which the reader adds."""
    text = files.decoded(line).rstrip("\r\n")
    try:
        row = files.parse(text)
    except json.JSONDecodeError as error:
        if text.startswith("\ufeff"):
            raise DataError(
                "begins with a byte order mark, expected none; write the file as UTF-8 without it"
            ) from error
        raise DataError(
            f"found {short(text)}, expected one JSON object ({error.msg} at character {error.pos + 1})"
        ) from error
    except files.RepeatedKey:
        raise
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise DataError(f"found {short(text)}, expected one JSON object that can be read ({error})") from error
    if not isinstance(row, dict):
        raise DataError(f"found {short(row)}, expected one JSON object")
    return row


def _records(delimiter: str, mapping: Mapping, path: Path) -> Iterator[tuple[str, Row]]:
    roles = {column: role for role in LISTS if (column := getattr(mapping.columns, role)) is not None}
    number = 0

    def lines() -> Iterator[str]:
        nonlocal number
        for number, line in files.text_lines(path):  # noqa: B007 (the reader's rows are told by it)
            yield line

    # A file of tabs has its quotes where it means them.
    quoting: Any = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
    csv.field_size_limit(files.LINE)
    reader = csv.reader(lines(), delimiter=delimiter, quoting=quoting, strict=True)
    header: list[str] | None = None
    first = 1
    try:
        for values in reader:
            where, first = f"line {first}", number + 1
            if not values:
                continue
            if header is None:
                header = values
                if HINT.fullmatch(delimiter.join(values)):
                    raise DataError(
                        f"{path}, {where}: found {short(delimiter.join(values))}, which tells a spreadsheet what parts "
                        "columns, expected their names; take the line out"
                    )
                if len(set(header)) < len(header):
                    raise DataError(f"{path}, {where}: names a column twice ({', '.join(header)}); rename one")
                if len(header) == 1 and (signs := [s for s in SIGNS if s != delimiter and s in header[0]]):
                    raise DataError(
                        f"{path}, {where}: found {short(header[0])}, one column, expected names with "
                        f"{SIGNS[delimiter]} between; it has {SIGNS[signs[0]]} there: save it with commas as .csv, or "
                        "with tabs as .tsv"
                    )
                continue
            if len(values) != len(header):
                sign = SIGNS[delimiter]
                mend = f"quote fields that hold {sign}" if len(values) > len(header) else "mend the row, or take it out"
                raise DataError(
                    f"{path}, {where}: has {len(values)} field{'s' if len(values) > 1 else ''}, expected {len(header)} "
                    f"({', '.join(header)}); {mend}"
                )
            row: Row = dict(zip(header, values, strict=True))
            for column, role in roles.items():
                if column in row:
                    row[column] = _parts(row[column], role, mapping.separator, f"{path}, {where}")
            yield where, row
    except csv.Error as error:
        begins = f" in the row that begins in line {first}" if first < number else ""
        raise DataError(
            f"{path}, line {number}: {error}{begins}; expected quotes that are doubled inside quotes"
        ) from None


def _parts(value: str, role: str, separator: str | None, place: str) -> Any:
    """The list that a field holds: JSON, or parts between separators."""
    if value.lstrip()[:1] == "[":
        try:
            return files.parse(value)
        except (ValueError, RecursionError):
            raise DataError(f"{place}: found {short(value)} for {role}, expected a JSON list") from None
    if separator is not None:
        return [part.strip() for part in value.split(separator)] if value.strip() else []
    if role in BLANK:
        return value.split()
    if not value.strip():
        return []
    raise DataError(
        f"{place}: found {short(value)} for {role}, expected a JSON list; or name what separates its parts, as in "
        'separator = ";"'
    )
