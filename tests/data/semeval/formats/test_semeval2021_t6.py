"""Persuasion techniques: made-up memes with every kind of damage, round trips, and the counts of the real files."""

from __future__ import annotations

import json
import tempfile
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mtlfn.data.document import Document, Link, Log, Mention
from mtlfn.data.example import DataError
from mtlfn.data.semeval.formats import semeval2021_t6
from mtlfn.data.semeval.formats.semeval2021_t6 import TECHNIQUES

TEXT = "TEA 🍵 IS\n\nBETTER"
DOUBT = {"start": 0, "end": 5, "technique": "Doubt", "text_fragment": "TEA 🍵"}
SPANS = {"id": "2_batch_2", "text": TEXT, "labels": [DOUBT]}
LABELS = {"id": "2_batch_2", "labels": ["Smears", "Doubt"], "text": TEXT}
DOCUMENT = Document(id="2_batch_2", text=TEXT, mentions=(Mention(id="0", label="Doubt", pieces=((0, 5),)),))


def put(folder: Path, *items: Any, name: str = "training_set_task2.txt") -> Path:
    return put_bytes(folder, json.dumps(items).encode(), name)


def put_bytes(folder: Path, content: bytes, name: str = "training_set_task2.txt") -> Path:
    path = folder / "data" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def train(folder: Path, log: Log | None = None) -> tuple[Document, ...]:
    return semeval2021_t6.read(folder, log or Log(strict=True))["train"]


def rows(folder: Path, log: Log | None = None) -> tuple[semeval2021_t6.Row, ...]:
    return semeval2021_t6.read_labels(folder, log or Log(strict=True))["train"]


def test_spans(tmp_path: Path) -> None:
    plain = {"labels": [], "text": "x", "id": "10"}
    put(tmp_path, SPANS, plain)
    put(tmp_path, plain, name="dev_set_task2.txt")
    assert semeval2021_t6.read(tmp_path, Log(strict=True)) == {
        "train": (Document(id="10", text="x"), DOCUMENT),
        "dev": (Document(id="10", text="x"),),
        "test": (),
    }


def test_offsets_count_code_points_and_line_breaks(tmp_path: Path) -> None:
    label = {"start": 6, "end": 16, "technique": "Slogans", "text_fragment": "IS\n\nBETTER"}
    put(tmp_path, SPANS | {"labels": [label]})
    (document,) = train(tmp_path)
    assert document.mentions[0].pieces == ((6, 16),)


def test_mentions_keep_the_order_of_the_file_and_overlap_freely(tmp_path: Path) -> None:
    labels = [DOUBT | {"start": s, "end": e, "text_fragment": TEXT[s:e]} for s, e in [(4, 9), (0, 5), (0, 5), (0, 16)]]
    put(tmp_path, SPANS | {"labels": labels})
    (document,) = train(tmp_path)
    assert [(m.id, m.pieces) for m in document.mentions] == [
        ("0", ((4, 9),)),
        ("1", ((0, 5),)),
        ("2", ((0, 5),)),
        ("3", ((0, 16),)),
    ]


def test_labels(tmp_path: Path) -> None:
    put(tmp_path, LABELS, {"id": "10", "labels": [], "text": "x"}, name="training_set_task1.txt")
    put(tmp_path, LABELS, name="test_set_task1.txt")
    row = ("2_batch_2", TEXT, ("Smears", "Doubt"))
    assert semeval2021_t6.read_labels(tmp_path, Log(strict=True)) == {
        "train": (("10", "x", ()), row),
        "dev": (),
        "test": (row,),
    }


def test_the_techniques_are_those_of_the_list_or_the_constant(tmp_path: Path) -> None:
    assert semeval2021_t6.techniques(tmp_path) == TECHNIQUES
    assert len(set(TECHNIQUES)) == 20
    path = tmp_path / "techniques_list_task1-2.txt"
    path.write_bytes("Tea-drinking cliché\r\nDoubt \n\n".encode())
    assert semeval2021_t6.techniques(tmp_path) == ("Tea-drinking cliché", "Doubt")
    put(tmp_path, SPANS | {"labels": [DOUBT, DOUBT | {"technique": "Smears"}]})
    log = Log()
    assert train(tmp_path, log) == (DOCUMENT,)
    assert [problem.what for problem in log.problems] == [
        "has the technique 'Smears', expected one of the 2 of techniques_list_task1-2.txt"
    ]
    path.write_bytes(b"\n")
    with pytest.raises(DataError, match="is empty, expected one technique a line"):
        semeval2021_t6.techniques(tmp_path)
    path.write_bytes(b"clich\xe9\n")
    with pytest.raises(DataError, match="byte 5: is not UTF-8"):
        semeval2021_t6.techniques(tmp_path)


