"""A study: from one TOML file to the multi-task runs, their controls, the verdict and the report.

strategy = "s3b"
seeds = 5
margin = 0.01
keep = ["semeval2017_t3", "semeval2021_t6"]

[run]
budget_tokens = 150000
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
from attrs import field, frozen
from attrs.validators import ge, gt, lt

from mtlfn.analysis import looks, outcome, rules
from mtlfn.analysis.reporting import report
from mtlfn.analysis.runs import cells, matches
from mtlfn.analysis.statistics import planning, verdict
from mtlfn.data import cache
from mtlfn.run import documents
from mtlfn.run.config import Config, finite, identity, task_names
from mtlfn.run.disk import make_folder
from mtlfn.run.errors import UsageError
from mtlfn.run.many import estimate, plan, trials
from mtlfn.run.one import matched
from mtlfn.run.one.directory import Mismatch
from mtlfn.run.preset import from_table, located, read_toml, typed

REPORT = documents.REPORT
MULTI_RUN = re.compile(r"seed-[^/]*/multi")  # name of the node of a multi-task run
# What controls take from the study and not from the run that they are matched with: where things lie now, and leave.
PLACES = ("backbone", "revision", "data_dir", "cache_dir", "device", "max_hours")
PLACES += ("skip_smoke_test", "accept_environment")
Side = tuple[str, str]  # kind of control, task
MULTI: Side = (cells.MULTI, "")
GROWING = ("controls", "pairwise", "auxiliary")  # what may be added to a study; seeds only where --seeds says so
# Fields that came after the first studies, with what those were: left out of the record there, so that they go on.
LATER: Mapping[str, Any] = {"auxiliary": "none", "plain": "tokens", "learning_rates": ()}


@frozen(kw_only=True)
class Study:
    """What is compared.

    Attributes:
        strategy: of the multi-task runs.
        seeds: how many, from the seed of ``run`` on.
        controls: which S1 runs: "total" (token-controlled), "per-task" (plain). A verdict needs both.
        plain: what plain S1 has in common with the multi-task run: "tokens": as many of its task; "updates": as many
            optimiser updates, each on as much of its task as the run's had where they drew it (``run.matched``).
        learning_rates: two or more: each is tried on every side (multi-task, and both S1 of each task) with the seed
            before the first, and all seeds of a side take the one with the best dev score there (``run.trials``). The
            other runs of several tasks take that of the multi-task runs.
        keep: tasks of the shared slot in the exclusion control; none: no such control.
        pairwise: also trains every pair of tasks, for the transfer matrix.
        auxiliary: "shuffled": also trains, for each task, the multi-task run with the labels of all other tasks
            shuffled among their training examples (``data.kinds.shuffle``). What the multi-task run is better by comes
            from the others' labels; the rest of its gain from their texts, or from any second task.
        margin, alpha, draws: of the verdict; fixed here, before anything is seen.
        looks: numbers of seeds after which the study is looked at, the last being ``seeds``; alpha is spent over them
            (``looks``). None named: one, at ``seeds``.
        run: the configuration of the multi-task runs; the controls inherit it. ``select`` may stand above it in the
            file: "best": every run is scored by its best state on dev, of as many points of its budget on every side.
    """

    strategy: Literal["s2", "s3a", "s3b"] = "s3b"
    seeds: int = field(default=5, validator=ge(1))
    controls: tuple[Literal["total", "per-task"], ...] = ("per-task", "total")
    plain: Literal["tokens", "updates"] = "tokens"
    learning_rates: tuple[float, ...] = ()
    keep: tuple[str, ...] = ()
    pairwise: bool = False
    auxiliary: Literal["none", "shuffled"] = "none"
    margin: float = field(default=0.01, validator=[gt(0), finite])
    alpha: float = field(default=0.05, validator=[ge(1e-9), lt(0.5)])
    draws: int = field(default=10_000, validator=ge(1))
    looks: tuple[int, ...] = ()
    run: Config = field(factory=Config)


def read(path: Path) -> Study:
    """The study in a TOML file or of a preset; UsageError names a wrong key or value."""
    path = located(path, "STUDY")
    table = read_toml(path, "STUDY")
    given = table.pop("run", {})
    if not isinstance(given, dict):
        raise UsageError(f"STUDY {path}: run is {given!r}, expected a table [run] with options of a run")
    if "select" in table:
        given = {"select": table.pop("select"), **given}  # one rule for all runs: it may stand above them
    run = from_table(given, path, f"STUDY {path}, [run]")
    if run.seeds != 1:
        raise UsageError(f"STUDY {path}: seeds stands above [run], not in it")
    study = attrs.evolve(typed(table, Study, path, f"STUDY {path}"), run=run)
    _check_rates(study, path, given)
    _check_looks(study, path)
    return attrs.evolve(study, looks=declared(study))  # before another number of seeds is asked for


def _check_rates(study: Study, path: Path, run: Mapping[str, Any]) -> None:
    rates = study.learning_rates
    if rates and (len(set(rates)) < max(2, len(rates)) or not all(0 < rate < math.inf for rate in rates)):
        raise UsageError(
            f"STUDY {path}: learning_rates is {list(rates)}, expected two or more different numbers above 0 to choose "
            "from; give a single one as learning_rate in [run]"
        )
    if rates and "learning_rate" in run:
        raise UsageError(
            f"STUDY {path}: learning_rate stands in [run] and learning_rates above it; give what is to be tried, or "
            "the one rate"
        )


def _check_looks(study: Study, path: Path) -> None:
    looked = declared(study)
    if list(looked) != sorted(set(looked)) or looked[-1] != study.seeds or (len(looked) > 1 and looked[0] < 2):
        raise UsageError(
            f"STUDY {path}: looks is {list(study.looks)}, expected growing numbers of seeds from 2 on, the last of "
            f"them seeds = {study.seeds}"
        )
    tasks, least = len(task_names(study.run)), min(looks.levels(looked, study.alpha))
    if study.draws < (needed := outcome.least_draws(tasks, least)):
        of = "the look with the smallest level" if len(looked) > 1 else "its level"
        raise UsageError(
            f"STUDY {path}: draws is {study.draws}, expected at least {needed}: {of}, {least:.2g}, needs them for "
            f"{tasks} tasks"
        )


def declared(study: Study) -> tuple[int, ...]:
    """The numbers of seeds at which it is to be looked at."""
    return study.looks or (study.seeds,)


def stages(study: Study) -> tuple[Study, ...]:
    """The study at each of its looks, the whole of it last."""
    numbers = [n for n in declared(study) if n < study.seeds]
    return (*(attrs.evolve(study, seeds=n) for n in numbers), study)


def nodes(study: Study) -> tuple[plan.Node, ...]:
    """All runs, each after what it needs; a seed's runs together, so that a first verdict comes early."""
    tasks = task_names(study.run)
    if len(tasks) < 2:
        raise UsageError(f"tasks {', '.join(tasks)}: a study compares multi-task runs; name two tasks or more")
    out: list[plan.Node] = []
    places = {name: getattr(study.run, name) for name in PLACES}
    if study.run.threads is not None:
        places["threads"] = study.run.threads
    first, sides = _trials(study, tasks, places)
    out += first
    for i in range(study.seeds):
        seed = study.run.seed + i
        full = plan.multi(study.strategy, attrs.evolve(study.run, seed=seed), f"seed-{seed}/multi")
        full = _tuned(full, sides, MULTI)
        out.append(full)
        for kind in _kinds(study):
            needs, at = (full.name,), f"seed-{seed}/{kind}"
            controls = plan.controls(_path(full), full.tokens, tasks, kind, at, needs, **places)
            out += [_tuned(node, sides, (kind, task)) for task, node in zip(tasks, controls, strict=True)]
        if study.keep:
            out += plan.exclusion(study.strategy, full, tasks, study.keep, f"seed-{seed}/exclusion", **places)
        if study.pairwise:
            out += plan.pairs(study.strategy, full, tasks, f"seed-{seed}/pairs", **places)
        if study.auxiliary == "shuffled":
            out += plan.shuffled(study.strategy, full, tasks, f"seed-{seed}/shuffled", **places)
    return tuple(out)


