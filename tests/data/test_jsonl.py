"""JSON Lines folders: every schema gives its examples, and every kind of damage names its place."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtlfn.data.example import DataError
from mtlfn.data.tables import jsonl
from mtlfn.data.task import check, label_counts

NER = {"id": "s1", "tokens": ["No", "flu", "today"], "tags": ["O", "B-Disease", "O"]}
PAIR = {
    "id": "d1.s0.p0",
    "doc_id": "d1",
    "text": "Aba raises left and right Bebo.",
    "head": {"id": "e0", "type": "drug", "text": "Aba", "spans": [[0, 3]]},
    "tail": {"id": "e1", "type": "drug", "text": "left Bebo", "spans": [[26, 30], [11, 15]]},
    "label": "effect",
}
HALLMARK = {"id": "7_0", "doc_id": "7", "text": "Cells move .", "labels": ["cellular energetics"]}
QUESTION = {
    "id": "9",
    "question": "Does it work?",
    "contexts": [{"section": "A", "text": "We tried."}, {"section": "B", "text": "It did."}],
    "long_answer": "It works.",
    "label": "yes",
}
ROWS = {"bc5cdr_disease": NER, "ddi": PAIR, "hoc": HALLMARK, "pubmedqa": QUESTION}


def write(path: Path, *rows: Any) -> Path:
    """Rows as JSON lines; strings and bytes as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [r if isinstance(r, bytes) else (r if isinstance(r, str) else json.dumps(r)).encode() for r in rows]
    content = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def folder(tmp_path: Path, *train: Any, dev: Any = None) -> Path:
    write(tmp_path / "train.jsonl", *train)
    write(tmp_path / "dev.jsonl", dev or train[0])
    return tmp_path


def failure(path: Path, name: str) -> str:
    with pytest.raises(DataError) as caught:
        jsonl.read(path, name)
    return str(caught.value)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_every_schema_passes_the_common_check(tmp_path: Path, name: str) -> None:
    dataset = check(jsonl.read(folder(tmp_path, ROWS[name]), name))
    assert dataset.task.name == name
    assert (len(dataset.train), len(dataset.dev), len(dataset.test)) == (1, 1, 0)
    assert dataset.source == str(tmp_path)


def test_tagging_row(tmp_path: Path) -> None:
    dataset = jsonl.read(folder(tmp_path, NER), "bc5cdr_disease")
    (example,) = dataset.train
    assert (dataset.task.kind, dataset.task.level, dataset.task.labels) == ("tagging", 1, ("Disease",))
    assert example.texts == (("No flu today", None),)
    assert example.words == ((0, 2), (3, 6), (7, 12))
    assert example.tags == ("O", "B-Disease", "O")
    assert (example.id, example.unit) == ("s1", "s1")


def test_relation_row_keeps_the_released_mentions_with_their_pieces_in_text_order(tmp_path: Path) -> None:
    dataset = jsonl.read(folder(tmp_path, PAIR), "ddi")
    (example,) = dataset.train
    assert (dataset.task.kind, dataset.task.level, dataset.task.negative) == ("relation", 2, "none")
    assert dataset.task.labels == ("none", "mechanism", "effect", "advise", "int")
    assert (example.id, example.unit, example.labels) == ("d1.s0.p0", "d1", ("effect",))
    assert (example.head, example.tail) == (((0, 3),), ((11, 15), (26, 30)))


def test_relation_offsets_that_do_not_give_the_mention_are_kept_inside_the_text(tmp_path: Path) -> None:
    wrong = PAIR | {"head": {"text": "Aba", "spans": [[4, 9]]}}
    assert jsonl.read(folder(tmp_path, wrong), "ddi").train[0].head == ((4, 9),)
    outside = PAIR | {"head": {"text": "Aba", "spans": [[29, 32]]}}
    message = failure(folder(tmp_path, PAIR, outside), "ddi")
    assert message.endswith("has head spans [(29, 32)] in a text of 31 characters")
    assert f"{tmp_path / 'train.jsonl'}, line 2: " in message


