"""Recomputed activations and lower precision: the same gradients by other means, in both engines and every strategy."""

from __future__ import annotations

import copy

import attrs
import pytest
import torch

from mtlfn.core import keys, scaling, state
from mtlfn.core import step as stepping
from mtlfn.core.gradients import ENGINES, reaching
from mtlfn.models import lora, model
from mtlfn.models.strategy import STRATEGIES
from tests import tiny
from tests.models.test_engines import BATCHES, CONFIG, EQUAL, KEY, TASKS, distance, flat, take, whole

FUSIONS = ("sum", "gated", "attention")
# dtype -> largest relative distance of a whole gradient; these weights are wide, so that an error grows with each layer
HALVES = {torch.float16: 0.06, torch.bfloat16: 0.5}
STRATEGIES_HERE = {"s2": STRATEGIES["s2"], "s3b": STRATEGIES["s3b"]} | {
    f"s3a {fusion}": attrs.evolve(STRATEGIES["s3a"], fusion=fusion) for fusion in FUSIONS
}
each_strategy = pytest.mark.parametrize(
    "strategy",
    [
        pytest.param(strategy, id=name, marks=[pytest.mark.slow] if strategy.fusion != "sum" else [])
        for name, strategy in STRATEGIES_HERE.items()
    ],
)


@each_strategy
@pytest.mark.parametrize("sizes", [BATCHES["every kind"], BATCHES["level 1 only"]], ids=["all", "level 1"])
def test_recomputed_activations_give_the_same_bits(world, strategy, sizes):
    kept, again = world(strategy), world(strategy, recompute=True)
    batch = tiny.batch(kept.corpora, *sizes)
    for engine in ENGINES:
        one, other = take(engine, kept, batch), take(engine, again, batch)
        assert whole(one).isfinite().all()
        assert {t: float(v) for t, v in one.losses.items()} == {t: float(v) for t, v in other.losses.items()}
        for path, rows in flat(one).items():
            assert torch.equal(rows, flat(other)[path]), f"{engine} {path}"


def test_recomputation_keeps_less_for_the_reverse_pass(world):
    """What autograd saves while the losses are computed: the inputs of layers instead of everything inside them."""

    def saved(made) -> int:
        batch, storages = tiny.batch(made.corpora, *BATCHES["every kind"]), {}
        params = {
            slot: {name: value.detach().requires_grad_() for name, value in tensors.items()}
            for slot, tensors in made.params.items()
        }

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            held = model.losses(made.built, params, batch, KEY)
        assert held
        return sum(storages.values())

    strategy = STRATEGIES["s3b"]
    assert saved(world(strategy, recompute=True)) < 0.6 * saved(world(strategy))


def test_predictions_are_the_same_with_recomputation(world):
    strategy = STRATEGIES["s3b"]
    kept, again = world(strategy), world(strategy, recompute=True)
    batch = tiny.batch(kept.corpora, ("ddi", 3), ("spans", 2))
    for m in batch.micro_batches:
        assert model.predict(kept.built, kept.params, m) == model.predict(again.built, again.params, m)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@each_strategy
def test_gradients_in_lower_precision_are_near_those_in_float32(world, strategy, dtype):
    exact, lower = world(strategy), world(strategy, precision=dtype)
    batch = tiny.batch(exact.corpora, *BATCHES["every kind"])
    wanted = whole(take("merged", exact, batch))
    for engine in ENGINES:
        found = take(engine, lower, batch)
        assert {rows.dtype for rows in flat(found).values()} == {torch.float32}
        assert {value.dtype for value in found.losses.values()} == {torch.float32}
        away = distance(whole(found), wanted)
        assert 1e-6 < away < HALVES[dtype], engine  # and not the float32 products by another name
    assert torch.equal(whole(take("merged", lower, batch)), whole(take("merged", lower, batch)))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_engines_agree_in_lower_precision_and_with_recomputation(world, dtype):
    strategy = STRATEGIES["s3b"]
    kept, again = (world(strategy, precision=dtype, recompute=recompute) for recompute in (False, True))
    batch = tiny.batch(kept.corpora, *BATCHES["every kind"])
    loop, merged = whole(take("loop", kept, batch)), whole(take("merged", kept, batch))
    assert distance(merged, loop) < HALVES[dtype] / 2
    assert torch.equal(whole(take("loop", again, batch)), loop)
    assert torch.equal(whole(take("merged", again, batch)), merged)


