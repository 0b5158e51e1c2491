"""A run trains on exactly its budget, repeats to the bit, and says all of it in its files."""

from __future__ import annotations

import json
import math
import re
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import pytest
import torch

import mtlfn
from mtlfn.data import metrics, sources, units
from mtlfn.data.task import Task
from mtlfn.run import documents
from mtlfn.run.commands.command import main
from tests import tiny
from tests.run.conftest import contents, words


def result(folder: Path) -> dict:
    return documents.read(folder / "result.json")


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def steps(folder: Path) -> list[dict]:
    return [line for line in lines(folder) if "event" not in line]


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def full(go, out) -> Path:
    """A finished run of four tasks with everything switched on; made once, by the first test that asks."""
    folder = out / "full"
    if not folder.exists():
        ended = go(
            tasks=",".join(tiny.JSONL_TASKS),
            budget_tokens=1100,
            weighting="uncertainty",
            save_every_steps=2,
            quick_eval_examples=8,
            output_dir=folder,
        )
        assert ended.code == 0, ended.err
        (folder.parent / "full.out").write_text(ended.out)
    return folder


@pytest.mark.parametrize("budget", [1, 61, 513, 640])
def test_the_budget_is_met_exactly(go, out, budget):
    """One token, less than one batch, an odd number, and a corpus' whole number of tokens or none."""
    folder = out / f"budget{budget}"
    assert go(budget_tokens=budget, output_dir=folder).code == 0
    found = result(folder)
    assert found["tokens"]["total"] == budget == sum(found["tokens"]["per_task"].values())
    assert steps(folder)[-1]["tokens"] == budget
    assert sum(sum(line["batch_tokens"].values()) for line in steps(folder)) == budget


def test_a_budget_of_whole_batches_is_met_exactly(go, out):
    """The budget is set to what the first two steps of another run took."""
    whole = steps(out / "budget640")[1]["tokens"]
    assert go(budget_tokens=whole, output_dir=out / "whole").code == 0
    assert [line["tokens"] for line in steps(out / "whole")][-1] == whole
    assert len(steps(out / "whole")) == 2


def test_metrics_have_one_full_line_a_step(full):
    found = steps(full)
    assert [line["step"] for line in found] == list(range(1, len(found) + 1))
    total = 0
    for line in found:
        total += sum(line["batch_tokens"].values())
        assert line["tokens"] == total == sum(line["tokens_per_task"].values())
        assert set(line["loss"]) == set(line["weighted"]) == set(line["sigma"]) == set(tiny.JSONL_TASKS)
        assert line["tasks_in_step"] == sum(v is not None for v in line["weighted"].values())
        assert len(line["conflicts"]) == 12
        assert math.isfinite(line["grad_norm"])
        assert line["grad_norm"] > 0
        assert line["learning_rate"] >= 0
        assert line["nonfinite"] == 0
        assert {"seconds_per_step", "tokens_per_second", "eta_seconds"} <= set(line)
    # Uncertainty weights: before the first step s = 0, so the weighted loss is half the raw one.
    for task, raw in found[0]["loss"].items():
        assert found[0]["weighted"][task] == pytest.approx(raw / 2, rel=1e-6)
    for before, after in pairwise(found):
        for task, raw in after["loss"].items():
            if after["weighted"][task] is not None:
                s = 2 * math.log(before["sigma"][task])
                assert after["weighted"][task] == pytest.approx(math.exp(-s) * raw / 2 + s / 2, rel=1e-4)
    assert any(line["sigma"][t] != 1 for line in found for t in line["sigma"])
    assert len({line["loss"]["ddi"] for line in found}) == len(found)


def test_evaluations_are_lines_of_their_own(full):
    events = [line for line in lines(full) if "event" in line]
    assert {line["event"] for line in events} == {"quick", "full"}
    assert all(set(line["scores"]) == set(tiny.JSONL_TASKS) for line in events)
    assert events[-1]["event"] == "full"
    assert events[-1]["step"] == steps(full)[-1]["step"]


