"""Everything the future of a run depends on, and nothing else: a frozen value that serialises in full.

What is saved and hashed is read off the types, never listed by hand. A leaf is a tensor, an int, a float, a string, a
bool, None or a tuple of strings; its path is made of the field names and mapping keys that lead to it.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import torch
from attrs import frozen
from torch import Tensor

from mtlfn.core.batch import Cursor
from mtlfn.core.keys import Key
from mtlfn.core.tokens import TokenCount

Tree = Mapping[str, Mapping[str, Tensor]]  # slot or head -> name -> tensor
SEPARATOR = "|"
SCHEMA = 1  # raised whenever a field or its meaning changes; the step from the one before goes into MIGRATIONS
# schema -> what turns the leaves (path -> value) of a state of that schema into those of the next
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}

SAFETENSORS = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


class StateMismatch(ValueError):
    """A serialised state does not fit the state expected; the message names the leaf."""


@frozen(eq=False)
class Moments:
    """AdamW's memory: first and second moments beside every trainable tensor, and each tensor's own step count."""

    mean: Tree
    square: Tree
    count: Mapping[str, Mapping[str, int]]


@frozen
class Scaler:
    """Loss scale of fp16 training and the number of finite steps since it last changed."""

    scale: float = 1.0
    good_steps: int = 0


@frozen
class Conflict:
    """How task i's gradient met task j's: steps met, steps in conflict, sum of cosines; see ``combine.conflicts``."""

    met: int = 0
    negative: int = 0
    cosine: float = 0.0


@frozen
class Progress:
    """Early stopping: best mean primary metric of a full evaluation, its step, evaluations left without a better."""

    best: float | None = None
    best_step: int | None = None
    patience_left: int = 3
    evaluations: int = 0


@frozen
class NonFinite:
    """Steps whose loss or gradient was not finite: in all, and in a row."""

    total: int = 0
    in_a_row: int = 0


@frozen
class Last:
    """The step just taken: raw and weighted loss of each task (None: absent), gradient norm before clipping."""

    loss: Mapping[str, float | None]
    weighted: Mapping[str, float | None]
    grad_norm: float = 0.0


@frozen
class Lineage:
    """The run this one continues or is matched to, and the environment changes that were accepted on the way."""

    parent: str | None = None
    breaks: tuple[str, ...] = ()


@frozen(eq=False)
class State:
    """The whole state of a run.

    Attributes:
        step: steps taken.
        key: root of every random draw; folded, never advanced.
        cursors: task -> where its stream stands.
        tokens: task -> tokens seen, Python ints.
        params: slot or head -> name -> trainable tensor.
        sigma: task -> s = log sigma^2, float32, 0-d.
        optimizer: AdamW's moments; its trees are ``params`` plus the slot "sigma".
        scaler, conflicts (i -> j), progress, nonfinite, last, lineage: see their types.
    """

    step: int
    key: Key
    cursors: Mapping[str, Cursor]
    tokens: Mapping[str, TokenCount]
    params: Tree
    sigma: Mapping[str, Tensor]
    optimizer: Moments
    scaler: Scaler
    conflicts: Mapping[str, Mapping[str, Conflict]]
    progress: Progress
    nonfinite: NonFinite
    last: Last
    lineage: Lineage

    @property
    def input_tokens(self) -> int:
        """Input tokens trained on so far, all tasks together."""
        return sum(count.input for count in self.tokens.values())


def init(
    key: Key,
    params: Tree,
    tasks: tuple[str, ...],
    *,
    patience: int = 3,
    parent: str | None = None,
    scale: float = 1.0,
) -> State:
    """The state before the first step; ``params`` as the model made them, ``tasks`` in canonical order."""
    sigma = {task: torch.zeros((), device=_device(params)) for task in tasks}
    trained = {**params, "sigma": sigma}
    return State(
        step=0,
        key=key,
        cursors={task: Cursor() for task in tasks},
        tokens={task: TokenCount() for task in tasks},
        params={slot: dict(tensors) for slot, tensors in params.items()},
        sigma=sigma,
        optimizer=Moments(
            mean={slot: {n: torch.zeros_like(v) for n, v in tensors.items()} for slot, tensors in trained.items()},
            square={slot: {n: torch.zeros_like(v) for n, v in tensors.items()} for slot, tensors in trained.items()},
            count={slot: dict.fromkeys(tensors, 0) for slot, tensors in trained.items()},
        ),
        scaler=Scaler(scale),
        conflicts={i: {j: Conflict() for j in tasks if j != i} for i in tasks},
        progress=Progress(patience_left=patience),
        nonfinite=NonFinite(),
        last=Last(dict.fromkeys(tasks), dict.fromkeys(tasks)),
        lineage=Lineage(parent=parent),
    )


def record(state: State, score: float, patience: int) -> State:
    """Folds a full evaluation's mean primary metric into the state, so that early stopping resumes exactly."""
    progress = state.progress
    if progress.best is None or score > progress.best:
        after = Progress(best=score, best_step=state.step, patience_left=patience, evaluations=progress.evaluations + 1)
    else:
        after = attrs.evolve(
            progress, patience_left=max(progress.patience_left - 1, 0), evaluations=progress.evaluations + 1
        )
    return attrs.evolve(state, progress=after)


