"""``env.json``: the environment of a run (run/one/fingerprint.py makes and compares it)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import field, frozen

from mtlfn.run import documents


@frozen(kw_only=True)
class Environment:
    """``env.json``: trees of facts by name, which are compared leaf by leaf, so that each version may have its own.

    Attributes:
        must_match: a difference may change bits. ``told``: a difference is said. ``informational``: never compared.
    """

    FILE: ClassVar[str] = documents.ENVIRONMENT

    must_match: Mapping[str, Any] = field(factory=dict)
    told: Mapping[str, Any] = field(factory=dict)
    informational: Mapping[str, Any] = field(factory=dict)

    @property
    def backbone_settings(self) -> str | None:
        """SHA-256 of the backbone's configuration; older versions have none."""
        return documents.get(self.must_match, "hashes", "backbone_settings")

    @property
    def libraries(self) -> Mapping[str, str | None]:
        """Package that decides bits -> version."""
        return documents.get(self.must_match, "packages") or {}

    @property
    def threads(self) -> int | None:
        return documents.get(self.must_match, "threads")

    @property
    def gpu(self) -> str | None:
        """The GPU that trained; None where the processor did."""
        return documents.get(self.must_match, "gpu", "name")

    @property
    def processor(self) -> str | None:
        return documents.get(self.told, "processor") or documents.get(self.informational, "processor")

    @property
    def version(self) -> str | None:
        """Of mtlfn."""
        return documents.get(self.informational, "packages", "mtlfn")

    @property
    def commit(self) -> str | None:
        return documents.get(self.informational, "commit")

    @property
    def python(self) -> str | None:
        return documents.get(self.informational, "python")

    @property
    def system(self) -> str | None:
        return documents.get(self.informational, "system")
