"""A run on official files: trained, officially scored, predictions in the organisers' layout; and the data check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mtlfn.data import sources
from mtlfn.data.semeval import evaluation
from mtlfn.run import documents
from mtlfn.run.commands.command import data as command
from mtlfn.run.one.evaluate import whole_units
from tests.data.semeval.test_official import write_all
from tests.data.semeval.test_official_concepts import concept_corpus
from tests.data.test_public import tables
from tests.run.test_run import result, summed

TASKS = (
    "semeval2014_t7,semeval2015_t14,semeval2016_t12,semeval2016_t12_spans,semeval2017_t3,semeval2021_t6,"
    "semeval2021_t6_labels"
)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("official"))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("official-runs")


def test_all_official_tasks_train_together_and_resume_to_the_bit(go, out, corpora, tmp_path):
    settings = {"tasks": TASKS, "data_dir": corpora, "budget_tokens": 1500, "micro_batch_tokens": 96}
    settings |= {"cache_dir": tmp_path / "cache", "learning_rate": 0.01, "quick_eval_examples": 12}
    ended = go(**settings, output_dir=out / "run")
    assert ended.code == 0, ended.err
    found = result(out / "run")
    assert found["tokens"]["total"] == 1500
    assert {t: s["metric"] for t, s in found["scores"].items()} == {
        "semeval2014_t7": "strict_f1",
        "semeval2015_t14": "strict_f1",
        "semeval2021_t6": "partial_f1",
        "semeval2016_t12": "contains_f1",
        "semeval2016_t12_spans": "es_f1",
        "semeval2017_t3": "map",
        "semeval2021_t6_labels": "micro_f1",
    }
    assert found["scores"]["semeval2017_t3"]["baselines"].keys() == {"order of the list"}
    # The scores are those of the predictions that were written.
    for dataset in sources.resolve(TASKS.split(","), corpora, {}):
        path = out / "run" / "predictions" / f"{dataset.task.name}.dev.jsonl"
        predicted = [json.loads(line)["prediction"] for line in path.read_text().splitlines()]
        again = evaluation.score(dataset, "dev", dataset.dev, predicted, whole=True)
        assert again == found["scores"][dataset.task.name]["all"]
        summed(out / "run", dataset.task, "dev", again[dataset.task.metric])
    written = out / "run" / "predictions" / "official"
    assert {p.name for p in written.iterdir()} == set(TASKS.split(","))
    assert all(any(p.is_file() for p in folder.rglob("*")) for folder in written.iterdir())
    about = documents.read(out / "run" / "data.json")
    assert about["semeval2016_t12"]["notes"]["links that are no candidates"]["train"] == 2
    assert about["semeval2014_t7"]["train"]["cut"]["inexpressible"] == 0

    for stop in (2, 3):
        assert go(**settings, output_dir=out / "stopped", max_steps=stop).code == 75
    assert go(**settings, output_dir=out / "stopped").code == 0
    assert result(out / "stopped")["digest"] == found["digest"]


def test_a_run_looks_up_the_cuis_of_what_it_predicts(go, out, tmp_path):
    dataset = concept_corpus(tmp_path, "semeval2014_t7")
    settings = {"tasks": "semeval2014_t7", "data_dir": tmp_path, "budget_tokens": 6000, "micro_batch_tokens": 96}
    ended = go(**settings, cache_dir=tmp_path / "cache", learning_rate=0.02, output_dir=out / "cui")
    assert ended.code == 0, ended.err
    predictions = out / "cui" / "predictions"
    (line,) = (predictions / "semeval2014_t7.dev.jsonl").read_text().splitlines()
    predicted = json.loads(line)["prediction"]
    assert ["Disease_Disorder", [[0, 10]]] in predicted  # "Chest pain", in training and, with another CUI, dictionary
    (path,) = (predictions / "official" / "semeval2014_t7").rglob("*.pipe")
    rows = [row.split("||") for row in path.read_text().splitlines()]
    assert len(rows) == len(predicted)
    assert ["C0000001", "0", "10"] in [row[2:] for row in rows]
    found = result(out / "cui")["scores"]["semeval2014_t7"]
    assert found["metric"] == "strict_f1"
    assert found["all"]["strict_accuracy_cui"] > 0
    assert found["all"] == evaluation.score(dataset, "dev", dataset.dev, [predicted], whole=True)
    about = documents.read(out / "cui" / "data.json")
    assert about["semeval2014_t7"]["notes"]["CUIs in cui.tsv"] == 2


def test_quick_evaluation_takes_whole_documents(corpora):
    (dataset,) = sources.resolve(["semeval2016_t12"], corpora, {})
    chosen = whole_units("semeval2016_t12", dataset.train, 1)
    assert len({dataset.train[i].unit for i in chosen}) == 1
    assert len(chosen) == len([e for e in dataset.train if e.unit == dataset.train[chosen[0]].unit])
    assert whole_units("semeval2016_t12", dataset.train, 10**6) == list(range(len(dataset.train)))


@pytest.mark.parametrize("name", TASKS.split(","))
def test_the_check_says_what_a_data_set_holds(name, corpora, bert, capfd):
    assert command(["check", str(corpora), "--task", name, "--backbone", str(bert)]) == 0
    shown = capfd.readouterr().out
    words = (f"{name}: ", "terms ", "train ", "dev ", "tokens ", "labels ", "--max-length 128", "repeated ", "overlap ")
    for word in words:
        assert word in shown


@pytest.mark.parametrize("below", ["", "biosses"])
def test_the_check_reads_public_sets_that_were_saved(below, tmp_path, bert, capfd):
    tables("biosses").save_to_disk(str(tmp_path / "biosses"))
    assert command(["check", str(tmp_path / below), "--task", "biosses", "--backbone", str(bert)]) == 0
    shown = capfd.readouterr().out
    for words in ("biosses: regression, level 2, metric pearson", "terms     card: GPL 3.0", "values  mean 3.2 "):
        assert words in shown


def test_the_check_counts_dirt_and_a_strict_one_stops_at_it(tmp_path, bert, capfd):
    folder = write_all(tmp_path) / "semeval2014_t7"
    path = next(folder.rglob("90001*.pipe"))
    path.write_text(path.read_text() + "nonsense\n")
    assert command(["check", str(folder), "--task", "semeval2014_t7", "--backbone", str(bert)]) == 0
    shown = capfd.readouterr().out
    assert "skipped: 1" in shown
    assert "line 3" in shown
    assert command(["check", str(folder), "--task", "semeval2014_t7", "--backbone", str(bert), "--strict"]) == 2
    complaint = capfd.readouterr().err
    assert "line 3" in complaint
    assert "Traceback" not in complaint


def test_the_check_tells_the_size_of_the_dictionary_and_its_bad_lines(tmp_path, bert, capfd):
    folder = write_all(tmp_path) / "semeval2014_t7"
    argv = ["check", str(folder), "--task", "semeval2014_t7", "--backbone", str(bert)]
    assert command(argv) == 0
    assert "cui.tsv" not in capfd.readouterr().out
    (folder / "cui.tsv").write_text("C0000001\tfever\nC0000001\tpyrexia\nC0000002\tgout\nC2\tasthma\n")
    assert command(argv) == 0
    shown = capfd.readouterr().out
    for words in ("names in cui.tsv: 3, CUIs in cui.tsv: 2", "skipped: 1", "cui.tsv, line 4: found the CUI 'C2'"):
        assert words in shown
    assert command([*argv, "--strict"]) == 2
    assert "cui.tsv, line 4: found the CUI 'C2'" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["chek", "x"], "expected python -m mtlfn.data check DIR --task NAME"),
        (["check", "nowhere", "--task", "semeval2014_t7"], "nowhere of task semeval2014_t7 does not exist"),
        (["check", "nowhere", "--task", "biosses"], "the folder nowhere of task biosses does not exist"),
        (["check", ".", "--task", "semeval1999_t1"], "--task semeval1999_t1: expected one of bc5cdr_disease"),
    ],
)
def test_wrong_use_of_the_check_is_said(argv, said, capfd):
    assert command(argv) == 2
    complaint = capfd.readouterr().err
    assert said in complaint
    assert "Traceback" not in complaint
