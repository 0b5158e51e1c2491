"""Looks at a study: how much of the level each may spend, and a record of all that were taken.

Adding seeds until something is decided errs in 7 to 17 % where 5 % is promised. A study therefore declares after how
many seeds it is looked at, and the level is spent over the looks: alpha (n/N)² of it by the look at n of N seeds (the
power family of Kim & DeMets 1987, Biometrika 74, with the exponent 2: few seeds show little, so little is spent on
them), and each look tests at what it adds. The levels of the looks sum to alpha, so that by Bonferroni's inequality at
most alpha of all studies err at any of them, whatever the looks have in common. Lan & DeMets's (1983) boundary would
give back a little by way of the looks' joint distribution; but that is known for normal statistics and growing
information, and ours are t statistics of 2 to 10 seeds over the same test units at every look.

The record, ``looks.json`` in the study's folder, has every look: also those at other numbers of seeds than declared,
and by another margin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mtlfn.run import documents
from mtlfn.run.config import UsageError

DOCUMENT = "looks.json"
SCHEMA = 1
EXPONENT = 2.0


def levels(looks: Sequence[int], alpha: float) -> tuple[float, ...]:
    """The level of each look at these numbers of seeds, which grow; they sum to ``alpha``."""
    spent = [alpha * (seeds / looks[-1]) ** EXPONENT for seeds in looks]
    return tuple(now - before for now, before in zip(spent, [0.0, *spent[:-1]], strict=True))


def level(looks: Sequence[int], alpha: float, seeds: int) -> float:
    """The level of a look at so many seeds; beside the declared ones that of the next, or of the last."""
    if not looks:
        return alpha
    of = dict(zip(looks, levels(looks, alpha), strict=True))
    return of[next((declared for declared in looks if declared >= seeds), looks[-1])]


def read(root: Path) -> list[dict[str, Any]]:
    """The looks at a study, oldest first. UsageError where the record is not what was written."""
    try:
        document = documents.read(root / DOCUMENT)
        if document["schema"] != SCHEMA:
            raise UsageError(f"{root / DOCUMENT}: has schema {document['schema']}, expected {SCHEMA}: use that version")
        return list(document["looks"])
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{root / DOCUMENT}: cannot be used ({error}); it says how often the study was looked at: put it back as "
            "it was"
        ) from None


def words(looks: Sequence[Mapping[str, Any]]) -> str:
    """All looks at a study, in one sentence; empty where none is on record."""
    if not looks:
        return ""
    each = [
        f"at {' and '.join(str(len(seeds)) for seeds in look['seeds'])} seeds by margin {look['margin']:g}"
        + (" (exploratory)" if look["exploratory"] else "")
        for look in looks
    ]
    return f"Looks at this study on record: {len(each)}: {', '.join(each)}."


def record(root: Path, document: Mapping[str, Any], now: datetime | None = None) -> list[dict[str, Any]]:
    """Puts a look on record, once for the same runs and rule; returns all looks.

    Args:
        document: of ``outcome.judge``.
        now: when; by default the time it is.
    """
    settings = document["settings"]
    look = {
        "seeds": [study["seeds"] for study in document["studies"]],
        "margin": settings["margin"],
        "alpha": settings["alpha"],
        "draws": settings["draws"],
        "level": settings["level"],
        "exploratory": sorted({why for study in document["studies"] for why in study["exploratory"]}),
        "digests": sorted(run["digest"] for run in document["runs"]),
        "verdicts": [
            {task: [row["verdict"], row["row"]] for task, row in study["tasks"].items()}
            for study in document["studies"]
        ],
    }
    looks = read(root)
    if look in [{name: value for name, value in each.items() if name != "date"} for each in looks]:
        return looks
    looks.append({"date": (now or datetime.now(UTC)).isoformat(timespec="seconds"), **look})
    try:
        documents.write(root / DOCUMENT, {"schema": SCHEMA, "looks": looks})
    except OSError as error:
        raise UsageError(
            f"{root / DOCUMENT}: cannot be written ({error.strerror}); a verdict is given where the look at it can be "
            "put on record"
        ) from None
    return looks
