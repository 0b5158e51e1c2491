"""What surrounds the pure walk of one run: files, console, clock, signals, monitors and the run's other processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from mtlfn.core.batch import Batch
from mtlfn.core.state import State
from mtlfn.run import documents
from mtlfn.run.config import Config
from mtlfn.run.machine import deadline, memory
from mtlfn.run.machine.processes import Processes
from mtlfn.run.one import directory, evaluate, together
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
    began = directory.recorded(folder).settings

    def due(before: int, after: State) -> bool:
        return cadence(before, after, prepared.budget, config.save_every_steps)

    def saving(before: State, after: State) -> bool:
        return due(before.input_tokens, after) or processes.agree(deadline.asked(folder, "SAVE"))

    def look(before: State, state: State) -> None:
        wanted = config.quick_eval_examples and due(before.input_tokens, state)
        if processes.agree(bool(wanted and stopping.before_step(state, False) is None)):
            quick(state, config.quick_eval_examples)

    def make_up(state: State) -> None:
        examples = owed(lines, began, state, prepared.budget)
        if count := processes.share_json(examples if stopping.before_step(state, False) is None else 0):
            quick(state, count)

    hooks = Hooks(
        stop=lambda state, evaluates: stop(stopping.before_step(state, evaluates)),
        check=storage.check,
        observe=_observe(prepared, report, clock, write, probe, lines),
        evaluated=lambda state, full: write({"step": state.step, "event": "full", "scores": full.scores}),
        due=saving,
        look=look,
        save=_saving(storage, metrics, limit, clock, processes),
    )
    walk = _timed(prepared, limit, clock, evaluations, processes)
    return Surroundings(walk, hooks, make_up, evaluations)


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
) -> Callable[[State, int], None]:
    """A quick evaluation on so many examples of all tasks together, put on record and said."""

    def quick(state: State, examples: int) -> None:
        with clock.paused(), limit.timing("quick"):
            count = of_each(examples, prepared)
            scores = prepared.evaluate(state, count, through).scores
        write({"step": state.step, "event": "quick", "examples": count, "scores": scores})
        shown = "  ".join(f"{t} {v:.3f}" for t, v in evaluate.primary(prepared.tasks, scores).items())
        report.say(f"quick evaluation  {shown}")

    return quick


def of_each(examples: int, prepared: Prepared) -> int:
    """Examples of each task, where there are to be so many of all."""
    return -(-examples // len(prepared.tasks))


def owed(lines: Sequence[record.Line], began: Mapping[str, Any], state: State, budget: int) -> int:
    """Examples of the quick evaluation that a state which is gone on from lacks on record; 0 where none is due.

    It is due by the cadence at which its step was taken, whatever is asked for from here on: so a record says of each
    step whether it has to have one. ``began``: the settings that the run began with.
    """
    here = [line for line in lines if line["step"] == state.step]
    earlier = [line for line in lines if line["step"] < state.step]
    if not state.step or any(line.get("event") in ("quick", "full") for line in here):
        return 0
    watched = record.watching(earlier, began)
    before = next((line["tokens"] for line in reversed(earlier) if "event" not in line), 0)
    return watched["quick_eval_examples"] * cadence(before, state, budget, watched["save_every_steps"])
