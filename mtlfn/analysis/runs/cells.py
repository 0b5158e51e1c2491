"""Run directories to pairs of runs: which multi-task run has which controls, and their statistics of the test units.

A multi-task run trained several tasks and was matched with none. A control trained one task and names, as "match" in
its ``result.json``, the run that it was matched with: "total" (token-controlled S1) on as many tokens as all of that
run, "per-task" (plain S1) on as many as that run gave the task, "updates" (plain S1, too) for as many updates. What has
no partner is listed, never left out silently.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from mtlfn.analysis.runs import alike, settings
from mtlfn.analysis.runs.matches import CONTROLS, PLAIN, SHUFFLED, UPDATES, Match, Run, check, check_parity
from mtlfn.data import units
from mtlfn.data.example import DataError
from mtlfn.data.task import Task
from mtlfn.run import documents
from mtlfn.run.documents import Altered, smoke, typed
from mtlfn.run.documents import result as results
from mtlfn.run.documents.configuration import Configuration
from mtlfn.run.documents.data import Data
from mtlfn.run.documents.result import Result
from mtlfn.run.errors import UsageError
from mtlfn.run.storage import seal

PAIR = "pair"
KEPT, EXCLUSION = "kept", "exclusion"  # the halves of the exclusion control: the second goes on from the first
MULTI = "multi-task"


@frozen
class Missing:
    """A run that a comparison lacks. ``side``: a value of ``CONTROLS`` or "multi-task"."""

    task: str
    side: str
    seed: int
    why: str


@frozen
class Study:
    """The multi-task runs of one configuration, by seed, and what was matched with them.

    Attributes:
        controls: (control, task, seed) -> run; control "exclusion": the one whose shared slot never saw this task;
            "shuffled": the one in which the labels of all other tasks were shuffled.
        kept: seed -> the first half of the exclusion control.
        pairs: (two tasks, seed) -> the strategy on these alone.
        missing: what a verdict lacks.
        trials: runs by which the learning rates were chosen: multi-task runs, and S1 runs matched with one of these.
    """

    name: str
    multi: Mapping[int, Run]
    controls: Mapping[tuple[str, str, int], Run]
    kept: Mapping[int, Run]
    pairs: Mapping[tuple[tuple[str, ...], int], Run]
    missing: tuple[Missing, ...]
    trials: tuple[Run, ...] = ()

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, in the order of the runs."""
        return next(iter(self.multi.values())).tasks

    @property
    def plain(self) -> str:
        """What plain S1 has in common with the multi-task run: "tokens" or "updates"; UsageError where both."""
        runs = [run for (control, *_), run in self.controls.items() if control == PLAIN]
        by = {run.match.control if run.match else PLAIN: run for run in runs}
        if len(by) > 1:
            raise UsageError(
                f"RUN {by[PLAIN].path} and RUN {by[UPDATES].path}: plain S1 is matched by tokens in one and by updates "
                "in the other; leave out the runs of one kind"
            )
        return "updates" if UPDATES in by else "tokens"


@frozen
class Found:
    """``studies``, the folders of runs that have not finished, and finished runs that take no part, with the reason.

    Where any study has a control, those that have none at all take no part.
    """

    studies: tuple[Study, ...]
    unfinished: tuple[Path, ...]
    unused: tuple[tuple[Run, str], ...] = field(default=())


@frozen(eq=False)
class Sides:
    """Statistics of one task and control: float64 [S, U, K] each, of the same units; row s is seed ``seeds[s]``."""

    seeds: tuple[int, ...]
    multi: NDArray[np.float64]
    control: NDArray[np.float64]


def find(paths: Sequence[Path], without: Collection[Path] = (), leave: Collection[Path] = ()) -> Found:
    """All runs in these folders, or in folders below them, put together.

    Args:
        without: runs that count as unfinished.
        leave: runs that are not looked at.

    Raises:
        UsageError: a folder that is not there or holds no run; a run named itself that has not finished; a result.json
            that cannot be read; a control whose tokens are not those of its match; a seed that is there twice.
    """
    if not paths:
        raise UsageError("RUN: name at least one run directory, or a folder that holds some")
    finished: dict[Path, Run] = {}
    unfinished: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            raise UsageError(f"RUN {path}: is not a folder; name run directories, or folders that hold some")
        folders = list(_run_folders(path))
        if not folders:
            raise UsageError(f"RUN {path}: holds no run (no result.json, no config.json)")
        for folder in (folder for folder in folders if folder not in leave):
            if (folder / documents.RESULT).exists() and folder not in without:
                finished[folder.resolve()] = read_run(folder)
            elif folder == path:
                raise UsageError(
                    f"RUN {path}: has not finished (no result.json); resume it with the command it began with"
                )
            else:
                unfinished[folder] = None
    studies, unused = _studies(list(finished.values()))
    if not studies:
        raise UsageError(
            f"RUN {paths[0]}: no multi-task run among the {len(finished)} finished runs (several tasks, no match)"
        )
    return Found(studies, tuple(unfinished), unused)


