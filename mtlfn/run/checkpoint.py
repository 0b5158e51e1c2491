"""Checkpoints: a directory that is there in full or not at all, verified by content, never a pickle.

Files are written to a temporary sibling and fsynced; ``manifest.json`` holds sizes, SHA-256 and the state's digest; a
rename puts the directory in place, and the parent is fsynced. Loading verifies everything and takes the next newest
where one fails.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtlfn.core.state import SCHEMA, State, StateMismatch, decode, digest, encode

MANIFEST = "manifest.json"
KEPT = 2  # newest checkpoints kept beside the best


class Damaged(ValueError):
    """A checkpoint that cannot be used, and why."""


def save(folder: Path, state: State, identity: str) -> Path:
    """Writes ``folder/step-N``, verifies it, then prunes older ones. ``identity``: hash of the run's configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"step-{state.step:08d}"
    files = encode(state)
    manifest = {
        "schema": SCHEMA,
        "identity": identity,
        "step": state.step,
        "digest": digest(state),
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
        },
    }
    scratch = folder / f"{target.name}.tmp-{os.getpid()}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        for name, data in {**files, MANIFEST: json.dumps(manifest, indent=1).encode()}.items():
            _write(scratch / name, data)
        _sync(scratch)
        if target.exists():  # a damaged one: an intact one is never saved again
            shutil.rmtree(target)
        os.rename(scratch, target)
        _sync(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    read(target, identity)
    _prune(folder, target, state.progress.best_step)
    return target


def write_file(path: Path, data: bytes) -> None:
    """A file that is there in full or not at all: temporary sibling, fsync, rename, fsync of the folder."""
    scratch = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    _write(scratch, data)
    os.replace(scratch, path)
    _sync(path.parent)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read(target: Path, identity: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Manifest and files of a checkpoint whose content is what was written; Damaged says what is wrong."""
    try:
        manifest = json.loads((target / MANIFEST).read_bytes())
        files = {name: (target / name).read_bytes() for name in manifest["files"]}
        wrong = [name for name, data in files.items() if _sha(data) != manifest["files"][name]["sha256"]]
        schema, written_by, _ = manifest["schema"], manifest["identity"], manifest["digest"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{target.name}: {type(error).__name__}: {error}") from None
    if wrong:
        raise Damaged(f"{target.name}: the content of {wrong[0]} is not what was written")
    if schema != SCHEMA:
        raise Damaged(f"{target.name}: schema {schema}, this version reads schema {SCHEMA}")
    if written_by != identity:
        raise Damaged(f"{target.name}: written by a run of another configuration")
    return manifest, files


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def load_newest(folder: Path, like: State, identity: str, warn: Callable[[str], None]) -> State | None:
    """The newest state that is intact; each one passed over is reported. None where there is none."""
    for target in sorted(steps(folder), reverse=True):
        try:
            manifest, files = read(target, identity)
            state = decode(files, like)
            if digest(state) != manifest["digest"]:
                raise Damaged(f"{target.name}: the state's digest is not the one written")
            return state
        except (Damaged, StateMismatch) as error:
            warn(f"checkpoint passed over: {error}")
    return None


def steps(folder: Path) -> list[Path]:
    """The checkpoint directories, oldest first."""
    return sorted(p for p in folder.glob("step-*") if ".tmp-" not in p.name)


def sweep(folder: Path) -> None:
    """Removes what an interrupted save left behind."""
    for orphan in folder.glob("step-*.tmp-*"):
        shutil.rmtree(orphan, ignore_errors=True)


def _prune(folder: Path, newest: Path, best_step: int | None) -> None:
    """Keeps the newest, the one before it and the best. What lies after the newest was passed over as damaged."""
    there = steps(folder)
    kept = [p for p in there if p <= newest][-KEPT:]
    for old in there:
        if old not in kept and old.name != f"step-{best_step or 0:08d}":
            shutil.rmtree(old)
