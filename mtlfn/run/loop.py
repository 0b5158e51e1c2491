"""A run from its command to its result: prepare, resume or start, step until finished, evaluate, export.

``train`` is the loop itself; everything that is no arithmetic (disk, clock, signals, console) reaches it as a hook.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from mtlfn.core.batch import Batch
from mtlfn.core.state import State
from mtlfn.run import archive, checkpoint, deadline, directory, documents, ledger, lock, matched, memory, observers
from mtlfn.run.command import OK
from mtlfn.run.config import Config, UsageError, task_names
from mtlfn.run.directory import Mismatch
from mtlfn.run.evaluations import Leaving
from mtlfn.run.prepare import Prepared, prepare
from mtlfn.run.terminal import say, shown
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
        look: what is looked at before a checkpoint that is due.
        save: makes a checkpoint.
    """

    stop: Callable[[State, bool], str | None]
    check: Callable[[State], None]
    observe: Callable[[State, Batch], None]
    evaluated: Callable[[State, Evaluation], None]
    due: Callable[[State, State], bool]
    look: Callable[[State, State], None]
    save: Callable[[State], Any]


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
        why = hooks.stop(state, walk.evaluates_after(state, batch.tokens.input))
        before = state
        try:
            if why is None:
                state, found = advance(walk, state, batch)
        except Leaving as leaving:  # in the evaluation after this step, which is taken again
            why = str(leaving)
        if why is not None:
            if state.step != saved:
                hooks.save(state)
            return Ended(state, None, why)
        hooks.check(state)
        hooks.observe(state, batch)
        if found is not None:
            hooks.evaluated(state, found)
        if found is not None or hooks.due(before, state):
            if found is None:
                hooks.look(before, state)
            hooks.save(state)
            saved = state.step
    return Ended(state, found, None)


def run(strategy: str, config: Config, command: Sequence[str], beside: Path | None = None) -> int:
    """Trains to the end or to the next stop; returns the exit code.

    Args:
        command: what the user gave, to give again.
        beside: a run that this one will be compared with: it must have the same data and backbone.

    Raises:
        UsageError, DataError: something that was given cannot be used.
        Mismatch, Stopped, Failed (run/directory.py), Busy (run/lock.py): each with its exit code.
    """
    from mtlfn.run import conclude, start

    task_names(config)  # before anything is read or written
    limit = deadline.Deadline(deadline.began(), config.max_hours)
    folder = directory.resolve(config, strategy)
    directory.check_settings(folder, config, strategy)
    prepared = load(strategy, directory.with_recorded_size(folder, config))
    if beside is not None:
        matched.check(beside, prepared.identity, prepared.model.backbone.settings)
    directory.make(folder)
    with lock.held(folder / directory.LOCK, say):
        prepared = directory.claim(folder, strategy, prepared, command)
        report = observers.Reporter(folder / documents.LOG)
        try:
            if (finished := conclude.finished(folder, report.say)) is not None:
                print(f"mtlfn: this run is finished; its result:\n{finished}\nall of it: {shown(str(folder))}")
                return OK
            return start.run(strategy, prepared, folder, report, command, limit)
        except directory.Failed as error:
            report.log(str(error))
            raise
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
    # It costs time, and nothing here reads such memory. (A property that torch adds when it is imported: no type.)
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    if config.threads is not None:
        torch.set_num_threads(config.threads)
