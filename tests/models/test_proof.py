"""Each row is what the stock model makes of it alone, wherever it lies; and what would make it another is found."""

from __future__ import annotations

import json
from functools import cache as remembered
from pathlib import Path
from tempfile import mkdtemp

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mtlfn.models import attention, backbone, layout, placement, proof
from mtlfn.models.attention import CAUSAL, EVERYTHING, Rule
from mtlfn.models.families import BackboneError
from mtlfn.run import proven
from tests.models.families import make

# Where windows, caps, sinks and directions differ, and both ways of reading; the window's name, where there is one.
WINDOWS = {
    "bert": None,
    "llama": None,
    "llama-two-way": None,
    "mistral": "sliding_window",
    "gemma2": "sliding_window",
    "gemma3-two-way": "sliding_window",
    "modernbert": "local_attention",
    "gpt-oss": "sliding_window",
    "mpnet": None,
    "deberta-v2": None,
}
READ_OUT = 2


@remembered
def loaded(family: str, window: int) -> backbone.Backbone:
    """A model of a family, read out in its middle; made once a process."""
    changes = {WINDOWS[family]: window} if WINDOWS[family] else {}
    base = backbone.load(str(make(family, Path(mkdtemp()) / family, **changes)))
    placement.install_read_out(base.model, READ_OUT)
    return base


@torch.no_grad()
def stock(base: backbone.Backbone, row: Tensor) -> tuple[Tensor, Tensor]:
    """The hidden states at the read-out layer and at the top of a row alone, with eager attention."""
    with proof._eager(base.model):
        use_cache = {"use_cache": False} if "use_cache" in base.model.reading.takes else {}
        out = base.model(input_ids=row[None], output_hidden_states=True, **use_cache)
    return out.hidden_states[READ_OUT][0], out.last_hidden_state[0]


def near(ours: Tensor, theirs: Tensor, share: float = 1e-4) -> bool:
    return float((ours - theirs).abs().max()) <= share * float(theirs.abs().max())


@torch.no_grad()
def read(base: backbone.Backbone, rows: list[list[Tensor]], leaving: int, unpad: bool) -> list[tuple[Tensor, Tensor]]:
    """(features, top) of every row; micro-batches of rows, of which the first ``leaving`` leave at the read-out layer.

    The top of a row that left is empty.
    """
    rectangles, ids, at = [], [], 0
    for group in rows:
        width = max(map(len, group))
        mask = torch.arange(width) < torch.tensor([[len(row)] for row in group])
        rectangles.append(layout.Rectangle(at, len(group), width, None if bool(mask.all()) else mask))
        ids += [torch.cat([row, torch.full((width - len(row),), 7)]) for row in group]
        at = rectangles[-1].stop
    left = rectangles[leaving - 1].stop if leaving else 0
    laid = (layout.unpadded if unpad else layout.lay_out)(rectangles, left)
    flat = torch.cat(ids)[laid.places if unpad else slice(None)][None]
    positions = torch.cat([torch.arange(r.width).repeat(r.rows) for r in laid.rectangles])[None]
    found = base.model(layout=laid, **base.model.reading.arguments(flat, positions, torch.zeros_like(flat)))
    top, features = found.last_hidden_state, found.features
    if unpad:
        features = layout.spread(features, laid.places, at)
        top = layout.spread(top, laid.places[laid.places >= left] - left, at - left) if left < at else top
    out = []
    for group, r in zip(rows, rectangles, strict=True):
        below = features[0, r.start : r.stop].unflatten(0, (r.rows, r.width))
        above = top[0, r.start - left : r.stop - left].unflatten(0, (r.rows, r.width)) if r.start >= left else None
        for i, row in enumerate(group):
            out.append((below[i, : len(row)], row.new_empty(0) if above is None else above[i, : len(row)]))
    return out