def test_the_result_says_what_was_trained_and_reached(full, data):
    found, last = result(full), steps(full)[-1]
    assert found["experiment"] == "s3b"
    assert found["steps"] == last["step"]
    tokens = found["tokens"]
    assert tokens["total"] == 1100 == sum(tokens["per_task"].values())
    assert tokens["per_task"] == last["tokens_per_task"]
    assert tokens["input_share_of_slots"] == pytest.approx(1100 / sum(tokens["padded"].values()))
    assert all(0 < tokens["loss"][t] <= tokens["per_task"][t] <= tokens["padded"][t] for t in tiny.JSONL_TASKS)
    assert documents.read(full / "tokens.json") == tokens
    pairs = {f"{i} > {j}" for i in tiny.JSONL_TASKS for j in tiny.JSONL_TASKS if i != j}
    assert set(found["conflicts"]) == pairs
    for pair in found["conflicts"].values():
        assert 0 < pair["met"] <= found["steps"]
        assert pair["frequency"] == pair["negative"] / pair["met"]
        assert -1 <= pair["cosine"] <= 1
    for dataset in sources.resolve(tiny.JSONL_TASKS, data, {}):
        score = found["scores"][dataset.task.name]
        assert score["metric"] == dataset.task.metric
        assert score["dev"] == score["all"][dataset.task.metric]
        assert score["baselines"] == metrics.baselines(dataset.task, dataset.train, dataset.dev)
    assert found["digest"] == json.loads(newest(full).read_text())["digest"]


def newest(folder: Path) -> Path:
    return sorted((folder / "checkpoints").iterdir())[-1] / "manifest.json"


def test_the_scores_are_those_of_the_predictions_written(full, data):
    for dataset in sources.resolve(tiny.JSONL_TASKS, data, {}):
        task = dataset.task
        path = full / "predictions" / f"{task.name}.dev.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert [(row["id"], row["unit"]) for row in rows] == [(e.id, e.unit) for e in dataset.dev]
        assert [row["gold"] for row in rows] == [list(e.tags or e.labels) for e in dataset.dev]
        found = metrics.score(task, dataset.dev, [row["prediction"] for row in rows])
        assert found == result(full)["scores"][task.name]["all"]
        summed(full, task, "dev", found[task.metric])


def summed(folder: Path, task: Task, split: str, score: float) -> None:
    """The statistics beside the predictions have this score."""
    path = folder / "predictions" / f"{task.name}.{split}.units.json"
    about, held = units.from_json(path.read_text(), str(path))
    assert about.metric == task.metric
    assert units.value(about, held.values.sum(0)) == pytest.approx(score, abs=1e-12)


def test_the_directory_says_where_everything_comes_from(full, data, bert):
    config, env, about = (documents.read(full / f"{name}.json") for name in ("config", "env", "data"))
    assert config["hash"] == result(full)["identity"]
    assert config["identity"]["strategy"] == "s3b"
    must = env["must_match"]
    assert must["packages"]["torch"] == version("torch")
    assert must["threads"] == torch.get_num_threads()
    assert must["switches"]["deterministic"] is True
    assert must["hashes"]["config"] == config["hash"]
    assert len(must["canary"]) == 64
    assert set(about) == set(tiny.JSONL_TASKS)
    assert about["hoc"]["source"] == str(data / "hoc")
    assert about["hoc"]["train"]["examples"] == 24
    assert config["identity"]["data"]["hoc"]["train"] == about["hoc"]["train"]["sha256"]
    assert not [p for p in full.rglob("*") if ".tmp-" in p.name or p.suffix in (".pt", ".pkl", ".bin")]


def test_the_console_shows_scores_beside_baselines_and_the_log_the_same(full):
    text = (full.parent / "full.out").read_text()
    assert result(full)["digest"] in text
    assert "1,100 input tokens" in text
    for task in tiny.JSONL_TASKS:
        (row,) = [line for line in text.splitlines() if line.startswith(task + " ")]
        assert f"{result(full)['scores'][task]['dev']:.3f}" in row
    assert (full / "train.log").read_text().strip() == text.strip()


