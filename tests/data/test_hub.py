"""Mappings: TOML tables with readable errors, every kind from a saved table, and the Hub without a network."""

from __future__ import annotations

import math
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
from attrs import evolve
from datasets import ClassLabel, Features, List, Value

import mtlfn
from mtlfn.data.example import DataError
from mtlfn.data.tables import reading
from mtlfn.data.tables.mapping import Columns, Mapping, Splits, structure
from mtlfn.data.task import Dataset, check, in_parts

TOML = """
[task.my_ner]
source = "corpus"
kind = "tagging"
level = 1
labels = ["Disease"]
columns = { tokens = "words", tags = "ner_tags" }
splits = { train = "train", dev = "validation", test = "test" }
"""
NER = Mapping(
    source="corpus", kind="tagging", level=1, labels=("Disease",), columns=Columns(tokens="words", tags="ner_tags")
)
CLASS = Mapping(
    source="corpus", kind="classification", level=2, labels=("no", "yes"), columns=Columns(text="text", label="label")
)
PAIR = Mapping(
    source="corpus",
    kind="relation",
    level=2,
    labels=("none", "causes"),
    negative="none",
    columns=Columns(text="text", head="head", tail="tail", label="label"),
)
RANK = Mapping(
    source="corpus",
    kind="ranking",
    level=2,
    columns=Columns(query="query", candidates="answers", relevance="good"),
)
MANY = Mapping(
    source="corpus", kind="multilabel", level=2, labels=("x", "y", "z"), columns=Columns(text="text", labels="labels")
)
CLOSE = Mapping(
    source="corpus", kind="regression", level=2, columns=Columns(text="text", text_pair="other", label="score")
)
FOUND = Mapping(
    source="corpus",
    kind="spans",
    level=1,
    labels=("Drug", "Effect"),
    columns=Columns(text="text", mentions="entities"),
)
WORDS = {"words": [["No", "flu"], ["Rest"]], "ner_tags": [["O", "B-Disease"], ["O"]]}
TEXTS = {"text": ["one", "two"], "label": ["yes", "no"]}
TABLE: dict[str, Any] = tomllib.loads(TOML)["task"]["my_ner"]


def save(folder: Path, rows: dict[str, Any], features: Features | None = None, **more: dict[str, Any]) -> Path:
    """``corpus`` below the folder, with the rows as train and as validation; ``more`` gives other splits."""
    splits = {"train": rows, "validation": rows} | more
    tables = {name: datasets.Dataset.from_dict(split, features=features) for name, split in splits.items()}
    datasets.DatasetDict(tables).save_to_disk(str(folder / "corpus"))
    return folder


def read(folder: Path, mapping: Mapping) -> Dataset:
    return in_parts(check(reading.read("mine", mapping, folder)))


def failure(folder: Path, mapping: Mapping) -> str:
    with pytest.raises(DataError) as caught:
        reading.read("mine", mapping, folder)
    return str(caught.value)


def test_import_does_not_load_the_datasets_library() -> None:
    code = "import sys, mtlfn.data.tables.reading; assert not {'datasets', 'cattrs', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(mtlfn.__file__).parents[1])


def test_toml_table_is_the_value() -> None:
    splits = Splits(train="train", dev="validation", test="test")
    assert structure(TABLE, "my_ner") == evolve(NER, splits=splits)


