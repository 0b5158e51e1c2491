"""A study: from one TOML file to the multi-task runs, their controls, the verdict and the report.

strategy = "s3b"
seeds = 5
margin = 0.01
keep = ["semeval2017_t3", "semeval2021_t6"]

[run]
budget_tokens = 150000
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
from attrs import field, frozen
from attrs.validators import ge, gt, lt

from mtlfn.run import plan
from mtlfn.run.config import Config, UsageError, finite, from_table, read_toml, task_names, typed

REPORT = "report"


@frozen(kw_only=True)
class Study:
    """What is compared.

    Attributes:
        strategy: of the multi-task runs.
        seeds: how many, from the seed of ``run`` on.
        controls: which S1 runs: "total" (token-controlled), "per-task" (plain). A verdict needs both.
        keep: tasks of the shared slot in the exclusion control; none: no such control.
        pairwise: also trains every pair of tasks, for the transfer matrix.
        margin, alpha, draws: of the verdict; fixed here, before anything is seen.
        run: the configuration of the multi-task runs; the controls inherit it.
    """

    strategy: Literal["s2", "s3a", "s3b"] = "s3b"
    seeds: int = field(default=5, validator=ge(1))
    controls: tuple[Literal["total", "per-task"], ...] = ("per-task", "total")
    keep: tuple[str, ...] = ()
    pairwise: bool = False
    margin: float = field(default=0.01, validator=[gt(0), finite])
    alpha: float = field(default=0.05, validator=[gt(0), lt(0.5)])
    draws: int = field(default=10_000, validator=ge(1))
    run: Config = field(factory=Config)


def read(path: Path) -> Study:
    """The study in a TOML file; UsageError names a wrong key or value."""
    table = read_toml(path, "STUDY")
    given = table.pop("run", {})
    if not isinstance(given, dict):
        raise UsageError(f"STUDY {path}: run is {given!r}, expected a table [run] with options of a run")
    run = from_table(given, path, f"STUDY {path}, [run]")
    if run.seeds != 1:
        raise UsageError(f"STUDY {path}: seeds stands above [run], not in it")
    return attrs.evolve(typed(table, Study, path, f"STUDY {path}"), run=run)


def nodes(study: Study) -> tuple[plan.Node, ...]:
    """All runs, each after what it needs; a seed's runs together, so that a first verdict comes early."""
    tasks = task_names(study.run)
    if len(tasks) < 2:
        raise UsageError(f"tasks {', '.join(tasks)}: a study compares multi-task runs; name two tasks or more")
    out: list[plan.Node] = []
    # Where things lie now: controls inherit their settings from a run that may have been trained elsewhere.
    places = {name: getattr(study.run, name) for name in ("backbone", "revision", "data_dir", "cache_dir")}
    for i in range(study.seeds):
        seed = study.run.seed + i
        full = plan.multi(study.strategy, attrs.evolve(study.run, seed=seed), f"seed-{seed}/multi")
        out.append(full)
        for kind in study.controls:
            out += plan.controls(_path(full), full.tokens, tasks, kind, f"seed-{seed}/{kind}", (full.name,), **places)
        if study.keep:
            out += plan.exclusion(study.strategy, full, tasks, study.keep, f"seed-{seed}/exclusion", **places)
        if study.pairwise:
            out += plan.pairs(study.strategy, full, tasks, f"seed-{seed}/pairs", **places)
    return tuple(out)


def _path(node: plan.Node) -> Any:
    return lambda root: root / node.name


def folder(study: Study) -> Path:
    """The study's folder: as asked for, or named by the settings that decide it."""
    about = attrs.asdict(study, filter=lambda a, _: a.name in ("strategy", "keep"))  # more seeds, pairs, … join these
    return plan.folder("study", study.run, **about)


def conclude(study: Study, root: Path) -> None:
    """Verdict and report of what is finished."""
    from mtlfn.analysis import cells, outcome, report

    found = cells.find([root])
    document = outcome.judge(found, study.margin, study.alpha, study.draws)
    report.write(root, found, document, root / REPORT)
    outcome.show(document)


def lines(study: Study, root: Path, made: Sequence[plan.Node]) -> list[str]:
    """The plan in words."""
    tasks = task_names(study.run)
    about = f"study     {study.strategy} on {len(tasks)} tasks ({', '.join(tasks)}), seeds {study.run.seed} to "
    return [
        about + f"{study.run.seed + study.seeds - 1}, margin {study.margin:g}",
        f"folder    {root}",
        *plan.table(root, made),
    ]
