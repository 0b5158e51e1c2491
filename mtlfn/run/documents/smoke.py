"""``smoke.json``: how the smoke test ended (run/one/smoke.py takes it)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from attrs import field, frozen

from mtlfn.run import documents
from mtlfn.run.documents import typed
from mtlfn.run.documents.typed import ABSENT


@frozen
class Check:
    """One thing that was looked at."""

    name: str
    passed: bool
    detail: str


@frozen(kw_only=True)
class Smoke:
    """``smoke.json``: either it was left out, for a ``reason``, or it ``passed`` these ``checks``."""

    FILE: ClassVar[str] = documents.SMOKE

    skipped: bool
    reason: str | None = field(default=None, metadata=ABSENT)
    passed: bool | None = field(default=None, metadata=ABSENT)
    checks: tuple[Check, ...] | None = field(default=None, metadata=ABSENT)


def ending(folder: Path) -> str:
    """How a run's smoke test ended: "passed", "skipped", or "unknown" where no file tells."""
    smoke = typed.attempt(folder, Smoke)
    if smoke is None:
        return "unknown"
    return "skipped" if smoke.skipped else "passed"