def _path(node: plan.Node) -> Any:
    return lambda root: root / node.name


def _kinds(study: Study) -> tuple[matched.Control, ...]:
    """The controls asked for, plain S1 by what it is matched by."""
    plain: matched.Control = matches.UPDATES if study.plain == "updates" else matches.PLAIN
    return tuple(plain if control == matches.PLAIN else control for control in study.controls)


def _trials(
    study: Study, tasks: Sequence[str], places: Mapping[str, Any]
) -> tuple[list[plan.Node], dict[Side, trials.Trials]]:
    """The trials of the learning rates, and for each side which they are; none where there is no choice.

    Those of S1 are matched with the multi-task trial that was best.
    """
    run, rates = attrs.evolve(study.run, seed=study.run.seed - 1, trial=True), study.learning_rates
    if not rates:
        return [], {}
    multi = [
        plan.multi(study.strategy, attrs.evolve(run, learning_rate=rate), f"rate-{rate!r}/multi") for rate in rates
    ]
    out, sides = list(multi), {MULTI: trials.together(multi, rates)}
    parent, needs = trials.parent(sides[MULTI]), tuple(sides[MULTI].values())
    for kind in _kinds(study):
        by_rate = [
            plan.controls(
                parent, run.budget_tokens, tasks, kind, f"rate-{rate!r}/{kind}", needs, learning_rate=rate, **places
            )
            for rate in rates
        ]
        out += [node for nodes in by_rate for node in nodes]
        for task, nodes in zip(tasks, zip(*by_rate, strict=True), strict=True):
            sides[kind, task] = trials.together(nodes, rates)
    return out, sides