def test_running_a_finished_run_again_changes_nothing(go, full):
    before = contents(full)
    again = go(tasks=",".join(tiny.JSONL_TASKS), budget_tokens=1100, weighting="uncertainty", output_dir=full)
    assert again.code == 0
    assert "finished" in again.out
    assert result(full)["digest"] in again.out
    assert contents(full) == before


@pytest.mark.parametrize("engine", ["merged", "loop"])
def test_two_runs_give_the_same_digest_and_another_seed_another(go, out, engine):
    found = []
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        folder = out / f"{engine}-{name}"
        assert go(engine=engine, seed=seed, weighting="uncertainty", output_dir=folder).code == 0
        found.append(result(folder))
    one, two, three = found
    assert one["digest"] == two["digest"] != three["digest"]
    for document in (one, two):
        del document["training_seconds"], document["peak_memory_bytes"]  # of the process, not of the run
        files = document.pop("files")
        assert {"config.json", "metrics.jsonl", "tokens.json", "smoke.json", "export/ddi/head.json"} <= files.keys()
    assert one == two
    for folder in ("export", "predictions"):
        assert contents(out / f"{engine}-one" / folder) == contents(out / f"{engine}-two" / folder)
    assert contents(out / f"{engine}-one" / "export") == contents(out / f"{engine}-two" / "export")


def test_how_a_run_is_watched_never_changes_a_bit(go, out):
    digests = set()
    for i, watch in enumerate(
        (
            {},
            {"save_every_steps": 1},
            {"save_every_steps": 2, "quick_eval_examples": 4},
            {"quick_eval_examples": 100, "save_every_steps": 1, "device": "cpu", "threads": 1},
        )
    ):
        assert go(output_dir=out / f"watch{i}", weighting="uncertainty", **watch).code == 0
        digests.add(result(out / f"watch{i}")["digest"])
    assert len(digests) == 1


def test_the_size_of_micro_batches_that_a_run_chose_is_recorded_and_the_run_resumes_with_it(go, out):
    again = {"budget_tokens": 120_000, "micro_batch_tokens": None, "output_dir": out / "chosen"}
    assert go("--max-steps", 1, **again).code == 75
    settings = documents.read(out / "chosen" / "config.json")["identity"]
    assert settings["micro_batch_tokens"] == 256  # 120,000 tokens / 200 steps / 2 tasks
    assert go("--max-steps", 2, **again).code == 75
    other = go(**{**again, "micro_batch_tokens": 128})
    assert other.code == 4
    assert "micro_batch_tokens is 256 there and 128 now" in other.message


@pytest.mark.parametrize("sampling", ["proportional", "temperature"])
def test_random_sampling_draws_tasks_by_size_and_meets_the_budget(go, out, sampling):
    folder = out / sampling
    ended = go(sampling=sampling, micro_batches=1, tasks="bc5cdr_disease,ddi", output_dir=folder, budget_tokens=700)
    assert ended.code == 0, ended.err
    assert result(folder)["tokens"]["total"] == 700
    assert {line["tasks_in_step"] for line in steps(folder)} == {1}
    absent = [t for line in steps(folder) for t, v in line["weighted"].items() if v is None]
    assert set(absent) == {"bc5cdr_disease", "ddi"}


