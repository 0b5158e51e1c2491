"""The benchmarks, tiny: they end, what they compare is equal, and where it is not they say so; no time is tested."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from tests.run.test_study_nodes import side_by_side
from tests.tiny import bert, cache, data, tiny_folder  # noqa: F401 - fixtures

SCRIPTS = Path(__file__).parent.parent / "scripts"
SMALL = ("--rounds", "1", "--shapes", "2x8")


@pytest.fixture(scope="module", autouse=True)
def _scripts():
    """The folder of the scripts, as Python finds it when one of them is run."""
    sys.path.insert(0, str(SCRIPTS))
    yield
    sys.path.remove(str(SCRIPTS))


@pytest.fixture(autouse=True)
def _as_found():
    filled = torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.utils.deterministic.fill_uninitialized_memory = filled


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


def figures(name: str, folder: Path, *flags: str) -> dict:
    """What a benchmark writes as JSON."""
    script(name).main([*flags, "--json", str(folder / "figures.json")])
    return json.loads((folder / "figures.json").read_text())


def positive(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(positive, value.values()))
    return value > 0


# The parts


def test_ratios_are_taken_within_a_round():
    parts = script("bench_parts")
    assert parts.ratio([1.0, 20.0, 3.0], [2.0, 10.0, 3.0]) == 1.0  # of 0.5, 2 and 1; of the medians: 3 / 3
    assert parts.ratio([1.0, 20.0, 9.0], [2.0, 10.0, 3.0]) == 2.0
    assert parts.fastest({"a": [1.0, 5.0], "b": [2.0, 4.0], "c": [0.0, 0.0]}, ["a", "b"]) == [1.0, 4.0]


def test_candidates_take_turns_and_the_first_round_does_not_count():
    calls = []
    seconds = script("bench_parts").interleaved({n: lambda n=n: calls.append(n) for n in "ab"}, 2)
    assert calls == list("ababab")
    assert {name: len(times) for name, times in seconds.items()} == {"a": 2, "b": 2}


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ({"x": torch.ones(3) * 1.01}, "is off by"),
        ({"x": torch.full((3,), torch.nan)}, "is off by"),
        ({"x": torch.ones(1, 3)}, "has shape"),
        ({"y": torch.ones(3)}, "tensors differ"),
    ],
)
def test_a_difference_ends_the_script(theirs, words):
    parts = script("bench_parts")
    with pytest.raises(parts.Mismatch, match=words) as caught:
        parts.check_equal("a gradient", {"x": torch.ones(3)}, theirs)
    assert isinstance(caught.value.code, str)  # printed, and the exit code is 1


def test_only_zeros_compare_nothing():
    parts = script("bench_parts")
    with pytest.raises(parts.Mismatch, match="compares nothing"):
        parts.check_equal("a gradient", {"x": torch.zeros(3)}, {"x": torch.zeros(3)})


# Against the plain step


@pytest.mark.slow
def test_the_step_in_one_round(tmp_path):
    found = figures("bench_step", tmp_path, "--rounds", "1", "--shapes", "4x8", "--many", "10")["figures"]["4x8"]
    assert positive(found)
    names = "plain merged", "plain accumulated", "merged, sum", "merged, pcgrad", "loop, pcgrad", "pcgrad, 10 tasks"
    assert {name for name in found if "ratio" in name} == {f"{name} (ratio)" for name in names}
    assert "10 / 5 tasks" in found


def test_tasks_that_rows_cannot_be_dealt_out_to_are_refused():
    with pytest.raises(SystemExit, match="--many 3"):
        script("bench_step").measure(2, 8, 5, 1, 3)


# Against TorchJD


@pytest.fixture(scope="module")
def net():
    """A network of TorchJD's side."""
    torch.use_deterministic_algorithms(True)
    return script("bench_torchjd").network(script("bench_parts").problem(2, 8, 5), "eager")


