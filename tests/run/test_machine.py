"""A rule machine over everything that can happen to a run: it always goes on to the digests of one undisturbed.

Trained is the plain-tensor model of ``tests/core/tiny.py`` with dropout, uncertainty weighting, PCGrad, full
evaluations and patience, through the real loop, archive and metrics file. The rules step, stop, kill in a step, in an
evaluation and at any system call of a save (with and without the loss of what was not fsynced), damage the newest
checkpoint, delete old ones, tear the ledger's last line, and change how the run is watched.
"""

from __future__ import annotations

import functools
import math
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mtlfn.core import step as stepping
from mtlfn.core.batch import Batch, Cursor
from mtlfn.core.gradients import ENGINES
from mtlfn.core.keys import fold
from mtlfn.core.schedule import Schedule
from mtlfn.core.state import State, digest
from mtlfn.run.disk import REAL, Disk
from mtlfn.run.one import training
from mtlfn.run.one.walk import Evaluation, Walk, advance
from mtlfn.run.storage import archive, checkpoint, ledger, record
from mtlfn.run.watch import observers
from tests.core import tiny
from tests.run.disks import Cut, PowerCut

IDENTITY = "an identity"
STEPS = 14  # of the whole run
PASS = 3  # micro-batches of a task in one pass over its data
SCHEDULE = Schedule(peak=0.05, schedule_tokens=2000, warmup_ratio=0.1, decay="linear")


class Killed(BaseException):
    """The process is gone; nothing that follows happens."""


def stream(state: State) -> Batch:
    """What comes next, read off cursors and key alone; some tasks sit out some steps, so cursors fall apart."""
    held, cursors = [], dict(state.cursors)
    for number, task in enumerate(tiny.TASKS):
        if (state.step + number) % 5 == 0:
            continue
        at = state.cursors[task]
        held.append(tiny.micro_batch(task, int(fold(state.key, task, at.epoch, at.position)[:7], 16)))
        after = Cursor(at.epoch, at.position + 1)
        cursors[task] = after if after.position < PASS else Cursor(at.epoch + 1, 0)
    return Batch(tuple(held), cursors)


def evaluate(state: State) -> Evaluation:
    """A score that every parameter moves up and down."""
    score = sum(math.sin(float(t.double().sum())) for names in state.params.values() for t in names.values())
    return Evaluation({"a": {"score": score}}, score, {})


@functools.cache
def walk(engine: str) -> Walk:
    config = stepping.StepConfig(schedule=SCHEDULE, engine=ENGINES[engine], weighting="uncertainty")
    step = stepping.build(config, tiny.loss(), tiny.REACH)
    state, tokens = tiny.begin(), 0
    for _ in range(STEPS):
        batch = stream(state)
        tokens += batch.tokens.input
        state = attrs.evolve(state, step=state.step + 1, cursors=batch.cursors)
    return Walk(
        start=tiny.begin,
        stream=stream,
        step=step,
        evaluate=evaluate,
        budget=tokens,
        epoch_tokens=tokens // 4,
        points=0,
        early_stopping=True,
        patience=3,
    )


@functools.cache
def undisturbed(engine: str) -> dict[int, str]:
    """Step -> digest of the run that nothing happened to."""
    made, found = walk(engine), {}
    state = made.start()
    while not made.finished(state):
        found[state.step] = digest(state)
        state, _ = advance(made, state, made.stream(state))
    return {**found, state.step: digest(state)}


@attrs.frozen
class Watching:
    """How a run is watched; none of it may show."""

    save_every: int = 3
    quick_every: int = 0
    metrics: bool = True


