"""What a file may not be: endless lines, a bomb, keys that say two things, a text that never ends its sentence."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtlfn.data import files, windows
from mtlfn.data.document import Document, Link, Mention
from mtlfn.data.example import DataError
from mtlfn.data.semeval import loading, pairs
from mtlfn.data.semeval.formats import semeval2016_t12
from mtlfn.data.semeval.semeval2016_t12 import CONTAINS
from mtlfn.data.tables import jsonl
from tests.data.semeval.test_official import write_all


def rows(count: int) -> bytes:
    made = ({"id": str(i), "doc_id": str(i), "text": f"text {i}", "labels": []} for i in range(count))
    return b"".join(json.dumps(row).encode() + b"\n" for row in made)


@pytest.fixture
def low(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LINE": 100, "RATIO": 20, "FREE": 1000, "BLOCK": 16}.items():
        monkeypatch.setattr(files, name, value)


@given(st.lists(st.sampled_from([b"\n", b" ", b"a", b"\r", b"bc", b"\n\n\n"]), max_size=40), st.integers(1, 9))
def test_lines_are_numbered_whatever_the_blocks(parts, size):
    content = b"".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_blocks", lambda _: (content[i : i + size] for i in range(0, len(content), size)))
        found = list(files.lines(Path("x")))
    assert found == [(i, line) for i, line in enumerate(content.split(b"\n"), 1) if line.strip()]


@pytest.mark.parametrize("ending", [b"\n", b""])
@pytest.mark.parametrize("name", ["train.jsonl", "train.jsonl.gz"])
def test_a_line_beyond_the_limit_is_refused_with_file_and_line(low, tmp_path, name, ending):
    for length in (100, 101):
        path = tmp_path / name
        content = b"\n\n" + b"x" * length + ending
        path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        if length == 100:
            assert [number for number, _ in files.lines(path)] == [3]
        else:
            with pytest.raises(DataError, match=rf"{name}, line 3: has more than 100 bytes, .* line end missing\?"):
                list(files.lines(path))


@pytest.mark.parametrize("content", [b"\n" * 50_000, b" \n" * 50_000, b'{"id": "1"}\n' * 5_000, b" " * 50_000])
def test_a_small_file_that_becomes_a_large_one_is_refused(low, monkeypatch, tmp_path, content):
    monkeypatch.setattr(files, "LINE", 10**6)
    path = tmp_path / "train.jsonl.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=r"train.jsonl.gz becomes more than [\d,]+ bytes, .*; if it is what you mean"):
        list(files.lines(path))
    path.with_suffix("").write_bytes(content)
    list(files.lines(path.with_suffix("")))  # what takes the room that it says is no bomb


def test_what_real_data_have_is_read(tmp_path):
    """Limits as they are: a megabyte in a line, and a text that is the same a thousand times."""
    row = {"id": "1", "doc_id": "1", "text": "word " * 200_000, "labels": []}
    again = [json.dumps({**row, "id": str(i), "text": "the same text " * 20}) for i in range(1000)]
    (tmp_path / "train.jsonl.gz").write_bytes(gzip.compress("\n".join([json.dumps(row), *again[2:]]).encode()))
    (tmp_path / "dev.jsonl").write_bytes(rows(2))
    assert len(jsonl.read(tmp_path, "hoc").train) == 999


@pytest.mark.parametrize("name", ["semeval2014_t7", "semeval2015_t14", "semeval2016_t12"])
@pytest.mark.parametrize("which", ["note", "annotations"])
def test_official_files_have_the_same_limit(monkeypatch, tmp_path, name, which):
    endings = (".text", "clinic_1") if which == "note" else (".pipe",)
    chosen = [p for p in (write_all(tmp_path) / name).rglob("*") if p.is_file() and p.name.endswith(endings)]
    if not chosen:
        return  # annotations in XML have no lines
    chosen[0].write_text("A line.\n" + "x" * 5000)
    monkeypatch.setattr(files, "LINE", 4999)
    with pytest.raises(DataError, match=rf"{chosen[0].name}, line 2: has more than 4,999 bytes"):
        loading.load(name, tmp_path / name)


# Keys


@pytest.mark.parametrize(
    "line",
    [
        '{"id": "1", "doc_id": "1", "text": "a", "labels": [], "id": "2"}',
        '{"id": "1", "doc_id": "1", "text": "a", "labels": [], "more": [{"id": 1, "\\u0069d": 2}]}',
    ],
)
def test_a_key_that_occurs_twice_is_refused_with_file_and_line(tmp_path, line):
    (tmp_path / "train.jsonl").write_text("\n" + line + "\n")
    (tmp_path / "dev.jsonl").write_bytes(rows(2))
    said = r"train.jsonl, line 2: an object has the key 'id' more than once, expected each key once; remove one$"
    with pytest.raises(DataError, match=said):
        jsonl.read(tmp_path, "hoc")


@pytest.mark.parametrize("task", [1, 2])
def test_a_key_that_occurs_twice_in_an_official_file_is_refused_with_file_and_line(tmp_path, task):
    folder = write_all(tmp_path) / "semeval2021_t6"
    path = folder / "data" / f"training_set_task{task}.txt"
    items = json.loads(path.read_text())
    last = json.dumps(items[-1])[:-1] + ',\n "text": "another text"}'
    path.write_text("[\n" + json.dumps(items[0]) + ",\n" + last + "\n]")
    name = "semeval2021_t6" if task == 2 else "semeval2021_t6_labels"
    said = rf"training_set_task{task}.txt, line 3: an object has the key 'text' more than once"
    with pytest.raises(DataError, match=said):
        loading.load(name, folder)


names = st.sampled_from(["a", "b", "{", "}", '":', "\\", "é"])
objects = st.recursive(
    st.sampled_from([0, None, '{"a": 1, "a": 2}', "}\\"]),
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(names, inner), max_size=4).map(tuple),
    max_leaves=20,
)


@given(objects)
def test_the_line_of_a_repeated_key_is_that_in_which_its_object_begins(whole):
    """Written with a line for everything, keys once as they are and once escaped; the first object that ends counts."""
    text, repeated = "", []

    def write(value):
        nonlocal text
        if isinstance(value, tuple):  # the pairs of an object
            line = text.count("\n") + 1
            text += "{"
            for i, (key, each) in enumerate(value):
                text += ("\n, " if i else "\n") + json.dumps(key, ensure_ascii=i % 2 == 0) + " \n:"
                write(each)
            text += "}"
            if len(dict(value)) < len(value):
                repeated.append(line)
        elif isinstance(value, list):
            text += "["
            for i, each in enumerate(value):
                text += ",\n" if i else "\n"
                write(each)
            text += "]"
        else:
            text += json.dumps(value)

    write(whole)
    if repeated:
        with pytest.raises(files.RepeatedKey):
            files.parse(text)
        assert files.line_of_repetition(text) == repeated[0]
    else:
        files.parse(text)


# Texts without sentence ends


def endless(count: int, step: int = 10) -> Document:
    """A note of so many words without the end of a sentence, in which every ``step``-th word is an event."""
    text = " ".join(["pain"] * count)
    held = tuple(Mention(id=str(i), label="EVENT", pieces=((5 * i, 5 * i + 4),)) for i in range(0, count, step))
    links = tuple(
        Link(id=str(i), label="TLINK:CONTAINS", source=a.id, target=b.id) for i, (a, b) in enumerate(pairwise(held))
    )
    return Document(id="endless", text=text, mentions=held, links=links)


def test_the_texts_of_pairs_grow_with_the_document_and_not_with_its_square():
    sizes = {}
    for count in (2000, 4000, 8000):
        document = endless(count)
        made = pairs.examples(document, CONTAINS)
        sizes[count] = sum(len(e.texts[0][0]) for e in made)
        assert all(len(windows.words(e.texts[0][0])) == pairs.STRETCH for e in made)
        assert pairs.shortened(document, CONTAINS) == len(made)
        assert pairs.unreachable(document, CONTAINS) == 0
        for e in made:
            marked = [e.texts[0][0][a:b] for a, b in (*e.head, *e.tail)]
            places = [(e.offset + a) // 5 for a, _ in (*e.head, *e.tail)]
            assert marked == ["pain", "pain"]
            assert [str(place) for place in places] == e.id.split("|")[1:]
    assert sizes[8000] / sizes[4000] == pytest.approx(2, rel=0.05)
    assert sizes[4000] / sizes[2000] == pytest.approx(2, rel=0.05)


def test_a_sentence_that_fits_is_shown_whole():
    document = endless(pairs.STRETCH)
    assert {e.texts[0][0] for e in pairs.examples(document, CONTAINS)} == {document.text}
    assert pairs.shortened(document, CONTAINS) == 0


def test_a_mention_of_more_words_than_a_text_may_have_is_in_no_pair():
    document = endless(2000)
    wide = Mention(id="wide", label="EVENT", pieces=((0, len(document.text)),))
    link = Link(id="w", label="TLINK:CONTAINS", source="wide", target="0")
    more = Document(id="d", text=document.text, mentions=(*document.mentions, wide), links=(*document.links, link))
    assert pairs.unreachable(more, CONTAINS) == 1
    assert len(pairs.examples(more, CONTAINS)) == len(pairs.examples(document, CONTAINS))


def test_shortened_pairs_are_counted_in_the_notes(tmp_path):
    for split in ("train", "dev"):
        name = f"ID{len(split)}_clinic_1"
        semeval2016_t12.write(tmp_path, split, [attrs.evolve(endless(1000), id=name)])
    notes = loading.load("semeval2016_t12", tmp_path).notes
    assert notes[f"pairs shown in {pairs.STRETCH} words of a longer sentence"]["train"] > 0


def test_a_long_text_is_cut_in_time_that_grows_with_it():
    """Two hundred thousand words took minutes when each window looked at all of them."""
    document = endless(200_000)
    made = windows.examples(document, ("EVENT",), training=True)
    assert len(made) == 2000
    assert sum(len(e.mentions) for e in made) == len(document.mentions)
