"""Checkpoints: a directory that is there in full or not at all, verified by content, never a pickle.

``manifest.json`` holds the size and SHA-256 of every file and the state's digest. A save is read back and compared
before anything older goes. Loading verifies everything and takes the next newest where one fails, loudly.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from mtlfn.core.state import SCHEMA, SEPARATOR, State, StateMismatch, combined, decode, digest, leaf_digests, pieces
from mtlfn.run.disk import REAL, Buffer, Disk, make_folder, remove_folder, write_folder

MANIFEST = "manifest.json"
KEPT = 2  # newest checkpoints kept beside the best
CHUNK = 2**18  # bytes that are hashed, written and read at once
NAME = re.compile(r"step-(\d{8,})")


class Damaged(ValueError):
    """A checkpoint that cannot be used, and why."""


@frozen
class Saved:
    """A verified checkpoint: where it lies, the state's digest and those of its leaves (path -> SHA-256)."""

    path: Path
    digest: str
    leaves: Mapping[str, str]


def save(folder: Path, state: State, identity: str, disk: Disk = REAL) -> Saved:
    """Writes ``folder/step-N``, verifies it, then prunes older ones. ``identity``: hash of the run's configuration."""
    make_folder(folder, disk)
    target = place(folder, state.step)
    parts, sums = pieces(state), {}
    with ThreadPoolExecutor(1) as beside:  # hashing releases the interpreter lock
        hashed = beside.submit(leaf_digests, state)

        def files() -> Iterator[tuple[str, Iterable[Buffer]]]:
            for name, content in parts.items():
                sha = hashlib.sha256()
                yield name, _hashing(content, sha)
                sums[name] = {"bytes": sum(map(len, content)), "sha256": sha.hexdigest()}
            manifest = {
                "schema": SCHEMA,
                "identity": identity,
                "step": state.step,
                "digest": combined(hashed.result()),
                "files": sums,
            }
            parts[MANIFEST] = [json.dumps(manifest, indent=1).encode()]
            yield MANIFEST, parts[MANIFEST]

        write_folder(target, files(), disk)
    for name, content in parts.items():
        if not _reads(target / name, content):
            raise Damaged(f"{target.name}: {name} does not read back as it was written; the disk may be failing")
    _prune(folder, target, state.progress.best_step, disk)
    leaves = hashed.result()
    return Saved(target, combined(leaves), leaves)


def _chunks(content: Iterable[Buffer]) -> Iterator[memoryview]:
    """The content in parts of ``CHUNK`` bytes and a last one, each in the same buffer: valid until the next."""
    buffer, filled = memoryview(bytearray(CHUNK)), 0
    for part in content:
        left = memoryview(part)
        while left:
            taken = min(len(left), CHUNK - filled)
            buffer[filled : filled + taken] = left[:taken]
            left, filled = left[taken:], filled + taken
            if filled == CHUNK:
                yield buffer
                filled = 0
    if filled:
        yield buffer[:filled]


def _hashing(content: Iterable[Buffer], sha: Any) -> Iterator[memoryview]:
    """The content in chunks, hashed on the way."""
    for chunk in _chunks(content):
        sha.update(chunk)
        yield chunk


def _reads(path: Path, content: Iterable[Buffer]) -> bool:
    """Whether a file holds this content, read chunk by chunk."""
    there = memoryview(bytearray(CHUNK))
    with path.open("rb", buffering=0) as file:
        for chunk in _chunks(content):
            count = file.readinto(there[: len(chunk)])
            if count != len(chunk) or not np.array_equal(np.frombuffer(there[:count], np.uint8), np.asarray(chunk)):
                return False
        return not file.read(1)


def _read(target: Path, identity: str) -> tuple[dict[str, Any], dict[str, bytes], dict[str, str]]:
    """Manifest, files and what their SHA-256 should be; Damaged where this is no checkpoint of this run and version."""
    try:
        manifest = json.loads((target / MANIFEST).read_bytes())
        sums = {name: entry["sha256"] for name, entry in manifest["files"].items()}
        files = {name: (target / name).read_bytes() for name in sums}
        schema, written_by, step, _ = (manifest[key] for key in ("schema", "identity", "step", "digest"))
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{target.name}: {type(error).__name__}: {error}") from None
    if not isinstance(schema, int) or schema > SCHEMA:
        raise Damaged(f"{target.name}: schema {schema}, this version reads schema {SCHEMA}")
    if written_by != identity:
        raise Damaged(f"{target.name}: written by a run of another configuration")
    if target.name != f"step-{step:08d}":
        raise Damaged(f"{target.name}: it holds step {step}; the folder was renamed or copied")
    return manifest, files, sums


