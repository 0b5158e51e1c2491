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
from mtlfn.run import documents
from mtlfn.run.machine import proven
from tests.models import families
from tests.models.families import make

# Where windows, caps, sinks and directions differ, and both ways of reading; the window's name, where there is one.
WINDOWS = {
    "bert": None,
    "roberta": None,
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
        everything = torch.ones_like(row[None])
        out = base.model(input_ids=row[None], attention_mask=everything, output_hidden_states=True, **use_cache)
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
    reading, groups = base.model.reading, torch.cat(ids).split([r.slots for r in rectangles])
    places = [
        reading.positions(each.view(r.rows, r.width)).flatten() for each, r in zip(groups, rectangles, strict=True)
    ]
    positions = torch.cat(places)[laid.places if unpad else slice(None)][None]
    found = base.model(layout=laid, **reading.arguments(flat, positions, torch.zeros_like(flat)))
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
        """Any tokens, that of padding among them."""
        tokens = torch.randint(0, 259, (length,), generator=generator)
        return torch.where(torch.rand(length, generator=generator) < 0.1, torch.ones_like(tokens), tokens)

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
        lambda self, ids, positions, types: arguments(self, ids, torch.arange(ids.shape[1])[None] % 256, types),
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


# What the proof finds of families that no test reads


def unknown(config: str, folder: Path, **settings: object) -> backbone.Backbone:
    """A tiny random model of a family of transformers."""
    import transformers

    families.tokenizer()(folder)
    shared = {"vocab_size": 259, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "initializer_range": 0.3}
    made = getattr(transformers, config)(**{**shared, **families.SHARED, **settings})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.AutoModel.from_config(made).save_pretrained(folder)
    return backbone.load(str(folder))


LLAMA4 = {"num_key_value_heads": 2, "head_dim": 8, "num_local_experts": 2, "intermediate_size_mlp": 64}


def test_what_goes_by_the_number_of_a_slot_is_found_in_passes_as_large_as_those_in_use(tmp_path):
    """Llama 4 scales queries by how far into the pass they are."""
    settings = {**LLAMA4, "floor_scale": 256, "attention_chunk_size": 64}
    found = proof.prove(unknown("Llama4TextConfig", tmp_path, **settings), 64, 100)
    assert found.way == "ragged"
    found = proof.prove(unknown("Llama4TextConfig", tmp_path, **settings), 64, 2048)
    assert found.way == "padded"
    assert "differs from stock transformers" in found.why


def test_chunks_are_masks_like_any_other(tmp_path):
    base = unknown("Llama4TextConfig", tmp_path, **LLAMA4, attention_chunk_size=8)
    assert proof.prove(base, 64, 512).way == "ragged"


def test_rows_that_change_with_the_longest_beside_them_are_refused(tmp_path):
    """LongRoPE takes other factors where the longest row of a batch passes a threshold."""
    rope = {"rope_type": "longrope", "long_factor": [4.0] * 4, "short_factor": [1.0] * 4, "rope_theta": 10000.0,
            "original_max_position_embeddings": 32}  # fmt: skip
    base = unknown("Phi3Config", tmp_path, rope_parameters=rope, max_position_embeddings=256,
                   original_max_position_embeddings=32)  # fmt: skip
    with pytest.raises(BackboneError, match="phi3 cannot be used: a row beside padding differs"):
        proof.prove(base, 64)
    assert proof.prove(backbone.load(str(tmp_path)), 24).way == "ragged"


def test_what_a_model_puts_out_is_as_wide_as_it_says(tmp_path, monkeypatch):
    base = unknown("LlamaConfig", tmp_path)
    monkeypatch.setattr(backbone.Backbone, "width", 48)
    with pytest.raises(BackboneError, match="puts out 32 numbers a token, where its configuration says 48"):
        proof.prove(base, 32)


@pytest.mark.parametrize(
    ("config", "settings", "why"),
    [
        ("BloomConfig", {"n_layer": 4, "n_head": 4}, "goes by rows and by something else"),
        ("GPTBigCodeConfig", {"n_embd": 32, "n_layer": 4, "n_head": 4}, "do not go on where rows leave"),
    ],
)
def test_a_family_that_cannot_be_read_inside_is_refused_for_levels_and_works_without(tmp_path, config, settings, why):
    from mtlfn.models.strategy import STRATEGIES
    from tests import tiny

    base = unknown(config, tmp_path / "base", **settings)
    assert proof.prove(base, 32).difference <= proof.TOLERANCE
    with pytest.raises(BackboneError, match=f"cannot be read at a layer inside: .*{why}.*; use s1, s2 or s3a"):
        tiny.build(tmp_path / "base", tmp_path / "cache", ("spans", "ddi"))
    built, _ = tiny.build(tmp_path / "base", tmp_path / "cache", ("spans", "ddi"), strategy=STRATEGIES["s2"])
    assert built.linears


def test_only_plain_linears_of_the_layers_are_adapted(tmp_path):
    """The routers of experts are linears by class, and put out two things."""
    from mtlfn.models import lora
    from mtlfn.models.strategy import S2

    base = unknown("Llama4TextConfig", tmp_path, **LLAMA4)
    _, linears = lora.attach(base, S2, lora.LoraSettings(targets="all-linear"))
    assert linears
    assert not any("router" in linear.name for linear in linears)
    base = unknown("Llama4TextConfig", tmp_path, **LLAMA4)
    with pytest.raises(BackboneError, match=r"router is of the class .* which cannot be adapted here"):
        lora.attach(base, S2, lora.LoraSettings(targets="router"))


@pytest.mark.parametrize("targets", ["default", "all-linear"])
def test_layers_of_other_linears_alone_are_refused(tmp_path, targets):
    """Falcon's are of a class of its own, with a product of its own."""
    from mtlfn.models import lora
    from mtlfn.models.strategy import S2

    base = unknown("FalconConfig", tmp_path)
    with pytest.raises(BackboneError, match=f"^--lora-targets {targets}: .*'falcon'.* no plain linears"):
        lora.attach(base, S2, lora.LoraSettings(targets=targets))


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_experts_that_are_one_tensor_are_refused(tmp_path, dropout):
    from mtlfn.models import lora
    from mtlfn.models.strategy import S2

    base = unknown(
        "Qwen3MoeConfig", tmp_path, num_experts=2, num_experts_per_tok=1, moe_intermediate_size=32, head_dim=8
    )
    with pytest.raises(BackboneError, match=r"^--lora-targets gate_proj,up_proj: "):
        lora.attach(base, S2, lora.LoraSettings(targets="gate_proj,up_proj", dropout=dropout))


# What is kept of it


def test_a_proof_is_kept_by_what_it_depends_on_and_made_again_where_it_is_damaged(tmp_path, monkeypatch):
    calls = []
    prove = proof.prove
    monkeypatch.setattr(proven, "prove", lambda base, length, slots: calls.append(length) or prove(base, length, slots))
    cache, folders = tmp_path / "cache", [make("mpnet", tmp_path / name) for name in ("one", "two")]

    def again(folder: Path = folders[0], length: int = 32) -> proof.Proof:
        base = backbone.load(str(folder))
        found = proven.proven(base, length, 2048, cache)
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
    honest = documents.read(kept[0])
    forged = [
        json.dumps({**honest, "length": 32, "difference": difference, "way": "ragged"})
        for difference in (0.5, float("nan"), float("inf"))
    ]
    texts = ["", "{", "[]", '{"way": "ragged"}', "[" * 100_000, *forged, json.dumps({**honest, "way": "sideways"})]
    for text in texts:
        for path in kept:
            path.write_text(text)
        assert again() == first
    assert calls == [32, 48, 32, *[32] * len(texts)]


def test_a_proof_for_a_family_that_calls_another_attention_is_taken_up_without_a_forward_pass(tmp_path, monkeypatch):
    """Also where the proof found that rows cannot lie end to end, although the model calls our attention."""
    folder = make("bert", tmp_path / "bert")
    with pytest.MonkeyPatch.context() as patch:
        let_rows_meet(patch)
        assert proven.proven(backbone.load(str(folder)), 32, 2048, tmp_path).way == "padded"
    monkeypatch.setattr(proven, "prove", lambda *_: pytest.fail("proven again"))
    base = backbone.load(str(folder))
    assert base.way == "ragged"
    proven.proven(base, 32, 2048, tmp_path)
    assert base.way == "padded"
