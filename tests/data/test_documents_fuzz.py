"""Whatever a file of documents holds, it is read, or refused with a DataError, and in time.

Random bytes, good files with bytes changed, and good trees with values changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import strategies as st

from mtlfn.data.tables import bigbio, reading, sources
from mtlfn.data.tables.mapping import Mapping, Splits
from tests.data.fuzz import FEW, MANY, Reader, files_of, fuzz, grafted, refused_at_most, within
from tests.data.test_documents import FLU, RASH, RELATIONS, SPANS, TAGS, as_xml, bioc_json, bioc_xml, brat, row, tree

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


def folder_of(
    base: Path, write: Callable[[Path, list[Any]], None], form: str, target: str
) -> Callable[[Any, Mapping], None]:
    """A good dev split, and in training a good file and the one with the content (of brat: text, annotation)."""
    base = base / target.replace(" ", "-")
    write(base / "data/train", [RASH])
    write(base / "data/dev", [RASH])
    return files_of([base / "data/train" / name for name in target.split()], form, base)


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
            MAPPINGS,
            folder_of(base, brat, "brat", "x.txt x.ann"),
        ),
        "bioc": Reader(
            st.one_of(elements, within(xml, PIECES["bioc"]), any_bytes),
            MAPPINGS,
            folder_of(base, bioc_xml, "bioc", "x.xml"),
        ),
        "bioc in JSON": Reader(
            st.one_of(grafts, within(in_json, PIECES["json"]), any_bytes),
            MAPPINGS,
            folder_of(base, bioc_json, "bioc", "x.json"),
        ),
        "bigbio": Reader(st.lists(grafted(row(FLU)), min_size=1, max_size=2), MAPPINGS, stored),
        "bigbio, other schemas": Reader(
            st.sampled_from(OTHERS).flatmap(lambda each: st.lists(grafted(each), min_size=1, max_size=2)),
            LABELLED,
            stored,
        ),
    }


NAMES = ("brat", "bioc", "bioc in JSON", "bigbio", "bigbio, other schemas")


@pytest.mark.parametrize("name", NAMES)
def test_every_input_is_read_or_refused(tmp_path: Path, name: str) -> None:
    fuzz(readers(tmp_path)[name], FEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_many_inputs_are_read_or_refused(tmp_path: Path, name: str) -> None:
    fuzz(readers(tmp_path)[name], MANY)
