"""Micro-batches laid end to end give what each gives alone in the stock model; rows that leave take nothing along."""

from __future__ import annotations

from types import SimpleNamespace

import attrs
import pytest
import torch
from torch import Tensor

from mtlfn.core.batch import MicroBatch
from mtlfn.models import backbone, layout, model
from mtlfn.models.families import BackboneError
from tests import tiny

LEVEL1 = (("bc5cdr_disease", 3), ("spans", 2))
LEVEL2 = (("ddi", 4), ("hoc", 2), ("hoc", 3), ("answers", 2))
TASKS = ("bc5cdr_disease", "spans", "ddi", "hoc", "answers")


@pytest.fixture(scope="module", params=["bert", "llama"])
def world(request: pytest.FixtureRequest, cache):
    """A bare backbone for rectangles, the same weights in the stock model, and an S3b model with its corpora."""
    from transformers import AutoModel

    folder = request.getfixturevalue(request.param)
    extra = {"add_pooling_layer": False} if request.param == "bert" else {}
    built, corpora = tiny.build(folder, cache, TASKS)
    params = tiny.stirred(model.init_params(built, tiny.KEY))
    return SimpleNamespace(
        bare=backbone.load(str(folder)),
        stock=AutoModel.from_pretrained(folder, attn_implementation="sdpa", **extra).eval(),
        built=built,
        corpora=corpora,
        params=params,
    )


def rectangles(micro_batches: list[MicroBatch]) -> list[layout.Rectangle]:
    out, start = [], 0
    for m in micro_batches:
        rows, width = m.inputs.input_ids.shape
        inside = torch.arange(width) < m.inputs.lengths[:, None]
        out.append(layout.Rectangle(start, rows, width, None if inside.all() else inside))
        start = out[-1].stop
    return out


def extra(bare: backbone.Backbone, types: Tensor) -> dict[str, Tensor]:
    return {} if bare.causal else {"token_type_ids": types}


@torch.no_grad()
def through_rectangles(bare: backbone.Backbone, micro_batches: list[MicroBatch]) -> list[Tensor]:
    """Hidden states of each micro-batch, [rows, width, d], from one pass over all of them."""
    placed = rectangles(micro_batches)
    hidden = bare.model(
        input_ids=torch.cat([m.inputs.input_ids.flatten() for m in micro_batches])[None],
        position_ids=torch.cat([torch.arange(r.width).repeat(r.rows) for r in placed])[None],
        layout=layout.lay_out(placed),
        **extra(bare, torch.cat([m.inputs.token_types.flatten() for m in micro_batches])[None]),
    ).last_hidden_state
    return [tiny.slots_of(r, hidden) for r in placed]


@torch.no_grad()
def through_stock(world, m: MicroBatch) -> Tensor:
    """The same from the stock model: an ordinary padded batch with its attention mask."""
    inside = torch.arange(m.inputs.input_ids.shape[1]) < m.inputs.lengths[:, None]
    return world.stock(
        input_ids=m.inputs.input_ids, attention_mask=inside.long(), **extra(world.bare, m.inputs.token_types)
    ).last_hidden_state


def tokens(hidden: Tensor, m: MicroBatch) -> Tensor:
    """The positions that hold a token."""
    return hidden[torch.arange(hidden.shape[1]) < m.inputs.lengths[:, None]]


def micro_batches(world, *sizes: tuple[str, int]) -> list[MicroBatch]:
    return list(tiny.batch(world.corpora, *sizes).micro_batches)


@pytest.mark.parametrize("sizes", [("ddi", 1), ("ddi", 5), ("answers", 3)])
def test_one_micro_batch_equals_the_stock_model_to_the_bit(world, sizes):
    (m,) = micro_batches(world, sizes)
    (ours,), theirs = through_rectangles(world.bare, [m]), through_stock(world, m)
    if world.bare.causal and m.tokens.padded != m.tokens.input:
        # The stock decoder masks padding explicitly; causal rows padded on the right need no mask, and the kernel
        # without one adds up in another order.
        torch.testing.assert_close(tokens(ours, m), tokens(theirs, m), rtol=0, atol=1e-5)
    else:
        assert torch.equal(tokens(ours, m), tokens(theirs, m))


def test_several_micro_batches_end_to_end_equal_the_stock_model_closely(world):
    parts = micro_batches(world, *LEVEL1, *LEVEL2)
    for m, ours in zip(parts, through_rectangles(world.bare, parts), strict=True):
        torch.testing.assert_close(tokens(ours, m), tokens(through_stock(world, m), m), rtol=0, atol=1e-5)