@pytest.mark.parametrize("subtask", [1, 2])
def test_no_files(tmp_path: Path, subtask: int) -> None:
    put(tmp_path, name=f"training_set_task{3 - subtask}.txt")
    read = semeval2021_t6.read_labels if subtask == 1 else semeval2021_t6.read
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError) as caught:
            read(folder, Log())
        names = ", ".join(f"data/{part}_set_task{subtask}.txt" for part in ("training", "dev", "test"))
        assert str(caught.value) == f"{folder} holds none of the files {names}; give the folder that does"


UNKNOWN = "expected one of the 20 of techniques_list_task1-2.txt"
OFFSETS = "expected start < end in a text of 16 characters"


@pytest.mark.parametrize(
    ("label", "what"),
    [
        (DOUBT | {"technique": "doubt"}, f"has the technique 'doubt', {UNKNOWN}"),
        (DOUBT | {"technique": ["Doubt"]}, f"has the technique ['Doubt'], {UNKNOWN}"),
        (DOUBT | {"end": 17}, f"has the offsets [0, 17], {OFFSETS}"),
        (DOUBT | {"end": 0}, f"has the offsets [0, 0], {OFFSETS}"),
        (DOUBT | {"start": -3}, f"has the offsets [-3, 5], {OFFSETS}"),
        (DOUBT | {"start": 6}, f"has the offsets [6, 5], {OFFSETS}"),
        (DOUBT | {"start": "0"}, f"has the offsets ['0', 5], {OFFSETS}"),
        (DOUBT | {"end": True}, f"has the offsets [0, True], {OFFSETS}"),
        (DOUBT | {"end": 5.0}, f"has the offsets [0, 5.0], {OFFSETS}"),
        ({"technique": "Doubt", "start": 0}, "has no end"),
        ({"end": 3}, "has no start and no technique"),
        ("Doubt", "is 'Doubt', expected an object with start, end and technique"),
        (None, "is None, expected an object with start, end and technique"),
    ],
)
def test_damaged_spans_are_skipped(tmp_path: Path, label: Any, what: str) -> None:
    path = put(tmp_path, SPANS | {"id": "1", "labels": []}, SPANS | {"labels": [label, DOUBT]})
    log = Log()
    # The position is that among the mentions read, so that writing them gives the same ids.
    assert train(tmp_path, log)[1] == DOCUMENT
    (problem,) = log.problems
    assert (problem.path, problem.where) == (path, "object 1 (id '2_batch_2'), label 0")
    assert (problem.what, problem.done) == (what, "skipped")
    with pytest.raises(DataError) as caught:
        train(tmp_path)
    assert str(caught.value) == f"{path}, {problem.where}: {what}"


@pytest.mark.parametrize("fragment", ["TEA", "TEA 🍵 ", "", None])
def test_offsets_are_trusted_more_than_the_fragment(tmp_path: Path, fragment: Any) -> None:
    put(tmp_path, SPANS | {"labels": [DOUBT | {"text_fragment": fragment}]})
    log = Log()
    assert train(tmp_path, log) == (DOCUMENT,)
    (problem,) = log.problems
    assert (problem.where, problem.done) == ("object 0 (id '2_batch_2'), label 0", "repaired")
    assert problem.what == (f"has the text_fragment {fragment!r}, the text at [0, 5] is 'TEA 🍵'; the offsets are used")
    with pytest.raises(DataError, match="label 0: has the text_fragment"):
        train(tmp_path)


def test_the_fragment_may_be_left_out(tmp_path: Path) -> None:
    put(tmp_path, SPANS | {"labels": [{key: DOUBT[key] for key in ("start", "end", "technique")}]})
    assert train(tmp_path) == (DOCUMENT,)


