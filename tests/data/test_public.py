"""Public data sets: each mapping reads a table with the columns of its Hub copy, and asks the Hub for the right one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import datasets
import pytest
from attrs import evolve
from datasets import ClassLabel, Features, List, Value

from mtlfn.data import sources
from mtlfn.data.example import DataError
from mtlfn.data.tables import jsonl, reading
from mtlfn.data.tables.public import NOTES, PUBLIC
from mtlfn.data.tables.sources import HUB_ID
from mtlfn.data.task import Dataset, Task, check

STRING = Value("string")
INTEGER_TAGS = Features({"tokens": List(STRING), "tags": List(Value("int32"))})


def class_tags(*names: str) -> Features:
    return Features({"id": STRING, "tokens": List(STRING), "ner_tags": List(ClassLabel(names=list(names)))})


# In the order of the loader, which is not that of the alphabet.
HALLMARKS = [
    "evading growth suppressors",
    "tumor promoting inflammation",
    "enabling replicative immortality",
    "cellular energetics",
    "resisting cell death",
    "activating invasion and metastasis",
    "genomic instability and mutation",
    "none",
    "inducing angiogenesis",
    "sustaining proliferative signaling",
    "avoiding immune destruction",
]
FEATURES: dict[str, Features] = {
    "bc5cdr": INTEGER_TAGS,
    "bc2gm": class_tags("O", "B-GENE", "I-GENE"),
    "ncbi_disease": class_tags("O", "B-Disease", "I-Disease"),
    "jnlpba": INTEGER_TAGS,
    "chemprot": Features({"text": STRING, "label": STRING, "metadata": List(STRING)}),
    "pubmedqa_hub": Features(
        {
            "QUESTION": STRING,
            "CONTEXTS": List(STRING),
            "LABELS": List(STRING),
            "MESHES": List(STRING),
            "YEAR": STRING,
            "reasoning_required_pred": STRING,
            "reasoning_free_pred": STRING,
            "final_decision": STRING,
            "LONG_ANSWER": STRING,
        }
    ),
    "gad": Features({"id": STRING, "document_id": STRING, "text": STRING, "labels": List(STRING)}),
    "hoc_hub": Features({"document_id": STRING, "text": STRING, "label": List(ClassLabel(names=HALLMARKS))}),
    "ddi2013_hub": Features(
        dict.fromkeys(
            ("sentence", "drug1", "drug2", "relation", "source_file", "sentence_id", "pair_id"),
            STRING,
        )
    ),
    "biosses": Features(
        {"id": Value("int64"), "document_id": Value("int64"), "text_1": STRING, "text_2": STRING}
        | {f"annotator_{name}": Value("int64") for name in "abcde"}
    ),
}
ROWS: dict[str, dict[str, Any]] = {
    "bc5cdr": {"tokens": ["Zorin", "salt", "gave", "blue", "fever"], "tags": [1, 4, 0, 2, 3]},
    "bc2gm": {"id": "0", "tokens": ["The", "ABX", "3"], "ner_tags": [0, 1, 2]},
    "ncbi_disease": {"id": "0", "tokens": ["No", "blue", "fever"], "ner_tags": [0, 1, 2]},
    "jnlpba": {"tokens": list("abcdefghijk"), "tags": list(range(11))},
    "chemprot": {"text": "<< Zorin >> blocks [[ ABX3 ]] .", "label": "INHIBITOR", "metadata": []},
    "pubmedqa_hub": {
        "QUESTION": "Does zorin help?",
        "CONTEXTS": ["We tried.", "It was blue."],
        "LABELS": ["AIM", "RESULT"],
        "MESHES": [],
        "YEAR": "2030",
        "reasoning_required_pred": "yes",
        "reasoning_free_pred": "yes",
        "final_decision": "maybe",
        "LONG_ANSWER": "It is not certain.",
    },
    "gad": {"id": "0", "document_id": "7", "text": "@GENE$ may cause @DISEASE$.", "labels": ["1"]},
    "hoc_hub": {"document_id": "12_3", "text": "Cells spread.", "label": [5, 8]},
    "ddi2013_hub": {
        "sentence": "Zorin and blue salt meet ABX.",
        "drug1": "blue salt",
        "drug2": "ABX",
        "relation": "INT",
        "source_file": "blue.xml",
        "sentence_id": "d1.s0",
        "pair_id": "d1.s0.p2",
    },
    "biosses": {
        **{"id": 0, "document_id": 1, "text_1": "Zorin helps.", "text_2": "Zorin is of use."},
        **{"annotator_a": 4, "annotator_b": 4, "annotator_c": 3, "annotator_d": 2, "annotator_e": 3},
    },
}


def tables(name: str, *more: dict[str, Any]) -> datasets.DatasetDict:
    """The row of that name in every split of the copy, and further rows behind it."""
    rows = [ROWS[name], *more]
    columns = {column: [row[column] for row in rows] for column in FEATURES[name]}
    table = datasets.Dataset.from_dict(columns, features=FEATURES[name])
    return datasets.DatasetDict({split: table for split in attrs.astuple(PUBLIC[name].splits) if split})


def read(tmp_path: Path, name: str, *more: dict[str, Any]) -> Dataset:
    tables(name, *more).save_to_disk(str(tmp_path / "corpus"))
    mapping = evolve(PUBLIC[name], source="corpus", revision=None, subset=None, data_dir=None)
    return check(reading.read(name, mapping, tmp_path))


def test_every_set_has_a_note_and_a_name_of_its_own() -> None:
    assert PUBLIC.keys() == NOTES.keys() == FEATURES.keys()
    assert all(sources.NAME.fullmatch(name) for name in PUBLIC)
    assert not PUBLIC.keys() & jsonl.SCHEMAS.keys()
    assert all(NOTES.values())


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_names_are_the_classes_of_the_task(name: str) -> None:
    mapping = PUBLIC[name]
    task = Task(name=name, kind=mapping.kind, level=mapping.level, labels=mapping.labels)
    assert HUB_ID.fullmatch(mapping.source)
    assert sorted(mapping.names) == (sorted(task.classes) if mapping.kind == "tagging" else [])


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("bc5cdr", ("B-Chemical", "I-Chemical", "O", "B-Disease", "I-Disease")),
        ("bc2gm", ("O", "B-GENE", "I-GENE")),
        ("ncbi_disease", ("O", "B-Disease", "I-Disease")),
        (
            "jnlpba",
            (
                *("O", "B-DNA", "I-DNA", "B-protein", "I-protein", "B-cell_type", "I-cell_type"),
                *("B-cell_line", "I-cell_line", "B-RNA", "I-RNA"),
            ),
        ),
    ],
)
def test_tagging(tmp_path: Path, name: str, tags: tuple[str, ...]) -> None:
    dataset = read(tmp_path, name)
    assert (dataset.task.kind, dataset.task.level, dataset.task.name) == ("tagging", 1, name)
    for split in ("train", "dev", "test"):
        (example,) = dataset[split]
        assert example.tags == tags
        assert example.texts == ((" ".join(ROWS[name]["tokens"]), None),)


def test_row_without_words_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"split train, row 1: 0 tags for 0 tokens, expected one tag a token and at"):
        read(tmp_path, "ncbi_disease", {"id": "1", "tokens": [], "ner_tags": []})


def test_chemprot(tmp_path: Path) -> None:
    dataset = read(tmp_path, "chemprot")
    assert (dataset.task.kind, dataset.task.level, len(dataset.task.labels)) == ("classification", 2, 13)
    assert dataset.test[0].texts == (("<< Zorin >> blocks [[ ABX3 ]] .", None),)
    assert dataset.test[0].labels == ("INHIBITOR",)


def test_pubmedqa_never_shows_the_long_answer(tmp_path: Path) -> None:
    dataset = read(tmp_path, "pubmedqa_hub")
    assert (dataset.task.kind, dataset.task.level) == ("classification", 2)
    assert dataset.dev[0].texts == (("Does zorin help?", "We tried. It was blue."),)
    assert dataset.dev[0].labels == ("maybe",)


def test_gad(tmp_path: Path) -> None:
    dataset = read(tmp_path, "gad", ROWS["gad"] | {"labels": ["0"]})
    assert (dataset.task.kind, dataset.task.level) == ("classification", 2)
    assert dataset.dev[0].texts == (("@GENE$ may cause @DISEASE$.", None),)
    assert [e.labels for e in dataset.dev] == [("1",), ("0",)]
    with pytest.raises(DataError, match=r"split train, row 1: found \['0', '1'\], expected one class"):
        read(tmp_path / "two", "gad", ROWS["gad"] | {"labels": ["0", "1"]})


def test_hallmarks_of_cancer(tmp_path: Path) -> None:
    none = {"document_id": "12_4", "text": "We thank them.", "label": [HALLMARKS.index("none")]}
    dataset = read(tmp_path, "hoc_hub", none)
    assert (dataset.task.kind, dataset.task.level, dataset.task.negative) == ("multilabel", 2, None)
    assert dataset.task.labels == jsonl.SCHEMAS["hoc"].labels
    assert sorted([*dataset.task.labels, "none"]) == sorted(HALLMARKS)
    assert [e.labels for e in dataset.test] == [("activating invasion and metastasis", "inducing angiogenesis"), ()]
    assert [e.unit for e in dataset.test] == ["12_3", "12_4"]


def test_drug_drug_interactions(tmp_path: Path) -> None:
    dataset = read(tmp_path, "ddi2013_hub")
    assert (dataset.task.kind, dataset.task.level, len(dataset.task.labels)) == ("classification", 2, 5)
    (example,) = dataset.dev
    assert example.texts == (("Zorin and blue salt meet ABX.", "blue salt ABX"),)
    assert (example.labels, example.unit) == (("INT",), "blue.xml")
    assert dataset.test == ()


def test_biosses_has_the_mean_of_the_annotators(tmp_path: Path) -> None:
    other = {f"annotator_{name}": 0 for name in "abcde"}
    dataset = read(tmp_path, "biosses", ROWS["biosses"] | other)
    assert (dataset.task.kind, dataset.task.level, dataset.task.metric) == ("regression", 2, "pearson")
    assert dataset.test[0].texts == (("Zorin helps.", "Zorin is of use."),)
    assert [e.value for e in dataset.test] == [3.2, 0.0]
    assert (dataset.task.mean, dataset.task.std) == (1.6, 1.6)
    with pytest.raises(DataError, match="split train, row 1: found None, expected a finite number for label"):
        read(tmp_path / "gap", "biosses", ROWS["biosses"] | {"annotator_c": None})


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_by_name_through_the_common_entrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    asked: list[tuple[str | None, ...]] = []

    def load(path: str, *, name: str | None, revision: str | None, data_dir: str | None) -> datasets.DatasetDict:
        asked.append((path, name, revision, data_dir))
        return tables(wanted)

    wanted = name
    monkeypatch.setattr(datasets, "load_dataset", load)
    (dataset,) = sources.resolve([name], None, PUBLIC, base=tmp_path)
    mapping = PUBLIC[name]
    assert asked == [(mapping.source, mapping.subset, mapping.revision, mapping.data_dir)]
    assert [len(dataset[split]) for split in ("train", "dev", "test")] == [1, 1, name != "ddi2013_hub"]


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_by_name_from_a_data_folder(tmp_path: Path, name: str) -> None:
    tables(name).save_to_disk(str(tmp_path / name))
    (dataset,) = sources.resolve([name], tmp_path, {})
    assert (len(dataset.train), dataset.source) == (1, str(tmp_path / name))


def test_a_converted_branch_is_never_asked_for_a_configuration() -> None:
    # It has no card that could list configurations, so the library knows a single one there, "default".
    converted = [mapping for mapping in PUBLIC.values() if mapping.revision is not None]
    assert converted
    assert all(mapping.subset is None for mapping in converted)
