"""Replay: steps taken again from the serialised state, and everything compared with what the run left.

A segment lies between two lines of the ledger. Compared are the chain of the ledger, the content of every checkpoint,
each step's numbers and evaluations in ``metrics.jsonl``, each segment's digest and the seal of the result; with every
segment, from the first step on, also what was made of the last state: predictions, statistics, exports and scores are
made again. What was found is kept in the run's ``replay.json``, for its report.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from attrs import frozen

from mtlfn.core.state import State, digest, leaf_digests
from mtlfn.run import documents, terminal
from mtlfn.run.documents import Altered, typed
from mtlfn.run.documents.environment import Environment
from mtlfn.run.documents.replay import Replay
from mtlfn.run.errors import MISMATCH, OK, UsageError
from mtlfn.run.one import directory, remade
from mtlfn.run.one.fingerprint import differences, environment
from mtlfn.run.one.loop import load
from mtlfn.run.one.prepare import Prepared
from mtlfn.run.one.walk import Evaluation, Walk, advance, cadence
from mtlfn.run.storage import archive, checkpoint, ledger, record, seal
from mtlfn.run.watch import observers

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


def replay(
    folder: Path, start: int | None, end: int | None, every: bool, say: Say = terminal.say, **changes: Any
) -> int:
    """Replays a run's directory and returns the exit code. ``changes``: settings that say where its inputs are now.

    What was found is left in the run's ``replay.json``, where the report on it looks.
    """
    if not (folder / documents.CONFIG).is_file():
        raise UsageError(f"{folder}: is no run of mtlfn (it has no {documents.CONFIG})")
    recorded = directory.recorded(folder)
    prepared = load(recorded.experiment, recorded.config(**changes))
    prepared = directory.identified(folder, prepared)
    place = directory.place(folder, prepared)
    wrong: list[str] = []

    def complain(text: str) -> None:
        wrong.append(text)
        say(f"MISMATCH  {text}")

    entries = _ledger(folder, place, complain)
    if entries is None:
        _keep(folder, Replay(digest=None, mismatches=tuple(wrong)), say)
        return MISMATCH
    say(f"ledger    {len(entries)} lines, each sealed with the one before")
    changed, same_words = _environment(folder, prepared, complain, say)
    states = dict(_checkpoints(place, prepared, entries, complain, say))
    wanted = segments(ledger.current(entries), sorted(states), start, end, every)
    say(f"replaying steps {wanted[0].start} to {wanted[-1].end.step} in {len(wanted)} segments")
    metrics = record.sound(folder / documents.METRICS, older=directory.of_older_version(folder))
    if metrics.problem:
        complain(f"{documents.METRICS}: {metrics.problem}")
    again = partial(
        _again, prepared, entries=entries, metrics=metrics, settings=recorded.settings, complain=complain, say=say
    )
    walked = _walk(wanted, states, again, wrong, say)
    if (folder / documents.RESULT).exists():
        remade.compare_result(folder, entries[-1], complain)
        if every and walked.state is not None and prepared.walk.finished(walked.state):
            whole = same_words and not changed
            _compare_products(folder, recorded.experiment, prepared, walked, complain, say, whole=whole)
            remade.compare_documents(folder, prepared, complain, whole=not changed, moved=bool(changes))
    elif any(entry.result for entry in entries):
        complain(
            f"{documents.RESULT}: is missing, and the ledger says that the run has ended; its command makes it again"
        )
    steps = (wanted[0].start, wanted[-1].end.step)
    outcome = Replay(digest=entries[-1].digest, steps=steps, equal=walked.equal, skipped=walked.skipped,
                     mismatches=tuple(wrong), environment=tuple(changed))  # fmt: skip
    _keep(folder, outcome, say)
    _tell(walked, len(wrong), say)
    if not every:
        say("This shows that these steps repeat; --all shows that the run is what it says, from first step to result")
    return MISMATCH if wrong else OK


def _compare_products(
    folder: Path, experiment: str, prepared: Prepared, walked: Walked, complain: Say, say: Say, *, whole: bool
) -> None:
    """What was made of the state that the run chose, beside what that gives."""
    state = walked.state
    assert state is not None
    chosen = walked.best if prepared.config.select == "best" else state
    if chosen is None or (chosen is not state and chosen.step != state.progress.best_step):
        complain(f"step {state.progress.best_step}, which was the best on dev, was not come to: it cannot be compared")
        return
    evaluation = walked.evaluation if chosen is state else None
    remade.compare_products(folder, experiment, prepared, state, chosen, evaluation, complain, say, whole=whole)


def _ledger(folder: Path, place: archive.Place, complain: Say) -> tuple[ledger.Entry, ...] | None:
    """The lines of the ledger; None where there is nothing to compare with, which is told.

    UsageError where the run has not taken a step that was saved.
    """
    try:
        entries = ledger.read(place.ledger, place.identity)
    except ledger.Broken as error:
        complain(str(error))
        if (folder / documents.RESULT).exists():  # which file is another one, if the ledger is not
            for problem in seal.verify(folder, exports=False).problems:
                complain(problem)
        return None
    if entries:
        return entries
    if checkpoint.steps(place.checkpoints) or (folder / documents.RESULT).exists():
        complain(f"{documents.LEDGER}: has no line, and the run has taken steps")
        return None
    raise UsageError(f"{folder}: its ledger is empty, so there is nothing to compare with; train first")


@frozen(eq=False)
class Walked:
    """The last state that was come to and its evaluation, if any; segments that are equal, and that were skipped.

    ``best``: the last state that was better on dev than all before it.
    """

    state: State | None
    best: State | None
    evaluation: Evaluation | None
    equal: int
    skipped: int


def _walk(
    wanted: Sequence[Segment],
    states: Mapping[int, State],
    again: Callable[[State, Segment], tuple[State | None, Evaluation | None]],
    wrong: Sequence[str],
    say: Say,
) -> Walked:
    """Takes the steps of the segments again, each from where the one before ended or from a state that was saved."""
    state: State | None = None
    best: State | None = None
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
        state, evaluation = again(state, segment)
        equal += len(wrong) == before
        if state is not None and state.progress.best_step == state.step:
            best = state
    return Walked(state, best, evaluation, equal, skipped)


def _tell(walked: Walked, mismatches: int, say: Say) -> None:
    equal, skipped = walked.equal, walked.skipped
    honest = f"{equal} segments are equal, {skipped} were skipped" if skipped else f"all {equal} segments are equal"
    say("replay: " + (f"{mismatches} mismatches" if mismatches else honest))


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
    *,
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
    own = next(event for event in there if "event" not in event)
    if (name := next((name for name in REPEATS if _differ(line, own, name)), None)) is not None:
        return f"step {step} ({name})"
    full = [event["scores"] for event in there if event.get("event") == "full"]
    if evaluation is not None and json.dumps(full) != json.dumps([evaluation.scores]):
        return f"step {step} (its evaluation)"
    if not metrics.checked:
        return None  # older versions passed over some quick evaluations
    quick = [event for event in there if event.get("event") == "quick"]
    watched = record.watching((watch for watch in metrics.watches if watch["step"] < step), settings)
    due = watched["quick_eval_examples"] and cadence(before, state, prepared.budget, watched["save_every_steps"])
    if len(quick) != bool(due and evaluation is None):
        return f"step {step} (its quick evaluation, {'missing' if due else 'not due'})"
    for event in quick:
        if json.dumps(prepared.evaluate(state, event["examples"]).scores) != json.dumps(event["scores"]):
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


def _environment(folder: Path, prepared: Prepared, complain: Say, say: Say) -> tuple[list[str], bool]:
    """What is not as it was when the run was made, said and returned; and whether this is the code that worded it."""
    try:
        before = typed.read(folder, Environment)
    except (OSError, Altered) as error:
        complain(f"{documents.ENVIRONMENT}: {'is missing' if isinstance(error, OSError) else error}")
        return [], True
    now = environment(prepared)
    changes = differences(before, now)
    for change in changes:
        say(f"environment differs, so the bits may: {change}")
    return changes, (before.version, before.commit) == (now.version, now.commit)


def _keep(folder: Path, outcome: Replay, say: Say) -> None:
    """Leaves what was found; a run in a folder that cannot be written can be replayed all the same."""
    try:
        typed.write(folder, outcome)
    except OSError as error:
        path = folder / documents.REPLAY
        say(f"{path} cannot be written ({error.strerror}): the report will not show this replay")
