"""What can be predicted on, as it lies, and how what is predicted is written: rows, texts, CoNLL columns, brat.

Each form is a function that reads items: examples that belong together, and how their predictions are written. So what
is read goes out in its own form, at its own offsets.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from mtlfn.data import files
from mtlfn.data.document import Document
from mtlfn.data.example import DataError, Example, Span, half_character, short
from mtlfn.data.kinds.tagging import entities
from mtlfn.data.tables import brat
from mtlfn.data.tables.conll import START, fields_of, is_comment, word_column
from mtlfn.data.tables.documents import Tally, relation_rows, tagging_rows
from mtlfn.data.tables.lines import objects
from mtlfn.data.task import kind_of
from mtlfn.data.windows import words
from mtlfn.run.one.predictor import Predictor

Texts = Callable[[Sequence[Any]], str]  # predictions of an item's examples -> what is written


@frozen(kw_only=True, eq=False)
class Item:
    """What is predicted together.

    Attributes:
        examples: none where there is only something to be passed on.
        lines: their predictions as JSON lines. own: as the form of the input has them.
        file: which file ``own`` goes to, from the folder of the output; "" where all go to one.
        beside: a file that is copied beside it.
    """

    examples: tuple[Example, ...]
    lines: Texts
    own: Texts
    file: str = field(default="")
    beside: Path | None = None


Pairs = set[tuple[str, str]]  # types of mentions between which relations are looked for; none: all
Form = Callable[[Predictor, Path, Pairs], Iterator[Item]]


def rows(predictor: Predictor, source: Path, _: Pairs, *, plain: bool) -> Iterator[Item]:
    """The rows of JSON Lines or a JSON list, or (``plain``) of a file in which each line is a text; the id is that of
    the row, else the number of its line or, from 0, in the list."""
    for where, row in _lines(source) if plain else objects(source):
        number = where.rpartition(" ")[2]
        try:
            yield _row(predictor, row, row.get("id", number), int(number))
        except DataError as error:
            raise DataError(f"{source}, {where}: {error}") from None


def _lines(source: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in files.lines(source):
        try:
            yield f"line {number}", {"text": files.decoded(line, marked=number == 1).rstrip("\r")}
        except DataError as error:
            raise DataError(f"{source}, line {number}: {error}") from None


def texts(predictor: Predictor, source: Path, _: Pairs) -> Iterator[Item]:
    """The files of a folder, each a text, by their names."""
    for path in _files(source, ".txt"):
        try:
            name = path.relative_to(source).with_suffix("").as_posix()
            yield _row(predictor, {"text": files.decoded(files.bytes_of(path), marked=True)}, name, 0)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None


def _row(predictor: Predictor, row: dict[str, Any], name: Any, number: int) -> Item:
    if isinstance(name, bool) or not isinstance(name, (str, int)):
        raise DataError(f"the id is {short(name)}, expected a string or whole number")
    if problem := half_character(str(name)):
        raise DataError(f"the id {problem}")
    example = evolve(predictor.example(row, str(number)), id=str(name), unit=str(name))
    write = partial(_row_lines, predictor, example)
    return Item(examples=(example,), lines=write, own=write)


def _row_lines(predictor: Predictor, example: Example, predictions: Sequence[Any]) -> str:
    line: dict[str, Any] = {"id": example.id, "prediction": predictions[0]}
    if kind_of(predictor.task).tags:
        line["tokens"] = [example.texts[0][0][a:b] for a, b in example.words]
    return _json(line)


def _json(line: dict[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False) + "\n"


# CoNLL


def conll(predictor: Predictor, source: Path, _: Pairs) -> Iterator[Item]:
    """Words in the first column, or behind numbers in the second; each line goes out with the predicted tag as one more
    column, all others as they are. Columns and comments are those of training."""
    if not kind_of(predictor.task).tags:
        raise DataError(
            f"{source}: CoNLL columns hold tags, and {predictor.task.name} is of kind {predictor.task.kind}"
        )
    lines: list[str] = []
    tokens: list[str | None] = []  # a word a line, None where the line has none
    first, width, column = 1, 0, word_column(source)
    for number, line in files.text_lines(source):
        text = line.rstrip("\r\n")
        parts = fields_of(text)
        passed = not parts or parts[0] == START or is_comment(text, width)
        if not passed and len(parts) <= column:
            raise DataError(
                f"{source}, line {number}: found {short(text)}, expected a number and a word, as in the first"
            )
        word = None if passed else parts[column] or None
        width = width or (0 if word is None else len(parts))
        if word is None and any(tokens):
            yield _sentence(predictor, lines, tokens, f"{source}, line {first}")
            lines, tokens = [], []
        first = first if any(tokens) else number
        lines.append(line)
        tokens.append(word)
    if lines:
        yield _sentence(predictor, lines, tokens, f"{source}, line {first}")


def _sentence(predictor: Predictor, lines: list[str], tokens: list[str | None], place: str) -> Item:
    present = [token for token in tokens if token is not None]
    name = place.rpartition(", ")[2]

    def own(predictions: Sequence[Any]) -> str:
        tags = iter(predictions[0] if predictions else ())
        shown = [
            _with(line, next(tags)) if token is not None else line for line, token in zip(lines, tokens, strict=True)
        ]
        return "".join(shown)

    if not present:
        return Item(examples=(), lines=lambda _: "", own=own)
    try:
        example = evolve(predictor.example({"tokens": present}, name), id=name, unit=name)
    except DataError as error:
        raise DataError(f"{place}: {error}") from None
    return Item(examples=(example,), lines=partial(_row_lines, predictor, example), own=own)


def _with(line: str, tag: str) -> str:
    """The line with the tag behind it, and its own end; the last one of a file gets one where it has none."""
    text = line.rstrip("\r\n")
    between = "\t" if "\t" in text or len(text.split()) == 1 else " "
    return f"{text}{between}{tag}{line.removeprefix(text) or chr(10)}"


# brat


def documents(predictor: Predictor, source: Path, pairs: Pairs) -> Iterator[Item]:
    """A folder of ``.txt`` files, or one: mentions are found in the texts, relations between the mentions of ``.ann``
    files, of the given pairs of types, or of all. What is written is annotation at the offsets of the text."""
    task = predictor.task
    if task.kind not in DOCUMENTS:
        raise DataError(f"{source}: brat's files hold mentions and relations, and {task.name} is of kind {task.kind}")
    ending, read, item = DOCUMENTS[task.kind]
    unseen = {label for pair in pairs for label in pair}
    for path in _files(source, ending):
        name = path.relative_to(source if source.is_dir() else path.parent).with_suffix("").as_posix()
        whole = evolve(read(path), id=name)
        try:
            made = item(predictor, whole, pairs)
            unseen -= {mention.label for mention in whole.mentions}
        except DataError as error:
            raise DataError(f"{str(path)!a}: {error}") from None
        yield evolve(made, file=f"{name}.ann", beside=path.with_suffix(".txt"))
    if unseen:
        print(f"--pairs: no mention has the type {', '.join(sorted(unseen))}", file=sys.stderr)


def _annotated(path: Path) -> Document:
    ((_, document),) = brat.read_documents([path], Tally({}))
    return document


def _plain(path: Path) -> Document:
    return Document(id="", text=_text(path))


def _text(path: Path) -> str:
    try:
        return files.decoded(files.bytes_of(path))
    except DataError as error:
        raise DataError(f"{path}: {error}; write the file in that encoding") from None


def _spans(predictor: Predictor, whole: Document, _: Pairs) -> Item:
    if not words(whole.text):
        return _marked(whole, (), lambda _: [])
    example = evolve(predictor.example({"text": whole.text}, whole.id), id=whole.id, unit=whole.id)
    return _marked(whole, (example,), lambda predictions: predictions[0])


def _tags(predictor: Predictor, whole: Document, _: Pairs) -> Item:
    rows = list(tagging_rows(whole, predictor.task.labels, Tally({})))
    examples = tuple(evolve(predictor.example({"tokens": r["tokens"]}, r["id"]), id=r["id"]) for r in rows)
    places = iter(words(whole.text))  # the rows have all of them, in order
    spans = [[next(places) for _ in row["tokens"]] for row in rows]

    def mentions(predictions: Sequence[Any]) -> list[Any]:
        return [
            [label, [[at[first][0], at[last - 1][1]]]]
            for at, tags in zip(spans, predictions, strict=True)
            for first, last, label in sorted(entities(tags))
        ]

    return _marked(whole, examples, mentions)


def _marked(whole: Document, examples: tuple[Example, ...], mentions: Callable[[Sequence[Any]], list[Any]]) -> Item:
    return Item(
        examples=examples,
        lines=lambda predictions: _json({"id": whole.id, "prediction": mentions(predictions)}),
        own=lambda predictions: "".join(
            mention_line(f"T{number}", label, pieces, whole.text)
            for number, (label, pieces) in enumerate(mentions(predictions), start=1)
        ),
    )


def _relations(predictor: Predictor, whole: Document, pairs: Pairs) -> Item:
    task = predictor.task
    types = {mention.label for mention in whole.mentions}
    wanted = pairs or {(head, tail) for head in types for tail in types}
    rows = list(relation_rows(evolve(whole, links=()), task.labels, str(task.negative), wanted, Tally({})))
    ends = [row["id"].rsplit("|", 2)[1:] for row in rows]
    examples = tuple(
        evolve(predictor.example({k: row[k] for k in ("text", "head", "tail")}, row["id"]), id=row["id"])
        for row in rows
    )

    def lines(predictions: Sequence[Any]) -> str:
        return "".join(
            _json({"id": whole.id, "head": head, "tail": tail, "prediction": label})
            for (head, tail), label in zip(ends, predictions, strict=True)
        )

    def own(predictions: Sequence[Any]) -> str:
        mentions = [mention_line(m.id, m.label, m.pieces, whole.text) for m in whole.mentions]
        related = [(*each, label) for each, label in zip(ends, predictions, strict=True) if label != task.negative]
        return "".join(mentions) + "".join(
            f"R{number}\t{_type(label)} Arg1:{head} Arg2:{tail}\n"
            for number, (head, tail, label) in enumerate(related, start=1)
        )

    return Item(examples=examples, lines=lines, own=own)


def mention_line(key: str, label: str, pieces: Sequence[Span], text: str) -> str:
    """A mention as brat writes it: white space in it is a blank, which keeps the length."""
    shown = " ".join("".join(" " if c.isspace() else c for c in text[a:b]) for a, b in pieces)
    return f"{key}\t{_type(label)} {';'.join(f'{a} {b}' for a, b in pieces)}\t{shown}\n"


def _type(label: str) -> str:
    """A type in brat has no white space."""
    return "_".join(label.split())


def _files(source: Path, ending: str) -> list[Path]:
    if source.is_file():
        return [source.with_suffix(ending)]
    there = sorted(p for p in source.rglob(f"*{ending}") if p.is_file() and p.name[0] != ".")
    if not there:
        raise DataError(f"{source}: has no file that ends in {ending}; name another folder, or say --format")
    return there


# Kinds whose predictions brat can hold -> the ending of the files to look for, how one is read, how it is predicted on.
DOCUMENTS: dict[str, tuple[str, Callable[[Path], Document], Callable[[Predictor, Document, Pairs], Item]]] = {
    "spans": (".txt", _plain, _spans),
    "tagging": (".txt", _plain, _tags),
    "relation": (".ann", _annotated, _relations),
}
FORMS: dict[str, Form] = {
    "jsonl": partial(rows, plain=False),
    "text": partial(rows, plain=True),
    "texts": texts,
    "conll": conll,
    "brat": documents,
}
