"""Another environment is named and refused, or accepted and in the lineage; time and files end a run."""

from __future__ import annotations

import functools
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import attrs
import psutil
import pytest
from safetensors.torch import load, save

from mtlfn.core import state as states
from mtlfn.run import documents
from mtlfn.run.documents import resumes
from mtlfn.run.documents.environment import Environment
from mtlfn.run.machine import deadline, source
from mtlfn.run.one import fingerprint
from mtlfn.run.storage import checkpoint, ledger
from tests.run.conftest import contents
from tests.run.test_run import lines, result, steps


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("environments")


@pytest.fixture
def whole(go, out) -> str:
    """The digest of the run that nothing disturbed."""
    if not (out / "whole").exists():
        assert go(output_dir=out / "whole").code == 0
    return result(out / "whole")["digest"]


def env(folder: Path) -> dict:
    return documents.read(folder / "env.json")


def elsewhere(folder: Path) -> None:
    """As if the run had been in another environment so far."""
    about = env(folder)
    about["must_match"]["cpu_capability"] = "NEON"
    about["informational"]["python"] = "3.99"
    documents.write(folder / "env.json", about)


def test_another_environment_is_named_and_refused(go, tmp_path):
    assert go(output_dir=tmp_path / "run", max_steps=2).code == 75
    elsewhere(tmp_path / "run")
    before = contents(tmp_path / "run")
    ended = go(output_dir=tmp_path / "run")
    assert ended.code == 4
    assert "cpu_capability: NEON before" in ended.message
    assert "--accept-environment" in ended.message
    assert "python" not in ended.message
    assert contents(tmp_path / "run") == before


def test_code_that_is_known_to_compute_the_same_goes_on_and_other_code_does_not(go, tmp_path, whole, monkeypatch):
    monkeypatch.setitem(source.SAME_BITS, "f" * 64, "a test")
    for known, code in (("f" * 64, 0), ("0" * 64, 4)):
        folder = tmp_path / known[:4]
        assert go(output_dir=folder, max_steps=2).code == 75
        about = env(folder)
        about["must_match"]["source"] = known
        documents.write(folder / "env.json", about)
        assert go(output_dir=folder).code == code
    assert result(tmp_path / "ffff")["digest"] == whole


def test_an_accepted_environment_is_a_break_in_the_lineage(go, tmp_path, whole):
    folder = tmp_path / "run"
    assert go(output_dir=folder, max_steps=2).code == 75
    elsewhere(folder)
    assert go("--accept-environment", output_dir=folder, max_steps=2).code == 75
    assert env(folder)["must_match"]["cpu_capability"] != "NEON"
    assert go(output_dir=folder).code == 0  # without the flag: it was accepted already
    found = result(folder)
    (change,) = found["environment_breaks"]
    assert change.startswith("cpu_capability: NEON before")
    assert found["digest"] != whole
    identity = documents.read(folder / "config.json")["hash"]
    assert ledger.breaks(ledger.read(folder / "ledger.jsonl", identity)) == {2: (change,)}


def test_a_run_that_falls_back_behind_an_accepted_change_carries_it(go, tmp_path):
    folder = tmp_path / "run"
    assert go(output_dir=folder, max_steps=2, save_every_steps=1).code == 75
    elsewhere(folder)
    assert go("--accept-environment", output_dir=folder, max_steps=2).code == 75
    (folder / "checkpoints" / "step-00000002" / "state.json").unlink()
    ended = go(output_dir=folder)
    assert ended.code == 0, ended.err
    assert len(result(folder)["environment_breaks"]) == 1
    identity = documents.read(folder / "config.json")["hash"]
    assert list(ledger.breaks(ledger.read(folder / "ledger.jsonl", identity))) == [1]


