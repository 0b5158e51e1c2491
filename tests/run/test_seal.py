"""A finished run is what it was when it finished, or says what is not, and makes that again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mtlfn.run import documents
from mtlfn.run.commands.command import replay
from mtlfn.run.one import smoke
from mtlfn.run.storage import ledger, record, seal
from tests.harm import delete, empty, flip, older, reseal, truncate, unseal
from tests.run.conftest import contents
from tests.run.test_run import result

QUICK = {"quick_eval_examples": 6}
# What a run writes that is of its process and not of what it is.
OF_THE_PROCESS = ("train.log", "lock", "replay.json")


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("sealed")


@pytest.fixture
def finished(go, out, tmp_path) -> Path:
    """A copy of a finished run."""
    if not (out / "run").exists():
        assert go(**QUICK, output_dir=out / "run").code == 0
    return Path(shutil.copytree(out / "run", tmp_path / "run"))


@pytest.fixture
def other(go, out) -> Path:
    """The same run with another seed."""
    if not (out / "other").exists():
        assert go(**QUICK, seed=1, output_dir=out / "other").code == 0
    return out / "other"


def sealed_files(folder: Path) -> list[str]:
    return [documents.RESULT, documents.LEDGER, *result(folder)["files"]]


def swap(path: Path, theirs: Path) -> None:
    path.write_bytes(theirs.read_bytes())


HARM = (flip, truncate, empty, swap, delete)


def test_every_file_that_a_claim_rests_on_is_sealed(finished):
    assert seal.verify(finished) == seal.Verified(True, ())
    named = {name.partition("/")[0] for name in result(finished)["files"]}
    assert named == {"config.json", "data.json", "env.json", "smoke.json", "tokens.json", "metrics.jsonl", "export",
                     "predictions"}  # fmt: skip
    *_, last = ledger.read(finished / "ledger.jsonl", documents.read(finished / "config.json")["hash"])
    assert last.result == hashlib.sha256((finished / "result.json").read_bytes()).hexdigest()


@pytest.mark.parametrize("harm", HARM)
def test_harm_to_any_file_is_found_and_the_file_is_named(finished, other, harm):
    whole = contents(finished)
    for name in sealed_files(finished):
        path = finished / name
        harm(path, other / name)
        if path.exists() and path.read_bytes() == whole[name]:
            continue  # the same in both runs
        found = seal.verify(finished) if name != documents.RESULT or harm is not delete else None
        if found is not None:
            assert found.problems, (harm, name)
            assert any(problem.startswith(f"{name}:") for problem in found.problems), (harm, name, found.problems)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(whole[name])
    assert seal.verify(finished).problems == ()


def test_a_file_that_was_put_beside_the_others_is_found(finished):
    (finished / "predictions" / "hoc.test.units.json").write_text("{}")
    assert seal.verify(finished).problems == ("predictions/hoc.test.units.json: is not of this run",)


def test_a_run_of_an_older_version_has_no_seal_and_is_read(finished):
    older(finished)
    assert seal.verify(finished) == seal.Verified(False, ())


def test_a_run_of_a_version_that_seals_is_no_older_one_without_its_seal(go, finished):
    """Else a score could be changed without a single hash."""
    unseal(finished)
    forged = result(finished)
    forged["scores"]["ddi"]["dev"] = 0.999
    (finished / "result.json").write_text(json.dumps(forged))
    assert seal.verify(finished).problems == (
        "ledger.jsonl: has no line for result.json",
        "result.json: names no files",
    )
    kept = (finished / "config.json").read_bytes()
    for harm in (flip, delete):  # what the version was is then not known, and no excuse
        harm(finished / "config.json", finished)
        assert seal.verify(finished).problems[0].startswith("config.json: ")
        (finished / "config.json").write_bytes(kept)
    assert go(**QUICK, output_dir=finished).code == 0  # made again, as after any harm
    assert seal.verify(finished) == seal.Verified(True, ())
    assert result(finished)["scores"]["ddi"]["dev"] != 0.999


def test_a_result_whose_list_of_files_was_taken_out_is_no_older_one(finished):
    found = result(finished)
    del found["files"]
    (finished / "result.json").write_text(json.dumps(found))
    assert "is not the one that the last line of ledger.jsonl names" in seal.verify(finished).problems[0]


def test_exports_that_were_deleted_for_their_size_are_missed_by_nobody_but_the_run_itself(go, finished, capfd):
    whole = contents(finished)
    shutil.rmtree(finished / "export")
    assert seal.verify(finished, exports=False) == seal.Verified(True, ())
    assert all(problem.endswith(": is missing") for problem in seal.verify(finished).problems)
    capfd.readouterr()
    assert replay([str(finished), "--all"]) == 0
    assert "files of exports are away" in capfd.readouterr().out
    assert go(**QUICK, output_dir=finished).code == 0
    assert {n: d for n, d in contents(finished).items() if n.startswith("export")} == {
        n: d for n, d in whole.items() if n.startswith("export")
    }


@pytest.mark.parametrize(
    "name",
    [
        "result.json",
        "tokens.json",
        "data.json",
        "smoke.json",
        "predictions/ddi.dev.jsonl",
        "predictions/bc5cdr_disease.dev.units.json",
        "export/ddi/adapter_model.safetensors",
        "export/ddi/README.md",
    ],
)
@pytest.mark.parametrize("harm", [flip, delete])
def test_what_is_damaged_is_made_again_by_the_same_command(go, finished, name, harm):
    whole = contents(finished)
    harm(finished / name, finished)
    ended = go(**QUICK, output_dir=finished)
    assert ended.code == 0, ended.err
    if name != "result.json" or harm is not delete:
        assert f"ALERT     {name}: " in ended.out
    assert seal.verify(finished) == seal.Verified(True, ())
    again = contents(finished)
    for each in ("predictions", "export"):
        assert {n: d for n, d in again.items() if n.startswith(each)} == {
            n: d for n, d in whole.items() if n.startswith(each)
        }
    assert again["tokens.json"] == whole["tokens.json"]
    ended = go(**QUICK, output_dir=finished)
    assert "this run is finished" in ended.out


def test_a_record_that_lost_lines_is_made_again_by_taking_the_steps_again(go, finished):
    whole = list(record.lines(finished / "metrics.jsonl"))
    path = finished / "metrics.jsonl"
    raw = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(without_step(raw, 2)))
    ended = go(**QUICK, output_dir=finished)
    assert ended.code == 0, ended.err
    assert "ALERT     metrics.jsonl: line" in ended.out
    assert "is of step 3, expected 2" in ended.out
    assert "passed over" in ended.out
    times = ("seconds_per_step", "tokens_per_second", "examples_per_second", "eta_seconds")
    again = list(record.lines(path))
    for lines in (whole, again):
        for line in lines:
            for name in times:
                line.pop(name, None)
    assert json.dumps(again) == json.dumps(whole)
    assert seal.verify(finished).problems == ()


def without_step(raw: list[bytes], step: int) -> list[bytes]:
    return [line for line in raw if not line.startswith(f'{{"step": {step},'.encode())]


def test_an_environment_that_is_not_known_is_refused_with_a_way_out(go, tmp_path):
    folder = tmp_path / "run"
    assert go(output_dir=folder, max_steps=2).code == 75
    for harm in (flip, empty, delete):
        kept = (folder / "env.json").read_bytes()
        harm(folder / "env.json", folder)
        ended = go(output_dir=folder)
        assert ended.code == 4
        assert "env.json" in ended.message
        assert "--accept-environment" in ended.message
        (folder / "env.json").write_bytes(kept)
    delete(folder / "env.json", folder)
    assert go("--accept-environment", output_dir=folder).code == 0
    assert "env.json is missing" in result(folder)["environment_breaks"][0]


# Re-sealed: everything that is hashed is hashed again, as a forger would. What is left is replay --all.


def forge_score(folder: Path) -> str:
    found = json.loads((folder / "result.json").read_text())
    found["scores"]["ddi"]["dev"] = 0.999
    (folder / "result.json").write_text(json.dumps({k: v for k, v in found.items() if k != documents.SEAL}))
    return "result.json: its scores is not what the run gives"


def forge_tokens(folder: Path) -> str:
    found = json.loads((folder / "result.json").read_text())
    found["tokens"]["per_task"]["ddi"] -= 1
    (folder / "result.json").write_text(json.dumps({k: v for k, v in found.items() if k != documents.SEAL}))
    return "result.json: its tokens is not what the run gives"


def forge_prediction(folder: Path) -> str:
    path = folder / "predictions" / "ddi.dev.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["prediction"] = "advise" if lines[0]["prediction"] != "advise" else "int"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return "predictions/ddi.dev.jsonl: is not what the last state gives"


def forge_statistics(folder: Path) -> str:
    path = folder / "predictions" / "bc5cdr_disease.dev.units.json"
    document = json.loads(path.read_text())
    document["values"][0] = [9.0, 9.0, 9.0, 9.0]
    path.write_text(json.dumps(document) + "\n")
    return "predictions/bc5cdr_disease.dev.units.json: is not what the last state gives"


def forge_export(folder: Path) -> str:
    flip(folder / "export" / "ddi" / "head.safetensors", folder)
    return "export/ddi/head.safetensors: is not what the last state gives"


def forge_record(folder: Path) -> str:
    path = folder / "metrics.jsonl"
    lines = list(record.lines(path))
    lines[0]["loss"]["ddi"] = 0.1
    path.unlink()
    for line in lines:
        record.append(path, line)
    return "step 1 (loss)"


def forge_counts(folder: Path) -> str:
    document = documents.read(folder / "tokens.json")
    documents.write(folder / "tokens.json", {**document, "total": document["total"] + 1})
    return "tokens.json: is not what the run gives"


def forge_data(folder: Path) -> str:
    document = documents.read(folder / "data.json")
    document["ddi"]["dev"]["cut"]["truncated"] += 7
    documents.write(folder / "data.json", document)
    return "data.json: ddi is not what the data give"


def forge_schema(folder: Path) -> str:
    document = documents.read(folder / "config.json")
    documents.write(folder / "config.json", {**document, "schema": 3})
    return "config.json has schema 3, expected 1 to 2"


FORGED = (
    forge_score, forge_tokens, forge_prediction, forge_statistics, forge_export, forge_record, forge_counts, forge_data,
    forge_schema,
)  # fmt: skip


@pytest.mark.parametrize("forge", FORGED)
def test_what_was_forged_and_sealed_again_is_found_by_replaying_all_of_it(finished, forge: Callable, capfd):
    expected = forge(finished)
    reseal(finished)
    assert seal.verify(finished) == seal.Verified(True, ())
    capfd.readouterr()
    assert replay([str(finished), "--all"]) == 4
    assert expected in "".join(capfd.readouterr())


def test_a_smoke_test_that_is_said_to_have_passed_is_taken_again(finished, monkeypatch, capfd):
    monkeypatch.setattr(smoke, "smoke", lambda *_: (smoke.Check("the loss falls", False, "from 1 to 1"),))
    documents.write(finished / "smoke.json", {"skipped": False, "passed": True, "checks": []})
    found = documents.read(finished / "result.json")
    documents.write(finished / "result.json", {**found, "smoke_test": "passed"})
    reseal(finished)
    assert replay([str(finished), "--all"]) == 4
    assert "smoke.json: says that the smoke test passed, and it fails" in capfd.readouterr().out


def test_replay_names_the_file_that_is_another_runs(finished, other, capfd):
    swap(finished / "config.json", other / "config.json")
    assert replay([str(finished), "--all"]) == 4
    assert "config.json: is not what was written" in capfd.readouterr().out


def test_the_honest_run_sealed_again_is_equal(finished):
    reseal(finished)
    assert replay([str(finished), "--all"]) == 0


def test_nothing_of_evaluations_or_temporary_files_is_left(finished):
    assert not (finished / "evaluation").exists()
    assert not list(finished.rglob("*.tmp-*"))
    assert {p.name for p in finished.iterdir()} <= {
        *OF_THE_PROCESS, "result.json", "ledger.jsonl", "config.json", "data.json", "env.json", "smoke.json",
        "resumes.json", "tokens.json", "metrics.jsonl", "export", "predictions", "checkpoints",
    }  # fmt: skip
