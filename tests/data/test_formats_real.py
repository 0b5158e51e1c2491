"""Real sets, written in other formats and read back: the examples are those of the JSON Lines, to the hash."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import datasets
import pytest
from attrs import asdict, evolve

from mtlfn.data.example import Example
from mtlfn.data.tables import jsonl, reading
from mtlfn.data.tables.mapping import Columns, Mapping
from mtlfn.data.windows import words

ROOT = os.environ.get("MTLFN_DATA_DIR", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ROOT, reason="MTLFN_DATA_DIR names no folder of real data sets"),
]
SPLITS = ("train", "dev", "test")
Rows = list[dict[str, Any]]


def rows_of(name: str, split: str) -> Rows:
    with gzip.open(Path(ROOT) / name / f"{split}.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    if name == "pubmedqa":  # whose second text is made of parts
        return [{**row, "context": " ".join(c["text"] for c in row.pop("contexts"))} for row in rows]
    return rows


def digest(examples: Iterable[Example], *, named: bool = True) -> str:
    """Of everything in the examples; without names, of texts and answers alone, as formats without ids give others."""
    out = hashlib.sha256()
    for example in examples:
        content = asdict(example) if named else asdict(evolve(example, id="", unit=""))
        out.update(json.dumps(content).encode() + b"\n")
    return out.hexdigest()


def as_jsonl(folder: Path, split: str, rows: Rows) -> None:
    (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def as_csv(folder: Path, split: str, rows: Rows) -> None:
    with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(flat := list(opened(rows[0])))
        writer.writerows([plain(opened(row)[name]) for name in flat] for row in rows)


def as_tsv(folder: Path, split: str, rows: Rows) -> None:
    flat = list(opened(rows[0]))
    lines = ["\t".join(flat), *("\t".join(plain(opened(row)[name]) for name in flat) for row in rows)]
    (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")


def as_parquet(folder: Path, split: str, rows: Rows) -> None:
    datasets.Dataset.from_list([opened(row) for row in rows]).to_parquet(str(folder / f"{split}.parquet"))


def as_disk(folder: Path, split: str, rows: Rows) -> None:
    """All splits, when the last one comes."""
    if split == SPLITS[-1]:
        tables = {s: datasets.Dataset.from_list(list(map(opened, rows_of(folder.name, s)))) for s in SPLITS}
        datasets.DatasetDict(tables).save_to_disk(str(folder))


def opened(row: dict[str, Any]) -> dict[str, Any]:
    """Without records: their fields by the names that a mapping has for them, less the dot, which a column may have."""
    inner = {f"{a}_{b}": v for a, value in row.items() if isinstance(value, dict) for b, v in value.items()}
    return {name: value for name, value in row.items() if not isinstance(value, dict)} | inner


def plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


TABLES: dict[str, Callable[[Path, str, Rows], None]] = {
    "jsonl": as_jsonl,
    "csv": as_csv,
    "tsv": as_tsv,
    "parquet": as_parquet,
    "disk": as_disk,
}
KEYS = {"id": "id"}
MAPPINGS = {
    "bc5cdr_disease": Mapping(
        source="", kind="tagging", level=1, labels=("Disease",), columns=Columns(tokens="tokens", tags="tags", **KEYS)
    ),
    "ddi": Mapping(
        source="",
        kind="relation",
        level=2,
        labels=("none", "mechanism", "effect", "advise", "int"),
        negative="none",
        columns=Columns(text="text", head="head_spans", tail="tail_spans", label="label", unit="doc_id", **KEYS),
    ),
    "hoc": Mapping(
        source="",
        kind="multilabel",
        level=2,
        labels=jsonl.SCHEMAS["hoc"].labels,
        columns=Columns(text="text", labels="labels", unit="doc_id", **KEYS),
    ),
    "pubmedqa": Mapping(
        source="",
        kind="classification",
        level=2,
        labels=("yes", "no", "maybe"),
        columns=Columns(text="question", text_pair="context", label="label", **KEYS),
    ),
}


@pytest.mark.parametrize("form", TABLES)
@pytest.mark.parametrize("name", MAPPINGS)
def test_tables_of_every_format_hold_the_same_examples(name: str, form: str, tmp_path: Path):
    theirs = jsonl.read(Path(ROOT) / name, name)
    mapping = MAPPINGS[name]
    if name == "ddi" and form == "jsonl":
        columns = evolve(mapping.columns, head="head.spans", tail="tail.spans")
        mapping = evolve(mapping, columns=columns)
    (tmp_path / name).mkdir()
    for split in SPLITS:
        TABLES[form](tmp_path / name, split, rows_of(name, split))
    mine = reading.read(name, evolve(mapping, source=name), tmp_path)
    for split in SPLITS:
        assert digest(mine[split]) == digest(theirs[split]), split


@pytest.mark.parametrize("scheme", ["IOB2", "BIOES", "IOB1"])
def test_conll_columns_hold_the_same_sentences(scheme: str, tmp_path: Path):
    theirs = jsonl.read(Path(ROOT) / "bc5cdr_disease", "bc5cdr_disease")
    (tmp_path / "words").mkdir()
    for split in SPLITS:
        sentences = [
            zip(row["tokens"], turned(row["tags"], scheme), strict=True) for row in rows_of("bc5cdr_disease", split)
        ]
        text = "\n".join("".join(f"{word}\tx\t{tag}\n" for word, tag in each) for each in sentences)
        (tmp_path / "words" / f"{split}.conll").write_text(text, encoding="utf-8", newline="")
    tags = "IOB1" if scheme == "IOB1" else None
    mapping = Mapping(source="words", kind="tagging", level=1, labels=("Disease",), tags=tags)
    mine = reading.read("words", mapping, tmp_path)
    for split in SPLITS:
        assert digest(mine[split], named=False) == digest(theirs[split], named=False), split


def turned(tags: list[str], scheme: str) -> list[str]:
    """IOB2 in another scheme."""
    out = []
    for i, tag in enumerate(tags):
        before, after = tags[i - 1] if i else "O", tags[i + 1] if i + 1 < len(tags) else "O"
        last = after != f"I-{tag[2:]}"
        if tag == "O" or scheme == "IOB2":
            out.append(tag)
        elif scheme == "BIOES":
            out.append({("B", True): "S", ("I", True): "E"}.get((tag[0], last), tag[0]) + tag[1:])
        else:
            beside = tag[0] == "B" and before[2:] == tag[2:] and before != "O"
            out.append(("B" if beside else "I") + tag[1:])
    return out


@pytest.mark.parametrize("form", ["brat", "bioc"])
def test_documents_hold_the_same_mentions(form: str, tmp_path: Path):
    """Each sentence as a document of its own, with its entities as mentions: what spans have is what tags say."""
    wanted: dict[str, list[tuple[str, list[Any]]]] = {}
    for split in ("train", "dev"):
        folder = tmp_path / "notes" / split
        folder.mkdir(parents=True)
        notes = []
        for number, example in enumerate(jsonl.read(Path(ROOT) / "bc5cdr_disease", "bc5cdr_disease")[split]):
            text = example.texts[0][0]
            mentions = [[text_at[0], text_at[1]] for text_at in entity_spans(example)]
            notes.append((f"n{number}", text, mentions))
        WRITE[form](folder, notes)
        wanted[split] = [(text, mentions) for _, text, mentions in notes if words(text)]
    mapping = Mapping(source="notes", format=form, kind="spans", level=1, labels=("Disease",))
    mine = reading.read("notes", mapping, tmp_path)
    for split in ("train", "dev"):
        read: dict[str, set[tuple[int, int]]] = {}
        for example in mine[split]:
            read.setdefault(example.unit, set()).update(pieces[0] for _, pieces in example.mentions)
        assert len(read) == len(wanted[split])
        assert sum(map(len, read.values())) == sum(len(mentions) for _, mentions in wanted[split])
        by_number = {int(unit.rpartition("/")[2][1:]): spans for unit, spans in read.items()}
        numbers = sorted(by_number)
        assert [sorted(map(list, by_number[n])) for n in numbers] == [m for _, m in wanted[split]]


def entity_spans(example: Example) -> list[tuple[int, int]]:
    from mtlfn.data.kinds.tagging import entities

    return [(example.words[a][0], example.words[b - 1][1]) for a, b, _ in sorted(entities(example.tags))]


def as_brat(folder: Path, notes: list[Any]) -> None:
    for name, text, mentions in notes:
        (folder / f"{name}.txt").write_text(text, encoding="utf-8", newline="")
        lines = [f"T{i}\tDisease {a} {b}\t{text[a:b]}\n" for i, (a, b) in enumerate(mentions, start=1)]
        (folder / f"{name}.ann").write_text("".join(lines), encoding="utf-8", newline="")


def as_bioc(folder: Path, notes: list[Any]) -> None:
    out = ["<collection>"]
    for name, text, mentions in notes:
        out.append(f"<document><id>{name}</id><passage><offset>0</offset><text>{escape(text)}</text>")
        out += [
            f'<annotation id="T{i}"><infon key="type">Disease</infon><location offset="{a}" length="{b - a}"/>'
            f"<text>{escape(text[a:b])}</text></annotation>"
            for i, (a, b) in enumerate(mentions)
        ]
        out.append("</passage></document>")
    (folder / "all.xml").write_text("\n".join([*out, "</collection>"]), encoding="utf-8")


WRITE = {"brat": as_brat, "bioc": as_bioc}
