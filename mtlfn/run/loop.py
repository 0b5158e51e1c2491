"""A run from its command to its result: prepare, resume or start, step until finished, evaluate, export.

``train`` is the loop itself; everything that is no arithmetic (disk, clock, signals, console) reaches it as a hook.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from mtlfn.core.batch import Batch
from mtlfn.core.state import State
from mtlfn.models.model import check_params
from mtlfn.run import (
    archive,
    checkpoint,
    deadline,
    directory,
    disk,
    evaluate,
    export,
    kaggle,
    ledger,
    memory,
    monitors,
    observers,
)
from mtlfn.run import summary as texts
from mtlfn.run.command import BUG, OK, PREFLIGHT, RESUMABLE
from mtlfn.run.config import Config, UsageError
from mtlfn.run.directory import Mismatch
from mtlfn.run.prepare import Prepared, prepare, resolve_directory
from mtlfn.run.walk import Evaluation, Walk, advance

NONFINITE_IN_A_ROW = 5


@frozen(kw_only=True, eq=False)
class Hooks:
    """What surrounds the pure walk.

    Attributes:
        stop: why not to take another step, if there is a reason; told whether a full evaluation follows that step.
        check: raises where a state is not the one that an earlier attempt came to.
        observe: sees every step.
        evaluated: sees every full evaluation.
        due: whether a checkpoint is due between two states.
        save: makes a checkpoint. ``saved``: what follows one.
    """

    stop: Callable[[State, bool], str | None]
    check: Callable[[State], None]
    observe: Callable[[State, Batch], None]
    evaluated: Callable[[State, Evaluation], None]
    due: Callable[[State, State], bool]
    save: Callable[[State], Any]
    saved: Callable[[State, Evaluation | None], None]


@frozen(eq=False)
class Ended:
    """How the loop ended: the last state, saved; its full evaluation if it was just made; why it stopped, if it did."""

    state: State
    evaluation: Evaluation | None
    why: str | None


def train(walk: Walk, state: State, hooks: Hooks) -> Ended:
    """Steps until the run is finished or has a reason to stop."""
    saved, found = state.step, None
    while not walk.finished(state):
        batch = walk.stream(state)
        if why := hooks.stop(state, walk.evaluates_after(state, batch.tokens.input)):
            if state.step != saved:
                hooks.save(state)
            return Ended(state, None, why)
        before = state
        state, found = advance(walk, state, batch)
        hooks.check(state)
        hooks.observe(state, batch)
        if found is not None:
            hooks.evaluated(state, found)
        if found is not None or hooks.due(before, state):
            hooks.save(state)
            saved = state.step
            hooks.saved(state, found)
    return Ended(state, found, None)


def run(strategy: str, config: Config, command: Sequence[str]) -> int:
    """Trains to the end or to the next stop; returns the exit code. ``command``: what the user gave, to give again."""
    limit = deadline.Deadline(deadline.began(), config.max_hours)
    folder = resolve_directory(config, strategy)
    directory.check_settings(folder, config, strategy)
    prepared = load(strategy, directory.with_recorded_size(folder, config))
    directory.make(folder)
    with disk.locked(folder / directory.LOCK) as mine:
        if not mine:
            raise UsageError(f"--output-dir {folder}: another process is writing this run; wait for it, or stop it")
        prepared = directory.claim(folder, strategy, prepared, command)
        if (finished := _finished(folder)) is not None:
            print(f"mtlfn: this run is finished; its result:\n{finished}\nall of it: {folder}")
            return OK
        report = observers.Reporter(folder / "train.log")
        try:
            return _run(strategy, prepared, folder, report, command, limit)
        except (ledger.Broken, archive.Diverged) as error:
            raise (directory.broken(error) if isinstance(error, ledger.Broken) else Mismatch(str(error))) from None
        except (OSError, checkpoint.Damaged) as error:
            raise directory.stopped(folder, error) from None
        finally:
            report.close()


def load(strategy: str, config: Config) -> Prepared:
    """Everything a run is made of, with deterministic numerics; UsageError where it cannot be loaded."""
    fix_numerics(config)
    from mtlfn.models.backbone import BackboneError

    try:
        return prepare(strategy, config)
    except BackboneError as error:
        raise UsageError(str(error)) from None


def fix_numerics(config: Config) -> None:
    """Deterministic operations, set before any device is touched; and memory that is kept."""
    memory.keep_freed()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch

    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms first loads the compiler: 2 s
    torch.utils.deterministic.fill_uninitialized_memory = False  # costs time, and nothing here reads such memory
    if config.threads is not None:
        torch.set_num_threads(config.threads)


def _finished(folder: Path) -> str | None:
    """The summary of a finished run; None where there is no result, or a damaged one, which is then made again."""
    try:
        return texts.summary(json.loads((folder / "result.json").read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _run(
    strategy: str,
    prepared: Prepared,
    folder: Path,
    report: observers.Reporter,
    command: Sequence[str],
    limit: deadline.Deadline,
) -> int:
    place, walk, start = directory.place(folder, prepared), prepared.walk, prepared.start()
    if kaggle.here():
        kaggle.bring_back(place, start, report.say)
    kept, resumed = archive.restore(place, start, report.say)
    state = archive.with_breaks(start, kept.entries) if resumed is None else resumed
    check_params(prepared.model, state.params)
    probe = memory.probe(prepared.model.device)
    state = _same_environment(prepared, folder, kept, state, report.say)
    for line in texts.banner(strategy, prepared, folder):
        report.say(line)
    new = not (folder / "smoke.json").exists() and not walk.finished(state)
    if new and not _smoke(prepared, folder, report, probe):
        return PREFLIGHT
    observers.truncate(folder / "metrics.jsonl", state.step)
    _expect(prepared, state, limit, report)
    report.say(
        "resume    nothing to resume: starting fresh"
        if resumed is None
        else f"resume    step {state.step}, {state.input_tokens:,} tokens, from a verified checkpoint"
    )
    with memory.uncollected(), _signals() as signalled:
        timed, hooks = _surround(prepared, folder, kept, report, limit, probe, signalled)
        ended = train(timed, state, hooks)
    report.close()
    if ended.why is not None:
        deadline.answered(folder, "STOP")
        at = f"step {ended.state.step}, {ended.state.input_tokens:,} tokens"
        if ended.state.nonfinite.in_a_row >= NONFINITE_IN_A_ROW:
            report.say(f"stopped: {ended.why}; saved {at}. Try a lower --learning-rate, then another --output-dir.")
            return BUG
        report.say(f"stopped: {ended.why} · {at} · saved in {folder}")
        report.say(f"to go on: {texts.going_on(command)}")
        return RESUMABLE
    _conclude(strategy, prepared, folder, report, ended)
    return OK


def _same_environment(
    prepared: Prepared, folder: Path, kept: archive.Archive, state: State, say: Callable[[str], None]
) -> State:
    """The state, once the environment is the one the run was in, or the change is accepted and in its lineage."""
    from mtlfn.run.fingerprint import differences, environment

    path, now = folder / "env.json", environment(prepared)
    try:
        before = dict(json.loads(path.read_text())) if path.exists() else now
    except (ValueError, TypeError):
        before = {}
    changed = differences(before, now)
    if changed and not prepared.config.accept_environment:
        raise Mismatch(
            f"--output-dir {folder}: the environment is not the one this run was in, so it may not repeat to the bit: "
            f"{'; '.join(changed)}. Go back to that environment, or go on with --accept-environment"
        )
    # A run that fell back behind an accepted change is in the new environment already.
    carried = [c for step, texts in ledger.breaks(kept.entries).items() if step > state.step for c in texts]
    for change in [*carried, *(["; ".join(changed)] if changed else [])]:
        if change not in state.lineage.breaks:
            state = kept.accept(state, change)
    for change in differences(before, now, "told"):
        say(f"elsewhere {change}; nothing that decides a bit")
    directory.write_json(path, now)
    return state


def _smoke(prepared: Prepared, folder: Path, report: observers.Reporter, probe: memory.Probe) -> bool:
    """The smoke test, recorded; False where it failed."""
    from mtlfn.run import smoke

    if prepared.config.skip_smoke_test:
        directory.write_json(folder / "smoke.json", {"skipped": True, "reason": "--skip-smoke-test"})
        report.say("smoke     skipped, as asked for with --skip-smoke-test")
        return True
    began = time.monotonic()
    checks = smoke.smoke(prepared, probe)
    if failed := smoke.verdict(checks):
        report.say(
            f"smoke     FAILED: {failed}. Nothing was trained. Another --learning-rate or other data may help; "
            "--skip-smoke-test begins all the same"
        )
        return False
    directory.write_json(folder / "smoke.json", smoke.document(checks))
    report.say(f"smoke     {smoke.STEPS} steps on {smoke.EXAMPLES} examples: passed ({time.monotonic() - began:.0f} s)")
    return True


def _expect(prepared: Prepared, state: State, limit: deadline.Deadline, report: observers.Reporter) -> None:
    """How long it should take: one step is timed, which being pure changes nothing."""
    if prepared.walk.finished(state):
        return
    batch = prepared.stream(state)
    began = time.monotonic()
    prepared.step(state, batch)
    seconds = time.monotonic() - began
    per_token = seconds / batch.tokens.input
    limit.expect("step", seconds)
    limit.expect("evaluation", per_token * sum(corpus.tokens for corpus in prepared.dev.values()))
    minutes = per_token * (prepared.budget - state.input_tokens) / 60
    report.say(f"time      about {max(minutes, 0.1):.1f} min of training, and evaluations")


def _surround(
    prepared: Prepared,
    folder: Path,
    kept: archive.Archive,
    report: observers.Reporter,
    limit: deadline.Deadline,
    probe: memory.Probe,
    signalled: Callable[[], bool],
) -> tuple[Walk, Hooks]:
    """The walk, timed, and what surrounds it: files, console, clock, signals and monitors."""
    config, budget, walk = prepared.config, prepared.budget, prepared.walk
    clock = observers.TrainingClock(time.monotonic)

    def write(line: dict[str, Any]) -> None:
        observers.append(folder / "metrics.jsonl", line)

    alert = monitors.alerts(write, report.say)
    watchers = [
        observers.metrics_writer(write, prepared.schedule, budget, clock),
        report.progress(budget, clock),
        monitors.memory(probe, write, alert),
        monitors.losses(alert),
    ]

    def evaluate_fully(state: State) -> Evaluation:
        with clock.paused(), limit.timing("evaluation"):
            return prepared.evaluate(state)

    def step(state: State, batch: Batch) -> State:
        with limit.timing("step"):
            return prepared.step(state, batch)

    def stop(state: State, evaluates: bool) -> str | None:
        if state.nonfinite.in_a_row >= NONFINITE_IN_A_ROW:
            return f"loss or gradient not finite in {state.nonfinite.in_a_row} steps in a row"
        if config.max_steps is not None and state.step >= config.max_steps:
            return f"--max-steps {config.max_steps} reached"
        if signalled():
            return "asked to stop"
        if deadline.asked(folder, "STOP"):
            return "asked to stop by the file STOP"
        if limit.too_late(evaluates=evaluates):
            return f"--max-hours {config.max_hours:g} {limit.told()}"
        return None

    def observe(state: State, batch: Batch) -> None:
        for watch in watchers:
            watch(state, batch)

    def due(before: State, after: State) -> bool:
        tenth = after.input_tokens * 10 // budget > before.input_tokens * 10 // budget
        return tenth or after.step % config.save_every_steps == 0 or deadline.asked(folder, "SAVE")

    def save(state: State) -> None:
        with clock.paused(), limit.timing("save"):
            kept.save(state)
        deadline.answered(folder, "SAVE")

    def look(state: State, found: Evaluation | None) -> None:
        if found is not None or not config.quick_eval_examples or stop(state, False) is not None:
            return
        with clock.paused(), limit.timing("quick"):
            quick = prepared.evaluate(state, -(-config.quick_eval_examples // len(prepared.tasks)))
        write({"step": state.step, "event": "quick", "scores": quick.scores})
        shown = "  ".join(f"{t} {v:.3f}" for t, v in evaluate.primary(prepared.tasks, quick.scores).items())
        report.say(f"quick evaluation  {shown}")

    hooks = Hooks(
        stop=stop,
        check=kept.check,
        observe=observe,
        evaluated=lambda state, found: write({"step": state.step, "event": "full", "scores": found.scores}),
        due=due,
        save=save,
        saved=look,
    )
    return attrs.evolve(walk, step=step, evaluate=evaluate_fully), hooks


@contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """SIGINT and SIGTERM ask the run to finish its step, save and leave."""
    asked: list[int] = []
    previous = {s: signal.signal(s, lambda number, _: asked.append(number)) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _conclude(strategy: str, prepared: Prepared, folder: Path, report: observers.Reporter, ended: Ended) -> None:
    """Predictions, exports and the result, which is written last."""
    # None: finished before, and stopped between the last checkpoint and the result.
    found = ended.evaluation or prepared.evaluate(ended.state)
    tested, predicted = prepared.evaluate_test(ended.state)
    for task in prepared.tasks:
        dataset = prepared.datasets[task.name]
        for split, predictions in (("dev", found.predictions), ("test", predicted)):
            if task.name in predictions:
                evaluate.write_predictions(folder / "predictions", dataset, split, predictions[task.name])
    export.export(prepared.model, ended.state.params, folder / "export")
    document = texts.result(strategy, prepared, folder, ended.state, found.scores, tested)
    directory.write_json(folder / "tokens.json", document["tokens"])
    directory.write_json(folder / "result.json", document)
    report.say("\n" + texts.summary(document))
    report.say(f"\neverything is in {folder}: result.json, metrics.jsonl, predictions/, export/<task>/ (PEFT adapters)")
    report.say("next: another --seed, or the same on your own data: see README.md")
