"""Documents with stand-off annotation: the same ones give the same examples in every format, by kind, and what rows
cannot hold is counted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

import datasets
import pytest
from attrs import evolve, field, frozen

from mtlfn.data.document import Document, Mention
from mtlfn.data.example import DataError, Span
from mtlfn.data.tables import documents, reading
from mtlfn.data.tables.mapping import Mapping, Splits
from mtlfn.data.task import PROBLEMS, Dataset, check, in_parts


@frozen
class Note:
    """A made-up document, its mentions by (id, type, phrases, which occurrence of the first) and its relations."""

    id: str
    text: str
    mentions: tuple[tuple[str, str, tuple[str, ...], int], ...] = ()
    relations: tuple[tuple[str, str, str], ...] = field(default=())

    def pieces(self, phrases: Sequence[str], occurrence: int) -> list[Span]:
        out, at = [], -1
        for _ in range(occurrence + 1):
            at = self.text.index(phrases[0], at + 1)
        for phrase in phrases:
            at = self.text.index(phrase, at)
            out.append((at, at + len(phrase)))
            at += len(phrase)
        return out

    def located(self) -> list[tuple[str, str, list[Span], str]]:
        return [(key, kind, self.pieces(phrases, n), " ".join(phrases)) for key, kind, phrases, n in self.mentions]


FLU = Note(
    "n1",
    "Aspirin eased flu.\n\nZinc and tea é漢 did not ease flu or left and right knee pain. 🙂 Flu in T6 cells: E. coli.",
    (
        ("T1", "Drug", ("Aspirin",), 0),
        ("T2", "Disease", ("flu",), 0),
        ("T3", "Drug", ("Zinc",), 0),
        ("T4", "Disease", ("flu",), 1),
        ("T5", "Disease", ("left", "knee pain"), 0),
        ("T6", "Disease", ("right knee pain",), 0),
        ("T7", "Site", ("knee",), 0),
        ("T8", "Disease", ("knee pain",), 0),
        ("T9", "Disease", ("lu in",), 0),
        ("T10", "Disease", ("E. coli",), 0),
        ("T11", "Drug", ("tea",), 0),
    ),
    (
        ("treats", "T1", "T2"),
        ("treats", "T1", "T4"),
        ("harms", "T3", "T5"),
        ("treats", "T3", "T5"),
        ("treats", "T3", "T3"),
        ("near", "T4", "T3"),
        ("harms", "T6", "T7"),
    ),
)
RASH = Note(
    "n2", "Tea gave rash.", (("T1", "Drug", ("Tea",), 0), ("T2", "Disease", ("rash",), 0)), (("harms", "T2", "T1"),)
)
NONE = Note("n3", " \n")
SPLITS = {"train": [FLU, NONE], "dev": [RASH]}
SPANS = Mapping(source="data", kind="spans", level=1, labels=("Drug", "Disease"))
TAGS = evolve(SPANS, kind="tagging")
RELATIONS = Mapping(source="data", kind="relation", level=2, labels=("none", "treats", "harms"), negative="none")


def brat(folder: Path, notes: Sequence[Note]) -> None:
    for note in notes:
        lines = [
            f"{key}\t{kind} {';'.join(f'{a} {b}' for a, b in pieces)}\t{shown}\n"
            for key, kind, pieces, shown in note.located()
        ]
        lines += [f"R{i}\t{kind} Arg1:{a} Arg2:{b}\n" for i, (kind, a, b) in enumerate(note.relations)]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{note.id}.txt").write_text(note.text, encoding="utf-8", newline="")
        (folder / f"{note.id}.ann").write_text("".join(lines), encoding="utf-8", newline="")


def passages(note: Note) -> list[tuple[int, str]]:
    """The parts between empty lines, at their offsets."""
    out, at = [], 0
    for part in note.text.split("\n\n"):
        out.append((at, part))
        at += len(part) + 2
    return out


def tree(note: Note) -> dict[str, Any]:
    """As BioC JSON: annotations in the passage that they begin in, relations in the document."""
    parts = [{"offset": at, "text": text, "annotations": [], "infons": {}} for at, text in passages(note)]
    for key, kind, pieces, shown in note.located():
        holder = [part for part in parts if part["offset"] <= pieces[0][0]][-1]
        locations = [{"offset": a, "length": b - a} for a, b in pieces]
        holder["annotations"].append({"id": key, "infons": {"type": kind}, "text": shown, "locations": locations})
    relations = [
        {
            "id": f"R{i}",
            "infons": {"type": kind},
            "nodes": [{"refid": a, "role": "Arg1"}, {"refid": b, "role": "Arg2"}][:: -1 if i % 2 else 1],
        }
        for i, (kind, a, b) in enumerate(note.relations)
    ]
    return {"id": note.id, "infons": {}, "passages": parts, "relations": relations}


def bioc_json(folder: Path, notes: Sequence[Note]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    collection = {"source": "x", "date": "", "key": "", "infons": {}, "documents": [tree(note) for note in notes]}
    (folder / "all.json").write_text(json.dumps(collection), encoding="utf-8")


def element(name: str, value: Any, parent: Element) -> None:
    """JSON's tree as XML's: lists are elements of the singular, ids and numbers of locations and nodes attributes."""
    if isinstance(value, list):
        for each in value:
            element(name.removesuffix("s"), each, parent)
    elif name == "infons" and isinstance(value, dict):
        for key, text in value.items():
            SubElement(parent, "infon", key=key).text = str(text)
    elif isinstance(value, dict):
        child = SubElement(parent, name)
        for key, each in value.items():
            element(key, each, child)
    elif parent.tag in ("annotation", "relation", "location", "node") and name != "text":
        parent.set(name, str(value))
    else:
        SubElement(parent, name).text = str(value)


def as_xml(trees: list[dict[str, Any]]) -> str:
    root = Element("collection")
    for name in ("source", "date", "key"):
        SubElement(root, name).text = "x"
    element("documents", trees, root)
    kind = '<?xml version="1.0" encoding="UTF-8"?><!DOCTYPE collection SYSTEM "BioC.dtd">'
    return kind + tostring(root, encoding="unicode")


def bioc_xml(folder: Path, notes: Sequence[Note]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "all.xml").write_text(as_xml([tree(note) for note in notes]), encoding="utf-8", newline="")


def row(note: Note) -> dict[str, Any]:
    """As BigBIO's schema kb."""
    return {
        "id": f"{note.id} of its split",
        "document_id": note.id,
        "passages": [
            {"id": f"p{at}", "type": "x", "text": [text], "offsets": [[at, at + len(text)]]}
            for at, text in passages(note)
        ],
        "entities": [
            {"id": key, "type": kind, "text": shown.split("|"), "offsets": [list(p) for p in pieces], "normalized": []}
            for key, kind, pieces, shown in note.located()
        ],
        "events": [],
        "coreferences": [],
        "relations": [
            {"id": f"R{i}", "type": kind, "arg1_id": a, "arg2_id": b, "normalized": []}
            for i, (kind, a, b) in enumerate(note.relations)
        ],
    }


