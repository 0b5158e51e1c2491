"""Whatever a table of lines holds, it is read, or refused with a DataError in time; a good one is read as written."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlfn.data.example import Example
from mtlfn.data.tables import jsonl, reading
from mtlfn.data.tables.mapping import Columns, Mapping, Splits
from tests.data.fuzz import FEW, MANY, Reader, files_of, fuzz, grafted, refused_at_most, within

LABELS = ("no", "yes", 'Größe, "a"')
BASE = Mapping(
    source="data",
    kind="classification",
    level=2,
    labels=LABELS,
    columns=Columns(text="text", text_pair="other", label="label"),
    splits=Splits(test=""),
)
TAGS = evolve(BASE, kind="tagging", level=1, labels=("D", "S"), columns=Columns(tokens="tokens", tags="tags"))
ROW: dict[str, Any] = {
    "text": 'Flu, "and" rash.',
    "other": "é漢🙂",
    "label": "yes",
    "tokens": ["no", "flu"],
    "tags": ["O", "B-D"],
    "labels": ["yes"],
    "n": 1.5,
    "head": [0, 3],
    "tail": {"spans": [[5, 10]]},
    "mentions": [{"label": "D", "spans": [[0, 3]]}],
    "query": "q",
    "candidates": ["a", "b c"],
    "relevance": [0, 1],
}
MAPPINGS = st.builds(
    evolve,
    st.sampled_from(
        [
            BASE,
            TAGS,
            evolve(BASE, kind="multilabel", columns=Columns(text="text", labels="labels")),
            evolve(BASE, kind="multilabel", columns=Columns(text="text", labels="labels"), separator=";"),
            evolve(BASE, kind="regression", labels=(), columns=Columns(text="text", label="n")),
            evolve(BASE, kind="spans", level=1, labels=("D",), columns=Columns(text="text", mentions="mentions")),
            evolve(
                BASE,
                kind="relation",
                negative="no",
                columns=Columns(text="text", head="head", tail="tail.spans", label="label"),
            ),
            evolve(
                BASE,
                kind="ranking",
                labels=(),
                columns=Columns(query="query", candidates="candidates", relevance="relevance"),
            ),
        ]
    ),
    skip_unusable=st.booleans(),
)
PIECES = {
    "csv": [
        ",",
        '"',
        '""',
        "\n",
        "\r\n",
        "\r",
        ";",
        "\t",
        "text",
        "label",
        "[",
        '["D"]',
        "\ufeff",
        "\x00",
        "9" * 20,
        "9" * 5000,
        "NA",
    ],
    "jsonl": [
        "{",
        "}",
        "[",
        '"',
        ",",
        ":",
        "null",
        "\n",
        "\r",
        "1e999",
        "\\ud800",
        '"text":',
        "[" * 60,
        "9" * 400,
        "9" * 5000,
        "NaN",
        "\ufeff",
    ],
    "conll": [
        "\n",
        "\n\n",
        "\t",
        " ",
        "O",
        "B-",
        "I-D",
        "S-D",
        "-DOCSTART-",
        "# ",
        "\r\n",
        "\x0b",
        "\u2028",
        "E-D",
        "\ufeff",
    ],
}
CONLL = "-DOCSTART- O\n\nno O\nflu B-D\n\n# rash\nleft B-S\nknee E-S\n"
CONLLS = st.builds(
    evolve,
    st.just(evolve(TAGS, columns=Columns())),
    tags=st.sampled_from([None, "IOB1", "IO", "IOB2", "BIOES"]),
    skip_unusable=st.booleans(),
    columns=st.sampled_from([Columns(), Columns(tokens="1", tags="0"), Columns(tokens="0", tags="-3")]),
)


def delimited(rows: Sequence[dict[str, Any]], delimiter: str) -> str:
    """Written by the library; lists as JSON."""
    text = io.StringIO()
    quoting: Any = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
    writer = csv.DictWriter(
        text, list(rows[0]), delimiter=delimiter, quoting=quoting, quotechar=None if quoting else '"'
    )
    writer.writeheader()
    writer.writerows(
        {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in row.items()} for row in rows
    )
    return text.getvalue()


def readers(base: Path) -> dict[str, Reader]:
    any_bytes = st.binary(max_size=80)
    grafts = st.lists(grafted(ROW), min_size=1, max_size=2)
    good = {
        "csv": delimited([ROW], ","),
        "tsv": delimited([ROW], "\t"),
        "jsonl": json.dumps(ROW) + "\n",
        "json": json.dumps([ROW]),
        "conll": CONLL,
    }
    out = {}
    for name, text in good.items():
        folder, form = base / name, "jsonl" if name == "json" else name
        (folder / "data").mkdir(parents=True)
        for split in ("train", "dev"):
            (folder / f"data/{split}.{name}").write_text(text, encoding="utf-8", newline="")
        inputs = [within(text.encode(), PIECES.get(form, PIECES["csv"])), any_bytes]
        if form == "jsonl":
            inputs.append(
                grafts.map(
                    lambda rows, name=name: (
                        json.dumps(rows) if name == "json" else "\n".join(map(json.dumps, rows))
                    ).encode()
                )
            )
        mappings = CONLLS if form == "conll" else MAPPINGS
        out[name] = Reader(st.one_of(inputs), mappings, files_of([folder / f"data/train.{name}"], form, folder))
    return out


NAMES = ("csv", "tsv", "jsonl", "json", "conll")


@pytest.mark.parametrize("name", NAMES)
def test_every_table_is_read_or_refused(tmp_path: Path, name: str) -> None:
    fuzz(readers(tmp_path)[name], FEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_many_tables_are_read_or_refused(tmp_path: Path, name: str) -> None:
    fuzz(readers(tmp_path)[name], MANY)


NAMED: dict[str, dict[str, Any]] = {
    "bc5cdr_disease": {"id": "1", "tokens": ["no", "flu"], "tags": ["O", "B-Disease"]},
    "ddi": {
        **{"id": "1", "doc_id": "d", "text": "tea meets zinc", "label": "effect"},
        **{"head": {"spans": [[0, 3]]}, "tail": {"spans": [[10, 14]]}},
    },
    "hoc": {"id": "1", "doc_id": "d", "text": "cells", "labels": ["cellular energetics"]},
    "pubmedqa": {"id": "1", "question": "is it?", "contexts": [{"text": "it is"}], "label": "yes"},
}


def named(base: Path, name: str) -> Reader:
    """The reader of the sets whose columns are known."""
    base.mkdir(parents=True)
    line = json.dumps(NAMED[name]) + "\n"
    (base / "dev.jsonl").write_text(line)

    def read(content: bytes, _: None) -> None:
        (base / "train.jsonl").write_bytes(content)
        with refused_at_most():
            jsonl.read(base, name)

    changed = st.lists(grafted(NAMED[name]), min_size=1, max_size=2).map(
        lambda rows: "\n".join(map(json.dumps, rows)).encode()
    )
    inputs = st.one_of(changed, within(line.encode(), PIECES["jsonl"]), st.binary(max_size=60))
    return Reader(inputs, st.none(), read)


@pytest.mark.parametrize("name", NAMED)
def test_every_file_of_a_known_set_is_read_or_refused(tmp_path: Path, name: str) -> None:
    fuzz(named(tmp_path / name, name), FEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED)
def test_many_files_of_a_known_set_are_read_or_refused(tmp_path: Path, name: str) -> None:
    fuzz(named(tmp_path / name, name), MANY)


# What is good is read as it was written


PRINTED = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs"]), min_size=1, max_size=8),
    st.sampled_from(["a", "O", "B-D", "[", "NA", "1"]),
)
TEXT = st.lists(PRINTED, min_size=1, max_size=5).map(" ".join).filter(str.strip)
QUOTED = st.lists(st.one_of(PRINTED, st.sampled_from([",", '"', "\n", "\r\n", '""', ";"])), min_size=1, max_size=6).map(
    " ".join
)
ROWS = st.lists(
    st.tuples(QUOTED.filter(str.strip), QUOTED.filter(str.strip), st.sampled_from(LABELS)), min_size=1, max_size=5
)
WORD = PRINTED.filter(lambda word: not word.startswith(("-DOCSTART-", "#")))
SENTENCE = st.lists(st.tuples(WORD, st.sampled_from(["O", "B-D", "B-S"])), min_size=1, max_size=6)


def read_back(base: Path, name: str, text: str, mapping: Mapping) -> tuple[Example, ...]:
    (base / "data").mkdir(exist_ok=True)
    for split in ("train", "dev"):
        (base / f"data/{split}.{name}").write_text(text, encoding="utf-8", newline="")
    return reading.read("mine", mapping, base).train


@settings(max_examples=FEW, deadline=None)
@given(ROWS)
def test_tables_are_read_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, rows: Any) -> None:
    table = [{"text": a, "other": b, "label": label} for a, b, label in rows]
    plain = [row for row in table if not any(set("\r\n\t") & set(value) for value in row.values())]
    for name, part, text in (
        ("csv", table, delimited(table, ",")),
        ("tsv", plain, delimited(plain, "\t") if plain else ""),
        ("jsonl", table, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table)),
        ("json", table, json.dumps(table)),
    ):
        if part:
            read = read_back(tmp_path_factory.mktemp("rows"), name, text, BASE)
            assert [(*e.texts[0], *e.labels) for e in read] == [tuple(row.values()) for row in part], name


@settings(max_examples=FEW, deadline=None)
@given(st.lists(SENTENCE, min_size=1, max_size=5), st.sampled_from(["\t", " "]), st.sampled_from(["\n", "\r\n"]))
def test_columns_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, sentences: Any, between: str, end: str
) -> None:
    text = end.join("".join(f"{word}{between}{tag}{end}" for word, tag in each) for each in sentences)
    read = read_back(tmp_path_factory.mktemp("words"), "conll", text, evolve(TAGS, columns=Columns()))
    words = [[e.texts[0][0][a:b] for a, b in e.words] for e in read]
    assert words == [[word for word, _ in each] for each in sentences]
    assert [list(e.tags) for e in read] == [[tag for _, tag in each] for each in sentences]
