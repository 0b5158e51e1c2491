"""How many seeds a decision takes, and what a study can show: both as a distribution, for variances are hardly known.

``advise`` looks ahead from one task's differences: truths are drawn from what S seeds leave open (variance as scaled
inverse chi-square, mean as normal around it; Gelman et al. 2013, Bayesian Data Analysis, 3.2), for each the further
seeds of a study of N, and the study is decided as ``verdict`` would decide it. The test units stay what they are: more
seeds meet the same ones. The share of draws that are decided with N seeds is the assurance of N (O'Hagan, Stevens &
Campbell 2005, Pharmaceutical Statistics 4).

``smallest_effect`` and ``seeds_for`` plan before compute: power of 80 % against the margin, from given variances.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from mtlfn.analysis.statistics.bootstrap import Difference, seed_share, skewed_t
from mtlfn.analysis.statistics.verdict import SIDES, Pair, idle
from mtlfn.core.keys import Key, fold, numpy_generator, root

Array = NDArray[np.float64]
# Of a task's test, after what other tasks and looks take of it; where looks share it, of a look at so many seeds.
Level = float | Callable[[int], float]
POWER = 0.8
SEEDS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 30, 45, 60)  # numbers that are looked at
HOPELESS = 0.02  # assurance of the largest number below which it is said that seeds do not help
DRAWS = 1000
RATIOS = (0.0, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.5, 5.0, 12.0, 50.0)
EFFECTS = (0.01, 0.02, 0.05)
CORRELATION = 0.5  # between the two differences of a task: they share the multi-task side


@frozen
class Advice:
    """What a decision would take.

    Attributes:
        seeds: in all, that decide with an assurance of 80 %; None where no number up to ``SEEDS[-1]`` does.
        low, high: that decide with 10 % and with 90 %; None likewise.
        text: the same in words, or what is in the way.
    """

    seeds: int | None
    low: int | None
    high: int | None
    text: str


def shared(level: Callable[[int], float], tasks: int, others: Sequence[float]) -> Callable[[int], float]:
    """The level of one of so many tasks at a look; ``others``: the levels of what is judged together now.

    What is judged together has the lowest level of all; what will be judged alone has its own.
    """
    lowest = min(others) if len(others) > 1 else math.inf
    return lambda seeds: min(level(seeds), lowest) / tasks


def at(level: Level, seeds: int) -> float:
    """The level of a look at so many seeds."""
    return level(seeds) if callable(level) else level


def advise(pair: Pair, margin: float, alpha: Level, key: Key | None = None) -> Advice:
    """For a task that is not decided."""
    if (blocked := _blocked(pair)) is not None:
        return Advice(None, None, None, blocked)
    assert pair.controlled is not None
    assert pair.plain is not None
    least = min(pair.controlled.seeds, pair.plain.seeds)
    numbers = [n for n in SEEDS if n > least]
    if not numbers:
        return Advice(None, None, None, f"cannot tell: more than {SEEDS[-1]} seeds are not looked at")
    rng = numpy_generator(root(0) if key is None else key)
    shares = [float(_decided(pair, margin, at(alpha, n), n, rng).mean()) for n in numbers]
    low, seeds, high = (
        next((n for n, share in zip(numbers, shares, strict=True) if share >= least), None)
        for least in (0.1, POWER, 0.9)
    )
    return Advice(seeds, low, high, _words(seeds, low, high, shares[-1], _near(pair, margin)))


def _blocked(pair: Pair) -> str | None:
    """What more seeds cannot mend."""
    controlled, plain = pair.controlled, pair.plain
    if pair.level == "floor":
        return "train on more tokens: no side is better than the simple baselines"
    if controlled is None:
        return "run the token-controlled S1"
    one = "at least 2 seeds are needed: with one, the variance between seeds is unknown"
    for difference, name in ((controlled, SIDES["controlled"]), (plain, SIDES["plain"])):
        if difference is not None and idle(difference):
            alike = f"multi-task and {name} score alike on every unit, which says nothing of how far they may differ"
            mend = "test on more units, or train on more tokens where both learnt little"
            if pair.level == "ceiling":
                alike = (
                    f"multi-task and {name} score alike on each of {difference.units} units, which are too few to say "
                    "that they differ by less than the margin"
                )
                mend = "test on more units"
            return f"{alike}: {mend}" + (f"; {one}" if difference.seeds == 1 else "")
    if plain is None:
        return "run the plain S1"
    if controlled.seeds == 1 or plain.seeds == 1:
        return one
    return "more test units are needed: one is not enough" if min(controlled.units, plain.units) < 2 else None


def _words(seeds: int | None, low: int | None, high: int | None, most: float, near: str) -> str:
    last = SEEDS[-1]
    if seeds is not None:
        return f"about {seeds} seeds (80 % assurance; 10 to 90 %: {low} to {high or f'more than {last}'})"
    if most < HOPELESS:
        return f"more seeds would not do: {last} decide in {most:.0%} of what these runs leave open; {near}"
    begin = f", 10 % with {low}" if low else ""
    return f"cannot tell how many seeds: {last} decide in {most:.0%} of what these runs leave open{begin}; {near}"


def _near(pair: Pair, margin: float) -> str:
    """What is in the way of the difference that is nearest to a border."""
    assert pair.controlled is not None
    assert pair.plain is not None
    sides = {name: side for name, side in (("controlled", pair.controlled), ("plain", pair.plain))}
    name, side = min(sides.items(), key=lambda item: abs(abs(item[1].estimate) - margin))
    seed_variance = side.seed_variance or 0.0
    interaction = min(side.interaction, seed_variance)
    units = math.sqrt(side.unit_variance + interaction / side.seeds)
    seeds = math.sqrt((seed_variance - interaction) / side.seeds)
    much = "the test units: more of them are needed" if units > seeds else "the seeds"
    return f"nearest to a border is the difference to {SIDES[name]}, and most of its error comes from {much}"


def _decided(pair: Pair, margin: float, alpha: float, number: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """[draws]: whether a study of so many seeds shows a cell."""
    shared = rng.standard_normal((2, DRAWS))
    places = []
    for side in (pair.controlled, pair.plain):
        assert side is not None
        before, after = (
            math.sqrt(CORRELATION) * z + math.sqrt(1 - CORRELATION) * rng.standard_normal(DRAWS) for z in shared
        )
        places.append(_place(side, margin, alpha, number, before, after, rng))
    (c_above, c_within, c_below, _), (p_above, p_within, p_below, p_less) = places
    c_any, p_any = c_within | c_below, p_within | p_below | p_above
    return (c_any & p_any) | (c_above & (p_above | p_less))


def _place(
    side: Difference, margin: float, alpha: float, number: int, before: Array, after: Array, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], ...]:
    """Whether above, within, below, and not above the margin is shown, for every draw."""
    old, new = side.seeds, number - side.seeds
    squares = (side.seed_variance or 0.0) * (old - 1)
    variance = squares / rng.chisquare(old - 1, DRAWS)
    if new <= 0:
        estimate, total = np.full(DRAWS, side.estimate), np.full(DRAWS, squares)
    else:
        truth = side.estimate + np.sqrt(variance / old) * before
        mean = truth + np.sqrt(variance / new) * after
        estimate = (old * side.estimate + new * mean) / number
        spread = rng.chisquare(new - 1, DRAWS) if new > 1 else 0.0
        total = squares + variance * spread + old * new / number * (side.estimate - mean) ** 2
    seeds = max(number, old)
    reach = _reach(side.unit_variance, total / (seeds - 1) / seeds, seeds, alpha)
    return (
        estimate - reach > margin,
        np.abs(estimate) + reach < margin,
        estimate + reach < -margin,
        estimate + reach < margin,
    )


def _reach(unit_variance: float, of_mean: Array, seeds: int, alpha: float) -> Array:
    """How far beyond a border an estimate must lie to be shown beyond it."""
    error = np.sqrt(of_mean)
    if unit_variance <= 0:
        return error * float(skewed_t(seeds, np.array([1 - alpha]))[0])
    units = math.sqrt(unit_variance)
    return units * np.interp(error / units, RATIOS, _critical(seeds, alpha)) + np.maximum(
        error - RATIOS[-1] * units, 0.0
    ) * float(skewed_t(seeds, np.array([1 - alpha]))[0])


@lru_cache(maxsize=256)
def _critical(seeds: int, alpha: float) -> Array:
    """Critical values, in standard errors of the units' part, for ``RATIOS`` of the seeds' standard error to it."""
    count = 20_000
    rng = numpy_generator(fold(root(0), "critical values"))
    grid = (np.arange(count) + 0.5) / count
    units = rng.permutation(ndtri(grid))
    out = []
    for ratio in RATIOS:
        first = round(seed_share(ratio**2, 1.0) * count)
        few, rest = ((np.arange(n) + 0.5) / n if n else np.empty(0) for n in (first, count - first))
        noise = rng.permutation(np.concatenate([skewed_t(seeds, few), stdtrit(seeds - 1, rest)]))
        out.append(np.quantile(units + ratio * noise, 1 - alpha))
    return np.array(out)


def smallest_effect(unit_variance: float, seed_variance: float, seeds: int, margin: float, alpha: float) -> float:
    """The true difference that is shown to be above the margin in 80 % of studies of so many seeds."""
    rng = numpy_generator(fold(root(0), "power"))
    of_mean = seed_variance * rng.chisquare(seeds - 1, 4 * DRAWS) / (seeds - 1) / seeds
    error = math.sqrt(unit_variance + seed_variance / seeds) * rng.standard_normal(4 * DRAWS)
    return margin + float(np.quantile(_reach(unit_variance, of_mean, seeds, alpha) - error, POWER))


def seeds_for(effect: float, unit_variance: float, seed_variance: float, margin: float, alpha: Level) -> int | None:
    """Seeds that show a true difference to be above the margin with a power of 80 %; None where 60 do not."""
    if effect <= margin:
        return None
    effects = ((n, smallest_effect(unit_variance, seed_variance, n, margin, at(alpha, n))) for n in SEEDS)
    return next((n for n, shown in effects if shown <= effect), None)


def plan(
    unit_variance: float,
    seed_variance: float,
    seeds: int,
    margin: float,
    alpha: Level,
    freedom: int | None = None,
    *,
    interaction: float = 0.0,
    furthest: float = 1.0,
) -> dict[str, Any]:
    """What a study of so many seeds can show of a task, as it stands in ``verdict.json``.

    Args:
        freedom: degrees of freedom that the seed variance is known with; None: exactly.
        interaction: what of the seed variance goes with the number of test units.
        furthest: what two scores of the metric can differ by.
    """
    variances = [seed_variance]
    if freedom:
        quantiles = numpy_generator(fold(root(0), "variance")).chisquare(freedom, 4 * DRAWS) / freedom
        variances += [seed_variance / float(np.quantile(quantiles, q)) for q in (0.9, 0.1)]
    level = at(alpha, seeds)
    effects = [smallest_effect(unit_variance, each, seeds, margin, level) for each in variances]
    doubled = smallest_effect(unit_variance, seed_variance, 2 * seeds, margin, at(alpha, 2 * seeds))
    of_seeds = seed_variance - min(interaction, seed_variance) / 2
    more_units = smallest_effect(unit_variance / 2, of_seeds, seeds, margin, level)
    return {
        "seeds": seeds,
        "unit_sd": math.sqrt(unit_variance),
        "seed_sd": math.sqrt(seed_variance),
        "smallest_effect": effects[0],
        "range": effects[1:],
        "furthest": furthest,
        "seeds_for": {f"{e:g}": seeds_for(e, unit_variance, seed_variance, margin, alpha) for e in EFFECTS},
        "twice_the_seeds": doubled,
        "twice_the_units": more_units,
        "helps_more": "seeds" if doubled <= more_units else "units",
    }  # fmt: skip


def plan_of(pair: Pair, seeds: int, margin: float, alpha: Level) -> dict[str, Any] | None:
    """The same from a pilot, the larger variances of the two differences; None where it has too few seeds."""
    sides = [side for side in (pair.controlled, pair.plain) if side is not None and side.seed_variance is not None]
    if not sides:
        return None
    units = max(side.unit_variance for side in sides)
    seed = max(side.seed_variance or 0.0 for side in sides)
    of_both = max(min(side.interaction, side.seed_variance or 0.0) for side in sides)
    freedom, furthest = min(side.seeds for side in sides) - 1, max(side.furthest for side in sides)
    return plan(units, seed, max(seeds, 2), margin, alpha, freedom, interaction=of_both, furthest=furthest)


def plan_lines(plans: Mapping[str, Mapping[str, Any] | None], margin: float) -> list[str]:
    """A line a task."""
    out = []
    for task, each in plans.items():
        if each is None:
            out.append(f"{task}: no power is known: a pilot needs two seeds of the multi-task run and of a control")
            continue
        needs = ", ".join(_needed(float(effect), n, margin) for effect, n in each["seeds_for"].items())
        furthest = each["furthest"]
        low, high = each["range"] or (0.0, 0.0)
        spread = f" ({low:.3f} to {high:.3f})" if high else ""
        if high > furthest:
            spread = f" ({low:.3f} to more than scores can differ by)" if low <= furthest else ""
        shown = f"a difference of {each['smallest_effect']:.3f}{spread}"
        if each["smallest_effect"] > furthest:
            shown = "no difference that scores can have"
        out.append(f"{task}: {each['seeds']} seeds show {shown} with a power of {POWER:.0%}; {needs}; {_help(each)}")
    return out


def _needed(effect: float, seeds: int | None, margin: float) -> str:
    if effect <= margin:
        return f"{effect:g} is not above the margin"
    return f"{effect:g} takes more than {SEEDS[-1]} seeds" if seeds is None else f"{effect:g} takes {seeds} seeds"


def _help(each: Mapping[str, Any]) -> str:
    sides = {"seeds": each["twice_the_seeds"], "units": each["twice_the_units"]}
    first: Sequence[str] = ("seeds", "units") if each["helps_more"] == "seeds" else ("units", "seeds")
    furthest = each["furthest"]
    said = [
        f"twice as many {name if name == 'seeds' else 'test units'} "
        + (f"{sides[name]:.3f}" if sides[name] <= furthest else "none")
        for name in first
    ]
    return f"{said[0]}, {said[1]}; more tokens change the difference itself"