def test_every_key_of_a_mapping_can_be_written_in_toml() -> None:
    table = tomllib.loads(
        'source="a/b"\nrevision="abc"\nsubset="s"\nkind="relation"\nlevel=2\nlabels=["n","p"]\nnegative="n"\n'
        'names=["p","n"]\n[columns]\ntext="t"\nhead="h"\ntail="u"\nlabel="l"\nid="i"\nunit="d"\n[splits]\ndev="dev"'
    )
    assert structure(table, "x") == Mapping(
        source="a/b",
        revision="abc",
        subset="s",
        kind="relation",
        level=2,
        labels=("n", "p"),
        negative="n",
        names=("p", "n"),
        columns=Columns(text="t", head="h", tail="u", label="l", id="i", unit="d"),
        splits=Splits(train="train", dev="dev"),
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": 3}, "found 3, expected a string @ task.t.source"),
        ({"revision": 3}, "found 3, expected a string @ task.t.revision"),
        ({"level": 3}, "found 3, expected one of 1, 2 @ task.t.level"),
        ({"level": True}, "found True, expected one of 1, 2 @ task.t.level"),
        ({"kind": "ner"}, "the kind is 'ner', expected one of tagging, spans, relation, ranking,"),
        ({"labels": "Disease"}, "found 'Disease', expected a list of strings @ task.t.labels"),
        ({"labels": [1]}, "found [1], expected a list of strings @ task.t.labels"),
        ({"lables": []}, "unknown key lables, expected some of source, revision, subset, data_dir, kind, level,"),
        ({"columns": "words"}, "found 'words', expected a table @ task.t.columns"),
        ({"columns": {"tokens": "w", "tag": "t"}}, "unknown key tag, expected some of text, text_pair, tokens, tags,"),
        ({"columns": {"tokens": "w"}}, "columns lacks tags, which the kind tagging needs"),
        ({"columns": {"tokens": "w", "tags": "t", "label": "l"}}, "columns has label, which the kind tagging does not"),
        ({"splits": {"trian": "a"}}, "unknown key trian, expected some of train, dev, test @ task.t.splits"),
        ({"splits": {"train": ""}}, "splits.train is '', expected a name"),
        ({"splits": {"dev": ""}}, "splits.dev is '', expected a name; leave it out"),
        ({"splits": {"train": "train[:%]"}}, "splits has 'train[:%]', expected a name, or a part of one"),
        ({"separator": ""}, "separator is '', expected what stands between"),
        ({"labels": ["O"]}, "labels is ['O'], expected a type of mentions"),
        ({"splits": {"dev": "train"}}, "splits is train, train, expected different names: training data must not"),
        ({"labels": []}, "labels is [], expected at least 1 different names for the kind tagging"),
        ({"labels": ["D", "D"]}, "labels is ['D', 'D'], expected at least 1 different names"),
        ({"negative": "Disease"}, "negative is 'Disease', expected none for the kind tagging"),
    ],
)
def test_wrong_table(change: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as caught:
        structure(TABLE | change, "t")
    assert str(caught.value).startswith(f"[task.t] cannot be used: {said}")


def test_missing_keys_are_all_named() -> None:
    with pytest.raises(DataError, match=r"key source is missing .*; the key kind is missing .*; the key level is"):
        structure({}, "t")
    with pytest.raises(DataError, match=r"^\[task\.t\]: found 'x', expected a table$"):
        structure("x", "t")


@pytest.mark.parametrize(
    ("mapping", "change", "said"),
    [
        (PAIR, {"negative": None}, "negative is None, expected one of none, causes"),
        (PAIR, {"negative": "No"}, "negative is 'No', expected one of none, causes"),
        (PAIR, {"labels": ("none",)}, "labels is ['none'], expected at least 2 different names"),
        (CLASS, {"labels": ("no",)}, "labels is ['no'], expected at least 2 different names"),
        (RANK, {"labels": ("a",)}, "labels is ['a'], expected no different names for the kind ranking"),
        (CLASS, {"kind": "spans"}, "columns lacks mentions, which the kind spans needs"),
        (MANY, {"negative": "x"}, "negative is 'x', expected another name than x, y, z"),
        (CLASS, {"kind": "regression"}, "labels is ['no', 'yes'], expected no different names for the kind regression"),
        (CLOSE, {"negative": "x"}, "negative is 'x', expected none for the kind regression"),
        (CLOSE, {"columns": Columns(text="text")}, "columns lacks label, which the kind regression needs"),
    ],
)
def test_contradictions_are_refused_in_the_value_itself(mapping: Mapping, change: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as caught:
        evolve(mapping, **change)
    assert str(caught.value).startswith(said)


def test_tagging(tmp_path: Path) -> None:
    dataset = read(save(tmp_path, WORDS), NER)
    first, second = dataset.train
    assert (first.texts, first.words, first.tags) == ((("No flu", None),), ((0, 2), (3, 6)), ("O", "B-Disease"))
    assert (first.id, first.unit, second.id) == ("train-0000000", "train-0000000", "train-0000001")
    assert dataset.dev[0].id == "dev-0000000"
    assert (dataset.test, dataset.source) == ((), "corpus")
    assert (dataset.task.name, dataset.task.kind, dataset.task.labels) == ("mine", "tagging", ("Disease",))


def test_tags_as_class_label_integers(tmp_path: Path) -> None:
    # Not in the order of the task's classes: the feature's names decide.
    names = ["I-Disease", "O", "B-Disease"]
    features = Features({"words": List(Value("string")), "ner_tags": List(ClassLabel(names=names))})
    rows = {"words": [["a", "b", "c"]], "ner_tags": [[1, 2, 0]]}
    assert read(save(tmp_path, rows, features), NER).train[0].tags == ("O", "B-Disease", "I-Disease")


def test_integers_without_names_need_them_in_the_mapping(tmp_path: Path) -> None:
    rows = {"words": [["a", "b"]], "ner_tags": [[0, 1]]}
    save(tmp_path, rows)
    assert "row 0: found 0, a class without a name; list the names in order" in failure(tmp_path, NER)
    assert read(tmp_path, evolve(NER, names=("O", "B-Disease"))).train[0].tags == ("O", "B-Disease")
    message = failure(tmp_path, evolve(NER, names=("O",)))
    assert message.endswith("row 0: found the class 1, expected 0 to 0 (O)")


def test_names_of_the_mapping_come_before_those_of_the_table(tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["LABEL_0", "LABEL_1"])})
    save(tmp_path, {"text": ["one", "two"], "label": [1, 0]}, features)
    assert [e.labels for e in read(tmp_path, evolve(CLASS, names=("no", "yes"))).train] == [("yes",), ("no",)]
    assert "the label 'LABEL_1', expected one of no, yes" in failure(tmp_path, CLASS)


