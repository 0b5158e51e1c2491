"""Replay: steps taken again from the serialised state, and everything compared with what the run left.

A segment lies between two lines of the ledger. Compared are the chain of the ledger, the content of every checkpoint,
each step's numbers and evaluations in ``metrics.jsonl``, each segment's digest and the seal of the result; with every
segment, from the first step on, also what was made of the last state: predictions, statistics, exports and scores are
made again. What was found is kept in the run's ``replay.json``, for its report.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from attrs import frozen

from mtlfn.core.state import State, digest, leaf_digests
from mtlfn.data.task import SPLITS
from mtlfn.run import archive, checkpoint, conclude, directory, documents, ledger, observers, record, seal, terminal
from mtlfn.run import summary as texts
from mtlfn.run.command import MISMATCH, OK
from mtlfn.run.config import UsageError, from_settings
from mtlfn.run.documents import Altered
from mtlfn.run.fingerprint import differences, environment
from mtlfn.run.loop import load
from mtlfn.run.prepare import Prepared, describe_data
from mtlfn.run.walk import Evaluation, Walk, advance, cadence

# What a step leaves in metrics.jsonl that repeats; the rest is time.
REPEATS = (
    "tokens",
    "batch_tokens",
    "loss",
    "weighted",
    "sigma",
    "conflicts",
    "grad_norm",
    "learning_rate",
    "nonfinite",
)

# What result.json says of the process that made it.
OF_THE_PROCESS = ("training_seconds", "peak_memory_bytes", "resumes", "files")

Say = Callable[[str], None]


@frozen
class Segment:
    """Steps from one line of the ledger to the next."""

    start: int
    end: ledger.Entry


def replay(
    folder: Path, start: int | None, end: int | None, every: bool, say: Say = terminal.say, **changes: Any
) -> int:
    """Replays a run's directory and returns the exit code. ``changes``: settings that say where its inputs are now.

    What was found is left in the run's ``replay.json``, where the report on it looks.
    """
    if not (folder / "config.json").is_file():
        raise UsageError(f"{folder}: is no run of mtlfn (it has no config.json)")
    found = directory.recorded(folder)
    prepared = load(found["experiment"], from_settings(found["settings"], **changes))
    prepared = directory.identified(folder, prepared)
    place = directory.place(folder, prepared)
    wrong: list[str] = []

    def complain(text: str) -> None:
        wrong.append(text)
        say(f"MISMATCH  {text}")

    try:
        entries = ledger.read(place.ledger, place.identity)
    except ledger.Broken as error:
        complain(str(error))
        if (folder / documents.RESULT).exists():  # which file is another one, if the ledger is not
            for problem in seal.verify(folder, exports=False).problems:
                complain(problem)
        _keep(folder, None, say, mismatches=wrong)
        return MISMATCH
    if not entries:
        if checkpoint.steps(place.checkpoints) or (folder / documents.RESULT).exists():
            complain(f"{documents.LEDGER}: has no line, and the run has taken steps")
            _keep(folder, None, say, mismatches=wrong)
            return MISMATCH
        raise UsageError(f"{folder}: its ledger is empty, so there is nothing to compare with; train first")
    say(f"ledger    {len(entries)} lines, each sealed with the one before")
    changed = _environment(folder, prepared, complain, say)
    lines = ledger.current(entries)
    states = dict(_checkpoints(place, prepared, entries, complain, say))
    wanted = segments(lines, sorted(states), start, end, every)
    say(f"replaying steps {wanted[0].start} to {wanted[-1].end.step} in {len(wanted)} segments")
    metrics = record.sound(folder / documents.METRICS, older=directory.of_older_version(folder))
    if metrics.problem:
        complain(f"{documents.METRICS}: {metrics.problem}")
    state: State | None = None
    evaluation: Evaluation | None = None
    equal = skipped = 0
    for segment in wanted:
        if state is None or state.step != segment.start:
            state = states.get(segment.start)
        if state is None:
            say(f"skipped   steps {segment.start} to {segment.end.step}: no state is left to begin with")
            skipped += 1
            continue
        before = len(wrong)
        state, evaluation = _again(prepared, state, segment, entries, metrics, found["settings"], complain, say)
        equal += len(wrong) == before
    if (folder / documents.RESULT).exists():
        _compare_result(folder, entries[-1], complain)
        if every and state is not None and prepared.walk.finished(state):
            _compare_products(folder, found["experiment"], prepared, state, evaluation, complain, say)
            _compare_documents(folder, prepared, complain, whole=not changed, moved=bool(changes))
    elif any(entry.result for entry in entries):
        complain(
            f"{documents.RESULT}: is missing, and the ledger says that the run has ended; its command makes it again"
        )
    _keep(
        folder,
        entries[-1].digest,
        say,
        steps=[wanted[0].start, wanted[-1].end.step],
        equal=equal,
        skipped=skipped,
        mismatches=wrong,
        environment=changed,
    )
    honest = f"{equal} segments are equal, {skipped} were skipped" if skipped else f"all {equal} segments are equal"
    say("replay: " + (f"{len(wrong)} mismatches" if wrong else honest))
    if not every:
        say("This shows that these steps repeat; --all shows that the run is what it says, from first step to result")
    return MISMATCH if wrong else OK


def _differ(one: Mapping[str, Any], other: Mapping[str, Any], name: str) -> bool:
    """Whether two lines do not say the same; what is not a number equals itself."""
    return json.dumps(one[name]) != json.dumps(other.get(name))


def segments(
    lines: Mapping[int, ledger.Entry], states: list[int], start: int | None, end: int | None, every: bool
) -> list[Segment]:
    """The segments from ``start`` to ``end``; by default those after the last checkpoint but one, or every one.

    UsageError where there are no such steps in the ledger.
    """
    steps = [step for step in lines if step > 0]
    if not steps:
        raise UsageError("the ledger has no step after 0, so there is nothing to replay; train first")
    if every:
        start, end = 0, steps[-1]
    end = steps[-1] if end is None else end
    if start is None:
        start = max((step for step in states if step < end), default=0)
    for name, step in (("--from", start), ("--to", end)):
        if step not in lines and step != 0:
            raise UsageError(f"{name} {step}: the ledger has no such step; it has 0, {', '.join(map(str, steps))}")
    if start >= end:
        raise UsageError(f"--from {start} --to {end}: expected a step before another")
    # Where no state is left at the start, the walk begins at the newest one before it.
    begin = max((step for step in states if step <= start), default=0)
    points = [begin, *(step for step in steps if begin < step <= end)]
    return [Segment(a, lines[b]) for a, b in pairwise(points)]


def _again(
    prepared: Prepared,
    state: State,
    segment: Segment,
    entries: tuple[ledger.Entry, ...],
    metrics: record.Sound,
    settings: Mapping[str, Any],
    complain: Say,
    say: Say,
) -> tuple[State | None, Evaluation | None]:
    """The state at the end of a segment and its evaluation, if any; None where it is not the one in the ledger."""
    walk, first, evaluation = prepared.walk, None, None
    begin = archive.with_breaks(state, entries)
    before = begin.input_tokens
    for state, line, evaluation in _steps(walk, prepared, begin, segment.end.step):
        first = first or _first_difference(prepared, before, state, line, evaluation, metrics, settings)
        before = state.input_tokens
    leaf = ledger.first_difference(segment.end, leaf_digests(archive.with_breaks(state, entries)))
    where = f"steps {segment.start} to {segment.end.step}"
    if leaf is None and first is None:
        say(f"equal     {where}: digest {segment.end.digest}")
        return state, evaluation
    if leaf is None:
        complain(f"{where}: the digest is equal, but {documents.METRICS} is not what the steps give, first at {first}")
        return state, evaluation
    step = first or f"step {segment.end.step}"
    complain(f"{where}: the first step that differs is {step}, the first tensor or field {leaf}")
    return None, None


def _first_difference(
    prepared: Prepared,
    before: int,
    state: State,
    line: record.Line,
    evaluation: Evaluation | None,
    metrics: record.Sound,
    settings: Mapping[str, Any],
) -> str | None:
    """What the record says otherwise of a step that began at ``before`` tokens, or does not say; None where nothing."""
    step = state.step
    if step > metrics.steps:
        return f"step {step} (no line)"
    there = metrics.by_step[step]
    own = next(found for found in there if "event" not in found)
    if (name := next((name for name in REPEATS if _differ(line, own, name)), None)) is not None:
        return f"step {step} ({name})"
    full = [found["scores"] for found in there if found.get("event") == "full"]
    if evaluation is not None and json.dumps(full) != json.dumps([evaluation.scores]):
        return f"step {step} (its evaluation)"
    if not metrics.checked:
        return None  # older versions passed over some quick evaluations
    quick = [found for found in there if found.get("event") == "quick"]
    watched = record.watching((found for found in metrics.watches if found["step"] < step), settings)
    due = watched["quick_eval_examples"] and cadence(before, state, prepared.budget, watched["save_every_steps"])
    if len(quick) != bool(due and evaluation is None):
        return f"step {step} (its quick evaluation, {'missing' if due else 'not due'})"
    for found in quick:
        if json.dumps(prepared.evaluate(state, found["examples"]).scores) != json.dumps(found["scores"]):
            return f"step {step} (its quick evaluation)"
    return None


def _steps(
    walk: Walk, prepared: Prepared, state: State, end: int
) -> Iterator[tuple[State, dict[str, Any], Evaluation | None]]:
    """Every state up to a step, each with the line of metrics that it gives and its full evaluation, if it has one."""
    lines: list[dict[str, Any]] = []
    observe = observers.metrics_writer(lines.append, prepared.schedule, prepared.budget, lambda: 0.0)
    while state.step < end and not walk.finished(state):
        batch = walk.stream(state)
        state, evaluation = advance(walk, state, batch)
        observe(state, batch)
        yield state, json.loads(json.dumps(lines.pop())), evaluation


def _checkpoints(
    place: archive.Place, prepared: Prepared, entries: tuple[ledger.Entry, ...], complain: Say, say: Say
) -> Iterator[tuple[int, State]]:
    """The states to begin with: the first one, and those in checkpoints that are what the ledger says."""
    start, known, lines = prepared.start(), ledger.digests(entries), ledger.current(entries)
    yield 0, start
    for target in checkpoint.steps(place.checkpoints):
        step = checkpoint.step_of(target)
        try:
            state = checkpoint.load(target, start, place.identity)
        except checkpoint.Damaged as error:
            complain(f"checkpoint {error}")
            continue
        if step not in lines:
            complain(f"checkpoint {target.name}: the ledger has no line for it")
        elif digest(state) in known[step]:
            say(f"verified  checkpoint {target.name}")
            yield step, state
        else:
            leaf = ledger.first_difference(lines[step], leaf_digests(state))
            complain(f"checkpoint {target.name}: it is not the state in the ledger; the first difference is {leaf}")


def _environment(folder: Path, prepared: Prepared, complain: Say, say: Say) -> list[str]:
    """What is not as it was when the run was made, said and returned."""
    try:
        before = documents.read(folder / documents.ENVIRONMENT)
    except (OSError, Altered) as error:
        complain(f"{documents.ENVIRONMENT}: {'is missing' if isinstance(error, OSError) else error}")
        return []
    changes = differences(before, environment(prepared))
    for change in changes:
        say(f"environment differs, so the bits may: {change}")
    return changes


def _keep(folder: Path, digest: str | None, say: Say, **found: Any) -> None:
    """The run's ``replay.json``; a run in a folder that cannot be written can be replayed all the same.

    ``digest``: the last one of the ledger, None where it cannot be read.
    """
    path = folder / documents.REPLAY
    try:
        documents.write(path, {"digest": digest, **found})
    except OSError as error:
        say(f"{path} cannot be written ({error.strerror}): the report will not show this replay")


def _compare_result(folder: Path, last: ledger.Entry, complain: Say) -> None:
    """The result's seal, and what it says beside the ledger."""
    for problem in seal.verify(folder, exports=False).problems:
        complain(problem)
    try:
        found = documents.read(folder / documents.RESULT)
        said = (found["digest"], found["tokens"]["total"])
    except (OSError, ValueError, KeyError, TypeError):
        complain("result.json cannot be read")
        return
    if said != (last.digest, last.tokens):
        complain(f"result.json has {said[0]} after {said[1]} tokens, the ledger {last.digest} after {last.tokens}")