@pytest.mark.parametrize("family", WINDOWS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_row_is_what_it_is_alone_and_feels_no_neighbour(family, data):
    window = data.draw(st.sampled_from([2, 6, 16]) if WINDOWS[family] else st.just(0), label="window")
    lengths = data.draw(st.lists(st.lists(st.integers(1, 24), min_size=1, max_size=3), min_size=1, max_size=3))
    leaving = data.draw(st.integers(0, len(lengths)), label="micro-batches that leave")
    seed = data.draw(st.integers(0, 9), label="seed")
    base = loaded(family, window)
    unpad = base.way == "ragged" and data.draw(st.booleans(), label="unpad")
    generator = torch.Generator().manual_seed(seed)

    def row(length: int) -> Tensor:
        return torch.randint(3, 259, (length,), generator=generator)

    rows = [[row(n) for n in group] for group in lengths]
    found = read(base, rows, leaving, unpad)
    for (features, top), tokens in zip(found, [r for group in rows for r in group], strict=True):
        below, above = stock(base, tokens)
        assert near(features, below)
        assert not len(top) or near(top, above)
    # All rows but the first are others now, and so is what stands in the padding of all.
    others = [[rows[0][0] if i == j == 0 else row(n) for j, n in enumerate(group)] for i, group in enumerate(lengths)]
    for a, b in zip(found[0], read(base, others, leaving, unpad)[0], strict=True):
        assert not len(a) or near(a, b, 1e-5)


# What the proof finds


@pytest.fixture
def base(request: pytest.FixtureRequest, tmp_path) -> backbone.Backbone:
    return backbone.load(str(make(request.param, tmp_path / request.param)))


def drop_the_window(patch: pytest.MonkeyPatch) -> None:
    asked = attention.rule
    rule = lambda **given: asked(**given) if asked(**given) in (CAUSAL, EVERYTHING) else CAUSAL  # noqa: E731
    register_rule(patch, rule)


def widen_the_window_by_one(patch: pytest.MonkeyPatch) -> None:
    def rule(**given):
        kept = attention.rule(**given)
        return kept if kept in (CAUSAL, EVERYTHING) else Rule(lambda q, k: kept.allows(q, k) | kept.allows(q - 1, k))

    register_rule(patch, rule)


def look_both_ways(patch: pytest.MonkeyPatch) -> None:
    register_rule(patch, lambda **_: EVERYTHING)


def register_rule(patch: pytest.MonkeyPatch, rule) -> None:
    from transformers import AttentionMaskInterface

    patch.setitem(AttentionMaskInterface._global_mapping, attention.ATTENTION, rule)


def drop_the_cap(patch: pytest.MonkeyPatch) -> None:
    plain = attention._plain
    patch.setattr(
        attention, "_plain", lambda q, k, v, allowed, scaling, cap, s: plain(q, k, v, allowed, scaling, None, s)
    )


def drop_the_sinks(patch: pytest.MonkeyPatch) -> None:
    plain = attention._plain
    patch.setattr(
        attention, "_plain", lambda q, k, v, allowed, scaling, c, _: plain(q, k, v, allowed, scaling, c, None)
    )


def let_rows_meet(patch: pytest.MonkeyPatch) -> None:
    buffers = placement._buffers

    def one_row(laid, device):
        slots = laid.rectangles[-1].stop
        return {**buffers(laid, device), "rectangles": torch.tensor([[1, slots, 0]])}

    patch.setattr(placement, "_buffers", one_row)


def look_at_padding(patch: pytest.MonkeyPatch) -> None:
    buffers = placement._buffers

    def unmasked(laid, device):
        found = buffers(laid, device)
        return {**found, "mask": torch.ones_like(found["mask"])}

    patch.setattr(placement, "_buffers", unmasked)


def count_positions_on(patch: pytest.MonkeyPatch) -> None:
    arguments = placement.Reading.arguments
    patch.setattr(
        placement.Reading,
        "arguments",
        lambda self, ids, positions, types: arguments(self, ids, torch.arange(ids.shape[1])[None], types),
    )


@pytest.mark.parametrize(
    ("base", "fault", "where"),
    [
        ("mistral", drop_the_window, "of 64 tokens"),
        ("gemma2", drop_the_window, "of 64 tokens"),
        ("mistral", widen_the_window_by_one, "of 64 tokens"),
        ("modernbert", widen_the_window_by_one, "of 64 tokens"),
        ("llama", look_both_ways, "end to end"),
        ("gemma2", drop_the_cap, "end to end"),
        ("gpt-oss", drop_the_sinks, "end to end"),
        ("bert", let_rows_meet, "feels its neighbour"),
        ("llama", let_rows_meet, "feels its neighbour"),
        ("bert", look_at_padding, "beside padding"),
        ("bert", count_positions_on, "end to end"),
    ],
    indirect=["base"],
)
def test_a_fault_in_reading_rows_end_to_end_is_found_and_they_are_read_one_by_one(base, fault, where, monkeypatch):
    assert base.way == "ragged"
    fault(monkeypatch)
    found = proof.prove(base, 64)
    assert (found.way, base.way) == ("padded", "padded")
    assert found.difference <= proof.TOLERANCE
    assert "differs from stock transformers by" in found.why
    assert where in found.why


@pytest.mark.parametrize("base", ["mpnet", "deberta-v2"], indirect=True)
def test_a_fault_in_reading_rows_one_by_one_is_refused(base, monkeypatch):
    called = placement._called

    def unmasked(model, laid, arguments):
        return called(model, laid, {**arguments, "attention_mask": torch.ones_like(arguments["input_ids"])})

    monkeypatch.setattr(placement, "_called", unmasked)
    kind = base.model.config.model_type
    with pytest.raises(
        BackboneError, match=f"^--backbone .*: {kind} cannot be used: a row beside padding differs .*BERT"
    ):
        proof.prove(base, 64)


def test_a_keyword_that_is_not_known_is_an_error_and_not_swallowed(tmp_path, monkeypatch):
    base = backbone.load(str(make("llama", tmp_path / "llama")))
    module = base.layers[0].self_attn
    q = torch.zeros(1, 4, 6, 8)
    for keywords, message in (
        ({"position_bias": torch.zeros(1)}, "position_bias"),
        ({"sliding_window": 3}, "window"),
        ({"dropout": 0.1}, "dropout"),
        ({"attention_mask": torch.zeros(1, 1, 6, 6)}, "mask of their own"),
    ):
        with pytest.raises(BackboneError, match=message):
            attention.attention(module, q, q[:, :2], q[:, :2], **{"attention_mask": None, **keywords})


# What is kept of it


def test_a_proof_is_kept_by_what_it_depends_on_and_made_again_where_it_is_damaged(tmp_path, monkeypatch):
    calls = []
    prove = proof.prove
    monkeypatch.setattr(proven, "prove", lambda base, length: calls.append(length) or prove(base, length))
    cache, folders = tmp_path / "cache", [make("mpnet", tmp_path / name) for name in ("one", "two")]

    def again(folder: Path = folders[0], length: int = 32) -> proof.Proof:
        base = backbone.load(str(folder))
        found = proven.proven(base, length, cache)
        assert base.way == found.way == "padded"
        return found

    first = again()
    assert calls == [32]
    assert again() == first
    assert again(folders[1]) == first  # a path is a label
    assert calls == [32]
    again(length=48)
    assert calls == [32, 48]
    config = json.loads((folders[1] / "config.json").read_text())
    (folders[1] / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 1e-3}))
    again(folders[1])
    assert calls == [32, 48, 32]
    kept = sorted((cache / "proofs").iterdir())
    assert len(kept) == 3
    for text in ("", "{", "[]", '{"way": "ragged"}'):
        for path in kept:
            path.write_text(text)
        assert again() == first
    assert calls == [32, 48, 32, 32, 32, 32, 32]


def test_a_proof_for_a_family_that_calls_another_attention_is_taken_up_without_a_forward_pass(tmp_path, monkeypatch):
    """Also where the proof found that rows cannot lie end to end, although the model calls our attention."""
    folder = make("bert", tmp_path / "bert")
    with pytest.MonkeyPatch.context() as patch:
        let_rows_meet(patch)
        assert proven.proven(backbone.load(str(folder)), 32, tmp_path).way == "padded"
    monkeypatch.setattr(proven, "prove", lambda *_: pytest.fail("proven again"))
    base = backbone.load(str(folder))
    assert base.way == "ragged"
    proven.proven(base, 32, tmp_path)
    assert base.way == "padded"