def saved(base: Path, train: list[dict[str, Any]], dev: list[dict[str, Any]]) -> None:
    tables = {split: datasets.Dataset.from_list(rows) for split, rows in (("train", train), ("validation", dev))}
    datasets.DatasetDict(tables).save_to_disk(str(base / "data"))


def write(base: Path, form: str) -> None:
    if form == "bigbio":
        saved(base, *([row(note) for note in notes] for notes in SPLITS.values()))
        return
    for split, notes in SPLITS.items():
        WRITERS[form](base / "data" / split, notes)


WRITERS: dict[str, Any] = {"brat": brat, "bioc": bioc_xml, "bioc in JSON": bioc_json, "bigbio": None}


def read(base: Path, mapping: Mapping, form: str | None = "brat") -> Dataset:
    return in_parts(check(reading.read("mine", evolve(mapping, format=form and form.split()[0]), base)))


def failure(base: Path, mapping: Mapping, form: str | None = "brat") -> str:
    with pytest.raises(DataError) as caught:
        read(base, mapping, form)
    return str(caught.value)


@pytest.fixture(params=list(WRITERS))
def form(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    write(tmp_path, request.param)
    return request.param


# Every format


def test_spans_are_whole_documents(tmp_path: Path, form: str) -> None:
    dataset = read(tmp_path, SPANS, form)
    (whole,) = dataset.train
    assert (whole.unit, whole.texts) == ("n1", ((FLU.text, None),))
    shown = {(label, tuple(FLU.text[a:b] for a, b in pieces)) for label, pieces in whole.mentions}
    assert shown == {(kind, phrases) for _, kind, phrases, _ in FLU.mentions if kind != "Site"}
    assert {pieces for _, pieces in whole.mentions} == {
        tuple(p) for _, k, p, _ in FLU.located() for p in [p] if k != "Site"
    }
    assert dataset.notes == {
        "mentions of other labels left out": 1,
        "documents without a word left out": 1,
    }


def test_tags_hold_what_they_can(tmp_path: Path, form: str) -> None:
    dataset = read(tmp_path, TAGS, form)
    entities = [
        (text[a:b], tag)
        for e in dataset.train
        for (text, _) in e.texts
        for (a, b), tag in zip(e.words, e.tags, strict=True)
        if tag != "O"
    ]
    assert [e.texts[0][0] for e in dataset.train] == [
        "Aspirin eased flu .",
        "Zinc and tea é漢 did not ease flu or left and right knee pain .",
        "🙂 Flu in T 6 cells : E .",
        "coli .",
    ]
    assert entities == [
        *[("Aspirin", "B-Drug"), ("flu", "B-Disease"), ("Zinc", "B-Drug"), ("tea", "B-Drug"), ("flu", "B-Disease")],
        *[("right", "B-Disease"), ("knee", "I-Disease"), ("pain", "I-Disease")],
    ]
    assert {e.unit for e in dataset.train} == {"n1"}
    assert dataset.notes == {
        "mentions of other labels left out": 1,
        "mentions of several pieces left out of tags": 1,
        "mentions that overlap another left out of tags": 1,
        "mentions of parts of words left out of tags": 1,
        "mentions across sentences left out of tags": 1,
        "documents without a word left out": 1,
    }


def test_relations_are_pairs_of_a_sentence(tmp_path: Path, form: str) -> None:
    dataset = read(tmp_path, RELATIONS, form)

    def shown(examples: Sequence[Any]) -> set[tuple[str, str, str]]:
        def phrase(text: str, pieces: Sequence[Span]) -> str:
            return " ".join(text[a:b] for a, b in pieces)

        assert len({e.id for e in examples}) == len(examples)
        return {(phrase(e.texts[0][0], e.head), phrase(e.texts[0][0], e.tail), e.labels[0]) for e in examples}

    diseases = ("flu", "left knee pain", "right knee pain", "knee pain")
    assert shown(dataset.train) == {
        ("Aspirin", "flu", "treats"),
        *((drug, disease, "none") for drug in ("Zinc", "tea") for disease in diseases if disease != "left knee pain"),
        ("Zinc", "left knee pain", "treats"),
        ("tea", "left knee pain", "none"),
        *((disease, "knee", "harms" if disease == "right knee pain" else "none") for disease in diseases),
    }
    assert dataset.train[0].texts == (("Aspirin eased flu.\n\n", None),)
    # In dev, harms joins a disease and a drug, which no training relation does.
    assert shown(dataset.dev) == {("Tea", "rash", "none")}
    assert dataset.notes == {
        "relations across sentences left out": 1,
        "relations beside another of their mentions left out": 1,
        "relations of a mention with itself left out": 1,
        "relations of other labels left out": 1,
        "relations of types that no training relation joins left out": 1,
        "documents without a word left out": 1,
    }


def test_labels_that_nothing_has_are_told(tmp_path: Path, form: str) -> None:
    assert (
        "has one of the labels Gene, labels found: 'Disease', 'Drug', 'Site'; correct labels in [task.mine]"
        in failure(tmp_path, evolve(SPANS, labels=("Gene",)), form)
    )
    said = failure(tmp_path, evolve(RELATIONS, labels=("none", "cures")), form)
    assert "has one of the labels none, cures, labels found: 'harms', 'near', 'treats'" in said
    assert "holds spans, tagging, relation; correct kind" in failure(
        tmp_path, evolve(RELATIONS, kind="classification", negative=None), form
    )


def test_a_table_read_for_two_splits_is_counted_once(tmp_path: Path, form: str, monkeypatch) -> None:
    monkeypatch.setitem(SPLITS, "train", [FLU, NONE, evolve(RASH, id="n4")])
    shutil.rmtree(tmp_path / "data")
    write(tmp_path, form)
    parts = Splits(train="train[:1]", test="train[1:]")
    assert read(tmp_path, evolve(SPANS, splits=parts), form).notes["documents without a word left out"] == 1


# Texts without an end


def test_a_document_without_sentence_ends_gives_stretches() -> None:
    text = "flu tea " * 1500
    mentions = tuple(
        documents.Mention(id=f"T{i}", label="A" if i % 2 else "B", pieces=((4 * i, 4 * i + 3),)) for i in range(3000)
    )
    whole = documents.Document(id="d", text=text, mentions=mentions[:200])
    tally = documents.Tally({})
    rows = list(documents.relation_rows(whole, ("none", "x"), "none", {("A", "B")}, tally))
    assert len(rows) == 100 * 100
    assert max(len(row["text"].split()) for row in rows) <= 400
    for row in rows[::97]:
        ((a, b),), ((c, d),) = row["head"], row["tail"]
        assert (row["text"][a:b], row["text"][c:d]) == ("tea", "flu")
    tags = list(documents.tagging_rows(whole, ("A", "B"), tally))
    assert [len(row["tokens"]) for row in tags] == [100] * 30
    assert sum(tag != "O" for row in tags for tag in row["tags"]) == 200


@pytest.mark.parametrize(
    ("parts", "text", "begins"),
    [
        ([(4, "b"), (0, "a")], "a\n\n\nb", (0, 4)),
        ([(2, "a"), (3, ""), (3, "bc")], "\n\nabc", (2, 3)),
        ([], "", ()),
    ],
)
def test_passages_lie_at_their_offsets(parts: list[tuple[int, str]], text: str, begins: tuple[int, ...]) -> None:
    assert documents.laid(parts) == (text, begins)


@pytest.mark.parametrize("gap", [1, 3])
def test_no_sentence_goes_across_a_passage(gap: int) -> None:
    """A title has no full stop: its words are not those of the first sentence, and are no pair with its."""
    title, abstract = "Tea for flu", "We gave tea. Flu went."
    text, borders = documents.laid([(0, title), (len(title) + gap, abstract)])
    mentions = tuple(
        Mention(id=str(at), label=label, pieces=((at, at + 3),))
        for label, at in (("A", text.index("Tea")), ("B", text.index("flu")), ("A", text.index("tea")))
    )
    whole = Document(id="d", text=text, mentions=mentions, borders=borders)
    tags = list(documents.tagging_rows(whole, ("A", "B"), documents.Tally({})))
    assert [" ".join(row["tokens"]) for row in tags] == ["Tea for flu", "We gave tea .", "Flu went ."]
    (row,) = documents.relation_rows(whole, ("none", "r"), "none", {("A", "B")}, documents.Tally({}))
    assert row["text"].strip() == title


def test_passages_that_overlap_or_lie_apart_are_refused() -> None:
    with pytest.raises(DataError, match="the passage at 1 begins inside the one before, which ends at 2"):
        documents.laid([(0, "ab"), (1, "c")])
    with pytest.raises(DataError, match="the passage at 999,999,999 is far from the one before, which ends at 2"):
        documents.laid([(0, "ab"), (999_999_999, "c")])


# brat


def one(base: Path, text: str, annotation: str) -> None:
    for split in ("train", "dev"):
        brat(base / "data" / split, [RASH])
    (base / "data/train/x.txt").write_text(text, encoding="utf-8", newline="")
    (base / "data/train/x.ann").write_text(annotation, encoding="utf-8", newline="")


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        ("T1\tDrug 0 3\tTee\n", "train/x.ann, line 1: found 'Tee', expected what its offsets give, 'Tea'"),
        ("\nT1\tDrug 0 99\tTea\n", "train/x.ann, line 2: found the offsets [(0, 99)] in a text of 15 characters"),
        ("T1\tDrug 3 0\tTea\n", "line 1: found the offsets [(3, 0)]"),
        ("T1\tDrug 0 3\tTea\nT1\tDrug 0 3\tTea\n", "line 2: the id 'T1' is also that of another"),
        ("R1\ta Arg1:T1 Arg2:T2\n", "line 1: found the id 'T1', expected that of a mention of the document"),
        ("T1 Drug 0 3 Tea\n", "line 1: found 'T1 Drug 0 3 Tea', expected a mention (T1, tab, TYPE 0 5, tab, its text)"),
        ("X1\tDrug\n", "line 1: found 'X1\\tDrug', expected a mention"),
        ("R1\ta Arg1: Arg2:T2\n", "line 1: found 'R1\\ta Arg1: Arg2:T2', expected a mention"),
        (
            "T1\tDrug 10 13\tflu\n",
            "expected what its offsets give, ' fl'; offsets count characters (not bytes) from 0; are line ends of two",
        ),
    ],
)
def test_what_is_wrong_in_brat_is_told_by_line(tmp_path: Path, annotation: str, said: str) -> None:
    one(tmp_path, "Tea\r\neased flu.", annotation)
    message = failure(tmp_path, SPANS)
    assert said in message
    left = read(tmp_path, evolve(SPANS, skip_unusable=True))
    assert left.notes[documents.UNUSABLE] == 1
    assert said in left.notes[PROBLEMS][0]
    assert [e.unit for e in left.train] == ["n2", "x"]