def read_run(folder: Path) -> Run:
    """The run of a folder, from its result.json and config.json; UsageError where it is not as it was sealed."""
    verified, settings = seal.verify(folder, exports=False), _settings(folder)
    if verified.problems:
        first, *others = verified.problems
        more = f" (and {len(others)} more)" if others else ""
        raise UsageError(
            f"RUN {folder}: is not as it was when it finished: {first}{more}; give the command of that "
            "run again, which makes it anew, or leave the run out"
        )
    try:
        result = typed.read(folder, Result)
    except (OSError, Altered) as error:
        raise UsageError(
            f"RUN {folder}: {documents.RESULT} cannot be read ({error}); give the command of that run again, which "
            "writes it anew"
        ) from None
    run = Run(
        path=folder,
        experiment=result.experiment,
        seed=result.seed,
        digest=result.digest,
        tokens=result.tokens,
        steps=result.steps,
        schedule=result.schedule,
        match=result.match and _match(result.match),
        settings=settings,
        scores={task: score.test for task, score in result.scores.items() if score.test is not None},
        learning={
            task: (score.dev, max(score.baselines.values()))
            for task, score in result.scores.items()
            if score.dev is not None and score.baselines
        },
        sealed=verified.sealed,
        smoke_test=smoke.ending(folder),
        environment_breaks=result.environment_breaks,
    )
    check(run)
    return run


def _match(document: results.Match) -> Match:
    return Match(
        parent=document.parent.digest,
        parent_path=document.parent.path,
        control=document.control,
        tasks=document.tasks,
        tokens=document.tokens,
        shuffled=document.shuffled_tasks or (),
    )


def sides(study: Study, task: str, control: str) -> tuple[Task, Sides] | None:
    """The pairs that exist; None where there is none.

    Raises:
        UsageError: a run without test predictions, or two runs with other units, gold or task.
    """
    seeds = tuple(seed for seed in sorted(study.multi) if (control, task, seed) in study.controls)
    if not seeds:
        return None
    multi = [study.multi[seed] for seed in seeds]
    controls = [study.controls[control, task, seed] for seed in seeds]
    kind, first = statistics(multi[0], task)
    values: dict[Path, NDArray[np.float64]] = {}
    for run in (*multi, *controls):
        other, statistic = statistics(run, task)
        alike.check(multi[0].path, (kind, first), run.path, (other, statistic))
        values[run.path] = statistic.values
    stacks = [np.stack([values[run.path] for run in side]) for side in (multi, controls)]
    return kind, Sides(seeds, *stacks)


def statistics(run: Run, task: str) -> tuple[Task, units.UnitStatistics]:
    """The statistics of the test units of a run; UsageError where the run has none or they cannot be read."""
    path = run.path / "predictions" / f"{task}.test.units.json"
    try:
        kind, statistic = units.from_json(path.read_text(), str(path))
    except OSError as error:
        raise UsageError(
            f"RUN {run.path}: has no test predictions of task {task} ({path.name}: {error.strerror}); a verdict needs "
            "them of every run: evaluate its test split"
        ) from None
    except (DataError, UnicodeDecodeError) as error:
        raise UsageError(f"RUN {run.path}: {error}") from None
    if kind.name != task:
        raise UsageError(f"RUN {run.path}: {path.name} is of task {kind.name}")
    examples = examples_of(run, task)
    if not kind.official and examples is not None and len(statistic.units) > examples:
        raise UsageError(
            f"RUN {run.path}: {path.name} has {len(statistic.units)} units of {examples} test examples, expected no "
            "more units than examples"
        )
    value, said = float(units.value(kind, statistic.values.sum(0))), run.scores.get(task)
    if said is not None and not math.isclose(value, said, rel_tol=1e-9, abs_tol=1e-9):
        raise UsageError(
            f"RUN {run.path}: {path.name} gives {kind.metric} {value:.6g}, result.json says {said:.6g}: one of them is "
            "not of this run; give its command again, or leave the run out"
        )
    return kind, statistic


def examples_of(run: Run, task: str) -> int | None:
    """How many test examples of a task the run had; None where its data.json does not say."""
    data = typed.attempt(run.path, Data)
    about = data.tasks.get(task) if data is not None else None
    return about.test.examples if about is not None and about.test is not None else None