def test_damaged_labels_are_skipped(tmp_path: Path) -> None:
    path = put(
        tmp_path, LABELS | {"labels": ["Smears", "Tea", DOUBT, "Smears", "Doubt"]}, name="training_set_task1.txt"
    )
    log = Log()
    assert rows(tmp_path, log) == (("2_batch_2", TEXT, ("Smears", "Doubt")),)
    assert [(p.path, p.where, p.done) for p in log.problems] == [
        (path, "object 0 (id '2_batch_2'), label 1", "skipped"),
        (path, "object 0 (id '2_batch_2'), label 2", "skipped"),
        (path, "object 0 (id '2_batch_2'), label 3", "repaired"),
    ]
    assert log.problems[0].what == f"has the technique 'Tea', {UNKNOWN}"
    assert log.problems[2].what == "repeats the technique 'Smears'; it is read once"
    with pytest.raises(DataError) as caught:
        rows(tmp_path)
    assert str(caught.value) == f"{path}, object 0 (id '2_batch_2'), label 1: has the technique 'Tea', {UNKNOWN}"


@pytest.mark.parametrize("subtask", [1, 2])
@pytest.mark.parametrize(
    ("item", "where", "what"),
    [
        ({"id": "1", "text": "x"}, "object 1 (id '1')", "has no labels"),
        ({"labels": []}, "object 1 (id None)", "has no id and no text"),
        (
            {"id": 1, "text": "x", "labels": []},
            "object 1 (id 1)",
            "has an id, text and labels of type int, str and list",
        ),
        (
            {"id": "1", "text": 0, "labels": []},
            "object 1 (id '1')",
            "has an id, text and labels of type str, int and li",
        ),
        (
            {"id": "1", "text": "x", "labels": {}},
            "object 1 (id '1')",
            "has an id, text and labels of type str, str and d",
        ),
        ({"id": ["1"], "text": 0, "labels": {}}, "object 1 (id ['1'])", "has an id, text and labels of type list, int"),
        (
            {"id": "1", "text": "a\ud83c", "labels": []},
            "object 1 (id '1')",
            "has half of a surrogate pair in its id or",
        ),
        (
            {"id": "2_batch_2", "text": "x", "labels": []},
            "object 1 (id '2_batch_2')",
            "has the id of an earlier object",
        ),
        ("x" * 100, "object 1", f"is '{'x' * 56}..., expected an object with id, text and labels"),
        ([], "object 1", "is [], expected an object with id, text and labels"),
    ],
)
def test_damaged_objects_are_skipped(tmp_path: Path, subtask: int, item: Any, where: str, what: str) -> None:
    path = put(tmp_path, SPANS if subtask == 2 else LABELS, item, name=f"training_set_task{subtask}.txt")
    read: Any = train if subtask == 2 else rows
    log = Log()
    assert [found.id if subtask == 2 else found[0] for found in read(tmp_path, log)] == ["2_batch_2"]
    (problem,) = log.problems
    assert (problem.path, problem.where, problem.done) == (path, where, "skipped")
    assert problem.what.startswith(what)
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert str(caught.value) == f"{path}, {where}: {problem.what}"


@pytest.mark.parametrize(
    ("content", "where", "what"),
    [
        (b"", "line 1, column 1", "Expecting value"),
        (b'[\n  {"id": "1", 2}\n]', "line 2, column ", "Expecting property name"),
        (b'[\n{"id": "1"}', "line 2, column 12", "Expecting ',' delimiter"),
        (b'{"id": "1"}', "the file", "holds {'id': '1'}"),
        (b"null", "the file", "holds None"),
        (b"[" * 100_000, "the file", "maximum recursion depth exceeded"),
        (b"[" + b"9" * 10_000 + b"]", "the file", "Exceeds the limit"),
    ],
)
def test_broken_files_are_skipped(tmp_path: Path, content: bytes, where: str, what: str) -> None:
    path = put_bytes(tmp_path, content)
    put(tmp_path, SPANS, name="dev_set_task2.txt")
    log = Log()
    assert semeval2021_t6.read(tmp_path, log) == {"train": (), "dev": (DOCUMENT,), "test": ()}
    (problem,) = log.problems
    assert (problem.path, problem.done) == (path, "skipped")
    assert problem.where.startswith(where)
    assert problem.what.startswith(what)
    assert problem.what.endswith("expected a JSON array of objects")
    with pytest.raises(DataError) as caught:
        train(tmp_path)
    assert str(caught.value) == f"{path}, {problem.where}: {problem.what}"


