"""The walk of a run: from a state to the next, evaluation folded in. Training and replay take the same steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from mtlfn.core.batch import Batch
from mtlfn.core.state import State, record
from mtlfn.core.step import Step
from mtlfn.data.tokens.stream import Stream

Scores = Mapping[str, Mapping[str, float]]  # task -> metric -> value


@frozen(eq=False)
class Evaluation:
    """Scores of a split, their mean primary metric, and the predictions behind them (task -> one an example)."""

    scores: Scores
    mean: float
    predictions: Mapping[str, list[Any]]


@frozen(kw_only=True, eq=False)
class Walk:
    """What a run is made of, once it is prepared.

    Attributes:
        start: the state before the first step.
        stream, step: the next batch of a state, and the state after it.
        evaluate: full evaluation of a state on the dev split; changes nothing.
        budget: input tokens at which the run ends, if no early stopping ends it before.
        epoch_tokens: input tokens of one pass over all training data; a full evaluation follows each.
        points: full evaluations at equal shares of the budget, of which the run chooses its state; 0: none, and a full
            evaluation follows each epoch.
        early_stopping: whether the run ends when its patience does.
        patience: full evaluations without a better one that it has.
    """

    start: Callable[[], State]
    stream: Stream
    step: Step
    evaluate: Callable[[State], Evaluation]
    budget: int
    epoch_tokens: int
    points: int
    early_stopping: bool
    patience: int

    def finished(self, state: State) -> bool:
        """Budget met exactly; or, with early stopping, patience at its end."""
        return (self.early_stopping and state.progress.patience_left == 0) or state.input_tokens == self.budget

    def evaluates_after(self, state: State, tokens: int) -> bool:
        """Whether a full evaluation follows a step of so many input tokens: it ends an epoch or the run, or, where the
        run chooses its state, comes to the next of its points."""
        after = state.input_tokens + tokens
        if self.points:
            return after * self.points // self.budget > state.input_tokens * self.points // self.budget
        return after == self.budget or after // self.epoch_tokens > state.input_tokens // self.epoch_tokens


def cadence(before: int, after: State, budget: int, every_steps: int) -> bool:
    """Whether a checkpoint and a quick evaluation are due after a step that began at ``before`` tokens: every so many
    steps and every tenth of the budget."""
    return after.input_tokens * 10 // budget > before * 10 // budget or after.step % every_steps == 0


def advance(walk: Walk, state: State, batch: Batch) -> tuple[State, Evaluation | None]:
    """The state after a batch, and the full evaluation that it now holds, if one was due."""
    after = walk.step(state, batch)
    if not walk.evaluates_after(state, batch.tokens.input):
        return after, None
    evaluation = walk.evaluate(after)
    return record(after, evaluation.mean, walk.patience), evaluation