def _run_folders(path: Path) -> Iterable[Path]:
    """Folders with a config.json or result.json; what lies inside a run is part of it."""
    for folder, below, files in os.walk(path):
        if documents.RESULT in files or documents.CONFIG in files:
            below.clear()
            yield Path(folder)
        below.sort()


def _settings(folder: Path) -> str:
    try:
        identity = typed.read(folder, Configuration).identity
    except OSError:
        return ""
    except Altered as error:
        raise UsageError(
            f"RUN {folder}: {documents.CONFIG} cannot be read ({error}); mend it, or leave the run out"
        ) from None
    return json.dumps({key: value for key, value in identity.items() if key != "seed"}, sort_keys=True)


def _studies(runs: Sequence[Run]) -> tuple[tuple[Study, ...], tuple[tuple[Run, str], ...]]:
    groups: dict[tuple[Any, ...], dict[int, Run]] = {}
    unused = []
    trials, runs = [run for run in runs if run.trial], [run for run in runs if not run.trial]
    for run in runs:
        if run.match is None and len(run.tasks) > 1:
            # With early stopping every seed has a total of its own; the budget is among the settings.
            settings = run.settings or run.tokens.total
            group = groups.setdefault((run.experiment, run.tasks, settings), {})
            _add(group, run.seed, run)
        elif run.match is None:
            unused.append((run, "one task, and matched with no multi-task run"))
    matched = [(run, run.match) for run in runs if run.match is not None]
    names = [key[0] for key in groups]
    studies = []
    for (name, *_), multi in groups.items():
        shown = name if names.count(name) == 1 else f"{name} ({next(iter(multi.values())).path.name})"
        studies.append(_study(shown, dict(sorted(multi.items())), matched, trials))
    known = {run.digest for study in studies for run in study.multi.values()}
    known |= {run.digest for run, match in matched if match.control == KEPT}
    if any(study.controls for study in studies):  # other runs of several tasks say nothing here
        alone = [study for study in studies if not study.controls]
        unused += [(run, "no run is matched with it") for study in alone for run in study.multi.values()]
        studies = [study for study in studies if study.controls]
    own = {run.path for study in studies for run in study.trials}
    unused += [(run, "a trial, and no run that it is for is among the runs") for run in trials if run.path not in own]
    for run, match in matched:
        if match.parent not in known:
            unused.append((run, f"its multi-task run is not among the runs: {match.parent_path}"))
    return tuple(studies), tuple(unused)


def _study(name: str, multi: Mapping[int, Run], matched: Sequence[tuple[Run, Match]], trials: Sequence[Run]) -> Study:
    parents = {run.digest: seed for seed, run in multi.items()}
    controls: dict[tuple[str, str, int], Run] = {}
    beside = [(run, match, parents[match.parent]) for run, match in matched if match.parent in parents]
    halves = {run.digest: seed for run, match, seed in beside if match.control == KEPT}
    beside += [
        (run, match, halves[match.parent])
        for run, match in matched
        if match.control == EXCLUSION and match.parent in halves
    ]
    kept: dict[int, Run] = {}
    pairs: dict[tuple[tuple[str, ...], int], Run] = {}
    for run, match, seed in beside:
        if match.control not in (*CONTROLS, UPDATES, SHUFFLED, KEPT, EXCLUSION, PAIR):
            continue
        check_parity(run, multi[seed])
        settings.check(run, multi[seed])
        if match.control == KEPT:
            _add(kept, seed, run)
        elif match.control == PAIR:
            _add(pairs, (run.tasks, seed), run)
        elif match.control == EXCLUSION:
            for task in run.tasks:
                _add(controls, (EXCLUSION, task, seed), run)
        else:
            _add(controls, (PLAIN if match.control == UPDATES else match.control, match.task, seed), run)
    tasks = next(iter(multi.values())).tasks
    missing = [
        Missing(task, side, seed, f"no run is the {control} control of {multi[seed].path}")
        for task in tasks
        for control, side in CONTROLS.items()
        for seed in multi
        if (control, task, seed) not in controls
    ]
    like = next(iter(multi.values()))
    own = [run for run in trials if not run.match and (run.experiment, run.untuned) == (like.experiment, like.untuned)]
    tried = {run.digest for run in own}
    own += [run for run in trials if run.match and run.match.parent in tried]
    return Study(name, multi, controls, kept, pairs, tuple(missing), tuple(own))


def _add(runs: dict[Any, Run], key: Any, run: Run) -> None:
    if key in runs:
        raise UsageError(
            f"RUN {runs[key].path} and RUN {run.path}: both are seed {run.seed} of the same; leave one out"
        )
    runs[key] = run