def test_a_change_accepted_before_the_first_checkpoint_is_in_the_lineage_of_what_follows(go, tmp_path):
    """Accepted at step 0, then stopped before anything was saved: no state has it, the ledger does."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        assert go(output_dir=folder, max_steps=0).code == 75
        elsewhere(folder)
    assert go("--accept-environment", output_dir=whole).code == 0
    assert go("--accept-environment", output_dir=parts, max_steps=0).code == 75
    assert not (parts / "checkpoints").exists()
    ended = go(output_dir=parts)
    assert ended.code == 0, ended.err
    assert len(result(parts)["environment_breaks"]) == 1
    assert result(parts)["digest"] == result(whole)["digest"]


def test_an_ordinary_resume_changes_nothing(go, tmp_path, whole):
    for stop in (1, 2, 3):
        assert go(output_dir=tmp_path / "run", max_steps=stop).code == 75
    assert go(output_dir=tmp_path / "run").code == 0
    assert result(tmp_path / "run")["digest"] == whole
    assert result(tmp_path / "run")["environment_breaks"] == []
    assert resumes.steps(tmp_path / "run") == (1, 2, 3)
    assert go(output_dir=tmp_path / "run").code == 0  # finished: nothing is gone on with
    assert resumes.steps(tmp_path / "run") == (1, 2, 3)


def test_the_canary_sees_arithmetic_that_no_version_names(go, tmp_path, monkeypatch):
    assert go(output_dir=tmp_path / "run", max_steps=1).code == 75
    canary = fingerprint.canary
    monkeypatch.setattr(fingerprint, "canary", lambda prepared: canary(prepared)[::-1])
    ended = go(output_dir=tmp_path / "run")
    assert ended.code == 4
    assert "canary" in ended.message


def test_differences_name_what_is_new_and_what_is_gone():
    one, two = (Environment(must_match={"a": a}) for a in ({"b": 1, "c": 2}, {"b": 1, "d": 3}))
    assert fingerprint.differences(one, one) == []
    assert fingerprint.differences(one, two) == ["a.d: None before, 3 now"]  # what is no longer recorded has no say
    old = Environment(must_match={"code": "x", "processor": "y", "gpu": {"name": "T4", "driver": "1"}})
    new = Environment(must_match={"source": "z", "gpu": {"name": "L4"}, "hashes": {"backbone_settings": "s"}})
    assert fingerprint.differences(old, new) == ["gpu.name: T4 before, L4 now"]
    old, new = Environment(told={"driver": "1"}), Environment(told={"driver": "2", "gpus": 2})
    assert fingerprint.differences(old, new, "told") == ["driver: 1 before, 2 now"]


def test_another_processor_is_told_and_goes_on(go, tmp_path, whole):
    assert go(output_dir=tmp_path / "run", max_steps=2).code == 75
    about = env(tmp_path / "run")
    about["told"]["processor"] = "Another one"
    documents.write(tmp_path / "run" / "env.json", about)
    ended = go(output_dir=tmp_path / "run")
    assert ended.code == 0
    assert "elsewhere processor: Another one before" in ended.out
    assert result(tmp_path / "run")["digest"] == whole


# The source


@pytest.fixture
def package(tmp_path) -> Path:
    import mtlfn

    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(Path(mtlfn.__file__).parent, tmp_path / "mtlfn", ignore=ignored))


def test_the_code_that_decides_bits_is_what_is_compared(package, monkeypatch):
    monkeypatch.setattr(source, "canonical", functools.cache(source.canonical))  # most modules stay as they are
    before = source.digest(package)
    for name, told in (
        ("core/step.py", True),
        ("data/semeval/formats/semeval2017_t3.py", True),
        ("data/scoring/temporal.py", True),
        ("models/attention.py", True),
        ("run/one/walk.py", True),
        ("run/one/evaluate.py", True),
        ("run/one/export.py", False),
        ("run/one/summary.py", False),
        ("data/access.py", False),
        ("data/screening/survey.py", False),
        ("analysis/reporting/report.py", False),
    ):
        text = (package / name).read_text()
        (package / name).write_text(text + "# more\n")
        assert source.digest(package) == before, name
        (package / name).write_text(text + "MORE = 1\n")
        assert (source.digest(package) != before) == told, name
        (package / name).write_text(text)


def test_words_and_places_change_nothing_and_a_constant_in_the_core_does(package):
    before = source.digest(package)

    def replaced(name: str, old: str, new: str) -> None:
        text = (package / name).read_text()
        assert old in text
        (package / name).write_text(text.replace(old, new, 1))

    replaced("core/pcgrad.py", '"""', '"""Other words. ')
    replaced("core/schedule.py", "def learning_rate(", "# a comment\n\n\ndef learning_rate(")
    replaced("data/tokens/stream.py", "unpad: the model computes no padding", "unpad: no padding is computed")
    replaced("data/tables/jsonl.py", "expected", "wanted")  # what errors say
    (package / "data" / "text").mkdir()
    (package / "data" / "windows.py").rename(package / "data" / "text" / "cuts.py")
    (package / "data" / "text" / "__init__.py").write_text('"""A new room."""\n')
    for path in (package / "data").rglob("*.py"):
        path.write_text(path.read_text().replace("mtlfn.data.windows", "mtlfn.data.text.cuts"))
    assert source.digest(package) == before
    replaced("core/optimizer.py", "1e-8", "1e-7")
    assert source.digest(package) != before


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("x = 1", "x = 1  # one", True),
        ("def f():\n    'Says.'\n    return 1", "def f():\n\n    return 1", True),
        ("class A:\n    a: int\n    'of a'", "class A:\n    a: int", True),
        ("from mtlfn.a import b", "from mtlfn.c import b", True),
        ("import mtlfn.a", "", True),
        ("import torch as t", "import numpy as t", False),
        ("raise E(f'no {x}')", "raise E('none')", True),
        ("raise E('x')", "raise F('x')", False),
        ("x = f'a{b}'", "x = f'c{b}'", False),
        ("x = 1", "x = 1.0", False),
        ("x = -0.0", "x = 0.0", False),
        ("f(a)", "f(b)", False),
        ("x = a if b else c", "x = c if b else a", False),
    ],
)
def test_what_is_the_same_code(one, other, same):
    assert (source.canonical(one) == source.canonical(other)) == same


def test_an_altered_ledger_stops_the_run(go, tmp_path):
    assert go(output_dir=tmp_path / "run", max_steps=2, save_every_steps=1).code == 75
    path = tmp_path / "run" / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"step": 1', b'"step": 7', 1))
    ended = go(output_dir=tmp_path / "run")
    assert ended.code == 4
    assert "line 1" in ended.message
    path.unlink()
    assert go(output_dir=tmp_path / "run").code == 0


def test_a_run_that_does_not_repeat_is_stopped_with_step_and_leaf(go, tmp_path, monkeypatch):
    from mtlfn.core import step

    assert go(output_dir=tmp_path / "run", max_steps=3, save_every_steps=1).code == 75
    (tmp_path / "run" / "checkpoints" / "step-00000003" / "state.json").unlink()
    optimise = step._optimize

    def other(*args):
        after = optimise(*args)
        after.params["shared"][min(after.params["shared"])].view(-1)[0] += 1
        return after

    monkeypatch.setattr(step, "_optimize", other)
    monkeypatch.setattr(fingerprint, "canary", lambda _: env(tmp_path / "run")["must_match"]["canary"])
    ended = go(output_dir=tmp_path / "run")
    assert ended.code == 4
    assert "step 3 was reached before" in ended.message


# Ending in time


class Clock:
    """Moves on by so many seconds at every look."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now, self.tick = 1000.0, tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