def test_an_empty_array_has_no_documents(tmp_path: Path) -> None:
    put(tmp_path)
    assert train(tmp_path) == ()


def test_bytes_that_are_not_utf_8_are_kept(tmp_path: Path) -> None:
    path = put_bytes(tmp_path, b'[{"id": "1", "text": "caf\xe9", "labels": []}]')
    log = Log()
    assert train(tmp_path, log) == (Document(id="1", text="café"),)
    assert [(p.path, p.where, p.done) for p in log.problems] == [(path, "byte 25", "repaired")]
    with pytest.raises(DataError, match="byte 25: is not UTF-8"):
        train(tmp_path)


def test_written_files_have_the_official_layout(tmp_path: Path) -> None:
    semeval2021_t6.write(tmp_path, "train", [DOCUMENT])
    semeval2021_t6.write_labels(tmp_path, "dev", [("1", "café", ("Smears",))])
    semeval2021_t6.write(tmp_path / "system", "test", [DOCUMENT], notes=False)
    semeval2021_t6.write_labels(tmp_path / "system", "test", [("1", "x", ("Smears",))], notes=False)
    files = {str(p.relative_to(tmp_path)): p.read_bytes().decode() for p in tmp_path.rglob("*") if p.is_file()}
    assert {name: json.loads(content) for name, content in files.items()} == {
        "data/training_set_task2.txt": [SPANS],
        "data/dev_set_task1.txt": [{"id": "1", "text": "café", "labels": ["Smears"]}],
        "system/data/test_set_task2.txt": [
            {"id": "2_batch_2", "labels": [{"start": 0, "end": 5, "technique": "Doubt"}]}
        ],
        "system/data/test_set_task1.txt": [{"id": "1", "labels": ["Smears"]}],
    }
    assert "🍵" in files["data/training_set_task2.txt"]
    assert "café" in files["data/dev_set_task1.txt"]


def mention(**change: Any) -> Document:
    return evolve(DOCUMENT, mentions=(evolve(DOCUMENT.mentions[0], **change),))


PLACE = "the mention '0' of the document '2_batch_2'"


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ([DOCUMENT, DOCUMENT], "the id '2_batch_2' is that of two examples, expected each once"),
        ([evolve(DOCUMENT, text=TEXT + "\ud800")], "the example '2_batch_2' has half of a surrogate pair"),
        ([mention(label="Tea")], f"{PLACE} has the technique 'Tea', {UNKNOWN}"),
        (
            [mention(pieces=((0, 2), (4, 5)))],
            f"{PLACE} has the pieces ((0, 2), (4, 5)) in a text of 16 characters, expe",
        ),
        (
            [mention(pieces=((0, 17),))],
            f"{PLACE} has the pieces ((0, 17),) in a text of 16 characters, expected one in",
        ),
        ([mention(pieces=())], f"{PLACE} has the pieces () in a text of 16 characters, expected one inside"),
        ([mention(attributes=(("a", "b"),))], f"{PLACE} has the attributes (('a', 'b'),), expected none"),
        (
            [evolve(DOCUMENT, links=(Link(id="0", label="x", source="0", target="0"),))],
            "the document '2_batch_2' has 1 links, expected none",
        ),
    ],
)
def test_what_the_format_cannot_hold_is_not_written(tmp_path: Path, documents: list[Document], said: str) -> None:
    with pytest.raises(DataError) as caught:
        semeval2021_t6.write(tmp_path, "train", documents)
    assert str(caught.value).startswith(said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("1", "x", ("Doubt", "Tea")), f"the row '1' has the technique 'Tea', {UNKNOWN}"),
        (("1", "x", ("Doubt", "Doubt")), "the row '1' has the techniques ('Doubt', 'Doubt'), expected each once"),
        (("2", "x", ()), "the id '2' is that of two examples, expected each once"),
        (("1\udfff", "x", ()), "the example '1\\udfff' has half of a surrogate pair in its id or text"),
    ],
)
def test_what_a_row_cannot_hold_is_not_written(tmp_path: Path, row: semeval2021_t6.Row, said: str) -> None:
    with pytest.raises(DataError) as caught:
        semeval2021_t6.write_labels(tmp_path, "train", [("2", "y", ()), row])
    assert str(caught.value) == said
    assert list(tmp_path.iterdir()) == []


