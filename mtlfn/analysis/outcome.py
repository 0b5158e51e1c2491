"""The verdict on runs: everything it rests on as one JSON document, a table to read and one for a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from mtlfn.analysis import looks
from mtlfn.analysis.rules import Declared, Rule, departures, digests, exploratory
from mtlfn.analysis.runs import cells, rates
from mtlfn.analysis.statistics import bootstrap, learnt, planning, verdict
from mtlfn.analysis.statistics.equivalence import p_above, p_below, p_within
from mtlfn.core.keys import fold, root
from mtlfn.data import units
from mtlfn.run import documents
from mtlfn.run.disk import make_folder, write_file
from mtlfn.run.documents import typed
from mtlfn.run.errors import UsageError
from mtlfn.run.terminal import shown, some

SCHEMA = 2
SIDES = {"controlled": "total", "plain": "per-task"}  # difference -> control
BESIDE = (
    cells.EXCLUSION,
    cells.SHUFFLED,
)  # differences that are told beside the verdict, each of the control so called
LEAST_DRAWS = 1000


def judge(found: cells.Found, rule: Rule) -> dict[str, Any]:
    """The document of ``verdict.json``.

    Raises:
        UsageError: a setting out of range; runs that cannot be compared (``cells``).
    """
    check_rule(rule)
    margin, alpha, draws = rule.margin, rule.alpha, rule.draws
    tasks = sum(len(study.tasks) for study in found.studies)
    levels = [rule.level(number, len(study.multi)) for number, study in enumerate(found.studies)]
    level = min(levels)
    if draws < (least := least_draws(tasks, level)):
        raise UsageError(f"--draws {draws}: expected at least {least} for {tasks} tasks at level {level:g}")
    compared = {str(i): _Compared(study, *_compare(study, margin, draws)) for i, study in enumerate(found.studies)}
    decided = verdict.decide_families({name: each.pairs for name, each in compared.items()}, margin, level)
    sides = [(*study.multi.values(), *study.controls.values(), *study.trials) for study in found.studies]
    used = [run for runs in sides for run in runs]
    return {
        "schema": SCHEMA,
        "settings": {
            "margin": margin,
            "alpha": alpha,
            "draws": draws,
            **_in_common(rule, len(found.studies)),
            "level": level,
            "tasks": tasks,
            "power": planning.POWER,
            "key": root(0),
        },
        "studies": [
            _study(each, decided[name], rule, number, planning.shared(partial(rule.level, number), tasks, levels))
            for number, (name, each) in enumerate(compared.items())
        ],
        "runs": [_run(run) for run in used],
        "unfinished": [str(path) for path in found.unfinished],
        "unused": [{"path": str(run.path), "why": why} for run, why in found.unused],
    }


def _in_common(rule: Rule, studies: int) -> dict[str, Any]:
    """What the studies declared, where all declared the same."""
    said = [_declared(rule.of(number)) for number in range(studies)]
    nothing = _declared(None)
    return {name: said[0][name] if all(s[name] == said[0][name] for s in said) else nothing[name] for name in nothing}


def _declared(declared: Declared | None) -> dict[str, Any]:
    """What a study declared, as ``verdict.json`` has it."""
    if declared is None:
        return {"looks": [], "first_seed": 0, "fixed": None, "late": 0}
    fixed = dict(declared.fixed)
    return {"looks": [*declared.looks], "first_seed": declared.first_seed, "fixed": fixed, "late": declared.late}


def check_rule(rule: Rule) -> None:
    """UsageError where margin or level is out of range."""
    if not 0 < rule.margin < math.inf:
        raise UsageError(f"--margin {rule.margin:g}: expected a finite number above 0, in the unit of the metrics")
    if not 0 < rule.alpha < 0.5:
        raise UsageError(f"--alpha {rule.alpha:g}: expected a level between 0 and 0.5")


def plans(runs: cells.Found, rule: Rule, seeds: int | None) -> dict[str, dict[str, Any] | None]:
    """What a study like these runs can show: task -> ``planning.plan``. ``seeds``: of that study; None: as many."""
    out: dict[str, dict[str, Any] | None] = {}
    tasks = sum(len(study.tasks) for study in runs.studies)
    for number, study in enumerate(runs.studies):
        level = planning.shared(partial(rule.level, number), tasks, ())
        pairs, _ = _compare(study, rule.margin, rule.draws)
        for task, pair in pairs.items():
            name = task if len(runs.studies) == 1 else f"{study.name}, {task}"
            out[name] = planning.plan_of(pair, seeds or len(study.multi), rule.margin, level)
    return out


def least_draws(tasks: int, level: float) -> int:
    """With which the smallest p-value, times the tasks, is a tenth of the level."""
    return max(LEAST_DRAWS, math.ceil(round(10 * tasks / level, 6)))


@frozen(eq=False)
class _Compared:
    """A study, the differences of its tasks, and what else ``verdict.json`` says of each."""

    study: cells.Study
    pairs: Mapping[str, verdict.Pair]
    tables: Mapping[str, Mapping[str, Any]]


def _compare(
    study: cells.Study, margin: float, draws: int
) -> tuple[dict[str, verdict.Pair], dict[str, dict[str, Any]]]:
    pairs: dict[str, verdict.Pair] = {}
    tables: dict[str, dict[str, Any]] = {}
    for task in study.tasks:
        key = fold(root(0), "verdict", task)
        differences: dict[str, bootstrap.Difference | None] = {}
        tables[task] = _scores(study, task)
        for name, control in (*SIDES.items(), *((each, each) for each in BESIDE)):
            sides = cells.sides(study, task, control)
            differences[name] = difference = (
                None if sides is None else bootstrap.difference(sides[0], sides[1].multi, sides[1].control, key, draws)
            )
            seeds = () if sides is None else sides[1].seeds
            if name in SIDES or difference is not None:
                tables[task][name] = None if difference is None else _difference(difference, seeds, margin)
        tables[task]["units_are"] = units_are(next(iter(study.multi.values())), task, tables[task]["units"])
        level = learnt.level(study, task, tables[task]["scores"], margin)
        tables[task] |= {"level": level, "collapses": learnt.collapses(study, task)}
        pairs[task] = verdict.Pair(differences["controlled"], differences["plain"], level)
    return pairs, tables


def _study(
    compared: _Compared, decided: Mapping[str, verdict.Verdict], rule: Rule, number: int, level: planning.Level
) -> dict[str, Any]:
    """What ``verdict.json`` says of a study. ``level``: of a task's test at a look at so many seeds."""
    study, declared = compared.study, rule.of(number)
    why = exploratory(study, rule, number)
    taken = [] if declared is None or why else looks.before(declared.taken, [*study.multi], digests(study))
    tasks = {}
    for task, said in decided.items():
        pair = compared.pairs[task]
        stands = _standing(said, task, taken)
        advice = planning.Advice(None, None, None, "")
        if stands.get("verdict", said.verdict) not in verdict.CLAIMS:
            advice = planning.advise(pair, rule.margin, level)
        tasks[task] = {
            **attrs.asdict(said),
            **stands,
            "seeds_needed": advice.seeds,
            "seeds_range": [advice.low, advice.high],
            "advice": advice.text,
            "power": planning.plan_of(pair, len(study.multi), rule.margin, level),
            **compared.tables[task],
        }
    return {
        "name": study.name,
        "seeds": list(study.multi),
        **({"plain": study.plain} if study.plain != "tokens" else {}),
        **({"trials": rates.table(study)} if study.trials else {}),
        "exploratory": why,
        **_declared(declared),
        "tasks": tasks,
        "missing": [attrs.asdict(each) for each in study.missing],
    }


