"""The code that decides bits, as one hash: what it does, and neither where it lies nor how it is explained.

Hashed are syntax trees, less docstrings and comments, less the words of errors, and less where our own names are
imported from. So a module that is moved or explained leaves every running run as it was.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# The rooms that decide bits, and the modules of another one that decide what is evaluated when, and with what.
ROOMS = ("core", "models", "data")
BESIDE = ("run/one/prepare.py", "run/one/walk.py", "run/one/evaluate.py", "run/one/matched.py")
# What describes data and proves backbones, and changes neither.
ASIDE = ("data/screening/survey.py", "data/access.py", "data/__main__.py", "models/proof.py")

# Code of before that computes the same bits in every setting: its digest, and what showed it. A run that began with it
# goes on. Emptied where a fault is mended that gave wrong bits in some settings: which, nothing here can tell of a run.
SAME_BITS: dict[str, str] = {}


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
