"""SemEval-2015 Task 14: layouts, slots and cues, every oddity of a line; what is written is read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlfn.data.document import Document, Link, Log, Mention, mention_text
from mtlfn.data.example import DataError
from mtlfn.data.semeval.formats import semeval2015_t14

DATA = "semeval-2015-task-14/data"
STEM = "10001-100001"
TEXT = "He had no knee and\nankle pain,\r\nmild.\nCafé: ill.\n"
DEFAULTS = "no|null|patient|null|no|null|unmarked|null|unmarked|null|false|null|false|null|null|null"
NULLS = "|".join(["null"] * 16)
PAIN = f"{STEM}.text|25-29|C0000001|{DEFAULTS}"
ILL = f"{STEM}.text|44-47|CUI-less|{DEFAULTS}"
NAMES = ("negation", "subject", "uncertainty", "course", "severity", "conditional", "generic", "bodyloc")


def put(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def pair(folder: Path, *lines: str, stem: str = STEM, text: str = TEXT) -> Path:
    put(folder / f"{stem}.text", text)
    return put(folder / f"{stem}.pipe", "".join(f"{line}\n" for line in lines))


def attributes(cui: str, slots: str, time: tuple[str, ...] = ()) -> tuple[tuple[str, str], ...]:
    """From the sixteen fields as they stand in a line, and the three of time."""
    names = [name for slot in NAMES for name in (slot, f"{slot}_cue")]
    return (
        ("cui", cui),
        *zip(names, slots.split("|"), strict=True),
        *zip(("doctime", "temporal", "temporal_cue"), time, strict=bool(time)),
    )


def mention(number: int, pieces: tuple[tuple[int, int], ...], held: tuple[tuple[str, str], ...]) -> Mention:
    return Mention(id=str(number), label="Disease_Disorder", pieces=pieces, attributes=held)


FIRST = mention(1, ((25, 29),), attributes("C0000001", DEFAULTS))


def one(tmp_path: Path, *lines: str, log: Log) -> tuple[Path, tuple[Mention, ...]]:
    path = pair(tmp_path / DATA / "train" / "discharge", *lines)
    (document,) = semeval2015_t14.read(tmp_path, log)["train"]
    assert (document.id, document.text) == (STEM, TEXT)
    return path, document.mentions


def change(line: str, fields: dict[int, str]) -> str:
    """The line with other fields, counted from 1."""
    held = line.split("|")
    for number, value in fields.items():
        held[number - 1] = value
    return "|".join(held)


def test_official_layout_from_each_folder(tmp_path: Path) -> None:
    data = tmp_path / DATA
    pair(data / "train" / "discharge", PAIN)
    pair(data / "train" / "echo", stem="00001-000001")
    pair(data / "devel" / "discharge", stem="2-2")
    pair(data / "test", stem="3-3")
    found = semeval2015_t14.read(tmp_path, Log(strict=True))
    assert {split: [d.id for d in documents] for split, documents in found.items()} == {
        "train": ["00001-000001", STEM],
        "dev": ["2-2"],
        "test": ["3-3"],
    }
    assert found["train"] == (
        Document(id="00001-000001", text=TEXT),  # its empty file says that it has no disorder
        Document(id=STEM, text=TEXT, mentions=(FIRST,)),
    )
    for folder in (data, data.parent):
        assert semeval2015_t14.read(folder, Log(strict=True)) == found


def test_older_release_from_its_folder(tmp_path: Path) -> None:
    pair(tmp_path / "semeval-2015-task-14" / "subtask-c" / "data" / "devel" / "discharge")
    found = semeval2015_t14.read(tmp_path / "semeval-2015-task-14" / "subtask-c", Log(strict=True))
    assert [len(found[split]) for split in ("train", "dev", "test")] == [0, 1, 0]


@pytest.mark.parametrize("file", [None, "train/a.txt", "dev/a.text", "a.pipe"])
def test_no_layout(tmp_path: Path, file: str | None) -> None:
    if file:
        put(tmp_path / file, "")
    with pytest.raises(DataError) as caught:
        semeval2015_t14.read(tmp_path, Log())
    assert str(caught.value) == (
        f"{tmp_path} holds no notes of SemEval-2015 Task 14; looked for files *.text and *.pipe below train/, devel/, "
        "test/ in semeval-2015-task-14/data/, data/ or the folder itself"
    )


def test_missing_partners(tmp_path: Path) -> None:
    devel = tmp_path / DATA / "devel" / "discharge"
    pair(devel)
    note, annotations = put(devel / "x.text", "x"), put(devel / "y.pipe", "")
    log = Log()
    assert semeval2015_t14.read(tmp_path, log)["dev"] == (Document(id=STEM, text=TEXT),)
    assert [str(problem) for problem in log.problems] == [
        f"{note}, the whole file: is a note without x.pipe, expected both (skipped)",
        f"{annotations}, the whole file: is an annotation file without y.text, expected both (skipped)",
    ]
    with pytest.raises(DataError, match=r"x\.text, the whole file: is a note without"):
        semeval2015_t14.read(tmp_path, Log(strict=True))


def test_mentions_are_as_annotated(tmp_path: Path) -> None:
    slots = "yes|7-9|donor_other|0-2|yes|3-6|worsened|32-36|slight|32-36|true|0-2|true|3-6|C0000007|10-14,19-24"
    lines = [
        f"{STEM}.text|10-14,25-29|C0000001|{slots}",
        " \r",
        f"{STEM}.text|19-29|C0000002|{DEFAULTS}|\r",
        f"{STEM}.text|10-29|C1  C2|{DEFAULTS.upper()}",
        f"{STEM}.text|25-29, 10 - 14|CUI-less|{DEFAULTS}",
        f"{STEM}.txt|44-47|CUI-less|{NULLS}",
        f"{STEM}.text|19-29|C0000003|{DEFAULTS}",
    ]
    _, mentions = one(tmp_path, *lines, log=Log(strict=True))
    assert [(m.id, mention_text(TEXT, m)) for m in mentions] == [
        ("1", "knee pain"),
        ("3", "ankle pain"),
        ("4", "knee and\nankle pain"),
        ("5", "pain knee"),
        ("6", "ill"),
        ("7", "ankle pain"),
    ]
    assert [m.attributes for m in mentions] == [
        attributes("C0000001", slots),
        attributes("C0000002", DEFAULTS),
        attributes("C1 C2", DEFAULTS),
        attributes("CUI-less", DEFAULTS),
        attributes("CUI-less", NULLS),
        attributes("C0000003", DEFAULTS),
    ]
    assert {m.label for m in mentions} == {"Disease_Disorder"}


def test_every_value_of_every_slot(tmp_path: Path) -> None:
    values = {
        4: "no yes",
        6: "patient family_member donor_other other",
        8: "no yes",
        10: "unmarked changed increased decreased improved worsened resolved",
        12: "unmarked slight moderate severe",
        14: "false true",
        16: "false true",
        18: "null C0000007 CUI-less",
    }
    wanted = [(field, value) for field, each in values.items() for value in each.split()]
    # One mention each: the concepts differ.
    lines = [change(PAIN, {3: f"C{i}", field: value}) for i, (field, value) in enumerate(wanted)]
    _, mentions = one(tmp_path, *lines, log=Log(strict=True))
    assert [m[NAMES[field // 2 - 2]] for m, (field, _) in zip(mentions, wanted, strict=True)] == [v for _, v in wanted]


def test_lines_that_differ_in_the_body_location_are_one_mention(tmp_path: Path) -> None:
    lines = [
        change(PAIN, {18: "C0000007", 19: "10-14"}),
        change(PAIN, {3: "C0000002", 18: "C0000007", 19: "10-14"}),
        change(PAIN, {18: "C0000008", 19: "19-24"}),
        change(PAIN, {4: "yes", 18: "C0000008", 19: "19-24"}),
        change(PAIN, {18: "C0000008", 19: "null"}),
    ]
    path, mentions = one(tmp_path, *lines, log=Log(strict=True))
    assert [(m.id, m["cui"], m["negation"]) for m in mentions] == [
        ("1", "C0000001", "no"),
        ("2", "C0000002", "no"),
        ("4", "C0000001", "yes"),
    ]
    assert mentions[0].attributes[-6:] == (
        ("bodyloc", "C0000007"),
        ("bodyloc_cue", "10-14"),
        ("bodyloc", "C0000008"),
        ("bodyloc_cue", "19-24"),
        ("bodyloc", "C0000008"),
        ("bodyloc_cue", "null"),
    )
    assert mentions[0].attributes[:-6] == FIRST.attributes[:-2]
    semeval2015_t14.write(tmp_path / "copy", "train", [Document(id=STEM, text=TEXT, mentions=mentions)])
    (copy,) = (tmp_path / "copy").rglob("*.pipe")
    order = [lines[i] for i in (0, 2, 4, 1, 3)]
    assert copy.read_text() == "".join(f"{line}\n" for line in order)
    assert path.read_text() == "".join(f"{line}\n" for line in lines)


def test_fields_of_time_are_kept(tmp_path: Path) -> None:
    with_time = (
        f"{change(PAIN, {18: 'C0000007', 19: '10-14'})}|before|date|3-6,10-14",
        f"{change(PAIN, {18: 'C0000008', 19: '19-24'})}|before|date|3-6,10-14",
        f"{PAIN}|NULL|null|null|",
        f"{ILL}",
    )
    _, mentions = one(tmp_path, *with_time, log=Log(strict=True))
    assert [m.id for m in mentions] == ["1", "3", "4"]
    assert mentions[0].attributes[-7:] == (
        ("bodyloc", "C0000007"),
        ("bodyloc_cue", "10-14"),
        ("bodyloc", "C0000008"),
        ("bodyloc_cue", "19-24"),
        ("doctime", "before"),
        ("temporal", "date"),
        ("temporal_cue", "3-6,10-14"),
    )
    assert mentions[1].attributes == attributes("C0000001", DEFAULTS, ("null", "null", "null"))
    assert mentions[2].attributes == attributes("CUI-less", DEFAULTS)
    semeval2015_t14.write(tmp_path / "copy", "train", [Document(id=STEM, text=TEXT, mentions=mentions)])
    (copy,) = (tmp_path / "copy").rglob("*.pipe")
    assert copy.read_text().split() == [*with_time[:2], f"{PAIN}|null|null|null", ILL]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (PAIN, "repeats line 1"),
        (f"{PAIN}|", "repeats line 1"),
        (change(PAIN, {5: "NULL", 1: f" {STEM}.text "}), "repeats line 1"),
        (PAIN.removesuffix("|null"), "found 18 fields, expected 19, or 22 with those of time"),
        (f"{PAIN}|x", "found 20 fields, expected 19, or 22 with those of time"),
        (f"{PAIN}||", "found 21 fields, expected 19, or 22 with those of time"),
        (f"{PAIN}|a|b|null|d", "found 23 fields, expected 19, or 22 with those of time"),
        ("DD_DocName", "found 1 fields, expected 19, or 22 with those of time"),
        (change(PAIN, {2: "DD_Spans"}), "found the spans 'DD_Spans', expected such as 1-5,8-9"),
        (change(PAIN, {2: ""}), "found the spans '', expected such as 1-5,8-9"),
        (change(PAIN, {2: "1-5,8"}), "found the spans '1-5,8', expected such as 1-5,8-9"),
        (change(PAIN, {2: "1-5,"}), "found the spans '1-5,', expected such as 1-5,8-9"),
        (change(PAIN, {2: "1-\u0665"}), "found the spans '1-\u0665', expected such as 1-5,8-9"),
        (change(PAIN, {2: "0-99999999999"}), "found the spans '0-99999999999', expected such as 1-5,8-9"),
        (change(PAIN, {2: "1-51"}), "found the spans '1-51', expected stretches of a text of 49 characters"),
        (change(PAIN, {2: "1-5,9-9"}), "found the spans '1-5,9-9', expected stretches of a text of 49 characters"),
        (change(PAIN, {2: "5-1"}), "found the spans '5-1', expected stretches of a text of 49 characters"),
    ],
)
def test_a_line_that_cannot_be_used(tmp_path: Path, line: str, said: str) -> None:
    log = Log()
    path, mentions = one(tmp_path, PAIN, line, ILL, log=log)
    assert mentions == (FIRST, mention(3, ((44, 47),), attributes("CUI-less", DEFAULTS)))
    assert [str(problem) for problem in log.problems] == [f"{path}, line 2: {said} (skipped)"]
    with pytest.raises(DataError) as caught:
        semeval2015_t14.read(tmp_path, Log(strict=True))
    assert str(caught.value) == f"{path}, line 2: {said}"


OTHER = (
    f"{STEM}.text|44-47|C0000009|yes|7-9|patient|null|no|null|unmarked|null|unmarked|null|false|null|false|null|C7|3-6"
)


@pytest.mark.parametrize(
    ("field", "found", "read", "said", "done"),
    [
        (1, "x.text", None, f"found the document 'x.text', expected '{STEM}.text' or '{STEM}.txt'", "repaired"),
        (3, "", "CUI-less", "found the cui '', expected 'CUI-less' or a value", "repaired"),
        (4, "maybe", "no", "found the negation 'maybe', expected one of no, yes; read as 'no'", "skipped"),
        (4, "null", "no", "found the negation 'null', expected one of no, yes; read as 'no'", "skipped"),
        (5, "nul", "null", "found the negation_cue 'nul', expected 'null' or spans", "repaired"),
        (5, "Unmarked", "null", "found the negation_cue 'Unmarked', expected 'null' or spans", "repaired"),
        (5, "", "null", "found the negation_cue '', expected 'null' or spans", "repaired"),
        (
            5,
            "yes",
            "null",
            "found the negation_cue 'yes', expected 'null' or spans such as 1-5,8-9 in a text of 49 characters; read "
            "as 'null'",
            "skipped",
        ),
        (
            5,
            "7-99",
            "null",
            "found the negation_cue '7-99', expected 'null' or spans such as 1-5,8-9 in a text of 49 characters; read "
            "as 'null'",
            "skipped",
        ),
        (6, "doner_other", "donor_other", "found the subject 'doner_other', expected 'donor_other'", "repaired"),
        (
            6,
            "mother",
            "patient",
            "found the subject 'mother', expected one of patient, family_member, donor_other, other; read as 'patient'",
            "skipped",
        ),
        (14, "no", "false", "found the conditional 'no', expected one of false, true; read as 'false'", "skipped"),
        (18, "nul", "null", "found the bodyloc 'nul', expected 'null' or a value", "repaired"),
        (19, "nul", "null", "found the bodyloc_cue 'nul', expected 'null' or spans", "repaired"),
        (20, "", "null", "found the doctime '', expected 'null' or a value", "repaired"),
        (22, "nul", "null", "found the temporal_cue 'nul', expected 'null' or spans", "repaired"),
    ],
)
def test_a_field_that_is_repaired_or_falls_back(
    tmp_path: Path, field: int, found: str, read: str | None, said: str, done: str
) -> None:
    time = ("before", "date", "3-6") if field > 19 else ()
    right = "|".join((OTHER, *time))
    log = Log()
    path, mentions = one(tmp_path, PAIN, change(right, {field: found}), log=log)
    right = change(right, {field: read}) if read else right
    cui, *slots = right.split("|")[2:19]
    time = tuple(right.split("|")[19:])
    assert mentions == (FIRST, mention(2, ((44, 47),), attributes(cui, "|".join(slots), time)))
    assert [str(problem) for problem in log.problems] == [f"{path}, line 2: {said} ({done})"]
    with pytest.raises(DataError) as caught:
        semeval2015_t14.read(tmp_path, Log(strict=True))
    assert str(caught.value) == f"{path}, line 2: {said}"


def test_several_oddities_of_a_line_are_all_told(tmp_path: Path) -> None:
    log = Log()
    _, mentions = one(tmp_path, change(OTHER, {4: "maybe", 5: "nul", 12: "much", 19: "x"}), log=log)
    assert [problem.done for problem in log.problems] == ["skipped", "repaired", "skipped", "skipped"]
    assert [problem.where for problem in log.problems] == ["line 1"] * 4
    assert mentions[0].attributes == attributes("C0000009", DEFAULTS.removesuffix("null|null") + "C7|null")


def test_repaired_lines_are_compared_as_repaired(tmp_path: Path) -> None:
    log = Log()
    _, mentions = one(tmp_path, PAIN, change(PAIN, {5: "nul", 18: "C7"}), change(PAIN, {5: "nul"}), log=log)
    assert [m.id for m in mentions] == ["1"]
    assert [value for name, value in mentions[0].attributes if name == "bodyloc"] == ["null", "C7"]
    assert [problem.what for problem in log.problems if "repeats" in problem.what] == ["repeats line 1"]


SPLITS = st.sampled_from(["train", "dev", "test"])
VALUES = [
    ("no", "yes"),
    ("patient", "family_member", "donor_other", "other"),
    ("no", "yes"),
    ("unmarked", "changed", "increased", "decreased", "improved", "worsened", "resolved"),
    ("unmarked", "slight", "moderate", "severe"),
    ("false", "true"),
    ("false", "true"),
]
LETTERS = st.sampled_from("ab |\n\r\u2028é\U0001f600") | st.characters(codec="utf-8")


@st.composite
def documents(draw: st.DrawFn) -> Document:
    text = draw(st.text(LETTERS, min_size=1, max_size=30))
    spans = st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).filter(lambda span: span[0] < span[1])
    pieces = st.lists(spans, min_size=1, max_size=3).map(tuple)
    cue = st.just("null") | pieces.map(lambda each: ",".join(f"{a}-{b}" for a, b in each))
    annotated = st.tuples(*(part for values in VALUES for part in (st.sampled_from(values), cue)))
    bodies = st.lists(
        st.tuples(st.sampled_from(["null", "C0000001", "C0000002", "CUI-less"]), cue),
        min_size=1,
        max_size=3,
        unique=True,
    )
    empty = st.just(("null",) * 14)
    slots_bodies = st.tuples(annotated, bodies) | st.tuples(empty, st.just([("null", "null")]))
    cuis = st.sampled_from(["CUI-less", "C0000001", "cui-LESS", "C1 C2"])
    time = st.just(()) | st.tuples(st.sampled_from(["null", "before"]), st.sampled_from(["null", "date"]), cue)
    rows = st.lists(
        st.tuples(pieces, cuis, slots_bodies, time),
        max_size=5,
        unique_by=lambda row: (row[0], row[1], row[2][0], row[3]),  # all but the body locations
    )
    mentions, number = [], 1
    for spans_, cui, (slots, places), times in draw(rows):
        value, words = places[0]
        held = attributes(cui, "|".join((*slots, value, words)))
        held += tuple(p for v, w in places[1:] for p in (("bodyloc", v), ("bodyloc_cue", w)))
        held += tuple(zip(("doctime", "temporal", "temporal_cue"), times, strict=bool(times)))
        mentions.append(mention(number, spans_, held))
        number += len(places)
    name = draw(st.from_regex(r"[0-9]{1,2}-[0-9é]{1,2}", fullmatch=True))
    return Document(id=name, text=text, mentions=tuple(mentions))


@settings(deadline=None)
@given(st.lists(documents(), min_size=1, max_size=4, unique_by=lambda d: d.id), SPLITS)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, given_documents: list[Document], split: str
) -> None:
    folder = tmp_path_factory.mktemp("written")
    semeval2015_t14.write(folder, split, iter(given_documents))
    expected = {"train": (), "dev": (), "test": ()} | {split: tuple(sorted(given_documents, key=lambda d: d.id))}
    assert semeval2015_t14.read(folder, Log(strict=True)) == expected
    for path in folder.rglob("*.pipe"):
        assert all(line.count("|") in (18, 21) for line in path.read_text().splitlines())


def test_layout_and_lines_written(tmp_path: Path) -> None:
    bare = Mention(id="x", label="Disease_Disorder", pieces=((10, 14), (25, 29)))
    partly = evolve(bare, attributes=(("bodyloc", "C7"), ("severity", "severe"), ("cui", "C1")))
    timed = evolve(bare, attributes=(("cui", "C2"), ("temporal", "date")))
    semeval2015_t14.write(tmp_path, "dev", [Document(id=STEM, text=TEXT, mentions=(bare, partly, timed))])
    home = tmp_path / DATA / "devel" / "discharge"
    assert sorted(path.name for path in home.iterdir()) == [f"{STEM}.pipe", f"{STEM}.text"]
    severe = "no|null|patient|null|no|null|unmarked|null|severe|null|false|null|false|null|C7|null"
    assert (home / f"{STEM}.pipe").read_bytes().decode() == (
        f"{STEM}.text|10-14,25-29|CUI-less|{NULLS}\n"
        f"{STEM}.text|10-14,25-29|C1|{severe}\n"
        f"{STEM}.text|10-14,25-29|C2|{NULLS}|null|date|null\n"
    )
    assert (home / f"{STEM}.text").read_bytes() == TEXT.encode()


def test_annotations_alone(tmp_path: Path) -> None:
    semeval2015_t14.write(tmp_path, "test", [Document(id="a", text=TEXT, mentions=(FIRST,))], notes=False)
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert path == tmp_path / DATA / "test" / "discharge" / "a.pipe"
    assert path.read_text() == PAIN.replace(STEM, "a") + "\n"


GOOD = Document(id=STEM, text=TEXT, mentions=(FIRST,))


def holding(*changes: tuple[str, str]) -> Document:
    """With attributes in the place of those of the same name, or behind them."""
    held = dict(FIRST.attributes) | dict(changes)
    return evolve(GOOD, mentions=(evolve(FIRST, attributes=tuple(held.items())),))


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (evolve(GOOD, id="a/b"), "expected an id that can be the name of a file, not hidden and without folder"),
        (evolve(GOOD, id="a|b"), "found 20 fields, expected 19"),
        (evolve(GOOD, links=(Link(id="l", label="x", source="1", target="1"),)), "it has 1 links, expected none"),
        (evolve(GOOD, text=TEXT + "\ud800"), "UTF-8 has no '\\ud800' (at 49)"),
        (evolve(GOOD, mentions=(evolve(FIRST, pieces=((7, 51),)),)), "expected stretches of a text of 49 characters"),
        (evolve(GOOD, mentions=(evolve(FIRST, pieces=()),)), "found the spans '', expected such as"),
        (evolve(GOOD, mentions=(FIRST, FIRST)), "line 2: repeats line 1"),
        (evolve(GOOD, mentions=(evolve(FIRST, label="Drug"),)), "would be read back as Mention(id='1'"),
        (
            evolve(GOOD, mentions=(FIRST, holding(("bodyloc", "C7")).mentions[0])),
            "would be read back as Mention(id='1'",
        ),
        (holding(("negation", "maybe")), "found the negation 'maybe', expected one of no, yes"),
        (holding(("negation", "null")), "found the negation 'null', expected one of no, yes"),
        (holding(("negation", "YES")), "would be read back as Mention(id='1'"),
        (holding(("negation_cue", "7-99")), "found the negation_cue '7-99'"),
        (holding(("negation_cue", "NULL")), "would be read back as Mention(id='1'"),
        (holding(("subject", "doner_other")), "found the subject 'doner_other', expected 'donor_other'"),
        (holding(("cui", "C1|C2")), "found 20 fields, expected 19"),
        (holding(("cui", "C1\nC2")), "found 3 fields, expected 19"),
        (holding(("cui", "C1  C2")), "would be read back as Mention(id='1'"),
        (holding(("cui", "")), "found the cui '', expected 'CUI-less' or a value"),
        (holding(("bodyloc", "C7|"), ("bodyloc_cue", "x")), "found 20 fields, expected 19"),
        (holding(("doctime", "")), "found the doctime '', expected 'null' or a value"),
        (holding(("colour", "red")), "the mention '1' has the attribute 'colour' ('red'), which is unknown or twice"),
        (
            evolve(GOOD, mentions=(evolve(FIRST, attributes=(("negation", "yes"), ("negation", "no"))),)),
            "the mention '1' has the attribute 'negation' ('yes'), which is unknown or twice",
        ),
        (
            evolve(GOOD, mentions=(evolve(FIRST, attributes=(("bodyloc_cue", "7-9"),)),)),
            "the mention '1' has the attribute 'bodyloc_cue' ('7-9'), which is unknown or twice",
        ),
    ],
)
def test_what_the_format_cannot_hold(tmp_path: Path, document: Document, said: str) -> None:
    first = evolve(GOOD, id="a")
    with pytest.raises(DataError) as caught:
        semeval2015_t14.write(tmp_path, "train", [first, document])
    assert str(caught.value).startswith(f"the document {document.id!r} cannot be written: ")
    assert said in str(caught.value)
    assert semeval2015_t14.read(tmp_path, Log(strict=True))["train"] == (first,)


def test_ids_are_unique_and_splits_are_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="its id is also that of an earlier document"):
        semeval2015_t14.write(tmp_path, "train", [GOOD, GOOD])
    with pytest.raises(DataError, match="the split is 'devel', expected one of train, dev, test"):
        semeval2015_t14.write(tmp_path, "devel", [GOOD])


def test_samples(tmp_path: Path, samples: Path) -> None:
    folder = samples / "semeval2015_t14"
    found = semeval2015_t14.read(folder, Log(strict=True))
    for split, name in (("train", "train"), ("dev", "devel"), ("test", "test")):
        files = sorted((folder / DATA / name).glob("*/*.pipe"), key=lambda path: path.stem)
        assert [d.id for d in found[split]] == [path.stem for path in files]
        lines = [path.read_text().splitlines() for path in files]
        places = [[name for m in d.mentions for name, _ in m.attributes].count("bodyloc") for d in found[split]]
        assert places == [len(each) for each in lines]
        assert [len(d.mentions) for d in found[split]] == [
            len({line.rsplit("|", 2)[0] for line in each}) for each in lines
        ]
        semeval2015_t14.write(tmp_path, split, found[split])
    assert found["train"]
    assert semeval2015_t14.read(tmp_path, Log(strict=True)) == found
    for path in (folder / DATA).rglob("*.*"):
        (copy,) = tmp_path.rglob(path.name)
        assert copy.read_bytes() == path.read_bytes()
