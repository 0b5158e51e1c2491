"""Token control and exclusion, end to end on a tiny backbone: parity to the token, frozen slots, refusals, resuming."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import attrs
import pytest

from mtlfn.core import state
from mtlfn.data.screening import apart
from mtlfn.run import documents
from mtlfn.run.commands.command import main, replay
from mtlfn.run.commands.plan_command import mimic_exclusion, token_controlled
from mtlfn.run.config import Config
from mtlfn.run.errors import UsageError
from mtlfn.run.many import estimate, plan
from mtlfn.run.one import matched
from mtlfn.run.storage import checkpoint
from tests.harm import older

TASKS = ("bc5cdr_disease", "ddi", "hoc", "pubmedqa")
DATA_TASKS = ",".join(TASKS)


def result(run: Path) -> dict:
    return documents.read(run / "result.json")


def final_params(run: Path) -> dict:
    target = checkpoint.steps(run / "checkpoints")[-1]
    return checkpoint.load_params(target, result(run)["identity"])[1]


@pytest.fixture
def flags(bert, data, warm, tmp_path):
    settings = {"backbone": bert, "tasks": DATA_TASKS, "data_dir": data, "cache_dir": warm, "budget_tokens": 1999}
    settings |= {"micro_batch_tokens": 64, "max_length": 64, "threads": 1}

    def made(**named: object) -> list[str]:
        pairs = {**settings, **named}.items()
        flags = [part for name, value in pairs if value is not None for part in (f"--{name.replace('_', '-')}", value)]
        return [*map(str, flags), "--skip-smoke-test"]

    return made


@pytest.fixture
def multi(flags, tmp_path) -> Path:
    """A finished S3b run on four tasks whose budget no batch divides."""
    run = tmp_path / "multi"
    assert main("s3b", "A test.", flags(output_dir=run)) == 0
    return run


def control(multi: Path, out: Path, *more: object) -> int:
    return token_controlled("A test.", ["--match", str(multi), "--output-dir", str(out), *map(str, more)])


@pytest.mark.parametrize("kind", ["total", "per-task"])
def test_a_control_trains_on_exactly_as_many_tokens_with_the_same_settings(multi, tmp_path, kind):
    assert control(multi, tmp_path / "out", "--control", kind) == 0
    parent = result(multi)
    assert parent["tokens"]["total"] == 1999
    assert parent["match"] is None
    for task in TASKS:
        run = tmp_path / "out" / kind / task
        child, share = result(run), parent["tokens"]["per_task"][task]
        tokens = 1999 if kind == "total" else share
        assert child["tokens"]["total"] == child["tokens"]["per_task"][task] == tokens
        assert list(child["tokens"]["per_task"]) == [task]
        assert child["match"]["control"] == kind
        assert child["match"]["tokens"] == tokens
        assert child["match"]["parent"]["digest"] == parent["digest"]
        assert child["match"]["parent"]["identity"] == parent["identity"]
        assert child["schedule"] == tokens
        # The log of the steps adds up to the same number, and so does the ledger's last line.
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        steps = [line for line in lines if "event" not in line]
        assert steps[-1]["tokens"] == tokens
        recorded = documents.read(run / "config.json")["settings"]
        theirs = documents.read(multi / "config.json")["settings"]
        changed = {name for name in theirs if recorded[name] != theirs[name]}
        allowed = {"tasks", "budget_tokens", "schedule_tokens", "sampling", "micro_batches", "gradients", "output_dir"}
        assert changed <= allowed | {"parent", "held_out_tasks"}
        # The same architecture with one task in it: as many adapter parameters, and the same layer read.
        assert child["parameters"]["active_adapter"][task] == parent["parameters"]["active_adapter"][task]
        exported = json.loads((run / "export" / task / "head.json").read_text())
        assert exported["reads_layer"] == json.loads((multi / "export" / task / "head.json").read_text())["reads_layer"]
    if kind == "total":  # as many steps too, as far as the micro-batches of the tasks are alike
        assert abs(child["steps"] - parent["steps"]) <= 0.5 * parent["steps"]


@pytest.mark.slow
def test_a_control_can_be_killed_between_and_within_its_runs_and_ends_in_the_same_digests(multi, tmp_path, monkeypatch):
    assert control(multi, tmp_path / "straight") == 0
    count = []

    def limited(step):
        def taken(*args):
            count.append(1)
            if len(count) == 12:
                raise KeyboardInterrupt
            return step(*args)

        return taken

    from mtlfn.run.one import prepare

    original = prepare._step
    monkeypatch.setattr(prepare, "_step", lambda *args: limited(original(*args)))
    assert control(multi, tmp_path / "broken") == 75
    monkeypatch.undo()
    done = [t for t in TASKS if (tmp_path / "broken" / "total" / t / "result.json").exists()]
    assert len(done) < len(TASKS)
    assert control(multi, tmp_path / "broken") == 0
    for task in TASKS:
        one, two = (result(tmp_path / name / "total" / task) for name in ("straight", "broken"))
        assert one["digest"] == two["digest"]


def test_no_task_trains_on_a_text_that_another_one_is_evaluated_on_and_neither_do_the_controls(
    flags, data, tmp_path, capsys
):
    shared = tmp_path / "data"
    shutil.copytree(data, shared)
    (held, *_) = map(json.loads, (shared / "ddi" / "dev.jsonl").read_text().splitlines())
    path = shared / "hoc" / "train.jsonl"
    first, *rest = map(json.loads, path.read_text().splitlines())
    path.write_text("".join(json.dumps(row) + "\n" for row in ({**first, "text": held["text"].upper()}, *rest)))
    out = tmp_path / "out"
    small = flags(output_dir=out, data_dir=shared, budget_tokens=900)
    assert mimic_exclusion("A test.", ["--keep", "bc5cdr_disease,ddi", *small]) == 0
    assert "hoc: 1 training examples left out, which are dev or test texts of ddi" in capsys.readouterr().out
    run = out / "full" / "seed-0"
    assert control(run, tmp_path / "alone", "--tasks", "hoc") == 0  # a match: its data have the parent's hashes
    found = documents.read(run / "data.json")
    assert found["hoc"]["notes"] == {apart.NOTE: {"ddi": 1}, apart.LEFT_OUT: 1}
    assert found["hoc"]["train"]["examples"] == len(rest)
    for child in (tmp_path / "alone" / "total" / "hoc", out / "exclusion" / "seed-0" / "excluded"):
        assert documents.read(child / "data.json")["hoc"] == found["hoc"]


def test_what_cannot_be_matched_is_refused_by_name(multi, tmp_path, capsys, data):
    def refused(*more: object, run: Path = multi, out: Path = tmp_path / "out") -> str:
        assert control(run, out, *more) == 2
        return " ".join(capsys.readouterr().err.split())

    assert "has no config.json" in refused(run=tmp_path / "nothing")
    assert "ranking is none of that run's, bc5cdr_disease, ddi, hoc, pubmedqa" in refused("--tasks", "ddi,ranking")
    assert "--tasks ddi,hoc,ddi: the task 'ddi' is named twice; name every" in refused("--tasks", "ddi,hoc,ddi")
    moved = tmp_path / "moved"
    shutil.copytree(data, moved)
    path = moved / "ddi" / "train.jsonl"
    path.write_text(path.read_text().replace("aspirin", "codeine"))
    said = refused("--data-dir", moved, "--tasks", "ddi")
    assert "cannot be compared with this run: other data: ddi, split train, has the hash" in said
    from tests.tiny import make_bert

    other = make_bert(tmp_path / "other", intermediate_size=48)
    assert "cannot be compared with this run: another backbone" in refused(
        "--backbone", other, "--tasks", "hoc", out=tmp_path / "o2"
    )
    # The same weights in a model of another activation: no parameter tells them apart.
    changed = make_bert(tmp_path / "changed")
    said = json.loads((changed / "config.json").read_text())
    (changed / "config.json").write_text(json.dumps({**said, "hidden_act": "relu"}))
    told = refused("--backbone", changed, "--tasks", "hoc", out=tmp_path / "o3")
    assert "cannot be compared with this run: another configuration of the backbone" in told
    (multi / "result.json").unlink()
    assert "the run is not finished" in refused()


@pytest.mark.parametrize(("flag", "value"), [("--threads", "0"), ("--max-hours", "0"), ("--max-hours", "0.0")])
def test_a_nought_is_refused_and_not_taken_for_nothing(multi, tmp_path, capsys, flag, value):
    assert control(multi, tmp_path / "out", flag, value) == 2
    assert flag.removeprefix("--").replace("-", "_") in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_a_single_task_run_is_nothing_to_match(flags, tmp_path, capsys):
    run = tmp_path / "single"
    assert main("s1", "A test.", flags(output_dir=run, tasks="ddi")) == 0
    assert control(run, tmp_path / "out") == 2
    assert "it has one task; match a multi-task run" in capsys.readouterr().err
    assert main("s1", "A test.", flags(output_dir=tmp_path / "two")) == 2
    assert "s1 trains one task; name one" in capsys.readouterr().err


# The exclusion control


@pytest.mark.parametrize("strategy", [pytest.param("s3a", marks=pytest.mark.slow), "s3b"])
def test_the_shared_slot_of_the_exclusion_control_never_sees_an_excluded_task(flags, tmp_path, strategy):
    keep, out = ("ddi", "hoc"), tmp_path / "exclusion"
    own = ["--strategy", strategy, "--keep", ",".join(keep)]
    assert mimic_exclusion("A test.", [*own, *flags(output_dir=out)]) == 0
    full, kept, tuned = (out / n for n in ("full/seed-0", "exclusion/seed-0/kept", "exclusion/seed-0/excluded"))
    shares = result(full)["tokens"]["per_task"]
    assert result(kept)["tokens"]["per_task"].keys() == set(keep)
    assert result(kept)["tokens"]["total"] == sum(shares[t] for t in keep)
    assert result(tuned)["tokens"]["per_task"].keys() == set(TASKS) - set(keep)
    assert result(tuned)["tokens"]["total"] == sum(v for t, v in shares.items() if t not in keep)
    # The ledger's last line has the kept tasks' tokens and no more, and no step saw another task.
    ledger = [json.loads(line) for line in (kept / "ledger.jsonl").read_text().splitlines()]
    assert ledger[-1]["tokens"] == sum(result(kept)["tokens"]["per_task"][t] for t in keep)
    for line in (kept / "metrics.jsonl").read_text().splitlines():
        assert not set(json.loads(line).get("loss", ())) - set(keep)
    before, after = final_params(kept), final_params(tuned)
    assert state.digest(before["shared"]) == state.digest(after["shared"])
    assert result(kept)["slots"]["shared"] == result(tuned)["slots"]["shared"] != result(full)["slots"]["shared"]
    assert result(tuned)["match"]["frozen_slots"] == ["shared"]
    assert result(tuned)["match"]["parent"]["digest"] == result(kept)["digest"]
    moved = {slot for slot in after if slot not in before or state.digest(before[slot]) != state.digest(after[slot])}
    assert moved == set(after) - {"shared"}


def test_with_random_sampling_each_task_has_the_tokens_of_the_full_run(flags, tmp_path):
    """And not only all of a group together, which would confound the control with exposure."""
    out, keep = tmp_path / "exclusion", ("ddi", "hoc")
    argv = ["--keep", ",".join(keep), *flags(output_dir=out, sampling="proportional", micro_batches=1)]
    assert mimic_exclusion("A test.", argv) == 0
    shares = result(out / "full/seed-0")["tokens"]["per_task"]
    assert len(set(shares.values())) > 1
    for half in ("kept", "excluded"):
        run = out / "exclusion/seed-0" / half
        found = result(run)["tokens"]["per_task"]
        assert found == {task: shares[task] for task in found}
        assert replay([str(run), "--all"]) == 0


def test_the_kept_tasks_are_some_of_the_tasks(flags, tmp_path, capsys):
    for keep, wanted in (
        ("ddi,other", "other is none of the tasks"),
        (DATA_TASKS, "and not all of them"),
        ("", "name some of the tasks"),
    ):
        assert mimic_exclusion("A test.", ["--keep", keep, *flags(output_dir=tmp_path / "x")]) == 2
        assert wanted in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "x").exists()


def test_an_exclusion_run_resumes_and_replays_from_its_parents_state(flags, tmp_path, capsys):
    out = tmp_path / "exclusion"
    argv = ["--keep", "ddi,hoc", *flags(output_dir=out)]
    assert mimic_exclusion("A test.", argv) == 0
    tuned = out / "exclusion/seed-0/excluded"
    digest = result(tuned)["digest"]
    assert replay([str(tuned), "--all"]) == 0
    shutil.rmtree(tuned)
    assert mimic_exclusion("A test.", [*argv, "--max-steps", "2"]) in (0, 75)
    shutil.rmtree(tuned, ignore_errors=True)
    assert mimic_exclusion("A test.", argv) == 0
    assert result(tuned)["digest"] == digest


# Seeds, and the plan as data


def test_several_seeds_are_several_runs(flags, tmp_path):
    out = tmp_path / "seeds"
    assert main("s2", "A test.", flags(output_dir=out, seeds=2, budget_tokens=300)) == 0
    runs = [result(out / f"seed-{i}") for i in (0, 1)]
    assert [run["seed"] for run in runs] == [0, 1]
    assert runs[0]["digest"] != runs[1]["digest"]


def test_one_run_and_several_seeds_never_share_a_folder(flags, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for seeds in (1, 2):
        assert main("s2", "A test.", flags(seeds=seeds, budget_tokens=300)) == 0
    one, several = sorted((tmp_path / "results").iterdir())
    assert (one / "result.json").exists()
    assert sorted(path.name for path in several.iterdir()) == ["seed-0", "seed-1"]
    before = sorted(one.rglob("*"))
    assert main("s2", "A test.", flags(seeds=2, budget_tokens=300, output_dir=one)) == 2
    assert "is the folder of one run, and this makes several" in " ".join(capsys.readouterr().err.split())
    assert sorted(one.rglob("*")) == before


def test_a_plan_can_be_printed_before_anything_runs(tmp_path):
    full = plan.multi("s3b", Config(budget_tokens=3000), "full")
    nodes = (full, *plan.exclusion("s3b", full, TASKS, ("ddi",), "exclusion"))
    lines = estimate.table(tmp_path, nodes)
    assert lines[0].split()[:4] == ["full", "s3b", "3,000", "tokens"]
    assert lines[2].endswith("to do     after full, exclusion/kept")
    assert lines[3] == (
        "3 runs, 6,000 tokens; 3 not finished, about 4 min one after the other (a guess until the first is finished)"
    )
    with pytest.raises(ValueError, match="needs full, which does not come before it"):
        plan.check_needs(nodes[1:])
    with pytest.raises(ValueError, match="two nodes of the plan are called full"):
        plan.check_needs((full, full))


def test_a_match_of_an_older_version_says_so(multi):
    found = {name: value for name, value in result(multi).items() if name not in ("schedule", "files")}
    documents.write(multi / "result.json", found)
    older(multi)
    with pytest.raises(UsageError, match="may be of an older version"):
        matched.finished(multi)


def test_a_control_of_a_run_that_stopped_early_matches_the_tokens_it_saw(flags, tmp_path):
    run = tmp_path / "epochs"
    assert main("s3b", "A test.", flags(output_dir=run, budget_tokens=None, max_epochs=2, tasks="ddi,hoc")) == 0
    made = matched.control(matched.finished(run), "ddi", "total")
    assert made.budget_tokens == result(run)["tokens"]["total"]
    assert made.max_epochs is None
    assert made.schedule_tokens == result(run)["schedule"]
    assert attrs.evolve(made, parent=None) != made
