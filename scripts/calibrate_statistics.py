"""Are the statistics of the verdict calibrated? Simulated studies, thousands of them, none of them trained.

    python scripts/calibrate_statistics.py [--quick] [--studies 1000] [--draws 1000] [--tables borders,looks,advice]

Four tables. Borders: a line a world (metric, seeds, units, what seeds and units vary by, how seeds are distributed and
which sides share them): how often the 95 % interval holds the true difference, and for each cell how often it is said
where the truth lies on its border, which is where it errs most; of a cell's two borders the worse one. Looks: how often
a claim is made at any of the declared looks with the truth on its border. Verdicts: what is said with the truth in the
middle of every cell. Advice: of studies that are told a number of seeds, how many are decided with it; of those told
that seeds would not do, how many are decided with 60.

A line is out of bounds (!), and the exit code 1, beyond two standard errors of the simulation, if a coverage is below
93 %, a false rate above 6 % (5 % over all looks), or more than 5 % of the verdicts are wrong; a pilot of
the advice, if under 70 or over 90 % of its studies are decided with what they were told; all pilots together, if more
than 5 % of the hopeless ones are.
Lines of 2 seeds have no bar, and collapse is told against the mean over the seeds that learn: against that over all of
them no method keeps its level, since S seeds show no collapse in 0.9 to the power S of the studies (``learnt``).

A study has three sides (multi-task, token-controlled S1, plain S1) of S seeds and U units. The score of a unit is the
sum of what the unit, the side and unit, the seed, and the seed on this unit add. "map" is a mean; "f1" draws hits and
false alarms from the logistic of that sum, for 1 to about 10 gold items a unit; "accuracy" draws one hit a unit.
Seeds are normal; "skewed": those of the multi-task side are left-skewed lognormal (log-sd 1), the others have none;
"t3": Student's t with 3 degrees of freedom; "collapse": one in ten of the multi-task side falls by 0.3; "shared": seeds
of one number have 0.8 of their variance in common on all sides.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Sequence

import attrs
import numpy as np
from attrs import frozen

from mtlfn.analysis import looks
from mtlfn.analysis.statistics import planning, verdict
from mtlfn.analysis.statistics.bootstrap import Difference, combine, interval, replicate, unit_weights
from mtlfn.core.keys import Key, fold, numpy_generator, root
from mtlfn.data import units
from mtlfn.data.task import Task

MARGIN, ALPHA = 0.02, 0.05
FAR = 10 * MARGIN
TASKS = {
    "map": Task(name="map", kind="ranking", level=2),
    "f1": Task(name="f1", kind="spans", level=1),
    "accuracy": Task(name="accuracy", kind="spans", level=1),  # one item a unit: micro F1 is accuracy
}
MIDDLE = {"above": FAR, "within": 0.0, "below": -FAR}
BORDERS = {"above": (MARGIN,), "within": (-MARGIN, MARGIN), "below": (-MARGIN,)}
COLLAPSE, FALL = 0.1, 0.3
LOOKS = (3, 5, 10)
PILOTS = (3, 5, 10)


@frozen(kw_only=True)
class World:
    """How scores come about. Standard deviations: of a unit, of a side on a unit, of a seed, of a seed on a unit; the
    last three are those of a difference of two sides."""

    metric: str
    seeds: int
    units: int
    unit: float = 0.2
    side: float
    seed: float
    interaction: float
    kind: str = "normal"

    @property
    def ratio(self) -> float:
        """Standard error of the difference from seeds, by that from units."""
        return self.seed / self.side * math.sqrt(self.units / self.seeds)


def world(
    metric: str, seeds: int, count: int, ratio: float, interaction: float, side: float = 0.1, kind: str = "normal"
) -> World:
    """``ratio``: standard error of the difference from seeds, by that from units; ``interaction``: by ``side``.

    On the logistic scale of counts everything is 5 times as large, as the slope there is about 1/5.
    """
    scale = 1.0 if metric == "map" else 5.0
    seed = ratio * side * math.sqrt(seeds / count)
    return World(
        metric=metric,
        seeds=seeds,
        units=count,
        unit=0.2 * scale,
        side=side * scale,
        seed=seed * scale,
        interaction=interaction * side * scale,
        kind=kind,
    )


def of_seeds(w: World, sides: int, rng: np.random.Generator) -> np.ndarray:
    """[sides, seeds]: what a seed adds to the scores of a side; of mean 0, collapses apart."""
    half, shape = math.sqrt(0.5), (sides, w.seeds)
    if w.kind == "skewed":
        drawn = np.zeros(shape)
        drawn[0] = (math.exp(0.5) - np.exp(rng.standard_normal(w.seeds))) / math.sqrt((math.e - 1) * math.e)
        return w.seed * drawn
    if w.kind == "t3":
        return half * w.seed * rng.standard_t(3, size=shape) / math.sqrt(3)
    drawn = half * w.seed * rng.standard_normal(shape)
    if w.kind == "shared":
        drawn = math.sqrt(0.2) * drawn + math.sqrt(0.8) * half * w.seed * rng.standard_normal(w.seeds)
    if w.kind == "collapse":
        scale = 1.0 if w.metric == "map" else 5.0
        drawn[0] -= scale * FALL * (rng.random(w.seeds) < COLLAPSE)
    return drawn


def study(w: World, rng: np.random.Generator, shifts: Sequence[float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    """Unit statistics, [sides, seeds, units, columns]."""
    half, sides = math.sqrt(0.5), len(shifts)
    scores = (
        0.5
        + np.asarray(shifts)[:, None, None]
        + w.unit * rng.standard_normal(w.units)
        + half * w.side * rng.standard_normal((sides, 1, w.units))
        + of_seeds(w, sides, rng)[:, :, None]
        + half * w.interaction * rng.standard_normal((sides, w.seeds, w.units))
    )
    if w.metric == "map":
        return np.stack([scores, np.ones_like(scores)], axis=-1)
    gold = np.ones(w.units, dtype=np.int64) if w.metric == "accuracy" else 1 + rng.poisson(4, size=w.units)
    right = 1 / (1 + np.exp(-scores))
    hits = rng.binomial(gold, right)
    predicted = gold if w.metric == "accuracy" else hits + rng.poisson(0.5 * gold * (1 - right))
    return np.stack(np.broadcast_arrays(hits, predicted, hits, gold), axis=-1).astype(np.float64)


def differences(w: World, sides: np.ndarray, weights: np.ndarray, key: Key) -> list[Difference]:
    """Of the first side from each of the others."""
    task = TASKS[w.metric]
    observed = [units.value(task, side.sum(1)) for side in sides]
    replicated = [replicate(task, side, weights) for side in sides]
    return [
        combine(observed[0] - observed[i], replicated[0] - replicated[i], w.units, fold(key, "seeds", i))
        for i in range(1, len(sides))
    ]


def moved(difference: Difference, by: float) -> Difference:
    """The same with another truth: all sides are alike in a study, so that its true difference is 0."""
    per_seed = tuple(each + by for each in difference.per_seed)
    return attrs.evolve(difference, per_seed=per_seed, replicates=difference.replicates + by)


def on_borders() -> dict[str, list[tuple[float, float]]]:
    """Claim -> truths on a border of one of its parts, in the middle of the other."""
    truths: dict[str, list[tuple[float, float]]] = {claim: [] for claim in verdict.CLAIMS}
    for (c, p), claim in verdict.CELLS.items():
        truths[claim] += [(at, MIDDLE[p]) for at in BORDERS[c]]
        if claim != verdict.OVER_TRAINED:
            truths[claim] += [(MIDDLE[c], at) for at in BORDERS[p]]
    truths[verdict.OVER_TRAINED].append((FAR, MARGIN))
    return truths


def borders(w: World, studies: int, weights: np.ndarray, key: Key) -> tuple[float, dict[str, float]]:
    """Share of intervals that hold the true difference, and of studies in which a claim is made on its border.

    Where seeds collapse, the truth is that of the seeds that do not.
    """
    rng = numpy_generator(fold(key, "studies"))
    truths = on_borders()
    inside, said = 0, {claim: [0] * len(at) for claim, at in truths.items()}
    for i in range(studies):
        controlled, plain = differences(w, study(w, rng), weights, fold(key, i))
        low, high = interval(controlled, 0.95)
        inside += low <= 0 <= high
        parts = [
            {at: verdict.zones(moved(side, at), MARGIN) for at in (-FAR, -MARGIN, 0.0, MARGIN, FAR)}
            for side in (controlled, plain)
        ]
        for claim, places in truths.items():
            for j, (c, p) in enumerate(places):
                value = verdict.claim_p_values(parts[0][c], parts[1][p])[claim]
                said[claim][j] += value is not None and value <= ALPHA  # None: alike on every unit, by chance
    return inside / studies, {claim: max(counts) / studies for claim, counts in said.items()}


def at_any_look(w: World, studies: int, weights: np.ndarray, key: Key) -> dict[str, float]:
    """How often a claim is made at any of ``LOOKS``, the truth on its border; w has the seeds of the last look."""
    rng = numpy_generator(fold(key, "studies"))
    levels = looks.levels(LOOKS, ALPHA)
    ends = {verdict.GENUINE: (MARGIN, FAR), verdict.NO_EFFECT: (MARGIN, 0.0), verdict.NEGATIVE: (-MARGIN, -FAR)}
    said = dict.fromkeys(ends, 0)
    for i in range(studies):
        scores = study(w, rng)
        shown = dict.fromkeys(ends, False)
        for seeds, level in zip(LOOKS, levels, strict=True):
            controlled, plain = differences(w, scores[:, :seeds], weights, fold(key, i, seeds))
            for claim, (c, p) in ends.items():
                pair = verdict.Pair(moved(controlled, c), moved(plain, p))
                shown[claim] |= (verdict.p_values(pair, MARGIN)[claim] or 1.0) <= level
        for claim in ends:
            said[claim] += shown[claim]
    return {claim: count / studies for claim, count in said.items()}


def verdicts(w: World, truth: tuple[float, float], studies: int, weights: np.ndarray, key: Key) -> Counter[str]:
    """How often each verdict is given."""
    rng = numpy_generator(fold(key, "studies"))
    said: Counter[str] = Counter()
    for i in range(studies):
        sides = differences(w, study(w, rng), weights, fold(key, i))
        pair = verdict.Pair(*(moved(side, at) for side, at in zip(sides, truth, strict=True)))
        said[verdict.decide({"task": pair}, MARGIN, ALPHA)["task"].verdict] += 1
    return said


def advice(pilot: int, studies: int, weights: np.ndarray, key: Key) -> Counter[str]:
    """Of pilots of so many seeds: "told", and "decided" with what was told; "hopeless", and "wrong": decided with 60.

    Of a study are drawn: both truths, within 5 margins; what seeds vary by, a quarter of a margin to 5; what units do.
    """
    rng = numpy_generator(fold(key, "studies"))
    counts: Counter[str] = Counter()
    last = planning.SEEDS[-1]
    for i in range(studies):
        side, seed = (math.exp(rng.uniform(math.log(low), math.log(high))) for low, high in ((1, 5), (0.25, 5)))
        w = World(
            metric="map", seeds=last, units=weights.shape[1], side=MARGIN * side, seed=MARGIN * seed, interaction=0.006
        )
        scores = study(w, rng)
        truth = rng.uniform(-5, 5, size=2) * MARGIN

        def pair(seeds: int, scores: np.ndarray = scores, w: World = w, i: int = i, truth: np.ndarray = truth):
            sides = differences(w, scores[:, :seeds], weights, fold(key, i, seeds))
            return verdict.Pair(*(moved(side, at) for side, at in zip(sides, truth, strict=True)))

        def decided(seeds: int) -> bool:
            return verdict.decide({"task": pair(seeds)}, MARGIN, ALPHA)["task"].verdict in verdict.CLAIMS

        if decided(pilot):
            counts["at once"] += 1
            continue
        said = planning.advise(pair(pilot), MARGIN, ALPHA)
        if said.seeds is not None:
            counts["told"] += 1
            counts["decided"] += decided(said.seeds)
        elif said.text.startswith("more seeds would not do"):
            counts["hopeless"] += 1
            counts["wrong"] += decided(last)
        else:
            counts["cannot tell"] += 1
            counts["decided all the same"] += decided(last)
    return counts


def allowed(share: float, studies: int) -> float:
    """Two standard errors."""
    return 2 * math.sqrt(share * (1 - share) / studies)


def cases(quick: bool) -> list[World]:
    """The worlds of the first table."""
    if quick:
        return [world(metric, 3, 200, 1.0, 1.0) for metric in TASKS]
    return [
        *(world(metric, seeds, 200, 1.0, 0.5) for metric in TASKS for seeds in (2, 3, 5, 10)),
        *(world("map", seeds, 200, ratio, 1.5) for seeds in (3, 5) for ratio in (0.0, 0.3, 6.0)),
        *(world(metric, 3, count, 0.5, 0.5) for metric in TASKS for count in (17, 50, 1000)),
        *(world(metric, 3, 5000, 0.5, 0.5) for metric in ("map", "accuracy")),
        *(
            world("map", seeds, 200, ratio, 0.0, kind=kind)
            for kind in ("skewed", "t3")
            for seeds in (2, 3, 5, 10)
            for ratio in (0.5, 2.0, 8.0)
        ),
        *(world("f1", seeds, 200, 4.0, 0.3, kind=kind) for kind in ("skewed", "t3") for seeds in (3, 5)),
        *(world("map", seeds, 200, 1.0, 0.3, kind=kind) for kind in ("shared", "collapse") for seeds in (3, 5, 10)),
    ]


def show(w: World, coverage: float, said: dict[str, float], studies: int) -> bool:
    """Prints a line; whether it is out of bounds."""
    most = max(said.values())
    wrong = w.seeds > 2 and (coverage < 0.93 - allowed(0.93, studies) or most > 0.06 + allowed(0.06, studies))
    print(
        f"{w.metric:<9}{w.seeds:>3}{w.units:>6}{w.ratio:>7.1f}{w.interaction / w.side:>6.1f}  {w.kind:<9}"
        + f"{coverage:>8.1%}"
        + "".join(f"{said[claim]:>8.1%}" for claim in verdict.CLAIMS)
        + (" !" if wrong else ""),
        flush=True,
    )
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few studies of every sort: does it run")
    parser.add_argument("--studies", type=int, default=1000, help="a line of the tables")
    parser.add_argument("--draws", type=int, default=1000, help="replicates a study")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tables", default="borders,looks,verdicts,advice")
    asked = parser.parse_args()
    studies, draws, key, began = asked.studies, asked.draws, root(asked.seed), time.monotonic()
    if asked.quick:
        studies, draws = 20, 200
    tables = asked.tables.split(",")

    def weights(count: int) -> np.ndarray:
        return np.concatenate(list(unit_weights(fold(key, "units", count), count, draws)))

    error = allowed(0.05, studies)
    print(f"{studies} studies a line, {draws} draws; two standard errors of 5 % are {error:.1%}")
    bad = 0
    if "borders" in tables:
        print("\nborders: coverage of the 95 % interval, and how often each cell is said on its border, at level 5 %")
        heads = "".join(f"{''.join(word[0] for word in claim.split()):>8}" for claim in verdict.CLAIMS)
        print(f"{'metric':<9}{'S':>3}{'U':>6}{'s/u':>7}{'int':>6}  {'seeds':<9}{'covers':>8}{heads}")
        for w in cases(asked.quick):
            bad += show(w, *borders(w, studies, weights(w.units), fold(key, "borders", repr(w))), studies)
    if "looks" in tables:
        print(f"\nlooks at {LOOKS}: a claim at any of them, the truth on its border, at level 5 % over all")
        for kind in ("normal", "skewed", "t3"):
            for ratio in (1.0,) if asked.quick else (0.3, 1.0, 3.0, 8.0):
                w = world("map", LOOKS[-1], 200, ratio, 0.3, kind=kind)
                any_look = at_any_look(w, studies, weights(200), fold(key, "looks", repr(w)))
                wrong = max(any_look.values()) > 0.05 + error
                bad += wrong
                said = "  ".join(f"{claim} {share:.1%}" for claim, share in any_look.items())
                print(f"map {kind:<9} s/u {ratio:.1f}  {said}{' !' if wrong else ''}", flush=True)
    if "verdicts" in tables:
        print(f"\nverdicts, truth at 4 margins or 0, margin {MARGIN:g}, one task, 500 units: right, undecided, wrong")
        for base in [
            world("map", s, 500, r, 0.5, 0.05) for s in (3, 5) for r in ((0.5,) if asked.quick else (0.5, 2.0))
        ]:
            for (c, p), claim in verdict.CELLS.items():
                few = max(studies // 4, 20)
                key_ = fold(key, "verdicts", repr(base), c, p)
                said = verdicts(base, (MIDDLE[c] / 2.5, MIDDLE[p] / 2.5), few, weights(500), key_)
                right, open_ = said[claim] / few, said[verdict.INCONCLUSIVE] / few
                other = (few - said[claim] - said[verdict.INCONCLUSIVE]) / few
                wrong = other > 0.05 + allowed(0.05, few)
                bad += wrong
                place = f"{c}, {p}"
                print(
                    f"S {base.seeds:>2}  s/u {base.ratio:.1f}  {place:<16}{claim:<34}{right:>7.1%}{open_:>7.1%}"
                    f"{other:>7.1%}{' !' if wrong else ''}",
                    flush=True,
                )
    if "advice" in tables:
        print("\nadvice after a pilot")
        hopeless, late = 0, 0
        for pilot in PILOTS:
            counts = advice(pilot, studies, weights(200), fold(key, "advice", pilot))
            told, right = counts["told"], counts["decided"] / max(counts["told"], 1)
            error = allowed(0.8, max(told, 1))
            wrong = not 0.7 - error <= right <= 0.9 + error
            bad += wrong
            hopeless, late = hopeless + counts["hopeless"], late + counts["wrong"]
            print(
                f"S {pilot:>2}  {counts['at once']} decided at once; {told} told a number, {right:.1%} of them decided "
                f"with it; {counts['hopeless']} told that seeds would not do, {counts['wrong']} decided with 60; "
                f"{counts['cannot tell']} cannot tell, {counts['decided all the same']} of them decided with 60"
                f"{' !' if wrong else ''}",
                flush=True,
            )
        share = late / max(hopeless, 1)
        wrong = share > 0.05 + allowed(0.05, max(hopeless, 1))
        bad += wrong
        print(f"of those told that seeds would not do, {share:.1%} are decided with 60{' !' if wrong else ''}")
    print(f"\n{bad} lines out of bounds (!); {time.monotonic() - began:.0f} s")
    return 1 if bad and not asked.quick else 0


if __name__ == "__main__":
    sys.exit(main())
