"""``config.json``: what a run directory belongs to, and how it was asked for. It is written before the first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from attrs import frozen

from mtlfn.run import documents
from mtlfn.run.config import Config, from_settings
from mtlfn.run.documents import typed

SCHEMA = 2  # of what a run directory holds: 2: documents and lines have checks, results are sealed
SEALED = 2  # the first one whose results are


@frozen(kw_only=True)
class Configuration:
    """``config.json``.

    Attributes:
        schema: of the run directory; the first version did not name it.
        experiment: the strategy.
        identity: setting or fact -> value: what the directory belongs to (``config.identity``).
        hash: SHA-256 of the identity.
        settings: the whole configuration (``config.settings``).
        command: as it was given.
    """

    FILE: ClassVar[str] = documents.CONFIG

    schema: int = 1
    experiment: str
    identity: Mapping[str, Any]
    hash: str | None = None
    settings: Mapping[str, Any]
    command: Sequence[str] = ()

    @property
    def data(self) -> Mapping[str, Mapping[str, str]]:
        """Task -> split -> SHA-256 of what it was tokenised to."""
        return typed.structure(self.identity.get("data", {}), dict[str, dict[str, str]])

    def config(self, **changes: Any) -> Config:
        """The configuration, with changes."""
        return from_settings(dict(self.settings), **changes)


@frozen
class Chain:
    """The part of ``config.json`` that says whether there is a seal, and that the ledger's first line follows from,
    whatever version wrote the rest."""

    FILE: ClassVar[str] = documents.CONFIG

    schema: int = 1
    hash: str | None = None
