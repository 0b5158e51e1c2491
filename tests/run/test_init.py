"""A first configuration: drafted from files of every format, and read by the check of data as it was written."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlfn.data.example import DataError
from mtlfn.data.tables import reading
from mtlfn.data.task import check
from mtlfn.run.commands.command import data as command
from mtlfn.run.draft import columns, look
from mtlfn.run.preset import from_toml
from tests.data import test_documents as notes

WORDS = [["no", "flu", "here"], ["left", "knee", "pain"], ["rest"]]
BIOES = [["O", "S-Disease", "O"], ["B-Site", "I-Site", "E-Site"], ["O"]]
IOB2 = [["O", "B-Disease", "O"], ["B-Site", "I-Site", "I-Site"], ["O"]]


def pairs_csv(folder: Path) -> None:
    rows = "".join(f"no pain in case {i},some rest for {i},{'yes' if i % 2 else 'no'}\n" for i in range(60))
    (folder / "pairs.csv").write_text("a,b,label\n" + rows)


def amounts_tsv(folder: Path) -> None:
    rows = "".join(f"case\tfirst text {i}\tother text {i}\t{i / 7:.3f}\n" for i in range(60))
    (folder / "train.tsv").write_text("kind\tsentence1\tsentence2\tscore\n" + rows)


def labels_csv(folder: Path) -> None:
    rows = "".join(f"text of {i},{'flu;rash' if i % 3 else 'flu' if i % 2 else ''}\n" for i in range(60))
    (folder / "all.csv").write_text("text,labels\n" + rows)


def json_lines(folder: Path, rows: list[dict[str, Any]]) -> None:
    for split, part in (("train", rows[:-1]), ("dev", rows[-1:])):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))


def tagged_lines(folder: Path) -> None:
    json_lines(folder, [{"id": i, "tokens": w, "tags": t} for i, (w, t) in enumerate(zip(WORDS, IOB2, strict=True))])


def span_lines(folder: Path) -> None:
    mentions = [{"label": "Disease", "start": 3, "end": 6}, {"label": "Site", "spans": [[0, 2], [3, 6]]}]
    json_lines(folder, [{"text": "no flu", "entities": mentions}, {"text": "no", "entities": []}] * 2)


def relation_lines(folder: Path) -> None:
    tail = {"type": "drug", "spans": [[8, 12]]}
    rows = [
        {"doc_id": f"d{i // 2}", "text": "tea and zinc", "e1": [0, 3], "tail": tail, "relation": label}
        for i, label in enumerate(["none", "treats", "none", "harms", "none"])
    ]
    json_lines(folder, rows)


def ranked_lines(folder: Path) -> None:
    json_lines(folder, [{"query": f"q {i}", "candidates": ["a", "b c"], "relevance": [0, 1]} for i in range(4)])


def whole_numbers(folder: Path) -> None:
    json_lines(folder, [{"text": f"some text {i}", "label": i % 3} for i in range(12)])


def parquet(folder: Path) -> None:
    tag = datasets.ClassLabel(names=["O", "B-Disease", "I-Disease", "B-Site", "I-Site"])
    form = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(tag),
            "n": datasets.Value("int32"),
        }
    )
    numbers = [[tag.str2int(t) for t in tags] for tags in IOB2]
    table = datasets.Dataset.from_dict({"tokens": WORDS, "ner_tags": numbers, "n": [1, 2, 3]}, features=form)
    for split in ("train", "validation"):
        table.to_parquet(str(folder / f"{split}-00000-of-00001.parquet"))


def saved(folder: Path) -> None:
    rows = {"sentence": [f"text {i}" for i in range(40)], "label": [i % 2 for i in range(40)]}
    form = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    table = datasets.Dataset.from_dict(rows, features=form)
    datasets.DatasetDict(train=table, validation=table, test=table).save_to_disk(str(folder))


def columns_of(tags: list[list[str]], ending: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        several = [*zip(WORDS, tags, strict=True)] * 20
        text = "\n".join("".join(f"{a} x {b}\n" for a, b in zip(*each, strict=True)) for each in several)
        (folder / f"train{ending}").write_text(text)

    return write


def told_lines(folder: Path) -> None:
    rows = [{"question": f"is it {i}", "long_answer": f"it is {i}", "label": ["no", "yes"][i % 2]} for i in range(12)]
    json_lines(folder, rows)


def documents(form: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        folder.rmdir()
        notes.write(folder.parent, form)

    return write


def bigbio_text(folder: Path) -> None:
    rows = [{"id": str(i), "document_id": f"d{i}", "text": f"t {i}", "labels": ["a", "b"][: i % 3]} for i in range(9)]
    notes.saved(folder.parent, rows, rows)


# name -> what writes the files, and (kind, labels) of each task that they show
SOURCES: dict[str, tuple[Callable[[Path], None], list[tuple[str, list[str]]]]] = {
    "pairs in CSV": (pairs_csv, [("classification", ["no", "yes"])]),
    "amounts in TSV": (amounts_tsv, [("regression", [])]),
    "labels in CSV": (labels_csv, [("multilabel", ["flu", "rash"])]),
    "tagged JSON Lines": (tagged_lines, [("tagging", ["Disease", "Site"])]),
    "spans in JSON Lines": (span_lines, [("spans", ["Disease", "Site"])]),
    "relations in JSON Lines": (relation_lines, [("relation", ["harms", "none", "treats"])]),
    "rankings in JSON Lines": (ranked_lines, [("ranking", [])]),
    "classes as numbers": (whole_numbers, [("classification", ["0", "1", "2"])]),
    "a text on the label": (told_lines, [("classification", ["no", "yes"])]),
    "Parquet with int tags": (parquet, [("tagging", ["Disease", "Site"])]),
    "save_to_disk": (saved, [("classification", ["bad", "good"])]),
    "CoNLL with BIOES and no dev": (columns_of(BIOES, ".conll"), [("tagging", ["Disease", "Site"])]),
    "CoNLL that is called txt": (columns_of(IOB2, ".txt"), [("tagging", ["Disease", "Site"])]),
    "CoNLL without prefixes": (
        columns_of([["O", "Disease", "O"], ["Site", "Site", "Site"], ["O"]], ".bio"),
        [("tagging", ["Disease", "Site"])],
    ),
    "CoNLL of IOB1": (
        columns_of([["O", "I-Disease", "O"], ["I-Site", "I-Site", "B-Site"], ["O"]], ".tsv"),
        [("tagging", ["Disease", "Site"])],
    ),
    **{
        form: (
            documents(form),
            [("spans", ["Disease", "Drug", "Site"]), ("relation", ["none", "harms", "near", "treats"])],
        )
        for form in ("brat", "bioc", "bioc in JSON", "bigbio")
    },
    "BigBIO's texts": (bigbio_text, [("multilabel", ["a", "b"])]),
}


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_written_is_read_by_the_check(name, bert, cache, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("MTLFN_CACHE", str(cache))
    write, expected = SOURCES[name]
    (tmp_path / "data").mkdir()
    write(tmp_path / "data")
    file = tmp_path / "my.toml"
    assert command(["init", str(tmp_path / "data"), "--output", str(file)]) == 0, capfd.readouterr()
    tasks = tomllib.loads(file.read_text())["task"]
    assert [(task["kind"], task.get("labels", [])) for task in tasks.values()] == expected
    assert {task["source"] for task in tasks.values()} == {"data"}
    capfd.readouterr()
    assert command(["check", "--config", str(file), "--backbone", str(bert)]) == 0, capfd.readouterr().err
    said = capfd.readouterr().out
    assert all(f"{task}: {kind}, level" in said for task, (kind, _) in zip(tasks, expected, strict=True))


def drafted(folder: Path) -> Any:
    assert command(["init", str(folder), "--output", str(folder.parent / "my.toml")]) == 0
    return tomllib.loads((folder.parent / "my.toml").read_text())["task"]


def test_the_tags_of_every_scheme_are_read_as_the_same_entities(tmp_path):
    examples = []
    for number, name in enumerate(
        ("CoNLL with BIOES and no dev", "CoNLL that is called txt", "CoNLL without prefixes")
    ):
        (tmp_path / str(number) / "data").mkdir(parents=True)
        SOURCES[name][0](tmp_path / str(number) / "data")
        drafted(tmp_path / str(number) / "data")
        ((task, mapping),) = from_toml(tmp_path / str(number) / "my.toml").task.items()
        examples.append([(e.texts, e.tags) for e in check(reading.read(task, mapping, tmp_path)).train])
    assert examples[0] == examples[1] == examples[2]


def test_columns_play_the_roles_that_they_show(tmp_path):
    expected = {
        "pairs in CSV": {"text": "a", "text_pair": "b", "label": "label"},
        "amounts in TSV": {"text": "sentence1", "text_pair": "sentence2", "label": "score"},
        "relations in JSON Lines": {
            "text": "text",
            "head": "e1",
            "tail": "tail.spans",
            "label": "relation",
            "unit": "doc_id",
        },
        "tagged JSON Lines": {"tokens": "tokens", "tags": "tags", "id": "id"},
        "Parquet with int tags": {"tokens": "tokens", "tags": "ner_tags"},
        "rankings in JSON Lines": {"query": "query", "candidates": "candidates", "relevance": "relevance"},
        "a text on the label": {"text": "question", "label": "label"},
    }
    for number, (name, roles) in enumerate(expected.items()):
        (tmp_path / str(number) / "data").mkdir(parents=True)
        SOURCES[name][0](tmp_path / str(number) / "data")
        (task,) = drafted(tmp_path / str(number) / "data").values()
        assert task["columns"] == roles, name


def test_a_folder_of_folders_is_a_task_each(tmp_path):
    for name, write in (("My Pairs", pairs_csv), ("words", tagged_lines)):
        (tmp_path / "data" / name).mkdir(parents=True)
        write(tmp_path / "data" / name)
    tasks = drafted(tmp_path / "data")
    assert {name: task["source"] for name, task in tasks.items()} == {
        "my_pairs": "data/My Pairs",
        "words": "data/words",
    }


def test_names_that_are_alike_are_told_apart(tmp_path):
    for name in ("a", "A", "a_1"):
        (tmp_path / "data" / name).mkdir(parents=True)
        pairs_csv(tmp_path / "data" / name)
    assert command(["init", str(tmp_path / "data"), "--output", str(tmp_path / "my.toml")]) == 0
    assert len(from_toml(tmp_path / "my.toml").task) == 3


def capital(table: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {name.capitalize(): values for name, values in table.items()}


ROLES: list[dict[str, list[Any]]] = [
    {
        "question": ["what helps", "why so", "who is"] * 4,
        "context": ["yes", "no", "so"] * 4,
        "answer": ["a b", "c d", "e f"] * 4,
        "label": ["p", "q"] * 6,
    },
    {"query": ["what helps", "why so"], "candidates": [["a b", "c d"]] * 2, "relevance": [[1, 0]] * 2},
    {"text": ["what helps", "why so", "who is"], "labels": [["x"], ["y", "x"], []]},
]


@pytest.mark.parametrize("table", ROLES, ids=lambda table: next(iter(table)))
def test_names_in_capitals_play_the_same_roles(table):
    def roles(table: dict[str, list[Any]]) -> dict[str, str]:
        drafted = columns.draft([columns.Column(name=name, values=values) for name, values in table.items()])
        assert drafted is not None
        return drafted.columns

    assert roles(capital(table)) == {role: name.capitalize() for role, name in roles(table).items()}
    assert len(roles(table)) == (3 if "label" in table else len(table))


@pytest.mark.parametrize(
    ("labels", "negative", "said"),
    [
        (["OTHER", "harm", "none"], "none", "OTHER could say that there is no relation, too"),
        (["0", "No", "no_relation"], "no_relation", "No, 0 could say that there is no relation, too"),
        (["harm", "OTHER"], "OTHER", ""),
        (["harm", "helps", "helps"], "helps", "the most frequent class; name the one that says no"),
    ],
)
def test_the_class_that_says_no_is_the_surest_of_those_that_could_and_the_others_are_told(labels, negative, said):
    table = {
        "text": ["tea and zinc"] * 12,
        "head": [[0, 3]] * 12,
        "tail": [[8, 12]] * 12,
        "label": labels * (12 // len(labels)),
    }
    drafted = columns.draft([columns.Column(name=name, values=values) for name, values in table.items()])
    assert drafted is not None
    assert (drafted.kind, drafted.negative) == ("relation", negative)
    assert drafted.guesses.get("negative", "") == said


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("numbers", [range(1, 6), range(8, 12), (0, 3)])
def test_classes_as_numbers_are_those_that_occur(tmp_path, numbers, several):
    """And each is read as itself: stars 1 to 5 have no class 0, and 10 is not the second of 1, 10, 2."""
    (tmp_path / "data").mkdir()
    stars = [numbers[i % len(numbers)] for i in range(40)]
    given = [[star, numbers[0]] if star != numbers[0] else [star] for star in stars] if several else stars
    field = "labels" if several else "label"
    json_lines(tmp_path / "data", [{"text": f"some text {i}", field: value} for i, value in enumerate(given)])
    task = drafted(tmp_path / "data")["data"]
    assert task["kind"] == ("multilabel" if several else "classification")
    assert task["labels"] == [str(number) for number in numbers]
    ((name, mapping),) = from_toml(tmp_path / "my.toml").task.items()
    read = reading.read(name, mapping, tmp_path).train
    assert [sorted(map(int, e.labels)) for e in read] == [sorted(v) if several else [v] for v in given[:-1]]


@pytest.mark.parametrize("form", [int, str])
def test_numbers_below_0_are_classes(tmp_path, form):
    (tmp_path / "data").mkdir()
    json_lines(tmp_path / "data", [{"text": f"some text {i}", "label": form(i % 2 * 2 - 1)} for i in range(12)])
    mapping = drafted(tmp_path / "data")["data"]  # and it can be read
    assert mapping["labels"] == ["-1", "1"]
    assert "names" not in mapping


@pytest.mark.parametrize(
    ("grades", "kind", "said"),
    [
        ([0, 2], "graded", "# kind: has grades above 1"),
        ([0.0, 2.0], "graded", "# kind: has grades above 1"),
        ([0.5, 1.5], "ranking", "# kind: has grades that are not whole numbers from 0 to 32"),
        ([0, 99], "ranking", "# kind: has grades that are not whole numbers from 0 to 32"),
        ([0.0, 0.5], "ranking", ""),
    ],
)
def test_only_whole_grades_are_graded(tmp_path, grades, kind, said):
    (tmp_path / "data").mkdir()
    rows = [{"query": f"q {i}", "candidates": ["a", "b c"], "relevance": grades} for i in range(4)]
    json_lines(tmp_path / "data", rows)
    assert drafted(tmp_path / "data")["data"]["kind"] == kind  # and it can be read
    text = (tmp_path / "my.toml").read_text()
    assert said in text
    assert bool(said) == ("# kind: " in text)


def test_a_guess_says_so(tmp_path):
    (tmp_path / "data").mkdir()
    rows = "".join(f"id {i},about case {i},text of {i},{i % 2}\n" for i in range(40))
    (tmp_path / "data" / "train.csv").write_text("note,about,text,label\n" + rows)
    drafted(tmp_path / "data")
    text = (tmp_path / "my.toml").read_text()
    assert "# columns: note, about are texts, too" in text
    assert '# kind: the labels are numbers; if they are amounts, kind = "regression" without labels' in text
    assert "# no dev and no test split: a tenth of the training units" in text


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ("PairID,doc", {"id": "PairID", "unit": "doc"}),
        ("pair_id,patient", {"id": "pair_id", "unit": "patient"}),
        ("note_id,case", {"unit": "note_id"}),
        ("paid,group_id", {}),  # no id by its name; one of its name, but not unique
        ("id,OtherID", {"id": "id"}),
    ],
)
def test_ids_and_units_are_found_by_their_names(tmp_path, names, wanted):
    (tmp_path / "data").mkdir()
    rows = "".join(f"k{i},g{i // 3},text of {i},{'yes' if i % 2 else 'no'}\n" for i in range(60))
    (tmp_path / "data" / "train.csv").write_text(f"{names},text,label\n" + rows)
    assert drafted(tmp_path / "data")["data"]["columns"] == {"text": "text", "label": "label", **wanted}


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (("yes", "no", ""), "# labels: an empty cell is a class of its own here"),
        (("yes", "no", " yes"), "# labels: ' yes' and 'yes' differ in white space or case alone"),
        (("yes", "no", "No"), "# labels: 'No' and 'no' differ in white space or case alone"),
        (("yes", "no", "maybe"), ""),
    ],
)
def test_labels_that_look_like_dirt_are_told(tmp_path, labels, said):
    (tmp_path / "data").mkdir()
    rows = "".join(f"text of {i},{labels[i % 3]}\n" for i in range(60))
    (tmp_path / "data" / "train.csv").write_text("text,label\n" + rows)
    drafted(tmp_path / "data")
    text = (tmp_path / "my.toml").read_text()
    assert said in text
    assert bool(said) == ("# labels: " in text)


def test_a_text_on_the_label_is_left_out_and_told(tmp_path):
    (tmp_path / "data").mkdir()
    told_lines(tmp_path / "data")
    assert drafted(tmp_path / "data")["data"]["columns"] == {"text": "question", "label": "label"}
    assert (
        "# columns: long_answer is left out: by its name it may give the label away"
        in (tmp_path / "my.toml").read_text()
    )


def test_of_several_columns_that_could_be_the_label_one_is_taken_and_told(tmp_path):
    (tmp_path / "data").mkdir()
    rows = "".join(
        f"is it {i},so it says {i},{'yes' if i % 3 else 'no'},{'AB' if i % 2 else 'CD'}\n" for i in range(40)
    )
    (tmp_path / "data" / "train.csv").write_text("question,context,answer,annotator\n" + rows)
    columns = {"text": "question", "text_pair": "context", "label": "answer"}
    assert drafted(tmp_path / "data")["data"]["columns"] == columns
    assert "# columns: answer is taken for the label; annotator could be it, too" in (tmp_path / "my.toml").read_text()


def test_a_text_that_few_rows_lack_is_the_text_and_the_others_are_told(tmp_path):
    (tmp_path / "data").mkdir()
    rows = [{"ward": "4A", "note": f"pain in case {i}", "topics": ["a", "b"][: i % 3]} for i in range(40)]
    del rows[7]["note"]
    (tmp_path / "data" / "notes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command(["init", str(tmp_path / "data"), "--output", str(tmp_path / "my.toml")])
    text = (tmp_path / "my.toml").read_text()
    assert 'columns = { text = "note", labels = "topics" }' in text
    assert "# columns: note is taken for the text, being the longest; other texts: ward" in text


def test_tags_in_another_column_of_conll_are_told(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.conll").write_text("no O O\nflu B-Disease I-NP\n\nrest O O\n\n" * 20)
    assert drafted(tmp_path / "data")["data"]["labels"] == ["NP"]
    said = '# labels: those of the last column; columns = { tokens = "0", tags = "1" } has tags, too (Disease)'
    assert said in (tmp_path / "my.toml").read_text()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "is empty; name a folder of data"),
        ({"a.csv": "x,y\n1,2\n", "b.jsonl": '{"x": 1}\n'}, "has files of csv, jsonl"),
        ({"a.csv": "x,y\n1,2\n"}, "its columns (x, y) show no kind of task; write a [task.NAME]"),
        ({"a.weights": "?"}, "no file of a known ending"),
        ({"n.ann": "", "n.txt": "no flu"}, "no document of the training split has a mention"),
        ({"one.csv": "a,label\nb c,d\n", "dev.csv": "a,label\nb c,d\n"}, "belongs to no split"),
        ({"dev.csv": "a,label\nb c,d\n", "test.csv": "a,label\nb c,d\n"}, "has the splits dev, test, expected one"),
        (
            {"a.jsonl": '{"text": "t u", "label": "\\ud800"}\n{"text": "v w", "label": "a"}\n' * 9},
            "half of a character",
        ),
    ],
)
def test_what_shows_no_task_is_told_and_nothing_is_written(files, said, tmp_path, capfd):
    (tmp_path / "data").mkdir()
    for name, text in files.items():
        (tmp_path / "data" / name).write_text(text)
    assert command(["init", str(tmp_path / "data"), "--output", str(tmp_path / "my.toml")]) == 2
    told = capfd.readouterr()
    assert said in told.err, told.err
    assert len(told.err.splitlines()) == 1
    assert not (tmp_path / "my.toml").exists()


VALUE = st.one_of(
    *(st.none(), st.booleans(), st.integers(-2, 3), st.sampled_from([0.5, float("nan"), float("inf"), 10**18])),
    st.sampled_from(
        ["", "O", "B-x", "E-x", "I-", "flu", "no flu", "none", "[", "[1]", "[[0, 3]]", "7", "0.5", "\ud800"]
    ),
    st.sampled_from([{}, {"label": "x", "start": 0}, {"label": [], "spans": []}, {"label": 1, "spans": [[0, 1]]}]),
)
CELL = st.one_of(VALUE, st.lists(VALUE, max_size=3), st.lists(st.sampled_from(["O", "B-x"]), min_size=2, max_size=2))
COLUMN = st.one_of(st.lists(CELL, min_size=3, max_size=3), CELL.map(lambda value: [value] * 3))
HEADS = ("text", "tokens", "tags", "label", "labels", "head", "tail", "mentions", "query", "candidates", "id", "x")


@settings(max_examples=2_000, deadline=None)
@given(st.dictionaries(st.sampled_from(HEADS), COLUMN, min_size=1, max_size=5), st.sampled_from([(), ("O", "B-x")]))
def test_whatever_columns_hold_they_are_drafted_or_not(table, names):
    drafted = columns.draft([columns.Column(name=name, values=v, classes=names) for name, v in table.items()])
    assert drafted is None or set(drafted.columns.values()) <= table.keys()
    assert drafted is None or all(isinstance(label, str) for label in drafted.labels)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([".csv", ".tsv", ".jsonl", ".json", ".conll", ".txt", ".xml", ".ann", ".parquet"]),
    st.one_of(st.binary(max_size=60), st.text('a,O\t\n"[]{}:1 -B', max_size=60).map(str.encode)),
)
def test_whatever_a_file_holds_it_is_looked_at_or_refused(tmp_path_factory, ending, content):
    path = tmp_path_factory.mktemp("any") / f"train{ending}"
    path.write_bytes(content)
    with suppress(DataError):
        assert look.look("any", path).drafts


def test_a_file_that_exists_is_not_written_over(tmp_path, capfd):
    (tmp_path / "data").mkdir()
    pairs_csv(tmp_path / "data")
    (tmp_path / "my.toml").write_text("mine")
    assert command(["init", str(tmp_path / "data"), "--output", str(tmp_path / "my.toml")]) == 2
    assert "exists, and is not written over; name another file" in capfd.readouterr().err
    assert command(["init", str(tmp_path / "not"), "--output", str(tmp_path / "other.toml")]) == 2
    assert (tmp_path / "my.toml").read_text() == "mine"


def test_a_row_that_shows_no_columns_is_told(tmp_path, capfd):
    (tmp_path / "data").mkdir()
    pairs_csv(tmp_path / "data")
    with (tmp_path / "data" / "pairs.csv").open("a") as rows:
        rows.write("only a text\n")
    assert command(["init", str(tmp_path / "data" / "pairs.csv"), "--output", str(tmp_path / "my.toml")]) == 2
    assert "pairs.csv, line 62: has 1 field, expected 3 (a, b, label); mend the row" in capfd.readouterr().err


def test_a_task_that_cannot_be_read_yet_is_told_and_the_file_stands(tmp_path, capfd):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_text("text,label\n" + "a b,yes\nc d,no\n" * 9)
    (tmp_path / "data" / "dev.csv").write_text("text,label\na b,maybe\n")
    assert command(["init", str(tmp_path / "data"), "--output", str(tmp_path / "my.toml")]) == 2
    assert "data: cannot be read yet: task data" in (said := capfd.readouterr().out)
    assert "line 2: the example 'dev-0000000' has the label 'maybe', expected one of no, yes" in said
    assert (tmp_path / "my.toml").exists()
