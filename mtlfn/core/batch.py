"""What one step consumes: micro-batches, each of one task, and where the stream goes on after them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from mtlfn.core.tokens import TokenCount, total


@frozen
class Cursor:
    """Where a task's stream stands: the pass over its data and the next micro-batch in that pass."""

    epoch: int = 0
    position: int = 0


@frozen(eq=False)
class MicroBatch:
    """Examples of one task that go through the model together.

    Attributes:
        task: name of the task.
        inputs: what the loss function reads; opaque to the core.
        tokens: what this micro-batch counts as; ``tokens.loss == 0`` means that it carries no label.
    """

    task: str
    inputs: Any
    tokens: TokenCount


@frozen(eq=False)
class Batch:
    """Micro-batches in canonical task order, and the cursors after them."""

    micro_batches: tuple[MicroBatch, ...]
    cursors: Mapping[str, Cursor]

    @property
    def tokens(self) -> TokenCount:
        return total(m.tokens for m in self.micro_batches)

    def tokens_of(self, task: str) -> TokenCount:
        return total(m.tokens for m in self.micro_batches if m.task == task)

    @property
    def present(self) -> tuple[str, ...]:
        """Tasks with at least one label in this batch, in order of appearance."""
        return tuple(dict.fromkeys(m.task for m in self.micro_batches if m.tokens.loss > 0))

    def only(self, *tasks: str) -> Batch:
        """The micro-batches of these tasks that carry a label."""
        return Batch(tuple(m for m in self.micro_batches if m.task in tasks and m.tokens.loss > 0), self.cursors)
