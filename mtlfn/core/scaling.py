"""Loss scaling for float16 (Micikevicius et al., ICLR 2018), with torch.amp.GradScaler's numbers, as pure functions.

Gradients below 2^-24 are zero in float16, so the loss is multiplied by a power of two before it is differentiated, and
the gradients are divided by it: exactly, since only their exponents change. Where they overflow, the step changes no
parameter and the scale is halved; after ``INTERVAL`` steps without that it is doubled.
"""

from __future__ import annotations

from attrs import evolve

from mtlfn.core.state import Scaler

START = 2.0**16
INTERVAL = 2000
MOST = 2.0**32  # beyond, float32 sums of scaled losses come near to their own limit


def overflowed(scaler: Scaler) -> Scaler:
    """After a step whose gradients were not finite; never below 1, where an overflow is no fault of the scale."""
    return Scaler(max(scaler.scale / 2, 1.0), 0)


def held(scaler: Scaler) -> Scaler:
    """After a step whose gradients were finite."""
    if scaler.good_steps + 1 < INTERVAL:
        return evolve(scaler, good_steps=scaler.good_steps + 1)
    return Scaler(min(scaler.scale * 2, MOST), 0)