def test_class_label_of_an_unlabelled_row(tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    save(tmp_path, {"text": ["one", "two"], "label": [1, -1]}, features)
    message = failure(tmp_path, CLASS)
    assert message == "task mine, corpus, split train, row 1: found the class -1, expected 0 to 1 (no, yes)"


def test_classification_with_ids_units_and_a_second_text(tmp_path: Path) -> None:
    rows = TEXTS | {"n": [7, 8], "doc": ["d", "d"], "more": [["a", "b"], None]}
    columns = Columns(text="text", text_pair="more", label="label", id="n", unit="doc")
    examples = read(save(tmp_path, rows), evolve(CLASS, columns=columns)).train
    assert [e.texts for e in examples] == [(("one", "a b"),), (("two", None),)]
    assert [(e.id, e.unit, e.labels) for e in examples] == [("7", "d", ("yes",)), ("8", "d", ("no",))]


def test_unit_is_the_id_where_not_mapped(tmp_path: Path) -> None:
    columns = Columns(text="text", label="label", id="n")
    examples = read(save(tmp_path, TEXTS | {"n": ["a", "b"]}), evolve(CLASS, columns=columns)).train
    assert [(e.id, e.unit) for e in examples] == [("a", "a"), ("b", "b")]


def test_relation(tmp_path: Path) -> None:
    rows = {"text": ["Aba hits Bebo"], "head": [[0, 3]], "tail": [[[11, 13], [9, 10]]], "label": ["causes"]}
    (example,) = read(save(tmp_path, rows), PAIR).train
    assert (example.head, example.tail, example.labels) == (((0, 3),), ((9, 10), (11, 13)), ("causes",))


def test_fields_of_records(tmp_path: Path) -> None:
    rows = {
        "text": ["Aba hits Bebo"],
        "pair": [{"head": [[0, 3]], "tail": [[9, 13]], "kind": "none"}],
    }
    columns = Columns(text="text", head="pair.head", tail="pair.tail", label="pair.kind")
    (example,) = read(save(tmp_path, rows), evolve(PAIR, columns=columns)).train
    assert (example.head, example.tail, example.labels) == (((0, 3),), ((9, 13),), ("none",))


def test_multilabel(tmp_path: Path) -> None:
    rows = {"text": ["one", "two", "three"], "labels": [["z", "x", "z"], [], ["y"]]}
    assert [e.labels for e in read(save(tmp_path, rows), MANY).train] == [("z", "x"), (), ("y",)]


def test_the_name_of_no_label_is_left_out(tmp_path: Path) -> None:
    rows = {"text": ["one", "two", "three"], "labels": [["none"], ["z", "none"], []]}
    mapping = evolve(MANY, negative="none")
    dataset = read(save(tmp_path, rows), mapping)
    assert [e.labels for e in dataset.train] == [(), ("z",), ()]
    assert (dataset.task.labels, dataset.task.negative) == (("x", "y", "z"), None)
    features = Features({"text": Value("string"), "labels": List(ClassLabel(names=["none", "x", "y", "z"]))})
    save(tmp_path / "named", {"text": ["one", "two"], "labels": [[0], [3]]}, features)
    assert [e.labels for e in read(tmp_path / "named", mapping).train] == [(), ("z",)]


def test_a_class_in_a_list(tmp_path: Path) -> None:
    rows = {"text": ["one", "two"], "label": [["yes"], ["no"]]}
    assert [e.labels for e in read(save(tmp_path, rows), CLASS).train] == [("yes",), ("no",)]


def test_regression(tmp_path: Path) -> None:
    rows = {"text": ["one", "two"], "other": ["eins", None], "score": [1, 4]}
    dataset = read(save(tmp_path, rows, validation=rows | {"score": [0.5, -2.25]}), CLOSE)
    assert [(e.texts, e.value) for e in dataset.train] == [((("one", "eins"),), 1.0), ((("two", None),), 4.0)]
    assert [e.value for e in dataset.dev] == [0.5, -2.25]
    assert (dataset.task.kind, dataset.task.labels) == ("regression", ())
    assert (dataset.task.mean, dataset.task.std) == (2.5, 1.5)  # of training alone


def test_several_columns_are_a_list(tmp_path: Path) -> None:
    rows = {"text": ["a b"], "drug": ["b"], "more": [{"drug": "c"}], "start": [0], "end": [1]}
    mapping = Mapping(
        source="corpus",
        kind="regression",
        level=2,
        columns=Columns(text="text", text_pair="drug + more.drug", label="start + end"),
    )
    (example,) = read(save(tmp_path, rows), mapping).train
    assert (example.texts, example.value) == ((("a b", "b c"),), 0.5)
    wrong = evolve(mapping, columns=Columns(text="text", label="start + stop"))
    assert "the column 'stop' (for label) is missing, columns found: text, drug," in failure(tmp_path, wrong)


@pytest.mark.parametrize(
    "relevance", [[True, False, True], [1, 0, 2], [0.5, 0.0, 1.0], ["relevant", "irrelevant", "relevant"]]
)
def test_ranking(tmp_path: Path, relevance: list[Any]) -> None:
    rows = {"query": ["why?"], "answers": [["a", "b", "c"]], "good": [relevance]}
    (example,) = read(save(tmp_path, rows), RANK).train
    assert example.texts == (("why?", "a"), ("why?", "b"), ("why?", "c"))
    assert example.labels == ("relevant", "irrelevant", "relevant")


def test_ranking_by_class_names(tmp_path: Path) -> None:
    # Without the names 0 would be irrelevant.
    rows = {"query": ["why?"], "answers": [["a", "b"]], "good": [[0, 1]]}
    mapping = evolve(RANK, names=("relevant", "irrelevant"))
    assert read(save(tmp_path, rows), mapping).train[0].labels == ("relevant", "irrelevant")


def test_splits(tmp_path: Path) -> None:
    other = {"text": ["three"], "label": ["no"]}
    save(tmp_path, TEXTS, test=other, held=other)
    assert [len(read(tmp_path, CLASS)[s]) for s in ("train", "dev", "test")] == [2, 2, 1]
    turned = evolve(CLASS, splits=Splits(train="test", dev="held"))
    assert [len(read(tmp_path, turned)[s]) for s in ("train", "dev", "test")] == [1, 1, 0]
    named = evolve(CLASS, splits=Splits(test="tset"))
    assert failure(tmp_path, named) == (
        "task mine: corpus has no split 'tset', splits found: train, validation, test, held; "
        "name the test split under splits in [task.mine]"
    )


def test_missing_dev_split(tmp_path: Path) -> None:
    tables = {"train": datasets.Dataset.from_dict(TEXTS)}
    datasets.DatasetDict(tables).save_to_disk(str(tmp_path / "corpus"))
    named = evolve(CLASS, splits=Splits(dev="held_out"))
    assert "corpus has no split 'held_out', splits found: train; name the dev split" in failure(tmp_path, named)
    rows = {"text": [f"text {i}" for i in range(50)], "label": ["yes", "no"] * 25}
    datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows)}).save_to_disk(str(tmp_path / "large"))
    dataset = read(tmp_path, evolve(CLASS, source="large"))
    assert 0 < len(dataset.dev) < 15
    assert len(dataset.train) + len(dataset.dev) == 50
    assert "a tenth of the training units" in dataset.notes["dev split"]
    assert read(tmp_path, evolve(CLASS, source="large")).dev == dataset.dev


