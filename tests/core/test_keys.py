"""Every draw is a pure function of its key, no two purposes share a key, and the global generators are not touched."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtlfn.core import keys
from mtlfn.core.keys import fold, root

CPU = torch.device("cpu")


def bits16(key: keys.Key, count: int) -> torch.Tensor:
    return torch.from_numpy(keys.bits16(key, count))


parts = st.lists(st.one_of(st.integers(-(2**70), 2**70), st.text(max_size=6)), max_size=4).map(tuple)
typed_parts = parts.map(lambda ps: tuple((type(p), p) for p in ps))


@given(typed_parts, typed_parts)
def test_different_parts_give_different_keys(first, second):
    a, b = (fold(root(0), *(p for _, p in ps)) for ps in (first, second))
    assert (a == b) == (first == second)
    assert len(a) == 64
    assert int(a, 16) >= 0


LOOKALIKES = [("ab", 1), ("a", "b1"), ("ab1",), ("a", "b", 1), ("ab", "1"), (), ("",), ("", ""), (1, "ab"), ("int:1",)]


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations([*LOOKALIKES, (1,)], 2)), ids=repr)
def test_parts_that_read_alike_are_told_apart(first, second):
    assert fold(root(0), *first) != fold(root(0), *second)


def test_parts_cannot_be_forged_by_what_a_name_holds():
    """A part that spells out the prefix of the next one: without lengths the two would hash the same bytes."""
    inner = b"str:b"
    forged = "a" + (len(inner).to_bytes(8, "big") + inner).decode()
    assert fold(root(0), "a", "b") != fold(root(0), forged)
    assert fold(root(0), "a", "b") != fold(root(0), "astr:b")


@given(st.integers(0, 2**64), st.integers(0, 2**64))
def test_different_seeds_give_different_roots(a, b):
    assert (root(a) == root(b)) == (a == b)
    assert (fold(root(a), "x") == fold(root(b), "x")) == (a == b)


def test_no_two_draws_of_one_run_share_a_seed():
    """What the generators really read (128 bits) over a run of 10,000 steps; 32 bits would collide about five times."""
    run, seen = root(0), set()
    for step in range(10_000):
        key = fold(run, "step", step)
        for task in ("a", "b", "c", "d"):
            for site in range(5):
                seen.add(fold(key, "dropout", task, site)[:32])
        seen.add(fold(run, "sample", step)[:32])
    assert len(seen) == 10_000 * (4 * 5 + 1)
    assert len({seed[:8] for seed in seen}) < len(seen)  # so the test would see a collision


@pytest.mark.parametrize("digit", range(32))
def test_the_generators_read_all_128_bits(digit):
    key = root(1)
    for bit in range(4):
        other = key[:digit] + f"{int(key[digit], 16) ^ (1 << bit):x}" + key[digit + 1 :]
        assert not torch.equal(bits16(key, 32), bits16(other, 32))
        assert keys.numpy_generator(key).integers(2**63) != keys.numpy_generator(other).integers(2**63)


def mask(key: keys.Key, shape: tuple[int, ...], rate: float, dtype: torch.dtype) -> torch.Tensor:
    return keys.keep_masks([(key, math.prod(shape))], rate, CPU, dtype).view(shape)


shapes = st.lists(st.integers(0, 5), min_size=1, max_size=3).map(tuple)
draws = {
    "bits16": lambda key, shape: bits16(key, math.prod(shape)),
    "mask": lambda key, shape: mask(key, shape, 0.3, torch.float32),
    "normal": lambda key, shape: keys.normal(key, shape, 2.0),
    "uniform": lambda key, shape: keys.uniform(key, shape, 2.0),
    "numpy_generator": lambda key, shape: torch.from_numpy(keys.numpy_generator(key).random(shape)),
}


@pytest.mark.parametrize("name", draws)
@given(st.integers(0, 2**31), shapes)
def test_a_draw_repeats_and_touches_no_global_generator(name, seed, shape):
    def generators() -> tuple:
        return random.getstate(), tuple(map(str, np.random.get_state())), torch.get_rng_state().tolist()

    before = generators()
    first, second = (draws[name](root(seed), shape) for _ in range(2))
    assert generators() == before
    assert torch.equal(first, second)
    assert first.shape == (torch.Size([math.prod(shape)]) if name == "bits16" else torch.Size(shape))


@pytest.mark.parametrize("name", [name for name in draws if name not in ("bits16", "numpy_generator")])
def test_a_single_number_can_be_drawn(name):
    assert draws[name](root(0), ()).shape == ()


@pytest.mark.parametrize("name", draws)
def test_another_key_draws_otherwise(name):
    assert len({tuple(draws[name](root(seed), (64,)).tolist()) for seed in range(20)}) == 20


def test_a_longer_draw_begins_like_a_shorter_one():
    assert torch.equal(bits16(root(0), 1001)[:7], bits16(root(0), 7))


def test_bits_are_uniform_over_16_bits():
    drawn = bits16(root(5), 2**18)
    assert drawn.dtype == torch.int16
    counts = torch.bincount((drawn.long() + 2**15) >> 8, minlength=256)
    assert counts.sum() == 2**18
    expected = 2**18 / 256
    assert float(((counts - expected) ** 2 / expected).sum()) < 330  # chi-square with 255 degrees: 0.1 %


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_a_mask_drops_at_its_rate_and_keeps_the_mean(rate, dtype):
    shape, key, scale = (300, 400), root(11), 1 / (1 - round(rate * 65536) / 65536)
    found = mask(key, shape, rate, dtype)
    assert (found.shape, found.dtype) == (shape, dtype)
    assert set(found.unique().tolist()) <= {0.0, torch.tensor(scale, dtype=dtype).item()}
    assert torch.equal(found == 0, mask(key, shape, rate, torch.float64) == 0)
    dropped, deviation = (found == 0).double().mean().item(), math.sqrt(rate * (1 - rate) / found.numel())
    assert abs(dropped - rate) <= 4 * deviation + 1 / 65536
    slack = 2**-8 if dtype == torch.bfloat16 else 1e-6  # the scale itself is rounded
    assert abs(found.double().mean().item() - 1) <= 4 * deviation / (1 - rate) + slack + 1e-4
    if rate == 0:
        assert bool((found == 1).all())


def test_rows_and_columns_of_a_mask_are_dropped_independently():
    dropped = (mask(root(3), (400, 400), 0.5, torch.float32) == 0).double()
    for dim in (0, 1):
        assert float(dropped.mean(dim).var()) == pytest.approx(0.25 / 400, rel=0.4)
    assert abs(float((dropped[:, 1:] * dropped[:, :-1]).mean()) - 0.25) < 0.01


@given(st.integers(0, 2**31), st.floats(2**-10, 2**10, width=32))
def test_uniform_draws_stay_in_their_range(seed, bound):
    drawn = keys.uniform(root(seed), (500,), bound)
    assert drawn.dtype == torch.float32
    assert bool(((drawn >= -bound) & (drawn < bound)).all())
    assert abs(float(drawn.mean())) < 0.15 * bound
    assert float(drawn.std()) == pytest.approx(bound / math.sqrt(3), rel=0.15)


def test_normal_draws_are_normal():
    drawn = keys.normal(root(0), (100, 400), 0.02).double().flatten() / 0.02
    assert keys.normal(root(0), (2,), 1.0).dtype == torch.float32
    deviation = 1 / math.sqrt(len(drawn))
    assert abs(float(drawn.mean())) < 4 * deviation
    assert abs(float(drawn.var()) - 1) < 4 * math.sqrt(2) * deviation
    assert float((drawn.abs() < 1).double().mean()) == pytest.approx(0.6827, abs=0.01)
    assert 3.5 < float(drawn.abs().max()) < 6
