"""The seal of a finished run: its result names the hash of every file that a claim rests on, its ledger the result's.

So the chain that begins with the first state ends with the claim: who changes a score, a prediction or a statistic
has to change the result, and who changes the result has to change the ledger. That nobody did all of it is what
``replay --all`` shows, by making everything again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import frozen

from mtlfn.run import documents
from mtlfn.run.disk import TEMPORARY
from mtlfn.run.documents import Altered, typed
from mtlfn.run.documents.configuration import SCHEMA, SEALED, Chain
from mtlfn.run.documents.result import Seal
from mtlfn.run.storage import ledger

# What a verdict, a report or a user takes from a run, beside its result.
DOCUMENTS = (
    documents.CONFIG,
    documents.DATA,
    documents.ENVIRONMENT,
    documents.SMOKE,
    documents.TOKENS,
    documents.METRICS,
)
EXPORT = "export"
FOLDERS = ("predictions", EXPORT)


@frozen
class Verified:
    """What was found of a finished run's seal.

    Attributes:
        sealed: whether it has one; runs of older versions have none.
        problems: what is not as it was sealed, each with its file.
    """

    sealed: bool
    problems: tuple[str, ...]


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that a claim rests on, by its path in the run directory."""
    return {name: _sha(folder / name) for name in _files(folder)}


def _files(folder: Path) -> Iterator[str]:
    yield from (name for name in DOCUMENTS if (folder / name).is_file())
    for part in FOLDERS:
        for path in sorted((folder / part).rglob("*")):
            if path.is_file() and TEMPORARY not in str(path.relative_to(folder)):
                yield path.relative_to(folder).as_posix()


def verify(folder: Path, *, exports: bool = True) -> Verified:
    """Compares a finished run with its seal. OSError where it has no result.

    ``exports``: whether the exported models must be there: who takes nothing of them does not miss them.
    """
    data = (folder / documents.RESULT).read_bytes()
    try:
        files = typed.decode(data, Seal).files
    except Altered as error:
        return Verified(True, (f"{documents.RESULT}: {error}",))
    schema, entries, broken = _ledger(folder)
    sealed = next((entry.result for entry in reversed(entries) if entry.result), "")
    if files is None and not sealed and schema < SEALED:
        return Verified(False, ())
    problems = []
    if not broken and sealed != hashlib.sha256(data).hexdigest():
        problems.append(
            f"{documents.RESULT}: is not the one that the last line of {documents.LEDGER} names"
            if sealed
            else f"{documents.LEDGER}: has no line for {documents.RESULT}"
        )
    if files is None:
        return Verified(True, (*broken, *problems, f"{documents.RESULT}: names no files"))
    for name, sha in files.items():
        if not exports and name.startswith(f"{EXPORT}/") and not (folder / name).is_file():
            continue
        if problem := _unlike(folder, name, sha):
            problems.append(problem)
    # What is there and not named was put there later; whoever takes it would take it for the run's.
    problems += [f"{name}: is not of this run" for name in _files(folder) if name not in files]
    if any(name.startswith(f"{documents.CONFIG}:") for name in problems):
        return Verified(True, (*problems, *broken))  # no ledger follows from another config.json
    return Verified(True, (*broken, *problems))


def unlike(folder: Path, names: Iterable[str]) -> tuple[str, ...]:
    """Which of these files of a finished run are not as its result names them, without a look at the others.

    Of a run without a seal, what is wrong with that. OSError where it has no result.
    """
    try:
        files = typed.read(folder, Seal).files
    except Altered as error:
        return (f"{documents.RESULT}: {error}",)
    if files is None:
        return verify(folder, exports=False).problems
    problems = (_unlike(folder, name, files.get(name)) for name in names)
    return tuple(problem for problem in problems if problem)


def _unlike(folder: Path, name: str, sha: str | None) -> str:
    """What is wrong with a file of a run; empty where it is as it was sealed, or neither there nor sealed."""
    if not (folder / name).is_file():
        return "" if sha is None else f"{name}: is missing"
    if sha is None:
        return f"{name}: is not of this run"
    return "" if _sha(folder / name) == sha else f"{name}: is not what was written"


def _ledger(folder: Path) -> tuple[int, tuple[ledger.Entry, ...], list[str]]:
    """The schema of the run, the lines of its ledger, and what is wrong with them. A schema that cannot be read is
    taken for the newest: that the run is older would excuse it from a seal."""
    try:
        chain = typed.read(folder, Chain)
    except OSError:
        return SCHEMA, (), [f"{documents.CONFIG}: is missing"]
    except Altered as error:
        return SCHEMA, (), [f"{documents.CONFIG}: {error}"]
    try:
        return chain.schema, ledger.read(folder / documents.LEDGER, str(chain.hash)), []
    except ledger.Broken as error:
        return chain.schema, (), [f"{documents.LEDGER}: {error}"]


def _sha(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
