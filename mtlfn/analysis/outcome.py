"""The verdict on runs: everything it rests on as one JSON document, a table to read and one for a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from mtlfn.analysis import bootstrap, cells, verdict
from mtlfn.analysis.equivalence import p_above, p_below, p_within
from mtlfn.core.keys import fold, root
from mtlfn.data import units
from mtlfn.run.config import UsageError
from mtlfn.run.disk import make_folder, write_file
from mtlfn.run.terminal import shown

SCHEMA = 1
SIDES = {"controlled": "total", "plain": "per-task"}  # difference -> control
LEAST_DRAWS = 1000


@frozen(kw_only=True)
class Rule:
    """How a verdict is given.

    Attributes:
        margin: differences within it count as none, in the unit of the metrics.
        alpha: level of the tests; Holm's correction runs over the tasks.
        draws: replicates of the bootstrap.
        fixed: the same three as the study fixed them before anything was seen; None for runs of no study.
    """

    margin: float = 0.01
    alpha: float = 0.05
    draws: int = 10_000
    fixed: Mapping[str, float] | None = None


def judge(found: cells.Found, rule: Rule) -> dict[str, Any]:
    """The document of ``verdict.json``.

    Raises:
        UsageError: a setting out of range; runs that cannot be compared (``cells``).
    """
    margin, alpha, draws = rule.margin, rule.alpha, rule.draws
    if not 0 < margin < math.inf:
        raise UsageError(f"--margin {margin:g}: expected a finite number above 0, in the unit of the metrics")
    if not 0 < alpha < 0.5:
        raise UsageError(f"--alpha {alpha:g}: expected a level between 0 and 0.5")
    tasks = max(len(study.tasks) for study in found.studies)
    least = max(LEAST_DRAWS, round(10 * tasks / alpha))  # the smallest p-value, times the tasks, is a tenth of alpha
    if draws < least:
        raise UsageError(f"--draws {draws}: expected at least {least} for {tasks} tasks at level {alpha:g}")
    used = [run for study in found.studies for run in (*study.multi.values(), *study.controls.values())]
    return {
        "schema": SCHEMA,
        "settings": {**attrs.asdict(rule), "power": verdict.POWER, "key": root(0)},
        "studies": [_study(study, margin, alpha, draws) for study in found.studies],
        "runs": [_run(run) for run in used],
        "unfinished": [str(path) for path in found.unfinished],
        "unused": [{"path": str(run.path), "why": why} for run, why in found.unused],
    }


def _study(study: cells.Study, margin: float, alpha: float, draws: int) -> dict[str, Any]:
    pairs: dict[str, verdict.Pair] = {}
    tables: dict[str, dict[str, Any]] = {}
    for task in study.tasks:
        key = fold(root(0), "verdict", task)
        differences: dict[str, bootstrap.Difference | None] = {}
        tables[task] = _scores(study, task)
        for name, control in SIDES.items():
            held = cells.sides(study, task, control)
            differences[name] = made = (
                None if held is None else bootstrap.difference(held[0], held[1].multi, held[1].control, key, draws)
            )
            seeds = () if held is None else held[1].seeds
            tables[task][name] = None if made is None else _difference(made, seeds, margin)
        held = cells.sides(study, task, cells.EXCLUSION)
        if held is not None:  # beside the verdict: what the task loses where the shared slot never saw it
            made = bootstrap.difference(held[0], held[1].multi, held[1].control, key, draws)
            tables[task][cells.EXCLUSION] = _difference(made, held[1].seeds, margin)
        pairs[task] = verdict.Pair(differences["controlled"], differences["plain"])
    decided = verdict.decide(pairs, margin, alpha)
    return {
        "name": study.name,
        "seeds": list(study.multi),
        "tasks": {task: {**attrs.asdict(decided[task]), **tables[task]} for task in study.tasks},
        "missing": [attrs.asdict(each) for each in study.missing],
    }


def _scores(study: cells.Study, task: str) -> dict[str, Any]:
    """The score of every seed and side, each side's statistics read once more: the runs without a partner too."""
    sides: dict[str, Mapping[int, cells.Run]] = {cells.MULTI: study.multi} | {
        side: {seed: run for (c, t, seed), run in study.controls.items() if (c, t) == (control, task)}
        for control, side in cells.CONTROLS.items()
    }
    scores: dict[str, dict[str, float]] = {}
    for side, runs in sides.items():
        scores[side] = {}
        for seed, run in sorted(runs.items()):
            kind, found = cells.statistics(run, task)
            scores[side][str(seed)] = float(units.value(kind, found.values.sum(0)))
    return {"metric": kind.metric, "units": len(found.units), "scores": scores}


def _difference(found: bootstrap.Difference, seeds: Sequence[int], margin: float) -> dict[str, Any]:
    return {
        "estimate": found.estimate,
        "per_seed": dict(zip(map(str, seeds), found.per_seed, strict=True)),
        "interval_95": list(bootstrap.interval(found, 0.95)),
        "interval_90": list(bootstrap.interval(found, 0.90)),
        "units_only": found.seeds == 1,
        "unit_variance": found.unit_variance,
        "seed_variance": found.seed_variance,
        "p": {
            "below": p_below(found.replicates, -margin),
            "above": p_above(found.replicates, margin),
            "within": p_within(found.replicates, margin),
        },
    }


