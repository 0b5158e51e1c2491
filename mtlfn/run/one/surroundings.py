"""What surrounds the pure walk of one run: files, console, clock, signals, monitors and the run's other processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import attrs
from attrs import frozen

from mtlfn.core.batch import Batch
from mtlfn.core.state import State
from mtlfn.run import documents
from mtlfn.run.config import Config
from mtlfn.run.machine import deadline, memory
from mtlfn.run.machine.processes import Processes
from mtlfn.run.one import evaluate, together
from mtlfn.run.one.evaluations import Evaluations, side_by_side
from mtlfn.run.one.prepare import Prepared
from mtlfn.run.one.training import Hooks, diverged
from mtlfn.run.one.walk import Evaluation, Walk, cadence
from mtlfn.run.storage import record
from mtlfn.run.storage.archive import Archive
from mtlfn.run.watch import monitors, observers

Write = Callable[[record.Line], None]


@frozen(eq=False)
class Surroundings:
    """What surrounds the pure walk of one run.

    Attributes:
        walk: the walk, timed.
        hooks: what ``train`` calls.
        make_up: makes the quick evaluation that was due in a state that is gone on from, if it was not made.
        evaluations: of the last state.
    """

    walk: Walk
    hooks: Hooks
    make_up: Callable[[State], None]
    evaluations: Evaluations


@frozen(eq=False)
class Stopping:
    """Why to stop, in words: a signal, the file STOP, the time limit, the steps asked for, numbers that are not finite.

    ``signalled``: whether a signal asked for it.
    """

    config: Config
    folder: Path
    limit: deadline.Deadline
    signalled: Callable[[], bool]

    def before_step(self, state: State, evaluates: bool) -> str | None:
        """Why not to take another step, if there is a reason. ``evaluates``: a full evaluation follows the step."""
        if (why := diverged(state)) is not None:
            return why
        if self.config.max_steps is not None and state.step >= self.config.max_steps:
            return f"--max-steps {self.config.max_steps} reached"
        return self._asked() or self._late(self.limit.too_late(evaluates=evaluates))

    def before_task(self) -> str | None:
        """Why not to evaluate another task, if there is a reason."""
        return self._asked() or self._late(self.limit.too_late_for("save", "evaluation"))

    def _asked(self) -> str | None:
        if self.signalled():
            return "asked to stop"
        return "asked to stop by the file STOP" if deadline.asked(self.folder, "STOP") else None

    def _late(self, is_late: bool) -> str | None:
        return f"--max-hours {self.config.max_hours:g} {self.limit.told()}" if is_late else None


def surround(
    prepared: Prepared,
    folder: Path,
    storage: Archive,
    report: observers.Reporter,
    limit: deadline.Deadline,
    probe: memory.Probe,
    signalled: Callable[[], bool],
    lines: Sequence[record.Line],
    processes: Processes,
) -> Surroundings:
    """What surrounds the walk in the process that writes.

    ``lines``: what the record has of the steps that were taken already.
    """
    config, metrics = prepared.config, folder / documents.METRICS
    clock = observers.TrainingClock(time.monotonic)
    write = partial(record.append, metrics)
    stopping = Stopping(config, folder, limit, signalled)

    def stop(own: str | None) -> str | None:
        return together.reason(own, processes)

    evaluations = Evaluations(folder, limit, report.evaluating, lambda: stop(stopping.before_task()), processes)
    quick = _quick(prepared, report, limit, clock, write, side_by_side(processes))

    def due(before: int, after: State) -> bool:
        return cadence(before, after, prepared.budget, config.save_every_steps)

    def saving(before: State, after: State) -> bool:
        return due(before.input_tokens, after) or processes.agree(deadline.asked(folder, "SAVE"))

    def look(before: int | None, state: State) -> None:
        wanted = before is not None and config.quick_eval_examples and state.step and due(before, state)
        if processes.agree(bool(wanted and stopping.before_step(state, False) is None)):
            quick(state)

    hooks = Hooks(
        stop=lambda state, evaluates: stop(stopping.before_step(state, evaluates)),
        check=storage.check,
        observe=_observe(prepared, report, clock, write, probe, lines),
        evaluated=lambda state, full: write({"step": state.step, "event": "full", "scores": full.scores}),
        due=saving,
        look=lambda before, after: look(before.input_tokens, after),
        save=_saving(storage, metrics, limit, clock, processes),
    )
    walk = _timed(prepared, limit, clock, evaluations, processes)
    return Surroundings(walk, hooks, partial(_make_up, look, lines), evaluations)


def _saving(
    storage: Archive,
    metrics: Path,
    limit: deadline.Deadline,
    clock: observers.TrainingClock,
    processes: Processes,
) -> Callable[[State], None]:
    """Makes a checkpoint of a state that all processes have come to; training stands still meanwhile."""

    def save(state: State) -> None:
        with clock.paused(), limit.timing("save"):
            together.same_state(state, processes)
            record.sync(metrics)  # before the checkpoint that follows from it
            storage.save(state)
        deadline.answered(metrics.parent, "SAVE")

    return save


def _observe(
    prepared: Prepared,
    report: observers.Reporter,
    clock: observers.TrainingClock,
    write: Write,
    probe: memory.Probe,
    lines: Sequence[record.Line],
) -> observers.Observer:
    """All that sees every step: the record, the console, and the monitors, which know the steps before."""
    alert = monitors.alerts(write, report.say)
    watchers = [
        observers.metrics_writer(write, prepared.schedule, prepared.budget, clock),
        report.progress(prepared.budget, clock),
        monitors.memory(probe, write, alert),
        monitors.losses(alert, [line for line in lines if "event" not in line]),
    ]

    def observe(state: State, batch: Batch) -> None:
        for watch in watchers:
            watch(state, batch)

    return observe


def _timed(
    prepared: Prepared,
    limit: deadline.Deadline,
    clock: observers.TrainingClock,
    evaluations: Evaluations,
    processes: Processes,
) -> Walk:
    """The walk, its steps timed; while it evaluates, the clock of training stands still."""
    take = prepared.step_on(processes.ranks)

    def step(state: State, batch: Batch) -> State:
        with limit.timing("step"):
            return take(state, batch)

    def evaluate_fully(state: State) -> Evaluation:
        with clock.paused():
            return prepared.evaluate(state, through=evaluations.through(state, "dev"))

    return attrs.evolve(prepared.walk, step=step, evaluate=evaluate_fully)


def _quick(
    prepared: Prepared,
    report: observers.Reporter,
    limit: deadline.Deadline,
    clock: observers.TrainingClock,
    write: Write,
    through: evaluate.Through,
) -> Callable[[State], None]:
    """A quick evaluation, put on record and said."""

    def quick(state: State) -> None:
        with clock.paused(), limit.timing("quick"):
            count = quick_examples(prepared)
            scores = prepared.evaluate(state, count, through).scores
        write({"step": state.step, "event": "quick", "examples": count, "scores": scores})
        shown = "  ".join(f"{t} {v:.3f}" for t, v in evaluate.primary(prepared.tasks, scores).items())
        report.say(f"quick evaluation  {shown}")

    return quick


def quick_examples(prepared: Prepared) -> int:
    """Examples of each task in a quick evaluation."""
    return -(-prepared.config.quick_eval_examples // len(prepared.tasks))


def _make_up(look: Callable[[int | None, State], None], lines: Sequence[record.Line], state: State) -> None:
    """Looks at a state that is gone on from, where no evaluation of it is on record."""
    here = [line for line in lines if line["step"] == state.step]
    earlier = [line["tokens"] for line in lines if "event" not in line and line["step"] < state.step]
    evaluated = any(line.get("event") in ("quick", "full") for line in here)
    look(None if evaluated else earlier[-1] if earlier else 0, state)