def _tuned(node: plan.Node, sides: Mapping[Side, trials.Trials], side: Side) -> plan.Node:
    return trials.at_the_best(node, sides[side]) if side in sides else node


def folder(study: Study) -> Path:
    """The study's folder: as asked for, or named by the settings that decide it."""
    named = ("strategy", "keep", "plain", "learning_rates")  # more seeds, pairs, … join these
    about = attrs.asdict(study, filter=lambda a, value: a.name in named and value != LATER.get(a.name))
    return plan.folder("study", study.run, **about)


def about(study: Study) -> dict[str, Any]:
    """What the study's folder belongs to, as it stands in ``study.json``."""
    said = attrs.asdict(study, filter=lambda a, _: a.name != "run", recurse=False) | {"looks": declared(study)}
    said = {name: value for name, value in said.items() if name not in LATER or value != LATER[name]}
    run = {**identity(study.run), "tasks": ",".join(task_names(study.run))}
    return json.loads(json.dumps({**said, "run": run}))


def check(study: Study, root: Path, *, more_seeds: bool) -> None:
    """Mismatch where the folder is that of another study. ``more_seeds``: seeds were asked for beside the file."""
    if (there := looks.recorded(root)) is None:
        return
    here = about(study)
    names = [*(("run", name) for name in sorted({*here["run"], *there["run"]})), *((name,) for name in (*here, *LATER))]
    for path in names:
        if path == ("run",):
            continue
        before, now = (documents.get({**LATER, **document}, *path) for document in (there, here))
        grown = path[0] in GROWING and set(_listed(before)) <= set(_listed(now))
        if before == now or grown or (path == ("seeds",) and more_seeds and now > before):
            continue
        hint = "name another folder, or give what it was begun with"
        if path == ("seeds",):
            hint = f"give --seeds {before} to go on with it, or more to add to it"
        elif path[0] in (*rules.NAMES, "looks"):
            hint = f"it was fixed before anything was seen; mtlfn verdict {root} takes any"
        raise Mismatch(
            f"--output-dir {root}: is the folder of another study: {'.'.join(path)} is {before!r} there and {now!r} "
            f"now; {hint}"
        )


def _listed(value: Any) -> list[Any]:
    """What was asked for, as far as it is something."""
    return list(value) if isinstance(value, list) else [value] * (value not in (False, "none"))