def test_line_ends_and_pieces_of_brat(tmp_path: Path) -> None:
    one(
        tmp_path,
        "Tea\r\neased bad flu\nand cold.",
        "T1\tDrug 0 3\tTea\r\nT2\tDrug 15 18;19 22\tflu and\nA1\tx T1\n*\tEquiv T1 T2\n",
    )
    dataset = read(tmp_path, SPANS)
    assert dataset.train[1].mentions == (("Drug", ((0, 3),)), ("Drug", ((15, 22),)))
    assert dataset.notes == {"texts with line ends of two characters": 1}


def test_events_of_brat_are_counted_with_their_relations(tmp_path: Path) -> None:
    lines = "T1\tDrug 0 3\tTea\nE1\tDrug:T1 Theme:T1\nR1\tharms Arg1:E1 Arg2:T1\nR2\tharms a:T1 b:T1 c:T1\n"
    one(tmp_path, "Tea", lines)
    dataset = read(tmp_path, RELATIONS)
    assert dataset.notes == {
        "events left out": 1,
        "relations of what is no mention in the rows left out": 1,
        "relations that do not join two mentions left out": 1,
    }


def test_roles_of_brat(tmp_path: Path) -> None:
    brat(tmp_path / "data/train", [RASH])
    brat(tmp_path / "data/dev", [RASH])
    for roles, label in (("Arg1:T1 Arg2:T2", "Tea"), ("Arg2:T1 Arg1:T2", "rash"), ("Drug:T1 Effect:T2", "Tea")):
        path = tmp_path / "data/train/n2.ann"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(lines[:2]) + f"R1\tharms {roles}\n")
        (e,) = read(tmp_path, RELATIONS).train
        ((a, b),) = e.head
        assert (e.texts[0][0][a:b], e.labels) == (label, ("harms",))


