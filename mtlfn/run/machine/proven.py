"""The proof of a backbone (models/proof.py), kept in the cache: only the first start of its kind pays for it."""

from __future__ import annotations

import hashlib
import string
from importlib.metadata import version
from pathlib import Path

import attrs
import cattrs

import mtlfn.models
from mtlfn.data.cache import locked
from mtlfn.models import placement
from mtlfn.models.backbone import Backbone
from mtlfn.models.families import KNOWN
from mtlfn.models.proof import TOLERANCE, Proof, prove
from mtlfn.run import documents
from mtlfn.run.config import digest
from mtlfn.run.disk import make_folder

LIBRARIES = ("torch", "transformers", "peft")


def proven(base: Backbone, length: int, slots: int, cache: Path) -> Proof:
    """The proof of a backbone for rows of up to ``length`` tokens in passes of up to ``slots``; it is read as it says.

    BackboneError where it cannot be read; OSError where the cache cannot be written.
    """
    path = cache / "proofs" / f"{_key(base, length, slots)}.json"
    if (proof := _kept(path, length)) is None:
        make_folder(cache / "locks")
        with locked(cache / "locks" / path.name):
            if (proof := _kept(path, length)) is None:  # else another process proved it while this one waited
                proof = prove(base, length, slots)
                make_folder(path.parent)
                documents.write(path, attrs.asdict(proof))
                return proof
    if proof.way == "padded":
        placement.read_padded(base.model)
    return proof


def _kept(path: Path, length: int) -> Proof | None:
    """The proof in a file; None where it is absent, damaged or none."""
    try:
        proof = cattrs.Converter(forbid_extra_keys=True).structure(documents.read(path), Proof)
    except (OSError, ValueError, TypeError, KeyError, cattrs.BaseValidationError):
        return None
    fits = proof.length == length and 0 <= proof.difference <= TOLERANCE
    return proof if fits and set(proof.why) <= set(string.printable) else None


def _key(base: Backbone, length: int, slots: int) -> str:
    """Of all that the proof depends on: weights, configuration, libraries, our own code and the length."""
    return digest(
        {
            "weights": base.digest,
            "settings": base.settings,
            "libraries": {name: version(name) for name in LIBRARIES},
            "code": _code(),
            "takes": sorted(base.model.reading.takes),
            "length": length,
            "slots": 0 if base.model.config.model_type in KNOWN else slots,
        }
    )


def _code() -> str:
    h = hashlib.sha256()
    for path in sorted(Path(mtlfn.models.__file__).parent.glob("*.py")):
        h.update(path.read_bytes() + b"\0")
    return h.hexdigest()
