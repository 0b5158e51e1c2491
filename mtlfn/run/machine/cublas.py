"""cuBLAS without a look at its variable at every product.

torch refuses deterministic products on a GPU unless ``CUBLAS_WORKSPACE_CONFIG`` is set, and asks once in a process. But
torch 2.11 also reads the variable, by a regular expression, whenever cuBLAS is called: on the host of an H200 a small
product took 54 to 61 µs with it and 16 without, one with a bias 120 to 150 and 19.
"""

from __future__ import annotations

import os
from threading import Event

import torch

VARIABLE, DETERMINISTIC = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
taken = Event()  # workspaces of this process may now be of torch's own size, and must not be taken for larger ones


def ask_for_determinism() -> None:
    """Sets the variable, where it is not set and was not taken away; before CUDA computes anything."""
    if not taken.is_set():
        os.environ.setdefault(VARIABLE, DETERMINISTIC)


def look_once(device: torch.device) -> None:
    """Has torch see the variable, and takes it away; another value than ours stays, and so does ours where torch asks
    for it again.

    Products stay deterministic without it: torch gives cuBLAS a workspace of its own for every thread and stream, which
    is what the variable is about.
    """
    if device.type != "cuda" or os.environ.get(VARIABLE) != DETERMINISTIC:
        return
    _product(device)
    del os.environ[VARIABLE]
    try:
        _product(device)
        taken.set()
    except RuntimeError:
        os.environ[VARIABLE] = DETERMINISTIC


def _product(device: torch.device) -> None:
    one = torch.zeros(1, 1, device=device)
    torch.mm(one, one)
