"""Gradients and steps on the device: those of a float64 copy on the CPU, pure, and the same at every repetition."""

from __future__ import annotations

import attrs
import pytest
import torch

from mtlfn.core import keys, scaling, state
from mtlfn.core import step as stepping
from mtlfn.core.gradients import ENGINES, TaskGradients
from mtlfn.core.state import digest
from mtlfn.models import model
from mtlfn.models.strategy import STRATEGIES
from tests import tiny
from tests.models.families import make
from tests.models.test_engines import CONFIG, distance, flat, in_float64, whole

KEY = keys.fold(tiny.KEY, "step", 3)
KINDS = {"s1": STRATEGIES["s1"], "s2": STRATEGIES["s2"], "s3b": STRATEGIES["s3b"]} | {
    f"s3a {fusion}": attrs.evolve(STRATEGIES["s3a"], fusion=fusion) for fusion in ("sum", "gated", "attention")
}
# dtype -> largest relative distance of a whole gradient to that in float64; the weights are wide, so errors grow.
NEAR = {torch.float32: 1e-4, torch.float16: 0.1, torch.bfloat16: 0.6}
WAYS = {"as it is": {}, "without padding": {"unpad": True}, "recomputed": {"recompute": True}}


def batch_of(made):
    return tiny.batch(made.corpora, *((task, 3) for task in made.tasks))


def take(engine: str, made, batch) -> TaskGradients:
    weights = dict.fromkeys(made.tasks, 1 / 8)
    return ENGINES[engine](made.loss, made.params, made.built.reach, batch, KEY, weights)


def begun(made, scale: float = 1.0) -> state.State:
    return state.init(tiny.KEY, made.params, made.tasks, scale=scale)


@pytest.mark.parametrize("precision", NEAR, ids=str)
@pytest.mark.parametrize("strategy", KINDS.values(), ids=KINDS)
def test_engines_agree_with_each_other_and_with_float64_on_the_cpu(world, strategy, precision):
    reference = world(strategy, dropout=0.0, on=torch.device("cpu"))
    batch = batch_of(reference)
    exact = whole(in_float64(reference, batch))
    made = world(strategy, dropout=0.0, precision=precision)
    loop, merged = (take(engine, made, batch) for engine in ENGINES)
    assert {rows.device.type for rows in flat(merged).values()} == {made.built.device.type}
    for found in (loop, merged):
        assert {rows.dtype for rows in flat(found).values()} == {torch.float32}
        assert distance(whole(found).cpu(), exact) < NEAR[precision]
    assert distance(whole(merged), whole(loop)) < NEAR[precision]


@pytest.mark.parametrize("precision", NEAR, ids=str)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_step_is_pure_and_repeats_to_the_bit(world, way, precision):
    made = world(STRATEGIES["s3b"], precision=precision, **way)
    batch, begin = batch_of(made), begun(made)
    for engine in ENGINES:
        take_step = stepping.build(attrs.evolve(CONFIG, engine=ENGINES[engine]), made.loss, made.built.reach)
        before, generators = digest(begin), _generators(made.built.device)
        after = take_step(begin, batch)
        assert digest(begin) == before
        assert _generators(made.built.device) == generators
        assert not _storages(begin) & _storages(after)
        assert digest(after) != before
        assert digest(take_step(begin, batch)) == digest(after)


def _generators(device: torch.device) -> tuple:
    of_device = torch.cuda.get_rng_state(device).tolist() if device.type == "cuda" else []
    return (*tiny.generators(), of_device)


def _storages(current: state.State) -> set[int]:
    trees = (current.params, current.optimizer.mean, current.optimizer.square)
    return {value.untyped_storage().data_ptr() for tree in trees for names in tree.values() for value in names.values()}


@pytest.mark.parametrize("family", ["modernbert", "mistral", "gemma2", "gpt-oss", "roberta", "mpnet", "deberta-v3"])
def test_no_supported_path_asks_for_what_is_not_deterministic(family, device, cache, tmp_path):
    """Windows, soft caps, sinks and padded families: a step raises nothing, repeats, and so do predictions."""
    made = make(family, tmp_path / family)
    tasks = ("spans", "mentions", "ddi", "answers")
    for way in WAYS.values():
        if way.get("unpad") and family in ("mpnet", "deberta-v3"):
            continue
        built, corpora = tiny.build(made, cache, tasks, settings={"dropout": 0.2}, device=device, **way)
        begin = state.init(tiny.KEY, model.init_params(built, tiny.KEY), tasks)
        batch = tiny.batch(corpora, *((task, 3) for task in tasks))
        assert batch.tokens.padded > batch.tokens.input
        take_step = stepping.build(CONFIG, tiny.loss_of(built), built.reach)
        after = take_step(begin, batch)
        assert digest(after) == digest(take_step(begin, batch))
        assert after.nonfinite.total == 0
        for m in batch.micro_batches:
            assert model.predict(built, after.params, m) == model.predict(built, after.params, m)


def test_keyed_masks_repeat_and_have_their_rate(device):
    draws = [(keys.fold(KEY, task), 20_000) for task in "ab"]
    first, again = (keys.keep_masks(draws, 0.25, device, torch.float32) for _ in range(2))
    assert torch.equal(first, again)
    assert first.device.type == device.type
    assert float((first == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert first.unique().tolist() == pytest.approx([0.0, 4 / 3])
    alone = keys.keep_masks(draws[1:], 0.25, device, torch.float32)
    assert torch.equal(alone, first[20_000:])
    assert not torch.equal(first[:20_000], first[20_000:])


def test_both_engines_draw_the_same_masks(world):
    made = world(STRATEGIES["s3b"])
    batch = batch_of(made)
    loop, merged = (whole(take(engine, made, batch)) for engine in ENGINES)
    dry = whole(take("loop", world(STRATEGIES["s3b"], dropout=0.0), batch))
    assert distance(merged, loop) < 1e-4
    assert distance(dry, loop) > 1e-2


def test_the_loss_scale_backs_off_until_gradients_are_finite(world):
    made = world(STRATEGIES["s3b"], precision=torch.float16)
    endless = attrs.evolve(CONFIG.schedule, schedule_tokens=10**9)  # steps that change nothing count as tokens, too
    take_step = stepping.build(attrs.evolve(CONFIG, scaling=True, schedule=endless), made.loss, made.built.reach)
    batch, current = batch_of(made), begun(made, scaling.MOST)
    before, backed_off = digest(current.params), 0
    while digest(current.params) == before:
        after = take_step(current, batch)
        if digest(after.params) == before:
            assert after.scaler.scale == current.scaler.scale / 2
            backed_off += 1
        current = after
        assert backed_off < 32
    assert backed_off
    assert current.nonfinite.total == 0
    assert current.scaler.scale == scaling.MOST / 2**backed_off
