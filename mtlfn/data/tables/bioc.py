"""BioC, in XML and in JSON: collections of documents of passages, with annotations and relations.

Both are read as the same tree; the first character of a file says which it is. The library of that name
(https://pypi.org/project/bioc, 2.1) is not used: it takes offsets as they are, fails without a place in the file, and
its XML is only as safe as the release of lxml that it finds.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from attrs import evolve

from mtlfn.data import files as bounded
from mtlfn.data.document import Document, Log
from mtlfn.data.example import DataError, short
from mtlfn.data.semeval.formats import xml_file
from mtlfn.data.tables.documents import Annotation, Relation, Tally, document, laid, mismatch, tables
from mtlfn.data.tables.mapping import Mapping
from mtlfn.data.tables.table import Place, Table, place_of

Tree = dict[str, Any]
NUMBER = re.compile("[0-9]{1,12}")
TYPE = "type"  # the infon that is the label
HEAD, TAIL = {"arg1", "head", "subject", "source"}, {"arg2", "tail", "object", "target"}  # roles that say an order
# element of XML -> the list of JSON that holds its like
LISTS = {
    "document": "documents",
    "passage": "passages",
    "sentence": "sentences",
    "annotation": "annotations",
    "relation": "relations",
    "location": "locations",
    "node": "nodes",
}
TEXTS = ("id", "offset", "text")
ATTRIBUTES = ("id", "offset", "length", "refid", "role")
DEPTH = 6  # of elements, from the collection to the locations


def read_bioc(name: str, mapping: Mapping, path: Path, files: dict[str, list[Path]]) -> dict[Any, Table]:
    """Collections; passages lie at their offsets in the document. See ``documents``."""
    splits = {split: (place_of(split, several), partial(read_documents, several)) for split, several in files.items()}
    return tables(name, mapping, "BioC", splits)


def read_documents(several: list[Path], tally: Tally) -> Iterator[tuple[Place, Document]]:
    for path in several:
        for number, tree in enumerate(_trees(path)):
            try:
                name = _string(tree, "id", f"{path}, document {number} (from 0)")
                whole = _document(tree, name, f"{path}, document {short(name)}", tally)
            except DataError as error:
                tally.unusable(str(error))
                continue
            yield f"{path.name}, document {short(name)}", whole


def _document(tree: Tree, name: str, place: Place, tally: Tally) -> Document:
    parts: list[tuple[int, str]] = []
    holders = [(tree, 0)]  # of annotations and relations, each with its offset
    for passage in _items(tree, "passages", place):
        sentences = _items(passage, "sentences", place)
        holders += [(part, _whole(part, "offset", place)) for part in (passage, *sentences)]
        shown = [passage] if passage.get("text") or not sentences else sentences  # sentences repeat what both have
        parts += [(_whole(each, "offset", place), _string({"text": "", **each}, "text", place)) for each in shown]
    try:
        text, borders = laid(parts)
    except DataError as error:
        raise DataError(f"{place}: {error}") from None
    others: set[str] = set()
    annotations: list[tuple[Annotation, int]] = []
    relations: list[Relation] = []
    for holder, offset in holders:
        for each in _items(holder, "annotations", place):
            key = _string(each, "id", place) if each.get("id") is not None else f"annotation {len(annotations)}"
            label = _type(each, place)
            if label is None:
                others.add(key)
                tally.count("annotations without a type left out")
                continue
            annotations.append((_annotation(each, key, label, f"{place}, annotation {short(key)}"), offset))
        for each in _items(holder, "relations", place):
            key = _string(each, "id", place) if each.get("id") is not None else f"relation {len(relations)}"
            others.add(key)
            label = _type(each, place)
            if label is None:
                tally.count("relations without a type left out")
                continue
            relations.append(_relation(each, label, f"{place}, relation {short(key)}"))
    return document(name, text, _counted_from_text(annotations, text, tally), relations, others, tally, borders)


def _annotation(tree: Tree, key: str, label: str, place: Place) -> Annotation:
    locations = _items(tree, "locations", place)
    starts = [(_whole(each, "offset", place), _whole(each, "length", place)) for each in locations]
    text = None if tree.get("text") is None else _string(tree, "text", place)
    pieces = tuple((start, start + length) for start, length in starts)
    return Annotation(id=key, label=label, pieces=pieces, text=text, place=place)


def _relation(tree: Tree, label: str, place: Place) -> Relation:
    """Head and tail in the order of the nodes, unless their roles say the other one."""
    nodes = _items(tree, "nodes", place)
    ends = tuple(_string(node, "refid", place) for node in nodes)
    roles = [str(node.get("role")).lower() for node in nodes]
    turned = len(roles) == 2 and roles[0] in TAIL and roles[1] in HEAD
    return Relation(label=label, ends=ends[::-1] if turned else ends, place=place)


def _counted_from_text(annotations: list[tuple[Annotation, int]], text: str, tally: Tally) -> list[Annotation]:
    """With offsets in the document: some files count from the passage, which what the annotations say to be shows."""
    as_they_are = [each for each, _ in annotations]
    if not any(mismatch(each, text) for each in as_they_are):
        return as_they_are
    moved = [
        evolve(each, pieces=tuple((start + offset, end + offset) for start, end in each.pieces))
        for each, offset in annotations
    ]
    if any(mismatch(each, text) for each in moved):
        return as_they_are
    tally.count("documents whose offsets count from the passage")
    return moved


# Trees


def _trees(path: Path) -> Iterator[Tree]:
    """The documents of a file."""
    content = path.read_bytes()
    start = content.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    if start and start in b"{[":
        yield from _in_json(bounded.value(content, path, "BioC as JSON"), str(path))
        return
    root = xml_file.parse(path, Log(strict=True), outside=True)  # BioC.dtd, in most files
    if root is None or root.tag != "collection":
        raise DataError(f"{path}: found the element {root.tag if root is not None else None!r}, expected collection")
    yield from _tree(root, DEPTH).get("documents", [])


def _in_json(value: Any, place: Place) -> Iterator[Tree]:
    """The documents of a collection, of a list of collections or documents, or of PubTator's export."""
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict) and "passages" in each:
            yield each
        elif isinstance(each, dict) and (key := next((k for k in ("documents", "PubTator3") if k in each), None)):
            yield from _items(each, key, place)
        else:
            raise DataError(f"{place}: found {short(each)}, expected a collection of BioC, an object with documents")


