"""Both engines give the gradients of the real model: those of each other and of a float64 copy; a step is pure."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import attrs
import pytest
import torch
from torch import Tensor

from mtlfn.core import combine, gradients, keys, state
from mtlfn.core import step as stepping
from mtlfn.core.batch import Batch
from mtlfn.core.gradients import ENGINES, TaskGradients
from mtlfn.core.schedule import Schedule
from mtlfn.models import lora, model, split
from mtlfn.models.split import KeyedDropout
from tests import tiny
from tests.models import families
from tests.models.conftest import TASKS

LEVEL1, LEVEL2 = TASKS[:3], TASKS[3:]
BATCHES = {
    "every kind": tuple((task, 3) for task in TASKS),
    "two micro-batches of one task": (("spans", 2), ("spans", 3), ("ddi", 2), ("ddi", 4), ("answers", 1)),
    "level 1 only": (("bc5cdr_disease", 3), ("spans", 2), ("mentions", 3)),
    "level 2 only": (("ddi", 3), ("hoc", 2)),
    "one task of level 1": (("spans", 4),),
    "one task of level 2": (("pubmedqa", 4),),
}
EQUAL = dict.fromkeys(TASKS, 1 / len(TASKS))
KEY = keys.fold(tiny.KEY, "step", 3)
CONFIG = stepping.StepConfig(schedule=Schedule(peak=3e-3, schedule_tokens=5000), weighting="uncertainty", clip_norm=1.0)


@pytest.fixture(scope="module", params=["bert", "llama"])
def worlds(request: pytest.FixtureRequest, cache):
    """S3b with dropout on a backbone, once as it is and once with the level-1 slot detached."""
    folder, out = request.getfixturevalue(request.param), {}
    for detach in (False, True):
        built, corpora = tiny.build(folder, cache, TASKS, settings={"dropout": 0.2}, detach_level1=detach)
        params = tiny.stirred(model.init_params(built, tiny.KEY))
        out[detach] = SimpleNamespace(built=built, corpora=corpora, params=params, loss=tiny.loss_of(built))
    return out


@pytest.fixture(scope="module")
def plain(worlds):
    return worlds[False]


def take(engine: str, world, batch: Batch, weights: dict | None = None) -> TaskGradients:
    return ENGINES[engine](world.loss, world.params, world.built.reach, batch, KEY, weights or EQUAL)


def flat(found: TaskGradients) -> dict[tuple[str, str], Tensor]:
    return {(slot, name): rows for slot, names in found.rows.items() for name, rows in names.items()}


def whole(found: TaskGradients) -> Tensor:
    """All rows of all tensors as one float64 vector."""
    rows = flat(found)
    return torch.cat([rows[path].double().flatten() for path in sorted(rows)])


def distance(a: Tensor, b: Tensor) -> float:
    """Norm of the difference over that of ``b``."""
    return float((a.double() - b.double()).norm() / b.double().norm().clamp(min=1e-12))


def in_float64(world, batch: Batch) -> TaskGradients:
    """The gradients of a float64 copy of the model, each task by plain reverse-mode differentiation."""
    built = copy.deepcopy(world.built)
    built.adapted.double()
    built = attrs.evolve(
        built, class_weights={t: None if w is None else w.double() for t, w in built.class_weights.items()}
    )

    def exact(m):
        labels = m.inputs.labels.double() if m.inputs.labels.is_floating_point() else m.inputs.labels
        return attrs.evolve(m, inputs=attrs.evolve(m.inputs, labels=labels))

    batch = attrs.evolve(batch, micro_batches=tuple(map(exact, batch.micro_batches)))
    rows: dict[str, dict[str, list[Tensor]]] = {}
    losses = {}
    for task in batch.present:
        reached = gradients.reaching(built.reach, (task,))
        params = {slot: {n: v.double() for n, v in tensors.items()} for slot, tensors in world.params.items()}
        paths = [(slot, name) for slot, names in reached.items() for name in names]
        for slot, name in paths:
            params[slot][name].requires_grad_()
        losses[task] = model.losses(built, params, batch.only(task), KEY)[task]
        found = torch.autograd.grad(losses[task] * EQUAL[task], [params[slot][name] for slot, name in paths])
        for (slot, name), gradient in zip(paths, found, strict=True):
            rows.setdefault(slot, {}).setdefault(name, []).append(gradient)
    return TaskGradients(losses, {slot: {n: torch.stack(r) for n, r in names.items()} for slot, names in rows.items()})


@pytest.mark.parametrize("at_once", [False, True], ids=["as on a CPU", "as on a GPU"])
@pytest.mark.parametrize(
    "frozen", [(), ("shared",), ("level1",), ("level2",)], ids=["nothing", "shared", "level1", "level2"]
)
@pytest.mark.parametrize("family", ["bert", "llama", "mpnet"])
def test_what_one_task_trains_takes_nothing_from_the_rows_of_others(
    family, frozen, at_once, cache, request, monkeypatch, tmp_path
):
    """One task of level 1 beside several of level 2, whose rows pass its slot and do not train it: a ragged encoder and
    decoder, and a backbone that is called in rectangles."""
    monkeypatch.setattr(split, "at_once", lambda _: at_once)
    folder = families.make("mpnet", tmp_path / "mpnet") if family == "mpnet" else request.getfixturevalue(family)
    tasks = ("spans", "ddi", "hoc")
    built, corpora = tiny.build(
        folder, cache, tasks, settings={"dropout": 0.2, "targets": "all-linear"}, detach_level1=True, frozen=frozen
    )
    assert built.backbone.way == ("padded" if family == "mpnet" else "ragged")
    params = tiny.stirred(model.init_params(built, tiny.KEY))
    world = SimpleNamespace(built=built, corpora=corpora, params=params, loss=tiny.loss_of(built))
    batch = tiny.batch(corpora, ("spans", 3), ("ddi", 2), ("hoc", 3))
    loop, merged = flat(take("loop", world, batch)), flat(take("merged", world, batch))
    assert loop.keys() == merged.keys()
    assert not {slot for slot, _ in loop} & set(frozen)
    for path, rows in loop.items():
        assert distance(merged[path], rows) < 1e-4, path


@pytest.mark.parametrize("detach", [False, True], ids=["attached", "detached"])
@pytest.mark.parametrize("at_once", [False, True], ids=["as on a CPU", "as on a GPU"])
@pytest.mark.parametrize("sizes", BATCHES.values(), ids=BATCHES)
def test_the_engines_agree_on_every_tensor_of_every_task(worlds, sizes, at_once, detach, monkeypatch):
    monkeypatch.setattr(split, "at_once", lambda _: at_once)
    world = worlds[detach]
    batch = tiny.batch(world.corpora, *sizes)
    loop, merged = take("loop", world, batch), take("merged", world, batch)
    assert loop.losses.keys() == merged.losses.keys() == dict.fromkeys(batch.present).keys()
    for task in batch.present:
        torch.testing.assert_close(loop.losses[task], merged.losses[task], rtol=1e-5, atol=1e-6)
    one, other = flat(loop), flat(merged)
    assert one.keys() == other.keys()
    reached = gradients.reaching(world.built.reach, batch.present)
    for slot, name in one:
        tasks = reached[slot][name]
        assert one[slot, name].shape == other[slot, name].shape == (len(tasks), *world.built.shapes[slot][name])
        for i, task in enumerate(tasks):
            a, b = one[slot, name][i], other[slot, name][i]
            # The key of a softmax moves by no gradient where all features of a row are alike: compare with its peers.
            floor = 1e-6 * float(whole(loop).norm())
            assert float((a - b).norm()) <= 1e-3 * float(a.norm()) + floor, f"{slot} {name} {task}"
    assert distance(whole(merged), whole(loop)) < 1e-5


@pytest.mark.parametrize("detach", [False, True], ids=["attached", "detached"])
def test_each_engine_agrees_with_a_float64_copy_over_the_whole_gradient(worlds, detach):
    world = worlds[detach]
    batch = tiny.batch(world.corpora, *BATCHES["two micro-batches of one task"], ("answers", 2))
    exact = whole(in_float64(world, batch))
    assert exact.norm() > 0.1
    for engine in ENGINES:
        assert distance(whole(take(engine, world, batch)), exact) < 1e-5, engine


@pytest.mark.parametrize("engine", ENGINES)
def test_each_engine_repeats_to_the_bit(plain, engine):
    batch = tiny.batch(plain.corpora, *BATCHES["every kind"])
    first, second = take(engine, plain, batch), take(engine, plain, batch)
    assert state.digest(first.rows) == state.digest(second.rows)
    assert state.digest(first.losses) == state.digest(second.losses)


def test_the_weights_of_the_tasks_multiply_their_gradients(plain):
    batch = tiny.batch(plain.corpora, *BATCHES["every kind"])
    for engine in ENGINES:
        weights = {task: torch.tensor(0.5 * (i + 1)) for i, task in enumerate(TASKS)}
        once, scaled = take(engine, plain, batch, dict.fromkeys(TASKS, 1.0)), take(engine, plain, batch, weights)
        for slot in ("shared", "level1"):
            for name, rows in scaled.rows[slot].items():
                tasks = gradients.reaching(plain.built.reach, batch.present)[slot][name]
                factors = torch.stack([weights[t] for t in tasks]).view(-1, 1, 1)
                size = max(1.0, float(rows.abs().max()))  # what is left of large numbers rounds as they do
                torch.testing.assert_close(rows, once.rows[slot][name] * factors, rtol=1e-3, atol=1e-6 * size)
        assert scaled.losses == once.losses


def test_both_engines_draw_the_same_dropout_and_another_step_draws_another(plain):
    batch = tiny.batch(plain.corpora, ("spans", 4), ("ddi", 4))
    merged, loop = take("merged", plain, batch), take("loop", plain, batch)
    other = gradients.merged(plain.loss, plain.params, plain.built.reach, batch, keys.fold(KEY, "x"), EQUAL)
    assert distance(whole(merged), whole(loop)) < 1e-5
    assert distance(whole(other), whole(loop)) > 1e-2


def test_the_loss_of_a_task_is_the_mean_over_all_its_micro_batches(plain):
    """Dropout off, since its mask follows the rows: one micro-batch or two, the same examples give the same loss."""
    split = tiny.batch(plain.corpora, ("spans", 2), ("spans", 3), ("ddi", 2), ("ddi", 4))
    joined = tiny.batch(plain.corpora, ("spans", 5), ("ddi", 6))
    quiet = copy.deepcopy(plain.built)
    for module in quiet.backbone.model.modules():
        if isinstance(module, KeyedDropout):
            module.rate = 0.0
    one, two = (model.losses(quiet, plain.params, b, KEY) for b in (split, joined))
    for task in ("spans", "ddi"):
        torch.testing.assert_close(one[task], two[task], rtol=1e-5, atol=1e-6)


# What reaches what


def test_a_tensor_changes_the_losses_of_the_tasks_that_reach_it_and_of_no_other(plain):
    batch = tiny.batch(plain.corpora, *((task, 2) for task in TASKS))
    with torch.no_grad():
        base = model.losses(plain.built, plain.params, batch, KEY)
        for slot, names in plain.params.items():
            for name, value in names.items():
                moved = tiny.clones(plain.params)
                moved[slot][name] = value + keys.normal(keys.fold(KEY, slot, name, "move"), tuple(value.shape), 0.3)
                after = model.losses(plain.built, moved, batch, KEY)
                changed = {task for task in TASKS if not torch.equal(base[task], after[task])}
                expected = set(plain.built.reach[slot][name])
                if (slot, name) == ("cross_attention", "norm.bias"):
                    # It shifts every candidate's score alike: what is left in the ranking loss is rounding.
                    changed, expected = changed - {"answers"}, expected - {"answers"}
                assert changed == expected, f"{slot} {name}"


def test_detached_the_level_1_slot_learns_from_level_1_tasks_only_and_shared_from_all(worlds):
    detached, attached = worlds[True], worlds[False]
    batch = tiny.batch(detached.corpora, *BATCHES["every kind"])
    for engine in ENGINES:
        cut, open_ = take(engine, detached, batch), take(engine, attached, batch)
        for name, rows in cut.rows["level1"].items():
            assert len(rows) == len(LEVEL1)
            torch.testing.assert_close(rows, open_.rows["level1"][name][: len(LEVEL1)], rtol=1e-4, atol=1e-7)
            # The flag is what keeps them out: without it every level-2 task has a gradient here.
            assert len(open_.rows["level1"][name]) == len(TASKS)
            assert all(row.any() for row in open_.rows["level1"][name])
        lower = [n for n in cut.rows["shared"] if n in cut.rows["level1"]]
        assert lower
        for name in lower:
            assert len(cut.rows["shared"][name]) == len(TASKS)
            assert all(row.any() for row in cut.rows["shared"][name])
        only2 = take(engine, detached, batch.only(*LEVEL2))
        assert "level1" not in only2.rows
        assert all(row.any() for name in lower for row in only2.rows["shared"][name])


@pytest.mark.parametrize("detach", [False, True], ids=["attached", "detached"])
def test_a_step_of_level_2_tasks_moves_the_level_1_slot_only_while_attached(worlds, detach):
    world = worlds[detach]
    before = state.init(tiny.KEY, world.params, TASKS)
    batch = tiny.batch(world.corpora, *((task, 2) for task in LEVEL2))
    after = stepping.build(CONFIG, world.loss, world.built.reach)(before, batch)
    still = [torch.equal(v, after.params["level1"][n]) for n, v in before.params["level1"].items()]
    assert all(still) if detach else not any(still)
    assert not any(torch.equal(v, after.params["shared"][n]) for n, v in before.params["shared"].items())
    assert all(torch.equal(v, after.params["head/spans"][n]) for n, v in before.params["head/spans"].items())
    assert set(after.optimizer.count["level1"].values()) == ({0} if detach else {1})


def test_pcgrad_meets_only_tasks_that_train_the_same_tensors(plain):
    """Lower layers and level-1 slot: all tasks in one group; upper layers and cross attention: the level-2 tasks."""
    batch = tiny.batch(plain.corpora, *BATCHES["every kind"])
    groups = combine.group(take("merged", plain, batch), plain.built.reach, batch.present)
    by_tasks = {g.tasks: {slot for slot, _ in g.paths} for g in groups}
    assert by_tasks.pop(TASKS) == {"shared", "level1"}
    assert by_tasks.pop(LEVEL2) == {"shared", "level2", "cross_attention"}
    assert by_tasks == {(task,): {f"head/{task}"} for task in TASKS}


# Purity


def storages(tree) -> set[int]:
    return {leaf.untyped_storage().data_ptr() for _, leaf in state.leaves(tree) if isinstance(leaf, Tensor)}


def module_bytes(built: model.Model) -> str:
    return state.digest({**dict(built.adapted.named_parameters()), **dict(built.adapted.named_buffers())})


@pytest.mark.parametrize("engine", ENGINES)
def test_a_step_of_the_real_model_is_pure(plain, engine):
    run = stepping.build(attrs.evolve(CONFIG, engine=ENGINES[engine]), plain.loss, plain.built.reach)
    current = state.init(tiny.KEY, plain.params, TASKS)
    for i in range(2):  # from the start and from a state that a step made
        batch = tiny.batch(plain.corpora, *BATCHES["two micro-batches of one task"], start=i)
        inputs = state.digest({str(j): attrs.asdict(m.inputs) for j, m in enumerate(batch.micro_batches)})
        was, generators, module = state.digest(current), tiny.generators(), module_bytes(plain.built)
        after, again = run(current, batch), run(current, batch)
        assert state.digest(current) == was
        assert state.digest(after) == state.digest(again) != was
        assert not storages(after) & storages(current)
        assert not any(leaf.requires_grad for _, leaf in state.leaves(after) if isinstance(leaf, Tensor))
        assert tiny.generators() == generators
        assert module_bytes(plain.built) == module
        assert state.digest({str(j): attrs.asdict(m.inputs) for j, m in enumerate(batch.micro_batches)}) == inputs
        current = after


def test_building_and_predicting_leave_the_global_generators_alone(bert, cache):
    generators = tiny.generators()
    built, corpora = tiny.build(bert, cache, ("spans", "ddi"))
    params = model.init_params(built, tiny.KEY)
    model.predict(built, params, tiny.batch(corpora, ("ddi", 3)).micro_batches[0])
    assert tiny.generators() == generators


def test_the_start_is_a_function_of_the_key(plain):
    one, two, other = (model.init_params(plain.built, k) for k in (tiny.KEY, tiny.KEY, keys.root(12)))
    assert state.digest(one) == state.digest(two) != state.digest(other)


# The fall-back guard


def test_the_modules_own_adapter_tensors_are_nan(plain):
    own = [v for n, v in plain.built.adapted.named_parameters() if "lora_" in n]
    assert len(own) == 2 * len(plain.built.linears) == 2 * 2 * tiny.LAYERS
    assert all(v.isnan().all() for v in own)


@pytest.mark.parametrize("part", ["lora_A", "lora_B"])
def test_a_tensor_that_does_not_reach_the_module_makes_the_losses_nan(plain, monkeypatch, part):
    assembled, dropped = lora.assembled, plain.built.linears[0].name + f".{part}.default.weight"

    def without(*args):
        tensors = assembled(*args)
        del tensors[dropped]
        return tensors

    batch = tiny.batch(plain.corpora, *BATCHES["every kind"])
    assert all(v.isfinite() for v in model.losses(plain.built, plain.params, batch, KEY).values())
    monkeypatch.setattr(lora, "assembled", without)
    assert all(v.isnan() for v in model.losses(plain.built, plain.params, batch, KEY).values())


def test_the_check_of_the_tensors_names_what_is_misspelt_missing_or_of_another_shape(plain):
    model.check_params(plain.built, plain.params)
    name = plain.built.linears[0].name + ".lora_A"

    def changed(slot: str, **tensors: Tensor | None) -> dict:
        out = tiny.clones(plain.params)
        for key, value in tensors.items():
            out[slot].pop(key, None)
            if value is not None:
                out[slot][key] = value
        return out

    for params, wanted in (
        (changed("shared", **{name + "x": torch.zeros(2)}), rf"shared/{name}x: expected shape None, found \(2,\)"),
        (changed("shared", **{name: None}), rf"shared/{name}: expected shape \(16, 32\), found None"),
        (changed("level1", **{name: torch.zeros(8, 31)}), rf"level1/{name}: expected shape \(8, 32\), found \(8, 31\)"),
        (changed("cross_attention", gate=torch.zeros(1)), r"cross_attention/gate: expected shape \(\), found \(1,\)"),
    ):
        with pytest.raises(ValueError, match=wanted):
            model.check_params(plain.built, params)
