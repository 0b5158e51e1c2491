"""brat's stand-off annotation: a text in ``NAME.txt``, its annotation in ``NAME.ann``.

Of annotation, T lines (mentions) and R lines (relations) are read. Offsets count the characters of the file as it is,
line ends of two characters as two. Events are counted; attributes, normalisations, notes and equivalences say nothing
about mentions and relations.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mtlfn.data import files as bounded
from mtlfn.data.document import Document
from mtlfn.data.example import DataError, short
from mtlfn.data.tables.documents import Annotation, Relation, Tally, document, tables
from mtlfn.data.tables.mapping import Mapping
from mtlfn.data.tables.table import Place, Table, place_of

SPAN = "[0-9]{1,12} [0-9]{1,12}"
MENTION = re.compile(rf"(T\S*)\t(\S+) ({SPAN}(?:;{SPAN})*)\t(.*)", re.DOTALL)
PASSED = "AMN#*"  # how the other lines begin that are known


def read_brat(name: str, mapping: Mapping, path: Path, files: dict[str, list[Path]]) -> dict[Any, Table]:
    """Pairs of ``.txt`` and ``.ann`` files; see ``documents``. An empty ``.ann`` says that there is nothing."""
    for folder in sorted({file.parent for several in files.values() for file in several}):
        if bare := sorted(
            t for t in folder.glob("*.txt") if not t.name.startswith(".") and not _annotation(t).exists()
        ):
            raise DataError(
                f"task {name}: {bare[0]} has no {_annotation(bare[0]).name} beside it; add it (an empty one where "
                "nothing is annotated), or move the text out of the folder"
            )
    splits = {split: (place_of(split, several), partial(read_documents, several)) for split, several in files.items()}
    return tables(name, mapping, "brat", splits)


def _annotation(text: Path) -> Path:
    return text.with_suffix(".ann")


def read_documents(several: list[Path], tally: Tally) -> Iterator[tuple[Place, Document]]:
    root = Path(os.path.commonpath([path.parent for path in several]))
    for path in several:
        shown = path.relative_to(root)
        try:
            whole = _document(path, shown.with_suffix("").as_posix(), tally)
        except DataError as error:
            tally.unusable(str(error))
            continue
        yield shown.as_posix(), whole


def _document(path: Path, name: str, tally: Tally) -> Document:
    if path.suffix != ".ann":
        raise DataError(f"{path} is no file of brat, expected the ending .ann; move it out of the folder")
    if not (source := path.with_suffix(".txt")).is_file():
        raise DataError(f"{path} has no text, expected {source.name} beside it")
    text = _text(source, marked=False)
    if "\r\n" in text:
        tally.count("texts with line ends of two characters")
    annotations: list[Annotation] = []
    relations: list[Relation] = []
    events: set[str] = set()
    for number, line in enumerate(_text(path, marked=True).split("\n"), start=1):
        line, place = line.removesuffix("\r"), f"{path}, line {number}"
        if mention := MENTION.fullmatch(line):
            key, label, spans, shown = mention.groups()
            pieces = tuple((int(a), int(b)) for a, b in (span.split(" ") for span in spans.split(";")))
            annotations.append(Annotation(id=key, label=label, pieces=pieces, text=shown, place=place))
        elif line.startswith("R") and (relation := _relation(line, place)):
            relations.append(relation)
        elif line.startswith("E") and "\t" in line:
            events.add(line.partition("\t")[0])
            tally.count("events left out")
        elif line.strip() and line[0] not in PASSED:
            tally.unusable(
                f"{place}: found {short(line)}, expected a mention (T1, tab, TYPE 0 5, tab, its text), a relation (R1, "
                "tab, TYPE Arg1:T1 Arg2:T2) or another line of brat's"
            )
    return document(name, text, annotations, relations, events, tally)


def _relation(line: str, place: Place) -> Relation | None:
    """The relation in a line: its roles stand in the order of head and tail, unless Arg2 comes first."""
    _, _, content = line.partition("\t")
    label, *arguments = content.split() or [""]
    parted = [argument.partition(":") for argument in arguments]
    if not label or not parted or not all(role and end for role, _, end in parted):
        return None
    if [role for role, _, _ in parted] == ["Arg2", "Arg1"]:
        parted.reverse()
    return Relation(label=label, ends=tuple(end for _, _, end in parted), place=place)


def _text(path: Path, *, marked: bool) -> str:
    """No line end is translated."""
    content = bounded.bytes_of(path)
    try:
        return bounded.decoded(content, marked=marked)
    except DataError as error:
        raise DataError(f"{path}: {error}; write the file in that encoding") from None