def test_what_stands_in_the_padding_does_not_matter(world):
    batch = tiny.batch(world.corpora, *LEVEL1, *LEVEL2)
    assert any(m.tokens.padded > m.tokens.input for m in batch.micro_batches)
    soiled = []
    for m in batch.micro_batches:
        outside = torch.arange(m.inputs.input_ids.shape[1]) >= m.inputs.lengths[:, None]
        inputs = attrs.evolve(
            m.inputs,
            input_ids=m.inputs.input_ids.masked_fill(outside, 7),
            token_types=m.inputs.token_types.masked_fill(outside, 0 if world.bare.causal else 1),
        )
        soiled.append(attrs.evolve(m, inputs=inputs))
    clean = model.losses(world.built, world.params, batch, tiny.KEY)
    dirty = model.losses(world.built, world.params, attrs.evolve(batch, micro_batches=tuple(soiled)), tiny.KEY)
    assert clean.keys() == dirty.keys() == set(TASKS)
    for task in TASKS:
        assert torch.equal(clean[task], dirty[task])


def test_a_level_1_row_that_leaves_early_changes_no_feature_and_no_top(world):
    parts = micro_batches(world, *LEVEL1, *LEVEL2)
    placed = rectangles(parts)
    leaving = placed[len(LEVEL1) - 1].stop
    with torch.no_grad():
        top, features = model.hidden_states(world.built, world.params, parts, layout.lay_out(placed, leaving), None)
        whole, kept = model.hidden_states(world.built, world.params, parts, layout.lay_out(placed), None)
    assert top.shape[1] == whole.shape[1] - leaving
    assert features.shape == kept.shape == whole.shape
    for r, m in zip(placed, parts, strict=True):
        of = tiny.slots_of
        torch.testing.assert_close(tokens(of(r, features), m), tokens(of(r, kept), m), rtol=0, atol=1e-6)
        if r.start >= leaving:
            above = layout.Rectangle(r.start - leaving, r.rows, r.width, r.mask)
            torch.testing.assert_close(tokens(of(above, top), m), tokens(of(r, whole), m), rtol=0, atol=1e-5)


def test_a_micro_batch_counts_the_same_alone_and_among_others(world):
    together = tiny.batch(world.corpora, *LEVEL1, *LEVEL2)
    losses = model.losses(world.built, world.params, together, tiny.KEY)
    for task in TASKS:
        alone = model.losses(world.built, world.params, together.only(task), tiny.KEY)
        torch.testing.assert_close(alone[task], losses[task], rtol=1e-5, atol=1e-6)


def test_a_batch_of_level_1_tasks_alone_runs_and_gives_the_upper_layers_no_gradient(world):
    batch = tiny.batch(world.corpora, *LEVEL1)
    params = {
        slot: {name: value.clone().requires_grad_() for name, value in tensors.items()}
        for slot, tensors in world.params.items()
    }
    losses = model.losses(world.built, params, batch, tiny.KEY)
    assert set(losses) == {"bc5cdr_disease", "spans"}
    assert all(loss.isfinite() for loss in losses.values())
    layer_of = {linear.name: linear.layer for linear in world.built.linears}
    for slot in ("shared", "level1", "level2"):
        names = list(params[slot])
        found = torch.autograd.grad(
            sum(losses.values()), [params[slot][n] for n in names], allow_unused=True, retain_graph=True
        )
        for name, gradient in zip(names, found, strict=True):
            if layer_of[name.rpartition(".")[0]] >= world.built.read_out:
                assert gradient is None or not gradient.any(), name
            else:
                assert gradient.any(), name


def test_all_rows_leaving_keep_one_row_of_the_last_rectangle():
    mask = torch.tensor([[True, True, True], [True, False, False]])
    laid = layout.lay_out([layout.Rectangle(0, 1, 2), layout.Rectangle(2, 2, 3, mask)], leaving=8)
    assert laid.leaving == 5
    (kept,) = laid.upper.rectangles
    assert (kept.start, kept.rows, kept.width, kept.mask.tolist()) == (0, 1, 3, [[True, False, False]])


def test_neighbours_of_equal_width_are_joined_and_keep_their_masks():
    mask = torch.tensor([[True, False]])
    first, second, third = layout.Rectangle(0, 2, 2), layout.Rectangle(4, 1, 2, mask), layout.Rectangle(6, 1, 3)
    joined = layout.join([first, second, third])
    assert [(r.start, r.rows, r.width) for r in joined] == [(0, 3, 2), (6, 1, 3)]
    assert joined[0].mask.tolist() == [[True, True], [True, True], [True, False]]
    assert joined[1].mask is None


def test_attention_without_a_layout_says_what_it_needs(world):
    with pytest.raises(BackboneError, match="layout"):
        world.bare.model(input_ids=torch.tensor([[5, 6]]))
