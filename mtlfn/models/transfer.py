"""Tensors on their way to the device, without waiting for it; and what a device wants its work to be like.

A plain ``.to("cuda")`` waits until everything that was launched before has been computed. ``non_blocking`` does not:
from pageable memory CUDA first copies the numbers aside, so that the tensor here may be changed or freed at once.
"""

from __future__ import annotations

from torch import Tensor, dtype
from torch import device as Device


def moved(value: Tensor, device: Device, kind: dtype | None = None) -> Tensor:
    """The tensor on the device, in its own dtype or in ``kind``; itself where it is there already."""
    return value.to(device, kind, non_blocking=True)


def at_once(device: Device) -> bool:
    """Whether many small operations of a kind are taken as one large one, zeros and all: where a launch costs more."""
    return device.type != "cpu"
