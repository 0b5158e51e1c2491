"""Cross-level attention is its formula: it starts as a layer norm of the top, and never looks at padding."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mtlfn.models import cross_attention, model
from tests import tiny

MASK = torch.tensor([[True, True, True, True], [True, True, False, False], [True, False, False, False]])


@pytest.fixture
def params() -> dict[str, torch.Tensor]:
    return cross_attention.init(tiny.WIDTH, tiny.KEY)


def test_at_the_start_the_level_2_output_is_the_normalised_top(params):
    top, features = torch.randn(3, 4, tiny.WIDTH), torch.randn(3, 4, tiny.WIDTH)
    expected = F.layer_norm(top, (tiny.WIDTH,))
    assert torch.equal(cross_attention.attend(params, top, features, MASK), expected)
    assert torch.equal(cross_attention.attend(params, top, features, None), expected)


def test_the_model_at_its_start_reads_the_normalised_top(bert, cache):
    """Gate and B are zero: a level-2 head sees LN(h) of the bare backbone, whatever the features are."""
    built, corpora = tiny.build(bert, cache, ("spans", "pubmedqa"))
    start = model.init_params(built, tiny.KEY)
    other = tiny.clones(start)
    for name in ("query.weight", "key.weight"):
        other["cross_attention"][name] += 1
    parts = tiny.batch(corpora, ("pubmedqa", 4)).micro_batches
    with torch.no_grad():
        (one,), (two,) = (model.forward(built, p, parts, None) for p in (start, other))
        assert torch.equal(one, two)
        other["cross_attention"]["gate"] += 0.5
        (three,) = model.forward(built, other, parts, None)
    assert not torch.equal(one, three)


def test_the_formula_position_by_position(params):
    params = {**params, "gate": torch.tensor(0.7), "norm.weight": torch.rand(32), "norm.bias": torch.rand(32)}
    top, features = torch.randn(3, 4, 32), torch.randn(3, 4, 32)
    found = cross_attention.attend(params, top, features, MASK)
    for row in range(3):
        seen = features[row, MASK[row]]
        for at in range(4):
            query = params["query.weight"] @ top[row, at]
            scores = torch.stack([query @ (params["key.weight"] @ f) for f in seen]) / math.sqrt(32)
            z = top[row, at] + math.tanh(0.7) * (scores.softmax(0) @ seen)
            expected = (z - z.mean()) / (z.var(unbiased=False) + 1e-5).sqrt() * params["norm.weight"]
            torch.testing.assert_close(found[row, at], expected + params["norm.bias"], rtol=1e-4, atol=1e-5)


def test_padding_is_never_looked_at(params):
    params = {**params, "gate": torch.tensor(0.7)}
    top, features = torch.randn(3, 4, 32), torch.randn(3, 4, 32)
    soiled = features.masked_fill(~MASK[..., None], 1e3)
    a, b = (cross_attention.attend(params, top, f, MASK)[MASK] for f in (features, soiled))
    assert torch.equal(a, b)
