"""A data set is a folder with one JSON Lines file a split; a schema says how one line becomes an example.

``<folder>/{train,dev,test}.jsonl`` or ``.jsonl.gz``, UTF-8, one object a line; ``validation`` is read as ``dev``.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from attrs import frozen

from mtlfn.data.task import SPLITS, DataError, Dataset, Example, Kind, Span, Task, problems

Row = dict[str, Any]

STEMS = {"train": ("train",), "dev": ("dev", "validation"), "test": ("test",)}
SUFFIXES = (".jsonl", ".jsonl.gz")


@frozen(kw_only=True)
class Schema:
    """What the lines of a data set hold.

    Attributes:
        kind, level, labels, negative: as in ``Task``.
        example: row -> Example; raises DataError without file and line, which the reader adds.
    """

    kind: Kind
    level: Literal[1, 2]
    labels: tuple[str, ...]
    negative: str | None = None
    example: Callable[[Row], Example]


def join_words(words: Sequence[str]) -> tuple[str, tuple[Span, ...]]:
    """The words joined by one blank, and the character span of each in that text. DataError names an empty word."""
    spans, end = [], -1
    for position, word in enumerate(words):
        if not word:
            raise DataError(f"the word at position {position} is empty, expected at least one character")
        start = end + 1
        end = start + len(word)
        spans.append((start, end))
    return " ".join(words), tuple(spans)


def same_length(tokens: Sequence[str], tags: Sequence[str]) -> None:
    """DataError with both lengths, unless there is one tag a token and at least one token."""
    if not tokens or len(tokens) != len(tags):
        raise DataError(f"{len(tags)} tags for {len(tokens)} tokens, expected one tag a token and at least one token")


def _bc5cdr_disease(row: Row) -> Example:
    tokens, tags, name = _strings(row, "tokens"), _strings(row, "tags"), _text(row, "id")
    same_length(tokens, tags)
    text, words = join_words(tokens)
    # Sentences of one abstract are alike; where the file does not say which abstract, each is a unit of its own.
    unit = _text(row, "doc_id") if "doc_id" in row else name
    return Example(id=name, unit=unit, texts=((text, None),), words=words, tags=tags)


def _ddi(row: Row) -> Example:
    return Example(
        id=_text(row, "id"),
        unit=_text(row, "doc_id"),
        texts=((_text(row, "text"), None),),
        head=_pieces(_value(row, "head", dict, "an object"), "head"),
        tail=_pieces(_value(row, "tail", dict, "an object"), "tail"),
        labels=(_text(row, "label"),),
    )


def _hoc(row: Row) -> Example:
    labels = tuple(dict.fromkeys(_strings(row, "labels")))
    return Example(id=_text(row, "id"), unit=_text(row, "doc_id"), texts=((_text(row, "text"), None),), labels=labels)


def _pubmedqa(row: Row) -> Example:
    # long_answer is the conclusion of the abstract: it gives the label away, so it is never looked at.
    contexts = _value(row, "contexts", list, "a list of objects")
    if not all(isinstance(context, dict) for context in contexts):
        raise DataError(f"the column 'contexts' holds {_short(contexts)}, expected a list of objects")
    abstract = " ".join(_text(context, "text") for context in contexts)
    name = _text(row, "id")
    return Example(id=name, unit=name, texts=((_text(row, "question"), abstract),), labels=(_text(row, "label"),))


SCHEMAS: dict[str, Schema] = {
    "bc5cdr_disease": Schema(kind="tagging", level=1, labels=("Disease",), example=_bc5cdr_disease),
    "ddi": Schema(
        kind="relation",
        level=2,
        labels=("none", "mechanism", "effect", "advise", "int"),
        negative="none",
        example=_ddi,
    ),
    "hoc": Schema(
        kind="multilabel",
        level=2,
        labels=(
            "activating invasion and metastasis",
            "avoiding immune destruction",
            "cellular energetics",
            "enabling replicative immortality",
            "evading growth suppressors",
            "genomic instability and mutation",
            "inducing angiogenesis",
            "resisting cell death",
            "sustaining proliferative signaling",
            "tumor promoting inflammation",
        ),
        example=_hoc,
    ),
    "pubmedqa": Schema(kind="classification", level=2, labels=("yes", "no", "maybe"), example=_pubmedqa),
}


def read(folder: Path, name: str) -> Dataset:
    """The data set in a folder, by the schema of that name.

    A missing test file gives an empty test split. DataError names the folder, or the file and 1-based line, what
    was found and what was expected.
    """
    if name not in SCHEMAS:
        raise DataError(f"no JSON Lines schema is called {name!r}, expected one of {', '.join(SCHEMAS)}")
    if not folder.is_dir():
        raise DataError(f"the folder {folder} of task {name} does not exist; give a folder with {_wanted('train')}")
    schema = SCHEMAS[name]
    task = Task(name=name, kind=schema.kind, level=schema.level, labels=schema.labels, negative=schema.negative)
    splits: dict[str, tuple[Example, ...]] = {}
    for split in SPLITS:
        path = _split_file(folder, split)
        splits[split] = _examples(path, task, schema) if path else ()
    return Dataset(task=task, source=str(folder), **splits)


def _wanted(split: str) -> str:
    return " or ".join(stem + suffix for stem in STEMS[split] for suffix in SUFFIXES)


def _split_file(folder: Path, split: str) -> Path | None:
    candidates = [folder / (stem + suffix) for stem in STEMS[split] for suffix in SUFFIXES]
    found = [path for path in candidates if path.exists()]
    if odd := [path for path in found if not path.is_file()]:
        raise DataError(f"{odd[0]} is not a file, expected one with a JSON object a line")
    if len(found) > 1:
        # Taking one of the two would train on a file the user may not mean.
        raise DataError(f"{folder} has both {found[0].name} and {found[1].name} for the {split} split; keep one")
    if not found and split != "test":
        raise DataError(f"{folder} has no {split} split; expected the file {_wanted(split)}")
    return found[0] if found else None


def _examples(path: Path, task: Task, schema: Schema) -> tuple[Example, ...]:
    examples: list[Example] = []
    lines: dict[str, int] = {}
    for number, line in _lines(path):
        try:
            example = schema.example(_row(line))
            if problem := problems(task, example):
                raise DataError(f"the example {example.id!r} {problem}")
            if first := lines.get(example.id):
                raise DataError(f"the id {example.id!r} is also that of line {first}; ids must be unique in a file")
        except DataError as error:
            raise DataError(f"{path}, line {number}: {error}") from error
        lines[example.id] = number
        examples.append(example)
    if not examples:
        raise DataError(f"{path} is empty, expected at least one line with a JSON object")
    return tuple(examples)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Numbered from 1, blank lines left out. Bytes, since only a line feed ends a line (text mode splits at more)."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield number, line
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a whole gzip file ({error}); copy or compress it again") from error


def _row(line: bytes) -> Row:
    try:
        text = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DataError(f"found the byte {line[error.start]:#04x} at {error.start + 1}, expected UTF-8") from error
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"found {_short(text)}, expected one JSON object ({error.msg} at character {error.pos + 1})"
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise DataError(f"found {_short(text)}, expected one JSON object that can be read ({error})") from error
    if not isinstance(row, dict):
        raise DataError(f"found {_short(row)}, expected one JSON object")
    return row


def _value(row: Row, column: str, form: type, expected: str) -> Any:
    if column not in row:
        raise DataError(f"the column {column!r} is missing, columns found: {', '.join(row) or 'none'}")
    if not isinstance(row[column], form):
        raise DataError(f"the column {column!r} holds {_short(row[column])}, expected {expected}")
    return row[column]


def _text(row: Row, column: str) -> str:
    return _value(row, column, str, "a string")


def _strings(row: Row, column: str) -> tuple[str, ...]:
    values = _value(row, column, list, "a list of strings")
    if not all(isinstance(value, str) for value in values):
        raise DataError(f"the column {column!r} holds {_short(values)}, expected a list of strings")
    return tuple(values)


def _pieces(mention: Row, column: str) -> tuple[Span, ...]:
    try:
        return pieces(_value(mention, "spans", list, "a list of [start, end]"))
    except DataError as error:
        raise DataError(f"in the column {column!r}: {error}") from error


def pieces(value: Any) -> tuple[Span, ...]:
    """A mention's character spans in text order, from ``[[start, end], ...]`` or one ``[start, end]``; or DataError."""
    spans = value
    if isinstance(value, list) and len(value) == 2 and not isinstance(value[0], list):
        spans = [value]
    well_formed = isinstance(spans, list) and all(
        isinstance(span, list) and len(span) == 2 and all(type(offset) is int for offset in span) for span in spans
    )
    if not well_formed:
        raise DataError(f"found the spans {_short(value)}, expected a list of [start, end] in whole characters")
    return tuple(sorted((start, end) for start, end in spans))


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
