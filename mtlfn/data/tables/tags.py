"""Tag schemes, and how their tags become IOB2: B- begins an entity, I- goes on with one of its type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from mtlfn.data.example import DataError, short
from mtlfn.data.iob2 import valid_iob2

Scheme = Literal["IOB2", "IOB1", "BIOES", "IO"]
SCHEMES = ("IOB2", "IOB1", "BIOES", "IO")
# Prefixes of BIOES and of its other names, BILOU and BMEWO.
LIKE = {"B": "B", "I": "I", "M": "I", "E": "I", "L": "I", "S": "B", "U": "B", "W": "B"}
ENDS = {"E", "L", "S", "U", "W"}  # of which IOB2 has none


def to_iob2(tags: Sequence[str], scheme: Scheme | None) -> list[str]:
    """The tags in IOB2.

    Args:
        scheme: theirs. None: BIOES where a prefix shows it, else as they are.

    IOB1 begins an entity with B- only behind another of its type; IO has I-TYPE, or TYPE alone, for every word of one,
    so that neighbours of one type are one entity. DataError where a tag is none of the scheme.
    """
    if scheme == "IO":
        return valid_iob2([tag if tag == "O" else f"I-{_bare(tag)}" for tag in tags])
    parts = [_split(tag) for tag in tags]
    if scheme == "BIOES" or (scheme is None and any(prefix in ENDS for prefix, kind in parts if kind)):
        return _of_bioes(tags, parts)
    if scheme == "IOB1":
        return valid_iob2(list(tags))
    return list(tags)


def types(labels: Sequence[str]) -> tuple[str, ...]:
    """Entity types, of names that may be tags: O and prefixes are left out."""
    named = [kind for label in labels if label != "O" for prefix, kind in [_split(label)] if prefix in LIKE and kind]
    return tuple(dict.fromkeys(named)) if len(named) == sum(label != "O" for label in labels) else tuple(labels)


def _split(tag: str) -> tuple[str, str]:
    prefix, _, kind = tag.partition("-")
    return prefix, kind


def _bare(tag: str) -> str:
    """The type in a tag of IO: what is behind I-, or all of it, which may have a hyphen of its own."""
    prefix, kind = _split(tag)
    return kind if prefix in LIKE and kind else tag


def _of_bioes(tags: Sequence[str], parts: Sequence[tuple[str, str]]) -> list[str]:
    out: list[str] = []
    ended = True  # the entity before, if there was one
    for tag, (prefix, kind) in zip(tags, parts, strict=True):
        if tag == "O":
            out.append(tag)
            continue
        if prefix not in LIKE or not kind:
            raise DataError(
                f"found the tag {short(tag)}, expected O or one with B-, I-, E- or S- before its type (BIOES)"
            )
        goes_on = LIKE[prefix] == "I" and not ended and out[-1][2:] == kind
        out.append(f"{'I' if goes_on else 'B'}-{kind}")
        ended = prefix in ENDS
    return out