def test_files_of_brat_are_pairs(tmp_path: Path) -> None:
    one(tmp_path, "Tea", "")
    assert len(read(tmp_path, SPANS, None).train) == 2  # the ending says the format
    (tmp_path / "data/train/y.txt").write_text("a")
    assert "train/y.txt has no y.ann beside it; add it" in failure(tmp_path, SPANS)
    (tmp_path / "data/train/y.txt").rename(tmp_path / "data/y.txt")  # no document: there is no annotation in its folder
    assert len(read(tmp_path, SPANS).train) == 2
    (tmp_path / "data/dev/z.ann").write_text("")
    assert "z.ann has no text, expected z.txt beside it" in failure(tmp_path, SPANS)
    (tmp_path / "data/dev/z.txt").write_bytes(b"a\xff")
    assert "z.txt: found the byte 0xff at 2, expected UTF-8" in failure(tmp_path, SPANS)


# BioC


PASSAGE = """<collection><source/><date/><key/><document><id>d</id><passage><offset>{at}</offset>
<text>Tea eased flu.</text>
<annotation id="1"><infon key="type">Drug</infon><location offset="{a}" length="{n}"/><text>{text}</text></annotation>
</passage>{more}</document></collection>"""


def xml(base: Path, content: str) -> None:
    for split in ("train", "dev"):
        bioc_xml(base / "data" / split, [RASH])
    (base / "data/train/x.xml").write_text(content, encoding="utf-8", newline="")