def load(target: Path, like: State, identity: str) -> State:
    """The state in a checkpoint; Damaged says why there is none."""
    manifest, files, sums = _read(target, identity)
    with ThreadPoolExecutor(1) as beside:  # hashing releases the interpreter lock
        hashed = beside.submit(lambda: {name: _sha(data) for name, data in files.items()})
        state, value, failure = None, "", None
        try:
            state = decode(files, like)
            value = digest(state)
        except (StateMismatch, SafetensorError, KeyError, ValueError, TypeError) as error:
            failure = error
        wrong = [name for name, sha in hashed.result().items() if sha != sums[name]]
    if wrong:
        raise Damaged(f"{target.name}: the content of {wrong[0]} is not what was written")
    if state is None:
        raise Damaged(f"{target.name}: {failure}")
    # A state of an older schema has another digest by now; its files were verified.
    if manifest["schema"] == SCHEMA and value != manifest["digest"]:
        raise Damaged(f"{target.name}: the state's digest is not the one written")
    return state


def load_params(target: Path, identity: str) -> tuple[str, dict[str, dict[str, Tensor]]]:
    """The digest of the state in a checkpoint, as written, and its trainable tensors; Damaged says why not."""
    manifest, files, sums = _read(target, identity)
    if wrong := [name for name, data in files.items() if _sha(data) != sums[name]]:
        raise Damaged(f"{target.name}: the content of {wrong[0]} is not what was written")
    params: dict[str, dict[str, Tensor]] = {}
    for path, value in load_tensors(files["state.safetensors"]).items():
        part, _, rest = path.partition(SEPARATOR)
        if part == "params":
            slot, _, name = rest.partition(SEPARATOR)
            params.setdefault(slot, {})[name] = value.clone()
    return manifest["digest"], params


def load_newest(
    folder: Path,
    like: State,
    identity: str,
    warn: Callable[[str], None],
    known: Mapping[int, Collection[str]] | None = None,
    most: int | None = None,
    with_best: bool = False,
) -> State | None:
    """The newest state that is intact; each one passed over is reported. None where there is none.

    ``known``: step -> the digests that the ledger has for it; a checkpoint of such a step must have one of them.
    ``most``: the last step that it may be of. ``with_best``: the checkpoint of the best step before it must be intact,
    too.
    """
    for target in reversed(steps(folder)):
        try:
            if most is not None and step_of(target) > most:
                raise Damaged(f"{target.name}: the record of its steps ends at step {most}; they are taken again")
            state = _load_known(target, like, identity, known)
            if with_best:
                load_best(folder, state, like, identity, known)
            return state
        except Damaged as error:
            warn(f"checkpoint passed over: {error}")
    return None


def load_best(
    folder: Path, state: State, like: State, identity: str, known: Mapping[int, Collection[str]] | None = None
) -> State:
    """The state of the best full evaluation before a state, or at it; the state itself where there was none.

    Damaged where its checkpoint is away or cannot be used. ``known``: as in ``load_newest``.
    """
    best = state.progress.best_step
    if best is None or best == state.step:
        return state
    return _load_known(place(folder, best), like, identity, known)


def _load_known(target: Path, like: State, identity: str, known: Mapping[int, Collection[str]] | None) -> State:
    state = load(target, like, identity)
    if (expected := (known or {}).get(state.step)) and digest(state) not in expected:
        raise Damaged(f"{target.name}: the ledger has another digest for this step")
    return state


def place(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:08d}"


def steps(folder: Path) -> list[Path]:
    """The checkpoint directories, oldest first."""
    return sorted((p for p in folder.glob("step-*") if NAME.fullmatch(p.name)), key=step_of)


def step_of(target: Path) -> int:
    """The step that a checkpoint directory is named after."""
    return int(target.name.removeprefix("step-"))


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _prune(folder: Path, newest: Path, best_step: int | None, disk: Disk) -> None:
    """Keeps the newest, the one before it and the best. What lies after the newest was passed over as damaged."""
    there = steps(folder)
    newest_ones = [p for p in there if p <= newest][-KEPT:]
    for old in there:
        if old not in newest_ones and step_of(old) != best_step:
            remove_folder(old, disk)
