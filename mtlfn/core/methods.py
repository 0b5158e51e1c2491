"""How task gradients become one: each method is a value, a pure function of a Gram matrix.

``sum`` and ``pcgrad`` are written here and in ``pcgrad``; ``torchjd:NAME`` is any weighting of TorchJD that needs no
more than a Gram matrix and has no memory of its own. A new method is a function and a line in ``METHODS``.
"""

from __future__ import annotations

from collections.abc import Mapping

from mtlfn.core import pcgrad
from mtlfn.core.keys import Key
from mtlfn.core.method import Measured, Method, Orders
from mtlfn.core.pcgrad import Surgery

TORCHJD = "torchjd"


def add(measured: Measured, orders: Orders, key: Key) -> Surgery:
    """The plain sum of the gradients."""
    return pcgrad.plain(measured.gram)


def project(measured: Measured, orders: Orders, key: Key) -> Surgery:
    """PCGrad, the orders restricted to the tasks of the group."""
    at = {task: i for i, task in enumerate(measured.tasks)}
    return pcgrad.surgery(measured.gram, [[at[j] for j in orders[i] if j in at] for i in measured.tasks])


METHODS: Mapping[str, Method] = {"pcgrad": project, "sum": add}


def method(name: str) -> Method:
    """The method of a name: one of ``METHODS``, or ``torchjd:NAME``, with arguments as in ``torchjd:CAGrad:c=0.4``.

    ValueError says what was expected, or what has to be installed.
    """
    if name in METHODS:
        return METHODS[name]
    library, _, weighting = name.partition(":")
    if library == TORCHJD and weighting:
        from mtlfn.core import torchjd_weightings

        return torchjd_weightings.method(weighting)
    raise ValueError(f"expected {', '.join(METHODS)} or {TORCHJD}:NAME, as {TORCHJD}:UPGrad")
