"""SemEval-2014 Task 7: every layout and every oddity of a line; what is written is read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlfn.data.document import Document, Link, Log, Mention, mention_text
from mtlfn.data.example import DataError
from mtlfn.data.semeval.formats import semeval2014_t7

DATA = "semeval-2014-task-7/data"
STEM = "1-2-DISCHARGE_SUMMARY"
TEXT = "He had knee and\nankle pain,\r\nno fever.\nCafé: ill.\n"
PAIN = f"{STEM}.txt||Disease_Disorder||C0000001||22||26"
FEVER = f"{STEM}.txt||Disease_Disorder||C0000002||32||37"


def put(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def pair(folder: Path, *lines: str, stem: str = STEM, text: str = TEXT) -> Path:
    put(folder / f"{stem}.text", text)
    return put(folder / f"{stem}.pipe", "".join(f"{line}\n" for line in lines))


def mention(number: int, *pieces: tuple[int, int], cui: str = "C0000001") -> Mention:
    return Mention(id=str(number), label="Disease_Disorder", pieces=pieces, attributes=(("cui", cui),))


def one(tmp_path: Path, *lines: str, log: Log) -> tuple[Path, tuple[Mention, ...]]:
    path = pair(tmp_path / DATA / "train" / "discharge", *lines)
    (document,) = semeval2014_t7.read(tmp_path, log)["train"]
    assert (document.id, document.text) == (STEM, TEXT)
    return path, document.mentions


def test_official_layout_from_each_folder(tmp_path: Path) -> None:
    data = tmp_path / DATA
    pair(data / "train" / "echo", stem="b")
    pair(data / "train" / "discharge", PAIN, stem=STEM)
    pair(data / "train" / "radiology" / "deep", stem="a")
    pair(data / "devel", stem="c")
    put(data / "test" / "discharge" / "d.text", "x")
    put(data / "test" / "elsewhere" / "d.pipe", "")
    put(data / "train" / "echo" / "._b.text", b"\0")
    put(data / "train" / ".copies" / "b.text", b"\0")
    put(data / "train" / "README", "x")
    found = semeval2014_t7.read(tmp_path, Log(strict=True))
    assert {split: [d.id for d in documents] for split, documents in found.items()} == {
        "train": [STEM, "a", "b"],
        "dev": ["c"],
        "test": ["d"],
    }
    assert found["train"][0] == Document(id=STEM, text=TEXT, mentions=(mention(1, (22, 26)),))
    for folder in (data, data.parent):
        assert semeval2014_t7.read(folder, Log(strict=True)) == found


def test_absent_splits_are_empty(tmp_path: Path) -> None:
    pair(tmp_path / DATA / "devel")
    found = semeval2014_t7.read(tmp_path, Log(strict=True))
    assert [len(found[split]) for split in ("train", "dev", "test")] == [0, 1, 0]


def test_clef_layout(tmp_path: Path) -> None:
    put(tmp_path / "Task1TrainSet" / "notes" / f"{STEM}.txt", TEXT)
    put(tmp_path / "GoldOfTRAIN" / f"{STEM}.pipe.txt", PAIN)
    put(tmp_path / "train_and_test" / "TestSet" / "a.txt", "ill")
    put(tmp_path / "gold" / "a.pipe.txt", "a.txt||Disease_Disorder||CUI-less||0||3")
    put(tmp_path / "readme.txt", "x")
    assert semeval2014_t7.read(tmp_path, Log(strict=True)) == {
        "train": (Document(id=STEM, text=TEXT, mentions=(mention(1, (22, 26)),)),),
        "dev": (Document(id="a", text="ill", mentions=(mention(1, (0, 3), cui="CUI-less"),)),),
        "test": (),
    }


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        ("TestSet", "dev"),
        ("TRAINING", "train"),
        ("test/train/notes", "train"),
        ("train/Test", "dev"),
        ("train/latest_train", "train"),
        ("test/latest_train", "dev"),
    ],
)
def test_the_nearest_clef_folder_that_tells_the_split_counts(tmp_path: Path, folder: str, split: str) -> None:
    put(tmp_path / folder / "a.txt", "ill")
    put(tmp_path / folder / "a.pipe.txt", "")
    found = semeval2014_t7.read(tmp_path, Log(strict=True))
    assert found == {"train": (), "dev": (), "test": ()} | {split: (Document(id="a", text="ill"),)}


def test_clef_files_without_a_split_or_partner(tmp_path: Path) -> None:
    put(tmp_path / "train" / "a.txt", "ill")
    put(tmp_path / "train" / "a.pipe.txt", "")
    second = put(tmp_path / "train_system" / "a.pipe.txt", "a.txt||Disease_Disorder||CUI-less||0||3")
    alone = put(tmp_path / "train" / "b.txt", "ill")
    nowhere = put(tmp_path / "gold" / "c.pipe.txt", "")
    put(tmp_path / "gold" / "c.txt", "ill")
    log = Log()
    found = semeval2014_t7.read(tmp_path, log)
    assert found == {"train": (Document(id="a", text="ill"),), "dev": (), "test": ()}
    first = tmp_path / "train" / "a.pipe.txt"
    assert [str(problem) for problem in log.problems] == [
        f"{nowhere}, the whole file: is in no folder with train or test in its name, nor is its note (skipped)",
        f"{second}, the whole file: has the same name as {first}, expected one of a split (skipped)",
        f"{alone}, the whole file: is a note without b.pipe.txt, expected both (skipped)",
    ]


@pytest.mark.parametrize("file", [None, "train/a.txt", "train/b.jsonl", "gold/a.pipe.txt", "training/a.text"])
def test_no_layout(tmp_path: Path, file: str | None) -> None:
    if file:
        put(tmp_path / file, "")
    with pytest.raises(DataError) as caught:
        semeval2014_t7.read(tmp_path, Log())
    assert str(caught.value) == (
        f"{tmp_path} holds no notes of SemEval-2014 Task 7; looked for files *.text and *.pipe below train/, devel/, "
        "test/ in semeval-2014-task-7/data/, data/ or the folder itself, and for files *.pipe.txt below a folder with "
        "train or test in its name (CLEF 2013)"
    )


def test_missing_partners_and_second_files(tmp_path: Path) -> None:
    train = tmp_path / DATA / "train"
    pair(train / "a")
    note = put(train / "a" / "x.text", "x")
    annotations = put(train / "a" / "y.pipe", "")
    second = put(train / "b" / f"{STEM}.text", "other")
    log = Log()
    (document,) = semeval2014_t7.read(tmp_path, log)["train"]
    assert document == Document(id=STEM, text=TEXT)
    assert [str(problem) for problem in log.problems] == [
        f"{second}, the whole file: has the same name as {train / 'a' / STEM}.text, expected one of a split (skipped)",
        f"{note}, the whole file: is a note without x.pipe, expected both (skipped)",
        f"{annotations}, the whole file: is an annotation file without y.text, expected both (skipped)",
    ]
    with pytest.raises(DataError, match="has the same name as"):
        semeval2014_t7.read(tmp_path, Log(strict=True))


def test_mentions_are_as_annotated(tmp_path: Path) -> None:
    head = f"{STEM}.txt||Disease_Disorder||"
    lines = [
        f"{head}C0000001||7||11||22||26",
        f"{head}c0000003||16||26",  # shares a piece with the first
        " \r",
        f"{head}CUI-less||7||26\r",  # holds a line break
        f"{head}C0000004||16||26",  # the span again, another concept
        f"{head}C0000005||22||26||7||11",
        f"{head}C1 C2||45||48",
    ]
    _, mentions = one(tmp_path, *lines, log=Log(strict=True))
    assert [(m.id, m["cui"], mention_text(TEXT, m)) for m in mentions] == [
        ("1", "C0000001", "knee pain"),
        ("2", "c0000003", "ankle pain"),
        ("4", "CUI-less", "knee and\nankle pain"),
        ("5", "C0000004", "ankle pain"),
        ("6", "C0000005", "pain knee"),
        ("7", "C1 C2", "ill"),
    ]
    assert {m.label for m in mentions} == {"Disease_Disorder"}
    assert mentions[0].pieces == ((7, 11), (22, 26))


HEAD = f"{STEM}.txt||Disease_Disorder||C0000009||"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (PAIN, "repeats line 1"),
        (f"{STEM}.txt || Disease_Disorder || C0000001 || 22 || 26 ", "repeats line 1"),
        (f"{HEAD}7||11||22", "found 3 offsets, expected an even number"),
        (f"{HEAD}7||11||", "found 3 offsets, expected an even number"),
        (f"{HEAD}7||x", "found the offset 'x', expected a whole number"),
        (f"{HEAD}-7||11", "found the offset '-7', expected a whole number"),
        (f"{HEAD}7||1\u0661", "found the offset '1\u0661', expected a whole number"),
        (f"{HEAD}|7||11", "found the offset '|7', expected a whole number"),
        (f"{HEAD}7", "found 4 fields, expected document, type, CUI and at least two offsets"),
        ("no such thing", "found 1 fields, expected document, type, CUI and at least two offsets"),
        (PAIN.replace("||", "|"), "found 1 fields, expected document, type, CUI and at least two offsets"),
        (f"{HEAD}7||51", "found the pieces [(7, 51)], expected stretches of a text of 50 characters"),
        (f"{HEAD}7||7", "found the pieces [(7, 7)], expected stretches of a text of 50 characters"),
        (f"{HEAD}11||7", "found the pieces [(11, 7)], expected stretches of a text of 50 characters"),
        (f"{HEAD}7||11||50||51", "found the pieces [(7, 11), (50, 51)], expected stretches of a text of 50 characters"),
        (f"{STEM}.txt||Drug||C0000009||7||11", "found the type 'Drug', expected 'Disease_Disorder'"),
        (f"{STEM}.txt||Disease_Disorder||C1|C2||7||11", "found the CUI 'C1|C2', expected none with a bar"),
    ],
)
def test_a_line_that_cannot_be_used(tmp_path: Path, line: str, said: str) -> None:
    log = Log()
    path, mentions = one(tmp_path, PAIN, line, FEVER, log=log)
    assert mentions == (mention(1, (22, 26)), mention(3, (32, 37), cui="C0000002"))
    assert [str(problem) for problem in log.problems] == [f"{path}, line 2: {said} (skipped)"]
    with pytest.raises(DataError) as caught:
        semeval2014_t7.read(tmp_path, Log(strict=True))
    assert str(caught.value) == f"{path}, line 2: {said}"


@pytest.mark.parametrize(
    ("line", "said", "cui"),
    [
        (
            "other.txt||Disease_Disorder||C0000009||7||11",
            f"found the document 'other.txt', expected '{STEM}.text' or '{STEM}.txt'",
            "C0000009",
        ),
        (
            f"{STEM}.txt||disease_disorder||C0000009||7||11",
            "found the type 'disease_disorder', expected 'Disease_Disorder'",
            "C0000009",
        ),
        (f"{STEM}.txt||Disease_Disorder||||7||11", "found no CUI, expected one or 'CUI-less'", "CUI-less"),
    ],
)
def test_a_line_that_is_repaired(tmp_path: Path, line: str, said: str, cui: str) -> None:
    log = Log()
    path, mentions = one(tmp_path, PAIN, line, log=log)
    assert mentions == (mention(1, (22, 26)), mention(2, (7, 11), cui=cui))
    assert [str(problem) for problem in log.problems] == [f"{path}, line 2: {said} (repaired)"]
    with pytest.raises(DataError) as caught:
        semeval2014_t7.read(tmp_path, Log(strict=True))
    assert str(caught.value) == f"{path}, line 2: {said}"


def test_a_line_without_cui_repeats_one_with_cui_less(tmp_path: Path) -> None:
    log = Log()
    line = f"{STEM}.txt||Disease_Disorder||CUI-less||7||11"
    _, mentions = one(tmp_path, line, line.replace("CUI-less", ""), log=log)
    assert mentions == (mention(1, (7, 11), cui="CUI-less"),)
    assert [problem.what for problem in log.problems] == ["repeats line 1"]


def test_a_name_that_ends_like_the_note_is_no_mistake(tmp_path: Path) -> None:
    one(tmp_path, PAIN.replace(".txt", ".text"), log=Log(strict=True))


def test_latin_1(tmp_path: Path) -> None:
    train = tmp_path / DATA / "train"
    note = put(train / "a.text", "Café: ill".encode("latin-1"))
    put(train / "a.pipe", "a.txt||Disease_Disorder||C1||6||9")
    log = Log()
    (document,) = semeval2014_t7.read(tmp_path, log)["train"]
    assert mention_text(document.text, document.mentions[0]) == "ill"
    assert [(problem.path, problem.done) for problem in log.problems] == [(note, "repaired")]


SPLITS = st.sampled_from(["train", "dev", "test"])


@st.composite
def documents(draw: st.DrawFn) -> Document:
    text = draw(st.text(st.sampled_from("ab |\n\r\u2028é\U0001f600") | st.characters(codec="utf-8"), max_size=30))
    spans = st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).filter(lambda span: span[0] < span[1])
    pieces = st.lists(spans, min_size=1, max_size=3).map(tuple) if text else st.nothing()
    cuis = st.sampled_from(["CUI-less", "C0000001", "cui-LESS", "C1 C2"])
    held = draw(st.lists(st.tuples(pieces, cuis), max_size=5, unique=True)) if text else []
    return Document(
        id=draw(st.from_regex(r"[0-9]{1,2}-[0-9é]{1,2}(-ECG_REPORT|-DISCHARGE_SUMMARY|)", fullmatch=True)),
        text=text,
        mentions=tuple(mention(i, *spans, cui=cui) for i, (spans, cui) in enumerate(held, 1)),
    )


@settings(deadline=None)
@given(st.lists(documents(), min_size=1, max_size=4, unique_by=lambda d: d.id), SPLITS)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, given_documents: list[Document], split: str
) -> None:
    folder = tmp_path_factory.mktemp("written")
    semeval2014_t7.write(folder, split, iter(given_documents))
    expected = {"train": (), "dev": (), "test": ()} | {split: tuple(sorted(given_documents, key=lambda d: d.id))}
    assert semeval2014_t7.read(folder, Log(strict=True)) == expected
    for document in given_documents:
        (path,) = folder.rglob(f"{document.id}.text")
        assert path.read_bytes().decode() == document.text


def test_layout_and_lines_written(tmp_path: Path) -> None:
    held = (mention(1, (7, 11), (22, 26)), Mention(id="x", label="Disease_Disorder", pieces=((32, 37),)))
    names = [STEM, "1-3-ECG_REPORT", "1-4-ECHO_REPORT", "1-5-RADIOLOGY_REPORT", "1-6-LETTER"]
    semeval2014_t7.write(tmp_path, "dev", [Document(id=name, text=TEXT, mentions=held) for name in names])
    home = tmp_path / DATA / "devel"
    assert {path.relative_to(home).as_posix() for path in home.rglob("*.pipe")} == {
        f"discharge/{STEM}.pipe",
        "ecg/1-3-ECG_REPORT.pipe",
        "echo/1-4-ECHO_REPORT.pipe",
        "radiology/1-5-RADIOLOGY_REPORT.pipe",
        "other/1-6-LETTER.pipe",
    }
    assert (home / "discharge" / f"{STEM}.pipe").read_bytes().decode() == (
        f"{STEM}.txt||Disease_Disorder||C0000001||7||11||22||26\n{STEM}.txt||Disease_Disorder||CUI-less||32||37\n"
    )
    assert (home / "discharge" / f"{STEM}.text").read_bytes() == TEXT.encode()


def test_annotations_alone(tmp_path: Path) -> None:
    semeval2014_t7.write(tmp_path, "test", [Document(id="a", text=TEXT)], notes=False)
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert path == tmp_path / DATA / "test" / "other" / "a.pipe"
    assert path.read_bytes() == b""
    log = Log()
    assert semeval2014_t7.read(tmp_path, log)["test"] == ()
    assert [problem.path for problem in log.problems] == [path]


GOOD = Document(id=STEM, text=TEXT, mentions=(mention(1, (7, 11)),))


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (evolve(GOOD, id="a/b"), "expected an id that can be the name of a file, not hidden and without folder"),
        (evolve(GOOD, id=".a"), "expected an id that can be the name of a file"),
        (evolve(GOOD, id=""), "expected an id that can be the name of a file"),
        (evolve(GOOD, id="a\nb"), "expected an id that can be the name of a file"),
        (evolve(GOOD, id="a||b"), "expected 'Disease_Disorder'"),
        (evolve(GOOD, links=(Link(id="l", label="x", source="1", target="1"),)), "it has 1 links, expected none"),
        (evolve(GOOD, text="é\ud800" * 9), "UTF-8 has no '\\ud800' (at 1)"),
        (evolve(GOOD, mentions=(mention(1, (7, 51)),)), "expected stretches of a text of 50 characters"),
        (evolve(GOOD, mentions=(mention(1),)), "found 3 fields"),
        (evolve(GOOD, mentions=(mention(1, (7, 11)), mention(2, (7, 11)))), "line 2: repeats line 1"),
        (evolve(GOOD, mentions=(mention(1, (7, 11), cui="C1|C2"),)), "found the CUI 'C1|C2'"),
        (evolve(GOOD, mentions=(mention(1, (7, 11), cui=" C1"),)), "would be read back as Mention(id='1'"),
        (evolve(GOOD, mentions=(mention(1, (7, 11), cui="\r"),)), "found no CUI"),
        (evolve(GOOD, mentions=(evolve(mention(1, (7, 11)), label="Drug"),)), "found the type 'Drug'"),
        (
            evolve(GOOD, mentions=(evolve(mention(7, (7, 11)), attributes=(("cui", "C1"), ("negation", "no"))),)),
            "the mention '7' has the attribute 'negation', expected 'cui' alone",
        ),
        (
            evolve(GOOD, mentions=(evolve(mention(1, (7, 11)), attributes=(("cui", "C1"), ("cui", "C2"))),)),
            "would be read back as Mention(id='1'",
        ),
    ],
)
def test_what_the_format_cannot_hold(tmp_path: Path, document: Document, said: str) -> None:
    first = evolve(GOOD, id="a")
    with pytest.raises(DataError) as caught:
        semeval2014_t7.write(tmp_path, "train", [first, document])
    assert str(caught.value).startswith(f"the document {document.id!r} cannot be written: ")
    assert said in str(caught.value)
    assert semeval2014_t7.read(tmp_path, Log(strict=True))["train"] == (first,)


def test_ids_are_unique_and_splits_are_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="its id is also that of an earlier document"):
        semeval2014_t7.write(tmp_path, "train", [GOOD, GOOD])
    with pytest.raises(DataError, match="the split is 'devel', expected one of train, dev, test"):
        semeval2014_t7.write(tmp_path, "devel", [GOOD])


def test_samples(tmp_path: Path, samples: Path) -> None:
    folder = samples / "semeval2014_t7"
    found = semeval2014_t7.read(folder, Log(strict=True))
    for split, name in (("train", "train"), ("dev", "devel"), ("test", "test")):
        files = sorted((folder / DATA / name).glob("*/*.pipe"), key=lambda path: path.stem)
        assert [d.id for d in found[split]] == [path.stem for path in files]
        assert [len(d.mentions) for d in found[split]] == [path.read_bytes().count(b"\n") for path in files]
        assert [sum(len(m.pieces) for m in d.mentions) for d in found[split]] == [
            sum((line.count("||") - 2) // 2 for line in path.read_text().splitlines()) for path in files
        ]
        semeval2014_t7.write(tmp_path, split, found[split])
    assert found["train"]
    assert semeval2014_t7.read(tmp_path, Log(strict=True)) == found
    for path in (folder / DATA).rglob("*.*"):
        (copy,) = tmp_path.rglob(path.name)
        assert copy.read_bytes() == path.read_bytes()
