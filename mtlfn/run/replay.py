"""Replay: steps taken again from the serialised state, and every digest compared with what the ledger has.

A segment lies between two lines of the ledger. What is compared: the chain of the ledger, the content of every
checkpoint, each step's numbers in ``metrics.jsonl``, each segment's digest and the digest in ``result.json``. What was
found is kept in the run's ``replay.json``, for its report.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from attrs import frozen

from mtlfn.core.state import State, digest, leaf_digests
from mtlfn.run import archive, checkpoint, directory, ledger, observers
from mtlfn.run.command import MISMATCH, OK
from mtlfn.run.config import UsageError, from_settings
from mtlfn.run.disk import write_file
from mtlfn.run.fingerprint import differences, environment
from mtlfn.run.loop import load
from mtlfn.run.prepare import Prepared
from mtlfn.run.walk import Walk, advance

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

Say = Callable[[str], None]


@frozen
class Segment:
    """Steps from one line of the ledger to the next."""

    start: int
    end: ledger.Entry


def replay(folder: Path, start: int | None, end: int | None, every: bool, say: Say = print, **changes: Any) -> int:
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
        _keep(folder, None, say, mismatches=wrong)
        return MISMATCH
    if not entries:
        raise UsageError(f"{folder}: its ledger is empty, so there is nothing to compare with; train first")
    say(f"ledger    {len(entries)} lines, each sealed with the one before")
    changed = _environment(folder, prepared, say)
    lines = ledger.current(entries)
    states = dict(_checkpoints(place, prepared, entries, complain, say))
    wanted = segments(lines, sorted(states), start, end, every)
    say(f"replaying steps {wanted[0].start} to {wanted[-1].end.step} in {len(wanted)} segments")
    recorded = {line["step"]: line for line in observers.lines(folder / "metrics.jsonl") if "event" not in line}
    state: State | None = None
    equal = skipped = 0
    for segment in wanted:
        if state is None or state.step != segment.start:
            state = states.get(segment.start)
        if state is None:
            say(f"skipped   steps {segment.start} to {segment.end.step}: no state is left to begin with")
            skipped += 1
            continue
        before = len(wrong)
        state = _again(prepared, state, segment, entries, recorded, complain, say)
        equal += len(wrong) == before
    _compare_result(folder, entries[-1], complain)
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
    recorded: Mapping[int, Mapping[str, Any]],
    complain: Say,
    say: Say,
) -> State | None:
    """The state at the end of a segment, or None where it is not the one in the ledger."""
    walk, first, begin = prepared.walk, None, archive.with_breaks(state, entries)
    for state, line in _steps(walk, prepared, begin, segment.end.step):
        if first is None and (there := recorded.get(state.step)) is not None:
            first = next((f"step {state.step} ({name})" for name in REPEATS if _differ(line, there, name)), None)
    leaf = ledger.first_difference(segment.end, leaf_digests(archive.with_breaks(state, entries)))
    where = f"steps {segment.start} to {segment.end.step}"
    if leaf is None and first is None:
        say(f"equal     {where}: digest {segment.end.digest}")
        return state
    if leaf is None:
        complain(f"{where}: the digest is equal, but metrics.jsonl is not what the steps give, first at {first}")
        return state
    step = first or f"step {segment.end.step}"
    complain(f"{where}: the first step that differs is {step}, the first tensor or field {leaf}")
    return None


def _steps(walk: Walk, prepared: Prepared, state: State, end: int) -> Iterator[tuple[State, dict[str, Any]]]:
    """Every state up to a step, each with the line of metrics that it gives."""
    lines: list[dict[str, Any]] = []
    observe = observers.metrics_writer(lines.append, prepared.schedule, prepared.budget, lambda: 0.0)
    while state.step < end and not walk.finished(state):
        batch = walk.stream(state)
        state, _ = advance(walk, state, batch)
        observe(state, batch)
        yield state, json.loads(json.dumps(lines.pop()))


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


def _environment(folder: Path, prepared: Prepared, say: Say) -> list[str]:
    """What is not as it was when the run was made, said and returned."""
    try:
        before = dict(json.loads((folder / "env.json").read_text()))
    except (OSError, ValueError, TypeError):
        say("environment: env.json cannot be read")
        return ["env.json cannot be read"]
    changes = differences(before, environment(prepared))
    for change in changes:
        say(f"environment differs, so the bits may: {change}")
    return changes


def _keep(folder: Path, digest: str | None, say: Say, **found: Any) -> None:
    """The run's ``replay.json``; a run in a folder that cannot be written can be replayed all the same.

    ``digest``: the last one of the ledger, None where it cannot be read.
    """
    path = folder / "replay.json"
    try:
        write_file(path, (json.dumps({"digest": digest, **found}, indent=1) + "\n").encode())
    except OSError as error:
        say(f"{path} cannot be written ({error.strerror}): the report will not show this replay")


def _compare_result(folder: Path, last: ledger.Entry, complain: Say) -> None:
    path = folder / "result.json"
    if not path.exists():
        return
    try:
        found = json.loads(path.read_text())
        said = (found["digest"], found["tokens"]["total"])
    except (OSError, ValueError, KeyError, TypeError):
        complain("result.json cannot be read")
        return
    if said != (last.digest, last.tokens):
        complain(f"result.json has {said[0]} after {said[1]} tokens, the ledger {last.digest} after {last.tokens}")
