"""Knowledge transfer, or more text? One verdict a task, from two differences and a margin fixed beforehand.

``controlled`` is multi-task less S1 on as many tokens in all, ``plain`` is multi-task less S1 on as many tokens of the
task. Each lies below -m, within ±m or above m, m being the margin, and so there are nine cells:

    controlled   plain < -m                  plain within ±m         plain > m
    > m          control over-trained        control over-trained    genuine transfer
    within ±m    worse than its own share    no effect               data exposure only
    < -m         negative transfer           dilution                helps, less than as much own text

A cell is a claim of two parts: its p-value is the larger of theirs (intersection-union; Berger 1982). The two cells of
an over-trained control make one claim, plain < m, for the name says no more than that: the multi-task model beats a
control that more text made worse, and not the one with less.

The *row* is the same without the second difference: above, within or below the token-controlled S1, under RQ5's own
names. It is easier to show than a cell, and whatever shows a cell shows its row: p-values are no larger, task by task,
and Holm's correction keeps their order.

Holm's correction runs over the tasks, of all strategies that are judged together; one family a claim, so that at most
alpha of all studies say a claim of a task where it is false. There is no correction over the claims of one task, since
they exclude each other: the tests against ±m together still err in at most alpha (Goeman, Solari & Stijnen 2010,
Statistics in Medicine 29) where the margin is no less than about a third of the difference's standard error. With a
narrower one "above" and "below" are both near, each with the whole level, and 2 Φ(-1.645) = 10 % is the limit. A task
whose runs are missing stays in the family with p = 1: what was not finished must not make the other tasks' tests
easier. (A strategy without a single control is no part of what is judged, which is told.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen

from mtlfn.analysis.statistics.bootstrap import Difference, interval
from mtlfn.analysis.statistics.equivalence import holm, p_above, p_below, p_within

NEGATIVE, GENUINE, EXPOSURE, NO_EFFECT = "negative transfer", "genuine transfer", "data exposure only", "no effect"
OVER_TRAINED, OWN_SHARE = "control over-trained", "worse than its own share"
DILUTION, HELPS_LESS = "dilution", "helps, less than as much own text"
INCONCLUSIVE = "inconclusive"
NOT_LEARNT = "not learnt"

Zone = Literal["above", "within", "below"]
CELLS: Mapping[tuple[Zone, Zone], str] = {  # (controlled, plain) -> claim
    ("above", "below"): OVER_TRAINED,
    ("above", "within"): OVER_TRAINED,
    ("above", "above"): GENUINE,
    ("within", "below"): OWN_SHARE,
    ("within", "within"): NO_EFFECT,
    ("within", "above"): EXPOSURE,
    ("below", "below"): NEGATIVE,
    ("below", "within"): DILUTION,
    ("below", "above"): HELPS_LESS,
}
CLAIMS = (GENUINE, EXPOSURE, NO_EFFECT, NEGATIVE, OVER_TRAINED, OWN_SHARE, DILUTION, HELPS_LESS)
ROWS: Mapping[str, Zone] = {GENUINE: "above", EXPOSURE: "within", NEGATIVE: "below"}  # RQ5's outcome -> controlled
Level = Literal["", "ceiling", "floor"]
SIDES = {"controlled": "the token-controlled S1", "plain": "plain S1"}


@frozen(eq=False)
class Pair:
    """The two differences of a task; None where no pair of runs exists.

    ``level``: "ceiling" where all sides score as high as can be told apart, "floor" where none beats the baseline.
    """

    controlled: Difference | None
    plain: Difference | None
    level: Level = ""


@frozen
class Verdict:
    """What is said of a task.

    Attributes:
        verdict: one of ``CLAIMS``, "not learnt", or "inconclusive".
        why: one sentence.
        p: claim -> p-value; None where it cannot be tested (runs missing, or one seed only).
        holm: claim -> the same after Holm's correction over the tasks.
        row: one of ``ROWS``, or "inconclusive": against the token-controlled S1 alone.
        row_p, row_holm: as ``p`` and ``holm``, of the rows.
        qualifier: what is to be said beside the verdict: "ceiling" or nothing.
    """

    verdict: str
    why: str
    p: Mapping[str, float | None]
    holm: Mapping[str, float | None]
    row: str = field(kw_only=True)
    row_p: Mapping[str, float | None] = field(kw_only=True)
    row_holm: Mapping[str, float | None] = field(kw_only=True)
    qualifier: str = field(default="", kw_only=True)


def decide(pairs: Mapping[str, Pair], margin: float, alpha: float) -> dict[str, Verdict]:
    """The verdict of every task.

    Args:
        margin: m > 0, in the unit of the metrics.
        alpha: level of every family of tests: what this look may spend.
    """
    families = decide_families({"": pairs}, margin, alpha)
    return families[""]


def decide_families(
    studies: Mapping[str, Mapping[str, Pair]], margin: float, alpha: float
) -> dict[str, dict[str, Verdict]]:
    """The verdicts of several studies that are judged together: all their tasks are one family a claim."""
    pairs = {(name, task): pair for name, tasks in studies.items() for task, pair in tasks.items()}
    cells = {key: p_values(pair, margin) for key, pair in pairs.items()}
    rows = {key: row_p_values(pair, margin) for key, pair in pairs.items()}
    cells_holm, rows_holm = _corrected(cells, CLAIMS), _corrected(rows, tuple(ROWS))
    out: dict[str, dict[str, Verdict]] = {name: {} for name in studies}
    for (name, task), pair in pairs.items():
        key = (name, task)
        row = _shown(rows_holm[key], alpha)
        said = NOT_LEARNT if _not_learnt(pair) else _shown(cells_holm[key], alpha)
        out[name][task] = Verdict(
            said,
            _why(said, row, pair, margin),
            cells[key],
            cells_holm[key],
            row=row,
            row_p=rows[key],
            row_holm=rows_holm[key],
            qualifier="ceiling" if said == NO_EFFECT and pair.level == "ceiling" else "",
        )
    return out


def _corrected(
    raw: Mapping[tuple[str, str], Mapping[str, float | None]], claims: tuple[str, ...]
) -> dict[tuple[str, str], dict[str, float | None]]:
    adjusted: dict[tuple[str, str], dict[str, float | None]] = {key: {} for key in raw}
    for claim in claims:
        family = holm([1.0 if (p := raw[key][claim]) is None else p for key in raw])
        for key, p in zip(raw, family, strict=True):
            adjusted[key][claim] = None if raw[key][claim] is None else p
    return adjusted


def _shown(adjusted: Mapping[str, float | None], alpha: float) -> str:
    """The claim that holds; claims exclude each other, so that below a level of a half there is one at most."""
    return next((claim for claim, p in adjusted.items() if p is not None and p <= alpha), INCONCLUSIVE)


def p_values(pair: Pair, margin: float) -> dict[str, float | None]:
    """Claim -> p-value; None where a difference that it needs is missing, has one seed, or is nothing at all."""
    if _not_learnt(pair):
        return dict.fromkeys(CLAIMS)
    return claim_p_values(*(zones(side, margin, pair.level) for side in (pair.controlled, pair.plain)))


def claim_p_values(
    controlled: Mapping[str, float] | None, plain: Mapping[str, float] | None
) -> dict[str, float | None]:
    """Claim -> p-value, from those of the two differences' zones: the larger one."""
    if controlled is None or plain is None:
        return dict.fromkeys(CLAIMS)
    of = {claim: max(controlled[c], plain[p]) for (c, p), claim in CELLS.items()}
    of[OVER_TRAINED] = max(controlled["above"], plain["not above"])
    return {claim: of[claim] for claim in CLAIMS}


