"""What is predicted on goes out in its own form: brat at the same offsets, CoNLL line by line, official files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import mtlfn
from mtlfn.data.kinds.tagging import entities
from mtlfn.data.official import OFFICIAL
from mtlfn.data.tables import brat, reading
from mtlfn.data.tables.documents import Tally
from mtlfn.data.tables.mapping import Mapping
from mtlfn.data.windows import words
from mtlfn.models import model
from mtlfn.models.strategy import S3B
from mtlfn.run.commands.command import predict
from tests import tiny
from tests.data.semeval import small
from tests.run.conftest import contents

TASKS = ("bc5cdr_disease", "mentions", "ddi", "hoc")
TEXT = "the patient had aspirin\tand\r\ncodeine for asthma . \n\nno é漢 🙂 gout with aspirin\n then codeine ."
NOTES = {"a/one": TEXT, "two": "aspirin met codeine and heparin . \n", "empty": ""}


@pytest.fixture(scope="module")
def exports(cache, bert, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    built, _ = tiny.build(bert, cache, TASKS, strategy=S3B)
    params = tiny.stirred(model.init_params(built, tiny.KEY), 0.3)
    params["head/mentions"]["out.bias"] = torch.zeros_like(params["head/mentions"]["out.bias"])
    tiny.export(built, params, folder)
    return folder


@pytest.fixture
def run(exports, bert, cache, monkeypatch, capfd):
    """Runs the command; gives what it printed, or its complaint."""
    monkeypatch.setenv("MTLFN_CACHE", str(cache))

    def go(task: str, *flags: object, code: int = 0) -> str:
        capfd.readouterr()
        argv = [str(exports / task), "--backbone", str(bert), "--device", "cpu", *map(str, flags)]
        assert predict(argv) == code
        told = capfd.readouterr()
        assert "Traceback" not in told.err
        go.err = told.err
        return told.err if code else told.out

    def loaded(task: str) -> mtlfn.Predictor:
        return mtlfn.load(exports / task, backbone=str(bert), device="cpu")

    go.load = loaded
    return go


def noted(folder: Path, annotation: dict[str, str] | None = None) -> Path:
    for name, text in NOTES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.txt").write_text(text, encoding="utf-8", newline="")
        if annotation is not None:
            (folder / f"{name}.ann").write_text(annotation.get(name, ""), encoding="utf-8", newline="")
    return folder


def mentions(folder: Path) -> dict[str, list[Any]]:
    """As brat's reader has them, which checks the texts that stand beside the offsets."""
    paths = sorted(folder.rglob("*.ann"))
    documents = [document for _, document in brat.read_documents(paths, Tally({}))]
    return {d.id: [[m.label, [list(p) for p in m.pieces]] for m in d.mentions] for d in documents}


def merged(pieces: list[list[int]], text: str) -> list[list[int]]:
    out: list[list[int]] = []
    for a, b in sorted(pieces):
        if out and (a <= out[-1][1] or text[out[-1][1] : a].isspace()):
            out[-1][1] = max(out[-1][1], b)
        else:
            out.append([a, b])
    return out


def test_mentions_come_back_from_brat_at_their_offsets(run, tmp_path):
    noted(tmp_path / "in")
    run("mentions", "--input", tmp_path / "in", "--output", tmp_path / "out")
    own = dict(zip(NOTES, run.load("mentions")([t or "x" for t in NOTES.values()]), strict=True)) | {"empty": []}
    assert sum(map(len, own.values())) > 3
    wanted = {name: [[label, merged(p, NOTES[name])] for label, p in each] for name, each in own.items()}
    assert mentions(tmp_path / "out") == wanted
    texts = {name: data for name, data in contents(tmp_path / "out").items() if name.endswith(".txt")}
    assert texts == contents(tmp_path / "in")  # to the byte
    lines = [json.loads(line) for line in run("mentions", "--input", tmp_path / "in").splitlines()]
    assert {line["id"]: line["prediction"] for line in lines} == own


def test_a_json_list_is_its_objects_as_lines(run, tmp_path):
    rows = [{"text": NOTES["two"], "about": {"text": "no"}}, {"text": "Nausea.", "id": "mine"}, {"text": "Fever."}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "rows.json").write_text(json.dumps(rows, indent=1))
    said = run("hoc", "--input", tmp_path / "rows.json")
    found, lines = (
        [*map(json.loads, text.splitlines())] for text in (said, run("hoc", "--input", tmp_path / "rows.jsonl"))
    )
    assert [row["id"] for row in found] == ["0", "mine", "2"]
    assert [row["id"] for row in lines] == ["1", "mine", "3"]
    assert [row["prediction"] for row in found] == [row["prediction"] for row in lines]