def test_unknown_splits_are_not_written(tmp_path: Path) -> None:
    for write in (semeval2021_t6.write, semeval2021_t6.write_labels):
        with pytest.raises(DataError, match="the split is 'training', expected one of train, dev, test"):
            write(tmp_path, "training", [])


STRINGS = st.text(st.characters(codec="utf-8"), max_size=8)
TEXTS = st.lists(st.one_of(STRINGS, st.sampled_from(["\n", "\r\n", "\r", "\u2028", "é", "🍵"]))).map("".join)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    text = draw(TEXTS)
    offsets = st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).filter(lambda s: s[0] != s[1])
    labels = st.tuples(offsets, st.sampled_from(TECHNIQUES))
    mentions = tuple(
        Mention(id=str(position), label=label, pieces=((min(span), max(span)),))
        for position, (span, label) in enumerate(draw(st.lists(labels, max_size=5)) if text else [])
    )
    return Document(id=draw(STRINGS), text=text, mentions=mentions)


SPLIT_NAMES = st.sampled_from(["train", "dev", "test"])


@settings(deadline=None)  # files on a busy machine
@given(st.lists(documents(), unique_by=lambda document: document.id, max_size=4), SPLIT_NAMES)
@example([DOCUMENT], "dev")
def test_round_trip_of_spans(written: list[Document], split: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        semeval2021_t6.write(Path(name), split, written)
        read = semeval2021_t6.read(Path(name), Log(strict=True))
        assert read.pop(split) == tuple(sorted(written, key=lambda document: document.id))
        assert set(read.values()) == {()}


ROWS = st.tuples(STRINGS, TEXTS, st.lists(st.sampled_from(TECHNIQUES), unique=True).map(tuple))


@settings(deadline=None)  # files on a busy machine
@given(st.lists(ROWS, unique_by=lambda row: row[0], max_size=4), SPLIT_NAMES)
def test_round_trip_of_labels(written: list[semeval2021_t6.Row], split: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        semeval2021_t6.write_labels(Path(name), split, written)
        read = semeval2021_t6.read_labels(Path(name), Log(strict=True))
        assert read.pop(split) == tuple(sorted(written, key=lambda row: row[0]))
        assert set(read.values()) == {()}


def test_the_samples_read(tmp_path: Path, samples: Path) -> None:
    folder = samples / "semeval2021_t6"
    spans = semeval2021_t6.read(folder, Log(strict=True))
    assert {split: len(spans[split]) for split in spans} == {"train": 3, "dev": 1, "test": 0}
    assert [len(document.mentions) for document in spans["train"]] == [3, 0, 3]
    check_subtasks_agree(spans, semeval2021_t6.read_labels(folder, Log(strict=True)))


def test_the_real_files_have_the_documented_counts(tmp_path: Path, real_data: Path) -> None:
    folder = real_data / "semeval2021_t6"
    assert semeval2021_t6.techniques(folder) == TECHNIQUES
    # Strict: no text_fragment differs from text[start:end].
    spans = semeval2021_t6.read(folder, Log(strict=True))
    assert {split: len(spans[split]) for split in spans} == {"train": 688, "dev": 63, "test": 0}
    assert sum(not document.mentions for document in spans["train"]) == 143
    pairs = [
        (a.pieces[0], b.pieces[0])
        for document in spans["train"]
        for a, b in combinations(document.mentions, 2)
        if a.label == b.label
    ]
    assert sum(max(a[0], b[0]) < min(a[1], b[1]) for a, b in pairs) == 15
    labels = semeval2021_t6.read_labels(folder, Log(strict=True))
    check_subtasks_agree(spans, labels)
    for split in ("train", "dev"):
        semeval2021_t6.write(tmp_path, split, spans[split])
        semeval2021_t6.write_labels(tmp_path, split, labels[split])
    assert semeval2021_t6.read(tmp_path, Log(strict=True)) == spans
    assert semeval2021_t6.read_labels(tmp_path, Log(strict=True)) == labels


def check_subtasks_agree(
    spans: dict[str, tuple[Document, ...]], labels: dict[str, tuple[semeval2021_t6.Row, ...]]
) -> None:
    for split in spans:
        assert [(d.id, d.text, {m.label for m in d.mentions}) for d in spans[split]] == [
            (name, text, set(techniques)) for name, text, techniques in labels[split]
        ]