def test_offsets_of_bioc_may_count_from_the_passage(tmp_path: Path) -> None:
    for at, a, count in ((5, 5, 0), (5, 0, 1)):
        xml(tmp_path, PASSAGE.format(at=at, a=a, n=3, text="Tea", more=""))
        dataset = read(tmp_path, SPANS, None)
        assert dataset.train[1].mentions == (("Drug", ((5, 8),)),)
        assert dataset.notes.get("documents whose offsets count from the passage", 0) == count


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"text": "Tee"},
            "train/x.xml, document 'd', annotation '1': found 'Tee', expected what its offsets give, 'Tea'",
        ),
        ({"a": "-1"}, "annotation '1': found '-1' for offset, expected a whole number from 0"),
        ({"n": "9" * 5000}, "for length, expected a whole number from 0"),
        ({"a": 99}, "found the offsets [(99, 102)] in a text of 14 characters"),
        ({"at": 10**9}, "document 'd': the passage at 1,000,000,000 is far from the one before"),
        ({"at": ""}, "document 'd': found '' for offset, expected a whole number from 0"),
        (
            {"more": "<passage><offset>3</offset><text>a</text></passage>"},
            "the passage at 3 begins inside the one before",
        ),
        (
            {"more": '<relation><infon key="type">a</infon><node refid="7" role=""/><node refid="1"/></relation>'},
            "id '7'",
        ),
    ],
)
def test_what_is_wrong_in_bioc_is_told_by_place(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    xml(tmp_path, PASSAGE.format(**{"at": 0, "a": 0, "n": 3, "text": "Tea", "more": ""} | changes))
    assert said in failure(tmp_path, SPANS, None)
    left = read(tmp_path, evolve(SPANS, skip_unusable=True), None)
    assert left.notes[documents.UNUSABLE] == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("<a/>", "x.xml: found the element 'a', expected collection"),
        ("<collection>", "x.xml, line 1, column 13: no element found; expected well-formed XML"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><collection/>', "found the declaration of the entity 'x'"),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><collection/>', "declaration of the entity 'x'"),
        ("[1]", "x.xml: found 1, expected a collection of BioC"),
        ('{"documents": [1]}', "x.xml: found [1] for documents, expected a list of objects"),
        ('{"documents": [{}], "documents": 2}', "x.xml, line 1: an object has the key 'documents' more than once"),
        ("{", "x.xml, line 1: expected BioC as JSON"),
        ('{"passages": [], "id": []}', "x.xml, document 0 (from 0): found [] for id, expected a string"),
        ('{"passages": [{"offset": true}], "id": 1}', "x.xml, document '1': found True for offset"),
        (r'{"passages": [{"offset": "3\u001f", "text": []}], "id": 1}', "x.xml, document '1': found [] for text"),
    ],
)
def test_files_that_are_no_bioc(tmp_path: Path, content: str, said: str) -> None:
    xml(tmp_path, content)
    assert said in failure(tmp_path, SPANS, None)