def test_multilabel_row(tmp_path: Path) -> None:
    twice = HALLMARK | {"id": "7_1", "labels": ["cellular energetics", "cellular energetics"]}
    dataset = jsonl.read(folder(tmp_path, HALLMARK, twice, HALLMARK | {"id": "7_2", "labels": []}), "hoc")
    assert (dataset.task.kind, dataset.task.level, len(dataset.task.labels)) == ("multilabel", 2, 10)
    assert [(e.id, e.unit) for e in dataset.train] == [("7_0", "7"), ("7_1", "7"), ("7_2", "7")]
    assert [e.labels for e in dataset.train] == [("cellular energetics",), ("cellular energetics",), ()]


def test_question_row_never_shows_the_long_answer(tmp_path: Path) -> None:
    dataset = jsonl.read(folder(tmp_path, QUESTION), "pubmedqa")
    assert (dataset.task.kind, dataset.task.level, dataset.task.labels) == (
        "classification",
        2,
        ("yes", "no", "maybe"),
    )
    assert dataset.train[0].texts == (("Does it work?", "We tried. It did."),)
    assert dataset.train[0].unit == "9"
    without = {k: v for k, v in QUESTION.items() if k != "long_answer"}
    (tmp_path / "b").mkdir()
    assert jsonl.read(folder(tmp_path / "b", without), "pubmedqa").train == dataset.train


@given(st.lists(st.text(min_size=1, max_size=5), max_size=8))
def test_word_spans_give_the_words_back(words: list[str]) -> None:
    text, spans = jsonl.join_words(words)
    assert text == " ".join(words)
    assert [text[a:b] for a, b in spans] == words


def test_file_forms(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl.gz", NER, "", NER | {"id": "s2"})
    write(tmp_path / "validation.jsonl", NER)
    write(tmp_path / "test.jsonl.gz", NER)
    dataset = jsonl.read(tmp_path, "bc5cdr_disease")
    assert [len(dataset[s]) for s in ("train", "dev", "test")] == [2, 1, 1]


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    text = "one\u2028two\x85three\x0bfour"
    row = HALLMARK | {"text": text}
    assert jsonl.read(folder(tmp_path, json.dumps(row, ensure_ascii=False)), "hoc").train[0].texts[0][0] == text


def test_two_files_for_one_split(tmp_path: Path) -> None:
    write(tmp_path / "validation.jsonl.gz", NER)
    message = failure(folder(tmp_path, NER), "bc5cdr_disease")
    assert message == f"{tmp_path} has both dev.jsonl and validation.jsonl.gz for the dev split; keep one"


def test_missing_folder_and_files(tmp_path: Path) -> None:
    assert failure(tmp_path / "no", "hoc").startswith(f"the folder {tmp_path / 'no'} of task hoc does not exist")
    write(tmp_path / "train.jsonl", HALLMARK)
    message = failure(tmp_path, "hoc")
    assert message.startswith(f"{tmp_path} has no dev split; expected the file dev.jsonl or dev.jsonl.gz or validation")
    (tmp_path / "train.jsonl").rename(tmp_path / "dev.jsonl")
    assert "has no train split; expected the file train.jsonl or train.jsonl.gz" in failure(tmp_path, "hoc")


def test_unknown_schema(tmp_path: Path) -> None:
    assert failure(tmp_path, "other") == (
        "no JSON Lines schema is called 'other', expected one of bc5cdr_disease, ddi, hoc, pubmedqa"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"id": "s2", ', 'found \'{"id": "s2", \', expected one JSON object (Expecting property name'),
        ("[1, 2]", "found [1, 2], expected one JSON object"),
        (b'{"id": "\xe9"}', "found the byte 0xe9 at 9, expected UTF-8"),
        ({"id": "s2", "tokens": ["a"]}, "the column 'tags' is missing, columns found: id, tokens"),
        (NER | {"id": 5}, "the column 'id' holds 5, expected a string"),
        (NER | {"id": "s2", "tags": "OOO"}, "the column 'tags' holds 'OOO', expected a list of strings"),
        (NER | {"id": "s2", "tags": ["O", 0, 0]}, "the column 'tags' holds ['O', 0, 0], expected a list of strings"),
        (NER | {"id": "s2", "tags": ["O"]}, "1 tags for 3 tokens, expected one tag a token"),
        (NER | {"id": "s2", "tags": [], "tokens": []}, "0 tags for 0 tokens, expected one tag a token and at least"),
        (NER | {"id": "s2", "tokens": ["a", "", "b"]}, "the word at position 1 is empty, expected at least one char"),
        (NER | {"id": "s2", "tags": ["O", "B-Drug", "O"]}, "the example 's2' has the tag 'B-Drug', expected one of O"),
        (NER | {"id": "s2", "tags": ["O", "I-Disease", "O"]}, "the example 's2' has the tag 'I-Disease' after 'O'"),
        (NER, "the id 's1' is also that of line 1; ids must be unique in a file"),
    ],
)
def test_damaged_line(tmp_path: Path, line: Any, said: str) -> None:
    path = tmp_path / "train.jsonl"
    assert failure(folder(tmp_path, NER, line), "bc5cdr_disease").startswith(f"{path}, line 2: {said}")


