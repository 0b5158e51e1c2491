"""Files as they lie: each format gives the examples that the same rows give elsewhere, or says what is wrong where."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import datasets
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from mtlfn.data.example import DataError
from mtlfn.data.iob2 import valid_iob2
from mtlfn.data.kinds.tagging import entities
from mtlfn.data.tables import reading
from mtlfn.data.tables.mapping import Columns, Mapping, Splits, structure
from mtlfn.data.tables.tags import to_iob2, types
from mtlfn.data.task import PROBLEMS, Dataset, check

PAIRS = Mapping(
    source="data",
    kind="classification",
    level=2,
    labels=("NA", "yes"),
    columns=Columns(text="a", text_pair="b", label="label", id="n"),
)
NER = Mapping(
    source="data", kind="tagging", level=1, labels=("D", "E"), columns=Columns(tokens="tokens", tags="tags", unit="doc")
)
ROWS = [
    {"a": 'say "no", or\nyes', "b": "NULL", "label": "NA", "n": "1"},
    {"a": "null", "b": "a b", "label": "yes", "n": "02"},
    {"a": " nan ", "b": "é漢", "label": "NA", "n": "3"},
]


def read(base: Path, mapping: Mapping) -> Dataset:
    return check(reading.read("mine", mapping, base))


def failure(base: Path, mapping: Mapping) -> str:
    with pytest.raises(DataError) as caught:
        reading.read("mine", mapping, base)
    return str(caught.value)


def jsonl(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def comma(path: Path, rows: list[dict]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.DictWriter(file, rows[0])
        lines.writeheader()
        lines.writerows(rows)


def gzipped(path: Path, rows: list[dict]) -> None:
    comma(path.with_suffix(".csv"), rows)
    path.write_bytes(gzip.compress(path.with_suffix(".csv").read_bytes()))
    path.with_suffix(".csv").unlink()


def marked(path: Path, rows: list[dict]) -> None:
    comma(path, rows)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def tabs(path: Path, rows: list[dict]) -> None:
    lines = ["\t".join(rows[0]), *("\t".join(map(str, row.values())) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def parquet(path: Path, rows: list[dict]) -> None:
    datasets.Dataset.from_list(rows).to_parquet(str(path))


def listed(path: Path, rows: list[dict]) -> None:
    path.write_text(json.dumps(rows, indent=1))


WRITERS = {
    "jsonl": (jsonl, "jsonl"),
    "json": (listed, "json"),
    "csv": (comma, "csv"),
    "csv with a mark": (marked, "csv"),
    "csv.gz": (gzipped, "csv.gz"),
    "parquet": (parquet, "parquet"),
}


@pytest.mark.parametrize("form", WRITERS)
def test_every_format_gives_the_same_examples(tmp_path: Path, form: str) -> None:
    write, ending = WRITERS[form]
    (tmp_path / "data").mkdir()
    for split in ("train", "dev", "test"):
        write(tmp_path / "data" / f"{split}.{ending}", ROWS)
    dataset = read(tmp_path, PAIRS)
    for split in ("train", "dev", "test"):
        assert [(e.id, e.texts, e.labels) for e in dataset[split]] == [
            (row["n"], ((row["a"], row["b"]),), (row["label"],)) for row in ROWS
        ]


def test_tabs_need_no_quotes(tmp_path: Path) -> None:
    rows = [{"a": 'an "odd quote', "b": "x", "label": "yes", "n": "1"}]
    (tmp_path / "data").mkdir()
    for split in ("train", "dev"):
        tabs(tmp_path / "data" / f"{split}.tsv", rows)
    assert read(tmp_path, PAIRS).train[0].texts == (('an "odd quote', "x"),)


def test_files_are_found_by_their_names_and_folders(tmp_path: Path) -> None:
    for number, name in enumerate(("train-00000-of-00002", "train-00001-of-00002", "validation", "my.test")):
        path = tmp_path / "data" / f"{name}.csv"
        path.parent.mkdir(exist_ok=True)
        comma(path, [row | {"n": f"{number}{row['n']}"} for row in ROWS])
    (tmp_path / "data" / ".hidden.csv").write_text("no")
    dataset = read(tmp_path, PAIRS)
    assert [len(dataset[split]) for split in ("train", "dev", "test")] == [6, 3, 3]
    (tmp_path / "data" / "more.csv").write_text("a,b")
    assert "more.csv belongs to no split; give it the name of one" in failure(tmp_path, PAIRS)


def test_one_file_is_train_and_dev_is_made_of_it(tmp_path: Path) -> None:
    comma(tmp_path / "all.csv", [{"a": f"t{i}", "b": "x", "label": "yes", "n": i} for i in range(60)])
    dataset = read(tmp_path, evolve(PAIRS, source="all.csv"))
    assert len(dataset.train) + len(dataset.dev) == 60
    assert 0 < len(dataset.dev) < 20
    parts = evolve(PAIRS, source="all.csv", splits=Splits(train="train[:80%]", dev="train[80%:]", test=""))
    assert [len(read(tmp_path, parts)[split]) for split in ("train", "dev", "test")] == [48, 12, 0]


def test_lists_in_a_field(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text('text,labels\none,x;y\ntwo,\nthree,"[""y""]"\n')
    many = Mapping(
        source="data.csv",
        kind="multilabel",
        level=2,
        labels=("x", "y"),
        columns=Columns(text="text", labels="labels"),
        splits=Splits(train="train[:2]", dev="train[2:]"),
        separator=";",
    )
    dataset = read(tmp_path, many)
    assert [e.labels for e in (*dataset.train, *dataset.dev)] == [("x", "y"), (), ("y",)]
    assert "found 'x;y' for labels, expected a JSON list; or name what separates" in failure(
        tmp_path, evolve(many, separator=None)
    )
    (tmp_path / "words.csv").write_text('tokens,tags\nno flu,O B-D\n"[""a b""]",O\n')
    words = evolve(NER, source="words.csv", columns=Columns(tokens="tokens", tags="tags"), splits=many.splits)
    dataset = read(tmp_path, evolve(words, splits=Splits(train="train[:1]", dev="train[1:]")))
    assert dataset.train[0].tags == ("O", "B-D")
    assert dataset.dev[0].words == ((0, 3),)


def test_numbers_and_classes_in_text_files(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("text,score,class\na,1.5,0\nb,-2e1,1\n")
    halves = Splits(train="train[:1]", dev="train[1:]")
    scores = Mapping(
        source="data.csv", kind="regression", level=2, columns=Columns(text="text", label="score"), splits=halves
    )
    dataset = read(tmp_path, scores)
    assert (dataset.train[0].value, dataset.dev[0].value) == (1.5, -20.0)
    named = evolve(PAIRS, source="data.csv", columns=Columns(text="text", label="class"), splits=halves)
    assert "the label '0', expected one of NA, yes" in failure(tmp_path, named)
    assert read(tmp_path, evolve(named, names=("NA", "yes"))).dev[0].labels == ("yes",)
    (tmp_path / "data.csv").write_text(f"text,score,class\na,1.5,{'9' * 5000}\nb,-2e1,1\n")
    assert "has the label '999" in failure(tmp_path, evolve(named, names=("NA", "yes")))


CONLL = """-DOCSTART- -X- O O

