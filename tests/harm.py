"""What is done to a finished run, to see it found: harm to one file, and a seal that is made to fit again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import attrs

from mtlfn.run import documents
from mtlfn.run.storage import ledger, seal


def flip(path: Path, _: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path, _: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def empty(path: Path, _: Path) -> None:
    path.write_bytes(b"")


def delete(path: Path, _: Path) -> None:
    path.unlink()


def reseal(folder: Path) -> None:
    """A result that names the files as they are now, and a last line of the ledger that names that result."""
    path = folder / documents.RESULT
    result = {name: value for name, value in json.loads(path.read_text()).items() if name != documents.SEAL}
    documents.write(path, {**result, "files": seal.hashes(folder)})
    identity = json.loads((folder / documents.CONFIG).read_text())["hash"]
    lines = folder / documents.LEDGER
    *entries, last = ledger.read(lines, identity)
    lines.write_text("".join(lines.read_text().splitlines(keepends=True)[:-1]))
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    ledger.write(lines, tuple(entries), attrs.evolve(last, result=sha, previous=entries[-1].hash).sealed())


def unseal(folder: Path) -> None:
    """Takes away all that seals a run: the files of the result, its own hash, and its line of the ledger."""
    found = json.loads((folder / documents.RESULT).read_text())
    kept = {name: value for name, value in found.items() if name not in ("files", documents.SEAL)}
    (folder / documents.RESULT).write_text(json.dumps(kept))
    lines = (folder / documents.LEDGER).read_text().splitlines(keepends=True)
    (folder / documents.LEDGER).write_text("".join(lines[:-1]))


def older(folder: Path) -> None:
    """Makes of a run what a version left that sealed nothing."""
    unseal(folder)
    settings = documents.read(folder / documents.CONFIG) | {"schema": 1}
    (folder / documents.CONFIG).write_text(json.dumps(settings))
