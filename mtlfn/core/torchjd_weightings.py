"""Weightings of TorchJD (Quinton and Rey, "Jacobian Descent for Multi-Objective Optimization", 2024) on our rows.

A weighting takes the Gram matrix of the gradients and returns one weight a task. TorchJD's tend to the mean of the
gradients where nothing conflicts, and ours add up: its weights are multiplied by the number of tasks of the group, so
that a task alone keeps its gradient and learning rates carry over. They see gradients of one size (``alike``): some
add a constant to the matrix, or take a small one for zero, so that updates of small gradients would be others, or none.
Conflicts are counted on the original gradients.

Refused: weightings with a memory (GradVac, PCD, SDMGrad, ...), whose state would not be in ours, so that a run could
not resume to the bit; those that need more than a Gram matrix; Krum, which wants three tasks or more in every group;
and PCGrad and Sum, which are here already.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch._C import default_generator  # ``torch.random`` imports it from here, and does not pass it on by its types

from mtlfn.core import pcgrad
from mtlfn.core.keys import Key, fold
from mtlfn.core.method import Measured, Method, Orders

SUFFIX = "Weighting"
OURS = {"PCGrad": "pcgrad", "Sum": "sum"}
# Those that take any matrix; they read no more of it than how many tasks there are.
OF_ANY_MATRIX = ("Mean", "Random")
OF_MANY_TASKS = ("Krum",)


def method(text: str) -> Method:
    """The method ``NAME`` or ``NAME:argument=value:…``; ValueError says what was expected."""
    name, *words = text.split(":")
    kinds = _weightings()
    if name in OURS:
        raise ValueError(f"{name} is here without TorchJD: {OURS[name]}")
    if name not in kinds:
        raise ValueError(f"TorchJD has no weighting {name!r} that could be used; expected one of {', '.join(kinds)}")
    arguments = _arguments(name, kinds[name], words)
    try:
        weighting = kinds[name](**arguments)
        _weights(weighting, np.eye(2), "00")
    except ImportError as error:
        raise ValueError(f'{error}; or pip install "mtlfn[methods]"') from None
    except (TypeError, *_failures()) as error:
        what, why = ", ".join(words) or "to begin without arguments", str(error).splitlines() or [""]
        raise ValueError(f"{name} refuses {what}: {why[0]}") from None

    def weigh(measured: Measured, orders: Orders, key: Key) -> pcgrad.Surgery:
        plain = pcgrad.plain(measured.gram)
        if len(measured.tasks) == 1:
            return plain
        try:
            weights = _weights(weighting, measured.alike, fold(key, "method", *measured.tasks))
        except _failures():  # the step is then skipped and counted, as where gradients are not finite
            weights = np.full(len(measured.tasks), np.nan)
        return pcgrad.Surgery(np.diag(weights * len(measured.tasks)), plain.negative)

    return weigh


def _failures() -> tuple[type[Exception], ...]:
    """What the solvers behind weightings raise where they come to nothing."""
    usual = (ArithmeticError, RuntimeError, ValueError)
    try:
        from cvxpy import error
    except ImportError:
        return usual
    return (*usual, error.DCPError, error.SolverError)


def _weights(weighting: Callable[[Tensor], Tensor], gram: np.ndarray, key: Key) -> np.ndarray:
    """One weight a task, float64 [t]. Some weightings draw, and only from the global generator, which is put back."""
    with torch.random.fork_rng(devices=[]):
        default_generator.manual_seed(int(key[:16], 16) & (2**63 - 1))
        return weighting(torch.from_numpy(gram)).double().numpy()


def _weightings() -> dict[str, type]:
    """Name -> class of what can be used, in alphabetical order."""
    try:
        from torchjd import aggregation
    except ImportError:
        raise ValueError('TorchJD is not installed: pip install "mtlfn[methods]"') from None
    classes = {name.removesuffix(SUFFIX): getattr(aggregation, name) for name in sorted(dir(aggregation))
               if name.endswith(SUFFIX) and name != SUFFIX}  # fmt: skip

    def serves(name: str, kind: type) -> bool:
        bases = {base.__name__ for base in kind.__mro__}
        return "Stateful" not in bases and ("_GramianWeighting" in bases or name in OF_ANY_MATRIX)

    return {name: kind for name, kind in classes.items() if serves(name, kind) and name not in {*OURS, *OF_MANY_TASKS}}


def _arguments(name: str, kind: type, words: list[str]) -> Mapping[str, float]:
    takes = {n: p for n, p in inspect.signature(kind).parameters.items() if n not in ("pref_vector", "projector")}
    arguments: dict[str, float] = {}
    for part in words:
        argument, _, value = part.partition("=")
        if argument not in takes:
            raise ValueError(f"{name} takes no {argument!r}; expected {', '.join(takes) or 'no argument'}")
        arguments[argument] = _number(name, argument, value)
    lacking = [n for n, p in takes.items() if p.default is inspect.Parameter.empty and n not in arguments]
    if lacking:
        raise ValueError(f"{name} needs {', '.join(lacking)}: torchjd:{name}:{lacking[0]}=NUMBER")
    return arguments


def _number(name: str, argument: str, value: str) -> float:
    for kind in (int, float):
        try:
            if math.isfinite(number := kind(value)):
                return number
        except (ValueError, OverflowError):
            continue
    raise ValueError(f"{name}: {argument} is {value!r}, expected a finite number")