def test_the_deadline_keeps_time_for_what_was_seen():
    clock = Clock()
    limit = deadline.Deadline(-1600.0, 1.0, clock)
    assert not limit.too_late(evaluates=True)
    for what, seconds in (("step", 10), ("save", 20), ("evaluation", 300), ("step", 4)):
        with limit.timing(what):
            clock.now += seconds
    assert limit.needed(evaluates=False) == deadline.SLACK + deadline.SPARE * 30
    assert limit.needed(evaluates=True) == deadline.SLACK + deadline.SPARE * 330
    clock.now = 2000 - limit.needed(evaluates=True) + 1
    assert limit.too_late(evaluates=True)
    assert not limit.too_late(evaluates=False)
    clock.now = 2000 - limit.needed(evaluates=False) + 1
    assert limit.too_late(evaluates=False)


def test_what_was_expected_counts_until_it_was_seen():
    clock = Clock()
    limit = deadline.Deadline(-1600.0, 1.0, clock)
    limit.expect("evaluation", 1000.0)
    assert limit.too_late(evaluates=True)
    with limit.timing("evaluation"):
        clock.now += 1
    assert not limit.too_late(evaluates=True)


def test_a_deadline_ends_in_75_and_a_resume_in_the_same_digest(go, tmp_path, monkeypatch, whole):
    """Each start has time for about two steps: an injected clock runs for a minute at every look."""
    folder, made = tmp_path / "run", deadline.Deadline
    reached = []
    with monkeypatch.context() as patch:
        patch.setattr(deadline, "Deadline", lambda start, hours: made(-1900.0, 1.0, Clock(60.0)))
        while not (folder / "result.json").exists() and len(reached) < 20:
            ended = go(output_dir=folder)
            if ended.code == 0:
                break
            assert ended.code == 75, ended.err
            assert "--max-hours 11.5 " in ended.out
            assert "to go on: python -m mtlfn.experiments.s3b" in ended.out
            reached.append(checkpoint.step_of(checkpoint.steps(folder / "checkpoints")[-1]))
    assert reached == sorted(set(reached))
    assert reached
    assert go(output_dir=folder).code == 0
    assert result(folder)["digest"] == whole


def test_a_file_named_stop_ends_the_run_and_one_named_save_makes_a_checkpoint(go, tmp_path, whole):
    folder = tmp_path / "run"
    assert go(output_dir=folder, max_steps=1).code == 75
    (folder / "STOP").touch()
    ended = go(output_dir=folder)
    assert ended.code == 75
    assert "file STOP" in ended.out
    assert not (folder / "STOP").exists()
    (folder / "SAVE").touch()
    assert go(output_dir=folder, max_steps=3, save_every_steps=1000).code == 75
    assert not (folder / "SAVE").exists()
    assert go(output_dir=folder).code == 0
    assert result(folder)["digest"] == whole