class Run(RuleBasedStateMachine):
    @initialize(engine=st.sampled_from(["merged", "loop"]))
    def begin(self, engine: str) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="mtlfn-machine-"))
        self.folder = self.root / "run-0"
        self.folder.mkdir()
        self.walk, self.expected = walk(engine), undisturbed(engine)
        self.watching, self.draw, self.moves = Watching(), random.Random(0), 0
        self.kept = -1  # the step of the last save that came to its end, as long as nobody damaged it

    def teardown(self) -> None:
        if not hasattr(self, "root"):
            return
        try:
            self.attempt()
            state, said = self.newest()
            assert self.walk.finished(state)
            assert digest(state) == self.expected[max(self.expected)]
            assert all(text.startswith("ledger.jsonl has no line for") for text in said)
        finally:
            shutil.rmtree(self.root)

    def newest(self) -> tuple[State | None, list[str]]:
        said: list[str] = []
        _, state = archive.restore(self.place(REAL), self.walk.start(), said.append)
        return state, said

    def place(self, disk: Disk) -> archive.Place:
        return archive.Place(self.folder, IDENTITY, disk)

    def attempt(
        self,
        disk: Disk = REAL,
        stop_after: int | None = None,
        step: Callable[[State], None] = lambda _: None,
        evaluation: Callable[[], None] = lambda: None,
    ) -> State:
        """The command given once more: it resumes and trains until it ends or something raises."""
        kept, resumed = archive.restore(self.place(disk), self.walk.start(), lambda _: None)
        state = self.walk.start() if resumed is None else resumed
        assert digest(state) == self.expected[state.step]
        metrics, watching, began = self.folder / "metrics.jsonl", self.watching, state.step
        record.cut(metrics, record.sound(metrics), state.step)
        write = observers.metrics_writer(
            functools.partial(record.append, metrics), SCHEDULE, self.walk.budget, lambda: 0.0
        )

        def observe(state: State, batch: Batch) -> None:
            assert digest(state) == self.expected[state.step]
            if watching.metrics:
                write(state, batch)
            step(state)

        def look(before: State, state: State) -> None:
            if watching.quick_every and state.step % watching.quick_every == 0:
                evaluate(state)

        def save(state: State) -> None:
            kept.save(state)
            self.kept = state.step

        def full(state: State) -> Evaluation:
            evaluation()
            return evaluate(state)

        hooks = training.Hooks(
            stop=lambda s, _: "told to" if stop_after is not None and s.step >= began + stop_after else None,
            check=kept.check,
            observe=observe,
            evaluated=lambda state, found: None,
            due=lambda before, after: after.step % watching.save_every == 0,
            look=look,
            save=save,
        )
        return training.train(attrs.evolve(self.walk, evaluate=full), state, hooks).state

    @rule(steps=st.integers(0, 4))
    def stop_and_save(self, steps: int) -> None:
        state = self.attempt(stop_after=steps)
        found, _ = self.newest()
        assert found is None if state.step == 0 else found.step == state.step

    @rule(steps=st.integers(1, 5))
    def kill_after_a_step(self, steps: int) -> None:
        left = steps

        def kill(state: State) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise Killed

        self.dies(step=kill)

    @rule()
    def kill_in_an_evaluation(self) -> None:
        def kill() -> None:
            raise Killed

        self.dies(evaluation=kill)

    @rule(calls=st.integers(1, 90), power=st.booleans())
    def kill_in_a_save(self, calls: int, power: bool) -> None:
        """At a system call; with ``power``, what was not fsynced is there or not."""
        cut = Cut(self.folder, calls)
        if self.dies(disk=cut) and power:
            self.moves += 1
            after = self.root / f"run-{self.moves}"
            cut.lose(after, self.draw)
            self.folder = after

    def dies(self, **how: object) -> bool:
        try:
            self.attempt(**how)
        except (Killed, PowerCut):
            return True
        return False

    @rule(kind=st.sampled_from(["flip", "truncate", "delete", "empty"]), file=st.integers(0, 2), at=st.floats(0, 1))
    @precondition(lambda self: hasattr(self, "folder") and checkpoint.steps(self.folder / "checkpoints"))
    def damage_the_newest(self, kind: str, file: int, at: float) -> None:
        target, self.kept = checkpoint.steps(self.folder / "checkpoints")[-1], -1
        paths = sorted(target.iterdir())
        if not paths:
            return
        path = paths[file % len(paths)]
        data = path.read_bytes()
        i = min(int(at * len(data)), len(data) - 1)
        if kind == "delete":
            path.unlink()
        elif kind == "flip" and data:
            path.write_bytes(data[:i] + bytes([data[i] ^ 4]) + data[i + 1 :])
        else:
            path.write_bytes(data[: max(i, 0)] if kind == "truncate" else b"")

    @rule()
    @precondition(lambda self: hasattr(self, "folder") and len(checkpoint.steps(self.folder / "checkpoints")) > 1)
    def prune_by_hand(self) -> None:
        shutil.rmtree(checkpoint.steps(self.folder / "checkpoints")[0])

    @rule()
    @precondition(lambda self: hasattr(self, "folder") and (self.folder / "ledger.jsonl").exists())
    def tear_the_last_line(self) -> None:
        path = self.folder / "ledger.jsonl"
        path.write_bytes(path.read_bytes()[:-9])

    @rule(save=st.integers(1, 6), quick=st.integers(0, 4), metrics=st.booleans())
    def watch_otherwise(self, save: int, quick: int, metrics: bool) -> None:
        self.watching = Watching(save, quick, metrics)

    @invariant()
    def what_was_saved_is_there(self) -> None:
        if getattr(self, "kept", -1) >= 0:
            found, said = self.newest()
            assert found.step >= self.kept
            assert digest(found) == self.expected[found.step]
            assert all(text.startswith("ledger.jsonl has no line for") for text in said)

    @invariant()
    def every_line_of_the_ledger_is_of_the_undisturbed_run(self) -> None:
        if not hasattr(self, "folder"):
            return
        for line in ledger.read(self.folder / "ledger.jsonl", IDENTITY):
            assert line.digest == self.expected[line.step]


class Longer(Run):
    """The same, for longer than every change to the code can wait."""


GIVEN = settings(stateful_step_count=14, deadline=None, suppress_health_check=[HealthCheck.too_slow])
Run.TestCase.settings = settings(GIVEN, max_examples=20)
Longer.TestCase.settings = settings(GIVEN, max_examples=100)
test_whatever_happens_the_digests_are_those_of_an_undisturbed_run = Run.TestCase
test_whatever_happens_in_many_more_orders = pytest.mark.slow(Longer.TestCase)