def test_parts_of_a_split_part_no_unit(tmp_path: Path) -> None:
    rows = {"text": [f"text {i}" for i in range(20)], "label": ["yes", "no"] * 10, "doc": [i // 3 for i in range(20)]}
    datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows)}).save_to_disk(str(tmp_path / "corpus"))
    columns = Columns(text="text", label="label", unit="doc")
    dataset = read(tmp_path, evolve(CLASS, columns=columns, splits=Splits(train="train[:80%]", dev="train[80%:]")))
    assert [e.unit for e in dataset.train] == [str(i // 3) for i in range(18)]
    assert [e.unit for e in dataset.dev] == ["6", "6"]
    assert len(read(tmp_path, evolve(CLASS, splits=Splits(train="train[5:]", dev="train[:5]"))).train) == 15
    with pytest.raises(DataError, match=r"splits has 'train\[x\]', expected a name, or a part of one"):
        evolve(CLASS, splits=Splits(train="train[x]"))


@pytest.mark.parametrize("step", [1, 3])
def test_parts_of_a_split_are_whole_units_wherever_their_rows_are(tmp_path: Path, step: int) -> None:
    """Rows of seven patients in turn; rows that are documents of several windows."""
    table = datasets.Dataset.from_dict(
        {
            "text": [f"Patient {i}. " + f"He takes aspirin, {i}. " * 60 for i in range(21)],
            "label": ["yes", "no", "yes"] * 7,
            "who": [(i // step) % 7 for i in range(21)],
            "entities": [[{"label": "Drug", "start": 21, "end": 28}]] * 21,
        }
    )
    datasets.DatasetDict({"train": table}).save_to_disk(str(tmp_path / "corpus"))
    for mapping, columns in ((CLASS, Columns(text="text", label="label")), (FOUND, FOUND.columns)):
        for border in ("0%", "30%", "50%", "4", "11", "90%"):
            halves = Splits(train=f"train[{border}:]", dev=f"train[:{border}]")
            mine = evolve(mapping, columns=evolve(columns, unit="who"), splits=halves)
            if border == "0%":
                assert "is none of the 21 examples" in failure(tmp_path, mine)
                continue
            dataset = read(tmp_path, mine)
            texts = {split: {e.texts[0][0] for e in dataset[split] if e.offset == 0} for split in ("train", "dev")}
            assert not {e.unit for e in dataset.train} & {e.unit for e in dataset.dev}
            assert len(texts["train"]) + len(texts["dev"]) == 21
            assert len(texts["train"] | texts["dev"]) == 21


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"dev": "train[80%:]"}, "train is 'train' and dev is 'train[80%:]', which share 2 of 10 rows"),
        ({"train": "train[:9]", "dev": "train[70%:]"}, "train is 'train[:9]' and dev is 'train[70%:]', which share 2"),
        (
            {"train": "train[4:]", "dev": "train[:2]", "test": "train[1:4]"},
            "dev is 'train[:2]' and test is 'train[1:4]'",
        ),
        ({"train": "train[:5]", "dev": "train[5:]", "test": "train[5:6]"}, "training data must not be evaluated on"),
    ],
)
def test_parts_that_share_rows_are_refused(tmp_path: Path, parts: dict[str, str], said: str) -> None:
    rows = {"text": [f"text {i}" for i in range(10)], "label": ["yes", "no"] * 5}
    datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows)}).save_to_disk(str(tmp_path / "corpus"))
    assert said in failure(tmp_path, evolve(CLASS, splits=Splits(**parts)))


