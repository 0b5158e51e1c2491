"""What is saved is everything: every field of the state is hashed, written and restored, bit for bit, and checked."""

from __future__ import annotations

import ast
import json
import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import Tensor

import mtlfn
from mtlfn.core import state as states
from mtlfn.core.batch import Cursor
from mtlfn.core.keys import root
from mtlfn.core.state import (
    Conflict,
    Last,
    Lineage,
    Moments,
    NonFinite,
    Progress,
    Scaler,
    State,
    StateMismatch,
    decode,
    digest,
    encode,
    leaves,
)
from mtlfn.core.tokens import TokenCount
from tests.core.families import assert_bitwise, raw_bytes, storages

DTYPES = {
    torch.float32: 4,
    torch.float64: 8,
    torch.float16: 2,
    torch.bfloat16: 2,
    torch.int64: 8,
    torch.int32: 4,
    torch.int8: 1,
    torch.uint8: 1,
}
NANS = (0x7FC00000, 0x7FC00001, 0xFFC00000, 0x7F800001)  # quiet, with a payload, negative, signalling


def bits(*words: int) -> Tensor:
    """float32 from its bits."""
    return torch.from_numpy(np.array(words, dtype=np.uint32).view(np.float32).copy())


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Any bytes in any dtype: NaN of every payload, infinities, -0.0, subnormals; 0-d and empty shapes."""
    dtype = draw(st.sampled_from(list(DTYPES)))
    shape = draw(st.sampled_from([(), (0,), (1,), (3,), (2, 3), (2, 0, 3), (1, 1, 2)]))
    size = math.prod(shape) * DTYPES[dtype]
    data = bytearray(draw(st.binary(min_size=size, max_size=size)))
    return torch.frombuffer(data, dtype=dtype).clone().view(shape) if size else torch.empty(shape, dtype=dtype)


def rich() -> State:
    """A state in which no leaf has the value it has in ``blank``."""
    tree = {
        "shared": {"a": bits(*NANS, 0x80000000, 0x7F800000), "empty": torch.empty(2, 0), "gate": torch.tensor(-0.0)},
        "heads/x": {"w": torch.randn(3, 2).double(), "b": torch.randn(2).bfloat16()},
        "flags": {"on": torch.tensor([True, False]), "n": torch.tensor(-(2**62))},
    }
    sigma = {"x": torch.tensor(0.25), "y": torch.tensor(-0.5)}
    trained = {**tree, "sigma": sigma}

    def filled(value: float) -> dict[str, dict[str, Tensor]]:
        return {s: {n: torch.full_like(v, value) for n, v in names.items()} for s, names in trained.items()}

    return State(
        step=17,
        key=root(3),
        cursors={"x": Cursor(2, 5), "y": Cursor(1, 9)},
        tokens={"x": TokenCount(10**15, 2, 3, 4), "y": TokenCount(5, 6, 7, 8)},
        params=tree,
        sigma=sigma,
        optimizer=Moments(filled(1.0), filled(3.0), {s: dict.fromkeys(names, 4) for s, names in trained.items()}),
        scaler=Scaler(2.0**16, 11),
        conflicts={"x": {"y": Conflict(5, 3, -0.1)}, "y": {"x": Conflict(6, 2, 0.1 + 0.2)}},
        progress=Progress(0.1 + 0.7, 12, 2, 6),
        nonfinite=NonFinite(4, 1),
        last=Last({"x": 0.1, "y": None}, {"x": -0.0, "y": math.inf}, 1e-300),
        lineage=Lineage("run/ä", ("torch 2.12 to 2.13", "one thread to two")),
    )


def blank() -> State:
    """A state with the leaves of ``rich`` and other values everywhere."""
    return changed_everywhere(rich(), lambda leaf: torch.zeros_like(leaf) if isinstance(leaf, Tensor) else other(leaf))


def other(leaf: Any) -> Any:
    """Another value that this leaf could have."""
    if isinstance(leaf, Tensor):
        # A tensor without elements can differ only in shape or dtype.
        raw = leaf.clone().reshape(-1)
        return flipped(raw).view(leaf.shape) if leaf.numel() else leaf.to(torch.float16)
    if leaf is None:
        return 0.5
    if isinstance(leaf, int):
        return leaf + 1
    if isinstance(leaf, float):
        return math.nextafter(leaf, -math.inf)
    return (*leaf, "more") if isinstance(leaf, tuple) else leaf + "0"


def flipped(flat: Tensor) -> Tensor:
    """The last bit of the first element flipped."""
    data = bytearray(raw_bytes(flat))
    data[0] ^= 1
    return torch.frombuffer(data, dtype=flat.dtype).clone()


def changed(value: Any, path: str, change: Any, at: tuple[str, ...] = ()) -> Any:
    """``value`` with the leaf at ``path`` ("" for every leaf) replaced by ``change`` of it."""
    if attrs.has(type(value)):
        return type(value)(
            **{f.name: changed(getattr(value, f.name), path, change, (*at, f.name)) for f in attrs.fields(type(value))}
        )
    if isinstance(value, Mapping):
        return {name: changed(child, path, change, (*at, name)) for name, child in value.items()}
    return change(value) if path in ("", "|".join(at)) else value


def changed_everywhere(value: Any, change: Any) -> Any:
    return changed(value, "", change)


def fields_below(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every field of every attrs class in the value, walked apart from ``leaves``."""
    if attrs.has(type(value)):
        for f in attrs.fields(type(value)):
            yield (*path, f.name)
            yield from fields_below(getattr(value, f.name), (*path, f.name))
    elif isinstance(value, Mapping):
        for name, child in value.items():
            yield from fields_below(child, (*path, name))