def _standing(said: verdict.Verdict, task: str, taken: Sequence[tuple[int, Mapping[str, Any]]]) -> dict[str, Any]:
    """What an earlier look showed and this one does not: the level was spent on it, and it stands.

    ``at_this_look``: what this one says by itself. Where both show something, what this one shows is told.
    """
    out: dict[str, Any] = {}
    for part, (name, now) in enumerate({"verdict": said.verdict, "row": said.row}.items()):
        shown = [(n, claims[task][part]) for n, claims in taken if claims[task][part] in verdict.CLAIMS]
        if now in verdict.CLAIMS or not shown:
            continue
        seeds, out[name] = shown[0]
        out["at_this_look"] = [said.verdict, said.row]
        if name == "verdict":
            out["qualifier"] = f"at the look at {seeds} seeds"
            out["why"] = f"shown at the look at {seeds} seeds, and stands; at this one: {said.why}"
    return out


def standing(row: Mapping[str, Any]) -> list[str]:
    """What is to be said of a task for which an earlier look stands."""
    if "at_this_look" not in row:
        return []
    cell, alone = row["at_this_look"]
    return [f"what an earlier look showed stands; this one by itself: {cell}; RQ5, controlled alone: {alone}"]


def units_are(run: cells.Run, task: str, count: int) -> str:
    """What is resampled: "single examples", taken as independent, or "groups of examples"; "" where no file tells."""
    if (examples := cells.examples_of(run, task)) is None:
        return ""
    return "single examples" if examples <= count else "groups of examples"


