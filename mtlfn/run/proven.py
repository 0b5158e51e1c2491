"""The proof of a backbone (models/proof.py), kept in the cache: only the first start of its kind pays for it."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import attrs
import cattrs

import mtlfn.models
from mtlfn.models import placement
from mtlfn.models.backbone import Backbone
from mtlfn.models.proof import Proof, prove
from mtlfn.run.config import digest
from mtlfn.run.disk import make_folder, write_file

LIBRARIES = ("torch", "transformers", "peft")


def proven(base: Backbone, length: int, cache: Path) -> Proof:
    """The proof of a backbone for rows of up to ``length`` tokens; the backbone is read as it says.

    BackboneError where it cannot be read; OSError where the cache cannot be written.
    """
    path = cache / "proofs" / f"{_key(base, length)}.json"
    if (proof := _kept(path, length)) is None:
        proof = prove(base, length)
        make_folder(path.parent)
        write_file(path, (json.dumps(attrs.asdict(proof)) + "\n").encode())
    elif proof.way == "padded":
        placement.read_padded(base.model)
    return proof


def _kept(path: Path, length: int) -> Proof | None:
    """The proof in a file; None where it is absent or damaged."""
    try:
        found = cattrs.Converter(forbid_extra_keys=True).structure(dict(json.loads(path.read_text())), Proof)
    except (OSError, ValueError, TypeError, KeyError, cattrs.BaseValidationError):
        return None
    return found if found.length == length else None


def _key(base: Backbone, length: int) -> str:
    """Of all that the proof depends on: weights, configuration, libraries, our own code and the length."""
    return digest(
        {
            "weights": base.digest,
            "settings": base.settings,
            "libraries": {name: version(name) for name in LIBRARIES},
            "code": _code(),
            "length": length,
        }
    )


def _code() -> str:
    h = hashlib.sha256()
    for path in sorted(Path(mtlfn.models.__file__).parent.glob("*.py")):
        h.update(path.read_bytes() + b"\0")
    return h.hexdigest()
