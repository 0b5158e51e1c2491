"""Knowledge transfer, or more text? One verdict a task, from two differences and a margin fixed beforehand.

``controlled`` is multi-task less S1 on as many tokens in all, ``plain`` is multi-task less S1 on as many tokens of the
task. In this order, m being the margin:

    negative transfer    controlled < -m
    genuine transfer     controlled > +m
    data exposure only   plain > +m, and controlled within ±m
    no effect            both within ±m
    inconclusive         none of them was shown

A claim of two parts has the larger p-value (intersection-union; Berger 1982). Holm's correction runs over the tasks,
one family a claim: at most alpha of all studies say "genuine transfer" of a task where it is false, and so for each of
the other three. There is no correction over the four claims of one task, since they exclude each other: only one can
be true, and the three tests against ±m together still err in at most alpha (Goeman, Solari & Stijnen 2010, Statistics
in Medicine 29). A task whose runs are missing stays in the family with p = 1: what was not finished must not make the
other tasks' tests easier.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from attrs import field, frozen

from mtlfn.analysis.bootstrap import Difference, interval
from mtlfn.analysis.equivalence import holm, p_above, p_below, p_within

NEGATIVE, GENUINE, EXPOSURE, NO_EFFECT = "negative transfer", "genuine transfer", "data exposure only", "no effect"
INCONCLUSIVE = "inconclusive"
CLAIMS = (NEGATIVE, GENUINE, EXPOSURE, NO_EFFECT)
POWER = 0.8
MOST_SEEDS = 1000


@frozen(eq=False)
class Pair:
    """The two differences of a task; None where no pair of runs exists."""

    controlled: Difference | None
    plain: Difference | None


@frozen
class Verdict:
    """What is said of a task.

    Attributes:
        verdict: one of ``CLAIMS``, or "inconclusive".
        why: one sentence.
        p: claim -> p-value; None where it cannot be tested (runs missing, or one seed only).
        holm: claim -> the same after Holm's correction over the tasks.
        seeds_needed: inconclusive only: seeds in all that would show what the estimates say; None where that is unknown
            or no number of them would do.
        advice: inconclusive only: what it would take, in words.
    """

    verdict: str
    why: str
    p: Mapping[str, float | None]
    holm: Mapping[str, float | None]
    seeds_needed: int | None = field(default=None, kw_only=True)
    advice: str = field(default="", kw_only=True)


def decide(pairs: Mapping[str, Pair], margin: float, alpha: float) -> dict[str, Verdict]:
    """The verdict of every task.

    Args:
        margin: m > 0, in the unit of the metrics.
        alpha: level of every family of tests.
    """
    raw = {task: p_values(pair, margin) for task, pair in pairs.items()}
    adjusted: dict[str, dict[str, float | None]] = {task: {} for task in pairs}
    for claim in CLAIMS:
        family = holm([1.0 if (p := raw[task][claim]) is None else p for task in pairs])
        for task, p in zip(pairs, family, strict=True):
            adjusted[task][claim] = None if raw[task][claim] is None else p
    out = {}
    for task, pair in pairs.items():
        shown = [c for c in CLAIMS if (p := adjusted[task][c]) is not None and p <= alpha]
        if shown:
            out[task] = Verdict(shown[0], _why(shown[0], pair, margin), raw[task], adjusted[task])
        else:
            seeds, advice = seeds_needed(pair, margin, alpha / len(pairs))
            why = _why(INCONCLUSIVE, pair, margin)
            out[task] = Verdict(INCONCLUSIVE, why, raw[task], adjusted[task], seeds_needed=seeds, advice=advice)
    return out


def p_values(pair: Pair, margin: float) -> dict[str, float | None]:
    """Claim -> p-value; None where a difference that it needs is missing, has one seed, or is nothing at all."""
    controlled, plain = (
        found.replicates if found is not None and found.seeds > 1 and not _idle(found) else None
        for found in (pair.controlled, pair.plain)
    )
    if controlled is None:
        return dict.fromkeys(CLAIMS)
    same = p_within(controlled, margin)
    return {
        NEGATIVE: p_below(controlled, -margin),
        GENUINE: p_above(controlled, margin),
        EXPOSURE: None if plain is None else max(same, p_above(plain, margin)),
        NO_EFFECT: None if plain is None else max(same, p_within(plain, margin)),
    }


def seeds_needed(pair: Pair, margin: float, alpha: float) -> tuple[int | None, str]:
    """Seeds in all that would show, at level ``alpha`` and with a power of 80 %, the claim that the estimates make.

    The error of D with S seeds is taken as unit variance + seed variance / S, with Satterthwaite's degrees of freedom;
    the estimates as true. Returns the number, if there is one up to 1,000, and a sentence.
    """
    controlled, plain = pair.controlled, pair.plain
    if controlled is None:
        return None, "run the token-controlled S1"
    one = "at least 2 seeds are needed: with one, the variance between seeds is unknown"
    for found, name in ((controlled, "the token-controlled S1"), (plain, "the plain S1")):
        if found is not None and _idle(found):
            alike = f"multi-task and {name} score alike on every unit, as models do that learnt nothing"
            return None, f"{alike}: train on more tokens" + (f"; {one}" if found.seeds == 1 else "")
    c = controlled.estimate
    if c < -margin:
        parts = [(controlled, -margin - c)]
    elif c > margin:
        parts = [(controlled, c - margin)]
    elif plain is None:
        return None, "run the plain S1"
    elif plain.estimate < -margin:
        return None, "below plain S1 and not below the token-controlled S1: none of the claims"
    else:
        beside = margin - plain.estimate if plain.estimate <= margin else plain.estimate - margin
        parts = [(controlled, margin - abs(c)), (plain, min(beside, plain.estimate + margin))]
    if any(found.seeds == 1 for found, _ in parts):
        return None, one
    seeds = np.arange(min(found.seeds for found, _ in parts) + 1, MOST_SEEDS + 1)
    enough = np.logical_and.reduce([_shows(found, distance, seeds, alpha) for found, distance in parts])
    if not enough.any():
        return None, "more test units are needed: no number of seeds would do"
    number = int(seeds[enough.argmax()])
    return number, f"about {number} seeds"


def _idle(found: Difference) -> bool:
    """Whether no weighting of the units shows a difference in any seed: two models that predict nothing look so."""
    return not any(found.per_seed) and not found.replicates.any()


def _shows(found: Difference, distance: float, seeds: np.ndarray, alpha: float) -> np.ndarray:
    """For every number of seeds, whether the distance to the margin is large enough."""
    from scipy.stats import t

    of_mean = (found.seed_variance or 0.0) / seeds
    whole = found.unit_variance + of_mean
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.where(of_mean > 0, (seeds - 1) * (whole / of_mean) ** 2, np.inf)
    return distance > (t.ppf(1 - alpha, freedom) + t.ppf(POWER, freedom)) * np.sqrt(whole)


def _why(verdict: str, pair: Pair, margin: float) -> str:
    """One sentence; intervals of 90 % where equivalence is said, which is what two one-sided tests at 5 % look at."""

    def said(found: Difference | None, level: float) -> str:
        if found is None:
            return "nothing to compare with"
        low, high = interval(found, level)
        only = ", over units alone" if found.seeds == 1 else ""
        return f"{found.estimate:+.4f} ({level:.0%} interval {low:+.4f} to {high:+.4f}{only})"

    wide, narrow = said(pair.controlled, 0.95), said(pair.controlled, 0.90)
    plain = said(pair.plain, 0.95)
    if verdict == NEGATIVE:
        return f"against the token-controlled S1 {wide}: worse by more than the margin {margin:g}"
    if verdict == GENUINE:
        return f"against the token-controlled S1 {wide}: better by more than the margin {margin:g}"
    if verdict == EXPOSURE:
        return (
            f"against plain S1 {plain}: better by more than the margin {margin:g}; "
            f"against the token-controlled S1 {narrow}: within it"
        )
    if verdict == NO_EFFECT:
        return (
            f"within the margin {margin:g} of the token-controlled S1, {narrow}, "
            f"and of plain S1, {said(pair.plain, 0.90)}"
        )
    return f"no claim was shown at margin {margin:g}: against the token-controlled S1 {wide}, against plain S1 {plain}"
