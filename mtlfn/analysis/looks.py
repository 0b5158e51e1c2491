"""Looks at a study: how much of the level each may spend, and a record of all that were taken.

Adding seeds until something is decided errs in 7 to 17 % where 5 % is promised. A study therefore declares after how
many seeds it is looked at, and the level is spent over the looks: alpha (n/N)² of it by the look at n of N seeds (the
power family of Kim & DeMets 1987, Biometrika 74, with the exponent 2: few seeds show little, so little is spent on
them), and each look tests at what it adds. The levels of the looks sum to alpha, so that by Bonferroni's inequality at
most alpha of all studies err at any of them, whatever the looks have in common. Lan & DeMets's (1983) boundary would
give back a little by way of the looks' joint distribution; but that is known for normal statistics and growing
information, and ours are t statistics of 2 to 10 seeds over the same test units at every look.

The record stands in ``study.json`` beside what the study declared, so that who takes it away takes the declaration too;
one that is made when runs are finished says so, and every verdict is exploratory from then on. The record has every
look: also those at other numbers of seeds than declared, and by another margin.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mtlfn.data import cache
from mtlfn.run import documents
from mtlfn.run.errors import UsageError

DOCUMENT, LOCK = documents.STUDY, "study.lock"
TAKEN, LATE = "looks_taken", "finished_before"  # looks; runs that were finished when the study was declared
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


def recorded(root: Path) -> dict[str, Any] | None:
    """``study.json`` of a study's folder; None where there is none. UsageError where it is not what was written.

    One of a version that knew no looks says that there is one, at its number of seeds.
    """
    try:
        document = documents.read(root / DOCUMENT)
        return {"looks": [document["seeds"]], TAKEN: [], LATE: 0, **document}
    except FileNotFoundError:
        return None
    except (OSError, KeyError, documents.Altered) as error:
        raise UsageError(
            f"{root / DOCUMENT}: cannot be used ({error}); it says what the study was to compare, and by which margin, "
            "before anything was seen, and how often it was looked at: put it back as it was, or take it away and have "
            "exploratory verdicts"
        ) from None


def taken(root: Path) -> list[dict[str, Any]]:
    """The looks at a study, oldest first; none at a folder of no study."""
    return list((recorded(root) or {TAKEN: []})[TAKEN])


def before(
    taken: Sequence[Mapping[str, Any]], seeds: Sequence[int], digests: Collection[str]
) -> list[tuple[int, Mapping[str, Any]]]:
    """Looks that the study declared at the first of these seeds, and at no run but these: how many, and what was said.

    A claim that was shown at one of them was paid for with its share of the level, and stands.
    """
    declared = [look for look in taken if not look["exploratory"] and set(look["digests"]) <= set(digests)]
    each = [(own, claims) for look in declared for own, claims in zip(look["seeds"], look["verdicts"], strict=True)]
    return [(len(own), claims) for own, claims in each if len(own) < len(seeds) and set(own) <= set(seeds)]


def other_runs(
    taken: Sequence[Mapping[str, Any]], seeds: Sequence[int], tested: Collection[str], digests: Collection[str]
) -> bool:
    """Whether the study's own look at these seeds was taken already, and at other runs.

    Whoever trains them again until something is shown looks as often, each time with the whole level. What is added
    later, or stands beside the verdict and is trained again, is no reason.

    Args:
        tested: digests of the runs that the verdict tests.
        digests: of all runs of the study.
    """
    own = [look for look in taken if not look["exploratory"] and [*seeds] in [[*each] for each in look["seeds"]]]
    return any(not (set(look["digests"]) <= set(digests) or set(tested) <= set(look["digests"])) for look in own)


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
    """Puts a look at a study on record, once for the same runs and rule; returns all looks.

    Args:
        root: the study's folder, with its ``study.json``.
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
            {task: row.get("at_this_look", [row["verdict"], row["row"]]) for task, row in study["tasks"].items()}
            for study in document["studies"]
        ],
    }
    with cache.locked(root / LOCK):
        study = recorded(root)
        assert study is not None
        looks = study[TAKEN]
        if look in [{name: value for name, value in each.items() if name != "date"} for each in looks]:
            return looks
        looks.append({"date": (now or datetime.now(UTC)).isoformat(timespec="seconds"), **look})
        try:
            documents.write(root / DOCUMENT, study)
        except OSError as error:
            raise UsageError(
                f"{root / DOCUMENT}: cannot be written ({error.strerror}); a verdict is given where the look at it can "
                "be put on record"
            ) from None
    return looks