@pytest.mark.slow
def test_torchjd_in_one_round(tmp_path):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*batching rule")  # as the script says
        found = figures("bench_torchjd", tmp_path, *SMALL)["figures"]["2x8"]
    assert positive(found["seconds"])
    assert found["ratio"]["fastest of all"] >= found["ratio"]["fastest mtl_backward"] > 0


def test_every_way_to_torchjds_gradients_gives_ours(net):
    torchjd = script("bench_torchjd")
    assert set(torchjd.check(net)) == set(torchjd.WAYS)


@pytest.mark.parametrize("place", ["lower", "upper", "head"])
def test_a_broken_gradient_of_torchjds_side_is_noticed(net, place):
    torchjd = script("bench_torchjd")

    def broken(net, chunk):
        torchjd.task_by_task(net, chunk)
        if place == "head":
            next(iter(net.heads["task3"].values())).grad *= 1.01
        else:
            next(iter(getattr(net, place).values())).jac[-1] *= 1.01

    with pytest.raises(script("bench_parts").Mismatch, match="is off by"):
        torchjd.check(net, {"broken": (broken, None)})
    for p in net.parameters:
        p.grad = None
        if hasattr(p, "jac"):
            del p.jac


def test_a_level_1_task_that_trains_the_upper_layers_is_noticed(net):
    torchjd = script("bench_torchjd")

    def leaking(net, chunk):
        torchjd.by_backward(net, chunk)
        next(iter(net.upper.values())).jac[0] += 1.0

    with pytest.raises(script("bench_parts").Mismatch, match="a level-1 task has a gradient"):
        torchjd.check(net, {"leaking": (leaking, None)})
    for p in net.parameters:
        p.grad = None
        if hasattr(p, "jac"):
            del p.jac


# Against the Trainer


def trainer_flags(folder: Path, data: Path, task: str) -> list[str]:  # noqa: F811
    flags = ["--data-dir", str(data), "--cache-dir", str(folder), "--micro-batch-tokens", "64", "--steps", "1"]
    return [*flags, "--rounds", "1", "--task", task]


@pytest.mark.parametrize("task", ["bc5cdr_disease", "ddi"])
@pytest.mark.slow
def test_the_trainer_in_one_round(tmp_path, data, task):  # noqa: F811
    several = "bc5cdr_disease,ddi" if task == "ddi" else "none"
    found = figures("bench_trainer", tmp_path, *trainer_flags(tmp_path, data, task), "--multi-tasks", several)
    found = found["figures"]
    assert found["error"] < 1e-3
    assert positive(found["tokens/s"])
    assert positive(found["ratio"])
    assert ("s3b, pcgrad / s3b, sum" in found["ratio"]) == (task == "ddi")
    assert all(0 < share <= 1 for share in found["filled"].values())


def test_a_broken_gradient_of_the_trainers_model_is_noticed(tmp_path, data, monkeypatch):  # noqa: F811
    trainer = script("bench_trainer")
    forward = trainer.Network.forward
    # Padding that is attended to: the one thing that a wrong collator would get wrong without an error.
    monkeypatch.setattr(
        trainer.Network,
        "forward",
        lambda self, attention_mask, **others: forward(self, attention_mask=torch.ones_like(attention_mask), **others),
    )
    with pytest.raises(script("bench_parts").Mismatch, match="gradient of the Trainer's model"):
        trainer.main([*trainer_flags(tmp_path, data, "bc5cdr_disease"), "--multi-tasks", "none"])


# Against the bare products


@pytest.mark.slow
def test_the_floor_in_one_round(tmp_path):
    found = figures("bench_floor", tmp_path, *SMALL)["figures"]["2x8"]
    assert found["products"] > 100
    assert found["step (s)"] > 0
    assert found["products (s)"] > 0
    assert "aten::gelu_backward" in found["rest (ms)"]
    assert "aten::mm" not in found["rest (ms)"]


