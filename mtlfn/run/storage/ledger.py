"""The ledger: a line for every checkpoint, each sealed with the hash of the one before. It is only ever added to.

A line says which state the run was in after which step. A run that goes back (its newest checkpoint was damaged) and
comes to the same step again must come to the same digest; replay compares with it. An accepted change of environment
is a line too: what was written for later steps before it no longer holds. The last line seals the result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs
from attrs import frozen

from mtlfn.core.state import State, combined, leaf_digests
from mtlfn.run.disk import REAL, Disk, append, write_file

LEAF = 8  # hexadecimal digits kept of each leaf's SHA-256: enough to name the leaf that differs


class Broken(ValueError):
    """A ledger that was altered; the message names the line."""


@frozen(kw_only=True)
class Entry:
    """One line.

    Attributes:
        step, tokens: where the run stood.
        digest: of the whole state. ``leaves``: the first digits of each leaf's, in canonical order.
        accepted: the change of environment that this line records, else "".
        result: SHA-256 of the result.json that was made of this state, else "".
        previous: hash of the line before; of the first: the hash of the run's configuration.
        hash: SHA-256 of everything above.
    """

    step: int
    tokens: int
    digest: str
    leaves: str
    accepted: str = ""
    result: str = ""
    previous: str
    hash: str = ""

    def sealed(self) -> Entry:
        """The entry with its hash."""
        # Lines of older versions know no result, and their hashes must hold.
        content = attrs.asdict(self, filter=lambda a, value: a.name != "hash" and (a.name != "result" or value != ""))
        return attrs.evolve(self, hash=hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest())


def entry(
    state: State, previous: str, leaves: Mapping[str, str] | None = None, accepted: str = "", result: str = ""
) -> Entry:
    """The line for a state; ``leaves``: its leaf digests where they are known."""
    leaves = leaf_digests(state) if leaves is None else leaves
    return Entry(
        step=state.step,
        tokens=state.input_tokens,
        digest=combined(leaves),
        leaves="".join(d[:LEAF] for d in leaves.values()),
        accepted=accepted,
        result=result,
        previous=previous,
    ).sealed()


def read(path: Path, identity: str) -> tuple[Entry, ...]:
    """The lines in order, their chain verified; Broken names the first that does not fit.

    A last line without its end is what a kill leaves of a line being written: it is not there.
    """
    if not path.exists():
        return ()
    entries: list[Entry] = []
    lines = path.read_bytes().split(b"\n")[:-1]
    for number, line in enumerate(lines, 1):
        try:
            entry = Entry(**json.loads(line))
            sealed = entry.sealed()
        except (ValueError, RecursionError, TypeError):
            raise Broken(f"{path}, line {number}: is no line of a ledger") from None
        if entry.hash != sealed.hash:
            raise Broken(f"{path}, line {number} (step {entry.step}): was altered, its hash does not fit its content")
        if entry.previous != (entries[-1].hash if entries else identity):
            raise Broken(f"{path}, line {number} (step {entry.step}): does not follow the line before it")
        entries.append(entry)
    return tuple(entries)


def write(path: Path, entries: tuple[Entry, ...], new: Entry, disk: Disk = REAL) -> tuple[Entry, ...]:
    """Adds a line on the disk; ``entries``: all that ``read`` found there. What a kill left of a line goes first."""
    there = path.read_bytes() if path.exists() else None
    whole = (there or b"")[: (there or b"").rfind(b"\n") + 1]
    if there != whole:
        write_file(path, whole, disk)
    append(path, _line(new), disk)
    return (*entries, new)


def _line(entry: Entry) -> bytes:
    return (json.dumps(attrs.asdict(entry)) + "\n").encode()


def current(entries: Iterable[Entry]) -> dict[int, Entry]:
    """Step -> the line that holds for it, in the order of steps."""
    out: dict[int, Entry] = {}
    for entry in entries:
        if entry.accepted:
            out = {step: e for step, e in out.items() if step <= entry.step}
        out[entry.step] = entry
    return dict(sorted(out.items()))


def digests(entries: Iterable[Entry]) -> dict[int, set[str]]:
    """Step -> every digest that a line has for it."""
    out: dict[int, set[str]] = {}
    for entry in entries:
        out.setdefault(entry.step, set()).add(entry.digest)
    return out


def breaks(entries: Iterable[Entry]) -> dict[int, tuple[str, ...]]:
    """Step -> the changes of environment that were accepted there and still hold."""
    out: dict[int, tuple[str, ...]] = {}
    for entry in entries:
        if entry.accepted:
            out = {step: texts for step, texts in out.items() if step <= entry.step}
            out[entry.step] = (*out.get(entry.step, ()), entry.accepted)
    return out


def first_difference(entry: Entry, leaves: Mapping[str, str]) -> str | None:
    """The first leaf whose digest is not the one in the line; None where all agree."""
    written = [entry.leaves[i : i + LEAF] for i in range(0, len(entry.leaves), LEAF)]
    if len(written) != len(leaves):
        return f"(the line has {len(written)} leaves, the state {len(leaves)})"
    return next((path for old, (path, new) in zip(written, leaves.items(), strict=True) if new[:LEAF] != old), None)