def test_a_row_that_is_left_out_counts_once_in_two_parts_of_its_table(tmp_path: Path) -> None:
    rows = {"text": [f"text {i}" for i in range(9)] + ["odd"], "label": ["yes", "no"] * 4 + ["yes", "perhaps"]}
    datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows)}).save_to_disk(str(tmp_path / "corpus"))
    halves = evolve(CLASS, splits=Splits(train="train[:5]", dev="train[5:]"))
    assert "row 9: " in failure(tmp_path, halves)
    notes = read(tmp_path, evolve(halves, skip_unusable=True)).notes
    assert notes["unusable rows left out"] == 1
    assert len(notes["problems by kind"]) == 1
    nothing = {"text": ["a", "b"], "label": ["perhaps", "never"]}
    datasets.DatasetDict({"train": datasets.Dataset.from_dict(nothing)}).save_to_disk(str(tmp_path / "none"))
    said = failure(tmp_path, evolve(CLASS, source="none", skip_unusable=True))
    assert "none of its 2 rows can be used; row 0: " in said


def test_stored_format_and_costly_columns_do_not_matter(tmp_path: Path) -> None:
    table = datasets.Dataset.from_dict(WORDS | {"other": [1, 2]}).with_format("numpy")
    datasets.DatasetDict({"train": table, "validation": table}).save_to_disk(str(tmp_path / "corpus"))
    assert read(tmp_path, NER).train[0].tags == ("O", "B-Disease")


