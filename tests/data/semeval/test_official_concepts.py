"""Disorders of official files with their concepts: scores with CUIs, prediction files, and what the data set notes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import attrs
import pytest

from mtlfn.data import sources
from mtlfn.data.document import Document
from mtlfn.data.example import DataError
from mtlfn.data.official import OFFICIAL
from mtlfn.data.semeval import evaluation, loading
from mtlfn.data.semeval.disorders import LABEL as DISORDER
from mtlfn.data.semeval.formats import semeval2014_t7, semeval2015_t14
from mtlfn.data.task import PROBLEMS, Dataset
from tests.data.semeval.test_official import TEXT, gold_predictions, mention, slotted, span, write_all

WITHOUT_CUI = {f"{how}_{what}" for how in ("strict", "relaxed") for what in ("precision", "recall", "f1")}
DISORDERS = {"semeval2014_t7": semeval2014_t7, "semeval2015_t14": semeval2015_t14}
DICTIONARY = "# made up\n\nC0000007\tFEVER, no\nC0000009\tchest pain\nC0000007\tpyrexia\n"
SHARE = pytest.mark.parametrize("name", DISORDERS)


def concept_corpus(folder: Path, name: str, dictionary: str | None = DICTIONARY) -> Dataset:
    """Training as ever; dev has a disorder known from training, one from the dictionary, one whose CUI has changed."""
    write_all(folder)
    held = (
        mention(1, DISORDER, span("Chest pain"), cui="C0000001"),
        mention(2, DISORDER, span("no fever"), cui="c0000007"),
        mention(3, DISORDER, span("left atrium"), span("dilated"), cui="C0000002"),
    )
    document = Document(id="90003-000103-ECHO_REPORT" if name == "semeval2014_t7" else "90003-000103", text=TEXT)
    document = attrs.evolve(document, mentions=held)
    DISORDERS[name].write(folder / name, "dev", [document if name == "semeval2014_t7" else slotted(document)])
    if dictionary is not None:
        (folder / name / "cui.tsv").write_text(dictionary)
    (found,) = sources.resolve([name], folder, {})
    return found


def and_another(predictions: list) -> list:
    """The predictions and a mention that nobody knows."""
    first, *others = predictions
    return [[*first, [DISORDER, [list(span("mildly"))]]], *others]


@SHARE
def test_with_a_dictionary_scores_with_cui_stand_beside_those_without(name, tmp_path):
    dataset = concept_corpus(tmp_path, name)
    found = evaluation.score(dataset, "dev", dataset.dev, and_another(gold_predictions(dataset)), whole=True)
    assert dataset.task.metric == "strict_f1"
    without = {"strict_precision": 3 / 4, "strict_recall": 1.0, "strict_f1": 6 / 7}
    without |= {"relaxed_precision": 3 / 4, "relaxed_recall": 1.0, "relaxed_f1": 6 / 7}
    if name == "semeval2014_t7":
        with_cui = {"strict_accuracy_cui": 2 / 3, "relaxed_accuracy_cui": 2 / 3}
    else:
        with_cui = {"strict_precision_cui": 2 / 4, "strict_recall_cui": 2 / 3, "strict_f1_cui": 4 / 7}
        with_cui |= {"relaxed_precision_cui": 2 / 4, "relaxed_recall_cui": 2 / 3, "relaxed_f1_cui": 4 / 7}
    assert found == pytest.approx(without | with_cui)


@SHARE
def test_relaxed_scores_with_cui_are_those_of_their_own_definition(name, tmp_path):
    """Of three gold mentions one is found with its CUI, one only in part, though with its CUI."""
    dataset = concept_corpus(tmp_path, name, DICTIONARY + "C0000007\tfever\n")
    predictions = [[[DISORDER, [list(span(words))]] for words in ("Chest pain", "fever")]]
    found = evaluation.score(dataset, "dev", dataset.dev, predictions, whole=True)
    if name == "semeval2014_t7":
        assert (found["strict_accuracy_cui"], found["relaxed_accuracy_cui"]) == pytest.approx((1 / 3, 1.0))
    else:
        assert (found["strict_f1_cui"], found["relaxed_f1_cui"]) == pytest.approx((2 / 5, 4 / 5))


@SHARE
def test_prediction_files_carry_the_cuis(name, tmp_path):
    for folder, dictionary in (("with", DICTIONARY), ("without", None)):
        dataset = concept_corpus(tmp_path / folder, name, dictionary)
        OFFICIAL[name].write(dataset, "dev", tmp_path / folder / "out", and_another(gold_predictions(dataset)))
        (path,) = (tmp_path / folder / "out").rglob("*.pipe")
        rows = [line.split("||" if name == "semeval2014_t7" else "|") for line in path.read_text().splitlines()]
        cuis = [row[2] for row in rows]  # in both formats the third field; mentions in text order
        known = ["C0000001", "C0000007", "CUI-less", "CUI-less"]
        assert cuis == (known if dictionary else ["CUI-less"] * 4)


@SHARE
def test_without_a_dictionary_no_score_looks_at_cuis(name, tmp_path):
    dataset = concept_corpus(tmp_path, name, None)
    found = evaluation.score(dataset, "dev", dataset.dev, gold_predictions(dataset), whole=True)
    assert found.keys() == WITHOUT_CUI
    assert dataset.notes == {"skipped": 0, "repaired": 0}
    assert evaluation.baselines(dataset).keys() == {"majority", "lookup"}


@SHARE
def test_an_empty_dictionary_leaves_the_training_mentions(name, tmp_path):
    dataset = concept_corpus(tmp_path, name, "")
    found = evaluation.score(dataset, "dev", dataset.dev, gold_predictions(dataset), whole=True)
    right = found["strict_accuracy_cui" if name == "semeval2014_t7" else "strict_recall_cui"]
    assert right == pytest.approx(1 / 3)


def test_concepts_are_learnt_from_training_alone(tmp_path):
    """Where dev is held out of training, its mentions are not known."""
    documents = []
    for i in range(40):
        text = f"disorder{i:02}"
        held = mention(1, DISORDER, (0, len(text)), cui="C0000001")
        documents.append(Document(id=f"{90000 + i}-000101-ECHO_REPORT", text=text, mentions=(held,)))
    semeval2014_t7.write(tmp_path / "semeval2014_t7", "train", documents)
    (tmp_path / "semeval2014_t7" / "cui.tsv").write_text("")
    (dataset,) = sources.resolve(["semeval2014_t7"], tmp_path, {})
    for split, right in (("train", 1.0), ("dev", 0.0)):
        found = evaluation.score(dataset, split, dataset[split], gold_predictions(dataset, split), whole=True)
        assert (found["strict_f1"], found["strict_accuracy_cui"]) == (1.0, right)


def test_what_the_dictionary_holds_is_noted_and_its_bad_lines_told(tmp_path):
    dataset = concept_corpus(tmp_path, "semeval2014_t7", DICTIONARY + "nonsense\nC0000003\tatrium\n")
    assert {key: value for key, value in dataset.notes.items() if "cui.tsv" in key and "SHA" not in key} == {
        "names in cui.tsv": 4,
        "CUIs in cui.tsv": 3,
    }
    written = (tmp_path / "semeval2014_t7" / "cui.tsv").read_bytes()
    assert dataset.notes["SHA-256 of cui.tsv"] == hashlib.sha256(written).hexdigest()
    assert dataset.notes["skipped"] == 1
    assert "cui.tsv, line 6: found 1 fields" in dataset.notes[PROBLEMS][0]
    assert json.loads(json.dumps(dataset.notes)) == dataset.notes
    with pytest.raises(DataError, match=r"cui\.tsv, line 6: found 1 fields"):
        loading.load("semeval2014_t7", tmp_path / "semeval2014_t7", strict=True)