def assert_same_state(found: Any, expected: Any) -> None:
    """Field by field, types and bytes included, without the digest."""
    assert type(found) is type(expected)
    if isinstance(expected, Tensor):
        assert_bitwise(found, expected)
    elif isinstance(expected, Mapping):
        assert found.keys() == expected.keys()
        for name in expected:
            assert_same_state(found[name], expected[name])
    elif attrs.has(type(expected)):
        for f in attrs.fields(type(expected)):
            assert_same_state(getattr(found, f.name), getattr(expected, f.name))
    elif isinstance(expected, float):
        assert struct.pack(">d", found) == struct.pack(">d", expected)
    else:
        assert found == expected


PATHS = [path for path, _ in leaves(rich())]


def test_every_field_has_a_leaf():
    found = {tuple(path.split("|")) for path in PATHS}
    for field in fields_below(rich()):
        assert any(path[: len(field)] == field for path in found), field
    assert len(PATHS) == len(set(PATHS))


def test_the_round_trip_restores_every_field():
    state, like = rich(), blank()
    for (path, a), (_, b) in zip(leaves(state), leaves(like), strict=True):
        assert digest({"leaf": a}) != digest({"leaf": b}) or (isinstance(a, Tensor) and not a.numel()), path
    back = decode(encode(state), like)
    assert_same_state(back, state)
    assert digest(back) == digest(state)


@pytest.mark.parametrize("path", PATHS)
def test_each_leaf_is_hashed_written_and_required(path):
    state = rich()
    mutant = changed(state, path, other)
    assert digest(mutant) != digest(state)
    back = decode(encode(mutant), mutant)
    assert_same_state(back, mutant)
    files = without(encode(state), path)
    with pytest.raises(StateMismatch, match=rf"^{escaped(path)}: missing"):
        decode(files, state)


def escaped(path: str) -> str:
    return path.replace("|", r"\|")


def without(files: Mapping[str, bytes], path: str) -> dict[str, bytes]:
    document, held = json.loads(files["state.json"]), load(files["state.safetensors"])
    assert (path in document["leaves"]) != (path in held)
    document["leaves"].pop(path, None)
    held.pop(path, None)
    return {"state.json": json.dumps(document).encode(), "state.safetensors": save(held)}


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "B"]), tensors(), min_size=1))
def test_any_tensor_makes_the_round_trip(held):
    like = states.init(root(0), {"slot": {n: torch.zeros_like(v) for n, v in held.items()}}, ("x",))
    state = attrs.evolve(like, params={"slot": held})
    back = decode(encode(state), like)
    for name, value in held.items():
        assert_bitwise(back.params["slot"][name], value)
    assert digest(back) == digest(state)
    assert list(back.params["slot"]) == list(held)


numbers = st.floats(allow_nan=False)  # NaN: below


@given(numbers, st.one_of(st.none(), numbers), st.one_of(st.none(), numbers), st.integers(0, 2**70), st.text())
def test_any_number_and_text_makes_the_round_trip(norm, loss, best, tokens, parent):
    like = states.init(root(0), {}, ("x",))
    state = attrs.evolve(
        like,
        tokens={"x": TokenCount(tokens)},
        progress=Progress(best=best),
        last=Last({"x": loss}, {"x": loss}, norm),
        lineage=Lineage(parent, (parent, "")),
    )
    assert digest(decode(encode(state), like)) == digest(state)


def test_a_loss_that_is_any_nan_makes_the_round_trip():
    """0 / 0 on a processor is a NaN with the sign set; the state that counts such a step must reload as itself."""
    like = states.init(root(0), {}, ("x",))
    for nan in (math.nan, -math.nan, struct.unpack(">d", bytes.fromhex("7ff8000000000123"))[0]):
        state = attrs.evolve(like, last=Last({"x": nan}, {"x": nan}, nan))
        assert digest(decode(encode(state), like)) == digest(state)


