"""BigBIO's schemas (https://github.com/bigscience-workshop/biomedical, task_schemas.md), told apart by their columns.

``kb``: documents with entities and relations. ``text``: texts with labels. ``pairs`` and ``te``: two texts with a label
or a number. ``qa``: a question, its context, choices and answers. Labels that the mapping does not name are left out
and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from mtlfn.data.document import Document
from mtlfn.data.example import DataError, short
from mtlfn.data.kinds import KINDS
from mtlfn.data.tables import documents
from mtlfn.data.tables.documents import Annotation, Relation, Tally, document, expect_labels, laid
from mtlfn.data.tables.mapping import Mapping, split_name
from mtlfn.data.tables.rows import class_names
from mtlfn.data.tables.table import Place, Row, Table

if TYPE_CHECKING:
    import datasets

ABSENT = (None, "", "NULL")  # what stands for no document id
NO_CHOICE = "questions whose answers are no choice"


@frozen(kw_only=True)
class Schema:
    """A schema: the columns that show it, kind -> role -> the value in a row, and the column that holds labels."""

    columns: tuple[str, ...]
    kinds: dict[str, dict[str, Callable[[Row], Any]]] = field(factory=dict)
    gold: str = ""


def tables(name: str, mapping: Mapping, tables: Any) -> dict[Any, Table]:
    """Split -> table. DataError where the columns are those of no schema, or hold nothing of the kind.

    Args:
        tables: split -> ``datasets.Dataset``.
    """
    shown = next(iter(tables.values())).column_names
    fitting = [form for form, schema in SCHEMAS.items() if set(schema.columns) <= set(shown)]
    if not fitting:
        raise DataError(
            f"task {name}: {mapping.source} has the columns {', '.join(shown)}, expected a schema of BigBIO "
            f"({', '.join(SCHEMAS)}); leave format out and name its columns"
        )
    form = fitting[0]
    for split, table in tables.items():
        if missing := set(SCHEMAS[form].columns) - set(table.column_names):
            raise DataError(f"task {name}: split {split} of {mapping.source} lacks the column {min(missing)!r}")
    if form == "kb":
        splits = {
            split: (f"split {split}", partial(read_documents, f"task {name}, split {split}", table))
            for split, table in tables.items()
        }
        return documents.tables(name, mapping, "BigBIO's schema kb", splits)
    if mapping.kind not in SCHEMAS[form].kinds:
        raise DataError(
            f"task {name}: the kind is {mapping.kind!r}, and BigBIO's schema {form} holds "
            f"{', '.join(SCHEMAS[form].kinds)}; correct kind, or name another subset"
        )
    train = split_name(mapping.splits.train)
    out = {}
    for split, table in tables.items():
        rows = _Labelled(name, f"split {split}", SCHEMAS[form], mapping, table, split == train)
        names = {KINDS[mapping.kind].gold: class_names(table.features[SCHEMAS[form].gold])}
        out[split] = Table(place=rows.place, rows=rows.rows, names=names, by_role=True, notes=rows.notes)
    return out


# Documents


def read_documents(place: Place, table: datasets.Dataset, tally: Tally) -> Iterator[tuple[Place, Document]]:
    for number, row in enumerate(table.with_format(None)):
        try:
            whole = _document(dict(row), f"{place}, row {number}", tally)
        except DataError as error:
            tally.unusable(str(error))
            continue
        yield f"row {number}", whole


def _document(row: Row, place: Place, tally: Tally) -> Document:
    name = row["document_id"] if row.get("document_id") not in ABSENT else row.get("id")
    try:
        text, borders = laid(part for passage in _records(row, "passages") for part in _parts(passage))
        annotations = [
            Annotation(
                id=_string(each, "id"),
                label=_string(each, "type"),
                pieces=tuple(_offsets(each)),
                text=" ".join(_texts(each)),
                place=f"{place}, entity {short(each['id'])}",
            )
            for each in _records(row, "entities")
        ]
        relations = [
            Relation(
                label=_string(each, "type"),
                ends=(_string(each, "arg1_id"), _string(each, "arg2_id")),
                place=f"{place}, relation {short(each.get('id'))}",
            )
            for each in _records(row, "relations")
        ]
        others = {_string(each, "id") for key in ("events", "coreferences") for each in _records(row, key)}
        return document(_string({"id": name}, "id"), text, annotations, relations, others, tally, borders)
    except DataError as error:
        raise DataError(str(error) if place in str(error) else f"{place}: {error}") from None


def _records(row: Row, key: str) -> list[Row]:
    """A list of records, which older tables hold as a record of lists."""
    value = row.get(key)
    if isinstance(value, dict) and all(isinstance(column, list) for column in value.values()):
        lengths = {len(column) for column in value.values()}
        if len(lengths) <= 1:
            return [dict(zip(value, each, strict=True)) for each in zip(*value.values(), strict=True)]
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise DataError(f"found {short(value)} for {key}, expected a list of records")
    return value


def _parts(passage: Row) -> list[tuple[int, str]]:
    offsets, texts = _offsets(passage), _texts(passage)
    if len(offsets) != len(texts):
        raise DataError(f"found {len(texts)} texts for {len(offsets)} offsets of a passage, expected as many")
    return [(start, text) for (start, _), text in zip(offsets, texts, strict=True)]


def _offsets(record: Row) -> list[tuple[int, int]]:
    value = record.get("offsets")
    if not isinstance(value, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(type(at) is int and at >= 0 for at in pair) for pair in value
    ):
        raise DataError(f"found {short(value)} for offsets, expected a list of [start, end]")
    return [(start, end) for start, end in value]


def _texts(record: Row) -> list[str]:
    value = record.get("text")
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise DataError(f"found {short(value)} for text, expected a list of strings")
    return value


def _string(record: Row, key: str) -> str:
    if not isinstance(value := record.get(key), str):
        raise DataError(f"found {short(value)} for {key}, expected a string")
    return value


# Texts with labels


@frozen
class _Labelled:
    """A split whose rows are examples."""

    name: str  # of the task
    place: Place
    schema: Schema
    mapping: Mapping
    table: datasets.Dataset
    trained: bool
    notes: dict[str, int] = field(factory=dict)

    def rows(self) -> Iterator[tuple[Place, Row]]:
        """Rows by role with their places. DataError where nothing in the training split has a label asked for."""
        self.notes.clear()
        tally = Tally(self.notes, self.mapping.skip_unusable)
        seen: Counter[str] = Counter()
        labels = {*self.mapping.labels, self.mapping.negative}
        for number, row in enumerate(map(dict, self.table.with_format(None))):
            roles = {role: value(row) for role, value in self.schema.kinds[self.mapping.kind].items()} | _names(row)
            gold = KINDS[self.mapping.kind].gold
            if self.mapping.labels and (values := [v for v in _list(roles[gold]) if isinstance(v, str)]):
                seen.update(values)
                rest = [value for value in values if value in labels]
                for _ in values[len(rest) :]:
                    tally.count("labels that are not asked for left out")
                if not rest and not KINDS[self.mapping.kind].none_is_an_answer:
                    continue
                roles[gold] = rest
            if False in (relevance := roles.get("relevance", [])) and True not in relevance:
                tally.count(NO_CHOICE)
            yield f"row {number}", roles
        if self.trained and self.mapping.labels and seen:
            expect_labels(self.name, self.place, labels - {None}, seen)


def _names(row: Row) -> Row:
    """The id, and as unit the document, where they are given."""
    unit = row.get("document_id")
    return {"id": row["id"]} | ({"unit": unit} if unit not in ABSENT else {}) if "id" in row else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _query(row: Row) -> Any:
    return row["question"] if row["context"] in ABSENT else [row["question"], row["context"]]


def _relevance(row: Row) -> list[bool | None]:
    """Of each choice, whether it is an answer; None where there is no answer."""
    answers = _list(row["answer"])
    return [choice in answers if answers else None for choice in _list(row["choices"])]


def _column(name: str) -> Callable[[Row], Any]:
    return lambda row: row[name]


def _pair(first: str, second: str) -> Schema:
    roles = {"text": _column(first), "text_pair": _column(second), "label": _column("label")}
    return Schema(columns=(first, second, "label"), kinds={"classification": roles, "regression": roles}, gold="label")


SCHEMAS = {
    "kb": Schema(columns=("passages", "entities", "relations")),
    "qa": Schema(
        columns=("question", "context", "choices", "answer"),
        kinds={
            "classification": {
                "text": _column("question"),
                "text_pair": lambda row: None if row["context"] in ABSENT else row["context"],
                "label": _column("answer"),
            },
            "ranking": {"query": _query, "candidates": _column("choices"), "relevance": _relevance},
        },
        gold="answer",
    ),
    "pairs": _pair("text_1", "text_2"),
    "te": _pair("premise", "hypothesis"),
    "text": Schema(
        columns=("text", "labels"),
        kinds={
            "classification": {"text": _column("text"), "label": _column("labels")},
            "multilabel": {"text": _column("text"), "labels": _column("labels")},
        },
        gold="labels",
    ),
}