def _device(params: Tree) -> torch.device:
    return next((v.device for tensors in params.values() for v in tensors.values()), torch.device("cpu"))


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every leaf with its path, in canonical order (field names and keys sorted)."""
    if attrs.has(type(value)):
        children = [(f.name, getattr(value, f.name)) for f in attrs.fields(type(value))]
    elif isinstance(value, Mapping):
        children = list(value.items())
    else:
        yield SEPARATOR.join(path), value
        return
    for name, child in sorted(children, key=lambda item: item[0]):
        if SEPARATOR in name:
            raise ValueError(f"the name {name!r} holds {SEPARATOR!r}, which separates the parts of a path")
        yield from leaves(child, (*path, name))


def leaf_digests(state: Any) -> dict[str, str]:
    """Path -> SHA-256 over (path, type, shape, bytes) of every leaf, in canonical order.

    Bytes, not values: NaN equals itself, -0.0 differs from 0.0, one ulp shows. Independent of key order and device.
    """
    digests = {}
    for path, leaf in leaves(state):
        kind, data = _canonical(path, leaf)
        h = hashlib.sha256()
        for part in (path.encode(), kind.encode(), data):
            h.update(len(part).to_bytes(8, "big"))
            h.update(part)
        digests[path] = h.hexdigest()
    return digests


def digest(state: Any) -> str:
    """SHA-256 over every leaf's: the identity that resume and replay compare."""
    return combined(leaf_digests(state))


def combined(digests: Mapping[str, str]) -> str:
    """The digest of a state from those of its leaves, in canonical order."""
    return hashlib.sha256(bytes.fromhex("".join(digests.values()))).hexdigest()


def _canonical(path: str, leaf: Any) -> tuple[str, bytes | memoryview]:
    if isinstance(leaf, Tensor):
        return f"{leaf.dtype}{list(leaf.shape)}", _bytes(leaf)
    if isinstance(leaf, float):
        return "float", struct.pack(">d", leaf)
    if leaf is None or isinstance(leaf, bool | int | str):
        return type(leaf).__name__, str(leaf).encode()
    if isinstance(leaf, tuple) and all(isinstance(part, str) for part in leaf):
        return "strings", json.dumps(leaf).encode()
    raise TypeError(f"{path}: a {type(leaf).__name__} cannot be part of a state")


