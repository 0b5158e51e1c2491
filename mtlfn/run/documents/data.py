"""``data.json``: what a run trained on and was scored with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import field, frozen

from mtlfn.data.task import SPLITS
from mtlfn.run import documents
from mtlfn.run.documents.typed import ABSENT


@frozen(kw_only=True)
class Split:
    """Examples and tokens that a split came to, the SHA-256 of these, and counts of what was cut or left out."""

    examples: int
    tokens: int | None = field(default=None, metadata=ABSENT)
    sha256: str | None = field(default=None, metadata=ABSENT)
    cut: Mapping[str, Any] | None = field(default=None, metadata=ABSENT)


@frozen(kw_only=True)
class TaskData:
    """The data of a task.

    Attributes:
        source: where they were read.
        notes: what reading them left out or changed. ``notices``: what they lack, in a line each; None where an older
            version did not look.
        train, dev, test: None where there is no such split.
    """

    source: str | None = field(default=None, metadata=ABSENT)
    kind: str | None = field(default=None, metadata=ABSENT)
    level: int | None = field(default=None, metadata=ABSENT)
    metric: str | None = field(default=None, metadata=ABSENT)
    notes: Mapping[str, Any] | None = field(default=None, metadata=ABSENT)
    notices: tuple[str, ...] | None = field(default=None, metadata=ABSENT)
    train: Split | None = field(default=None, metadata=ABSENT)
    dev: Split | None = field(default=None, metadata=ABSENT)
    test: Split | None = field(default=None, metadata=ABSENT)

    @property
    def splits(self) -> Mapping[str, Split]:
        """Those that there are."""
        return {name: split for name in SPLITS if (split := getattr(self, name)) is not None}


@frozen
class Data:
    """``data.json``: task -> its data."""

    FILE: ClassVar[str] = documents.DATA
    WHOLE: ClassVar[str] = "tasks"

    tasks: Mapping[str, TaskData]
