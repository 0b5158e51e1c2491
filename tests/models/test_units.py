"""bfloat16 on a CPU with and without units for it: the same gradients by the way that is fast there."""

from __future__ import annotations

import attrs
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mtlfn.core.gradients import ENGINES
from mtlfn.models import attention, units
from mtlfn.models.strategy import STRATEGIES
from mtlfn.models.wide import WideLinear
from tests import tiny
from tests.models.test_engines import BATCHES, distance, take, whole

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, True), ("", True), ("avx512_core_amx", True), ("AVX512_CORE_BF16", False)]
)
def test_units_that_onednn_may_not_use_are_none(monkeypatch, limit, expected):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if limit is not None:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert units.has_amx() is expected
    assert units.products(torch.bfloat16, CPU) == (torch.bfloat16 if expected else torch.float32)


def test_only_bfloat16_on_a_cpu_is_computed_in_something_else(monkeypatch):
    monkeypatch.setattr(units, "has_amx", lambda: False)
    assert units.products(torch.bfloat16, torch.device("cuda")) == torch.bfloat16
    for precision in (torch.float32, torch.float16):
        assert units.products(precision, CPU) == precision


def test_without_units_gradients_are_those_of_rounded_weights_in_float32(world, monkeypatch):
    strategy = STRATEGIES["s3b"]
    rounded = world(strategy)
    for module in rounded.built.backbone.model.modules():
        if isinstance(module, nn.Linear) and module.weight.isfinite().all():
            for value in module.parameters():
                value.data = value.data.bfloat16().float()
    monkeypatch.setattr(units, "has_amx", lambda: False)
    made = world(strategy, precision=torch.bfloat16)
    wide = [m for m in made.built.backbone.model.modules() if isinstance(m, WideLinear)]
    assert wide
    assert {m.weight.dtype for m in wide} == {torch.bfloat16}
    batch = tiny.batch(made.corpora, *BATCHES["every kind"])
    for engine in ENGINES:
        assert torch.equal(whole(take(engine, made, batch)), whole(take(engine, rounded, batch)))


def test_a_wide_linear_keeps_its_weight_alone_for_the_reverse_pass():
    linear = nn.Linear(3, 5).to(torch.bfloat16).requires_grad_(False)
    linear.__class__ = WideLinear
    stored = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: stored.append(tensor.dtype) or tensor, lambda t: t):
        x = torch.randn(2, 3, requires_grad=True)
        out = linear(x)
    assert stored == [torch.bfloat16]
    torch.testing.assert_close(out, F.linear(x, linear.weight.float(), linear.bias.float()))
    (grad,) = torch.autograd.grad(out.sum(), x)
    torch.testing.assert_close(grad, linear.weight.float().sum(0).expand(2, 3))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", ["everything", "padding", "causal", "causal, grouped", "window beside padding"])
def test_attention_in_half_precision_is_near_that_in_float64(dtype, kind):
    rows, heads, width, size = 2, 4, 6, 8
    groups = 2 if "grouped" in kind else heads
    drawn = [torch.randn(rows, n, width, size, dtype=torch.float64) for n in (heads, groups, groups)]
    inside = torch.arange(width) < torch.tensor([[width], [4]]) if "padding" in kind else None
    rule = attention.CAUSAL if "causal" in kind else attention.EVERYTHING
    if "window" in kind:
        rule = attention.Rule(lambda query, key: (query - key).abs() <= 1)
    weights = torch.randn(rows, heads, width, size, dtype=torch.float64)
    if inside is not None:
        weights = weights * inside[:, None, :, None]  # nobody reads what stands at padding

    def gradients(kind: torch.dtype) -> tuple[torch.Tensor, ...]:
        leaves = [value.to(dtype).to(kind).requires_grad_() for value in drawn]
        out = attention._fused(*leaves, rule, inside, None)
        assert out.dtype == kind
        return out.detach() * weights.bool(), *torch.autograd.grad((out.double() * weights).sum(), leaves)

    for half, exact in zip(gradients(dtype), gradients(torch.float64), strict=True):
        assert distance(half, exact) < (0.02 if dtype == torch.bfloat16 else 0.003)


def test_the_banner_says_which_precision_is_faster(world, monkeypatch):
    from mtlfn.run.one import summary

    made = world(STRATEGIES["s2"], precision=torch.bfloat16).built
    monkeypatch.setattr(units, "has_amx", lambda: True)
    for precision, words in ((torch.float32, "--precision bf16 is faster"), (torch.bfloat16, "bf16, the faster")):
        (line,) = summary._faster(attrs.evolve(made, precision=precision, products=precision))
        assert words in line
    monkeypatch.setattr(units, "has_amx", lambda: False)
    (line,) = summary._faster(attrs.evolve(made, precision=torch.bfloat16, products=torch.float32))
    assert "products taken in fp32; fp32 is the faster" in line
    assert summary._faster(attrs.evolve(made, precision=torch.float32, products=torch.float32)) == []
    assert summary._faster(attrs.evolve(made, device=torch.device("cuda"))) == []