def test_only_frozen_linears_are_kept_in_lower_precision(world):
    built = world(STRATEGIES["s3b"], precision=torch.float16).built
    kinds = {name: value.dtype for name, value in built.backbone.model.named_parameters()}
    halves = {name for name, kind in kinds.items() if kind == torch.float16}
    assert halves
    assert all("base_layer" in name or "norm" not in name.lower() for name in halves)
    assert not any("lora_" in name or "embed" in name or "norm" in name.lower() for name in halves)
    params = model.init_params(built, tiny.KEY)
    assert {value.dtype for tensors in params.values() for value in tensors.values()} == {torch.float32}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_step_in_float16_scales_the_loss_and_takes_the_scale_out_again(world, engine):
    """Gradients too small for float16 are zero there without a scale, and near those of float32 with one."""
    exact, lower = world(STRATEGIES["s3b"]), world(STRATEGIES["s3b"], precision=torch.float16)
    batch = tiny.batch(exact.corpora, *BATCHES["every kind"])
    tiny_weights = dict.fromkeys(TASKS, 1e-7 / len(TASKS))

    def row(made, factor: float) -> torch.Tensor:
        weights = {task: weight * factor for task, weight in tiny_weights.items()}
        rows = ENGINES[engine](made.loss, made.params, made.built.reach, batch, KEY, weights).rows
        level1 = [v for name, v in rows["level1"].items()]
        return torch.cat([v.double().flatten() for v in level1]) / factor

    wanted = row(exact, 1.0)
    assert distance(row(lower, 1.0), wanted) > 0.2
    assert distance(row(lower, scaling.START), wanted) < HALVES[torch.float16] * 2


def test_a_run_of_steps_in_float16_learns(world):
    made = world(STRATEGIES["s3b"], precision=torch.float16, recompute=True)
    run = stepping.build(attrs.evolve(CONFIG, scaling=True), made.loss, made.built.reach)
    current = state.init(tiny.KEY, model.init_params(made.built, tiny.KEY), TASKS, scale=scaling.START)
    batch = tiny.batch(made.corpora, *BATCHES["every kind"])
    losses = []
    for _ in range(12):
        current = run(current, batch)
        losses.append(sum(current.last.loss.values()))
    assert current.nonfinite.total == 0
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.skipif(
    torch.__version__.startswith("2.9."), reason="torch 2.9 cannot read a tensor inside torch.func.grad"
)
def test_the_reference_gives_what_torch_func_gives(world):
    """``loop`` against torch.func.grad_and_value, which it could be written with."""
    made = world(STRATEGIES["s3b"])
    batch = tiny.batch(made.corpora, *BATCHES["every kind"])
    taken = take("loop", made, batch)
    found, floor = flat(taken), 1e-6 * float(whole(taken).norm())
    at = dict.fromkeys(found, 0)
    for task in batch.present:
        reached = reaching(made.built.reach, (task,))
        own = {slot: {name: made.params[slot][name] for name in names} for slot, names in reached.items()}

        def value(own, task=task):
            joined = {slot: {**tensors, **own.get(slot, {})} for slot, tensors in made.params.items()}
            return made.loss(joined, batch.only(task), KEY)[task] * EQUAL[task]

        gradients, _ = torch.func.grad_and_value(value)(own)
        for slot, names in gradients.items():
            for name, gradient in names.items():
                row = found[slot, name][at[slot, name]]
                assert float((row - gradient).norm()) <= 1e-4 * float(gradient.norm()) + floor, f"{slot} {name} {task}"
                at[slot, name] += 1
    assert all(at[path] == len(rows) for path, rows in found.items())


def test_keys_of_dropout_are_not_touched_by_recomputation(world):
    """Another step draws other masks, with recomputation as without."""
    made = world(STRATEGIES["s3b"], recompute=True)
    batch = tiny.batch(made.corpora, *BATCHES["every kind"])
    other = ENGINES["merged"](made.loss, made.params, made.built.reach, batch, keys.fold(tiny.KEY, "step", 4), EQUAL)
    assert distance(whole(take("merged", made, batch)), whole(other)) > 1e-3


def test_nothing_but_frozen_linears_is_cast(world):
    """Norms and embeddings stay as they are whatever a backbone calls them, and so do adapters."""
    module = copy.deepcopy(world(STRATEGIES["s2"]).built.backbone.model)
    linears = [name for name, m in module.named_modules() if isinstance(m, torch.nn.Linear) and ".lora_" not in name]
    lora.cast(module, torch.float16)
    kinds = {name: value.dtype for name, value in module.named_parameters()}
    cast = {name for name, kind in kinds.items() if kind == torch.float16}
    assert cast == {f"{name}.{part}" for name in linears for part in ("weight", "bias")} & kinds.keys()
    assert set(kinds.values()) == {torch.float16, torch.float32}