def _scores(study: cells.Study, task: str) -> dict[str, Any]:
    """The score of every seed and side, each side's statistics read once more: the runs without a partner too."""
    kind, first = cells.statistics(next(iter(study.multi.values())), task)
    scores: dict[str, dict[str, float]] = {}
    for side, runs in learnt.arms(study, task).items():
        statistics = {seed: cells.statistics(run, task)[1] for seed, run in sorted(runs.items())}
        scores[side] = {str(seed): float(units.value(kind, of.values.sum(0))) for seed, of in statistics.items()}
    return {"metric": kind.metric, "units": len(first.units), "scores": scores}


def _difference(difference: bootstrap.Difference, seeds: Sequence[int], margin: float) -> dict[str, Any]:
    return {
        "estimate": difference.estimate,
        "per_seed": dict(zip(map(str, seeds), difference.per_seed, strict=True)),
        "interval_95": list(bootstrap.interval(difference, 0.95)),
        "interval_90": list(bootstrap.interval(difference, 0.90)),
        "units_only": difference.seeds == 1,
        "unit_variance": difference.unit_variance,
        "seed_variance": difference.seed_variance,
        "p": {
            "below": p_below(difference.replicates, -margin),
            "above": p_above(difference.replicates, margin),
            "within": p_within(difference.replicates, margin),
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
        "tokens": typed.content(run.tokens),
        "match": run.match and attrs.asdict(run.match, filter=lambda a, value: a.name != "shuffled" or bool(value)),
    }


def exceptions(document: Mapping[str, Any]) -> list[str]:
    """What was let pass in the runs, in words: unsealed results, smoke tests left out, changes of environment."""
    runs = document["runs"]
    lines = [
        ("not sealed (made by an older version, taken as it says)", [r["path"] for r in runs if not r["sealed"]]),
        ("without the smoke test", [r["path"] for r in runs if r["smoke_test"] == "skipped"]),
        ("went on in another environment", [r["path"] for r in runs if r["environment_breaks"]]),
    ]
    return [f"{what}: {some(paths)}" for what, paths in lines if paths]


def write(document: Mapping[str, Any], folder: Path) -> None:
    """``verdict.json`` and ``verdict.csv`` in the folder, each there in full or not at all."""
    try:
        make_folder(folder)
        write_file(folder / documents.VERDICT, (json.dumps(document, indent=1) + "\n").encode())
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
    claims += [f"{kind}:{claim}" for kind in ("row_p", "row_holm") for claim in verdict.ROWS]
    means = [f"mean:{side}" for side in (cells.MULTI, *cells.CONTROLS.values())]
    said = ["verdict", "row", "qualifier", "exploratory", "seeds_needed", "seeds_low", "seeds_high", "collapsed", "why"]
    lines.writerow(["study", "task", "metric", "units", "units_are", *means, *ends, *claims, *said])
    for study in document["studies"]:
        for task, row in study["tasks"].items():
            differences = [row[name] for name in SIDES]
            lines.writerow(
                [study["name"], task, row["metric"], row["units"], row["units_are"]]
                + [learnt.mean(scores) for scores in row["scores"].values()]
                + [value for each in differences for value in _ends(each)]
                + [row[kind][claim] for kind in ("p", "holm") for claim in verdict.CLAIMS]
                + [row[kind][claim] for kind in ("row_p", "row_holm") for claim in verdict.ROWS]
                + [row["verdict"], row["row"], row["qualifier"], "; ".join(study["exploratory"])]
                + [row["seeds_needed"], *row["seeds_range"], "; ".join(learnt.words(row)), row["why"]]
            )
    return text.getvalue()


def _ends(difference: Mapping[str, Any] | None) -> list[Any]:
    if difference is None:
        return [None] * 6
    ends = (*difference["interval_95"], *difference["interval_90"])
    return [difference["estimate"], *ends, len(difference["per_seed"])]


def called(row: Mapping[str, Any], study: Mapping[str, Any]) -> str:
    """The verdict of a task as every output shows it: with what qualifies it, and whether it is exploratory."""
    marks = [mark for mark in (row["qualifier"], "exploratory" if study["exploratory"] else "") if mark]
    return row["verdict"] + (f" ({', '.join(marks)})" if marks else "")


def show(document: Mapping[str, Any]) -> None:
    """Prints a table a study, what is missing and what takes no part.

    Nothing of it is cut: on a narrow terminal cells are folded, elsewhere lines are as long as they come.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, emoji=False)  # a name is no markup
    if not console.is_terminal:
        console.width = 10_000
    widths: tuple[int | None, ...] = (None,) * 6  # of columns: what rich folds them to
    if 80 <= console.width < 160:  # so that one word of a verdict is a line
        words = len(verdict.INCONCLUSIVE)
        widths = (console.width - 2 * words - 45, 5, 10, 10, words + 1, words)

    def tell(line: str) -> None:
        console.print(shown(line), soft_wrap=True)

    settings = document["settings"]
    for study in document["studies"]:
        seeds = ", ".join(map(str, study["seeds"]))
        tests = f"level {settings['level']:.3g} over {settings['tasks']} tasks"
        table = Table(title=f"{shown(study['name'])}: seeds {seeds}; margin {settings['margin']:g}, {tests}")
        names = ("task", "multi", "− controlled", "− plain", "verdict", "RQ5, controlled alone")
        for column, width in zip(names, widths, strict=True):
            table.add_column(column, overflow="fold", max_width=width)
        for task, row in study["tasks"].items():
            mean = learnt.mean(row["scores"][cells.MULTI])
            score = "" if mean is None else f"{mean:.3f}"
            differences = [_cell(row[name]) for name in SIDES]
            table.add_row(f"{shown(task)}\n{row['metric']}", score, *differences, called(row, study), row["row"])
        console.print(table)
        plain = "with as many updates" if study.get("plain") == "updates" else "of the task"
        tell(f"controlled, plain: S1 on as many tokens in all, {plain}; with 95 % intervals")
        for task, row in study["tasks"].items():
            if row["advice"]:
                tell(f"{task}: {row['verdict']}; {row['advice']}")
            for line in (*learnt.words(row), *standing(row)):
                tell(f"{task}: {line}")
            if row.get(cells.SHUFFLED):
                shuffled = " ".join(_cell(row[cells.SHUFFLED]).splitlines())
                tell(f"{task}: multi-task − the same with the other tasks' labels shuffled: {shuffled}")
        for line in rates.words(study.get("trials", [])):
            tell(f"NOT equal trials: {line}")
        if study["exploratory"]:
            tell(f"EXPLORATORY: {'; '.join(study['exploratory'])}")
        if changed := departures(settings, study["fixed"]):
            tell(f"NOT the rule of the study: {'; '.join(changed)}")
        for each in study["missing"]:
            tell(f"missing: {each['task']}, {each['side']}, seed {each['seed']}: {each['why']}")
    for line in exceptions(document):
        tell(line)
    for path in document["unfinished"]:
        tell(f"not finished: {path}")
    for each in document["unused"]:
        tell(f"takes no part: {each['path']}: {each['why']}")


def _cell(difference: Mapping[str, Any] | None) -> str:
    if difference is None:
        return "missing"
    low, high = difference["interval_95"]
    only = "\nunits only" if difference["units_only"] else ""
    estimate, low, high = (verdict.signed(value, 3) for value in (difference["estimate"], low, high))
    return f"{estimate}\n{low} to {high}{only}"
