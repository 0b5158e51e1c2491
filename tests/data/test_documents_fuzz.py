"""Whatever a file of documents holds, it is read, or refused with a DataError, and in time.

Random bytes, good files with bytes changed, and good trees with values changed. ``FUZZ=100000`` gives another number
of inputs a reader to the slow tests.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtlfn.data.example import DataError
from mtlfn.data.tables import bigbio, reading, sources
from mtlfn.data.tables.mapping import Mapping, Splits
from tests.data.test_documents import FLU, RASH, RELATIONS, SPANS, TAGS, as_xml, bioc_json, bioc_xml, brat, row, tree

MANY = int(os.environ.get("FUZZ", "2000"))
SECONDS = 10  # for one small input
KINDS = (SPANS, TAGS, RELATIONS)
MAPPINGS = st.builds(
    lambda kind, skip: evolve(kind, splits=Splits(test=""), skip_unusable=skip), st.sampled_from(KINDS), st.booleans()
)
PIECES = {
    "brat": ["T1", "T2", "E1\t", "R1\t", "\t", " ", ";", "\n", "\r\n", "Arg1:T1", "Arg2:T2", ":", "0 3;2 5", "9" * 20],
    "bioc": [
        *(
            "<annotation id='a'>",
            "</annotation>",
            "<text>",
            "</text>",
            "<passage>",
            "&x;",
            "&#0;",
            "&#13;",
            "<!--",
            "]]>",
        ),
        *("<![CDATA[", 'offset="5"', "<document>", "<id>", "<infon key='type'>", "<!DOCTYPE a [", "<node/>", "-1"),
    ],
    "json": [
        "null",
        "[]",
        "{}",
        '"',
        "1e9",
        "-1",
        '"offset":',
        '"text":',
        '"id":',
        "\\ud800",
        "[" * 50,
        "true",
        "9" * 20,
    ],
}
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 60),
    st.sampled_from(
        [10**12, 10**30, -(10**18), 0.5, float("nan"), "\ud800", "\x00", "type", [], {}, [[]], [None], {"id": []}]
    ),
    st.text(max_size=8),
)


def within(base: bytes, pieces: list[str]) -> st.SearchStrategy[bytes]:
    """The bytes with some of them taken out, put in or said twice."""
    edit = st.tuples(
        st.integers(0, len(base)),
        st.integers(0, 12),
        st.one_of(st.sampled_from([piece.encode() for piece in pieces]), st.binary(max_size=4), st.just(b"")),
        st.booleans(),
    )

    def changed(edits: list[tuple[int, int, bytes, bool]]) -> bytes:
        out = base
        for at, width, piece, twice in edits:
            out = out[:at] + piece + out[at if twice else at + width :]
        return out

    return st.lists(edit, max_size=6).map(changed)


@st.composite
def grafted(draw: st.DrawFn, whole: Any) -> Any:
    """A tree in which some values are others: junk, or another part of it."""
    whole = json.loads(json.dumps(whole))
    for _ in range(draw(st.integers(1, 3))):
        places = list(every(whole))
        holder, key = draw(st.sampled_from(places))
        value = draw(JUNK) if draw(st.booleans()) else (lambda other: other[0][other[1]])(draw(st.sampled_from(places)))
        holder[key] = json.loads(json.dumps(value))
    return whole


def every(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield tree, key
        yield from every(tree[key])


@contextlib.contextmanager
def refused_at_most() -> Iterator[None]:
    start = time.monotonic()
    with contextlib.suppress(DataError):
        yield
    assert time.monotonic() - start < SECONDS


@frozen
class Reader:
    """What a test gives it, and how that is read."""

    inputs: st.SearchStrategy[Any]
    read: Callable[[Any, Mapping], None]


def files_of(
    base: Path, write: Callable[[Path, list[Any]], None], form: str, target: str
) -> Callable[[Any, Mapping], None]:
    """A good dev split, and in training a good file and the one with the content (of brat: text, annotation)."""
    base = base / target.replace(" ", "-")
    write(base / "data/train", [RASH])
    write(base / "data/dev", [RASH])

    def read(content: Any, mapping: Mapping) -> None:
        for name, part in zip(target.split(), content if isinstance(content, tuple) else (content,), strict=True):
            (base / "data/train" / name).write_bytes(part)
        with refused_at_most():
            reading.read("mine", evolve(mapping, format=form), base)

    return read


class Stored:
    """As much of ``datasets.Dataset`` as a reader asks for; its values may be what Arrow would not hold."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows, self.column_names, self.features = rows, list(rows[0]), dict.fromkeys(rows[0])

    def with_format(self, _: None) -> list[dict[str, Any]]:
        return self.rows