def _compare_products(
    folder: Path,
    experiment: str,
    prepared: Prepared,
    state: State,
    evaluation: Evaluation | None,
    complain: Say,
    say: Say,
) -> None:
    """Predictions, statistics, exports and scores, made of the last state again, beside those of the run."""
    evaluation = evaluation or prepared.evaluate(state)
    scores, predicted = prepared.evaluate_test(state)
    with tempfile.TemporaryDirectory(prefix="mtlfn-replay-") as scratch:
        conclude.products(prepared, state, evaluation.predictions, predicted, Path(scratch))
        made, there = seal.hashes(Path(scratch)), seal.hashes(folder)
    there = {name: sha for name, sha in there.items() if name.startswith(tuple(f"{part}/" for part in seal.FOLDERS))}
    away = {name for name in made.keys() - there.keys() if name.startswith(f"{seal.EXPORT}/")}
    odd = sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name) and name not in away)
    for name in odd:
        complain(f"{name}: is not what the last state gives" if name in made else f"{name}: is not of this run")
    again = json.loads(json.dumps(texts.result(experiment, prepared, folder, state, evaluation.scores, scores)))
    if (tokens := _said(folder / documents.TOKENS)) is not None and tokens != again["tokens"]:
        complain(f"{documents.TOKENS}: is not what the run gives")
    found = _said(folder / documents.RESULT) or again
    for name in again:
        if name not in OF_THE_PROCESS and json.dumps(found.get(name), sort_keys=True) != json.dumps(
            again[name], sort_keys=True
        ):
            complain(f"{documents.RESULT}: its {name} is not what the run gives")
    if not odd:
        what = "predictions, statistics, exports" + (f"; {len(away)} files of exports are away" if away else "")
        say(f"equal     {len(made) - len(away)} files made of the last state again: {what}")


