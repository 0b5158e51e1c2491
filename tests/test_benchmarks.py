"""The benchmarks, tiny: they end, what they compare is equal, and where it is not they say so; no time is tested."""

from __future__ import annotations

import importlib
import json
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


# Memory and start-up


@pytest.mark.slow
def test_the_memory_of_every_variant_in_one_table(tmp_path, monkeypatch, capsys):
    """In this process, where a peak says nothing about one variant; the real script gives each its own."""
    memory, ran = script("bench_memory"), []
    tiny = {"hidden_size": 32, "intermediate_size": 64, "heads": 4, "keys": 2}
    monkeypatch.setattr(memory, "SHAPES", {"llama-1b": (tiny, 10)})

    def variant(asked, layers, engine, recompute, precision):
        asked.one, asked.engine, asked.recompute, asked.precision = layers, engine, recompute, precision
        ran.append((layers, engine, recompute, precision))
        return memory.one(asked) | {"megabytes": 100.0 * layers}

    monkeypatch.setattr(memory, "variant", variant)
    flags = "--layers", "2,4", "--size", "2x8", "--tasks", "5", "--threads", "1", "--precisions", "fp32,bf16"
    found = figures("bench_memory", tmp_path, *flags)["figures"]
    assert len(set(ran)) == len(ran) == 2 * 2 * 2 * 2
    assert len(found) == 8
    for cells in found.values():
        assert cells["2"]["tokens"] > 0
        assert cells["2"]["seconds"] > 0
        assert cells["all"]["megabytes"] == 1000.0
    assert "fp32, loop, recomputed" in capsys.readouterr().out


def test_a_variant_is_measured_in_a_process_of_its_own(monkeypatch):
    memory, ran = script("bench_memory"), []

    def run(command, **_):
        ran.append(command)
        return SimpleNamespace(stdout='a word\n{"megabytes": 1.0}\n')

    monkeypatch.setattr(memory.subprocess, "run", run)
    asked = SimpleNamespace(shape="llama-1b", size="4x128", tasks=5, threads=2)
    assert memory.variant(asked, 2, "loop", True, "bf16") == {"megabytes": 1.0}
    assert " ".join(ran[0][2:]) == (
        "--one 2 --engine loop --precision bf16 --recompute --shape llama-1b --size 4x128 --tasks 5 --threads 2"
    )


@pytest.mark.slow
def test_the_start_in_one_round(tmp_path, bert, data, cache, monkeypatch):  # noqa: F811
    startup = script("bench_startup")
    monkeypatch.setattr(startup, "COMMANDS", ("mtlfn.verdict",))
    run = {"--backbone": bert, "--data-dir": data, "--cache-dir": cache, "--tasks": "ddi", "--budget-tokens": 2000}
    flags = [str(part) for option in run.items() for part in option]
    written = tmp_path / "figures.json"
    startup.main(["--rounds", "1", "--json", str(written), "--", *flags, "--skip-smoke-test", "--threads", "1"])
    found = json.loads(written.read_text())
    assert positive(found)
    loaded, resumed, step = (found[f"second start, {n}"] for n in ("loaded", "checked and resumed", "first step done"))
    assert loaded <= resumed <= step


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
