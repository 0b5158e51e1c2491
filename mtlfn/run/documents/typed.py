"""Documents as values of their classes: one writer and one reader for all of them.

A class names its file (``FILE``), and its fields are the document's, in the order in which they are written. A field
marked ``ABSENT`` is one that not every document has: None, and then not in the file. What a class does not know is
passed over, so that it reads what other versions wrote. Where a class names a field as ``WHOLE``, that field's mapping
is the document.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import attrs

from mtlfn.run import documents
from mtlfn.run.documents import Altered


class Document(Protocol):
    """A class of documents."""

    FILE: ClassVar[str]


D = TypeVar("D", bound=Document)
T = TypeVar("T")
ABSENT = {"absent": True}  # metadata of a field that is None where the document does not have it


def write(folder: Path, document: Document) -> None:
    """A document in its file."""
    documents.write(folder / document.FILE, content(document))


def encode(document: Document) -> bytes:
    """The bytes of the file."""
    return documents.encode(content(document))


def read(folder: Path, kind: type[D]) -> D:
    """The document of a folder.

    Raises:
        OSError: there is none.
        Altered: it is not what was written, or a field is missing or of another type; the message names the field.
    """
    return _document(documents.read(folder / kind.FILE), kind)


def decode(data: bytes, kind: type[D]) -> D:
    """The document in the bytes of a file; Altered as in ``read``."""
    return _document(documents.decode(data), kind)


def attempt(folder: Path, kind: type[D]) -> D | None:
    """The document of a folder; None where there is none that can be read."""
    try:
        return read(folder, kind)
    except (OSError, Altered):
        return None


def unlike(folder: Path, document: Document) -> list[str]:
    """The fields of a document, or of its file, that are not the same in both; none where the file cannot be read."""
    try:
        there = documents.read(folder / document.FILE)
    except (OSError, Altered):
        return []
    here = content(document)
    return [name for name in {**here, **there} if _words(there.get(name)) != _words(here.get(name))]


def _words(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def content(document: Any) -> dict[str, Any]:
    """What the file says: JSON, without its hash."""
    said = attrs.asdict(document, filter=lambda a, value: value is not None or a.metadata != ABSENT)
    whole = getattr(document, "WHOLE", "")
    return said[whole] if whole else said


def _document(table: Mapping[str, Any], kind: type[D]) -> D:
    whole = getattr(kind, "WHOLE", "")
    return structure({whole: table} if whole else table, kind)


def structure(table: Mapping[str, Any], kind: type[T]) -> T:
    """A JSON object as a value of a class; Altered names what is missing or of another type."""
    import cattrs

    try:
        return _converter().structure(table, kind)
    except cattrs.BaseValidationError as error:
        raise Altered("; ".join(map(_place, cattrs.transform_error(error, format_exception=_explain)))) from None


@cache
def _converter() -> Any:
    import cattrs

    converter = cattrs.Converter()
    for simple in (int, float, str, bool):
        converter.register_structure_hook(simple, _strict)
    return converter


def _strict(value: Any, kind: type) -> Any:
    if type(value) is kind or (kind is float and type(value) is int):
        return value
    raise ValueError(f"is {value!r}, expected {kind.__name__}")


def _explain(error: BaseException, kind: type | None) -> str:
    if isinstance(error, KeyError):
        return "is missing"
    if isinstance(error, ValueError) and error.args:
        return str(error.args[0])
    return f"is not what it should be, {getattr(kind, '__name__', kind)}"


def _place(problem: str) -> str:
    """cattrs' "what @ $.field" as "field what"."""
    what, _, place = problem.rpartition(" @ $")
    return f"{place.removeprefix('.')} {what}"