def test_a_preset_with_a_ranking_and_a_regression_task_from_tables(go, out):
    """Many kinds together, two of them mapped from `datasets` folders by a TOML file."""
    import datasets

    made, close = tiny.datasets()["answers"], tiny.datasets()["similarity"]
    datasets.disable_progress_bars()
    datasets.DatasetDict(
        {
            split: datasets.Dataset.from_dict(
                {"a": [e.texts[0][0] for e in part], "b": [e.texts[0][1] for e in part], "v": [e.value for e in part]}
            )
            for split, part in (("train", close.train), ("validation", close.dev))
        }
    ).save_to_disk(str(out / "values"))
    datasets.DatasetDict(
        {
            split: datasets.Dataset.from_dict(
                {
                    "q": [e.texts[0][0] for e in examples],
                    "c": [[second for _, second in e.texts] for e in examples],
                    "r": [[int(label == "relevant") for label in e.labels] for e in examples],
                }
            )
            for split, examples in (("train", made.train), ("validation", made.dev))
        }
    ).save_to_disk(str(out / "table"))
    preset = out / "six.toml"
    preset.write_text(
        'tasks = ["bc5cdr_disease", "ddi", "hoc", "pubmedqa", "answers", "similarity"]\n'
        f'[task.answers]\nsource = "{out / "table"}"\n'
        'kind = "ranking"\nlevel = 2\ncolumns = { query = "q", candidates = "c", relevance = "r" }\n'
        f'[task.similarity]\nsource = "{out / "values"}"\n'
        'kind = "regression"\nlevel = 2\ncolumns = { text = "a", text_pair = "b", label = "v" }\n'
    )
    folder = out / "six"
    ended = go("--config", preset, tasks=None, budget_tokens=700, output_dir=folder)
    assert ended.code == 0, ended.err
    assert result(folder)["tokens"]["total"] == 700
    assert set(result(folder)["scores"]["answers"]["all"]) == {"map", "mrr"}
    assert set(result(folder)["scores"]["similarity"]["all"]) == {"pearson", "spearman"}
    assert result(folder)["scores"]["similarity"]["baselines"] == {"mean": 0.0}
    about = json.loads((folder / "export" / "similarity" / "head.json").read_text())["task"]
    assert (about["mean"], about["std"]) == (close.task.mean, close.task.std)
    (path,) = (folder / "predictions").glob("similarity.*.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["gold"] for row in rows] == [e.value for e in close.dev]
    assert all(abs(row["prediction"] - close.task.mean) < 5 * close.task.std for row in rows)


def test_a_ranking_with_grades_trains_beside_another_task(go, out):
    import datasets

    answers = tiny.datasets()["answers"]
    datasets.disable_progress_bars()
    tables = {
        split: datasets.Dataset.from_dict(
            {
                "q": [e.texts[0][0] for e in examples],
                "c": [[second for _, second in e.texts] for e in examples],
                "r": [[(2 + i % 2) * (label == "relevant") for i, label in enumerate(e.labels)] for e in examples],
            }
        )
        for split, examples in (("train", answers.train), ("validation", answers.dev))
    }
    datasets.DatasetDict(tables).save_to_disk(str(out / "grades"))
    preset, folder = out / "graded.toml", out / "graded"
    preset.write_text(
        f'tasks = "ddi,answers"\n[task.answers]\nsource = "{out / "grades"}"\n'
        'kind = "graded"\nlevel = 2\ncolumns = { query = "q", candidates = "c", relevance = "r" }\n'
    )
    ended = go("--config", preset, tasks=None, budget_tokens=700, output_dir=folder)
    assert ended.code == 0, ended.err
    assert "answers: level 2 graded" in ended.out
    scores = result(folder)["scores"]["answers"]
    assert scores["metric"] == "ndcg"
    assert 0 < scores["dev"] <= 1
    (path,) = (folder / "predictions").glob("answers.dev.jsonl")
    first = json.loads(path.read_text().splitlines()[0])
    assert set(first["gold"]) <= {0, 2, 3}
    assert len(first["prediction"]) == len(first["gold"])


@pytest.mark.parametrize(
    ("targets", "without"),
    [("3.attention.self.query", "bc5cdr_disease"), ("0.attention.self.value", None)],
    ids=["above alone", "below alone"],
)
def test_a_level_may_have_no_adapter(go, out, warm, monkeypatch, targets, without):
    """Where the linears that are asked for all lie above the read-out layer, or below it, heads train all the same."""
    monkeypatch.setenv("MTLFN_CACHE", str(warm))
    folder = out / targets
    ended = go(lora_targets=targets, budget_tokens=200, output_dir=folder)
    assert ended.code == 0, ended.err
    whole = 2 * 24 * tiny.WIDTH
    # rows of level 2 pass the linears below, too
    assert result(folder)["parameters"]["active_adapter"] == {
        task: 0 if task == without else whole for task in ("bc5cdr_disease", "ddi")
    }
    assert go(lora_targets=targets, budget_tokens=200, output_dir=folder).code == 0
    assert len(mtlfn.load(folder, "bc5cdr_disease", device="cpu")(["the patient had asthma"])) == 1


@pytest.mark.parametrize(("fusion", "said"), [("sum", "(PEFT adapters)"), ("gated", "(adapters with gated fusion, ")])
def test_the_end_says_whose_adapters_it_left(usual, out, capfd, fusion, said):
    folder = out / fusion
    settings = {**usual, "fusion": fusion, "budget_tokens": 60, "output_dir": folder}
    assert main("s3a", "A test.", ["--skip-smoke-test", *words(settings)]) == 0
    assert f"export/<task>/ {said}" in capfd.readouterr().out
    assert (folder / "export/ddi/adapter_config.json").is_file() == (fusion == "sum")


def test_the_banner_promises_a_budget_only_where_nothing_ends_the_run_before(go, out):
    assert "schedule  60 input tokens exactly · learning rate" in go(budget_tokens=60, output_dir=out / "exactly").out
    early = {"max_epochs": 6, "patience": 1, "learning_rate": 1e-12, "budget_tokens": None, "micro_batch_tokens": 512}
    ended = go(**early, output_dir=out / "early")
    assert re.search(r"schedule  up to [\d,]+ input tokens \(6 epochs\), fewer where --patience 1 runs out", ended.out)
    assert "tokens exactly" not in ended.out


def test_a_decoder_runs_too(go, llama, out):
    folder = out / "decoder"
    ended = go(backbone=llama, budget_tokens=400, output_dir=folder)
    assert ended.code == 0, ended.err
    assert result(folder)["tokens"]["total"] == 400


def test_a_loss_that_is_not_finite_several_times_stops_the_run_with_a_checkpoint(go, out, monkeypatch):
    from mtlfn.models import heads

    loss = heads.loss_sum
    monkeypatch.setattr(heads, "loss_sum", lambda *args: loss(*args) * math.nan)
    folder = out / "nan"
    ended = go(output_dir=folder, budget_tokens=2000)
    assert ended.code == 1
    assert "not finite in 5 steps in a row" in ended.message
    assert "--learning-rate" in ended.message
    assert "--learning-rate" in (folder / "train.log").read_text()
    assert len(steps(folder)) == 5
    assert steps(folder)[-1]["nonfinite"] == 5
    assert not (folder / "result.json").exists()
    assert newest(folder).parent.name == "step-00000005"

    whole = out / "nan-to-the-end"
    for _ in range(2):  # nor does a run end well whose budget is met in that very step
        ended = go(output_dir=whole, budget_tokens=steps(folder)[-1]["tokens"])
        assert (ended.code, len(steps(whole))) == (1, 5)
        assert "not finite in 5 steps in a row" in ended.message
        assert not (whole / "result.json").exists()


def test_any_weighting_of_torchjd_trains_and_resumes(go, out):
    flags = {"gradients": "torchjd:UPGrad", "budget_tokens": 600, "lora_dropout": 0.2}
    whole, folder = out / "upgrad-whole", out / "upgrad"
    ended = go(**flags, output_dir=whole)
    assert ended.code == 0, ended.err
    assert "mtlfn s3b · torchjd:UPGrad" in ended.out
    assert go(**flags, output_dir=folder, max_steps=2).code == 75
    assert go(**flags, output_dir=folder).code == 0
    assert result(folder)["digest"] == result(whole)["digest"]
    assert result(whole)["conflicts"] == result(folder)["conflicts"] != {}


def test_another_gradient_method_is_refused_before_anything_is_read(go, out):
    ended = go(gradients="torchjd:GradVac", output_dir=out / "gradvac", data_dir=out / "nowhere")
    assert ended.code == 2
    assert "--gradients torchjd:GradVac: TorchJD has no weighting 'GradVac' that could be used" in ended.message