def test_the_recorder_sees_every_product_forward_and_backward():
    floor = script("bench_floor")
    weight = torch.randn(3, 4, requires_grad=True)

    def step():
        (torch.randn(5, 4, requires_grad=True) @ weight.T).sum().backward()

    products = floor.record(step)
    assert [(p.left.shape, p.right.shape) for p in products] == [((5, 4), (4, 3)), ((3, 5), (5, 4)), ((5, 3), (3, 4))]
    assert products[0].right.strides == (1, 4)  # a transposed view stays one
    assert [p.flops for p in products] == [120, 120, 120]


def test_a_product_that_was_not_recorded_is_noticed():
    floor = script("bench_floor")
    first, second = torch.randn(5, 4), torch.randn(4, 3)
    products = floor.record(lambda: first @ second)
    with pytest.raises(script("bench_parts").Mismatch, match="torch counts 240"):
        floor.check(products, lambda: (first @ second, first @ second))


def test_attention_is_two_products_forward_and_four_backward():
    floor = script("bench_floor")
    query = torch.randn(2, 3, 5, 4, requires_grad=True)
    attend = torch.nn.functional.scaled_dot_product_attention
    products = floor.record(lambda: attend(query, query, query).sum().backward())
    assert [p.attention for p in products] == [True] * 6
    assert [p.flops for p in products] == [2 * 6 * 5 * 5 * 4] * 6
    floor.bare(products)()  # their shapes fit


# Precision, profile, and all of it on a GPU

TINY = ("--model", "bert-tiny")


@pytest.mark.parametrize("model", ["bert-tiny", "llama-tiny"])
def test_the_precisions_in_one_round(tmp_path, model):
    found = figures("bench_precision", tmp_path, *SMALL, "--model", model, "--threads", "1")["figures"]["2x8"]
    assert set(found["bf16 / fp32"]) == {"step", "step without padding", "prediction"}
    assert positive({name: value for name, value in found.items() if name != "computed in"})


def test_rows_of_unequal_lengths_have_padding_and_their_tokens_are_counted():
    parts, precision = script("bench_parts"), script("bench_precision")
    problem = parts.problem(4, 16, 5, setup=script("bench_setup").Setup(model="bert-tiny"))
    batch = precision.ragged(problem, 4, 16)
    assert batch.tokens.padded == 5 * 4 * 16
    assert batch.tokens.input == sum(int(m.inputs.lengths.sum()) for m in batch.micro_batches) < batch.tokens.padded


def test_the_profile_of_one_step(tmp_path):
    found = figures("profile_step", tmp_path, "--shapes", "2x8", "--steps", "1", *TINY)["figures"]["2x8"]
    assert found["operations"] > 1000
    assert found["waits"] == {}
    assert "aten::mm" in found["costs (ms)"]


def test_a_device_that_is_not_there_ends_a_benchmark():
    with pytest.raises(SystemExit, match="CUDA devices are available"):
        script("bench_step").main([*SMALL, "--device", "cuda:99"])


def test_the_busy_time_of_a_gpu_counts_what_overlaps_once():
    def event(start: float, end: float, name: str = "kernel") -> SimpleNamespace:
        span = SimpleNamespace(start=start, end=end)
        return SimpleNamespace(device_type="DeviceType.CUDA", time_range=span, name=name)

    averages = [SimpleNamespace(key=key, self_cpu_time_total=2000) for key in ("aten::mm", "cudaDeviceSynchronize")]
    events = [event(0, 1000), event(500, 1500), event(3000, 4000, "Memcpy HtoD")]
    profiled = SimpleNamespace(events=lambda: events, key_averages=lambda: averages)
    found = script("profile_step").on_gpu(profiled, 0.005, 1)
    assert found["launches"] == 3
    assert found["busy (ms)"] == 2.5
    assert found["gaps (ms)"] == 2.5
    assert found["host, in torch (ms)"] == 2
    assert found["copied by kind"] == {"Memcpy HtoD": 1}


