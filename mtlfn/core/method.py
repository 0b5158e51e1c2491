"""What a gradient method is: a pure function of the Gram matrix of the task gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from attrs import frozen

from mtlfn.core.keys import Key
from mtlfn.core.pcgrad import Surgery

Orders = Mapping[str, tuple[str, ...]]


@frozen(eq=False)
class Measured:
    """The task gradients of a group of tensors, as a method sees them.

    Attributes:
        tasks: whose rows they are.
        exponents: int [t]; row i of the Gram matrix is the gradient of task i divided by 2 ** exponents[i].
        gram: float64 [t, t] of the scaled rows.
    """

    tasks: tuple[str, ...]
    exponents: np.ndarray
    gram: np.ndarray

    @property
    def unscaled(self) -> np.ndarray:
        """Gram matrix of the gradients themselves, float64 [t, t]."""
        return self.gram * np.ldexp(1.0, self.exponents[:, None] + self.exponents[None, :])

    @property
    def alike(self) -> np.ndarray:
        """Gram matrix of the gradients, all divided by the root mean square of their lengths, float64 [t, t]. So a
        solver's own tolerances mean the same however large gradients are."""
        largest = max((int(e) for e, own in zip(self.exponents, self.gram.diagonal(), strict=True) if own), default=0)
        below = self.exponents - largest
        gram = self.gram * np.ldexp(1.0, below[:, None] + below[None, :])
        return gram / (gram.trace() / len(gram) or 1.0)


# (gradients of a group, for each task the order in which it meets the others, a key for what is drawn) -> coefficients
Method = Callable[[Measured, Orders, Key], Surgery]
