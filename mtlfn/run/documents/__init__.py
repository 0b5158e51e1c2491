"""Files of a run directory. JSON documents: each holds the SHA-256 of what it says, and is there in full or not at all.

A bit that flips, a file that is cut or another program that writes is so found out, and named. Documents of older
versions have no hash and are read as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

from mtlfn.run.disk import write_file

CONFIG, DATA, ENVIRONMENT, SMOKE = "config.json", "data.json", "env.json", "smoke.json"
TOKENS, RESULT, REPLAY, RESUMES = "tokens.json", "result.json", "replay.json", "resumes.json"
STUDY, VERDICT = "study.json", "verdict.json"  # of a study, and of its report
REPORT = "report"  # the folder of a report, in a study's or a run's
METRICS, LEDGER, LOG = "metrics.jsonl", "ledger.jsonl", "train.log"
SEAL = "(sha256)"  # no task is called so


class Altered(ValueError):
    """A document that is not what was written; the message says how."""


def get(document: Any, *names: str) -> Any:
    """What lies under the names, or None."""
    return reduce(lambda node, name: node.get(name) if isinstance(node, Mapping) else None, names, document)


def write(path: Path, document: Mapping[str, Any]) -> None:
    """A JSON object and its hash."""
    write_file(path, encode(document))


def encode(document: Mapping[str, Any]) -> bytes:
    """The bytes of a document, its hash last."""
    content = {name: value for name, value in json.loads(json.dumps(document)).items() if name != SEAL}
    return (json.dumps({**content, SEAL: _seal(content)}, indent=1) + "\n").encode()


def read(path: Path) -> dict[str, Any]:
    """The document in a file, without its hash. OSError where there is none, Altered where it is not what it was."""
    return decode(path.read_bytes())


def decode(data: bytes) -> dict[str, Any]:
    """The document in these bytes, without its hash; Altered where it is not what was written."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Altered(f"no JSON ({error})") from None
    if not isinstance(document, dict):
        raise Altered("no JSON object")
    seal = document.pop(SEAL, None)
    if seal is not None and seal != _seal(document):
        raise Altered("its content is not what was written")
    return document


def _seal(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
