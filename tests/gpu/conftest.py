"""The device that the tests here run on: a CUDA device, or what MTLFN_GPU_TESTS_DEVICE names; else they are skipped.

MTLFN_GPU_TESTS_DEVICE=cpu pytest tests/gpu     # shows that the tests themselves work
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from mtlfn.models import model
from mtlfn.models.strategy import Strategy
from mtlfn.run.machine import cublas
from tests import tiny
from tests.models.conftest import TASKS
from tests.run.conftest import go, usual, warm
from tests.tiny import bert, cache, data, llama, tiny_folder

__all__ = ["bert", "cache", "data", "go", "llama", "tiny_folder", "usual", "warm"]

NAMED = "MTLFN_GPU_TESTS_DEVICE"


def chosen() -> str | None:
    """The name of the device, if there is one to test on."""
    return os.environ.get(NAMED) or ("cuda" if torch.cuda.is_available() else None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "gpu" in item.path.parts[-2:]:
            item.add_marker(pytest.mark.gpu)
            if chosen() is None:
                item.add_marker(pytest.mark.skip(reason=f"no CUDA device; {NAMED}=cpu runs these tests on a CPU"))


@pytest.fixture(scope="session")
def device() -> torch.device:
    name = chosen()
    assert name is not None, "else everything here is skipped"
    cublas.ask_for_determinism()  # before CUDA computes anything, as in a run
    cublas.look_once(made := torch.device(name))
    return made


@pytest.fixture(scope="module", params=["bert", "llama"])
def folder(request: pytest.FixtureRequest):
    """A backbone, once an encoder and once a decoder."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def world(folder, cache, device) -> Callable[..., SimpleNamespace]:
    """Makes a model of a strategy on the device over tasks of every kind, and its parameters, the same at every call
    and on every device."""

    def make(strategy: Strategy, dropout: float = 0.2, on: torch.device = device, **options: object) -> SimpleNamespace:
        tasks = TASKS[1:2] if strategy.single else TASKS
        settings = {"dropout": dropout, "targets": "all-linear"}
        built, corpora = tiny.build(folder, cache, tasks, strategy=strategy, settings=settings, device=on, **options)
        start = model.init_params(built, tiny.KEY)
        here = {slot: {name: value.cpu() for name, value in names.items()} for slot, names in start.items()}
        params = {s: {n: v.to(on) for n, v in names.items()} for s, names in tiny.stirred(here).items()}
        return SimpleNamespace(built=built, corpora=corpora, params=params, loss=tiny.loss_of(built), tasks=tasks)

    return make