def test_nested_elements_end_at_the_depth_of_bioc(tmp_path: Path) -> None:
    xml(tmp_path, "<collection>" + "<document>" * 50_000 + "</document>" * 50_000 + "</collection>")
    assert "document 0 (from 0): found None for id, expected a string" in failure(tmp_path, SPANS, None)


def test_sentences_of_bioc_hold_text_and_annotations(tmp_path: Path) -> None:
    """In a passage without text; where it has one, sentences repeat it."""
    sentence = (
        '<sentence><offset>4</offset><text>flu.</text><annotation id="2"><infon key="type">Disease</infon>'
        '<location offset="4" length="3"/><text>flu</text></annotation></sentence>'
    )
    start = "<collection><document><id>d</id><passage><offset>0</offset>"
    for text in ("", "<text>Tea flu.</text>"):
        xml(tmp_path, f"{start}{text}{sentence}</passage></document></collection>")
        whole = read(tmp_path, SPANS, None).train[1]
        assert whole.texts == ((("Tea flu." if text else "\n\n\n\nflu."), None),)
        assert whole.mentions == (("Disease", ((4, 7),)),)


def test_what_has_no_type_is_counted_and_lists_of_documents_are_read(tmp_path: Path) -> None:
    bare = {"id": 1, "locations": [{"offset": 0, "length": 3}]}
    relations = [
        {"nodes": [{"refid": "1"}, {"refid": "2"}]},
        {"infons": {"type": "harms"}, "nodes": [{"refid": 1}] * 2},
    ]
    whole = {"id": 7, "passages": [{"offset": 0, "text": "Tea", "annotations": [bare], "relations": relations}]}
    for content in ([whole], [{"documents": [whole]}], {"PubTator3": [whole]}, whole):
        xml(tmp_path, json.dumps(content))
        dataset = read(tmp_path, RELATIONS, None)
        assert dataset.notes == {
            "annotations without a type left out": 1,
            "relations without a type left out": 1,
            "relations of what is no mention in the rows left out": 1,
        }