EU NNP B-D
rejects VBZ O

# no comment here
German JJ I-D
flu NN I-D

-DOCSTART- -X- O O

call NN O
. . O
"""


def test_conll_columns_are_sentences_of_documents(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for split in ("train", "dev"):
        (tmp_path / "data" / f"{split}.conll").write_text(CONLL.replace("-DOCSTART- -X- O O", "-DOCSTART- O O"))
    mapping = structure(
        {"source": "data", "kind": "tagging", "level": 1, "labels": ["B-D", "I-D", "O"], "tags": "IOB1"}, "mine"
    )
    dataset = read(tmp_path, mapping)
    assert dataset.task.labels == ("D",)
    assert [e.tags for e in dataset.train] == [("B-D", "O"), ("B-D", "I-D"), ("O", "O")]
    assert [e.unit for e in dataset.train] == ["document 1", "document 1", "document 2"]
    assert dataset.notes[reading.CONVERTED] == 2  # one in train, one in dev
    first = evolve(mapping, columns=Columns(tokens="1", tags="2"))
    assert read(tmp_path, first).train[0].texts[0][0] == "NNP VBZ"
    assert "the column for tags is 'ner', expected a number" in failure(
        tmp_path, evolve(mapping, columns=Columns(tokens="0", tags="ner"))
    )


def test_documents_of_several_files_are_units_of_their_own(tmp_path: Path) -> None:
    for name in ("train/one/notes.conll", "train/two/notes.conll", "dev/notes.conll"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text("-DOCSTART- O\n\na O\n")
    dataset = read(tmp_path, evolve(NER, columns=Columns()))
    assert [e.unit for e in dataset.train] == [f"train/{n}/notes.conll, document 1" for n in ("one", "two")]
    assert [e.unit for e in dataset.dev] == ["document 1"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a B-D\nb c O\n", "train.conll, line 2: found 'b c O' with 3 columns, expected 2 as in the lines before"),
        ("a\n", "train.conll, line 1: found 'a' with 1 columns, expected 2"),
        ("a I-D\n", "train.conll, line 1: the example 'train-0000000' has the tag 'I-D' after 'O': not IOB2"),
        ("a O\n\nb S-D\nc Q-D\n", "train.conll, line 3: found the tag 'Q-D', expected O or one with B-, I-"),
        ("\n\n", "train.conll is empty, expected at least one row"),
    ],
)
def test_what_is_wrong_in_columns_is_told_by_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.conll").write_text(text)
    (tmp_path / "data/dev.conll").write_text("a O\n")
    assert said in failure(tmp_path, evolve(NER, columns=Columns()))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("csv", "a,b,label,n\n1,2,yes\n", "train.csv, line 2: has 3 fields, expected 4 (a, b, label, n)"),
        ("csv", 'a,b,label,n\n1,"x\ny",yes,1\n1,"2,yes,2\n', "train.csv, line 4: unexpected end of data"),
        (
            "csv",
            'a,b,label,n\n1,"2,yes,2\n1,2,no,3\n',
            "unexpected end of data in the row that begins in line 2; expected",
        ),
        (
            "csv",
            "a;b;label\n1;2;yes\n",
            "found 'a;b;label', one column, expected names with a comma between; it has a semicolon",
        ),
        ("csv", "a\tb\tlabel\n1\t2\tyes\n", "it has a tab there: save it with commas as .csv, or with tabs as .tsv"),
        ("csv", "sep=,\na,b,label,n\n", "found 'sep=,', which tells a spreadsheet what parts columns, expected their"),
        ("csv", "sep=;\na;b;label;n\n", "line 1: found 'sep=;', which tells a spreadsheet what parts columns"),
        ("tsv", "a,b,label\n1,2,yes\n", "expected names with a tab between; it has a comma there"),
        ("csv", "a,a,label,n\n", "train.csv, line 1: names a column twice (a, a, label, n); rename one"),
        ("csv", "a,b,class,n\n1,2,yes,3\n", "line 2: the column 'label' is missing, columns found: a, b, class, n"),
        ("csv", "a,b,label,n\n1,2,maybe,3\n", "line 2: the example '3' has the label 'maybe', expected one of NA, yes"),
        ("csv", "", "train.csv is empty, expected at least one row"),
        ("jsonl", '{"a": 1}\n', "line 1: the column 'b' is missing, columns found: a"),
        ("jsonl", '\ufeff{"a": 1}\n', "line 1: begins with a byte order mark, expected none; write the file as UTF-8"),
        ("jsonl", "[1]\n", "train.jsonl, line 1: found [1], expected one JSON object"),
        ("json", "[1]", "train.json, item 0: found 1, expected a JSON object"),
        ("json", '[{"a": 1},]', "train.json, line 1: expected a list of JSON objects"),
        ("parquet", "PAR1", "train.parquet in {base} cannot be read as Parquet"),
    ],
)
def test_what_is_wrong_is_told_by_file_and_line(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / f"data/train.{name}").write_text(text)
    message = failure(tmp_path, PAIRS)
    assert said.format(base=tmp_path / "data") in message


def test_rows_that_cannot_be_used_are_left_out_on_request(tmp_path: Path) -> None:
    rows = [*ROWS, {"a": "x", "b": "y", "label": "maybe", "n": "9"}, ROWS[0]]
    (tmp_path / "data").mkdir()
    comma(tmp_path / "data/train.csv", rows)
    comma(tmp_path / "data/dev.csv", ROWS)
    dataset = read(tmp_path, evolve(PAIRS, skip_unusable=True))
    assert len(dataset.train) == 3
    assert dataset.notes[reading.SKIPPED] == 2
    first, second = dataset.notes[PROBLEMS]
    assert first.startswith(
        "task mine, data, train.csv, line 6: the example '9' has the label 'maybe', expected one of"
    )
    assert second.startswith("task mine, data, train.csv, line 7: the id '1' is also that of line 2")


def test_a_file_that_is_not_there_is_no_hub_id(tmp_path: Path) -> None:
    said = failure(tmp_path, evolve(PAIRS, source="nope.csv"))
    assert said == f"task mine: the file {tmp_path / 'nope.csv'} does not exist; correct source in [task.mine]"


def test_a_source_of_no_format_or_of_two(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert "data has no file of a known ending" in failure(tmp_path, PAIRS)
    comma(tmp_path / "data/train.csv", ROWS)
    jsonl(tmp_path / "data/dev.jsonl", ROWS)
    assert "data has files of csv, jsonl; expected" in failure(tmp_path, PAIRS)
    (tmp_path / "data/train.txt").write_text("a,b,label,n\n1,2,yes,3\n")
    with pytest.raises(DataError, match="the format is 'xls', expected one of hub, disk, jsonl, csv"):
        evolve(PAIRS, format="xls")


def test_an_option_of_before_is_all_that_an_identity_has(tmp_path: Path) -> None:
    from mtlfn.run.config import Config, identity

    config = Config(tasks="mine", task={"mine": PAIRS})
    assert "mentions" not in identity(config)["task"]["mine"]["columns"]
    assert not {"format", "tags", "separator", "skip_unusable"} & identity(config)["task"]["mine"].keys()
    other = evolve(config, task={"mine": evolve(PAIRS, skip_unusable=True)})
    assert identity(other)["task"]["mine"]["skip_unusable"] is True


# Tag schemes


SPANS = st.lists(st.tuples(st.sampled_from(["D", "E", None]), st.integers(1, 3)), max_size=6)


def laid(spans: list[tuple[str | None, int]]) -> list[str]:
    words = [["O"] * width if kind is None else [f"B-{kind}", *[f"I-{kind}"] * (width - 1)] for kind, width in spans]
    return [tag for entity in words for tag in entity]


def bioes(tags: list[str], letters: str) -> list[str]:
    """By the definition: S a single word, else B first, E last, I between."""
    begin, inside, end, single = letters
    out = ["O"] * len(tags)
    for first, last, kind in entities(tags):
        for i in range(first, last):
            letter = single if last - first == 1 else begin if i == first else end if i == last - 1 else inside
            out[i] = f"{letter}-{kind}"
    return out


@given(SPANS)
def test_schemes_are_made_iob2(spans: list[tuple[str | None, int]]) -> None:
    tags = laid(spans)
    assert to_iob2(tags, None) == tags
    for letters in ("BIES", "BILU", "BMEW"):
        assert to_iob2(bioes(tags, letters), "BIOES") == tags
    # IOB1: B- only behind another of the type.
    iob1 = [
        f"I-{tag[2:]}" if tag.startswith("B-") and (i == 0 or tags[i - 1][2:] != tag[2:]) else tag
        for i, tag in enumerate(tags)
    ]
    assert to_iob2(iob1, "IOB1") == tags
    bare = [tag if tag == "O" else tag[2:] for tag in tags]
    assert to_iob2(bare, "IO") == valid_iob2([tag if tag == "O" else f"I-{tag[2:]}" for tag in tags])


def test_a_type_of_io_keeps_its_hyphen() -> None:
    assert to_iob2(["cell-line", "cell-type", "O", "I-cell-line"], "IO") == [
        "B-cell-line", "B-cell-type", "O", "B-cell-line"
    ]  # fmt: skip


def test_types_are_taken_out_of_tags() -> None:
    assert types(("O", "B-D", "I-D", "S-E")) == ("D", "E")
    assert types(("D", "E")) == ("D", "E")
    assert types(("B-cell", "D")) == ("B-cell", "D")  # not all are tags, so none is


def test_everything_stays_what_it_was(tmp_path: Path) -> None:
    """A folder of ``save_to_disk`` is one also where a CSV file lies in it."""
    rows: dict[str, Any] = {"a": ["x"], "b": ["y"], "label": ["yes"], "n": ["1"]}
    table = datasets.Dataset.from_dict(rows)
    datasets.DatasetDict({"train": table, "validation": table}).save_to_disk(str(tmp_path / "data"))
    (tmp_path / "data/notes.csv").write_text("what")
    assert len(read(tmp_path, PAIRS).train) == 1


def test_the_formats_of_a_mapping_are_those_that_have_a_reader() -> None:
    from importlib import import_module

    from mtlfn.data.tables.mapping import FORMATS
    from mtlfn.data.tables.sources import READERS

    assert set(FORMATS) == set(READERS)
    for form, (module, _) in READERS.items():
        if form != "bigbio":  # a schema of tables that the library reads
            assert callable(getattr(import_module(f"mtlfn.data.tables.{module}"), f"read_{form}"))
