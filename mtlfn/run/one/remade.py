"""What a run says it came to, made of its last state again and compared: the end of a replay."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import attrs

from mtlfn.core.state import State
from mtlfn.run import documents
from mtlfn.run.documents import typed
from mtlfn.run.documents.data import Data
from mtlfn.run.documents.result import Result
from mtlfn.run.documents.smoke import Smoke
from mtlfn.run.machine import memory
from mtlfn.run.one import conclude, describe, smoke
from mtlfn.run.one import summary as texts
from mtlfn.run.one.export import CARD, USE
from mtlfn.run.one.prepare import Prepared
from mtlfn.run.one.walk import Evaluation
from mtlfn.run.storage import ledger, seal

# What result.json says of the process that made it.
OF_THE_PROCESS = ("training_seconds", "peak_memory_bytes", "resumes", "files")

Say = Callable[[str], None]


def compare_result(folder: Path, last: ledger.Entry, complain: Say) -> None:
    """The result's seal, and what it says beside the ledger."""
    for problem in seal.verify(folder, exports=False).problems:
        complain(problem)
    if (result := typed.attempt(folder, Result)) is None:
        complain(f"{documents.RESULT} cannot be read")
        return
    said = (result.digest, result.tokens.total)
    if said != (last.digest, last.tokens):
        complain(
            f"{documents.RESULT} has {said[0]} after {said[1]} tokens, the ledger {last.digest} after {last.tokens}"
        )


def compare_products(
    folder: Path,
    experiment: str,
    prepared: Prepared,
    state: State,
    chosen: State,
    evaluation: Evaluation | None,
    complain: Say,
    say: Say,
    *,
    whole: bool,
) -> None:
    """Predictions, statistics, exports and scores, made again of the state that the run chose, beside those of the run.

    ``state``: its last one. ``evaluation``: of the chosen one on dev, if it was just made. ``whole``: compares cards,
    too, which other code may word otherwise, and asks that exports say no less than now.
    """
    evaluation = evaluation or prepared.evaluate(chosen)
    scores, predicted = prepared.evaluate_test(chosen)
    with tempfile.TemporaryDirectory(prefix="mtlfn-replay-") as scratch:
        conclude.products(prepared, chosen, evaluation, (scores, predicted), Path(scratch))
        files, there = seal.hashes(Path(scratch)), seal.hashes(folder)
        uses = () if whole else (name for name in files.keys() & there.keys() if name.endswith(f"/{USE}"))
        grown = {name for name in uses if _more(Path(scratch) / name, folder / name)}
    there = {name: sha for name, sha in there.items() if name.startswith(tuple(f"{part}/" for part in seal.FOLDERS))}
    away = {name for name in files.keys() - there.keys() if name.startswith(f"{seal.EXPORT}/")}
    odd = sorted(
        name for name in files.keys() | there.keys() if files.get(name) != there.get(name) and name not in away
    )
    odd = [name for name in odd if whole or not (name in files and name in there and name.endswith(f"/{CARD}"))]
    odd = [name for name in odd if name not in grown]
    which = "last" if chosen is state else "selected"
    for name in odd:
        complain(f"{name}: is not what the {which} state gives" if name in files else f"{name}: is not of this run")
    again = texts.result(experiment, prepared, folder, state, chosen, evaluation.scores, scores)
    if typed.unlike(folder, again.tokens):
        complain(f"{documents.TOKENS}: is not what the run gives")
    for name in typed.unlike(folder, again):
        if name not in OF_THE_PROCESS:
            complain(f"{documents.RESULT}: its {name} is not what the run gives")
    if not odd:
        what = "predictions, statistics, exports" + (f"; {len(away)} files of exports are away" if away else "")
        say(f"equal     {len(files) - len(away)} files made of the {which} state again: {what}")


def _more(now: Path, then: Path) -> bool:
    """Whether a JSON object that was made again says what it said in the run, and more."""
    try:
        new, old = (json.loads(path.read_bytes()) for path in (now, then))
        return isinstance(old, dict) and old.keys() < new.keys() and all(new[key] == old[key] for key in old)
    except ValueError:
        return False


def compare_documents(folder: Path, prepared: Prepared, complain: Say, *, whole: bool, moved: bool) -> None:
    """What the run says of its data and smoke test, beside what they are.

    ``whole``: compares every word on the data; else, since other code may word them otherwise, what they are.
    ``moved``: not where they lay.
    """
    if (data := typed.attempt(folder, Data)) is not None:
        here = describe.data(prepared)
        if moved:
            there = {task: about.source for task, about in data.tasks.items()}
            here = Data({t: attrs.evolve(about, source=there.get(t)) for t, about in here.tasks.items()})
        odd = typed.unlike(folder, here) if whole else _unlike_facts(data, here)
        for task in sorted(odd):
            complain(f"{documents.DATA}: {task} is not what the data give")
    test = typed.attempt(folder, Smoke)
    passed = test is not None and not test.skipped
    if passed and (failed := smoke.verdict(smoke.smoke(prepared, memory.probe(prepared.model.device)))):
        complain(f"{documents.SMOKE}: says that the smoke test passed, and it fails: {failed}")


def _unlike_facts(one: Data, other: Data) -> list[str]:
    """The tasks whose splits are not of the same sizes and hashes."""
    facts = [
        {
            task: {n: (s.examples, s.tokens, s.sha256) for n, s in about.splits.items()}
            for task, about in data.tasks.items()
        }
        for data in (one, other)
    ]
    return [task for task in {**facts[0], **facts[1]} if facts[0].get(task) != facts[1].get(task)]
