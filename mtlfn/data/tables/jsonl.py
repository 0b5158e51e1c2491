"""A data set is a folder with one JSON Lines file a split; a schema says how one line becomes an example.

``<folder>/{train,dev,test}.jsonl`` or ``.jsonl.gz``, UTF-8, one object a line; ``validation`` is read as ``dev``.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from attrs import frozen

from mtlfn.data import files
from mtlfn.data.example import DataError, Example, Span, short
from mtlfn.data.iob2 import join_words, same_length
from mtlfn.data.kinds.relation import pieces
from mtlfn.data.tables.lines import row_of
from mtlfn.data.task import HIDDEN_TEST, SPLITS, Dataset, Task, hidden, problems

Row = dict[str, Any]

STEMS = {"train": ("train",), "dev": ("dev", "validation"), "test": ("test",)}
SUFFIXES = (".jsonl", ".jsonl.gz")


@frozen(kw_only=True)
class Schema:
    """What the lines of a data set hold.

    Attributes:
        kind, level, labels, negative: as in ``Task``.
        gold: the column that holds what is to be predicted.
        example: row -> Example; raises DataError without file and line, which the reader adds.
    """

    kind: str
    level: Literal[1, 2]
    labels: tuple[str, ...]
    negative: str | None = None
    gold: str = "label"
    example: Callable[[Row], Example]


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
        raise DataError(f"the column 'contexts' holds {short(contexts)}, expected a list of objects")
    abstract = " ".join(_text(context, "text") for context in contexts)
    name = _text(row, "id")
    return Example(id=name, unit=name, texts=((_text(row, "question"), abstract),), labels=(_text(row, "label"),))


SCHEMAS: dict[str, Schema] = {
    "bc5cdr_disease": Schema(kind="tagging", level=1, labels=("Disease",), gold="tags", example=_bc5cdr_disease),
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
        gold="labels",
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
    notes: dict[str, str] = {}
    for split in SPLITS:
        path = _split_file(folder, split)
        if split == "test" and path and _unlabelled(path, task, schema):
            path, notes = None, {HIDDEN_TEST: f"no line of {path.name} has a label"}
        splits[split] = _examples(path, task, schema) if path else ()
    train, dev, test = (splits[split] for split in SPLITS)
    return Dataset(task=task, train=train, dev=dev, test=test, source=str(folder), notes=notes)


def _wanted(split: str) -> str:
    return " or ".join(stem + suffix for stem in STEMS[split] for suffix in SUFFIXES)


def _split_file(folder: Path, split: str) -> Path | None:
    candidates = [folder / (stem + suffix) for stem in STEMS[split] for suffix in SUFFIXES]
    files = [path for path in candidates if path.exists()]
    if odd := [path for path in files if not path.is_file()]:
        raise DataError(f"{odd[0]} is not a file, expected one with a JSON object a line")
    if len(files) > 1:
        # Taking one of the two would train on a file the user may not mean.
        raise DataError(f"{folder} has both {files[0].name} and {files[1].name} for the {split} split; keep one")
    if not files and split != "test":
        raise DataError(f"{folder} has no {split} split; expected the file {_wanted(split)}")
    return files[0] if files else None


def _unlabelled(path: Path, task: Task, schema: Schema) -> bool:
    """Whether there are lines, and none has a label. A line that cannot be read is left to the reader."""
    try:
        rows = (row_of(line) for _, line in files.lines(path))
        first = next(rows, None)
        return first is not None and all(hidden(task, row.get(schema.gold)) for row in chain([first], rows))
    except DataError:
        return False


def _examples(path: Path, task: Task, schema: Schema) -> tuple[Example, ...]:
    examples: list[Example] = []
    lines: dict[str, int] = {}
    for number, line in files.lines(path):
        try:
            example = schema.example(row_of(line))
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


def _value(row: Row, column: str, form: type, expected: str) -> Any:
    if column not in row:
        raise DataError(f"the column {column!r} is missing, columns found: {', '.join(row) or 'none'}")
    if not isinstance(row[column], form):
        raise DataError(f"the column {column!r} holds {short(row[column])}, expected {expected}")
    return row[column]


def _text(row: Row, column: str) -> str:
    return _value(row, column, str, "a string")


def _strings(row: Row, column: str) -> tuple[str, ...]:
    values = _value(row, column, list, "a list of strings")
    if not all(isinstance(value, str) for value in values):
        raise DataError(f"the column {column!r} holds {short(values)}, expected a list of strings")
    return tuple(values)


def _pieces(mention: Row, column: str) -> tuple[Span, ...]:
    try:
        return pieces(_value(mention, "spans", list, "a list of [start, end]"))
    except DataError as error:
        raise DataError(f"in the column {column!r}: {error}") from error
