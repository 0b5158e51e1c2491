"""SemEval-2014 Task 7, Analysis of Clinical Text: disorders in clinical notes and their concepts, one mention a line.

``<stem>.txt||Disease_Disorder||<CUI>||<start>||<end>`` with one more ``||<start>||<end>`` for each further piece.
The release of CLEF eHealth 2013, whose test notes are the development notes of 2014, has other names: notes
``<stem>.txt``, annotations ``<stem>.pipe.txt`` in another folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

from mtlfn.data.document import Document, Log, Mention, fits
from mtlfn.data.example import DataError, Span
from mtlfn.data.semeval.formats import share_notes

CORPUS = "semeval-2014-task-7"
LABEL = "Disease_Disorder"
NO_CUI = "CUI-less"

_CLEF = (".txt", ".pipe.txt")
_NOTE_TYPES = {
    "DISCHARGE_SUMMARY": "discharge",
    "ECG_REPORT": "ecg",
    "ECHO_REPORT": "echo",
    "RADIOLOGY_REPORT": "radiology",
}
_OFFSET = re.compile("[0-9]{1,9}")


def read(folder: Path, log: Log) -> dict[str, tuple[Document, ...]]:
    """Train, dev (devel) and test, sorted by document id; a split without files is empty.

    Args:
        folder: the one that holds ``semeval-2014-task-7``, or a folder inside it down to ``data``; or one that holds
            the CLEF files, the nearest folder with train or test in its name saying whether train or dev.

    A mention's id is the number of its line, from "1", its only attribute the "cui" as written. Pieces keep their
    order. DataError where there is no file of either layout.
    """
    if files := share_notes.official(folder, CORPUS):
        pairs = {split: share_notes.pairs(paths, log) for split, paths in files.items()}
    elif files := _clef(folder, log):
        pairs = {split: share_notes.pairs(paths, log, *_CLEF) for split, paths in files.items()}
    else:
        raise DataError(
            f"{folder} holds no notes of SemEval-2014 Task 7; looked for {share_notes.looked_for(CORPUS)}, and for "
            f"files *{_CLEF[1]} below a folder with train or test in its name (CLEF 2013)"
        )
    return {split: share_notes.documents(pairs[split], _mentions, log) for split in share_notes.FOLDERS}


def write(folder: Path, split: str, documents: Iterable[Document], *, notes: bool = True) -> None:
    """The documents in the official layout, below ``folder/semeval-2014-task-7/data``; what ``read`` gives back.

    A mention without "cui" is written as CUI-less; ids of mentions are not written, since lines have none. The folder
    of a note follows the type at the end of its id, "other" where that is none. Without ``notes``, only annotations
    are written. DataError names the document and what the format cannot hold: another label or attribute, links,
    the same mention twice.
    """
    share_notes.write(
        folder / CORPUS / "data",
        split,
        documents,
        home=_note_type,
        complete=_complete,
        line=_lines,
        parse=_mentions,
        notes=notes,
    )


def _clef(folder: Path, log: Log) -> dict[str, list[Path]]:
    """Split -> its files; the files of annotations may lie where no name tells the split, that of the note tells it."""
    paths = [path for path in share_notes.files(folder) if share_notes.stem(path, *_CLEF)[1]]
    if not log.unlabelled and not any(path.name.endswith(_CLEF[1]) for path in paths):
        return {}
    own = {path: _split(path.relative_to(folder).parts[:-1]) for path in paths}
    splits: dict[str, list[Path]] = {split: [] for split in share_notes.FOLDERS}
    if not any(own.values()):
        return {}
    by_stem = {share_notes.stem(path, *_CLEF)[0]: split for path, split in own.items() if split}
    for path, split in own.items():
        stem, ending = share_notes.stem(path, *_CLEF)
        if split := split or by_stem.get(stem, ""):
            splits[split].append(path)
        elif ending == _CLEF[1]:  # any other .txt may be a file to read first, not a note
            log.skipped(path, "the whole file", "is in no folder with train or test in its name, nor is its note")
    return splits


def _split(folders: tuple[str, ...]) -> str:
    for name in reversed(folders):
        train, test = "train" in name.lower(), "test" in name.lower()
        if train != test:
            return "train" if train else "dev"
    return ""


def _mentions(stem: str, text: str, content: str, path: Path, log: Log) -> tuple[Mention, ...]:
    mentions: dict[tuple[tuple[Span, ...], str], Mention] = {}
    for number, line in share_notes.lines(content):
        where = f"line {number}"
        try:
            name, label, cui, pieces = _parse(line, text)
            key = pieces, cui or NO_CUI
            if first := mentions.get(key):
                raise DataError(f"repeats line {first.id}")
        except DataError as error:
            log.skipped(path, where, str(error))
            continue
        if problem := share_notes.wrong_name(name, stem):
            log.repaired(path, where, problem)
        if label != LABEL:
            log.repaired(path, where, f"found the type {label!r}, expected {LABEL!r}")
        if not cui:
            log.repaired(path, where, f"found no CUI, expected one or {NO_CUI!r}")
        mentions[key] = Mention(id=str(number), label=LABEL, pieces=pieces, attributes=(("cui", key[1]),))
    return tuple(mentions.values())


def _parse(line: str, text: str) -> tuple[str, str, str, tuple[Span, ...]]:
    fields = [field.strip() for field in line.split("||")]
    if len(fields) < 5:
        raise DataError(f"found {len(fields)} fields, expected document, type, CUI and at least two offsets")
    name, label, cui, *offsets = fields
    if label.lower() != LABEL.lower():
        raise DataError(f"found the type {label!r}, expected {LABEL!r}")
    if "|" in cui:
        raise DataError(f"found the CUI {cui!r}, expected none with a bar")
    if len(offsets) % 2:
        raise DataError(f"found {len(offsets)} offsets, expected an even number")
    if wrong := [offset for offset in offsets if not _OFFSET.fullmatch(offset)]:
        raise DataError(f"found the offset {wrong[0]!r}, expected a whole number")
    pieces = tuple(zip(map(int, offsets[::2]), map(int, offsets[1::2]), strict=True))
    if not fits(pieces, text):
        raise DataError(f"found the pieces {list(pieces)}, expected stretches of a text of {len(text)} characters")
    return name, label, cui, pieces


def _complete(mention: Mention) -> Mention:
    if strange := [name for name, _ in mention.attributes if name != "cui"]:
        raise DataError(f"the mention {mention.id!r} has the attribute {strange[0]!r}, expected 'cui' alone")
    return mention if mention.attributes else attrs.evolve(mention, attributes=(("cui", NO_CUI),))


def _lines(stem: str, mention: Mention) -> Iterator[str]:
    offsets = (str(offset) for piece in mention.pieces for offset in piece)
    yield "||".join((f"{stem}.txt", mention.label, mention["cui"] or "", *offsets))


def _note_type(stem: str) -> str:
    return next((folder for kind, folder in _NOTE_TYPES.items() if stem.endswith(kind)), "other")
