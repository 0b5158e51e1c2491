"""Folders that only developers have: samples of the organisers' formats, and real data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def _named(variable: str, what: str) -> Path:
    if not (folder := os.environ.get(variable)):
        pytest.skip(f"{variable} names no folder of {what}")
    return Path(folder)


@pytest.fixture
def samples() -> Path:
    """Samples of the formats, a folder a task."""
    return _named("MTLFN_FORMATS", "samples")


@pytest.fixture
def real_data() -> Path:
    """Real data sets, a folder each."""
    return _named("MTLFN_DATA_DIR", "real data")
