"""Documents as values: what is written is read, what is not of its shape is named by its field, older ones are read."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from mtlfn.run import documents
from mtlfn.run.config import Config, identity, settings
from mtlfn.run.documents import Altered, resumes, smoke, typed
from mtlfn.run.documents.configuration import Configuration
from mtlfn.run.documents.data import Data, Split, TaskData
from mtlfn.run.documents.environment import Environment
from mtlfn.run.documents.replay import Replay
from mtlfn.run.documents.result import Alert, Conflict, Match, MatchedRun, Parameters, Result, Score, Seal, Tokens
from mtlfn.run.documents.resumes import Resumes
from mtlfn.run.documents.smoke import Check, Smoke
from mtlfn.run.storage.run_record import RunRecord

TOKENS = Tokens(total=7, per_task={"ddi": 7}, loss={"ddi": 2}, padded={"ddi": 9}, examples={"ddi": 1},
                input_share_of_slots=7 / 9)  # fmt: skip
RESULT = Result(
    experiment="s1", digest="d", identity="i", seed=3, key="k", steps=2, schedule=7, tokens=TOKENS,
    match=Match(parent=MatchedRun(path="p", experiment="s3b", seed=3, identity="i", digest="e"), control="total",
                tasks=("ddi",), tokens=7),
    slots={"private/ddi": "x"},
    scores={"ddi": Score(metric="f1", dev=0.5, all={"f1": 0.5}, baselines={"majority": 0.1})},
    parameters=Parameters(active_adapter={"ddi": 5}, trainable={"private/ddi": 5}),
    conflicts={"ddi > hoc": Conflict(met=2, negative=1, frequency=0.5, cosine=-0.25)},
    alerts=(Alert(step=1, kind="nonfinite", message="m"),),
    environment_breaks=("threads: 1 before, 2 now",), smoke_test="passed", peak_memory_bytes={"resident": 9},
    training_seconds=1.5, files={"config.json": "s"},
)  # fmt: skip
EVERY = [
    RESULT,
    attrs.evolve(RESULT, match=None, files=None),
    TOKENS,
    Configuration(schema=2, experiment="s1", identity={"seed": 3, "data": {"ddi": {"train": "t"}}}, hash="h",
                  settings={"seed": 3}, command=["a", "b"]),
    Data({"ddi": TaskData(source="s", kind="relation", level=2, metric="f1", notes={}, notices=("n",),
                          train=Split(examples=1, tokens=7, sha256="t", cut={"examples": 1}))}),
    Environment(must_match={"threads": 1}, told={"host": "h"}, informational={"python": "3"}),
    Smoke(skipped=True, reason="asked"),
    Smoke(skipped=False, passed=True, checks=(Check("c", True, "d"),)),
    Replay(digest=None, mismatches=("line 3",)),
    Replay(digest="d", steps=(0, 2), equal=1, skipped=0, mismatches=(), environment=()),
    Resumes((3, 9)),
]  # fmt: skip


@pytest.mark.parametrize("document", EVERY, ids=lambda document: type(document).__name__)
def test_what_is_written_is_read_and_written_again_the_same(tmp_path, document):
    typed.write(tmp_path, document)
    data = (tmp_path / document.FILE).read_bytes()
    assert data == typed.encode(document)
    assert typed.encode(typed.read(tmp_path, type(document))) == data
    assert typed.unlike(tmp_path, document) == []


def test_what_a_document_does_not_have_is_not_in_its_file_and_what_is_null_is():
    said = json.loads(typed.encode(attrs.evolve(RESULT, match=None, files=None)))
    assert "files" not in said
    assert said["match"] is None
    assert said["scores"]["ddi"]["test"] is None
    assert list(json.loads(typed.encode(Replay(digest="d", mismatches=())))) == ["digest", "mismatches", documents.SEAL]


def changed(path: str, value: object) -> dict:
    """The content of the result with one field, given as names with dots, replaced, or left out where it is ``...``."""
    said = json.loads(json.dumps(typed.content(RESULT)))
    at = said
    *outer, last = path.split(".")
    for name in outer:
        at = at[name]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return said


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("seed", "3", "seed is '3', expected int"),
        ("seed", True, "seed is True, expected int"),
        ("digest", ..., "digest is missing"),
        ("tokens.total", 7.5, "tokens.total is 7.5, expected int"),
        ("tokens.per_task.ddi", None, "tokens.per_task['ddi'] is None, expected int"),
        ("match.parent.digest", ..., "match.parent.digest is missing"),
        ("scores.ddi.dev", "high", "scores['ddi'].dev is"),
        ("tokens", None, "tokens is not what it should be, Tokens"),
        ("slots", 3, "slots is not what it should be"),
    ],
)
def test_what_is_not_of_its_shape_is_named_by_its_field(tmp_path, path, value, said):
    documents.write(tmp_path / documents.RESULT, changed(path, value))
    with pytest.raises(Altered) as error:
        typed.read(tmp_path, Result)
    assert said in str(error.value)
    assert typed.attempt(tmp_path, Result) is None


def test_the_seal_is_read_whatever_the_rest_is(tmp_path):
    documents.write(tmp_path / documents.RESULT, changed("tokens", None))
    assert typed.read(tmp_path, Seal).files == RESULT.files


def test_an_altered_file_is_no_document_and_a_missing_one_is_none(tmp_path):
    assert typed.attempt(tmp_path, Tokens) is None
    typed.write(tmp_path, TOKENS)
    path = tmp_path / documents.TOKENS
    path.write_bytes(path.read_bytes().replace(b"7", b"8", 1))
    with pytest.raises(Altered, match="its content is not what was written"):
        typed.read(tmp_path, Tokens)


def test_fields_of_other_versions_are_passed_over_and_told_where_documents_are_compared(tmp_path):
    documents.write(tmp_path / documents.TOKENS, {"total": 7, "per_task": {"ddi": 7}, "words": 5})
    assert typed.read(tmp_path, Tokens) == Tokens(total=7, per_task={"ddi": 7})
    assert typed.unlike(tmp_path, Tokens(total=8, per_task={"ddi": 7})) == ["total", "words"]


def test_a_configuration_is_the_one_that_was_written(tmp_path):
    config = Config(budget_tokens=70, tasks="ddi", seed=3)
    said = Configuration(experiment="s1", identity=identity(config), settings=settings(config))
    typed.write(tmp_path, said)
    assert typed.read(tmp_path, Configuration).config(seed=4) == attrs.evolve(config, seed=4)


def test_a_record_reads_what_it_is_asked_for_and_knows_what_is_not_there(tmp_path):
    run = RunRecord(tmp_path, "here")
    assert (run.configuration, run.environment, run.data, run.smoke, run.replay) == (None,) * 5
    assert (run.steps, run.evaluations, run.resumes, smoke.ending(tmp_path)) == ((), (), None, "unknown")
    with pytest.raises(FileNotFoundError):
        _ = run.result
    typed.write(tmp_path, RESULT)
    typed.write(tmp_path, Smoke(skipped=True, reason="asked"))
    lines = [{"step": 1, "tokens": 4, "conflicts": typed.content(RESULT)["conflicts"]}, {"step": 1, "event": "quick"}]
    (tmp_path / documents.METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = RunRecord(tmp_path, "here")
    assert (run.seed, run.tasks, run.tokens.total, smoke.ending(tmp_path)) == (3, ("ddi",), 7, "skipped")
    assert [step.meetings for step in run.steps] == [RESULT.conflicts]
    assert [each.step for each in run.evaluations] == [1]


def test_every_resume_is_counted(tmp_path: Path):
    for step in (3, 9, 3):
        resumes.add(tmp_path, step)
    assert resumes.steps(tmp_path) == (3, 9, 3)
    (tmp_path / documents.RESUMES).write_text("{")
    assert resumes.steps(tmp_path) is None
    resumes.begin(tmp_path)
    assert resumes.steps(tmp_path) == ()