def test_the_table_tells_figures_failures_and_what_had_no_time(tmp_path):
    lines = [
        "step-minilm\tok\t3",
        "trainer-bert\tfailed (1): no such thing\t2",
        "tests\tok\t9",
        "data\tno time left\t0",
    ]
    (tmp_path / "parts.tsv").write_text("\n".join(lines) + "\n")
    (tmp_path / "tests.log").write_text("....\n=== 77 passed in 3.0s ===\n\n")
    figures("bench_step", tmp_path, "--rounds", "1", "--shapes", "2x8", *TINY)
    (tmp_path / "figures.json").rename(tmp_path / "step-minilm.json")
    table = script("gpu_table")
    (step, trainer, tests, rest) = table.rows(tmp_path)
    assert step[:3] == ("step-minilm", "PCGrad / fastest plain step, 2x8", "≤ 1.05")
    assert float(step[3].partition(" ")[0]) > 0
    assert trainer == ("trainer-bert", "failed (1): no such thing", "", "2 s")
    assert tests[1] == "77 passed in 3.0s"
    assert rest[1] == "no time left"
    assert "processor" in table.table(tmp_path)
    (tmp_path / "parts.tsv").write_text("step-minilm\tstopped after 60 s\t60\ndata\tok\t70\nfloor-minilm\tok\t4\n")
    (tmp_path / "floor-minilm.json").write_text('{"machine": {}, "figures": {"2x8": {}}}')
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "result.json").write_text('{"scores": {"ddi": {"metric": "micro_f1", "dev": 0.5}}}')
    (tmp_path / "data.log").write_text("the page of the run is there\n")
    found = [row[1:] for row in table.rows(tmp_path)]
    assert found[0] == step[1:], "what was written before it was stopped"
    assert found[1:4] == [
        ("stopped after 60 s", "", "60 s"),
        ("micro_f1 of ddi, dev", "", "0.500"),
        ("the page of the run is there", "", "70 s"),
    ]
    assert found[4][0].startswith("floor-minilm.json cannot be read: KeyError")


def test_the_table_tells_what_a_card_holds():
    found = {"weights (GB)": 13.21, "step, a token (kB)": 1234.5, "tokens of a step that fit": 20000}
    ((_, _, said),) = script("gpu_table").READERS["memory"]({"too short": {}, "llama-7b": found})
    assert said == "13.2 GB of weights, 1,234 kB a token, 20,000 tokens fit"


GPU = ["bash", str(SCRIPTS / "gpu.sh")]