def stored(rows: list[Any], mapping: Mapping) -> None:
    rows = [each for each in rows if isinstance(each, dict)] or [{"a": 1}]
    split = {"train": Stored([row(RASH), *rows]), "validation": Stored([row(RASH)])}
    if not {"passages", "entities"} <= rows[0].keys():
        split = {"train": Stored(rows), "validation": Stored(rows)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "tables", lambda name, mapping, base: bigbio.tables(name, mapping, split))
        with refused_at_most():
            reading.read("mine", mapping, Path("."))


LABELLED = st.sampled_from(
    [
        evolve(SPANS, kind="classification", level=2, labels=("no", "yes"), splits=Splits(test="")),
        evolve(SPANS, kind="multilabel", level=2, labels=("yes",), negative="no", splits=Splits(test="")),
        evolve(SPANS, kind="regression", level=2, labels=(), splits=Splits(test="")),
        evolve(SPANS, kind="ranking", level=2, labels=(), splits=Splits(test="")),
    ]
)
OTHERS = [
    {"id": "1", "document_id": "d", "text": "a b", "labels": ["yes"]},
    {"id": "1", "document_id": "d", "text_1": "a b", "text_2": "c", "label": "yes"},
    {"id": "1", "document_id": "d", "premise": "a b", "hypothesis": "c", "label": "1.5"},
    {"id": "1", "document_id": "d", "question": "a b", "context": "c", "choices": ["no", "yes"], "answer": ["yes"]},
]


def readers(base: Path) -> dict[str, Reader]:
    brat(base, [FLU])
    bioc_xml(base, [FLU])
    bioc_json(base, [FLU])
    text, annotation, xml, in_json = (
        (base / name).read_bytes() for name in ("n1.txt", "n1.ann", "all.xml", "all.json")
    )
    grafts = grafted({"documents": [tree(FLU)]}).map(lambda value: json.dumps(value).encode())
    elements = grafted([tree(FLU)]).map(lambda value: as_xml(value).encode(errors="replace"))
    any_bytes = st.binary(max_size=60)
    return {
        "brat": Reader(
            st.tuples(
                st.one_of(st.just(text), within(text, ["\r\n", "\ufeff", ". ", "é"]), any_bytes),
                st.one_of(within(annotation, PIECES["brat"]), any_bytes),
            ),
            files_of(base, brat, "brat", "x.txt x.ann"),
        ),
        "bioc": Reader(
            st.one_of(elements, within(xml, PIECES["bioc"]), any_bytes), files_of(base, bioc_xml, "bioc", "x.xml")
        ),
        "bioc in JSON": Reader(
            st.one_of(grafts, within(in_json, PIECES["json"]), any_bytes), files_of(base, bioc_json, "bioc", "x.json")
        ),
        "bigbio": Reader(st.lists(grafted(row(FLU)), min_size=1, max_size=2), stored),
        "bigbio, other schemas": Reader(
            st.sampled_from(OTHERS).flatmap(lambda each: st.lists(grafted(each), min_size=1, max_size=2)), stored
        ),
    }


NAMES = ("brat", "bioc", "bioc in JSON", "bigbio", "bigbio, other schemas")


def fuzz(base: Path, name: str, count: int) -> None:
    reader = readers(base)[name]

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(reader.inputs, LABELLED if "other" in name else MAPPINGS)
    def reads_or_refuses(content: Any, mapping: Mapping) -> None:
        reader.read(content, mapping)

    reads_or_refuses()


@pytest.mark.parametrize("name", NAMES)
def test_every_input_is_read_or_refused(tmp_path: Path, name: str) -> None:
    fuzz(tmp_path, name, 150)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_many_inputs_are_read_or_refused(tmp_path: Path, name: str) -> None:
    fuzz(tmp_path, name, MANY)