def _run(run: cells.Run) -> dict[str, Any]:
    return {
        "path": str(run.path),
        "experiment": run.experiment,
        "seed": run.seed,
        "digest": run.digest,
        "sealed": run.sealed,
        "smoke_test": run.smoke_test,
        "environment_breaks": list(run.environment_breaks),
        "tasks": list(run.tasks),
        "tokens": dict(run.tokens),
        "match": None if run.match is None else attrs.asdict(run.match),
    }


def departures(settings: Mapping[str, Any]) -> list[str]:
    """What of the rule is not as the study fixed it, in words."""
    fixed = settings.get("fixed") or {}
    return [f"{name} {settings[name]:g} where the study fixed {value:g}" for name, value in fixed.items()
            if settings[name] != value]  # fmt: skip


def exceptions(document: Mapping[str, Any]) -> list[str]:
    """What was let pass in the runs, in words: unsealed results, smoke tests left out, changes of environment."""
    runs = document["runs"]
    told = [
        ("not sealed (made by an older version, taken as it says)", [r["path"] for r in runs if not r["sealed"]]),
        ("without the smoke test", [r["path"] for r in runs if r["smoke_test"] == "skipped"]),
        ("went on in another environment", [r["path"] for r in runs if r["environment_breaks"]]),
    ]
    return [f"{what}: {_some(paths)}" for what, paths in told if paths]


def write(document: Mapping[str, Any], folder: Path) -> None:
    """``verdict.json`` and ``verdict.csv`` in the folder, each there in full or not at all."""
    try:
        make_folder(folder)
        write_file(folder / "verdict.json", (json.dumps(document, indent=1) + "\n").encode())
        write_file(folder / "verdict.csv", as_csv(document).encode())
    except OSError as error:
        raise UsageError(f"--output {folder}: cannot be written ({error.strerror}); name another folder") from None


def as_csv(document: Mapping[str, Any]) -> str:
    """A line a study and task; what is missing is an empty field."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    ends = [
        f"{name}_{part}" for name in SIDES for part in ("estimate", "low_95", "high_95", "low_90", "high_90", "seeds")
    ]
    claims = [f"{kind}:{claim}" for kind in ("p", "holm") for claim in verdict.CLAIMS]
    means = [f"mean:{side}" for side in (cells.MULTI, *cells.CONTROLS.values())]
    lines.writerow(["study", "task", "metric", "units", *means, *ends, *claims, "verdict", "seeds_needed", "why"])
    for study in document["studies"]:
        for task, row in study["tasks"].items():
            differences = [row[name] for name in SIDES]
            lines.writerow(
                [study["name"], task, row["metric"], row["units"]]
                + [_mean(scores) for scores in row["scores"].values()]
                + [value for each in differences for value in _ends(each)]
                + [row[kind][claim] for kind in ("p", "holm") for claim in verdict.CLAIMS]
                + [row["verdict"], row["seeds_needed"], row["why"]]
            )
    return text.getvalue()


def _ends(difference: Mapping[str, Any] | None) -> list[Any]:
    if difference is None:
        return [None] * 6
    ends = (*difference["interval_95"], *difference["interval_90"])
    return [difference["estimate"], *ends, len(difference["per_seed"])]


def _mean(scores: Mapping[str, float]) -> float | None:
    return sum(scores.values()) / len(scores) if scores else None


def show(document: Mapping[str, Any]) -> None:
    """Prints a table a study, what is missing and what takes no part."""
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, emoji=False)  # a name is no markup

    def tell(line: str) -> None:
        console.print(shown(line), soft_wrap=True)

    settings = document["settings"]
    for study in document["studies"]:
        seeds = ", ".join(map(str, study["seeds"]))
        tests = f"level {settings['alpha']:g} over {len(study['tasks'])} tasks"
        table = Table(title=f"{shown(study['name'])}: seeds {seeds}; margin {settings['margin']:g}, {tests}")
        table.add_column("task", no_wrap=True)
        for column in ("multi", "− controlled", "− plain"):
            table.add_column(column)
        table.add_column("verdict", min_width=len(verdict.INCONCLUSIVE))
        for task, row in study["tasks"].items():
            mean = _mean(row["scores"][cells.MULTI])
            differences = [_cell(row[name]) for name in SIDES]
            table.add_row(
                f"{shown(task)}\n{row['metric']}", "" if mean is None else f"{mean:.3f}", *differences, row["verdict"]
            )
        console.print(table)
        tell("controlled, plain: S1 on as many tokens in all, of the task; with 95 % intervals")
        for task, row in study["tasks"].items():
            if row["advice"]:
                tell(f"{task}: {row['verdict']}; {row['advice']}")
        for each in study["missing"]:
            tell(f"missing: {each['task']}, {each['side']}, seed {each['seed']}: {each['why']}")
    if changed := departures(settings):
        tell(f"NOT the rule of the study: {'; '.join(changed)}")
    for line in exceptions(document):
        tell(line)
    for path in document["unfinished"]:
        tell(f"not finished: {path}")
    for each in document["unused"]:
        tell(f"takes no part: {each['path']}: {each['why']}")


def _some(names: Sequence[str], most: int = 3) -> str:
    """The first few names, and how many more."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _cell(difference: Mapping[str, Any] | None) -> str:
    if difference is None:
        return "missing"
    low, high = difference["interval_95"]
    only = "\nunits only" if difference["units_only"] else ""
    return f"{difference['estimate']:+.3f}\n{low:+.3f} to {high:+.3f}{only}"