def test_decoded_tensors_are_their_own():
    state = rich()
    back = decode(encode(state), state)
    found = [leaf for _, leaf in leaves(back) if isinstance(leaf, Tensor)]
    addresses = [t.untyped_storage().data_ptr() for t in found if t.numel()]
    assert len(addresses) == len(set(addresses))
    assert not storages(found) & storages(leaf for _, leaf in leaves(state) if isinstance(leaf, Tensor))


def test_encoding_is_a_function_of_the_value():
    state = rich()
    reordered = reverse(state)
    assert list(reordered.params) != list(state.params)
    assert encode(reordered) == encode(state)
    assert digest(reordered) == digest(state)


def reverse(value: Any) -> Any:
    """The same value with every mapping in the opposite order."""
    if attrs.has(type(value)):
        return type(value)(**{f.name: reverse(getattr(value, f.name)) for f in attrs.fields(type(value))})
    if isinstance(value, Mapping):
        return {name: reverse(value[name]) for name in reversed(value)}
    return value


def test_views_are_hashed_and_written_as_their_values():
    whole = torch.arange(12.0).view(3, 4)
    views = {"t": whole.T, "column": whole[:, 1], "row": whole[1], "expanded": whole[0].expand(2, 4)}
    state = states.init(root(0), {"slot": views}, ("x",))
    own = attrs.evolve(state, params={"slot": {n: v.contiguous().clone() for n, v in views.items()}})
    assert digest(state) == digest(own)
    assert encode(state) == encode(own)


DIFFERENT = {
    "one ulp": (torch.tensor([1.0]), torch.tensor([1.0 + 2**-23])),
    "zeros": (torch.tensor([0.0]), torch.tensor([-0.0])),
    "dtype": (torch.zeros(2), torch.zeros(2, dtype=torch.int32)),
    "dtype of the same bytes and size": (torch.zeros(2).half(), torch.zeros(2).bfloat16()),
    "shape": (torch.zeros(2, 3), torch.zeros(3, 2)),
    "0-d": (torch.zeros(()), torch.zeros(1)),
    "empty shapes": (torch.zeros(0, 2), torch.zeros(2, 0)),
    "order of elements": (torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.0])),
    "NaN payloads": (bits(NANS[0]), bits(NANS[1])),
    "NaN signs": (bits(NANS[0]), bits(NANS[2])),
    "quiet and signalling NaN": (bits(NANS[1]), bits(NANS[3])),
    "int and float": (1, 1.0),
    "int and bool": (1, True),
    "float zeros": (0.0, -0.0),
    "float ulp": (0.3, 0.1 + 0.2),
    "None and its name": (None, "None"),
    "int and its text": (1, "1"),
    "None and zero": (None, 0),
    "bool and its name": (True, "True"),
    "text and a tuple of it": ("a", ("a",)),
    "tuples that read alike": (("a", "b"), ("a, b",)),
    "tuple order": (("a", "b"), ("b", "a")),
    "tensor and number": (torch.tensor(1.0), 1.0),
}