def _compare_documents(folder: Path, prepared: Prepared, complain: Say, *, whole: bool, moved: bool) -> None:
    """What the run says of its data and smoke test, beside what they are.

    ``whole``: compares every word on the data; else, since other code may word them otherwise, what they are.
    ``moved``: not where they lay.
    """
    from mtlfn.run import memory, smoke

    def facts(data: Mapping[str, Any]) -> dict[str, Any]:
        if whole:
            return {task: {**about, "source": None if moved else about["source"]} for task, about in data.items()}
        kept = ("examples", "tokens", "sha256")
        return {
            task: {split: {k: about[split][k] for k in kept} for split in SPLITS if split in about}
            for task, about in data.items()
        }

    if (data := _said(folder / documents.DATA)) is not None:
        there, here = (facts(found) for found in (data, json.loads(json.dumps(describe_data(prepared)))))
        for task in sorted({*there, *here}):
            if there.get(task) != here.get(task):
                complain(f"{documents.DATA}: {task} is not what the data give")
    test = _said(folder / documents.SMOKE)
    passed = test is not None and not test["skipped"]
    if passed and (failed := smoke.verdict(smoke.smoke(prepared, memory.probe(prepared.model.device)))):
        complain(f"{documents.SMOKE}: says that the smoke test passed, and it fails: {failed}")


def _said(path: Path) -> dict[str, Any] | None:
    """A document; None where it cannot be read, which the seal has told."""
    try:
        return documents.read(path)
    except (OSError, Altered):
        return None
