"""Replay finds every segment equal on an honest run, and names step and tensor where something was changed."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

from mtlfn.core import scaling
from mtlfn.core import state as states
from mtlfn.run import documents
from mtlfn.run.commands.command import replay
from mtlfn.run.storage import checkpoint, ledger, record
from tests.run.test_environment import elsewhere

HARD = {"weighting": "uncertainty", "lora_dropout": 0.2, "learning_rate": 0.01, "save_every_steps": 2}


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("replayed")


@pytest.fixture
def finished(go, out, tmp_path) -> Path:
    """A copy of a finished run."""
    if not (out / "run").exists():
        assert go(**HARD, output_dir=out / "run").code == 0
    return Path(shutil.copytree(out / "run", tmp_path / "run"))


@pytest.fixture
def again(capfd):
    """Replays with these flags; exit code and what it said."""

    def run(*flags: object) -> tuple[int, str]:
        capfd.readouterr()
        code = replay(list(map(str, flags)))
        captured = capfd.readouterr()
        return code, captured.out + captured.err

    return run


def test_every_segment_of_an_honest_run_is_equal(finished, again):
    code, said = again(finished, "--all")
    *lines, seal = (finished / "ledger.jsonl").read_text().splitlines()
    assert json.loads(seal)["result"]
    assert code == 0, said
    assert said.count("equal     steps ") == len(lines) > 2
    assert "files made of the last state again" in said
    assert f"all {len(lines)} segments are equal" in said
    result = documents.read(finished / "result.json")
    assert result["digest"] in said
    kept = documents.read(finished / "replay.json")
    assert kept == {
        "digest": result["digest"],
        "steps": [0, result["steps"]],
        "equal": len(lines),
        "skipped": 0,
        "mismatches": [],
        "environment": [],
    }


@pytest.mark.parametrize("commit", ["of another day", None])
def test_a_card_is_compared_where_the_code_that_worded_it_is_the_same(finished, again, monkeypatch, commit):
    """Other code may word it otherwise, and the run is what it says all the same."""
    from mtlfn.run.one import export, fingerprint

    worded = export.card
    monkeypatch.setattr(export, "card", lambda *facts: worded(*facts) + "\nIn other words.\n")
    if commit is not None:
        monkeypatch.setattr(fingerprint, "_commit", lambda: commit)
    code, said = again(finished, "--all")
    assert code == (0 if commit else 4), said
    assert ("README.md: is not what the last state gives" in said) == (commit is None)


@pytest.mark.parametrize(("commit", "value", "expected"), [("other", 1, 0), ("other", None, 4), (None, 1, 4)])
def test_other_code_may_say_more_of_an_export_and_not_otherwise(finished, again, monkeypatch, commit, value, expected):
    from mtlfn.run.one import export, fingerprint

    use = export._use
    added = {"more": 1} if value else {"max_length": 7}
    monkeypatch.setattr(export, "_use", lambda *given: use(*given) | added)
    if commit is not None:
        monkeypatch.setattr(fingerprint, "_commit", lambda: commit)
    code, said = again(finished, "--all")
    assert code == expected, said
    assert ("predict.json: is not what the last state gives" in said) == bool(expected)


def test_a_step_that_was_skipped_is_equal_too(go, tmp_path, again, monkeypatch):
    """Its norm is not a number, which is unequal to itself."""
    monkeypatch.setattr(scaling, "START", 2.0**40)
    folder = tmp_path / "run"
    assert go(**HARD, precision="fp16", output_dir=folder).code == 0
    steps = [line for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if "step" in line]
    assert any(math.isnan(line.get("grad_norm", 0.0)) for line in steps)
    code, said = again(folder, "--all")
    assert code == 0, said
    assert "MISMATCH" not in said


def test_a_ledger_without_a_step_says_so(go, tmp_path, again):
    folder = tmp_path / "run"
    assert go(output_dir=folder, max_steps=0).code == 75
    elsewhere(folder)
    assert go("--accept-environment", output_dir=folder, max_steps=0).code == 75
    code, said = again(folder)
    assert code == 2
    assert "train first" in said


def test_a_folder_that_cannot_be_written_can_be_replayed(finished, again, monkeypatch):
    def full(path: Path, document: dict) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(documents, "write", full)
    code, said = again(finished)
    assert code == 0, said
    assert "replay.json cannot be written (Read-only file system)" in said
    assert "in 1 segments" in said


def test_a_segment_begins_at_a_checkpoint(finished, again):
    code, said = again(finished)
    assert code == 0, said
    assert "in 1 segments" in said
    steps = [json.loads(line)["step"] for line in (finished / "ledger.jsonl").read_text().splitlines()]
    code, said = again(finished, "--from", steps[0], "--to", steps[1])
    assert code == 0, said
    assert f"equal     steps {steps[0]} to {steps[1]}" in said
    for flags in (("--from", 99), ("--to", 99), ("--from", steps[1], "--to", steps[0])):
        code, said = again(finished, *flags)
        assert code == 2
        assert "Traceback" not in said


def test_one_flipped_bit_in_a_checkpoint_is_reported(finished, again):
    path = checkpoint.steps(finished / "checkpoints")[-1] / "state.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    code, said = again(finished)
    assert code == 4
    assert path.parent.name in said
    assert "not what was written" in said


def test_one_flipped_bit_in_the_ledger_is_reported(finished, again):
    path = finished / "ledger.jsonl"
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    code, said = again(finished, "--all")
    assert code == 4
    assert "line 1" in said
    kept = documents.read(finished / "replay.json")
    assert kept["digest"] is None
    assert "line 1" in kept["mismatches"][0]


def test_a_result_that_was_taken_away_is_reported(finished, again):
    (finished / "result.json").unlink()
    code, said = again(finished)
    assert code == 4
    assert "MISMATCH  result.json: is missing, and the ledger says that the run has ended" in said


def test_a_forged_run_is_found_by_its_first_step_and_tensor(finished, again):
    """The whole ledger written anew for a state that one tensor was changed in: only replay can tell."""
    path, identity = finished / "ledger.jsonl", documents.read(finished / "config.json")["hash"]
    entries, forged = ledger.read(path, identity), ()
    path.unlink()
    for made in entries:
        leaves = made.leaves
        if made == entries[1]:  # as if params|shared|... had been another: its digits change
            leaves = leaves[:-8] + "00000000"
        previous = forged[-1].hash if forged else identity
        digest = made.digest if leaves == made.leaves else "0" * 64
        new = ledger.Entry(step=made.step, tokens=made.tokens, digest=digest, leaves=leaves, previous=previous).sealed()
        forged = ledger.write(path, forged, new)
    code, said = again(finished, "--all")
    assert code == 4
    assert f"the first step that differs is step {entries[1].step}, the first tensor or field tokens|ddi|padded" in said


def test_metrics_that_were_edited_are_reported_with_their_step(finished, again):
    path = finished / "metrics.jsonl"
    lines = list(record.lines(path))
    chosen = next(line for line in lines if line["step"] == 2 and "event" not in line)
    chosen["loss"]["ddi"] += 1e-9
    written_again(path, lines)
    code, said = again(finished, "--all")
    assert code == 4
    assert "step 2 (loss)" in said
    assert "metrics.jsonl: is not what was written" in said  # the seal says so, too


def written_again(path: Path, lines: list[dict]) -> None:
    """A record of these lines, each with its check: as a forger would."""
    path.unlink()
    for line in lines:
        record.append(path, line)


def test_metrics_that_were_emptied_or_lost_a_line_are_reported(finished, again):
    path = finished / "metrics.jsonl"
    whole = path.read_bytes()
    path.write_bytes(b"")
    code, said = again(finished, "--all")
    assert code == 4
    assert "first at step 1 (no line)" in said
    path.write_bytes(b"\n".join(line for line in whole.split(b"\n") if b'"step": 3,' not in line))
    code, said = again(finished, "--all")
    assert code == 4
    assert "is of step 4, expected 3" in said


def test_a_quick_evaluation_that_was_forged_or_taken_out_is_reported(go, tmp_path, again):
    folder = tmp_path / "run"
    assert go(**HARD, output_dir=folder, quick_eval_examples=6).code == 0
    assert again(folder, "--all")[0] == 0
    lines = list(record.lines(folder / "metrics.jsonl"))
    at = next(i for i, line in enumerate(lines) if line.get("event") == "quick")
    score = lines[at]["scores"]["ddi"]
    name = next(iter(score))
    score[name] += 0.25
    written_again(folder / "metrics.jsonl", lines)
    code, said = again(folder, "--all")
    assert code == 4
    assert f"step {lines[at]['step']} (its quick evaluation)" in said
    written_again(folder / "metrics.jsonl", lines[:at] + lines[at + 1 :])
    code, said = again(folder, "--all")
    assert code == 4
    assert f"step {lines[at]['step']} (its quick evaluation, missing)" in said


def test_another_cadence_from_the_middle_on_is_on_record_and_replays(go, tmp_path, again):
    folder = tmp_path / "run"
    assert go(**HARD, output_dir=folder, quick_eval_examples=6, max_steps=2).code == 75
    changed = {**HARD, "save_every_steps": 100}
    assert go(**changed, output_dir=folder, quick_eval_examples=4).code == 0
    (line,) = [line for line in record.lines(folder / "metrics.jsonl") if line.get("event") == "watch"]
    assert line == {"step": 2, "event": "watch", "save_every_steps": 100, "quick_eval_examples": 4}
    code, said = again(folder, "--all")
    assert code == 0, said


OFTEN, SELDOM = ({"save_every_steps": n, "quick_eval_examples": 6} for n in (1, 200))


@pytest.mark.parametrize(
    ("before", "after"),
    [(SELDOM, OFTEN), (OFTEN, SELDOM), (OFTEN, {**SELDOM, "quick_eval_examples": 0})],
    ids=["more often", "less often", "no longer"],
)
def test_the_state_that_a_run_went_on_from_is_evaluated_at_the_cadence_of_its_step(go, tmp_path, again, before, after):
    """Its quick evaluation is made when the run goes on, and the cadence may be another by then."""
    folder, owed = tmp_path / "run", before is OFTEN
    assert go(micro_batch_tokens=16, output_dir=folder, **before, max_steps=1).code == 75
    assert go(micro_batch_tokens=16, output_dir=folder, **after).code == 0
    lines = list(record.lines(folder / "metrics.jsonl"))
    assert sum(line.get("event") == "watch" for line in lines) == 1
    first = [line for line in lines if line["step"] == 1 and line.get("event") == "quick"]
    assert [line["examples"] for line in first] == [3] * owed
    code, said = again(folder, "--all")
    assert code == 0, said
    if owed:
        written_again(folder / "metrics.jsonl", [line for line in lines if line not in first])
        code, said = again(folder, "--to", 1, "--from", 0)
        assert code == 4
        assert "step 1 (its quick evaluation, missing)" in said


def test_a_run_whose_arithmetic_changed_is_told_by_step_and_tensor(finished, again, monkeypatch):
    """From its third step on the optimiser does something else."""
    from mtlfn.core import step

    optimise = step._optimize

    def other(config, state, advanced, updates):
        after = optimise(config, state, advanced, updates)
        if advanced.step == 3:
            after.params["shared"][min(after.params["shared"])].view(-1)[0] += 1.0
        return after

    monkeypatch.setattr(step, "_optimize", other)
    code, said = again(finished, "--all")
    assert code == 4
    assert "the first step that differs is step 3, the first tensor or field params|shared|" in said
    assert "equal     steps 0 to 2" in said


def test_what_is_no_run_is_said(tmp_path, again):
    code, said = again(tmp_path)
    assert code == 2
    assert "config.json" in said
    assert states.SEPARATOR == "|"
