"""The tiny backbones and data, made once a process."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mtlfn.models import model
from tests import tiny
from tests.tiny import bert, cache, data, llama, tiny_folder

__all__ = ["bert", "cache", "data", "llama", "tiny_folder"]

TASKS = ("bc5cdr_disease", "spans", "mentions", "ddi", "hoc", "pubmedqa", "answers", "similarity")


@pytest.fixture(scope="module", params=["bert", "llama"])
def folder(request: pytest.FixtureRequest):
    """A backbone, once an encoder and once a decoder."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def world(folder, cache):
    """Makes a model of a strategy over tasks of every kind, and its parameters, the same at every call."""

    def make(strategy, dropout: float = 0.2, **options):
        settings = {"dropout": dropout, "targets": "all-linear"}
        built, corpora = tiny.build(folder, cache, TASKS, strategy=strategy, settings=settings, **options)
        params = tiny.stirred(model.init_params(built, tiny.KEY))
        return SimpleNamespace(built=built, corpora=corpora, params=params, loss=tiny.loss_of(built))

    return make