@pytest.mark.parametrize(
    ("mapping", "rows", "said"),
    [
        (NER, {"words": [["a"]]}, ": the column 'ner_tags' (for tags) is missing, columns found: words"),
        (NER, {"words": [["a"]], "ner_tags": [["O", "O"]]}, ", row 0: 2 tags for 1 tokens, expected one tag a token"),
        (NER, {"words": [["a"], None], "ner_tags": [["O"], ["O"]]}, ", row 1: found None, expected a list for tokens"),
        (NER, {"words": [["a"]], "ner_tags": ["O"]}, ", row 0: found 'O', expected a list for tags"),
        (NER, {"words": [[1]], "ner_tags": [["O"]]}, ", row 0: found 1, expected strings as tokens"),
        (NER, {"words": [["a"]], "ner_tags": [["I-Disease"]]}, ", row 0: the example 'train-0000000' has the tag 'I-D"),
        (CLASS, {"text": [None], "label": ["no"]}, ", row 0: found None, expected a string for text"),
        (CLASS, {"text": ["a"], "label": [0.5]}, ", row 0: found 0.5, expected a string or a class-label integer"),
        (CLASS, {"text": ["a"], "label": ["maybe"]}, ", row 0: the example 'train-0000000' has the label 'maybe'"),
        (CLASS, {"text": ["a", "b"], "label": [["no"], ["no", "yes"]]}, ", row 1: found ['no', 'yes'], expected one c"),
        (MANY, {"text": ["a"], "labels": ["x"]}, ", row 0: found 'x', expected a list for labels"),
        (CLOSE, {"text": ["a"], "other": ["b"], "score": ["3,5"]}, ", row 0: found '3,5', expected a finite number"),
        (
            CLOSE,
            {"text": ["a"] * 2, "other": ["b"] * 2, "score": ["3\x1f", ""]},
            ", row 1: found '', expected a finite",
        ),
        (
            CLOSE,
            {"text": ["a"] * 2, "other": ["b"] * 2, "score": [1.0, None]},
            ", row 1: found None, expected a finite",
        ),
        (
            CLOSE,
            {"text": ["a"] * 2, "other": ["b"] * 2, "score": [1.0, math.nan]},
            ", row 1: found nan, expected a fin",
        ),
        (CLOSE, {"text": ["a"], "other": ["b"], "score": [math.inf]}, ", row 0: found inf, expected a finite number"),
        (CLOSE, {"text": ["a"], "other": ["b"], "score": [True]}, ", row 0: found True, expected a finite number"),
        (CLOSE, {"text": ["a"], "other": ["b"], "score": [[]]}, ", row 0: found [], expected a finite number"),
        (
            RANK,
            {"query": ["q"], "answers": [["a"]], "good": [[1, 0]]},
            ", row 0: the example 'train-0000000' has 2 rel",
        ),
        (
            RANK,
            {"query": ["q"], "answers": [["a"]], "good": [["bad"]]},
            ", row 0: the example 'train-0000000' has the l",
        ),
        (RANK, {"query": ["q"], "answers": [["a"]], "good": [[None]]}, ", row 0: found None, expected a number, bool"),
        (RANK, {"query": ["q"], "answers": [["a"]], "good": [[math.nan]]}, ", row 0: found nan, expected a number"),
        (
            PAIR,
            {"text": ["ab"], "head": [[0, 1]], "tail": [["a"]], "label": ["none"]},
            ", row 0: found the spans ['a'], expected a list of [start, end]",
        ),
        (
            PAIR,
            {"text": ["ab"], "head": [[0, 1]], "tail": [[1, 3]], "label": ["none"]},
            ", row 0: the example 'train-0000000' has tail spans [(1, 3)] in a text of 2 characters",
        ),
    ],
)
def test_wrong_rows(tmp_path: Path, mapping: Mapping, rows: dict[str, Any], said: str) -> None:
    assert failure(save(tmp_path, rows), mapping).startswith(f"task mine, corpus, split train{said}")