def test_a_second_writer_is_refused(go, tmp_path):
    from mtlfn.run.storage import lock

    folder = tmp_path / "run"
    assert go(output_dir=folder, max_steps=1).code == 75
    with lock.held(folder / "lock", print):
        ended = go(output_dir=folder)
    assert ended.code == 75  # nothing is wrong: later the same command goes on
    assert "another process" in ended.message


@pytest.fixture
def notebook(tmp_path, monkeypatch) -> Callable[[float], None]:
    """A Kaggle notebook whose folders are in ``tmp_path``; called with it, its container gets so many hours old."""
    process = psutil.Process

    def aged(hours: float) -> None:
        began = SimpleNamespace(create_time=lambda: time.time() - 3600 * hours)
        monkeypatch.setattr(deadline.psutil, "Process", lambda pid=None: began if pid == 1 else process(pid))

    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    monkeypatch.setenv("MTLFN_KAGGLE_ROOT", str(tmp_path))
    (tmp_path / "input").mkdir()
    aged(1)
    return aged


@pytest.mark.usefixtures("notebook")
def test_a_kaggle_notebook_writes_where_it_lasts_and_goes_on_from_its_input(go, tmp_path, whole, out):
    assert go(output_dir=None, max_steps=3, save_every_steps=1).code == 75
    (folder,) = (tmp_path / "working" / "results").iterdir()
    # The next version of the notebook finds the output of this one among its inputs, and an older one too.
    shutil.copytree(tmp_path / "working", tmp_path / "input" / "my-notebook")
    older = tmp_path / "input" / "older" / "results" / folder.name
    shutil.copytree(folder, older)
    shutil.rmtree(older / "checkpoints" / "step-00000003")
    shutil.rmtree(tmp_path / "working")
    ended = go(output_dir=None)
    assert ended.code == 0, ended.err
    assert "brought back step 3" in ended.out
    assert "my-notebook" in ended.out
    assert result(folder)["digest"] == whole
    assert [line["step"] for line in steps(folder)] == [line["step"] for line in steps(out / "whole")]
    assert lines(folder)


@pytest.mark.usefixtures("notebook")
def test_a_damaged_input_on_kaggle_is_passed_over(go, tmp_path, whole):
    assert go(output_dir=tmp_path / "input" / "a" / "run", max_steps=3, save_every_steps=1).code == 75
    (tmp_path / "input" / "a" / "run" / "checkpoints" / "step-00000003" / "state.safetensors").write_bytes(b"x")
    ended = go(output_dir=None)
    assert ended.code == 0
    assert "passed over" in ended.out
    assert "brought back step 2" in ended.out
    (folder,) = (tmp_path / "working" / "results").iterdir()
    assert result(folder)["digest"] == whole


def test_on_kaggle_the_time_counts_from_when_the_notebook_began(go, notebook):
    assert time.time() - deadline.began() == pytest.approx(3600, abs=60)
    notebook(13)
    ended = go(output_dir=None)
    assert ended.code == 75
    assert "stopped: --max-hours 11.5 are over since the notebook began, 13.0 h ago · step 0" in ended.out
    assert go(output_dir=None, max_hours=20).code == 0


def test_elsewhere_it_counts_from_when_the_process_began():
    assert deadline.began() == psutil.Process().create_time()


# Completeness


@pytest.mark.parametrize("name", [a.name for a in attrs.fields(states.State)])
def test_a_field_that_is_not_saved_is_missed(go, tmp_path, monkeypatch, name):
    """Whatever field of the state is dropped from what is saved, the checkpoint is refused."""
    encode = states.encode

    def incomplete(state: states.State) -> dict[str, list[bytes]]:
        files = encode(state)
        document = json.loads(files["state.json"])
        kept = {"leaves": {p: v for p, v in document["leaves"].items() if p.partition("|")[0] != name}}
        tensors = {p: v for p, v in load(files["state.safetensors"]).items() if p.partition("|")[0] != name}
        return {"state.json": [json.dumps({**document, **kept}).encode()], "state.safetensors": [save(tensors)]}

    monkeypatch.setattr(checkpoint, "pieces", incomplete)
    assert go(output_dir=tmp_path / "run", max_steps=1).code == 75
    ended = go(output_dir=tmp_path / "run", max_steps=1)
    assert ended.code == 75
    assert "passed over" in ended.out
    assert name in ended.out
