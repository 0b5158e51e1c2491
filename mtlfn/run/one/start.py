"""From a prepared run to its last state: what is restored and checked, the smoke test, training, and leaving."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mtlfn.core.ranks import costs, shares
from mtlfn.core.state import State
from mtlfn.models.model import check_params
from mtlfn.run import documents
from mtlfn.run.config import Config
from mtlfn.run.documents import Altered, resumes, typed
from mtlfn.run.documents.data import Data
from mtlfn.run.documents.environment import Environment
from mtlfn.run.documents.smoke import Smoke
from mtlfn.run.errors import BUG, PREFLIGHT, RESUMABLE
from mtlfn.run.machine import deadline, memory
from mtlfn.run.machine.processes import Processes
from mtlfn.run.one import conclude, describe, directory, evaluate, together
from mtlfn.run.one import summary as texts
from mtlfn.run.one.directory import Failed, Mismatch
from mtlfn.run.one.evaluations import Leaving
from mtlfn.run.one.prepare import Prepared
from mtlfn.run.one.surroundings import surround
from mtlfn.run.one.training import diverged, train
from mtlfn.run.storage import archive, kaggle, ledger, notebook, record
from mtlfn.run.terminal import counted, shown
from mtlfn.run.watch import observers

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(
    strategy: str,
    prepared: Prepared,
    folder: Path,
    report: observers.Reporter,
    command: Sequence[str],
    limit: deadline.Deadline,
    processes: Processes,
) -> int:
    """Restores, trains and concludes, in the process that writes; returns the exit code. What the other processes do
    meanwhile is in run/one/follow.py, exchange by exchange."""
    place, walk, start = directory.place(folder, prepared), prepared.walk, prepared.start()
    processes.share_json(prepared.identity)
    if notebook.here():
        kaggle.bring_back(place, start, report.say)
    metrics = record.sound(folder / documents.METRICS, older=directory.of_older_version(folder))
    best = prepared.config.select == "best"
    storage, resumed = archive.restore(place, start, report.say, metrics.steps, with_best=best)
    if metrics.problem:
        report.say(f"ALERT     {documents.METRICS}: {metrics.problem}")
    state = archive.with_breaks(start, storage.entries) if resumed is None else resumed
    check_params(prepared.model, state.params)
    probe = memory.probe(prepared.model.device)
    state = _same_environment(prepared, folder, storage, state, report.say, processes)
    for line in (*texts.banner(strategy, prepared, folder), *texts.processes_line(prepared, processes)):
        report.say(shown(line))  # no name in it makes a line of its own
    _same_data(prepared, folder, report.say)
    if not walk.finished(state) and _smoke_test_is_due(folder, report.say):
        _smoke(prepared, folder, report, probe)
    lines = _record(prepared, folder, metrics, state, resumed is not None)
    _expect(prepared, state, limit, report, processes)
    at = f"step {state.step}, {state.input_tokens:,} tokens, from a verified checkpoint"
    report.say(f"resume    {'nothing to resume: starting fresh' if resumed is None else at}")
    with memory.uncollected(), signals() as signalled:
        together.share_state(state, processes)
        around = surround(prepared, folder, storage, report, limit, probe, signalled, lines, processes)
        if not walk.finished(state):
            around.make_up(state)
        ended = train(around.walk, state, around.hooks)
        report.close()
        why = ended.why
        if why is None:
            try:
                return conclude.conclude(
                    strategy, prepared, folder, storage, report, ended.state, ended.evaluation, around.evaluations
                )
            except Leaving as leaving:
                why = f"{leaving}, while the last state was evaluated"
    return _leave(prepared.config, folder, report, command, ended.state, why)


def _leave(
    config: Config, folder: Path, report: observers.Reporter, command: Sequence[str], state: State, why: str
) -> int:
    """Says why the run stopped and how it goes on; Failed where it would stop again."""
    deadline.answered(folder, "STOP")
    at = f"step {state.step}, {state.input_tokens:,} tokens"
    if diverged(state) is not None:
        raise Failed(BUG, f"stopped: {why}; saved {at}. Try {_instead(config, 'a lower')}, then another --output-dir")
    report.say(f"stopped: {why} · {at} · saved in {folder}")
    report.say(f"to go on: {texts.going_on(command)}")
    return RESUMABLE


def _same_environment(
    prepared: Prepared,
    folder: Path,
    storage: archive.Archive,
    state: State,
    say: Callable[[str], None],
    processes: Processes,
) -> State:
    """The state, once the environment is the one the run was in, or the change is accepted and in its lineage."""
    from mtlfn.run.one.fingerprint import differences, environment

    now = environment(prepared, processes.size)
    together.same_environment(now, processes)
    try:
        before = typed.read(folder, Environment)
        changed = differences(before, now)
    except (OSError, Altered) as error:
        before = now
        why = "is missing" if isinstance(error, OSError) else str(error)
        # Nothing was trained yet: nothing depends on it.
        changed = (
            [f"{documents.ENVIRONMENT} {why}, so which environment it was is not known"] if storage.entries else []
        )
    if changed and not prepared.config.accept_environment:
        raise Mismatch(
            f"--output-dir {folder}: the environment is not the one this run was in, so it may not repeat to the bit: "
            f"{'; '.join(changed)}. {_back(changed, processes)}, or go on with --accept-environment"
        )
    # A run that fell back behind an accepted change is in the new environment already.
    carried = [c for step, texts in ledger.breaks(storage.entries).items() if step > state.step for c in texts]
    for change in [*carried, *(["; ".join(changed)] if changed else [])]:
        if change not in state.lineage.breaks:
            state = storage.accept(state, change)
    for change in differences(before, now, "told"):
        say(f"elsewhere {change}; nothing that decides a bit")
    typed.write(folder, now)
    return state


def _back(changed: Sequence[str], processes: Processes) -> str:
    """How to come back to the environment that a run was in."""
    if processes.size > 1 and any(change.startswith("threads:") for change in changed):
        return "Give --threads, which torchrun otherwise sets to 1 through OMP_NUM_THREADS"
    return "Go back to that environment"


def _same_data(prepared: Prepared, folder: Path, say: Callable[[str], None]) -> None:
    """Makes data.json again where it is not what was written."""
    try:
        typed.read(folder, Data)
    except (OSError, Altered) as error:
        say(f"ALERT     {documents.DATA}: {'is missing' if isinstance(error, OSError) else error}: made again")
        typed.write(folder, describe.data(prepared))


def _record(
    prepared: Prepared, folder: Path, metrics: record.Sound, state: State, resumed: bool
) -> Sequence[record.Line]:
    """The lines of the steps that were taken, with which the record goes on; it says that the run does."""
    lines = record.cut(folder / documents.METRICS, metrics, state.step)
    if resumed:
        _watched_otherwise(prepared, folder, lines, state.step)
        resumes.add(folder, state.step)
    else:
        resumes.begin(folder)
    return lines


def _watched_otherwise(prepared: Prepared, folder: Path, lines: Sequence[record.Line], step: int) -> None:
    """Puts on record that checkpoints and quick evaluations come at another cadence from here on."""
    settings = directory.recorded(folder).settings
    now = record.watching([], {name: getattr(prepared.config, name) for name in record.WATCHING})
    if record.watching(lines, settings) != now:
        record.append(folder / documents.METRICS, {"step": step, "event": "watch", **now})


def _smoke_test_is_due(folder: Path, say: Callable[[str], None]) -> bool:
    """Whether no smoke test is on record."""
    try:
        typed.read(folder, Smoke)
    except FileNotFoundError:
        return True
    except Altered as error:
        say(f"ALERT     {documents.SMOKE}: {error}: made again")
        return True
    return False


def _smoke(prepared: Prepared, folder: Path, report: observers.Reporter, probe: memory.Probe) -> None:
    """The smoke test, recorded; Failed where it did not pass."""
    from mtlfn.run.one import smoke

    if prepared.config.skip_smoke_test:
        typed.write(folder, Smoke(skipped=True, reason="--skip-smoke-test"))
        report.say("smoke     skipped, as asked for with --skip-smoke-test")
        return
    began = time.monotonic()
    checks = smoke.smoke(prepared, probe)
    if failed := smoke.verdict(checks):
        raise Failed(
            PREFLIGHT,
            f"the smoke test failed: {failed}. Nothing was trained. "
            f"{_instead(prepared.config, 'Another')} or other data may help; --skip-smoke-test begins all the same",
        )
    typed.write(folder, smoke.document(checks))
    report.say(f"smoke     {smoke.STEPS} steps on {smoke.EXAMPLES} examples: passed ({time.monotonic() - began:.0f} s)")


def _instead(config: Config, which: str) -> str:
    """What to try where numbers are not finite or a loss does not fall."""
    fp16 = config.precision == "fp16"  # a frozen backbone may go beyond 65,504, which no scale of the loss prevents
    return f"{'--precision bf16 or fp32, ' * fp16}{which} --learning-rate"


def _expect(
    prepared: Prepared, state: State, limit: deadline.Deadline, report: observers.Reporter, processes: Processes
) -> None:
    """How long it should take: a step and a little evaluation are timed, which being pure changes nothing."""
    rate = evaluate.seconds_per_token(prepared.model, state.params, {**prepared.test, **prepared.dev})
    corpora = [corpus for split in (prepared.dev, prepared.test) for corpus in split.values()]
    limit.expect("evaluation", rate * max(corpus.tokens for corpus in corpora))
    on_dev = rate * sum(corpus.tokens for corpus in prepared.dev.values()) / 60
    at_the_end = rate * sum(corpus.tokens for corpus in corpora) / 60 + on_dev * prepared.walk.points
    minutes = 0.0
    if not prepared.walk.finished(state):
        batch = prepared.stream(state)
        began = time.monotonic()
        prepared.step(state, batch)
        seconds = time.monotonic() - began
        limit.expect("step", seconds)
        price = costs(batch, prepared.model.reach)
        largest = max(sum(price[task] for task in tasks) for tasks in shares(price, processes.size))
        seconds *= largest / max(sum(price.values()), 1)  # the share of whoever has most to do
        minutes = seconds / batch.tokens.input * (prepared.budget - state.input_tokens) / 60
    when = "on the way and at the end" if prepared.walk.points else "at the end"
    minutes, at_the_end = max(minutes, 0.1), max(at_the_end, 0.1)
    report.say(f"time      about {minutes:.1f} min of training, {at_the_end:.1f} min of evaluation {when}")


@contextmanager
def signals() -> Iterator[Callable[[], bool]]:
    """SIGINT, SIGTERM and SIGHUP ask the run to finish its step, save and leave; under nohup, SIGHUP asks nothing."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    numbers = [number for number in SIGNALS if not (ignored and number == signal.SIGHUP)]
    with counted(numbers) as asked:
        yield lambda: asked() > 0