# BigBIO


def test_records_of_lists_are_lists_of_records(tmp_path: Path) -> None:
    """As tables of before datasets 4 hold them."""
    lists = [
        whole
        | {
            key: {name: [each[name] for each in whole[key]] for name in whole[key][0]}
            for key in ("passages", "entities")
        }
        for whole in [row(RASH)]
    ]
    saved(tmp_path, lists, [row(RASH)])
    dataset = read(tmp_path, SPANS, "bigbio")
    assert dataset.train[0].mentions == dataset.dev[0].mentions == (("Drug", ((0, 3),)), ("Disease", ((9, 13),)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"entities": [{"id": "T1", "type": "Drug", "text": ["Tee"], "offsets": [[0, 3]]}], "relations": []},
            "task mine, split train, row 0, entity 'T1': found 'Tee', expected what its offsets give, 'Tea'",
        ),
        (
            {"entities": [{"id": "T1", "type": "Drug", "text": ["Tea"], "offsets": [[0]]}], "relations": []},
            "task mine, split train, row 0: found [[0]] for offsets, expected a list of [start, end]",
        ),
        ({"passages": [{"text": ["a", "b"], "offsets": [[0, 1]]}]}, "row 0: found 2 texts for 1 offsets of a passage"),
        ({"passages": "a"}, "row 0: found 'a' for passages, expected a list of records"),
        ({"document_id": 3}, "row 0: found 3 for id, expected a string"),
        ({"relations": [{"type": "a", "arg1_id": "T7", "arg2_id": "T1"}]}, "relation None: found the id 'T7'"),
    ],
)
def test_what_is_wrong_in_bigbio_is_told_by_row(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    saved(tmp_path, [row(RASH) | changes], [row(RASH)])
    assert said in failure(tmp_path, SPANS, "bigbio")


TEXTS = Mapping(source="data", kind="classification", level=2, labels=("no", "yes"))


def test_texts_of_bigbio(tmp_path: Path) -> None:
    rows = [
        {"id": f"{i}", "document_id": "NULL" if i else "d", "text": f"t{i}", "labels": labels}
        for i, labels in enumerate((["yes"], ["no", "other"], ["other"]))
    ]
    saved(tmp_path, rows, rows[:1])
    dataset = read(tmp_path, TEXTS, "bigbio")
    assert [(e.id, e.unit, e.texts, e.labels) for e in dataset.train] == [
        ("0", "d", (("t0", None),), ("yes",)),
        ("1", "1", (("t1", None),), ("no",)),
    ]
    assert dataset.notes == {"labels that are not asked for left out": 2}
    many = evolve(TEXTS, kind="multilabel", labels=("yes",), negative="no")
    assert [e.labels for e in read(tmp_path, many, "bigbio").train] == [("yes",), (), ()]
    assert "nothing in split train has one of the labels" in failure(
        tmp_path, evolve(TEXTS, labels=("a", "b")), "bigbio"
    )
    assert "the kind is 'spans', and BigBIO's schema text holds classification, multilabel" in failure(
        tmp_path, SPANS, "bigbio"
    )


@pytest.mark.parametrize("names", [("text_1", "text_2"), ("premise", "hypothesis")])
def test_pairs_of_bigbio(tmp_path: Path, names: tuple[str, str]) -> None:
    rows = [{"id": "0", "document_id": "NULL", names[0]: "a", names[1]: "b", "label": "1.5"}]
    saved(tmp_path, rows, rows)
    scores = Mapping(source="data", kind="regression", level=2)
    (e,) = read(tmp_path, scores, "bigbio").train
    assert (e.texts, e.value) == ((("a", "b"),), 1.5)
    (e,) = read(tmp_path, evolve(TEXTS, labels=("1.5", "2")), "bigbio").train
    assert e.labels == ("1.5",)


def test_questions_of_bigbio(tmp_path: Path) -> None:
    rows = [
        {
            "id": f"{i}",
            "document_id": f"d{i}",
            "question": "is it?",
            "type": "x",
            "context": context,
            "choices": ["no", "yes"],
        }
        | {"answer": answer}
        for i, (context, answer) in enumerate((("it is", ["yes"]), ("", ["no"]), ("", ["maybe"])))
    ]
    saved(tmp_path, rows, rows[:1])
    dataset = read(tmp_path, TEXTS, "bigbio")
    assert [(e.texts, e.labels) for e in dataset.train] == [
        ((("is it?", "it is"),), ("yes",)),
        ((("is it?", None),), ("no",)),
    ]
    dataset = read(tmp_path, Mapping(source="data", kind="ranking", level=2), "bigbio")
    assert [(e.texts, e.labels) for e in dataset.train[:2]] == [
        ((("is it? it is", "no"), ("is it? it is", "yes")), ("irrelevant", "relevant")),
        ((("is it?", "no"), ("is it?", "yes")), ("relevant", "irrelevant")),
    ]
    assert dataset.notes == {"questions whose answers are no choice": 1}


def test_tables_of_no_schema(tmp_path: Path) -> None:
    saved(tmp_path, [{"a": 1}], [{"a": 1}])
    said = failure(tmp_path, TEXTS, "bigbio")
    assert "data has the columns a, expected a schema of BigBIO (kb, qa, pairs, te, text); leave format out" in said
