"""Which runs share a job: short ones, of which the start of a process would be the longest part.

A process takes seconds to start (libraries, data, backbone), which is nothing beside a run of minutes. Runs of
seconds are packed until a job lasts two minutes, those that need one another into the same job.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from mtlfn.run.many.plan import Node

LONG = 60.0  # seconds of runs that hang together, from which on they have a job each
JOB = 120.0  # seconds, to which jobs of short runs are filled


def packs(nodes: Sequence[Node], left: Sequence[Node], seconds: Callable[[Node], float], jobs: int) -> list[list[Node]]:
    """The runs that are ``left`` of all, by job, in the order of the plan.

    Runs that hang together through what they need share a job or have one each. Jobs that share are about equally long,
    and as many as go at a time, or a multiple of it, where there are runs for it.
    """
    order = {node.name: number for number, node in enumerate(left)}
    alone: list[list[Node]] = []
    short: list[tuple[float, list[Node]]] = []
    for part in _together(nodes, left):
        length = sum(map(seconds, part))
        if length > LONG:
            alone += [[node] for node in part]
        else:
            short.append((length, part))
    total = sum(length for length, _ in short)
    share = total / (jobs * max(1, math.ceil(total / (jobs * JOB))))
    shared: list[list[Node]] = []
    filled = math.inf
    for length, part in short:
        if filled + length / 2 > share:
            shared.append([])
            filled = 0.0
        shared[-1] += part
        filled += length
    return alone + [sorted(pack, key=lambda node: order[node.name]) for pack in shared]


def _together(nodes: Sequence[Node], left: Sequence[Node]) -> list[list[Node]]:
    """The runs that are left, in order, by what hangs together through any run's needs."""
    part: dict[str, int] = {}
    for number, node in enumerate(nodes):
        joined = {part[need] for need in node.needs}
        part[node.name] = first = min(joined, default=number)
        if len(joined) > 1:
            part.update({name: first for name, old in part.items() if old in joined})
    out: dict[int, list[Node]] = {}
    for node in left:
        out.setdefault(part[node.name], []).append(node)
    return list(out.values())
