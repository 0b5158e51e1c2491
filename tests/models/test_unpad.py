"""Without padding: the same losses, gradients and predictions from fewer slots."""

from __future__ import annotations

import attrs
import pytest
import torch

from mtlfn.core.gradients import ENGINES
from mtlfn.models import model
from mtlfn.models.layout import Rectangle, spread, unpadded
from tests import tiny
from tests.models.test_engines import BATCHES, distance, flat, take, whole
from tests.models.test_precision import STRATEGIES_HERE


@pytest.mark.parametrize("strategy", STRATEGIES_HERE.values(), ids=STRATEGIES_HERE)
@pytest.mark.parametrize("sizes", BATCHES.values(), ids=BATCHES)
def test_losses_and_gradients_are_those_of_padded_rectangles(world, strategy, sizes):
    with_padding, without = world(strategy, dropout=0.0), world(strategy, dropout=0.0, unpad=True)
    batch = tiny.batch(with_padding.corpora, *sizes)
    assert batch.tokens.padded > batch.tokens.input
    for engine in ENGINES:
        one, other = take(engine, with_padding, batch), take(engine, without, batch)
        for task in batch.present:
            torch.testing.assert_close(one.losses[task], other.losses[task], rtol=1e-5, atol=1e-6)
        assert flat(one).keys() == flat(other).keys()
        assert distance(whole(other), whole(one)) < 1e-5


def test_the_engines_agree_with_dropout_and_each_repeats(world):
    made = world(STRATEGIES_HERE["s3b"], unpad=True)
    batch = tiny.batch(made.corpora, *BATCHES["every kind"])
    loop, merged = take("loop", made, batch), take("merged", made, batch)
    assert distance(whole(merged), whole(loop)) < 1e-5
    assert torch.equal(whole(merged), whole(take("merged", made, batch)))


def test_predictions_are_the_same(world):
    strategy = STRATEGIES_HERE["s3b"]
    one, other = world(strategy), world(strategy, unpad=True)
    batch = tiny.batch(one.corpora, *((task, 4) for task in one.corpora))
    for m in batch.micro_batches:
        found, expected = model.predict(other.built, other.params, m), model.predict(one.built, one.params, m)
        if m.task in ("answers", "similarity"):
            assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)
        else:
            assert found == expected


def test_the_backbone_sees_tokens_alone(world, monkeypatch):
    made = world(STRATEGIES_HERE["s3b"], unpad=True)
    batch = tiny.batch(made.corpora, *BATCHES["every kind"])
    layouts = []
    kept = model.hidden_states

    def seen(*arguments):
        layouts.append(arguments[3])
        return kept(*arguments)

    monkeypatch.setattr(model, "hidden_states", seen)
    made.loss(made.params, batch, tiny.KEY)
    (layout,) = layouts
    assert layout.rectangles[-1].stop == batch.tokens.input < batch.tokens.padded
    assert all(r.mask is None for r in (*layout.attended, *layout.upper.attended))


def test_rows_that_leave_are_not_joined_with_rows_that_stay():
    layout = unpadded([Rectangle(0, 1, 2), Rectangle(2, 2, 2)], leaving=2)
    assert [(r.start, r.rows, r.width) for r in layout.upper.rectangles] == [(0, 2, 2)]
    assert [(r.start, r.rows, r.width) for r in layout.attended] == [(0, 3, 2)]


def test_the_layout_of_tokens_and_back():
    mask = torch.tensor([[True, True, False], [True, True, True], [True, True, True]])
    held = [Rectangle(0, 3, 3, mask), Rectangle(9, 2, 2)]
    layout = unpadded(held, leaving=9)
    assert [(r.start, r.rows, r.width) for r in layout.rectangles] == [(0, 1, 2), (2, 2, 3), (8, 2, 2)]
    assert layout.leaving == 8
    assert [(r.start, r.rows, r.width) for r in layout.upper.rectangles] == [(0, 2, 2)]
    values = torch.arange(12.0).view(1, 12, 1) + 1
    slots = spread(values, layout.places, 13).flatten().tolist()
    assert slots == [1, 2, 0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    rows = tiny.slots_of(attrs.evolve(layout, places=None).rectangles[1], values).squeeze(-1)
    assert rows.tolist() == [[3, 4, 5], [6, 7, 8]]
