"""The variable of cuBLAS is there for torch's one question, and away afterwards, but never where somebody wants it."""

from __future__ import annotations

import os
from threading import Event

import pytest
import torch

from mtlfn.run.machine import cublas

CUDA = torch.device("cuda")


@pytest.fixture
def products(monkeypatch):
    """What the variable was at each product."""
    seen = []
    monkeypatch.setattr(cublas, "_product", lambda _: seen.append(os.environ.get(cublas.VARIABLE)))
    monkeypatch.setattr(cublas, "taken", Event())
    monkeypatch.delenv(cublas.VARIABLE, raising=False)
    return seen


def test_on_a_gpu_the_first_product_sees_it_and_no_later_one(products):
    cublas.ask_for_determinism()
    cublas.look_once(CUDA)
    assert products == [":4096:8", None]
    assert cublas.VARIABLE not in os.environ
    cublas.ask_for_determinism()  # the next run of the same process
    assert cublas.VARIABLE not in os.environ
    cublas.look_once(CUDA)
    assert len(products) == 2


def test_what_somebody_set_stays(products, monkeypatch):
    monkeypatch.setenv(cublas.VARIABLE, ":16:8")
    cublas.ask_for_determinism()
    cublas.look_once(CUDA)
    assert os.environ[cublas.VARIABLE] == ":16:8"
    assert products == []


def test_on_a_cpu_nothing_changes(products):
    cublas.ask_for_determinism()
    cublas.look_once(torch.device("cpu"))
    assert os.environ[cublas.VARIABLE] == ":4096:8"
    assert products == []


def test_a_torch_that_asks_again_gets_it_back(products, monkeypatch):
    def product(_: torch.device) -> None:
        if cublas.VARIABLE not in os.environ:
            raise RuntimeError("Deterministic behavior was enabled")

    monkeypatch.setattr(cublas, "_product", product)
    cublas.ask_for_determinism()
    cublas.look_once(CUDA)
    assert os.environ[cublas.VARIABLE] == ":4096:8"