def claim(study: Study, root: Path) -> None:
    """Puts on record what the study compares.

    Runs of one study may begin side by side, and claim it one after the other.

    Raises:
        UsageError: the folder cannot be written.
        Mismatch: another study claimed it since it was checked.
    """
    try:
        make_folder(root)
        with cache.locked(root / looks.LOCK):
            check(study, root, more_seeds=True)
            before = looks.recorded(root) or {looks.TAKEN: [], looks.LATE: sum(1 for _ in root.rglob(documents.RESULT))}
            said = {**about(study), **{name: before[name] for name in (looks.TAKEN, looks.LATE)}}
            if before != said:
                documents.write(root / looks.DOCUMENT, said)
    except OSError as error:
        raise UsageError(f"--output-dir {root}: cannot be written ({error.strerror}); name another folder") from None


def conclude(study: Study, root: Path, graph: Sequence[plan.Node], later: Sequence[plan.Node] = ()) -> dict[str, Any]:
    """Verdict and report of what is finished; returns the document of ``verdict.json``. The look goes on record.

    ``later``: nodes of looks that are not taken yet; what they have trained so far is not looked at.
    """
    damaged = [root / name for name, far in plan.progress(root, graph).items() if far == "damaged"]
    runs = cells.find([root], without=damaged, leave=[root / node.name for node in later])
    declared = rules.read(looks.recorded(root) or about(study), root)
    document = outcome.judge(runs, rules.of_study(declared, runs))
    rules.remember(runs, document)
    report.write(root, runs, document, root / REPORT)
    outcome.show(document)
    return document


def judge(
    runs: Sequence[str | Path], *, margin: float | None = None, alpha: float | None = None, draws: int | None = None
) -> dict[str, Any]:
    """The verdict on finished runs: the document of ``verdict.json``. The look goes on record with their study.

    Args:
        runs: run directories, or folders with runs in them, such as that of a study.
        margin, alpha, draws: where they are not those that the study fixed; the verdict is exploratory then.

    Returns:
        ``studies``: each with ``tasks``: name -> ``verdict``, ``row``, ``why``, p-values, differences and scores;
        ``settings``; ``runs``: all that were compared, with their digests; and what was left out, with the reason.

    Raises:
        UsageError: runs that cannot be compared, a file that is not as it was sealed, a setting out of range.
    """
    found = cells.find([Path(run) for run in runs])
    document = outcome.judge(found, rules.rule({"margin": margin, "alpha": alpha, "draws": draws}, found))
    rules.remember(found, document)
    return document


def all_decided(document: Mapping[str, Any]) -> bool:
    """Whether every task has a verdict that the study declared, so that more seeds would change nothing."""
    rows = [row for study in document["studies"] for row in study["tasks"].values()]
    apart = any(study["exploratory"] for study in document["studies"])
    return not apart and all(row["verdict"] in verdict.CLAIMS for row in rows)


def any_finished(root: Path, graph: Sequence[plan.Node]) -> bool:
    """Whether a multi-task run has finished, so that there is something to tell."""
    far = plan.progress(root, graph)
    return any(far[node.name] == "finished" for node in graph if MULTI_RUN.fullmatch(node.name))


def power_lines(study: Study, root: Path, graph: Sequence[plan.Node]) -> list[str]:
    """What the whole study can show, from the seeds that are finished; none where too few are."""
    if not any_finished(root, graph):
        return []
    damaged = [root / name for name, far in plan.progress(root, graph).items() if far == "damaged"]
    runs = cells.find([root], without=damaged)
    rule = rules.of_study(rules.read(looks.recorded(root) or about(study), root), runs)
    plans = {task: each for task, each in outcome.plans(runs, rule, study.seeds).items() if each}
    return ["power     " + line for line in planning.plan_lines(plans, rule.margin)]


def lines(study: Study, root: Path, graph: Sequence[plan.Node]) -> list[str]:
    """The plan in words."""
    tasks = task_names(study.run)
    about = f"study     {study.strategy} on {len(tasks)} tasks ({', '.join(tasks)}), seeds {study.run.seed} to "
    return [
        about + f"{study.run.seed + study.seeds - 1}, margin {study.margin:g}",
        f"folder    {root}",
        *estimate.table(root, graph),
    ]
