"""Public data sets: each mapping reads a table with the columns of its Hub copy, and asks the Hub for the right one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest
from attrs import evolve
from datasets import ClassLabel, Features, List, Value

from mtlfn.data import hub, jsonl, sources
from mtlfn.data.public import NOTES, PUBLIC
from mtlfn.data.task import DataError, Dataset, Task, check

STRING = Value("string")
INTEGER_TAGS = Features({"tokens": List(STRING), "tags": List(Value("int32"))})


def class_tags(*names: str) -> Features:
    return Features({"id": STRING, "tokens": List(STRING), "ner_tags": List(ClassLabel(names=list(names)))})


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
}


def tables(name: str, *more: dict[str, Any]) -> datasets.DatasetDict:
    """The row of that name in every split, and further rows behind it."""
    rows = [ROWS[name], *more]
    columns = {column: [row[column] for row in rows] for column in FEATURES[name]}
    table = datasets.Dataset.from_dict(columns, features=FEATURES[name])
    return datasets.DatasetDict({split: table for split in ("train", "validation", "test")})


def read(tmp_path: Path, name: str, *more: dict[str, Any]) -> Dataset:
    tables(name, *more).save_to_disk(str(tmp_path / "corpus"))
    mapping = evolve(PUBLIC[name], source="corpus", revision=None, subset=None)
    return check(hub.read(name, mapping, tmp_path))


def test_every_set_has_a_note_and_a_name_of_its_own() -> None:
    assert PUBLIC.keys() == NOTES.keys() == FEATURES.keys()
    assert all(sources.NAME.fullmatch(name) for name in PUBLIC)
    assert not PUBLIC.keys() & jsonl.SCHEMAS.keys()
    assert all(NOTES.values())


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_names_are_the_classes_of_the_task(name: str) -> None:
    mapping = PUBLIC[name]
    task = Task(name=name, kind=mapping.kind, level=mapping.level, labels=mapping.labels)
    assert hub.HUB_ID.fullmatch(mapping.source)
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


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_by_name_through_the_common_entrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    asked: list[tuple[str, str | None, str | None]] = []

    def load(path: str, *, name: str | None, revision: str | None) -> datasets.DatasetDict:
        asked.append((path, name, revision))
        return tables(wanted)

    wanted = name
    monkeypatch.setattr(datasets, "load_dataset", load)
    (dataset,) = sources.resolve([name], None, PUBLIC, base=tmp_path)
    mapping = PUBLIC[name]
    assert asked == [(mapping.source, mapping.subset, mapping.revision)]
    assert [len(dataset[split]) for split in ("train", "dev", "test")] == [1, 1, 1]


def test_a_converted_branch_is_never_asked_for_a_configuration() -> None:
    # It has no card that could list configurations, so the library knows a single one there, "default".
    converted = [mapping for mapping in PUBLIC.values() if mapping.revision is not None]
    assert converted
    assert all(mapping.subset is None for mapping in converted)
