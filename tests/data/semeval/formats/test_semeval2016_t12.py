"""Clinical TempEval: a made-up corpus with every oddity of the real one, and round trips."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mtlfn.data.document import Document, Link, Log, Mention, mention_text
from mtlfn.data.example import DataError
from mtlfn.data.semeval.formats import semeval2016_t12, xml_file

NOTE = "On Monday the rash was gone.\r\nNo pain,\nlittle fever.\n"
CLINIC, PATH = "ID001_clinic_001", "ID002_path_003"
EVENT = (
    ("DocTimeRel", "BEFORE/OVERLAP"),
    ("Type", "N/A"),
    ("Degree", "LITTLE"),
    ("Polarity", "POS"),
    ("ContextualModality", "ACTUAL"),
    ("ContextualAspect", "N/A"),
    ("Permanence", "UNDETERMINED"),
)
DOCUMENT = Document(
    id=CLINIC,
    text=NOTE,
    mentions=(
        Mention(id="1@e@d@gold", label="TIMEX3", pieces=((3, 9),), attributes=(("Class", "DATE"),)),
        Mention(id="2@e@d@gold", label="EVENT", pieces=((14, 18),), attributes=EVENT),
        Mention(id="3@e@d@gold", label="EVENT", pieces=((33, 37), (46, 51)), attributes=EVENT),
        Mention(id="4@e@d@gold", label="DOCTIME", pieces=((3, 9),)),
        Mention(id="5@e@d@gold", label="SECTIONTIME", pieces=((3, 9),)),
    ),
    links=(
        Link(id="1@r@d@gold", label="TLINK:CONTAINS", source="1@e@d@gold", target="2@e@d@gold"),
        Link(id="2@r@d@gold", label="ALINK:CONTINUES", source="2@e@d@gold", target="3@e@d@gold"),
    ),
)
UNLINKED = evolve(DOCUMENT, id=PATH, links=(), linked=False)


def entity(name: str, span: str = "3,9", kind: str = "TIMEX3", inside: str = "<properties/>") -> str:
    return f"<entity><id>{name}</id><span>{span}</span><type>{kind}</type>{inside}</entity>"


def relation(
    name: str, source: str = "1", target: str = "2", kind: str = "TLINK", value: str = "<Type>X</Type>"
) -> str:
    ends = f"<Source>{source}</Source><Target>{target}</Target>"
    return f"<relation><id>{name}</id><type>{kind}</type><properties>{ends}{value}</properties></relation>"


def put(
    tmp_path: Path,
    annotations: str,
    *,
    document: str = CLINIC,
    kind: str = "Temporal-Relation",
    extra: str = "",
    progress: str = "completed",
    note: str | bytes | None = NOTE,
) -> Path:
    """A document of the training part; the path of its annotations."""
    home = tmp_path / "coloncancer" / "Train" / document
    home.mkdir(parents=True, exist_ok=True)
    if note is not None:
        (home / document).write_bytes(note if isinstance(note, bytes) else note.encode())
    path = home / f"{document}.{kind}.gold.completed.xml"
    info = f"<info><savetime>x</savetime><progress>{progress}</progress></info>"
    path.write_text(
        f'<data>{info}<schema path="./" protocol="file">temporal-schema.xml</schema>'
        f"<annotations>{annotations}</annotations>{extra}</data>",
        encoding="utf-8",
    )
    return path


def train(folder: Path, log: Log | None = None) -> tuple[Document, ...]:
    return semeval2016_t12.read(folder, log or Log(strict=True))["train"]


def told(log: Log) -> list[tuple[str, str, str]]:
    return [(problem.where, problem.what, problem.done) for problem in log.problems]


def test_written_files_have_the_official_layout(tmp_path: Path) -> None:
    semeval2016_t12.write(tmp_path, "train", [UNLINKED, DOCUMENT])
    semeval2016_t12.write(tmp_path, "dev", [UNLINKED])
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == [
        f"coloncancer/Dev/{PATH}/{PATH}",
        f"coloncancer/Dev/{PATH}/{PATH}.Temporal-Entity.gold.completed.xml",
        f"coloncancer/Train/{CLINIC}/{CLINIC}",
        f"coloncancer/Train/{CLINIC}/{CLINIC}.Temporal-Relation.gold.completed.xml",
        f"coloncancer/Train/{PATH}/{PATH}",
        f"coloncancer/Train/{PATH}/{PATH}.Temporal-Entity.gold.completed.xml",
    ]
    assert (tmp_path / files[2]).read_bytes() == NOTE.encode()
    read = semeval2016_t12.read(tmp_path, Log(strict=True))
    assert read == {"train": (DOCUMENT, UNLINKED), "dev": (UNLINKED,), "test": ()}
    assert mention_text(NOTE, read["train"][0].mentions[2]) == "pain fever"


def test_written_elements_and_properties_have_the_official_order(tmp_path: Path) -> None:
    semeval2016_t12.write(tmp_path, "test", [DOCUMENT])
    (path,) = tmp_path.rglob("*.xml")
    root = xml_file.parse(path, Log(strict=True))
    assert root is not None
    assert [child.tag for child in root] == ["info", "schema", "annotations"]
    assert [child.tag for child in root[0]] == ["savetime", "progress"]
    entities, relations = root.findall("annotations/entity"), root.findall("annotations/relation")
    assert len(root[2]) == len(entities) + len(relations) == 7
    for element in entities:
        assert [child.tag for child in element] == ["id", "span", "type", "parentsType", "properties"]
        assert element.findtext("parentsType") == "TemporalEntities"
    for element in relations:
        assert [child.tag for child in element] == ["id", "type", "parentsType", "properties"]
        assert element.findtext("parentsType") == "TemporalRelations"
    assert [tuple((p.tag, p.text) for p in element[4]) for element in entities[1:3]] == [EVENT, EVENT]
    assert entities[2].findtext("span") == "33,37;46,51"
    assert [[p.tag for p in element[3]] for element in relations] == [
        ["Source", "Type", "Target"],
        ["Source", "Target", "Type"],
    ]


def test_output_of_a_system_is_annotations_alone(tmp_path: Path) -> None:
    semeval2016_t12.write(tmp_path / "system", "test", [DOCUMENT, UNLINKED], notes=False)
    files = sorted(path.relative_to(tmp_path / "system") for path in tmp_path.rglob("*") if path.is_file())
    assert [str(path) for path in files] == [
        f"coloncancer/Test/{name}/{name}.Temporal-Relation.system.completed.xml" for name in (CLINIC, PATH)
    ]
    semeval2016_t12.write(tmp_path / "gold", "test", [DOCUMENT])
    (gold,) = (tmp_path / "gold").rglob("*.xml")
    assert (tmp_path / "system" / files[0]).read_bytes() == gold.read_bytes()


def test_the_corpus_or_the_folder_that_holds_it(tmp_path: Path) -> None:
    semeval2016_t12.write(tmp_path, "train", [DOCUMENT])
    assert train(tmp_path / "coloncancer") == train(tmp_path) == (DOCUMENT,)


@pytest.mark.parametrize("name", ["", "none", "coloncancer"])
def test_no_corpus(tmp_path: Path, name: str) -> None:
    (tmp_path / "coloncancer" / "train").mkdir(parents=True)
    with pytest.raises(DataError) as caught:
        semeval2016_t12.read(tmp_path / name, Log())
    assert str(caught.value) == (
        f"{tmp_path / name} holds none of Train/, Dev/, Test/ nor coloncancer/ with one of them; "
        "give the folder that does"
    )


def test_documents_are_sorted_and_other_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("b", "a", "a_path", "c"):
        put(tmp_path, entity("1"), document=name)
    home = tmp_path / "coloncancer" / "Train"
    for name in (
        "a.Coreference.gold.completed.xml",
        "a.UMLS-Entity.gold.completed.xml",
        "a.Temporal-Relation.system.completed.xml",
        "a.Temporal-Relation.gold.completed.xml~",
        "b.Temporal-Relation.gold.completed.xml",
    ):
        (home / "a" / name).write_text("<no")
    (home / "README").write_text("x")
    assert [document.id for document in train(tmp_path)] == ["a", "a_path", "b", "c"]


def test_links_of_pathology_notes_and_entity_files_are_not_annotated(tmp_path: Path) -> None:
    put(tmp_path, entity("1"), document="a_clinic")
    put(tmp_path, entity("1"), document="b_clinic", kind="Temporal-Entity")
    put(tmp_path, entity("1"), document="c_patha")
    put(tmp_path, entity("1"), document="d_path_1", kind="Temporal-Entity")
    assert [(d.id, d.linked) for d in train(tmp_path)] == [
        ("a_clinic", True),
        ("b_clinic", False),
        ("c_patha", False),
        ("d_path_1", False),
    ]


def test_of_two_annotations_the_one_with_links_is_read(tmp_path: Path) -> None:
    second = put(tmp_path, entity("2"), kind="Temporal-Entity")
    put(tmp_path, entity("1"))
    log = Log()
    (document,) = train(tmp_path, log)
    assert (document.mentions[0].id, document.linked) == ("1", True)
    (problem,) = log.problems
    assert problem.path == second
    assert problem.what == f"is a second annotation of the note; {CLINIC}.Temporal-Relation.gold.completed.xml is read"


def test_annotations_without_note_and_note_without_annotations(tmp_path: Path) -> None:
    alone = put(tmp_path, entity("1"), document="a", note=None)
    put(tmp_path, entity("1"), document="b")
    put(tmp_path, entity("1"), document="c").unlink()
    log = Log()
    assert [document.id for document in train(tmp_path, log)] == ["b"]
    first, second = log.problems
    assert (first.path, first.where, first.done) == (alone, "the note", "skipped")
    assert first.what == f"expected it in {alone.parent / 'a'}, which does not exist"
    assert second.path == alone.parent.parent / "c"
    assert second.what == "has no file c.Temporal-(Relation|Entity).gold.completed.xml"
    with pytest.raises(DataError, match="the note: expected it in"):
        train(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n", b"<data/>", b"<data><annotations></annotations></data>"])
def test_an_empty_file_is_a_note_without_annotations(tmp_path: Path, content: bytes) -> None:
    put(tmp_path, "").write_bytes(content)
    assert train(tmp_path) == (Document(id=CLINIC, text=NOTE),)


def test_a_broken_file_is_skipped(tmp_path: Path) -> None:
    path = put(tmp_path, entity("1") + "\n<entity>")
    put(tmp_path, entity("1"), document="b")
    attack = put(tmp_path, "", document="c")
    attack.write_text('<!DOCTYPE data [<!ENTITY x SYSTEM "c">]><data>&x;</data>')
    log = Log()
    assert [document.id for document in train(tmp_path, log)] == ["b"]
    assert [problem.path for problem in log.problems] == [path, attack]
    assert log.problems[0].where.startswith("line 2, column ")
    assert log.problems[1].what.startswith("found the declaration of the entity 'x'")


def test_another_kind_of_xml_is_skipped(tmp_path: Path) -> None:
    put(tmp_path, "").write_text("<html><body/></html>")
    log = Log()
    assert train(tmp_path, log) == ()
    assert told(log) == [("element html", "is the root, expected <data>", "skipped")]


def test_bytes_that_are_not_utf_8_are_kept(tmp_path: Path) -> None:
    put(tmp_path, entity("1", "5,7"), note=b"caf\xe9 or no")
    log = Log()
    (document,) = train(tmp_path, log)
    assert document.text == "café or no"
    assert mention_text(document.text, document.mentions[0]) == "or"
    assert [(p.path.name, p.where, p.done) for p in log.problems] == [(CLINIC, "byte 3", "repaired")]


@pytest.mark.parametrize("schema", ["temporal.schema.xml", "temporal-schema.xml", ""])
def test_the_schema_is_not_looked_at(tmp_path: Path, schema: str) -> None:
    path = put(tmp_path, entity("1"))
    path.write_text(path.read_text().replace("temporal-schema.xml", schema))
    assert len(train(tmp_path)[0].mentions) == 1


def test_oddities_of_the_released_files(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        entity("1", kind="EVENT")
        + entity("2", kind="EVENT", inside="")
        + entity("3", inside="<addition><entity/></addition><properties><Class>DATE</Class></properties>"),
        progress="in-progress",
        extra=f"<adjudication>{entity('4')}{relation('5')}</adjudication>",
    )
    log = Log()
    (document,) = train(tmp_path, log)
    assert document.mentions == (
        Mention(id="1", label="EVENT", pieces=((3, 9),)),
        Mention(id="2", label="EVENT", pieces=((3, 9),)),
        Mention(id="3", label="TIMEX3", pieces=((3, 9),), attributes=(("Class", "DATE"),)),
    )
    assert document.links == ()
    assert told(log) == [
        ("element progress", "is 'in-progress', expected 'completed'; the file is read as it is", "repaired"),
        ("element adjudication", "is not looked at, expected none beside <annotations>", "repaired"),
        ("entity 1", "is an EVENT without properties; it is read without attributes", "repaired"),
        ("entity 2", "is an EVENT without properties; it is read without attributes", "repaired"),
        ("entity 3", "has an extra element <addition>, which is not looked at", "repaired"),
    ]
    with pytest.raises(DataError) as caught:
        train(tmp_path)
    assert str(caught.value).startswith(f"{path}, element progress: is 'in-progress'")


SPAN = "has the span {!r}, expected start,end[;start,end ...] in a text of 53 characters"


@pytest.mark.parametrize(
    ("element", "where", "what"),
    [
        (entity("2", "3,54"), "entity 2", SPAN.format("3,54")),
        (entity("2", "3,9;60,70"), "entity 2", SPAN.format("3,9;60,70")),
        (entity("2", "9,9"), "entity 2", SPAN.format("9,9")),
        (entity("2", "9,3"), "entity 2", SPAN.format("9,3")),
        (entity("2", "-3,9"), "entity 2", SPAN.format("-3,9")),
        (entity("2", "3-9"), "entity 2", SPAN.format("3-9")),
        (entity("2", "3,9;"), "entity 2", SPAN.format("3,9;")),
        (entity("2", "9" * 5000 + ",1"), "entity 2", SPAN.format("9" * 60)),
        (entity("2", ""), "entity 2", SPAN.format("")),
        ("<entity><id>2</id><type>EVENT</type></entity>", "entity 2", SPAN.format("")),
        (entity("1"), "entity 1", "has the id of an earlier entity"),
        (entity(""), "entity 2", "has no <id> or no <type>"),
        (entity("2", kind=""), "entity 2", "has no <id> or no <type>"),
        ("<entity/>", "entity 2", "has no <id> or no <type>"),
        (entity("2", kind="PLACE"), "entity 2", "has the type 'PLACE', expected one of EVENT, TIMEX3, DOCTIME, SECTIO"),
        (relation("3", "1", "9"), "relation 3", "links '1' to '9', expected the ids of two entities of the file"),
        (relation("3", "", "1"), "relation 3", "links '' to '1', expected the ids of two entities of the file"),
        (relation("3", "1", "1", value=""), "relation 3", "has no property Type"),
        (relation("3", "1", "1", value="<Type/>"), "relation 3", "has no property Type"),
        (relation("3", "1", "1", "CLINK"), "relation 3", "has the type 'CLINK', expected one of TLINK, ALINK"),
        ("<relation><id>3</id><type>TLINK</type></relation>", "relation 3", "has no property Type"),
        ("<relation/>", "relation 1", "has no <id> or no <type>"),
        (relation("3", "1", "1") * 2, "relation 3", "has the id of an earlier relation"),
    ],
)
def test_damaged_elements_are_skipped(tmp_path: Path, element: str, where: str, what: str) -> None:
    path = put(tmp_path, entity("1") + element)
    log = Log()
    (document,) = train(tmp_path, log)
    assert [mention.id for mention in document.mentions] == ["1"]
    assert len(document.links) == ("earlier relation" in what)
    (problem,) = log.problems
    assert (problem.path, problem.where, problem.done) == (path, where, "skipped")
    assert problem.what.startswith(what)
    with pytest.raises(DataError) as caught:
        train(tmp_path)
    assert str(caught.value).startswith(f"{path}, {where}: {what}")


def test_a_link_to_a_skipped_mention_is_skipped(tmp_path: Path) -> None:
    put(tmp_path, entity("1") + entity("2", "0,999") + relation("3") + relation("4", "1", "1"))
    log = Log()
    (document,) = train(tmp_path, log)
    assert document.links == (Link(id="4", label="TLINK:X", source="1", target="1"),)
    assert [where for where, _, _ in told(log)] == ["entity 2", "relation 3"]


def test_links_where_none_were_annotated_are_skipped(tmp_path: Path) -> None:
    put(tmp_path, entity("1") + entity("2") + relation("3"), document=PATH)
    log = Log()
    (document,) = train(tmp_path, log)
    assert (document.links, document.linked) == ((), False)
    assert told(log) == [("relation 3", "is in a note whose links were not annotated", "skipped")]


def test_a_property_with_elements_inside_is_skipped(tmp_path: Path) -> None:
    put(tmp_path, entity("1", inside="<properties><Class><x/></Class><Note> a\n</Note><Empty/></properties>"))
    log = Log()
    (document,) = train(tmp_path, log)
    assert document.mentions[0].attributes == (("Note", " a\n"), ("Empty", ""))
    assert told(log) == [("entity 1", "has a property <Class> with elements inside, expected text", "skipped")]


def mention(**change: object) -> Document:
    return evolve(DOCUMENT, mentions=(evolve(DOCUMENT.mentions[0], **change),), links=())


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (evolve(DOCUMENT, id="a/b"), "its id is to name a folder and a file, and cannot"),
        (evolve(DOCUMENT, id=".."), "its id is to name a folder and a file, and cannot"),
        (evolve(DOCUMENT, id=""), "its id is to name a folder and a file, and cannot"),
        (evolve(DOCUMENT, text=NOTE + "\ud800"), "the character '\\ud800' of its text is not UTF-8"),
        (evolve(DOCUMENT, id=PATH, links=()), "it is a pathology note, whose links are not annotated"),
        (evolve(DOCUMENT, linked=False), "it has 2 links and linked=False, expected one or the other"),
        (evolve(DOCUMENT, mentions=DOCUMENT.mentions * 2), "2 of its mentions or links have the id '1@e@d@gold'"),
        (evolve(DOCUMENT, links=DOCUMENT.links * 2), "2 of its mentions or links have the id '1@r@d@gold'"),
        (mention(id=""), "1 of its mentions or links have the id ''"),
        (mention(id="a\0"), "the character '\\x00' at 1 cannot be written in XML"),
        (mention(label="PLACE"), "'1@e@d@gold' has the label 'PLACE', expected one of EVENT"),
        (mention(pieces=()), "'1@e@d@gold' has the pieces () in a text of 53 characters"),
        (mention(pieces=((3, 54),)), "'1@e@d@gold' has the pieces ((3, 54),) in a text of 53 characters"),
        (mention(attributes=(("a b", "c"),)), "'1@e@d@gold' has an attribute 'a b', expected a name"),
        (mention(attributes=(("a", "\ufffe"),)), "the character '\\ufffe' at 0 cannot be written in XML"),
        (evolve(DOCUMENT, mentions=DOCUMENT.mentions[1:]), "'1@r@d@gold' links '1@e@d@gold' to '2@e@d@gold', expected"),
        (evolve(DOCUMENT, mentions=DOCUMENT.mentions[:1]), "'1@r@d@gold' links '1@e@d@gold' to '2@e@d@gold', expected"),
        (evolve(DOCUMENT, links=(evolve(DOCUMENT.links[0], label="TLINK"),)), "'1@r@d@gold' has the label 'TLINK', "),
        (evolve(DOCUMENT, links=(evolve(DOCUMENT.links[0], label="X:Y"),)), "'1@r@d@gold' has the label 'X:Y', expe"),
    ],
)
def test_what_the_format_cannot_hold_is_not_written(tmp_path: Path, document: Document, said: str) -> None:
    with pytest.raises(DataError) as caught:
        semeval2016_t12.write(tmp_path, "train", [document])
    assert str(caught.value).startswith(f"the document {document.id!r} cannot be written: {said}")
    assert list(tmp_path.iterdir()) == []


def test_two_documents_with_one_id_and_unknown_splits_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="its id is also that of an earlier document"):
        semeval2016_t12.write(tmp_path, "train", [DOCUMENT, DOCUMENT])
    with pytest.raises(DataError, match="the split is 'validation', expected one of train, dev, test"):
        semeval2016_t12.write(tmp_path, "validation", [DOCUMENT])


XML_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"))
VALUES = st.one_of(XML_TEXT, st.sampled_from(["a\r\nb", "\r", "\t", "]]>", "<&>\"'", "BEFORE/OVERLAP"]))
IDS = VALUES.filter(bool)
NOTES = st.lists(st.one_of(st.text(st.characters(codec="utf-8"), max_size=6), st.sampled_from(["\r\n", "\r", "\n"])))


@st.composite
def documents(draw: st.DrawFn) -> Document:
    text = "".join(draw(NOTES)) + draw(st.characters(codec="utf-8"))
    offsets = st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).filter(lambda s: s[0] != s[1])
    span = offsets.map(lambda s: (min(s), max(s)))
    pieces = st.lists(span, min_size=1, max_size=3).map(tuple)
    names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,5}", fullmatch=True)
    attributes = st.lists(st.tuples(names, VALUES), min_size=1, max_size=3).map(tuple)
    labels = st.sampled_from(semeval2016_t12.ENTITIES)
    mentions = [
        Mention(id=name, label=draw(labels), pieces=draw(pieces), attributes=draw(attributes))
        for name in draw(st.lists(IDS, max_size=4, unique=True))
    ]
    linked = draw(st.booleans())
    ends = st.sampled_from([m.id for m in mentions] or [""])
    link_labels = st.tuples(st.sampled_from(sorted(semeval2016_t12.RELATIONS)), IDS).map(":".join)
    links = [
        Link(id=name, label=draw(link_labels), source=draw(ends), target=draw(ends))
        for name in draw(st.lists(IDS, max_size=3, unique=True))
        if mentions and linked
    ]
    name = draw(st.sampled_from(["a_clinic_1", "a_clinic_10", "b", "Ä ö"] if linked else ["a_path_1", "b_patha", "c"]))
    return Document(id=name, text=text, mentions=tuple(mentions), links=tuple(links), linked=linked)


@settings(deadline=None)  # files on a busy machine
@given(st.lists(documents(), unique_by=lambda d: d.id, max_size=3), st.sampled_from(["train", "dev", "test"]))
@example([DOCUMENT, UNLINKED], "test")
@example([Document(id="a", text="")], "dev")
def test_round_trip(written: list[Document], split: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "Train").mkdir()  # an empty list of documents makes no folder
        semeval2016_t12.write(folder, split, written)
        read = semeval2016_t12.read(folder, Log(strict=True))
        assert read.pop(split) == tuple(sorted(written, key=lambda document: document.id))
        assert set(read.values()) == {()}


def test_the_samples_read_and_write_back(tmp_path: Path, samples: Path) -> None:
    folder = samples / "semeval2016_t12"
    read = semeval2016_t12.read(folder, Log(strict=True))
    assert {split: [(d.id, len(d.mentions), len(d.links), d.linked) for d in read[split]] for split in read} == {
        "train": [("ID901_clinic_001", 13, 9, True), ("ID902_path_002", 4, 0, False)],
        "dev": [("ID903_clinic_003", 5, 1, True)],
        "test": [],
    }
    clinic = read["train"][0]
    assert Counter(link.label for link in clinic.links)["TLINK:CONTAINS"] == 5
    assert clinic.mentions[12].pieces == ((225, 229), (250, 264))
    for split, found in read.items():
        semeval2016_t12.write(tmp_path, split, found)
    (tmp_path / "coloncancer" / "Test").mkdir()
    assert semeval2016_t12.read(tmp_path, Log(strict=True)) == read
    (original,) = folder.rglob("ID901*.xml")
    (ours,) = tmp_path.rglob("ID901*.xml")
    strip = [[" ".join(line.split()) for line in p.read_text().split("\n") if line.strip()] for p in (original, ours)]
    assert [a for a in strip[0] if "savetime" not in a] == [a for a in strip[1] if "savetime" not in a]