def test_ids_that_repeat_or_are_no_ids(tmp_path: Path) -> None:
    columns = Columns(text="text", label="label", id="n")
    save(tmp_path, TEXTS | {"n": ["a", "a"], "x": [0.5, 1.5]})
    message = failure(tmp_path, evolve(CLASS, columns=columns))
    assert message.endswith("split train, row 1: the id 'a' is also that of row 0; ids must be unique")
    message = failure(tmp_path, evolve(CLASS, columns=evolve(columns, id="x")))
    assert message.endswith("row 0: found 0.5, expected a string or whole number for id")
    save(tmp_path, TEXTS | {"x": ["", "b"]})
    message = failure(tmp_path, evolve(CLASS, columns=Columns(text="text", label="label", unit="x")))
    assert message.endswith("row 0: found '' for unit, expected a string that is not empty, or a whole number")


def test_a_part_of_a_split_that_holds_nothing_is_told(tmp_path: Path) -> None:
    save(tmp_path, TEXTS)
    for wanted in ("train[50%:50%]", "train[1000:]"):
        parts = Splits(train="train", dev="validation", test=wanted)
        assert failure(tmp_path, evolve(CLASS, splits=parts)).endswith(
            f"{wanted!r}, which test is to be, is none of the 2 examples"
        )


def test_what_the_library_cannot_decode_is_told(tmp_path: Path) -> None:
    """Text that is not UTF-8, in the column that is read; and damaged folders."""
    save(tmp_path, TEXTS)
    numbers = b"".join((2 * i).to_bytes(4, "little") for i in range(3))
    text = pa.Array.from_buffers(pa.string(), 2, [None, pa.py_buffer(numbers), pa.py_buffer(b"\xff\xfe" * 2)])
    odd = datasets.Dataset(pa.table({"text": text, "label": ["no", "yes"]}))
    datasets.DatasetDict(train=odd, validation=odd).save_to_disk(str(tmp_path / "corpus"))
    assert "split train, row 0 or after it: cannot be read (UnicodeDecodeError" in failure(tmp_path, CLASS)
    (tmp_path / "corpus/train/dataset_info.json").write_text("[]")
    assert "cannot be loaded (" in failure(tmp_path, CLASS)
    (tmp_path / "corpus/dataset_dict.json").write_text("[" * 100_000)
    assert "cannot be loaded (" in failure(tmp_path, CLASS)
    datasets.DatasetDict().save_to_disk(str(tmp_path / "none"))
    for form in (None, "bigbio"):
        assert "none holds no split" in failure(tmp_path, evolve(CLASS, source="none", format=form))


