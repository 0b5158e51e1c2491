"""What lies in a folder or file: its format, its splits, and the tasks that they show."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from mtlfn.data import files
from mtlfn.data.document import Document
from mtlfn.data.example import DataError
from mtlfn.data.tables import bigbio, bioc, brat, conll, library, lines, sources
from mtlfn.data.tables.documents import Tally
from mtlfn.data.tables.library import rows_of
from mtlfn.data.tables.mapping import Mapping as TaskMapping
from mtlfn.data.tables.reading import DEV_NAMES
from mtlfn.data.tables.rows import class_names
from mtlfn.data.tables.tags import LIKE
from mtlfn.data.windows import hull, words
from mtlfn.run.draft.columns import Column, Draft, draft, scheme, tag_types

ROWS = 100_000  # of the training split that are looked at
NEGATIVE = ("none", "no_relation")  # what the class without a relation is called, whichever is free
UNPROMISING = (".txt", ".tsv", ".dat", ".data")  # endings that files of CoNLL columns have, too
PLURAL = ("labels", "classes", "categories", "topics", "codes")
PROBE = TaskMapping(source="", kind="regression", level=2)  # reads lines as they are: no column is a list


@frozen(kw_only=True)
class Source:
    """What lies somewhere: its format, the split that each of train, dev and test is (None where there is none), and
    its tasks, each with what its name gets behind that of the source."""

    form: str
    splits: Mapping[str, str | None]
    drafts: Sequence[tuple[str, Draft]]


def look(name: str, path: Path) -> Source:
    """What lies at a path; DataError where it is of no known format, or shows no task.

    Args:
        name: what errors call it.
    """
    form = _form(name, path)
    if form == "disk":
        tables = library.load_disk(name, path)
        if not isinstance(tables, dict):
            raise DataError(f"{path}: holds one table, expected named splits; save a datasets.DatasetDict with train")
        return _library(path, tables)
    several = sources.files_of(path, form, name)
    if form == "parquet":
        return evolve(_library(path, library.load_parquet(name, path, several)), form=form)
    splits = _splits(list(several), path)
    train = several[str(splits["train"])]
    if form in ("brat", "bioc"):
        read = brat.read_documents if form == "brat" else bioc.read_documents
        drafts = _of_documents((whole for _, whole in read(train, Tally({}))), path)
    elif form == "conll":
        drafts = [("", _of_conll(train))]
    else:
        reader = {"jsonl": lines.read_jsonl, "csv": lines.read_csv, "tsv": lines.read_tsv}[form]
        rows = [row for _, row in itertools.islice(reader(name, PROBE, path, {"train": train})["train"].rows(), ROWS)]
        columns, separator = _of_rows(rows, form != "jsonl")
        drafts = [("", evolve(_drafted(columns, path), separator=separator))]
    return Source(form=form, splits=splits, drafts=drafts)


def _form(name: str, path: Path) -> str:
    """The format: what the endings say, unless what is in the files says that it is another one."""
    there = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file() and p.name[0] != ".")
    if there and all(p.name.endswith(".json") for p in there) and _is_bioc(there[0]):
        return "bioc"
    try:
        form = sources.format_of(path, name)
    except DataError:
        if there and all(p.name.endswith(UNPROMISING) for p in there) and is_conll(there[0]):
            return "conll"
        raise
    return "conll" if form == "tsv" and is_conll(there[0]) else form


def _is_bioc(path: Path) -> bool:
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, dict) and bool({"documents", "passages", "PubTator3"} & first.keys())


def is_conll(path: Path) -> bool:
    """Whether a file has columns of equal number, blank lines between sentences, and tags in the last one."""
    try:
        rows = [row for _, row in itertools.islice(conll.sentences(path, 0, -1), 50)]
    except DataError:
        return False
    tags = [tag for row in rows for tag in row["tags"]]
    return len(rows) > 1 and "O" in tags


def _splits(names: Sequence[Any], path: Path) -> dict[str, str | None]:
    """Which split is train, dev and test. DataError where none can be train."""
    usual = ("train", "training")
    train = next((n for n in usual if n in names), names[0] if len(names) == 1 else None)
    if train is None:
        shown = ", ".join(map(str, names))
        raise DataError(f"{path}: has the splits {shown}, expected one called train; rename one, or write splits")
    dev = next((n for n in DEV_NAMES if n in names and n != train), None)
    return {"train": train, "dev": dev, "test": "test" if "test" in names and train != "test" else None}


# Rows


def _drafted(columns: Sequence[Column], path: Path) -> Draft:
    if (drafted := draft(columns)) is None:
        shown = ", ".join(c.name for c in columns) or "none"
        raise DataError(
            f"{path}: its columns ({shown}) show no kind of task; write a [task.NAME] with kind and columns yourself"
        )
    return drafted


def _of_rows(rows: Sequence[Mapping[str, Any]], strings: bool) -> tuple[list[Column], str | None]:
    """The columns of rows, and what separates the parts of lists where fields are strings that hold some."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    usual = [name for name in names if sum(name in row for row in rows) * 10 >= len(rows) * 9]  # some rows are bad
    columns = [Column(name=name, values=[row.get(name) for row in rows]) for name in usual]
    return _separated([_parsed(c) for c in columns]) if strings else (columns, None)


def _parsed(column: Column) -> Column:
    """Fields that are all JSON lists, as lists."""
    if not any(column.values) or any(value and value.lstrip()[:1] != "[" for value in column.values):
        return column
    try:
        return evolve(column, values=[files.parse(value) if value else [] for value in column.values])
    except (ValueError, RecursionError):
        return column


