"""The flat strategies: S1, S2, and S3a with its three fusions, in both engines and against their formulas."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import attrs
import pytest
import torch
from torch import Tensor

from mtlfn.core import combine, gradients, keys, state
from mtlfn.core import step as stepping
from mtlfn.core.gradients import ENGINES
from mtlfn.core.schedule import Schedule
from mtlfn.models import lora, model, split
from mtlfn.models.strategy import S1, S2, S3A, S3B
from tests import tiny
from tests.models.test_engines import EQUAL, KEY, TASKS, distance, flat, in_float64, module_bytes, storages, whole

FUSIONS = ("sum", "gated", "attention")
STRATEGIES = {"s2": S2, **{f"s3a {f}": attrs.evolve(S3A, fusion=f) for f in FUSIONS}}
SIZES = (("spans", 2), ("spans", 3), ("mentions", 2), ("ddi", 2), ("ddi", 4), ("answers", 2))


def world_of(folder, cache, strategy, tasks=TASKS, dropout=0.2):
    built, corpora = tiny.build(folder, cache, tasks, strategy=strategy, settings={"dropout": dropout})
    params = tiny.stirred(model.init_params(built, tiny.KEY))
    return SimpleNamespace(built=built, corpora=corpora, params=params, loss=tiny.loss_of(built))


@pytest.fixture(scope="module")
def worlds(bert, cache):
    return {name: world_of(bert, cache, strategy) for name, strategy in STRATEGIES.items()}


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_engines_agree_with_each_other_and_with_a_float64_copy(worlds, name):
    world = worlds[name]
    batch = tiny.batch(world.corpora, *SIZES)
    loop, merged = (ENGINES[e](world.loss, world.params, world.built.reach, batch, KEY, EQUAL) for e in ENGINES)
    exact = in_float64(world, batch)
    assert flat(loop).keys() == flat(merged).keys() == flat(exact).keys()
    assert whole(exact).norm() > 0.1
    for path, rows in flat(exact).items():
        for found in (flat(loop)[path], flat(merged)[path]):
            assert float((found - rows).norm()) <= 1e-3 * float(rows.norm()) + 1e-6 * float(whole(exact).norm()), path
    assert distance(whole(loop), whole(exact)) < 1e-5
    assert distance(whole(merged), whole(exact)) < 1e-5


@pytest.mark.parametrize("folder", ["bert", "llama"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_step_of_s3a_is_pure_and_repeats_on_encoder_and_decoder(request, cache, folder, fusion):
    tasks = ("spans", "ddi", "answers")
    world = world_of(request.getfixturevalue(folder), cache, attrs.evolve(S3A, fusion=fusion), tasks)
    config = stepping.StepConfig(schedule=Schedule(peak=3e-3, schedule_tokens=5000))
    for engine in ENGINES:
        run = stepping.build(attrs.evolve(config, engine=ENGINES[engine]), world.loss, world.built.reach)
        current = state.init(tiny.KEY, world.params, tasks)
        batch = tiny.batch(world.corpora, ("spans", 3), ("ddi", 2), ("answers", 4))
        was, module, generators = state.digest(current), module_bytes(world.built), tiny.generators()
        after, again = run(current, batch), run(current, batch)
        assert state.digest(after) == state.digest(again) != was == state.digest(current)
        assert not storages(after) & storages(current)
        assert module_bytes(world.built) == module
        assert tiny.generators() == generators
        for slot, tensors in after.params.items():
            moved = [n for n, v in tensors.items() if not torch.equal(v, world.params[slot][n])]
            assert set(moved) == set(tensors), slot


def test_pcgrad_meets_all_tasks_in_the_shared_slot_and_none_in_private_ones(worlds):
    for name in STRATEGIES:
        world = worlds[name]
        batch = tiny.batch(world.corpora, *SIZES)
        found = gradients.merged(world.loss, world.params, world.built.reach, batch, KEY, EQUAL)
        by_tasks = {
            g.tasks: {slot for slot, _ in g.paths} for g in combine.group(found, world.built.reach, batch.present)
        }
        assert by_tasks.pop(batch.present) == {"shared"}
        own = {t: {f"head/{t}"} | ({f"private/{t}"} if name != "s2" else set()) for t in batch.present}
        assert by_tasks == {(t,): slots for t, slots in own.items()}


def test_private_tensors_change_the_loss_of_their_own_task_and_of_no_other(worlds):
    for fusion in FUSIONS:
        world = worlds[f"s3a {fusion}"]
        batch = tiny.batch(world.corpora, *((task, 2) for task in TASKS))
        for values in world.params.values():
            for value in values.values():
                value.requires_grad_()
        base = model.losses(world.built, world.params, batch, KEY)
        for task in TASKS:
            slot = f"private/{task}"
            own = world.params[slot]
            slopes = torch.autograd.grad(base[task], list(own.values()), retain_graph=True)
            assert all(map(torch.any, slopes)), task
            with torch.no_grad():
                moved = {
                    name: value + keys.normal(keys.fold(KEY, name), value.shape, 0.3) for name, value in own.items()
                }
                after = model.losses(world.built, {**world.params, slot: moved}, batch, KEY)
            assert {t for t in TASKS if not torch.equal(base[t], after[t])} == {task}


# The products


def random(*shape: int, name: str = "") -> Tensor:
    return keys.normal(keys.fold(KEY, name, *shape), shape, 1.0).double()


@pytest.mark.parametrize("own", [torch.zeros(0), torch.eye(3).repeat_interleave(torch.tensor([2, 0, 7]), 0)])
def test_every_tasks_rows_meet_its_own_matrix_and_gradients_are_those_of_autograd(own):
    x, weights, bounds = random(1, 9, 4), random(3, 5, 4), (0, 2, 2, 9)
    x.requires_grad_()
    weights.requires_grad_()
    out = split.SeparateWeights.apply(x, weights, bounds, own.bool())
    expected = torch.cat([x[:, a:b] @ w.T for w, a, b in zip(weights, bounds, bounds[1:], strict=False)], 1)
    torch.testing.assert_close(out, expected)
    seed = random(1, 9, 5, name="seed")
    found, wanted = (torch.autograd.grad(y, (x, weights), seed) for y in (out, expected))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)
    assert not found[1][1].any()  # a task without rows


@pytest.mark.parametrize("fusion", FUSIONS)
def test_fusion_is_its_formula_at_every_position_and_the_sum_at_the_start(fusion):
    """The update of one linear against the formula, written out position by position with its own loop."""
    strategy = attrs.evolve(S3A, fusion=fusion)
    tasks, ranks = 2, lora.rank_of(strategy)
    part = split.install(torch.nn.Linear(ranks, 6, bias=False).double(), split.SeparateLinear)
    if fusion != "sum":
        lora._fuse(part, strategy)
    part.register_buffer("bounds", torch.tensor([0, 3, 7]))
    u, b = random(1, 7, ranks), random(tasks, 6, ranks)
    zero = {name: torch.zeros(tasks, *shape).double() for name, shape in lora.fusion_shapes(strategy).items()}
    set_to = {name: random(*value.shape, name=name) for name, value in zero.items()}

    def formula(fused: dict[str, Tensor]) -> Tensor:
        rows = []
        for n in range(7):
            t = 0 if n < 3 else 1
            shared, private = u[0, n, :16], u[0, n, 16:]
            first, second = b[t][:, :16] @ shared, b[t][:, 16:] @ private
            if fusion == "gated":
                second = 2 / (1 + torch.exp(-fused["gate"][t])) * second
            elif fusion == "attention":
                scores = fused["attention_weight"][t] @ u[0, n] + fused["attention_bias"][t]
                shares = torch.exp(scores) / torch.exp(scores).sum()
                first, second = 2 * shares[0] * first, 2 * shares[1] * second
            rows.append(first + second)
        return torch.stack(rows)[None]

    def product(fused: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(part, {"weight": b, **fused}, (u,))

    torch.testing.assert_close(product(set_to), formula(set_to))
    plain = torch.cat([u[:, :3] @ b[0].T, u[:, 3:] @ b[1].T], 1)
    torch.testing.assert_close(product(zero), plain)
    if fusion != "sum":
        assert not torch.allclose(product(set_to), plain)


def test_the_three_fusions_start_from_one_function(bert, cache):
    losses = []
    for fusion in FUSIONS:
        world = world_of(bert, cache, attrs.evolve(S3A, fusion=fusion), ("spans", "ddi"), dropout=0.0)
        params = model.init_params(world.built, tiny.KEY)
        b = {s: {n: v if n.endswith("lora_B") else params[s][n] for n, v in t.items()} for s, t in world.params.items()}
        kept = {s: {n: b[s][n] for n in t} for s, t in params.items()}
        losses.append(world.loss(kept, tiny.batch(world.corpora, ("spans", 3), ("ddi", 3)), KEY))
    for other in losses[1:]:
        for task, value in losses[0].items():
            torch.testing.assert_close(other[task], value, rtol=1e-5, atol=1e-6)


# Parity, S1, export


def test_one_task_has_as_many_adapter_parameters_in_every_strategy(bert, cache):
    counts = {}
    for name, strategy in {"s1": S1, "s3b": S3B, **STRATEGIES}.items():
        tasks = ("ddi",) if name == "s1" else TASKS
        built, _ = tiny.build(bert, cache, tasks, strategy=strategy)
        counts[name] = model.active_adapter_parameters(built)["ddi"]
    assert len({counts[n] for n in ("s1", "s2", "s3a sum", "s3b")}) == 1
    assert counts["s3a gated"] == counts["s3a sum"]  # what fuses is counted apart


def test_s1_takes_one_task(bert, cache):
    with pytest.raises(ValueError, match="strategy s1 trains one task, found spans, ddi"):
        tiny.build(bert, cache, ("spans", "ddi"), strategy=S1)


def test_s1_alone_is_s3a_alone_with_other_ranks_as_far_as_the_model_goes(bert, cache):
    """The same 24 ranks, once as one private slot and once as two: one function, one gradient."""
    one, two = (world_of(bert, cache, s, ("ddi",), dropout=0.0) for s in (S1, S3A))
    params = tiny.clones(one.params)
    own = params.pop("private/ddi")
    params["shared"] = {n: v[:16] if n.endswith("A") else v[:, :16] for n, v in own.items()}
    params["private/ddi"] = {n: v[16:] if n.endswith("A") else v[:, 16:] for n, v in own.items()}
    batch = tiny.batch(one.corpora, ("ddi", 4))
    torch.testing.assert_close(one.loss(one.params, batch, KEY)["ddi"], two.loss(params, batch, KEY)["ddi"])


def test_copies_of_a_model_keep_their_fusion(worlds):
    built = copy.deepcopy(worlds["s3a gated"].built)
    found = [m for m in built.adapted.modules() if isinstance(m, split.GatedLinear)]
    assert len(found) == len(built.linears)
    assert all(m.shared == 16 for m in found)