def test_long_damaged_line_is_shown_in_part(tmp_path: Path) -> None:
    assert len(failure(folder(tmp_path, "x" * 10_000), "hoc")) < 200 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("ddi", {"label": "cause"}, "the example 'd1.s0.p0' has the label 'cause', expected one of none, mechanism"),
        ("ddi", {"head": [0, 3]}, "the column 'head' holds [0, 3], expected an object"),
        ("ddi", {"tail": {"id": "e"}}, "in the column 'tail': the column 'spans' is missing, columns found: id"),
        ("ddi", {"tail": {"spans": [[0, "3"]]}}, "in the column 'tail': found the spans [[0, '3']], expected a list"),
        ("ddi", {"tail": {"spans": [[0, 3, 4]]}}, "in the column 'tail': found the spans [[0, 3, 4]], expected a list"),
        ("ddi", {"tail": {"spans": []}}, "the example 'd1.s0.p0' has tail spans [] in a text of 31 characters"),
        ("hoc", {"labels": ["x"]}, "the example '7_0' has the label 'x', expected one of activating invasion"),
        ("pubmedqa", {"label": "perhaps"}, "the example '9' has the label 'perhaps', expected one of yes, no, maybe"),
        ("pubmedqa", {"contexts": ["a"]}, "the column 'contexts' holds ['a'], expected a list of objects"),
        ("pubmedqa", {"contexts": [{}]}, "the column 'text' is missing, columns found: none"),
    ],
)
def test_damaged_row_of_each_schema(tmp_path: Path, name: str, change: dict[str, Any], said: str) -> None:
    path = tmp_path / "dev.jsonl"
    message = failure(folder(tmp_path, ROWS[name], dev=ROWS[name] | change), name)
    assert message.startswith(f"{path}, line 1: {said}")


def test_blank_lines_count_in_line_numbers(tmp_path: Path) -> None:
    assert f"{tmp_path / 'train.jsonl'}, line 3: " in failure(folder(tmp_path, NER, "", "{"), "bc5cdr_disease")


def test_empty_split(tmp_path: Path) -> None:
    write(tmp_path / "test.jsonl")
    message = failure(folder(tmp_path, HALLMARK), "hoc")
    assert message == f"{tmp_path / 'test.jsonl'} is empty, expected at least one line with a JSON object"


