"""What fuzzed readers share: inputs that are nearly good, and what may become of them."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtlfn.data.example import DataError
from mtlfn.data.tables import reading
from mtlfn.data.tables.mapping import Mapping

MANY = int(os.environ.get("FUZZ", "2000"))  # inputs a reader in the slow tests; FUZZ=100000 gives another number
FEW = 150
SECONDS = 10  # for one small input
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 60),
    st.sampled_from(
        [
            10**12,
            10**30,
            10**400,
            -(10**18),
            0.5,
            float("nan"),
            "\ud800",
            "\x00",
            "type",
            [],
            {},
            [[]],
            [None],
            {"id": []},
        ]
    ),
    st.text(max_size=8),
)


def within(base: bytes, pieces: list[str]) -> st.SearchStrategy[bytes]:
    """The bytes with some of them taken out, put in or said twice."""
    edit = st.tuples(
        st.integers(0, len(base)),
        st.integers(0, 12),
        st.one_of(st.sampled_from([piece.encode() for piece in pieces]), st.binary(max_size=4), st.just(b"")),
        st.booleans(),
    )

    def changed(edits: list[tuple[int, int, bytes, bool]]) -> bytes:
        out = base
        for at, width, piece, twice in edits:
            out = out[:at] + piece + out[at if twice else at + width :]
        return out

    return st.lists(edit, max_size=6).map(changed)


@st.composite
def grafted(draw: st.DrawFn, whole: Any) -> Any:
    """A tree in which some values are others: junk, or another part of it."""
    whole = json.loads(json.dumps(whole))
    for _ in range(draw(st.integers(1, 3))):
        places = list(every(whole))
        holder, key = draw(st.sampled_from(places))
        value = draw(JUNK) if draw(st.booleans()) else (lambda other: other[0][other[1]])(draw(st.sampled_from(places)))
        holder[key] = json.loads(json.dumps(value))
    return whole


def every(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield tree, key
        yield from every(tree[key])


@contextlib.contextmanager
def refused_at_most() -> Iterator[None]:
    start = time.process_time()  # of the processor: on a machine that is busy otherwise, nothing hangs
    with contextlib.suppress(DataError):
        yield
    assert time.process_time() - start < SECONDS


@frozen
class Reader:
    """What a test gives it, of which kind it says that is, and how it is read."""

    inputs: st.SearchStrategy[Any]
    mappings: st.SearchStrategy[Any]
    read: Callable[[Any, Any], None]


def files_of(paths: Sequence[Path], form: str, base: Path) -> Callable[[Any, Mapping], None]:
    """Reads the data of a mapping, of which one file has the content, or each of several its part of it."""

    def read(content: Any, mapping: Mapping) -> None:
        for path, part in zip(paths, content if isinstance(content, tuple) else (content,), strict=True):
            path.write_bytes(part)
        with refused_at_most():
            reading.read("mine", evolve(mapping, format=form), base)

    return read


def fuzz(reader: Reader, count: int) -> None:
    """Gives the reader so many inputs."""

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(reader.inputs, reader.mappings)
    def reads_or_refuses(content: Any, mapping: Any) -> None:
        reader.read(content, mapping)

    reads_or_refuses()
