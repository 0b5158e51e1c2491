"""SemEval-2016 Task 12, Clinical TempEval: a note and, apart from it, an Anafora file with its times, events and links.

``coloncancer/{Train,Dev,Test}/<doc>/<doc>`` is the note, ``<doc>.Temporal-Relation.gold.completed.xml`` beside it its
annotations; with ``Temporal-Entity`` in the place of ``Temporal-Relation``, links were not annotated.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from xml.etree.ElementTree import Element

from mtlfn.data.document import WITHOUT_NOTE, Document, Link, Log, Mention, decode, fits
from mtlfn.data.example import DataError, Span
from mtlfn.data.files import bytes_of
from mtlfn.data.semeval.formats import xml_file

CORPUS = "coloncancer"
FOLDERS = {"train": "Train", "dev": "Dev", "test": "Test"}
ENTITIES = ("EVENT", "TIMEX3", "DOCTIME", "SECTIONTIME")
RELATIONS = {"TLINK": ("Source", "Type", "Target"), "ALINK": ("Source", "Target", "Type")}  # properties in their order

_SPAN = re.compile(r"[0-9]{1,9},[0-9]{1,9}(;[0-9]{1,9},[0-9]{1,9})*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def read(folder: Path, log: Log) -> dict[str, tuple[Document, ...]]:
    """Train, dev and test, sorted by document id; a split without folder is empty.

    Args:
        folder: the one that holds ``coloncancer``, or ``coloncancer`` itself.

    A mention's label is its type, its attributes are the properties. A link's label is its type and the property
    Type: "TLINK:CONTAINS". Links of pathology notes (``_path`` in the name) and of files of Temporal-Entity are not
    annotated. Of several annotation files of a note, the first is read: Temporal-Relation before Temporal-Entity.
    DataError where there is none of the three folders.
    """
    corpus = folder / CORPUS if (folder / CORPUS).is_dir() else folder
    if not any((corpus / name).is_dir() for name in FOLDERS.values()):
        wanted = ", ".join(f"{name}/" for name in FOLDERS.values())
        raise DataError(f"{folder} holds none of {wanted} nor {CORPUS}/ with one of them; give the folder that does")
    return {split: tuple(_documents(corpus / name, log)) for split, name in FOLDERS.items()}


def write(folder: Path, split: str, documents: Iterable[Document], *, notes: bool = True) -> None:
    """The documents in the layout that ``read`` reads, below ``folder/coloncancer``.

    Attributes are written in their order. Without ``notes``, only annotations are written, named as the output of a
    system: ``<doc>.Temporal-Relation.system.completed.xml``. DataError names the document and what the format cannot
    hold; what was written before stays.
    """
    if split not in FOLDERS:
        raise DataError(f"the split is {split!r}, expected one of {', '.join(FOLDERS)}")
    written: set[str] = set()
    for document in documents:
        try:
            if document.id in written:
                raise DataError("its id is also that of an earlier document")
            _check_name(document.id)
            text = _note(document) if notes else b""
            annotations = _anafora(document)
        except DataError as error:
            raise DataError(f"the document {document.id!r} cannot be written: {error}") from error
        written.add(document.id)
        home = folder / CORPUS / FOLDERS[split] / document.id
        home.mkdir(parents=True, exist_ok=True)
        if notes:
            (home / document.id).write_bytes(text)
            kind = "Relation.gold" if document.linked else "Entity.gold"
        else:
            kind = "Relation.system"
        (home / f"{document.id}.Temporal-{kind}.completed.xml").write_bytes(annotations)


def _documents(folder: Path, log: Log) -> Iterator[Document]:
    homes = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    for home in sorted(homes, key=lambda path: path.name):
        if document := _document(home, log):
            yield document


def _document(home: Path, log: Log) -> Document | None:
    note = home / home.name
    files = sorted(
        (path for path in home.iterdir() if _is_annotation(path.name, home.name)),
        key=lambda path: (path.name[len(home.name) :].startswith(".Temporal-Entity."), path.name),
    )
    if not files and log.unlabelled and note.is_file():
        return Document(id=home.name, text=decode(bytes_of(note), note, log))
    if not files:
        log.skipped(home, "the folder", f"has no file {home.name}.Temporal-(Relation|Entity).gold.completed.xml")
        return None
    if not note.is_file():
        log.counted(WITHOUT_NOTE)
        log.skipped(files[0], "the note", f"expected it in {note}, which does not exist")
        return None
    file, *others = files
    for other in others:
        log.skipped(other, "the file", f"is a second annotation of the note; {file.name} is read")
    # An empty file is a note without annotations.
    data = xml_file.parse(file, log) if file.read_bytes().strip() else Element("data")
    if data is None:
        return None
    if data.tag != "data":
        log.skipped(file, f"element {data.tag}", "is the root, expected <data>")
        return None
    for where, what in _oddities(data):
        log.repaired(file, where, what)
    text = decode(bytes_of(note), note, log)
    linked = "_path" not in home.name and not file.name.startswith(f"{home.name}.Temporal-Entity.")
    mentions = tuple(_mentions(data, text, file, log))
    links = tuple(_links(data, {mention.id for mention in mentions}, linked, file, log))
    return Document(id=home.name, text=text, mentions=mentions, links=links, linked=linked)


def _is_annotation(name: str, document: str) -> bool:
    kinds = (f"{document}.Temporal-Relation.gold.", f"{document}.Temporal-Entity.gold.")
    return name.startswith(kinds) and name.endswith(".xml")


def _oddities(data: Element) -> Iterator[tuple[str, str]]:
    """Where and what: of a file that is read all the same."""
    progress = data.findtext("info/progress", "completed").strip()
    if progress != "completed":
        yield "element progress", f"is {progress!r}, expected 'completed'; the file is read as it is"
    for extra in data:
        if extra.tag not in ("info", "schema", "annotations"):
            yield f"element {extra.tag}", "is not looked at, expected none beside <annotations>"


def _elements(data: Element, tag: str, file: Path, log: Log) -> Iterator[tuple[str, str, str, Element]]:
    """Place, id and type of every element of that tag that has both; of elements with the same id, the first."""
    ids: set[str] = set()
    # Not data.iter: <adjudication> holds entities that are no gold.
    for number, element in enumerate(data.iterfind(f"annotations/{tag}"), 1):
        name, kind = element.findtext("id", ""), element.findtext("type", "")
        where = f"{tag} {name or number}"
        if not name or not kind:
            log.skipped(file, where, "has no <id> or no <type>")
        elif name in ids:
            log.skipped(file, where, f"has the id of an earlier {tag}")
        else:
            ids.add(name)
            yield where, name, kind, element


def _mentions(data: Element, text: str, file: Path, log: Log) -> Iterator[Mention]:
    for where, name, kind, entity in _elements(data, "entity", file, log):
        if kind not in ENTITIES:
            log.skipped(file, where, f"has the type {kind!r}, expected one of {', '.join(ENTITIES)}")
            continue
        span = entity.findtext("span", "").strip()
        pieces = _pieces(span)
        if not fits(pieces, text):
            expected = f"expected start,end[;start,end ...] in a text of {len(text)} characters"
            log.skipped(file, where, f"has the span {span[:60]!r}, {expected}")
            continue
        attributes = tuple(_properties(entity, where, file, log))
        if kind == "EVENT" and not attributes:
            log.repaired(file, where, "is an EVENT without properties; it is read without attributes")
        for extra in entity.iterfind("addition"):
            log.repaired(file, where, f"has an extra element <{extra.tag}>, which is not looked at")
        yield Mention(id=name, label=kind, pieces=pieces, attributes=attributes)


def _pieces(span: str) -> tuple[Span, ...]:
    if not _SPAN.fullmatch(span):
        return ()
    pairs = (piece.split(",") for piece in span.split(";"))
    return tuple((int(start), int(end)) for start, end in pairs)


def _properties(element: Element, where: str, file: Path, log: Log) -> Iterator[tuple[str, str]]:
    for value in element.iterfind("properties/*"):
        if len(value):
            log.skipped(file, where, f"has a property <{value.tag}> with elements inside, expected text")
        else:
            yield value.tag, value.text or ""


def _links(data: Element, mentions: set[str], linked: bool, file: Path, log: Log) -> Iterator[Link]:
    for where, name, kind, relation in _elements(data, "relation", file, log):
        values = dict(_properties(relation, where, file, log))
        source, target, relation_type = (values.get(key, "") for key in ("Source", "Target", "Type"))
        if not linked:
            log.skipped(file, where, "is in a note whose links were not annotated")
        elif kind not in RELATIONS:
            log.skipped(file, where, f"has the type {kind!r}, expected one of {', '.join(RELATIONS)}")
        elif not relation_type:
            log.skipped(file, where, "has no property Type")
        elif source not in mentions or target not in mentions:
            log.skipped(file, where, f"links {source!r} to {target!r}, expected the ids of two entities of the file")
        else:
            yield Link(id=name, label=f"{kind}:{relation_type}", source=source, target=target)


def _check_name(document: str) -> None:
    if document in ("", ".", "..") or not set("/\\\0").isdisjoint(document):
        raise DataError("its id is to name a folder and a file, and cannot")


def _note(document: Document) -> bytes:
    """The text of the note, where its annotations will be read back as what they are."""
    if "_path" in document.id and document.linked:
        raise DataError("it is a pathology note, whose links are not annotated; expected linked=False")
    if document.links and not document.linked:
        raise DataError(f"it has {len(document.links)} links and linked=False, expected one or the other")
    try:
        return document.text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(f"the character {document.text[error.start]!r} of its text is not UTF-8") from error


def _anafora(document: Document) -> bytes:
    ids = Counter(mention.id for mention in document.mentions)
    for name, count in (*ids.items(), *Counter(link.id for link in document.links).items()):
        if not name or count > 1:
            raise DataError(f"{count} of its mentions or links have the id {name!r}, expected one and an id not empty")
    entities = (_entity(mention, document.text) for mention in document.mentions)
    links = (_relation(link, ids) for link in document.links)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n\n<data>\n'
        "<info>\n  <savetime></savetime>\n  <progress>completed</progress>\n</info>\n\n"
        '<schema path="./" protocol="file">temporal.schema.xml</schema>\n\n'
        f"<annotations>\n{''.join(entities)}{''.join(links)}\n</annotations>\n</data>\n"
    ).encode()


def _entity(mention: Mention, text: str) -> str:
    if mention.label not in ENTITIES:
        raise DataError(f"{mention.id!r} has the label {mention.label!r}, expected one of {', '.join(ENTITIES)}")
    if not fits(mention.pieces, text):
        raise DataError(f"{mention.id!r} has the pieces {mention.pieces} in a text of {len(text)} characters")
    span = ";".join(f"{start},{end}" for start, end in mention.pieces)
    return _element("entity", mention.id, mention.label, "TemporalEntities", mention.attributes, span)


def _relation(link: Link, mentions: Mapping[str, int]) -> str:
    kind, _, relation_type = link.label.partition(":")
    if kind not in RELATIONS or not relation_type:
        raise DataError(f"{link.id!r} has the label {link.label!r}, expected one like TLINK:CONTAINS")
    if link.source not in mentions or link.target not in mentions:
        raise DataError(
            f"{link.id!r} links {link.source!r} to {link.target!r}, expected the ids of two of its mentions"
        )
    values = {"Source": link.source, "Target": link.target, "Type": relation_type}
    return _element("relation", link.id, kind, "TemporalRelations", [(key, values[key]) for key in RELATIONS[kind]])


def _element(
    tag: str, name: str, kind: str, parent: str, properties: Iterable[tuple[str, str]], span: str | None = None
) -> str:
    lines = [f"<id>{xml_file.escape(name)}</id>"]
    if span is not None:
        lines.append(f"<span>{span}</span>")
    lines += [f"<type>{kind}</type>", f"<parentsType>{parent}</parentsType>"]
    values = []
    for key, value in properties:
        if not _NAME.fullmatch(key):
            raise DataError(f"{name!r} has an attribute {key!r}, expected a name of Latin letters and digits")
        values.append(f"\t\t\t<{key}>{xml_file.escape(value)}</{key}>\n")
    lines.append("<properties>" + ("\n" + "".join(values) + "\t\t" if values else "") + "</properties>")
    return f"\n\t<{tag}>\n" + "".join(f"\t\t{line}\n" for line in lines) + f"\t</{tag}>\n"
