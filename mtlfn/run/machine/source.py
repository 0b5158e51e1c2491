"""The code that decides bits, as one hash: what it does, and neither where it lies nor how it is explained.

Hashed are syntax trees, less docstrings and comments, less the words of errors, and less where our own names are
imported from. So a module that is moved or explained leaves every running run as it was.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

# The rooms that decide bits, and the modules of another one that decide what is evaluated when, and with what.
ROOMS = ("core", "models", "data")
BESIDE = ("run/one/prepare.py", "run/one/walk.py", "run/one/evaluate.py", "run/one/matched.py")
# What describes data and proves backbones, and changes neither.
ASIDE = ("data/screening/survey.py", "data/access.py", "data/__main__.py", "models/proof.py")

# Code of before that computes the same bits: its digest, and what showed it. A run that began with it goes on.
SAME_BITS = {
    "83e57838b72fd66bfc1a10134eeceeed1b68e0ae543340d3d8930507a98447d2": "kinds, heads and gradient methods became "
    "values: the default run, and S2, S3a and S3b with dropout and uncertainty weighting, end in the same digests",
    "294d9343013295cd7b2753c7898ab966ff39753e990180f9f1e2a3f77a4ce7b8": "official tasks became a module each, tables "
    "are read by one path, rooms moved: the default run, and S2, S3a and S3b as above",
    "5b7b58a169abc2f6b07d6911831a4cae2dd968ec5983c3411342699614695b62": "local names, scores without scikit-learn, "
    "copies that wait for no GPU, tasks over several processes: as above, in fp32; the canary speaks for bf16",
    "56e8a67f5ed60d2b8525a3988ee81f3a7d3a2906f8a3a58bb113f206a48b5230": "functions in pieces, other planted "
    "worlds: S2, S3a and S3b as above; a planted task of old is told by the hash of its data",
    "d1744df653d3b5d4654fbbe7b5ddae60ea7f78590699663dbffaca13feec8a7a": "a kind has the level that its tasks "
    "usually are of, for drafts of a configuration: the default run, and S2, S3a and S3b as above",
    "5b095ab06f2c822b6d5b5b1272637187070a923a6867c4513c41882c3aa81a86": "what is wrong with rows that are left out is "
    "told: the default run, and S2, S3a and S3b as above",
    "286e74eef11657b377bc11b1b14e4aa6c596b36feb6120dcadb90a4eb549a7d4": "fewer launches on a GPU: on a CPU the default "
    "run, S1, S2, S3a and S3b, with dropout, uncertainty weighting, bf16 and both engines; on a GPU the canary speaks",
    "d522babbe12f9cdf2d7a6f308ff4c2014db5bc39dde917c5d324899ceae76b90": "numbers that no float holds are refused in "
    "data, not stumbled over: the default run, S1, S2, S3a and S3b as above",
    "9d73b8c44529f27fbddffb4c5d405729437c2743df589b006ed26d56c9008bbd": "rows are scaled, losses "
    "weighed and updates made in fewer launches: the default run, S1, S2, S3a and S3b, both engines, as above",
}


def digest(root: Path) -> str:
    """SHA-256 over the modules of the package in ``root`` that decide bits, in no order that their paths give."""
    parts = (canonical(path.read_text(encoding="utf-8")) for path in modules(root))
    hashes = sorted(hashlib.sha256(part.encode()).hexdigest() for part in parts if part)
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def modules(root: Path) -> Iterator[Path]:
    """The modules that decide bits."""
    aside = {root / name for name in ASIDE}
    for room in ROOMS:
        yield from (path for path in sorted((root / room).rglob("*.py")) if path not in aside)
    yield from (root / name for name in BESIDE)


@cache
def canonical(source: str) -> str:
    """What a module does, as text that is the same in every Python that can run it; nothing where it does nothing."""
    out: list[str] = []
    for statement in _bare(ast.parse(source).body):
        _tell(statement, out.append)
    return "".join(out)


def _bare(nodes: list[Any]) -> list[Any]:
    """Less what decides nothing: texts that stand alone, where our own names come from, and what errors say."""
    kept = []
    for node in nodes:
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                continue
            case ast.ImportFrom() if node.level or (node.module or "").partition(".")[0] in ("mtlfn", "__future__"):
                continue
            case ast.Import():
                node.names = [name for name in node.names if name.name.partition(".")[0] != "mtlfn"]
                if not node.names:
                    continue
            case ast.Raise(exc=ast.Call(func=error)):
                node.exc = error
        kept.append(node)
    return kept


def _tell(node: Any, say: Callable[[str], None]) -> None:
    """A syntax tree as text: names of nodes and what is in them. Fields that hold nothing are left out, so that one
    that a later Python adds changes nothing where it is not used."""
    if isinstance(node, ast.AST):
        say(f"({type(node).__name__}")
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                value = _bare(value)
            if name != "ctx" and value is not None and value != []:
                say(f" {name}=")
                _tell(value, say)
        say(")")
    elif isinstance(node, list):
        say("[")
        for each in node:
            _tell(each, say)
        say("]")
    else:
        say(f"{type(node).__name__}:{node!r}")
