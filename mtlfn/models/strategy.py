"""Multi-task strategies as data: which slots exist, where heads read, how gradients combine.

A slot is a named block of ranks of the one LoRA adapter. In every layer the blocks that a task uses stand side by
side: ranks 0-15 ``shared``, ranks 16-23 the level's or the task's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from attrs import frozen

from mtlfn.data.task import Task

Fusion = Literal["sum", "gated", "attention"]


@frozen(kw_only=True)
class Slot:
    """A block of ranks.

    Attributes:
        name: "shared", "level1", "level2", or "private" (one block a task, named private/<task>).
        rank: number of ranks.
        layers: the layers that have it: all, those up to the level-1 read-out, or those above it.
        private: whether every task has its own.
    """

    name: str
    rank: int
    layers: Literal["all", "lower", "upper"] = "all"
    private: bool = False


@frozen(kw_only=True)
class Strategy:
    """A strategy.

    Attributes:
        name: as on the command line.
        slots: in rank order.
        hierarchical: level-1 heads read the read-out layer, level-2 heads the top through cross-level attention;
            otherwise every head reads the top.
        gradients: how per-task gradients become one, unless the command line says otherwise.
        fusion: how shared and private blocks add up (S3a).
    """

    name: str
    slots: tuple[Slot, ...]
    hierarchical: bool = False
    gradients: str = "sum"
    fusion: Fusion = "sum"

    @property
    def single(self) -> bool:
        """Whether it trains one task: nothing would be shared."""
        return all(slot.private for slot in self.slots)

    @property
    def separate(self) -> bool:
        """Whether several tasks may go through one linear with a matrix each."""
        return any(slot.private for slot in self.slots) and not self.single


S1 = Strategy(name="s1", slots=(Slot(name="private", rank=24, private=True),))
S2 = Strategy(name="s2", slots=(Slot(name="shared", rank=24),))
S3A = Strategy(
    name="s3a",
    slots=(Slot(name="shared", rank=16), Slot(name="private", rank=8, private=True)),
    gradients="pcgrad",
)
S3B = Strategy(
    name="s3b",
    slots=(
        Slot(name="shared", rank=16),
        Slot(name="level1", rank=8, layers="lower"),
        Slot(name="level2", rank=8, layers="upper"),
    ),
    hierarchical=True,
    gradients="pcgrad",
)
STRATEGIES = {strategy.name: strategy for strategy in (S1, S2, S3A, S3B)}


def block_name(slot: Slot, task: str) -> str:
    """The name under which the state holds this slot for this task."""
    return f"{slot.name}/{task}" if slot.private else slot.name


def slots_at(strategy: Strategy, layer: int, read_out: int) -> tuple[Slot, ...]:
    """The slots of a layer (0 is the lowest) when the level-1 heads read the output of layer ``read_out - 1``."""
    here = "lower" if layer < read_out else "upper"
    return tuple(slot for slot in strategy.slots if slot.layers in ("all", here))


def tasks_through(strategy: Strategy, tasks: Sequence[Task], layer: int, read_out: int) -> tuple[str, ...]:
    """The tasks whose rows pass a layer: level-1 rows leave a hierarchical model at the read-out layer."""
    return tuple(t.name for t in tasks if not strategy.hierarchical or layer < read_out or t.level == 2)


def tasks_reaching(
    strategy: Strategy, tasks: Sequence[Task], slot: Slot, layer: int, read_out: int, detach_level1: bool
) -> tuple[str, ...]:
    """The tasks whose loss trains this slot at this layer."""
    through = tasks_through(strategy, tasks, layer, read_out)
    if slot.name == "level1" and detach_level1:
        return tuple(t.name for t in tasks if t.level == 1 and t.name in through)
    return through
