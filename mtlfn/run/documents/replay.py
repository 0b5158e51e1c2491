"""``replay.json``: what the last replay of a run found (run/one/replay.py)."""

from __future__ import annotations

from typing import ClassVar

from attrs import field, frozen

from mtlfn.run import documents
from mtlfn.run.documents.typed import ABSENT


@frozen(kw_only=True)
class Replay:
    """``replay.json``.

    Attributes:
        digest: the last one of the ledger; None where that could not be read, and no step was taken.
        steps: the first and the last that were taken again.
        equal: segments that came to the same digests. ``skipped``: segments without a state to begin with.
        mismatches: what is not as it was.
        environment: what of the environment was another.
    """

    FILE: ClassVar[str] = documents.REPLAY

    digest: str | None
    steps: tuple[int, ...] | None = field(default=None, metadata=ABSENT)
    equal: int | None = field(default=None, metadata=ABSENT)
    skipped: int | None = field(default=None, metadata=ABSENT)
    mismatches: tuple[str, ...]
    environment: tuple[str, ...] | None = field(default=None, metadata=ABSENT)
