"""Labels without their texts: what is asked of a training split stays as often as it was, and nothing is to be learnt.

whole texts       labels or values are permuted among the examples
lists             labels are permuted among the candidates of each query, which keeps as many of each
words             the mentions of a text go, all of them, to another text that has room, to places drawn there

Texts, their number and their order stay as they are, and so does the order of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from attrs import evolve

from mtlfn.data.example import Example

if TYPE_CHECKING:
    import numpy as np


def among_texts(examples: Sequence[Example], rng: np.random.Generator) -> tuple[Example, ...]:
    """Labels and value of each example are those of another one, in a uniform permutation."""
    givers = (examples[i] for i in rng.permutation(len(examples)))
    return tuple(evolve(e, labels=g.labels, value=g.value) for e, g in zip(examples, givers, strict=True))


def within_lists(examples: Sequence[Example], rng: np.random.Generator) -> tuple[Example, ...]:
    """The labels of each list in another order."""
    return tuple(evolve(e, labels=tuple(e.labels[i] for i in rng.permutation(len(e.labels)))) for e in examples)


def givers(needs: Sequence[int], rooms: Sequence[int], rng: np.random.Generator) -> list[int]:
    """For each receiver its giver: a uniform draw of all permutations in which no giver needs more than there is room.

    ``needs[i]`` is at most ``rooms[i]``, so that there is one. The giver with the greatest need chooses first: whoever
    has room for it has room for all that follow, so that each finds a receiver whatever was chosen before.
    """
    by_room = sorted(range(len(rooms)), key=lambda i: -rooms[i])
    out, free, reached = [0] * len(rooms), [], 0
    for giver in sorted(range(len(needs)), key=lambda i: -needs[i]):
        while reached < len(by_room) and rooms[by_room[reached]] >= needs[giver]:
            free.append(by_room[reached])
            reached += 1
        chosen = int(rng.integers(len(free)))
        free[chosen], free[-1] = free[-1], free[chosen]
        out[free.pop()] = giver
    return out


def places(widths: Sequence[int], words: int, rng: np.random.Generator) -> list[int]:
    """The first word of mentions of these widths at places drawn among so many words, apart from each other, in order.

    ValueError where they do not fit.
    """
    spare = words - sum(widths)
    if spare < 0:
        raise ValueError(f"{sum(widths)} words of mentions do not fit into {words}")
    before = sorted(rng.integers(spare + 1, size=len(widths)).tolist())
    offsets = accumulate(widths, initial=0)
    return [free + used for free, used in zip(before, offsets, strict=False)]