def _tree(element: Element, depth: int) -> Tree:
    """What JSON has for an element of XML."""
    out: Tree = {key: element.attrib[key] for key in ATTRIBUTES if key in element.attrib}
    for child in element:
        if child.tag in LISTS and depth:
            out.setdefault(LISTS[child.tag], []).append(_tree(child, depth - 1))
        elif child.tag in TEXTS:
            out[child.tag] = "".join(child.itertext())
        elif child.tag == "infon":
            out.setdefault("infons", {})[child.get("key")] = "".join(child.itertext())
    return out


def _items(tree: Tree, key: str, place: Place) -> list[Tree]:
    value = tree.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise DataError(f"{place}: found {short(value)} for {key}, expected a list of objects")
    return value


def _string(tree: Tree, key: str, place: Place) -> str:
    value = tree.get(key)
    if isinstance(value, str) or (type(value) is int and abs(value) < 10**18):
        return str(value)
    raise DataError(f"{place}: found {short(value)} for {key}, expected a string")


def _whole(tree: Tree, key: str, place: Place) -> int:
    value = tree.get(key)
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
        return int(value.strip())
    if type(value) is int and 0 <= value < 10**12:
        return value
    raise DataError(f"{place}: found {short(value)} for {key}, expected a whole number from 0")


def _type(tree: Tree, place: Place) -> str | None:
    """The label; None where there is none."""
    infons = tree.get("infons")
    if infons is not None and not isinstance(infons, dict):
        raise DataError(f"{place}: found {short(infons)} for infons, expected an object")
    label = infons.get(TYPE) if infons else None
    return label if isinstance(label, str) and label else None
