"""Trials of a setting: runs that differ in it alone, of which the best on dev says what the runs after them take.

A side of a comparison gets as many trials as every other one. They are made with a seed of their own, so that no seed
that is compared was chosen by, and the choice stays what it is when seeds are added. Test scores are never looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

from mtlfn.run.documents.result import Result
from mtlfn.run.many.plan import Node
from mtlfn.run.one import matched

Trials = Mapping[float, str]  # learning rate -> name of the node that tries it


def dev_score(result: Result) -> float:
    """What trials are compared by: the primary metric on dev, of several tasks the mean."""
    scores = [each.dev for each in result.scores.values() if each.dev is not None]
    return sum(scores) / len(scores)


def best(scores: Mapping[float, float]) -> float:
    """The learning rate with the best dev score, of equals the lowest."""
    return max(scores, key=lambda rate: (scores[rate], -rate))


def chosen(root: Path, trials: Trials) -> float:
    """The learning rate that the finished trials of a side choose."""
    return best({rate: dev_score(matched.finished(root / name).result) for rate, name in trials.items()})


def at_the_best(node: Node, trials: Trials) -> Node:
    """The node with the learning rate that its trials choose; it needs them."""
    return attrs.evolve(
        node,
        config=lambda root: attrs.evolve(node.config(root), learning_rate=chosen(root, trials)),
        needs=tuple(dict.fromkeys((*node.needs, *trials.values()))),
    )


def parent(trials: Trials) -> Callable[[Path], Path]:
    """From the folder of a plan to that of the trial with the best dev score."""
    return lambda root: root / trials[chosen(root, trials)]


def together(nodes: Sequence[Node], rates: Sequence[float]) -> Trials:
    """The trials of one side, in the order of the rates."""
    return {rate: node.name for rate, node in zip(rates, nodes, strict=True)}