def _separated(columns: list[Column]) -> tuple[list[Column], str | None]:
    """A column that is called labels or the like, whose fields hold several, as lists; and what separates them."""
    for number, column in enumerate(columns):
        if column.name.lower() in PLURAL and column.all(lambda value: isinstance(value, str)):
            for sign in (";", "|", ","):
                if any(sign in value for value in column.values):
                    parts = [[p.strip() for p in value.split(sign)] if value.strip() else [] for value in column.values]
                    return [*columns[:number], evolve(column, values=parts), *columns[number + 1 :]], sign
    return columns, None


def _library(path: Path, tables: Mapping[Any, Any]) -> Source:
    """The tables of `datasets`: a schema of BigBIO, or columns."""
    splits = _splits(list(tables), path)
    train = tables[splits["train"]].with_format(None)
    shown = set(train.column_names)
    if fitting := [form for form, schema in bigbio.SCHEMAS.items() if set(schema.columns) <= shown]:
        if fitting[0] == "kb":
            documents = (whole for _, whole in bigbio.read_documents(str(path), train, Tally({})))
            return Source(form="bigbio", splits=splits, drafts=_of_documents(documents, path))
        if {"id", "document_id"} <= shown:
            rows = [row for _, row in itertools.islice(rows_of(train, str(path)), ROWS)]
            return Source(form="bigbio", splits=splits, drafts=[("", _of_bigbio(fitting[0], train, rows, path))])
    flat = train.flatten()
    rows = [row for _, row in itertools.islice(rows_of(flat, str(path)), ROWS)]
    columns = [
        Column(name=name, values=[row[name] for row in rows], classes=class_names(flat.features[name]))
        for name in flat.column_names
    ]
    return Source(form="disk", splits=splits, drafts=[("", _drafted(columns, path))])


def _of_bigbio(form: str, table: Any, rows: Sequence[Mapping[str, Any]], path: Path) -> Draft:
    """The task of a schema that is no ``kb``: its columns are drafted from by the roles that they play."""
    schema = bigbio.SCHEMAS[form]
    if form == "qa":
        return Draft(kind="ranking")
    if form == "text":
        values = [row["labels"] for row in rows]
        labels = tuple(sorted({label for value in values for label in value}))
        return Draft(kind="classification" if all(len(v) == 1 for v in values) else "multilabel", labels=labels)
    columns = [
        Column(name=name, values=[row[name] for row in rows], classes=class_names(table.features[name]))
        for name in schema.columns
    ]
    return evolve(_drafted(columns, path), columns={})


# Files that say themselves what is what


def _of_conll(several: Sequence[Path]) -> Draft:
    """Words in the first column that is no number, tags in the last that has O."""
    if next(conll.sentences(several[0], 0, -1), None) is None:
        raise DataError(f"{several[0]}: is empty, expected a word a line and its tag")
    tokens = conll.word_column(several[0])
    rows = [row for path in several for _, row in conll.sentences(path, tokens, -1)][:ROWS]
    sentences = [row["tags"] for row in rows]
    form = scheme(sentences)
    if not (labels := tag_types(sentences, form)):
        raise DataError(f"{several[0]}: has no tag but O in its last column, expected tags of entities there")
    others = _tagged(several[0], tokens + 1)
    return Draft(
        kind="tagging",
        labels=labels,
        tags=form,
        columns={"tokens": str(tokens), "tags": "-1"} if tokens else {},
        guesses={"labels": f"those of the last column; columns = {others[0]}"} if others else {},
    )


def _tagged(path: Path, first: int) -> list[str]:
    """The columns from ``first`` on, but the last one, whose tags have prefixes: what to write to have them."""

    def tags(number: int) -> list[list[str]]:
        return [row["tags"] for _, row in itertools.islice(conll.sentences(path, 0, number), 200)]

    out: list[str] = []
    last = tags(-1)
    with suppress(DataError):  # behind the last column
        for number in itertools.count(first):
            several = tags(number)
            flat = {tag for each in several for tag in each} - {"O"}
            if flat and several != last and all("-" in t and t.partition("-")[0] in LIKE for t in flat):
                shown = ", ".join(tag_types(several, None)[:6])
                out.append(f'{{ tokens = "{first - 1}", tags = "{number}" }} has tags, too ({shown})')
    return out


def _of_documents(documents: Iterator[Document], path: Path) -> list[tuple[str, Draft]]:
    """Mentions as tags where tags can hold them, else as spans; relations as a task of their own."""
    mentions: Counter[str] = Counter()
    links: Counter[str] = Counter()
    flat = True
    for document in itertools.islice(documents, ROWS):
        mentions.update(m.label for m in document.mentions)
        links.update(link.label for link in document.links if link.source != link.target)
        flat = flat and _taggable(document)
    if not mentions:
        raise DataError(f"{path}: no document of the training split has a mention; there is nothing to learn")
    guess = {
        "labels": f"{', '.join(f'{label} {n:,}' for label, n in mentions.most_common(12))}; take away what is none"
    }
    entities = Draft(kind="tagging" if flat else "spans", labels=tuple(sorted(mentions)), guesses=guess)
    if not links:
        return [("", entities)]
    negative = next(name for name in (*NEGATIVE, "no relation at all") if name not in links)
    guess = {"negative": "the class of two mentions that no relation joins"}
    relations = Draft(kind="relation", labels=(negative, *sorted(links)), negative=negative, guesses=guess)
    return [("_entities", entities), ("_relations", relations)]


def _taggable(document: Document) -> bool:
    """Whether one tag a word can say all mentions: whole words, one piece each, and none inside another."""
    places = words(document.text)
    starts, ends = {a for a, _ in places}, {b for _, b in places}
    last = 0
    for start, end in sorted(hull(mention.pieces) for mention in document.mentions):
        if start < last or start not in starts or end not in ends:
            return False
        last = end
    return all(len(mention.pieces) == 1 for mention in document.mentions)
