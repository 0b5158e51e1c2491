"""What the two ShARe formats share: a note and the file with its annotations, one a line, are paired by stem.

``<corpus>/data/{train,devel,test}/<note type>/<stem>.text`` is the note, ``<stem>.pipe`` holds its annotations. The
writer reads back what it is about to write, so that nothing is written that a reader would understand otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Protocol

from attrs import frozen

from mtlfn.data.document import WITHOUT_NOTE, Document, Log, Mention, decode
from mtlfn.data.example import DataError
from mtlfn.data.files import bytes_of

FOLDERS = {"train": "train", "dev": "devel", "test": "test"}
NOTE, ANNOTATIONS = ".text", ".pipe"


class Parse(Protocol):
    """The mentions in the content of an annotation file; a problem is told to the log."""

    def __call__(self, stem: str, text: str, content: str, path: Path, log: Log) -> tuple[Mention, ...]: ...


@frozen(kw_only=True)
class Pair:
    """A note and the file with its annotations; None where there is none, and the log takes that."""

    stem: str
    note: Path
    annotations: Path | None


def official(folder: Path, corpus: str) -> dict[str, list[Path]]:
    """Split -> the files below its folder, where ``folder`` holds the corpus or is any folder inside it down to data.

    Empty where no split has a note or an annotation file.
    """
    for data in (folder / corpus / "data", folder / "data", folder):
        splits = {split: files(data / name) for split, name in FOLDERS.items()}
        if any(path.name.endswith((NOTE, ANNOTATIONS)) for paths in splits.values() for path in paths):
            return splits
    return {}


def looked_for(corpus: str) -> str:
    """What ``official`` looks for, for the message of an error."""
    names = ", ".join(f"{name}/" for name in FOLDERS.values())
    return f"files *{NOTE} and *{ANNOTATIONS} below {names} in {corpus}/data/, data/ or the folder itself"


def files(folder: Path) -> list[Path]:
    """All files below a folder, sorted; what is hidden is left out. Empty where there is no such folder."""
    visible = (path for path in folder.rglob("*") if not any(p.startswith(".") for p in path.relative_to(folder).parts))
    return sorted(path for path in visible if path.is_file())


def stem(path: Path, note: str, annotations: str) -> tuple[str, str]:
    """The stem and which of the two endings the name has; ("", "") for a name with neither."""
    for ending in (annotations, note):  # in this order, since a note may end in .txt and its annotations in .pipe.txt
        if path.name.endswith(ending):
            return path.name.removesuffix(ending), ending
    return "", ""


def pairs(paths: Iterable[Path], log: Log, note: str = NOTE, annotations: str = ANNOTATIONS) -> Iterator[Pair]:
    """Those files of a split that belong together, by stem. The log tells which has no partner or is a second one."""
    ends: dict[str, dict[str, Path]] = {}
    for path in paths:
        name, ending = stem(path, note, annotations)
        if not ending:
            continue
        first = ends.setdefault(name, {}).setdefault(ending, path)
        if first is not path:
            log.skipped(path, "the whole file", f"has the same name as {first}, expected one of a split")
    for name, both in sorted(ends.items()):
        if len(both) == 2:
            yield Pair(stem=name, note=both[note], annotations=both[annotations])
            continue
        ((ending, path),) = both.items()
        if log.unlabelled and ending == note:
            yield Pair(stem=name, note=path, annotations=None)
            continue
        kind, partner = ("a note", annotations) if ending == note else ("an annotation file", note)
        if ending == annotations:
            log.counted(WITHOUT_NOTE)
        log.skipped(path, "the whole file", f"is {kind} without {name}{partner}, expected both")


def documents(partners: Iterable[Pair], parse: Parse, log: Log) -> tuple[Document, ...]:
    """The documents of a split, in the order of the pairs."""
    out = []
    for pair in partners:
        text, mentions = decode(bytes_of(pair.note), pair.note, log), ()
        if pair.annotations is not None:
            marked = decode(bytes_of(pair.annotations), pair.annotations, log)
            mentions = parse(pair.stem, text, marked, pair.annotations, log)
        out.append(Document(id=pair.stem, text=text, mentions=mentions))
    return tuple(out)


def lines(content: str) -> Iterator[tuple[int, str]]:
    """Numbered from 1; blank lines are left out. Only a line feed ends a line (``splitlines`` splits at more)."""
    return ((number, line) for number, line in enumerate(content.split("\n"), 1) if line.strip())


def wrong_name(name: str, stem: str) -> str:
    """What is wrong with the name of the document in a line; empty where nothing is."""
    # Releases differ in which of the two they put there.
    if name in (f"{stem}.text", f"{stem}.txt"):
        return ""
    return f"found the document {name!r}, expected {stem + '.text'!r} or {stem + '.txt'!r}"


def write(
    data: Path,
    split: str,
    written: Iterable[Document],
    *,
    home: Callable[[str], str],
    complete: Callable[[Mention], Mention],
    line: Callable[[str, Mention], Iterable[str]],
    parse: Parse,
    notes: bool,
) -> None:
    """The documents below ``data/<split>``, in the order of their mentions; without ``notes``, annotations alone.

    Args:
        home: stem -> the folder of its note type.
        complete: a mention with every attribute of the format, in its order.
        line: (stem, complete mention) -> its lines.

    DataError names the document and what the format cannot hold; what was written before stays.
    """
    if split not in FOLDERS:
        raise DataError(f"the split is {split!r}, expected one of {', '.join(FOLDERS)}")
    before: set[str] = set()
    for document in written:
        try:
            if document.id in before:
                raise DataError("its id is also that of an earlier document")
            _check(document)
            folder = data / FOLDERS[split] / home(document.id)
            path = folder / f"{document.id}{ANNOTATIONS}"
            mentions = tuple(complete(mention) for mention in document.mentions)
            content = "".join(f"{row}\n" for mention in mentions for row in line(document.id, mention))
            _same(mentions, parse(document.id, document.text, content, path, Log(strict=True)))
            text, annotations = document.text.encode("utf-8"), content.encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError(
                f"the document {document.id!r} cannot be written: UTF-8 has no "
                f"{error.object[error.start]!r} (at {error.start})"
            ) from error
        except DataError as error:
            raise DataError(f"the document {document.id!r} cannot be written: {error}") from error
        before.add(document.id)
        folder.mkdir(parents=True, exist_ok=True)
        if notes:
            (folder / f"{document.id}{NOTE}").write_bytes(text)
        path.write_bytes(annotations)


def _check(document: Document) -> None:
    name = document.id
    if not name or not name.isprintable() or name.startswith(".") or Path(name).name != name:
        raise DataError("expected an id that can be the name of a file, not hidden and without folder")
    if document.links:
        raise DataError(f"it has {len(document.links)} links, expected none: the format holds mentions alone")


def _same(mentions: tuple[Mention, ...], read: tuple[Mention, ...]) -> None:
    for mention, other in zip_longest(mentions, read):
        if not (mention and other) or _parts(mention) != _parts(other):
            raise DataError(f"{mention} would be read back as {other}")


def _parts(mention: Mention) -> tuple[object, ...]:
    return mention.label, mention.pieces, mention.attributes
