"""The loop itself: everything that is no arithmetic (disk, clock, signals, console) reaches it as a hook."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from mtlfn.core.batch import Batch
from mtlfn.core.state import State
from mtlfn.run.one.evaluations import Leaving
from mtlfn.run.one.walk import Evaluation, Walk, advance

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


def diverged(state: State) -> str | None:
    """That too many of the newest steps in a row were not finite, in words."""
    count = state.nonfinite.in_a_row
    return f"loss or gradient not finite in {count} steps in a row" if count >= NONFINITE_IN_A_ROW else None


def train(walk: Walk, state: State, hooks: Hooks) -> Ended:
    """Steps until the run is finished or has a reason to stop."""
    saved, evaluation = state.step, None
    while not walk.finished(state):
        batch = walk.stream(state)
        why = hooks.stop(state, walk.evaluates_after(state, batch.tokens.input))
        before = state
        try:
            if why is None:
                state, evaluation = advance(walk, state, batch)
        except Leaving as leaving:  # in the evaluation after this step, which is taken again
            why = str(leaving)
        if why is not None:
            if state.step != saved:
                hooks.save(state)
            return Ended(state, None, why)
        hooks.check(state)
        hooks.observe(state, batch)
        if evaluation is not None:
            hooks.evaluated(state, evaluation)
        if evaluation is not None or hooks.due(before, state):
            if evaluation is None:
                hooks.look(before, state)
            hooks.save(state)
            saved = state.step
    return Ended(state, evaluation, diverged(state))
