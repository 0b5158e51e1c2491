"""What readers find is told by kind, so that no kind hides another; what a file asks for is no flaw."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtlfn.data import document
from mtlfn.data.document import Candidate, Log, Query
from mtlfn.data.example import DataError
from mtlfn.data.official import OFFICIAL
from mtlfn.data.semeval import loading
from mtlfn.data.semeval.formats import semeval2017_t3
from mtlfn.data.task import PROBLEMS
from tests.data.semeval.test_official import thread, write_all


def test_one_frequent_kind_hides_no_other_and_every_kind_has_its_count_and_first_place():
    log = Log()
    for i in range(376):
        log.repaired(Path(f"n{i}.pipe"), f"line {i + 1}", f"found the CUI 'C{i}', expected none in note-{i}.text")
    log.skipped(Path("odd.pipe"), "line 3", "found 2 fields, expected 5")
    log.skipped(Path("odd.pipe"), "line 9", "found 4 fields, expected 5")
    log.skipped(Path("two words.text"), "the whole file", "is a note without two words.pipe, expected both")
    assert document.by_kind(log.problems) == [
        "376 repaired, first n0.pipe, line 1: found the CUI 'C0', expected none in note-0.text",
        "2 skipped, first odd.pipe, line 3: found 2 fields, expected 5",
        "1 skipped, first two words.text, the whole file: is a note without two words.pipe, expected both",
    ]
    assert document.by_kind([]) == []


def test_kinds_without_end_are_counted():
    log = Log()
    for i in range(document.KINDS + 30):
        log.skipped(Path("x"), "line 1", "bad " + "e" * i)
    *told, rest = document.by_kind(log.problems)
    assert len(told) == document.KINDS
    assert rest == "30 more, of 30 kinds"


def test_dirt_beside_threads_that_are_asked_to_be_left_out_is_seen(tmp_path):
    folder = write_all(tmp_path) / "semeval2017_t3"
    path = next(folder.rglob("*-train-subtaskA.xml"))
    question = '<RelQuestion RELQ_ID="x"></RelQuestion>'
    mark = f'<Thread {semeval2017_t3.REPEATED}="Q1_R1" THREAD_SEQUENCE="x">{question}</Thread>'
    broken = '<Thread THREAD_SEQUENCE="y"></Thread>'
    path.write_text(path.read_text().replace("</xml>", mark * 40 + broken + "</xml>"))
    notes = loading.load("semeval2017_t3", folder).notes
    assert notes["threads that the files mark as repetitions"] == 40
    assert (notes["skipped"], notes["repaired"]) == (1, 0)
    assert notes[PROBLEMS] == [f"1 skipped, first {path}, Thread y: has no RelQuestion"]


@pytest.mark.parametrize("name", ["semeval2014_t7", "semeval2015_t14", "semeval2016_t12", "semeval2016_t12_spans"])
def test_annotations_without_their_notes_say_so(name, tmp_path):
    folder = write_all(tmp_path) / OFFICIAL[name].folder
    notes = [p for p in folder.rglob("*") if p.is_file() and p.suffix not in (".pipe", ".xml")]
    first, *others = sorted(notes, key=lambda p: "evel" in str(p) or "Dev" in str(p))
    first.unlink()
    assert loading.load(name, folder).notes[document.WITHOUT_NOTE] == 1
    for path in others:
        path.unlink()
    with pytest.raises(DataError) as caught:
        loading.load(name, folder)
    said = str(caught.value)
    assert said.startswith(f"task {name}: no training example in {folder}; 3 skipped, first ")
    assert "Annotations are read with the texts that they annotate, which come from elsewhere: " in said
    assert "no redistribution" in said or "data use agreement" in said


def test_a_corpus_without_training_data_says_why(tmp_path):
    made = Query(id="Q1_R1", text="a", candidates=(Candidate(id="Q1_R1_C1", text="b", label=None, rank=1),))
    semeval2017_t3.write(tmp_path, "train", "A", [made])
    semeval2017_t3.write(tmp_path, "dev", "A", [thread("Q2")])
    with pytest.raises(DataError, match=r"no training example in .*; 1 skipped, .* none of its 1 queries has a label$"):
        loading.load("semeval2017_t3", tmp_path)