def row_p_values(pair: Pair, margin: float) -> dict[str, float | None]:
    """RQ5's outcome -> p-value, from the difference to the token-controlled S1 alone."""
    controlled = None if _not_learnt(pair) else zones(pair.controlled, margin, pair.level)
    return {name: None if controlled is None else controlled[zone] for name, zone in ROWS.items()}


def zones(difference: Difference | None, margin: float, level: Level = "") -> dict[str, float] | None:
    """Zone -> p-value of one difference, "not above" (within or below) too; None where there is nothing to test."""
    if difference is None or difference.seeds < 2 or difference.units < 2:
        return None
    if idle(difference):
        return _alike(difference, margin) if level == "ceiling" else None
    replicates = difference.replicates
    return {
        "above": p_above(replicates, margin),
        "within": p_within(replicates, margin),
        "below": p_below(replicates, -margin),
        "not above": p_below(replicates, margin),
    }


def _alike(difference: Difference, margin: float) -> dict[str, float]:
    """The same where two models agree on every unit, of which resampling has nothing to tell.

    Means that differ by the margin differ on a share of the units that is no smaller, so that U units without one have
    a probability of (1 - m)^U at most. That is exact for means over units, such as accuracy.
    """
    p = max((1 - min(margin / difference.furthest, 1.0)) ** difference.units, 1 / (len(difference.replicates) + 1))
    return {"above": 1.0, "within": p, "below": 1.0, "not above": p}


def idle(difference: Difference) -> bool:
    """Whether no weighting of the units shows a difference in any seed: two models that predict nothing look so."""
    return not any(difference.per_seed) and not difference.replicates.any()


def _not_learnt(pair: Pair) -> bool:
    """Whether no side is better than the baseline: that models which learnt nothing are equal is no finding."""
    return pair.level == "floor"


def _why(verdict: str, row: str, pair: Pair, margin: float) -> str:
    """One sentence; intervals of 90 % where a place is said, which is what one-sided tests at 5 % look at."""

    def said(difference: Difference | None, zone: Zone | Literal["not above"] | None) -> str:
        if difference is None:
            return "nothing to compare with"
        level = 0.95 if zone is None else 0.90
        low, high = interval(difference, level)
        only = ", over units alone" if difference.seeds == 1 else ""
        place = {None: "", "above": f": above {margin:g}", "within": f": within ±{margin:g}",
                 "below": f": below -{margin:g}", "not above": f": not above {margin:g}"}[zone]  # fmt: skip
        around = f"{level:.0%} interval {signed(low)} to {signed(high)}{only}"
        return f"{signed(difference.estimate)} ({around}){place}"

    if verdict == NOT_LEARNT:
        return "no side scores above the simple baselines: models that learnt nothing cannot be compared"
    c, p = next((cell for cell, claim in CELLS.items() if claim == verdict), (ROWS.get(row), None))
    shown = f"against {SIDES['controlled']} {said(pair.controlled, c)}; against {SIDES['plain']} "
    if verdict == OVER_TRAINED:
        return shown + said(pair.plain, "not above")
    if verdict in CLAIMS:
        return shown + said(pair.plain, p)
    known = "no cell was shown" if row == INCONCLUSIVE else "against plain S1 nothing was shown"
    return f"{known} at margin {margin:g}: {shown}{said(pair.plain, None)}"


def signed(value: float, digits: int = 4) -> str:
    """A difference with its sign, and without one where it rounds to nothing."""
    rounded = round(value, digits)
    return f"{rounded:+.{digits}f}" if rounded else f"{0:.{digits}f}"