def _bytes(tensor: Tensor) -> memoryview:
    """The bytes of a tensor in C order; no copy where it lies so on the CPU."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def encode(state: State) -> dict[str, bytes]:
    """The state as files: tensors as safetensors, the rest as JSON. No pickle."""
    return {name: b"".join(parts) for name, parts in pieces(state).items()}


def pieces(state: State) -> dict[str, list[bytes | memoryview]]:
    """The files of ``encode``, each as what it is joined of: the tensors on the CPU are not copied."""
    tensors, rest = {}, {}
    for path, leaf in leaves(state):
        if isinstance(leaf, Tensor):
            tensors[path] = leaf
        else:
            rest[path] = {"nan": struct.pack(">d", leaf).hex()} if leaf != leaf else leaf  # JSON drops a NaN's sign
    document = json.dumps({"schema": SCHEMA, "leaves": rest}, indent=0, sort_keys=True)
    return {"state.safetensors": _safetensors(tensors), "state.json": [document.encode()]}


def _safetensors(tensors: Mapping[str, Tensor]) -> list[bytes | memoryview]:
    """A file of https://github.com/huggingface/safetensors (format): length of the header, JSON header, data.

    Its library joins everything in memory first, which took longer than to hash and to write it
    (scripts/bench_costs.py). Wide types come first, so that every tensor is aligned.
    """
    header, data, at = {}, [], 0
    for path in sorted(tensors, key=lambda path: (-tensors[path].element_size(), path)):
        raw = _bytes(tensors[path])
        kind, shape = SAFETENSORS[tensors[path].dtype], list(tensors[path].shape)
        header[path] = {"dtype": kind, "shape": shape, "data_offsets": [at, at := at + raw.nbytes]}
        data.append(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little"), text, *data]


def decode(files: Mapping[str, bytes], like: State) -> State:
    """The state that ``encode`` wrote, checked leaf by leaf against ``like``; StateMismatch names the first difference.

    Tensors land on the devices of ``like``; their values, and every other leaf, come from the files.
    """
    from safetensors.torch import load

    document = json.loads(files["state.json"])
    values = _migrated({**load(files["state.safetensors"]), **document["leaves"]}, document["schema"])
    expected = dict(leaves(like))
    for path in sorted(expected.keys() ^ values.keys()):
        raise StateMismatch(f"{path}: {'missing from' if path in expected else 'unexpected in'} the serialised state")
    for path, leaf in expected.items():
        value = values[path]
        if isinstance(value, list):
            values[path] = value = tuple(value)
        elif isinstance(value, dict):
            values[path] = value = struct.unpack(">d", bytes.fromhex(value["nan"]))[0]
        if type(leaf) is not type(value) and (isinstance(leaf, Tensor) or not (leaf is None or value is None)):
            raise StateMismatch(f"{path}: expected a {type(leaf).__name__}, found a {type(value).__name__}")
        if isinstance(leaf, Tensor):
            assert isinstance(value, Tensor), "or its type would have been refused above"
            if (leaf.dtype, leaf.shape) != (value.dtype, value.shape):
                raise StateMismatch(
                    f"{path}: expected {leaf.dtype}{list(leaf.shape)}, found {value.dtype}{list(value.shape)}"
                )
            # A copy: the tensors that safetensors hands out share one buffer and need not be aligned.
            values[path] = value.to(leaf.device, copy=True)
    return _rebuild(like, values, ())


def _migrated(values: dict[str, Any], schema: Any) -> dict[str, Any]:
    """The leaves brought from their schema to this version's, one schema after the other."""
    written = schema
    while schema != SCHEMA:
        if schema not in MIGRATIONS:
            raise StateMismatch(f"state.json has schema {written}, this version reads schema {SCHEMA}")
        values, schema = MIGRATIONS[schema](values), schema + 1
    return values


def _rebuild(like: Any, values: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    if attrs.has(type(like)):
        return type(like)(
            **{f.name: _rebuild(getattr(like, f.name), values, (*path, f.name)) for f in attrs.fields(type(like))}
        )
    if isinstance(like, Mapping):
        return {name: _rebuild(child, values, (*path, name)) for name, child in like.items()}
    return values[SEPARATOR.join(path)]
