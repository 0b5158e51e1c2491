"""IOB2, the tag scheme of every tagging task here: B- begins an entity, I- goes on with one of its type."""

from __future__ import annotations

from collections.abc import Sequence


def valid_iob2(tags: Sequence[str]) -> list[str]:
    """The tags with every I- that continues nothing of its type made a B-."""
    out: list[str] = []
    for tag in tags:
        continues = bool(out) and out[-1][2:] == tag[2:] and out[-1] != "O"
        out.append("B-" + tag[2:] if tag.startswith("I-") and not continues else tag)
    return out
