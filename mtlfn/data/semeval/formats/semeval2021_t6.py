"""SemEval-2021 Task 6, persuasion techniques in memes: which are used in a text (subtask 1) and where (subtask 2).

``data/{training,dev,test}_set_task{1,2}.txt`` are JSON arrays, one object a text; ``techniques_list_task1-2.txt`` lists
the techniques.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mtlfn.data import files
from mtlfn.data.document import Document, Log, Mention, decode, fits
from mtlfn.data.example import DataError, half_character, short

TECHNIQUES = (
    "Appeal to authority",
    "Appeal to fear/prejudice",
    "Black-and-white Fallacy/Dictatorship",
    "Causal Oversimplification",
    "Doubt",
    "Exaggeration/Minimisation",
    "Flag-waving",
    "Glittering generalities (Virtue)",
    "Loaded Language",
    "Misrepresentation of Someone's Position (Straw Man)",
    "Name calling/Labeling",
    "Obfuscation, Intentional vagueness, Confusion",
    "Presenting Irrelevant Data (Red Herring)",
    "Reductio ad hitlerum",
    "Repetition",
    "Slogans",
    "Smears",
    "Thought-terminating cliché",
    "Whataboutism",
    "Bandwagon",
)
STEMS = {"train": "training", "dev": "dev", "test": "test"}
LIST = "techniques_list_task1-2.txt"

Labelled = tuple[str, str, tuple[str, ...]]  # id, text, techniques


def techniques(folder: Path) -> tuple[str, ...]:
    """The names in the folder's list of techniques, in its order; ``TECHNIQUES`` where it has none.

    DataError where the list is empty or not UTF-8.
    """
    path = folder / LIST
    if not path.is_file():
        return TECHNIQUES
    lines = decode(files.bytes_of(path), path, Log(strict=True)).removeprefix("\ufeff").split("\n")
    names = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not names:
        raise DataError(f"{path} is empty, expected one technique a line")
    return names


def read(folder: Path, log: Log) -> dict[str, tuple[Document, ...]]:
    """Subtask 2: train, dev and test, sorted by document id; a split without file is empty.

    A mention's label is its technique, its id its position in the document, from "0"; mentions stay in the order of
    the file. Their offsets are trusted more than their text_fragment. DataError where there is no file of subtask 2.
    """
    known = techniques(folder)
    return {
        split: tuple(sorted(_documents(path, known, log), key=lambda document: document.id))
        for split, path in _files(folder, 2).items()
    }


def read_labels(folder: Path, log: Log) -> dict[str, tuple[Labelled, ...]]:
    """Subtask 1: train, dev and test as (id, text, techniques), sorted by id; a split without file is empty.

    Techniques stay in the order of the file. DataError where there is no file of subtask 1.
    """
    known = techniques(folder)
    return {
        split: tuple(sorted(_rows(path, known, log), key=lambda row: row[0]))
        for split, path in _files(folder, 1).items()
    }


def write(folder: Path, split: str, documents: Iterable[Document], *, notes: bool = True) -> None:
    """Subtask 2: the documents as ``read`` reads them; without ``notes``, no text and no text_fragment.

    The ids of mentions are their positions and are not written. DataError names the document and what the format
    cannot hold.
    """
    known, items = techniques(folder), []
    for document in documents:
        labels = []
        for mention in document.mentions:
            place = f"the mention {mention.id!r} of the document {document.id!r}"
            if mention.label not in known:
                raise DataError(f"{place} {_unknown(mention.label, known)}")
            if len(mention.pieces) != 1 or not fits(mention.pieces, document.text):
                problem = f"has the pieces {mention.pieces} in a text of {len(document.text)} characters"
                raise DataError(f"{place} {problem}, expected one inside")
            if mention.attributes:
                raise DataError(f"{place} has the attributes {mention.attributes}, expected none")
            ((start, end),) = mention.pieces
            label = {"start": start, "end": end, "technique": mention.label}
            labels.append(label | {"text_fragment": document.text[start:end]} if notes else label)
        if document.links:
            raise DataError(f"the document {document.id!r} has {len(document.links)} links, expected none")
        items.append({"id": document.id} | ({"text": document.text} if notes else {}) | {"labels": labels})
    _write(folder, split, 2, items)


def write_labels(folder: Path, split: str, rows: Iterable[Labelled], *, notes: bool = True) -> None:
    """Subtask 1: the rows as ``read_labels`` reads them; without ``notes``, no text.

    DataError names the row and what the format cannot hold.
    """
    known, items = techniques(folder), []
    for name, text, labels in rows:
        if unknown := [label for label in labels if label not in known]:
            raise DataError(f"the row {name!r} {_unknown(unknown[0], known)}")
        if len(set(labels)) < len(labels):
            raise DataError(f"the row {name!r} has the techniques {labels}, expected each once")
        items.append({"id": name, "labels": list(labels)} | ({"text": text} if notes else {}))
    _write(folder, split, 1, items)


def _file(folder: Path, split: str, subtask: int) -> Path:
    return folder / "data" / f"{STEMS[split]}_set_task{subtask}.txt"


def _files(folder: Path, subtask: int) -> dict[str, Path]:
    files = {split: _file(folder, split, subtask) for split in STEMS}
    if not any(path.is_file() for path in files.values()):
        wanted = ", ".join(f"data/{path.name}" for path in files.values())
        raise DataError(f"{folder} holds none of the files {wanted}; give the folder that does")
    return files


def _documents(path: Path, known: tuple[str, ...], log: Log) -> Iterator[Document]:
    for where, name, text, labels in _objects(path, log):
        mentions: list[Mention] = []
        for position, label in enumerate(labels):
            place = f"{where}, label {position}"
            if problem := _problem(label, text, known):
                log.skipped(path, place, problem)
                continue
            start, end = label["start"], label["end"]
            fragment = text[start:end]
            # Systems may leave it out.
            if label.get("text_fragment", fragment) != fragment:
                difference = f"has the text_fragment {short(label['text_fragment'])}, the text at [{start}, {end}] is"
                log.repaired(path, place, f"{difference} {short(fragment)}; the offsets are used")
            mentions.append(Mention(id=str(len(mentions)), label=label["technique"], pieces=((start, end),)))
        yield Document(id=name, text=text, mentions=tuple(mentions))


def _problem(label: Any, text: str, known: tuple[str, ...]) -> str:
    """What keeps a label of subtask 2 from being a mention; empty where nothing does."""
    if not isinstance(label, dict):
        return f"is {short(label)}, expected an object with start, end and technique"
    if missing := [key for key in ("start", "end", "technique") if key not in label]:
        return f"has no {' and no '.join(missing)}"
    if label["technique"] not in known:
        return _unknown(label["technique"], known)
    start, end = label["start"], label["end"]
    # type, not isinstance: true is no offset.
    if type(start) is not int or type(end) is not int or not fits(((start, end),), text):
        return f"has the offsets {short([start, end])}, expected start < end in a text of {len(text)} characters"
    return ""


def _rows(path: Path, known: tuple[str, ...], log: Log) -> Iterator[Labelled]:
    for where, name, text, labels in _objects(path, log):
        names: list[str] = []
        for position, label in enumerate(labels):
            if label not in known:
                log.skipped(path, f"{where}, label {position}", _unknown(label, known))
            elif label in names:
                log.repaired(path, f"{where}, label {position}", f"repeats the technique {label!r}; it is read once")
            else:
                names.append(label)
        yield name, text, tuple(names)


def _objects(path: Path, log: Log) -> Iterator[tuple[str, str, str, list[Any]]]:
    """Place, id, text and labels of every object that has them; of objects with the same id, the first."""
    ids: set[str] = set()
    for position, item in enumerate(_array(path, log) if path.is_file() else ()):
        where = f"object {position}"
        if not isinstance(item, dict):
            log.skipped(path, where, f"is {short(item)}, expected an object with id, text and labels")
            continue
        if log.unlabelled:
            item = {"labels": [], **item}
        name, text, labels = (item.get(key) for key in ("id", "text", "labels"))
        where += f" (id {short(name)})"
        if missing := [key for key in ("id", "text", "labels") if key not in item]:
            log.skipped(path, where, f"has no {' and no '.join(missing)}")
        elif not (isinstance(name, str) and isinstance(text, str) and isinstance(labels, list)):
            forms = f"{type(name).__name__}, {type(text).__name__} and {type(labels).__name__}"
            log.skipped(path, where, f"has an id, text and labels of type {forms}, expected str, str and list")
        elif half_character(name + text):
            log.skipped(path, where, "has half of a surrogate pair in its id or text, expected characters")
        elif name in ids:
            log.skipped(path, where, "has the id of an earlier object")
        else:
            ids.add(name)
            yield where, name, text, labels


def _array(path: Path, log: Log) -> list[Any]:
    expected = "expected a JSON array of objects"
    text = decode(path.read_bytes(), path, log)
    try:
        items = files.parse(text)
    except json.JSONDecodeError as error:
        log.skipped(path, f"line {error.lineno}, column {error.colno}", f"{error.msg}; {expected}")
    except files.RepeatedKey as error:
        raise DataError(f"{path}, line {files.line_of_repetition(text)}: {error}") from error
    except (RecursionError, ValueError) as error:  # ValueError: a number of thousands of digits
        log.skipped(path, "the file", f"{error}; {expected}")
    else:
        if isinstance(items, list):
            return items
        log.skipped(path, "the file", f"holds {short(items)}, {expected}")
    return []


def _write(folder: Path, split: str, subtask: int, items: list[dict[str, Any]]) -> None:
    if split not in STEMS:
        raise DataError(f"the split is {split!r}, expected one of {', '.join(STEMS)}")
    ids: set[str] = set()
    for item in items:
        name = item["id"]
        if name in ids:
            raise DataError(f"the id {name!r} is that of two examples, expected each once")
        if half_character(name + item.get("text", "")):
            raise DataError(f"the example {name!r} has half of a surrogate pair in its id or text")
        ids.add(name)
    path = _file(folder, split, subtask)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.dumps(items, ensure_ascii=False, indent=4).encode())


def _unknown(technique: object, known: tuple[str, ...]) -> str:
    return f"has the technique {short(technique)}, expected one of the {len(known)} of {LIST}"