def on_gpu(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHON"}
    return subprocess.run(
        [*GPU, str(folder)], env={**kept, "PYTHON": sys.executable, **env}, capture_output=True, text=True
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_without_a_card_the_script_says_so_in_one_line(tmp_path):
    ended = on_gpu(tmp_path / "out")
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith("gpu.sh: torch")
    assert "DEVICE=cpu SMALL=1" in ended.stderr


@pytest.mark.slow
def test_a_part_that_fails_or_has_no_time_does_not_stop_the_others(tmp_path):
    ended = on_gpu(tmp_path, DEVICE="cpu", SMALL="1", PARTS="floor-minilm data", DATA="/nowhere", SECONDS_IN_ALL="60")
    assert ended.returncode == 0, ended.stderr
    parts = [line.split("\t") for line in (tmp_path / "parts.tsv").read_text().splitlines()]
    assert [name for name, *_ in parts] == ["data", "floor-minilm"]
    assert parts[0][1].startswith(("failed (2): ", "no time left"))
    assert (tmp_path / "table.md").read_text() in ended.stdout
    none = on_gpu(tmp_path, DEVICE="cpu", SMALL="1", PARTS="floor", SECONDS_IN_ALL="1")
    assert "| floor-minilm | no time left |" in none.stdout


def test_what_the_page_tells_to_run_is_there():
    page = (SCRIPTS.parent / "docs" / "on-a-gpu.md").read_text()
    said = (SCRIPTS / "gpu.sh").read_text()
    commands = [line for block in re.findall(r"```bash\n(.*?)```", page, re.S) for line in block.splitlines()]
    assert len(commands) >= 6
    for command in commands:
        words = shlex.split(command)
        assert all(f"{word.partition('=')[0]}" in said for word in words if "=" in word)
        (path,) = [word for word in words if "/" in word]
        assert (SCRIPTS.parent / path).exists()
        if path.endswith(".py"):
            flags = words[words.index(path) + 1 :]
            with pytest.raises(SystemExit) as caught:
                script(Path(path).stem).main([*flags, "--help"])
            assert caught.value.code == 0
    for part in re.findall(r"^\| (`[a-z`, ]+`) \|", page, re.M):
        assert all(re.search(rf"^ *(part|bench) {name}\b", said, re.M) for name in re.findall(r"`(\w+)`", part))


# Memory and start-up


def test_the_bytes_of_tensors_are_counted_while_they_live():
    memory = script("bench_memory")
    there = torch.zeros(100)
    with memory.Live(torch.device("cpu"), [there]) as live:
        there.add_(1).view(10, 10).t()  # nothing new
        assert (live.now, live.most) == (0, 0)
        made = there * 2
        part = made[:3]
        assert live.now == live.most == 400
        del made
        assert live.now == 400  # a view holds all of it
        more = torch.ones(50, dtype=torch.bfloat16) + 1  # two of 100 bytes, of which one goes at once
        assert (live.now, live.most) == (500, 600)
        del part, more
        assert (live.now, live.most) == (0, 600)


def test_memory_is_a_line_through_the_corners():
    memory = script("bench_memory")
    found = {
        (layers, rows): memory.Held(
            weights=1, state=1, gradients=7 + 5 * layers + 3 * t + 2 * layers * t, rest=1, allocated=None, tokens=t
        )
        for layers, rows in memory.CORNERS
        for t in [rows * 40]
    }
    line = memory.through(found, lambda each: each.gradients)
    assert line.at(12, 1000) == pytest.approx(7 + 60 + 3000 + 24000)


@pytest.mark.slow
def test_the_memory_of_every_variant_in_one_table(tmp_path, capsys):
    flags = (
        "--models",
        "bert-tiny,llama-tiny",
        "--width",
        "64",
        "--threads",
        "1",
        "--precisions",
        "fp32,bf16",
        "--whole",
    )
    found = figures("bench_memory", tmp_path, *flags)["figures"]
    assert len(found) == 2 * 2 * 2 * 2
    for name, cells in found.items():
        assert abs(cells["off, one larger"]) < 0.15, name
        assert cells["tokens of a step that fit"] > 0
    kept = [found[f"llama-tiny, fp32, {way}"]["step, a token (kB)"] for way in ("merged", "merged+checkpointing")]
    assert kept[0] > kept[1]
    assert "llama-tiny, bf16, loop+checkpointing" in capsys.readouterr().out


@pytest.mark.slow
def test_the_start_in_one_round(tmp_path, bert, data, cache, monkeypatch):  # noqa: F811
    startup = script("bench_startup")
    monkeypatch.setattr(startup, "MODULES", ("mtlfn.verdict",))
    run = {"--backbone": bert, "--data-dir": data, "--cache-dir": cache, "--tasks": "ddi", "--budget-tokens": 2000}
    flags = [str(part) for option in run.items() for part in option]
    written = tmp_path / "figures.json"
    startup.main(["--rounds", "1", "--json", str(written), "--", *flags, "--skip-smoke-test", "--threads", "1"])
    found = json.loads(written.read_text())
    assert positive(found)
    loaded, resumed, step = (found[f"second start, {n}"] for n in ("loaded", "checked and resumed", "first step done"))
    assert loaded <= resumed <= step


@pytest.mark.slow
def test_the_costs_of_exactness_in_one_round(tmp_path, bert, data, cache, capsys):  # noqa: F811
    costs = script("bench_costs")
    run = {"--backbone": bert, "--data-dir": data, "--cache-dir": cache, "--tasks": "ddi", "--budget-tokens": 500}
    flags = [str(part) for option in run.items() for part in option]
    costs.main(["--megabytes", "3", "--rounds", "1", "--folder", str(tmp_path), "--", *flags, "--skip-smoke-test"])
    said = capsys.readouterr().out
    assert "a state of 2 MB" in said or "a state of 3 MB" in said
    for name in ("save / plain", "load / plain", "checkpoints and ledger", "evaluations", "the first three"):
        assert re.search(rf"{name} +[0-9.]+", said), name
    with pytest.raises(SystemExit):
        costs.main(["--megabytes", "2"])


@pytest.mark.slow
def test_harm_to_a_file_of_a_study_is_seen(capsys):
    assert script("tamper").main(["--runs", "seed-0/multi", "--only", "result.json"]) == 0
    said = capsys.readouterr().out
    assert re.search("refused +[1-9]", said)
    assert re.search(r"replay --all forged: refused +1\b", said)


def test_a_start_that_fails_ends_the_script(tmp_path):
    startup = script("bench_startup")
    with pytest.raises(SystemExit, match="the run ended with 2"):
        startup.started(tmp_path / "run", ["--tasks", "nothing"], 1)


@pytest.mark.slow
def test_the_memory_of_made_up_data_in_one_round(tmp_path, bert, monkeypatch, capsys):  # noqa: F811
    memory = script("bench_memory_data")
    monkeypatch.setattr(memory, "HELD_OUT", 4)
    monkeypatch.setattr(memory, "BUDGET", 200)
    small = ("--tasks", "hoc", "--examples", "30", "--", "--backbone", str(bert), "--threads", "1")
    written = tmp_path / "figures.json"
    memory.main(["--json", str(written), "--most", "100000", *small])
    found = json.loads(written.read_text())["tasks"]["hoc"]["30"]
    assert list(found) == ["first start", "second start", "data check"]
    assert positive(found)
    assert "hoc                     30  data check" in capsys.readouterr().out


@pytest.mark.parametrize("task", ["bc5cdr_disease", "ddi", "hoc", "pubmedqa"])
def test_made_up_data_are_read_and_short(tmp_path, task):
    from mtlfn.data import windows
    from mtlfn.data.tables import jsonl
    from mtlfn.data.task import check

    script("bench_memory_data").write(tmp_path, task, 20)
    made = check(jsonl.read(tmp_path / task, task))
    assert len(made.train) == 20
    assert all(10 <= sum(len(windows.words(t)) for t in e.texts[0] if t) <= 20 for e in made.train)


def test_the_peak_is_that_of_the_command_and_too_high_a_one_ends_the_script(tmp_path, monkeypatch):
    memory = script("bench_memory_data")

    def holding(megabytes: int) -> list[str]:
        return [sys.executable, "-c", f"held = bytearray({megabytes} * 2**20); held[::4096] = held[::4096]"]

    assert memory.measured(holding(1500))["megabytes"] > 1500
    monkeypatch.setattr(memory, "commands", lambda *_: {"all": holding(200)})
    with pytest.raises(SystemExit, match="expected 100 at most"):
        memory.main(["--tasks", "hoc", "--examples", "2", "--most", "100"])
    with pytest.raises(SystemExit, match="ended with 3"):
        memory.measured([sys.executable, "-c", "raise SystemExit(3)"])


def test_a_plan_is_measured(tmp_path):
    made = figures("bench_jobs", tmp_path, "plan", "--nodes", "50")
    assert made.pop("memory, MB") >= 0
    assert positive(made)
    assert len(script("bench_jobs").graph(50)) == 50


@pytest.mark.slow
@side_by_side
def test_nodes_are_measured_and_end_in_the_same_digests_each_way(tmp_path):
    assert positive(figures("bench_jobs", tmp_path, "nodes", "--nodes", "5"))