@pytest.mark.parametrize(("a", "b"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_the_digest_tells_apart(a, b):
    assert digest({"x": a}) != digest({"x": b})


def test_the_digest_tells_names_and_places_apart():
    made = [{"x": 1, "y": 2}, {"x": 2, "y": 1}, {"x": 1, "z": 2}, {"x": {"y": 1}}, {"x": 1}, {"y": 1}, {"xy": 1}]
    assert len({digest(value) for value in made}) == len(made)


@given(tensors())
def test_the_digest_depends_on_the_bytes_alone(tensor):
    assert digest({"x": tensor}) == digest({"x": tensor.clone()})
    if tensor.numel():
        assert digest({"x": tensor}) != digest({"x": flipped(tensor.reshape(-1)).view(tensor.shape)})


@pytest.mark.parametrize(
    "leaf", [[1], {1}, b"a", 1j, object(), (1, 2), np.int64(1)], ids=lambda leaf: type(leaf).__name__
)
def test_what_cannot_be_part_of_a_state_is_refused_by_its_path(leaf):
    with pytest.raises(TypeError, match=r"^x\|y: a " + type(leaf).__name__):
        digest({"x": {"y": leaf}})


def test_a_name_with_the_separator_is_refused():
    with pytest.raises(ValueError, match=r"'a\|b'"):
        list(leaves({"a|b": 1}))


def test_leaves_come_in_canonical_order():
    assert [path for path, _ in leaves({"b": {"z": 1, "y": 2}, "a": 3})] == ["a", "b|y", "b|z"]


def with_extra(files: Mapping[str, bytes], path: str, leaf: Any) -> dict[str, bytes]:
    document, held = json.loads(files["state.json"]), load(files["state.safetensors"])
    (held if isinstance(leaf, Tensor) else document["leaves"])[path] = leaf
    return {"state.json": json.dumps(document).encode(), "state.safetensors": save(held)}


MISFITS = {
    "extra tensor": ("params|shared|new", torch.zeros(1), "unexpected"),
    "extra number": ("tokens|z|input", 1, "unexpected"),
    "shape": ("params|shared|a", torch.zeros(5), r"expected torch.float32\[6\], found torch.float32\[5\]"),
    "dimensions": ("params|shared|gate", torch.zeros(1), r"expected torch.float32\[\], found torch.float32\[1\]"),
    "dtype": ("sigma|x", torch.zeros((), dtype=torch.float64), r"expected torch.float32\[\], found torch.float64\[\]"),
}


@pytest.mark.parametrize(("path", "leaf", "message"), MISFITS.values(), ids=MISFITS.keys())
def test_a_leaf_that_does_not_fit_is_named(path, leaf, message):
    with pytest.raises(StateMismatch, match=rf"^{escaped(path)}: {message}"):
        decode(with_extra(encode(rich()), path, leaf), rich())


def test_a_tensor_where_a_number_belongs_is_named_and_the_reverse():
    for path, leaf, message in (
        ("step", torch.tensor(1), "expected a int, found a Tensor"),
        ("sigma|x", 0.5, "expected a Tensor, found a float"),
    ):
        files = with_extra(without(encode(rich()), path), path, leaf)
        with pytest.raises(StateMismatch, match=rf"^{escaped(path)}: {message}"):
            decode(files, rich())


@pytest.mark.parametrize("schema", [states.SCHEMA + 1, states.SCHEMA - 1, None])
def test_another_schema_is_refused(schema):
    files = encode(rich())
    document = json.loads(files["state.json"]) | {"schema": schema}
    with pytest.raises(StateMismatch, match=f"schema {schema}, this version reads schema {states.SCHEMA}"):
        decode({**files, "state.json": json.dumps(document).encode()}, rich())


def test_the_first_state_has_everything_at_its_start():
    params = {"shared": {"w": torch.ones(2, 3)}, "head": {"b": torch.ones(2)}}
    state = states.init(root(1), params, ("x", "y", "z"), patience=5, parent="other")
    assert (state.step, state.input_tokens, state.progress.patience_left, state.lineage.parent) == (0, 0, 5, "other")
    assert list(state.tokens) == list(state.cursors) == list(state.sigma) == ["x", "y", "z"]
    assert {(i, j) for i, row in state.conflicts.items() for j in row} == {
        (i, j) for i in "xyz" for j in "xyz" if i != j
    }
    moments = state.optimizer
    for tree in (moments.mean, moments.square):
        assert {(s, n, v.shape, v.dtype, float(v.sum())) for s, names in tree.items() for n, v in names.items()} == {
            ("shared", "w", (2, 3), torch.float32, 0.0),
            ("head", "b", (2,), torch.float32, 0.0),
            *{("sigma", t, (), torch.float32, 0.0) for t in "xyz"},
        }
    assert moments.count == {"shared": {"w": 0}, "head": {"b": 0}, "sigma": dict.fromkeys("xyz", 0)}


@given(st.lists(st.floats(0, 1), max_size=12), st.integers(1, 4))
def test_patience_falls_with_every_evaluation_that_is_not_better(scores, patience):
    state, best, best_step, left = states.init(root(0), {}, ("x",), patience=patience), None, None, patience
    for number, score in enumerate(scores):
        state = states.record(attrs.evolve(state, step=10 * number), score, patience)
        if best is None or score > best:
            best, best_step, left = score, 10 * number, patience
        else:
            left = max(left - 1, 0)
    assert state.progress == Progress(best, best_step, left, len(scores))


UNSAFE_MODULES = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
UNSAFE_CALLS = {"eval", "exec", "builtins.eval", "builtins.exec", "torch.load", "torch.save"}


def test_nothing_in_the_package_reads_code_from_a_file():
    sources = sorted(Path(mtlfn.__file__).parent.rglob("*.py"))
    assert len(sources) > 20
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            imported = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for name in imported:
                assert name.split(".")[0] not in UNSAFE_MODULES, source
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            assert called not in UNSAFE_CALLS, source
            assert not (called in {"np.load", "numpy.load"} and "allow_pickle" in ast.unparse(node)), source