def test_folder_that_is_no_saved_data_set(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    message = failure(tmp_path, CLASS)
    assert message.startswith(f"task mine: {tmp_path / 'corpus'} has no file of a known ending; expected a folder")
    message = failure(tmp_path, evolve(CLASS, format="disk"))
    assert message.startswith(f"task mine: {tmp_path / 'corpus'} cannot be loaded (")
    assert message.endswith(
        "expected a folder written by datasets.DatasetDict.save_to_disk, with at least one row in every split"
    )


def test_split_without_rows(tmp_path: Path) -> None:
    table = datasets.Dataset.from_dict(TEXTS)
    folder = str(tmp_path / "corpus")
    # Saved in two ways by the library: with an empty file, and without a file, which it cannot load again.
    datasets.DatasetDict({"train": table, "validation": table.filter(lambda _: False)}).save_to_disk(folder)
    empty = "task mine, corpus, split validation is empty, expected at least one row"
    assert failure(tmp_path, CLASS) == empty
    datasets.DatasetDict({"train": table, "validation": table.select([])}).save_to_disk(folder)
    message = failure(tmp_path, CLASS)  # datasets 4.0 loads it
    assert message == empty or message.endswith("with at least one row in every split")


def test_folder_with_one_table(tmp_path: Path) -> None:
    datasets.Dataset.from_dict(TEXTS).save_to_disk(str(tmp_path / "corpus"))
    assert "corpus holds one table (Dataset), expected named splits; save a datasets.DatasetDict" in failure(
        tmp_path, CLASS
    )


def test_folder_has_no_revision(tmp_path: Path) -> None:
    save(tmp_path, TEXTS)
    for change in ({"revision": "abc"}, {"subset": "a"}, {"data_dir": "b"}):
        assert "is a folder, so revision, subset and data_dir mean nothing; leave them out" in failure(
            tmp_path, evolve(CLASS, **change)
        )


def test_missing_folder(tmp_path: Path) -> None:
    message = failure(tmp_path, evolve(CLASS, source="../some/folder"))
    expected = tmp_path / "../some/folder"
    assert message == f"task mine: the folder {expected} does not exist; correct source in [task.mine]"
    assert "does not exist" in failure(tmp_path, evolve(CLASS, source=str(tmp_path / "no")))


def test_folder_of_the_working_directory_is_not_taken_for_a_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(save(tmp_path, TEXTS))
    (tmp_path / "base").mkdir()
    assert "corpus does not exist; correct source in [task.mine]" in failure(tmp_path / "base", CLASS)


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable counts where the library is imported later, its constant where it is already."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("offline")
def test_hub_without_a_network(tmp_path: Path) -> None:
    message = failure(tmp_path, evolve(CLASS, source="someone/some-corpus", revision="abc"))
    assert message.startswith(f"task mine: 'someone/some-corpus' is no folder below {tmp_path} and cannot be loaded")
    assert (
        "check the id, revision, subset, data_dir, network and access, or save the data set on a connected machine"
        in message
    )


def test_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def load(path: str, **options: Any) -> datasets.DatasetDict:
        asked.append((path, options))
        table = datasets.Dataset.from_dict(TEXTS)
        return datasets.DatasetDict({"train": table, "validation": table, "test": table})

    monkeypatch.setattr(datasets, "load_dataset", load)
    dataset = read(tmp_path, evolve(CLASS, source="someone/corpus", revision="abc", subset="small", data_dir="part"))
    assert asked == [("someone/corpus", {"name": "small", "revision": "abc", "data_dir": "part"})]
    assert (dataset.source, len(dataset.test)) == ("someone/corpus@abc", 2)
    assert read(tmp_path, evolve(CLASS, source="corpus")).source == "corpus"
    assert asked[1:] == [("corpus", {"name": None, "revision": None, "data_dir": None})]


@pytest.mark.parametrize(
    "mentions",
    [
        [{"label": "Drug", "start": 0, "end": 7}, {"label": "Effect", "start": 14, "end": 18}],
        [{"label": "Drug", "spans": [[0, 7]]}, {"label": "Effect", "spans": [[14, 18]]}],
        [{"label": "Drug", "spans": [0, 7]}, {"label": "Effect", "spans": [14, 18]}],
    ],
)
def test_mentions_in_a_table_are_spans(tmp_path: Path, mentions: list[dict]) -> None:
    rows = {"text": ["aspirin stops pain", "nothing"], "entities": [mentions, []]}
    dataset = read(save(tmp_path, rows), FOUND)
    first, second = dataset.train
    assert first.mentions == (("Drug", ((0, 7),)), ("Effect", ((14, 18),)))
    assert (first.id, first.unit) == ("train-0000000@0", "train-0000000")
    assert second.mentions == ()
    assert dataset.task.max_width == 1
    assert not dataset.task.discontiguous


def test_a_long_text_with_mentions_is_read_in_windows(tmp_path: Path) -> None:
    text = "one two three . " * 60
    spans = [[len(text) - 16, len(text) - 13], [len(text) - 8, len(text) - 3]]
    rows = {"text": [text], "entities": [[{"label": "Drug", "spans": spans}]]}
    dataset = read(save(tmp_path, rows), FOUND)
    assert {e.unit for e in dataset.dev} == {"dev-0000000"}
    *others, last = dataset.dev
    assert len(others) == 2
    assert last.mentions == (("Drug", tuple(map(tuple, spans))),)
    (_, pieces), offset = last.mentions[0], last.offset
    assert [last.texts[0][0][a - offset : b - offset] for a, b in pieces] == ["one", "three"]
    assert dataset.task.discontiguous
    assert dataset.task.max_width == 1


@pytest.mark.parametrize(
    ("mention", "said"),
    [
        ({"label": "Drug", "start": 0, "end": 70}, "in a text of 18 characters"),
        ({"label": "Drug", "spans": [[0, 70], [5, 6]]}, "in a text of 18 characters"),
        ({"label": "Drug", "start": 7, "end": 7}, "has a mention with the pieces"),
        ({"label": "Gene", "start": 0, "end": 7}, "has a mention of type 'Gene', expected one of Drug, Effect"),
        ({"label": "Drug", "first": 0}, "expected an object with label and spans"),
    ],
)
def test_a_mention_that_cannot_be_is_told(tmp_path: Path, mention: dict, said: str) -> None:
    message = failure(save(tmp_path, {"text": ["aspirin stops pain"], "entities": [[mention]]}), FOUND)
    assert "split train, row 0: " in message
    assert said in message
