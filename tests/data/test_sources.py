"""Task names: a mapping first, then the data folder, else the embedded corpus; errors list what is known."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

import mtlfn.data.embedded
from mtlfn.data import sources
from mtlfn.data.example import DataError, Example
from mtlfn.data.tables.mapping import Columns, Mapping
from mtlfn.data.task import Dataset, Task

ROW = {"id": "1", "doc_id": "1", "text": "Cells move .", "labels": []}
ASK = {"id": "9", "question": "Does it?", "contexts": [], "label": "yes"}
TASK = Task(name="notes", kind="multilabel", level=2, labels=("x",))
EXAMPLE = Example(id="1", unit="1", texts=(("a text", None),))
MAPPING = Mapping(
    source="corpus",
    kind="classification",
    level=2,
    labels=("a", "b"),
    columns=Columns(text="sentence", label="class"),
)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    for name, row in (("hoc", ROW), ("pubmedqa", ASK)):
        (tmp_path / name).mkdir()
        for split in ("train", "dev"):
            (tmp_path / name / f"{split}.jsonl").write_text(json.dumps(row) + "\n")
    return tmp_path


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Stands in for the embedded corpus: one sound task and one without examples."""
    module = ModuleType("mtlfn.data.embedded.corpus")
    module.SERVED = ("notes", "empty")
    splits = {"notes": (EXAMPLE,), "empty": ()}
    module.load = lambda name, cache: Dataset(
        task=TASK, train=splits[name], dev=splits[name], source=f"{name} of {cache}"
    )
    monkeypatch.setitem(sys.modules, "mtlfn.data.embedded.corpus", module)
    monkeypatch.setattr(mtlfn.data.embedded, "corpus", module, raising=False)
    return module


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    import datasets

    tables = {
        split: datasets.Dataset.from_dict({"sentence": texts, "class": ["a", "b"]})
        for split, texts in (("train", ["one", "two"]), ("validation", ["three", "four"]))
    }
    datasets.DatasetDict(tables).save_to_disk(str(tmp_path / "corpus"))
    return tmp_path


def failure(*arguments: object, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        sources.resolve(*arguments, **options)
    return str(caught.value)


def test_data_folder_in_the_order_of_the_names(data_dir: Path) -> None:
    found = sources.resolve(["pubmedqa", "hoc"], data_dir, {})
    assert [d.task.name for d in found] == ["pubmedqa", "hoc"]
    assert [d.source for d in found] == [str(data_dir / "pubmedqa"), str(data_dir / "hoc")]


def test_embedded_without_a_data_folder(embedded: ModuleType) -> None:
    (dataset,) = sources.resolve(["notes"], None, {}, cache=Path("cache"))
    assert dataset.source == "notes of cache"
    with pytest.raises(ValueError, match="'notes' is read from a cache, and none was given"):
        sources.resolve(["notes"], None, {})


def test_mapping_comes_before_the_data_folder_and_the_embedded_corpus(
    data_dir: Path, corpus: Path, embedded: ModuleType
) -> None:
    for folder in (data_dir, None):
        found = sources.resolve(["hoc", "notes"], folder, {"hoc": MAPPING, "notes": MAPPING}, base=corpus)
        assert [(d.task.name, d.task.kind, d.source) for d in found] == [
            ("hoc", "classification", "corpus"),
            ("notes", "classification", "corpus"),
        ]


def test_relative_sources_start_from_the_working_directory(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(corpus)
    assert sources.resolve(["mine"], None, {"mine": MAPPING})[0].task.name == "mine"


def test_unknown_name_lists_the_known_ones_and_the_closest(data_dir: Path, embedded: ModuleType) -> None:
    assert failure(["hocs"], data_dir, {"mine": MAPPING}) == (
        f"the task 'hocs' is not known in the data folder {data_dir} or as a mapping; did you mean 'hoc'? "
        "Known names: mine, bc5cdr_disease, ddi, hoc, pubmedqa, semeval2014_t7, semeval2015_t14, semeval2016_t12, "
        "semeval2016_t12_spans, semeval2017_t3, semeval2017_t3_b, semeval2017_t3_c, semeval2021_t6, "
        "semeval2021_t6_labels, bc5cdr, bc2gm, ncbi_disease, jnlpba, chemprot, pubmedqa_hub, gad, "
        "hoc_hub, ddi2013_hub, biosses; for other data write a [task.hocs] mapping"
    )
    assert failure(["nots"], None, {"mine": MAPPING}) == (
        "the task 'nots' is not known as an embedded task or a mapping; did you mean 'notes'? "
        "Known names: mine, notes, empty, bc5cdr, bc2gm, ncbi_disease, jnlpba, chemprot, pubmedqa_hub, gad, hoc_hub, "
        "ddi2013_hub, biosses; for other data write a [task.nots] mapping"
    )
    assert "did you mean" not in failure(["zzzz"], None, {})


def test_embedded_tasks_do_not_fill_gaps_of_a_data_folder(data_dir: Path, embedded: ModuleType) -> None:
    assert "'notes' is not known in the data folder" in failure(["notes"], data_dir, {})


def test_schema_name_without_a_data_folder_says_that_one_is_needed(embedded: ModuleType) -> None:
    assert "(it is read from a data folder, and none was given)" in failure(["ddi"], None, {})
    assert "none was given" not in failure(["dd"], None, {})


def test_schema_folder_that_is_missing(data_dir: Path) -> None:
    assert failure(["ddi"], data_dir, {}).startswith(f"the folder {data_dir / 'ddi'} of task ddi does not exist")


def test_names_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    assert failure([], None, {}) == "no task is named; name at least one"
    assert failure(["hoc", "ddi", "hoc"], tmp_path, {}) == "the task 'hoc' is named twice; name every task once"


@pytest.mark.parametrize("name", ["n" * 101, "n" * 250])
def test_names_that_are_too_long_for_a_file(tmp_path: Path, name: str) -> None:
    message = failure([name], tmp_path, {name: MAPPING})
    assert message.startswith(f"the task name '{'n' * 20}…' has {len(name)} characters, expected at most 100")


@pytest.mark.parametrize("name", ["", "Hoc", "a/b", "..", "-x", "a b", "é", "hoc\n"])
def test_names_that_cannot_be_folders(tmp_path: Path, name: str) -> None:
    message = failure([name], tmp_path, {name: MAPPING})
    assert message.startswith(f"the task name {name!r} is not allowed")


@pytest.mark.parametrize("name", ["a", "9", "my_ner.v2-b"])
def test_names_that_can(corpus: Path, name: str) -> None:
    assert sources.resolve([name], None, {name: MAPPING}, base=corpus)[0].task.name == name


def test_every_data_set_is_checked(embedded: ModuleType) -> None:
    assert "the train split is empty" in failure(["empty"], None, {}, cache=Path("cache"))


def test_a_public_set_is_the_folder_of_its_name_in_the_data_folder(tmp_path: Path) -> None:
    import datasets

    tags = datasets.Features(
        {"tokens": datasets.List(datasets.Value("string")), "tags": datasets.List(datasets.Value("int32"))}
    )
    rows = {"tokens": [["Aspirin", "helps"], ["Fever"]], "tags": [[1, 0], [2]]}
    table = datasets.Dataset.from_dict(rows, features=tags)
    tables = {"train": table, "validation": table, "test": table}
    datasets.DatasetDict(tables).save_to_disk(str(tmp_path / "bc5cdr"))
    (found,) = sources.resolve(["bc5cdr"], tmp_path, {})
    assert [e.tags for e in found.train] == [("B-Chemical", "O"), ("B-Disease",)]