@pytest.mark.parametrize("damage", ["no gzip", "cut", "altered", "checksum"])
def test_damaged_gzip(tmp_path: Path, damage: str) -> None:
    path = write(tmp_path / "train.jsonl.gz", HALLMARK, *(HALLMARK | {"id": str(i)} for i in range(50)))
    write(tmp_path / "dev.jsonl", HALLMARK)
    whole = path.read_bytes()
    checksum = whole[:-6] + bytes([whole[-6] ^ 255]) + whole[-5:]
    altered = whole[:10] + b"\xff" + whole[11:]  # no such block type behind the header of 10 bytes
    path.write_bytes(
        {"no gzip": b'{"id": "1"}\n', "cut": whole[:-20], "altered": altered, "checksum": checksum}[damage]
    )
    assert failure(tmp_path, "hoc").startswith(f"{path} is not a whole gzip file (")


HOC = {
    "train": (448, 185, 136, 219, 268, 523, 238, 602, 674, 375),
    "dev": (64, 20, 44, 11, 23, 103, 60, 72, 85, 45),
    "test": (155, 21, 33, 65, 75, 142, 60, 158, 234, 98),
}
SIZES = {
    "bc5cdr_disease": (4560, 4581, 4797),
    "ddi": (24541, 3251, 5716),
    "hoc": (12119, 1798, 3547),
    "pubmedqa": (450, 50, 500),
}
COUNTS = {
    "bc5cdr_disease": {"train": (4182,), "dev": (4246,), "test": (4424,)},
    "ddi": {
        "train": (20954, 1197, 1537, 675, 178),
        "dev": (2817, 122, 150, 151, 11),
        "test": (4737, 302, 360, 221, 96),
    },
    "hoc": HOC,
    "pubmedqa": {"train": (249, 152, 49), "dev": (27, 17, 6), "test": (276, 169, 55)},
}


@pytest.mark.parametrize("name", sorted(SIZES))
def test_real_data_has_the_documented_sizes_and_labels(name: str, real_data: Path) -> None:
    dataset = check(jsonl.read(real_data / name, name))
    assert tuple(len(dataset[split]) for split in ("train", "dev", "test")) == SIZES[name]
    for split, expected in COUNTS[name].items():
        counts = label_counts(dataset.task, dataset[split])
        keys = ["B-Disease"] if name == "bc5cdr_disease" else dataset.task.labels
        assert tuple(counts[key] for key in keys) == expected
    if name == "hoc":
        units = [{e.unit for e in dataset[split]} for split in ("train", "dev", "test")]
        assert [len(u) for u in units] == [1295, 186, 371]
        assert [sum(not e.labels for e in dataset[s]) for s in ("train", "dev", "test")] == [9034, 1337, 2650]
    if name == "ddi":
        pieces = [sum(len(e.head) > 1 or len(e.tail) > 1 for e in dataset[s]) for s in ("train", "dev", "test")]
        assert sum(pieces) == 98 + 31 + 28


def test_what_examples_have_in_common_is_held_once(tmp_path: Path) -> None:
    rows = {
        "bc5cdr_disease": [NER | {"id": f"s{i}", "tags": ["O", "B-Disease", "I-Disease"]} for i in range(2)],
        "hoc": [HALLMARK | {"id": f"7_{i}"} for i in range(2)],
    }
    for name, given_rows in rows.items():
        one, other = jsonl.read(folder(tmp_path / name, *given_rows), name).train
        for a, b in ((one.words, other.words), (one.tags, other.tags), (one.labels, other.labels)):
            assert a == b
            assert all(x is y for x, y in zip(a, b, strict=True))
        assert one.words or one.labels


def test_sentences_of_one_abstract_are_one_unit_where_the_file_names_it():
    from mtlfn.data.tables import jsonl

    row = {"id": "s1", "tokens": ["a", "b"], "tags": ["O", "B-Disease"]}
    assert jsonl._bc5cdr_disease(row).unit == "s1"
    assert jsonl._bc5cdr_disease({**row, "doc_id": "abstract 7"}).unit == "abstract 7"
