"""What a data set lacks is said before it is trained on, in one line a kind, and nothing where nothing is lacking."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attrs import evolve

from mtlfn.data import sources
from mtlfn.data.example import DataError, Example
from mtlfn.data.screening import apart, survey
from mtlfn.data.screening.notices import notices
from mtlfn.data.tables import jsonl, reading
from mtlfn.data.tables.mapping import structure
from mtlfn.data.task import HIDDEN_TEST, Dataset, Task
from mtlfn.data.tokens import store
from mtlfn.models import backbone
from tests.data.test_hub import CLASS, CLOSE, MANY, NER, PAIR, RANK, TEXTS, WORDS, save
from tests.data.test_silent import SENTENCES
from tests.tiny import bert, tiny_folder

__all__ = ["bert", "tiny_folder"]

TASKS = {
    "tagging": Task(name="t", kind="tagging", level=1, labels=("A", "B")),
    "spans": Task(name="t", kind="spans", level=1, labels=("A", "B")),
    "relation": Task(name="t", kind="relation", level=2, labels=("none", "A", "B"), negative="none"),
    "ranking": Task(name="t", kind="ranking", level=2),
    "classification": Task(name="t", kind="classification", level=2, labels=("A", "B")),
    "multilabel": Task(name="t", kind="multilabel", level=2, labels=("A", "B")),
    "regression": Task(name="t", kind="regression", level=2),
}
WHAT = {
    "tagging": "entity",
    "spans": "mention",
    "relation": "relation but the negative class",
    "ranking": "relevant candidate",
    "multilabel": "label",
}


def example(task: Task, *labels: str) -> Example:
    made = Example(id="1", unit="1", texts=(("a b c", None),))
    if task.kind == "tagging":
        return evolve(made, words=((0, 1), (2, 3), (4, 5)), tags=(*(f"B-{label}" for label in labels), "O"))
    if task.kind == "spans":
        return evolve(made, words=((0, 1),), mentions=tuple((label, ((0, 1),)) for label in labels))
    if task.kind == "ranking":
        return evolve(made, labels=("irrelevant", *("relevant" for _ in labels)))
    if task.kind == "regression":
        return evolve(made, value=float(len(labels)))
    return evolve(made, labels=labels or ((task.negative,) if task.negative else ()))


def dataset(task: Task, **splits: list[tuple[str, ...]]) -> Dataset:
    return Dataset(task=task, **{split: tuple(example(task, *held) for held in each) for split, each in splits.items()})


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_whole_data_set_has_no_notice(task):
    assert notices(dataset(task, train=[("A",), ("B",), ()], dev=[("A",)], test=[("B",)]), {}) == []


@pytest.mark.parametrize("kind", [kind for kind, task in TASKS.items() if task.labels])
def test_a_label_that_never_occurs_and_one_that_only_evaluation_has(kind):
    task = TASKS[kind]
    train = [("A",), () if kind != "classification" else ("A",)]
    (said,) = notices(dataset(task, train=train, dev=[("A",)], test=[("A",)]), {})
    assert said == "declared, but in no split: 'B'; do the data call it so?"
    (said,) = notices(dataset(task, train=train, dev=[("A",)], test=[("B",)]), {})
    assert said == "in test but never in training, so that it cannot be learnt: 'B'"
    (said,) = notices(dataset(task, train=train, dev=[("B",)], test=[("B",)]), {})
    assert said == "in dev and test but never in training, so that it cannot be learnt: 'B'"


@pytest.mark.parametrize("kind", WHAT)
def test_a_split_with_nothing_to_find(kind):
    task = TASKS[kind]
    full = [("A",), ("B",), ()]
    assert notices(dataset(task, train=full, dev=[()], test=full), {}) == [
        f"no {WHAT[kind]} in dev: nothing to be found there"
    ]
    assert notices(dataset(task, train=full, dev=[(), ()], test=[()]), {}) == [
        f"no {WHAT[kind]} in dev and test: nothing to be found there"
    ]
    # One line says it of all labels.
    assert notices(dataset(task, train=[()], dev=full), {}) == [f"no {WHAT[kind]} in train: nothing to learn"]


def test_pairs_that_are_all_related_are_told():
    task = TASKS["relation"]
    (said,) = notices(dataset(task, train=[("A",), ("B",)], dev=[("A",)], test=[("B",)]), {})
    assert said == "no split has an example of 'none', so a model will hardly ever say it"


def test_empty_texts_are_told_by_split():
    task = TASKS["multilabel"]
    made = dataset(task, train=[("A",), ("B",)], dev=[("A",)], test=[("B",)])
    empty = evolve(made.train[0], texts=((" \n", None),))
    (said,) = notices(evolve(made, train=(*made.train, empty), test=(empty,)), {})
    assert said == "examples whose text is empty: 1 of train and 1 of test"
    beside = evolve(empty, texts=(("", "a second text"),))
    assert notices(evolve(made, train=(*made.train, beside)), {}) == []


def test_a_long_list_of_labels_is_one_line():
    task = evolve(TASKS["classification"], labels=tuple("ABCDEFGH"))
    (said,) = notices(dataset(task, train=[("A",)], dev=[("A",)]), {})
    assert said == "declared, but in no split: 'B', 'C', 'D', 'E', 'F' and 2 more; do the data call it so?"


def test_words_without_a_token_are_told_of_all_splits_in_one_line_and_the_check_counts_as_the_store(bert, tmp_path):
    task = Task(name="silent", kind="tagging", level=1, labels=("Disease",))
    made = Dataset(task=task, train=SENTENCES, dev=SENTENCES[:3], test=SENTENCES[:1])
    tokenizer = backbone.load(str(bert)).tokenizer
    cut = {split: store.load(made, split, tokenizer, 10, tmp_path).notes for split in ("train", "dev", "test")}
    told = [
        "without a token: 8 words of train, with 4 entities that cannot be found; "
        "2 words of dev, with 1 entities that cannot be found"
    ]
    assert notices(made, cut) == told
    assert notices(made, survey.silent_words(made, tokenizer, 10)) == told
    lines = list(survey.describe(made, tokenizer, 512, {}))
    assert [line for line in lines if line.startswith("notice")] == [f"notice    {told[0]}"]


# Test splits whose labels are kept back

HIDDEN = {
    "tagging": (NER, WORDS, {"ner_tags": [["-1", "-1"], ["-1"]]}),
    "classification": (CLASS, TEXTS, {"label": ["-1", "-1"]}),
    "nothing": (CLASS, TEXTS, {"label": [None, None]}),
    "lists": (CLASS, {**TEXTS, "label": [["yes"], ["no"]]}, {"label": [["-1"], ["-1"]]}),
    "numbers": (
        evolve(CLASS, names=("no", "yes")),
        {**TEXTS, "label": [0, 1]},
        {"label": [-1, -1]},
    ),
    "relation": (
        PAIR,
        {"text": ["a b"] * 2, "head": [[0, 1]] * 2, "tail": [[2, 3]] * 2, "label": ["none", "causes"]},
        {"label": ["-1", "-1"]},
    ),
    "ranking": (
        RANK,
        {"query": ["q"] * 2, "answers": [["a", "b"]] * 2, "good": [[0, 1]] * 2},
        {"good": [[-1, -1], [-1, -1]]},
    ),
    "multilabel": (MANY, {"text": ["a", "b"], "labels": [["x"], []]}, {"labels": [["-1"], ["-1"]]}),
    "regression": (CLOSE, {"text": ["a", "b"], "other": ["c", "d"], "score": [1.0, 2.0]}, {"score": [-1.0, -1.0]}),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_test_split_without_any_label_is_left_out_and_said(tmp_path, name):
    mapping, rows, change = HIDDEN[name]
    save(tmp_path, rows, test=rows | change)
    found = reading.read("mine", mapping, tmp_path)
    assert (len(found.train), len(found.dev), found.test) == (2, 2, ())
    assert found.notes == {HIDDEN_TEST: "none of the 2 rows of 'test' has a label"}
    assert notices(found, {})[0] == "the test split is left out: none of the 2 rows of 'test' has a label"
    if name == "ranking":
        return  # in training, a query without a relevant answer is one
    tables = {"validation": rows | change} if name != "regression" else {}
    if tables:
        save(tmp_path, rows, **tables)
        with pytest.raises(DataError, match="split validation, row 0: "):
            reading.read("mine", mapping, tmp_path)


def test_a_test_file_with_empty_fields_for_labels_is_left_out(tmp_path):
    for split, labels in (("train", ("yes", "no")), ("dev", ("no", "yes")), ("test", ("", ""))):
        (tmp_path / f"{split}.csv").write_text("text,label\n" + "".join(f"a {label},{label}\n" for label in labels))
    mapping = evolve(CLASS, source=str(tmp_path))
    assert reading.read("mine", mapping, tmp_path).notes == {HIDDEN_TEST: "none of the 2 rows of 'test' has a label"}
    several = evolve(
        MANY,
        source=str(tmp_path),
        columns=evolve(MANY.columns, labels="label"),
        separator=";",
        labels=("yes", "no"),
    )
    assert [e.labels for e in reading.read("mine", several, tmp_path).test] == [(), ()]  # none is an answer there


def test_an_integer_is_the_label_of_its_digits_and_then_not_hidden(tmp_path):
    signs = evolve(CLASS, labels=("-1", "1"))
    save(tmp_path, {"text": ["a", "b"], "label": [-1, 1]}, test={"text": ["a", "b"], "label": [-1, -1]})
    found = reading.read("mine", signs, tmp_path)
    assert [e.labels for e in found.train] == [("-1",), ("1",)]
    assert [e.labels for e in found.test] == [("-1",), ("-1",)]
    with pytest.raises(DataError, match=r"found -1, a class without a name; list the names in order under names"):
        reading.read("mine", CLASS, tmp_path)


def test_a_test_split_without_the_column_is_left_out_and_one_with_some_labels_is_refused(tmp_path):
    save(tmp_path, TEXTS, test={"text": ["a"]})
    assert reading.read("mine", CLASS, tmp_path).notes.keys() == {HIDDEN_TEST}
    save(tmp_path, TEXTS, test=TEXTS | {"label": ["yes", "-1"]})
    with pytest.raises(DataError, match=r"split test, row 1: the example .* has the label '-1'"):
        reading.read("mine", CLASS, tmp_path)


def test_a_class_that_is_called_so_and_no_label_of_several_are_answers(tmp_path):
    signs = evolve(CLASS, labels=("-1", "1"))
    save(tmp_path, TEXTS | {"label": ["-1", "1"]}, test=TEXTS | {"label": ["-1", "-1"]})
    assert len(reading.read("mine", signs, tmp_path).test) == 2
    rows = {"text": ["a", "b"], "labels": [["x"], []]}
    save(tmp_path, rows, test=rows | {"labels": [[], []]})
    found = reading.read("mine", MANY, tmp_path)
    assert len(found.test) == 2
    assert "no label in test: nothing to be found there" in notices(found, {})


def test_false_asks_for_no_test_split(tmp_path):
    table = {"source": "corpus", "kind": "classification", "level": 2, "labels": ["no", "yes"]}
    table |= {"columns": {"text": "text", "label": "label"}, "splits": {"test": False}}
    save(tmp_path, TEXTS, test=TEXTS)
    found = reading.read("mine", structure(table, "mine"), tmp_path)
    assert (len(found.train), found.test, found.notes) == (2, (), {})
    for split in ("train", "dev"):
        with pytest.raises(DataError, match=f"found False, expected a string @ task.mine.splits.{split}"):
            structure(table | {"splits": {split: False}}, "mine")


@pytest.mark.parametrize("label", [None, "-1", ...])
def test_a_file_without_labels_is_left_out_as_test_and_refused_elsewhere(tmp_path, label):
    row = {"id": "1", "doc_id": "1", "text": "ab", "head": {"spans": [[0, 1]]}, "tail": {"spans": [[1, 2]]}}
    bare = row if label is ... else row | {"label": label}

    def write(split: str, held: dict) -> None:
        lines = [json.dumps(held | {"id": str(i), "doc_id": str(i)}) for i in range(60)]
        (tmp_path / "ddi").mkdir(exist_ok=True)
        (tmp_path / "ddi" / f"{split}.jsonl").write_text("\n".join(lines))

    for split in ("train", "dev"):
        write(split, row | {"label": "effect"})
    write("test", bare)
    found = jsonl.read(tmp_path / "ddi", "ddi")
    assert (len(found.train), found.test, found.notes) == (60, (), {HIDDEN_TEST: "no line of test.jsonl has a label"})
    (found,) = sources.resolve(["ddi"], tmp_path, {})
    assert found.test
    said = (
        "the test split is left out: no line of test.jsonl has a label; a tenth of the training units takes its place"
    )
    assert said in notices(found, {})
    write("dev", bare)
    with pytest.raises(DataError, match=r"dev.jsonl, line 1: "):
        jsonl.read(tmp_path / "ddi", "ddi")


# Texts that other tasks hold out


def test_what_is_left_out_for_other_tasks_is_one_line(tmp_path: Path):
    task = TASKS["classification"]

    def texts(*held: str) -> tuple[Example, ...]:
        return tuple(
            Example(id=f"{i}{text}", unit=f"{i}{text}", texts=((text, None),), labels=("A",))
            for i, text in enumerate(held)
        )

    def made(name: str, train: str, dev: str) -> Dataset:
        return Dataset(task=evolve(task, name=name), train=texts(*train), dev=texts(*dev))

    others = [made(f"t{i}", "z", "abcde"[: i + 1]) for i in range(5)]
    found = apart.kept_apart([made("mine", "aabcdefg", "x"), *others])
    assert apart.told(found[0]) == (
        "6 training examples left out, which are dev or test texts of t4, t3, t2 and 2 more tasks"
    )
    assert apart.told(found[1]) == ""