def test_what_brat_got_is_data_to_train_on(run, tmp_path):
    noted(tmp_path / "in")
    run("mentions", "--input", tmp_path / "in", "--output", tmp_path / "out" / "train")
    mapping = Mapping(source="out", kind="spans", level=1, labels=("Drug", "Effect"))
    dataset = reading.read("mine", mapping, tmp_path)
    read = {(e.unit, label, pieces) for e in (*dataset.train, *dataset.dev) for label, pieces in e.mentions}
    assert read == {
        (name, label, tuple((a, b) for a, b in pieces))
        for name, each in mentions(tmp_path / "out" / "train").items()
        for label, pieces in each
    }


def test_tags_become_mentions(run, tmp_path):
    noted(tmp_path / "in")
    run("bc5cdr_disease", "--input", tmp_path / "in", "--output", tmp_path / "out")
    text = NOTES["two"]  # one sentence
    (tags,) = run.load("bc5cdr_disease")([text])
    spans = words(text)
    wanted = [[label, [[spans[a][0], spans[b - 1][1]]]] for a, b, label in sorted(entities(tags))]
    assert mentions(tmp_path / "out")["two"] == wanted
    assert sum(map(len, mentions(tmp_path / "out").values())) > 0


def test_columns_of_words_and_tags_are_not_taken_for_texts(run, tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("aspirin\tB-Disease\nhelps\tO\n\nfever\tB-Disease\neased\tO\n")
    said = run("bc5cdr_disease", "--input", path, code=2)
    assert (
        "its lines are columns of words and tags; say --format conll, or --format text if each line is a text" in said
    )
    assert len(run("bc5cdr_disease", "--input", path, "--format", "text").splitlines()) == 4
    assert len(run("bc5cdr_disease", "--input", path, "--format", "conll").splitlines()) == 5
    assert len(run("hoc", "--input", path).splitlines()) == 4


def test_types_of_pairs_that_nothing_has_are_told(run, tmp_path):
    noted(tmp_path / "in", {"two": "T1\tDrug 0 7\taspirin\nT2\tDrug 12 19\tcodeine\n"})
    assert run("ddi", "--input", tmp_path / "in", "--pairs", "Drug:Drug,Drug:Plant") != ""
    assert "--pairs: no mention has the type Plant" in run.err
    run("ddi", "--input", tmp_path / "in", "--pairs", "Drug:Drug")
    assert "--pairs: no mention" not in run.err


def test_relations_are_found_between_given_mentions(run, tmp_path):
    annotation = "T1\tDrug 0 7\taspirin\nT2\tDrug 12 19\tcodeine\nT9\tPlant 24 31\theparin\n"
    noted(tmp_path / "in", {"two": annotation})
    run("ddi", "--input", tmp_path / "in", "--output", tmp_path / "out")
    written = (tmp_path / "out" / "two.ann").read_text().splitlines()
    assert written[:3] == annotation.splitlines()
    lines = [json.loads(line) for line in run("ddi", "--input", tmp_path / "in").splitlines()]
    pairs = [(line["head"], line["tail"]) for line in lines]
    assert sorted(pairs) == [(a, b) for a in ("T1", "T2", "T9") for b in ("T1", "T2", "T9") if a != b]
    rows = [{"text": NOTES["two"], "head": spans[a], "tail": spans[b]} for a, b in pairs for spans in [SPANS]]
    assert [line["prediction"] for line in lines] == run.load("ddi")(rows)
    positive = [line for line in lines if line["prediction"] != "none"]
    assert positive
    assert written[3:] == [
        f"R{i}\t{p['prediction']} Arg1:{p['head']} Arg2:{p['tail']}" for i, p in enumerate(positive, start=1)
    ]
    assert (tmp_path / "out" / "empty.ann").read_text() == ""
    assert "--pairs HEAD:TAIL,... keeps to types that the training data join" in run.err
    some = run("ddi", "--input", tmp_path / "in", "--pairs", "Drug:Plant").splitlines()
    assert "--pairs" not in run.err
    assert {(p["head"], p["tail"]) for p in map(json.loads, some)} == {("T1", "T9"), ("T2", "T9")}


SPANS = {"T1": [0, 7], "T2": [12, 19], "T9": [24, 31]}
COLUMNS = "-DOCSTART- -X- O\n\n# id 7\naspirin NN O\nhelps VB O\n\n\nasthma\tNN\tB-x\n.\t.\tO\n"


def test_every_line_of_conll_comes_back_with_its_tag(run, tmp_path):
    (tmp_path / "in.conll").write_text(COLUMNS)
    run("bc5cdr_disease", "--input", tmp_path / "in.conll", "--output", tmp_path / "out.conll")
    written = (tmp_path / "out.conll").read_text()
    assert run("bc5cdr_disease", "--input", tmp_path / "in.conll") == written
    first, second = run.load("bc5cdr_disease")([{"tokens": ["aspirin", "helps"]}, {"tokens": ["asthma", "."]}])
    assert written == (
        f"-DOCSTART- -X- O\n\n# id 7\naspirin NN O {first[0]}\nhelps VB O {first[1]}\n\n\n"
        f"asthma\tNN\tB-x\t{second[0]}\n.\t.\tO\t{second[1]}\n"
    )
    (tmp_path / "words.txt").write_text("aspirin\nhelps\n\n")
    lone = run("bc5cdr_disease", "--input", tmp_path / "words.txt", "--format", "conll")
    assert lone == f"aspirin\t{first[0]}\nhelps\t{first[1]}\n\n"
    lines = run("bc5cdr_disease", "--input", tmp_path / "in.conll", "--output", tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["prediction"] for line in lines] == [first, second]


def test_words_of_conll_stand_behind_their_numbers(run, tmp_path):
    """As in CoNLL-U, of which training reads the second column."""
    path = tmp_path / "in.conllu"
    path.write_text("# id 7\n1-2\taspirin's\t_\n1\taspirin\tNN\n2\thelps\tVB\n\n1\tasthma\tNN\n")
    first, second = run.load("bc5cdr_disease")([{"tokens": ["aspirin's", "aspirin", "helps"]}, {"tokens": ["asthma"]}])
    assert run("bc5cdr_disease", "--input", path, "--format", "conll") == (
        f"# id 7\n1-2\taspirin's\t_\t{first[0]}\n1\taspirin\tNN\t{first[1]}\n2\thelps\tVB\t{first[2]}\n\n"
        f"1\tasthma\tNN\t{second[0]}\n"
    )
    path.write_text("1\taspirin\n2\thelps\n\n3\n")
    told = run("bc5cdr_disease", "--input", path, "--format", "conll", code=2)
    assert "line 4: found '3', expected a number and a word" in told


def test_lines_of_conll_keep_their_ends_and_a_sign_that_is_a_word_is_one(run, tmp_path):
    (tmp_path / "in.conll").write_bytes(b"# one\r\naspirin NN O\r\n# NN O\r\n\r\nhelps VB O")
    run("bc5cdr_disease", "--input", tmp_path / "in.conll", "--output", tmp_path / "out.conll")
    first, second = run.load("bc5cdr_disease")([{"tokens": ["aspirin", "#"]}, {"tokens": ["helps"]}])
    assert (tmp_path / "out.conll").read_bytes().decode() == (
        f"# one\r\naspirin NN O {first[0]}\r\n# NN O {first[1]}\r\n\r\nhelps VB O {second[0]}\n"
    )


def test_each_file_of_a_folder_is_a_text(run, tmp_path):
    noted(tmp_path / "in")
    lines = [json.loads(line) for line in run("hoc", "--input", tmp_path / "in").splitlines()]
    assert [line["id"] for line in lines] == ["a/one", "empty", "two"]
    assert lines[0]["prediction"] == run.load("hoc")([TEXT])[0]


def test_another_size_of_micro_batches_predicts_the_same_classes(run, tmp_path):
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": f"aspirin {i} gout " * i}) + "\n" for i in range(9)))
    usual = run("hoc", "--input", tmp_path / "in.jsonl")
    assert run("hoc", "--input", tmp_path / "in.jsonl", "--batch-tokens", 64) == usual


@pytest.mark.parametrize(
    ("task", "flags", "said"),
    [
        (
            "hoc",
            ["--input", "{}/in", "--format", "brat"],
            "brat's files hold mentions and relations, and hoc is of kind",
        ),
        ("hoc", ["--input", "{}/in.conll"], "CoNLL columns hold tags, and hoc is of kind multilabel"),
        ("ddi", ["--input", "{}/in"], "has no file that ends in .ann"),
        ("ddi", ["--input", "{}/in", "--pairs", "Drug"], "found 'Drug', expected HEAD:TAIL"),
        ("mentions", ["--input", "{}/in", "--output", "{}/in"], "exists, and is not written over"),
        ("mentions", ["--input", "{}/in", "--format", "official", "--output", "{}/o"], "mentions is no official task"),
        ("mentions", ["--input", "{}/in", "--format", "jsonl"], "is no file, which --format jsonl needs"),
        ("mentions", ["--input", "{}/nothing"], "does not exist"),
        ("ddi", ["--input", "{}/rows.csv"], "write its rows as JSON Lines (.jsonl) with text, head, tail, or say"),
        ("hoc", ["--input", "{}/rows.XML"], "is no form to predict on"),
        ("hoc", ["--input", "{}/rows.xlsx"], "is no form to predict on"),
        ("mentions", ["--input", "{}/in", "--output", "{}/out"], "found the byte 0xff at 1, expected UTF-8"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_is_written(run, tmp_path, task, flags, said):
    noted(tmp_path / "in")
    if "0xff" in said:
        (tmp_path / "in" / "two.txt").write_bytes(b"\xff")
    for name in ("in.conll", "rows.csv", "rows.XML", "rows.xlsx"):
        (tmp_path / name).write_text(COLUMNS)
    before = contents(tmp_path)
    told = run(task, *(flag.format(tmp_path) for flag in flags), code=2)
    assert said in " ".join(told.split())
    assert contents(tmp_path) == before


def test_official_files_are_predicted_on_and_written_as_the_run_wrote_them(go, tmp_path, cache, monkeypatch, capfd):
    monkeypatch.setenv("MTLFN_CACHE", str(cache))
    data = small.write(tmp_path)
    tasks = ("semeval2014_t7", "semeval2016_t12")
    settings = {"tasks": ",".join(tasks), "data_dir": data, "budget_tokens": 600, "learning_rate": 0.01}
    ended = go(**settings, micro_batch_tokens=96, cache_dir=tmp_path / "cache", output_dir=tmp_path / "run")
    assert ended.code == 0, ended.err
    for task in tasks:
        out = tmp_path / "out" / task
        flags = ["--task", task, "--input", str(data / task), "--format", "official", "--output", str(out)]
        assert predict([str(tmp_path / "run"), *flags]) == 0, capfd.readouterr().err
        own = contents(tmp_path / "run" / "predictions" / "official" / task)
        written = contents(out)
        assert own
        assert {name: written[name] for name in own} == own


def test_official_files_without_annotation_are_predicted_on(go, tmp_path, cache, monkeypatch, capfd):
    """As shared tasks hand out what systems are to be run on: notes alone, texts without labels, unjudged threads."""
    monkeypatch.setenv("MTLFN_CACHE", str(cache))
    data = small.write(tmp_path)
    tasks = ("semeval2014_t7", "semeval2016_t12_spans", "semeval2017_t3", "semeval2021_t6")
    settings = {"tasks": ",".join(tasks), "data_dir": data, "budget_tokens": 800, "learning_rate": 0.01}
    ended = go(**settings, micro_batch_tokens=96, cache_dir=tmp_path / "cache", output_dir=tmp_path / "run")
    assert ended.code == 0, ended.err
    for task in tasks:
        folder = data / OFFICIAL[task].folder
        labelled, bare = tmp_path / "labelled" / task, tmp_path / "bare" / task
        flags = ["--task", task, "--input", str(folder), "--format", "official"]
        assert predict([str(tmp_path / "run"), *flags, "--output", str(labelled)]) == 0, capfd.readouterr().err
        for path in folder.rglob("*"):
            if path.name.endswith((".pipe", ".completed.xml", ".pipe.txt")):
                path.unlink()
            elif path.suffix == ".xml" and path.is_file():
                path.write_text(re.sub('RELC_RELEVANCE2RELQ="[A-Za-z]+"', 'RELC_RELEVANCE2RELQ="?"', path.read_text()))
            elif path.suffix in (".txt", ".json") and path.read_text().startswith("["):
                rows = [{k: v for k, v in row.items() if k != "labels"} for row in json.loads(path.read_text())]
                path.write_text(json.dumps(rows))
        capfd.readouterr()
        assert predict([str(tmp_path / "run"), *flags, "--output", str(bare)]) == 0, capfd.readouterr().err
        said = capfd.readouterr().err
        assert " predictions of " in said
        tested = {name: text for name, text in contents(labelled).items() if "train" not in name}
        assert tested
        written = contents(bare)
        assert {name: written[name] for name in tested} == tested
    empty = tmp_path / "empty"
    (empty / "data").mkdir(parents=True)
    (empty / "data" / "test_set_task2.txt").write_text("[]")
    flags = ["--task", "semeval2021_t6", "--input", str(empty), "--format", "official", "--output", str(tmp_path / "o")]
    assert predict([str(tmp_path / "run"), *flags]) == 2
    assert "holds nothing to predict on for semeval2021_t6" in capfd.readouterr().err
    assert not (tmp_path / "o").exists()
