"""What the command of a study does: its plan, a node of it, all of it one by one or side by side, its verdict."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

import mtlfn
from mtlfn.analysis import study as studies
from mtlfn.run.commands.command import again
from mtlfn.run.commands.machines import set_flags
from mtlfn.run.errors import BUG, OK, UsageError
from mtlfn.run.many import estimate, execute, plan
from mtlfn.run.preset import PRESET
from mtlfn.run.terminal import say

if TYPE_CHECKING:
    from mtlfn.analysis.command import Study as Asked

Nodes = Sequence[plan.Node]
CHANGES = ("output_dir", "data_dir", "threads", "max_hours", "skip_smoke_test", "accept_environment")
# Flags that every node's command has too.
TO_NODES = ("seeds", "data_dir", "threads", "skip_smoke_test", "accept_environment")


def run(asked: Asked, argv: Sequence[str]) -> int:
    """Does what was asked for; returns the exit code."""
    _check(asked)
    given = studies.read(asked.study)
    changes = {name: getattr(asked, name) for name in CHANGES}
    settings = attrs.evolve(given.run, **{name: value for name, value in changes.items() if value})
    study = attrs.evolve(given, run=settings, seeds=given.seeds if asked.seeds is None else asked.seeds)
    if asked.machines.several or asked.machines.export_slurm:
        threads = asked.machines.threads(study.run.threads)
        study = attrs.evolve(study, run=attrs.evolve(study.run, threads=threads))
    nodes, root = studies.nodes(study), studies.folder(study)
    if root.exists() and not root.is_dir():
        raise UsageError(f"--output-dir {root}: is a file; name a folder")
    studies.check(study, root, more_seeds=asked.seeds is not None)
    if asked.only is not None:
        studies.claim(study, root)
        return execute.only(root, nodes, asked.only.split(","), again("study", argv))
    if asked.plan and asked.json:
        apart = Path(mtlfn.__file__).parents[1] != Path.cwd()  # else it may be found in the working folder alone
        print(json.dumps(estimate.graph(root, nodes, node_command(asked, study, root, apart)), indent=1))
        return OK
    if asked.conclude:
        studies.claim(study, root)
        return _conclude(study, root)
    for line in studies.lines(study, root, nodes):
        say(line)
    if asked.plan:
        for line in studies.power_lines(study, root, nodes):
            say(line)
        return OK
    if asked.machines.export_slurm is not None:
        _export(asked, asked.machines.export_slurm, study, root)
        return OK
    studies.claim(study, root)
    return _all(study, root, _way(asked, study, root, argv))


def _check(asked: Asked) -> None:
    asked.machines.check()
    if asked.json and not asked.plan:
        raise UsageError("--json: goes with --plan; give that too")
    modes = {
        "--plan": asked.plan,
        "--only": asked.only is not None,
        "--conclude": asked.conclude,
        "--jobs": asked.machines.jobs is not None,
        "--slurm": asked.machines.slurm,
    }
    given = [flag for flag, on in modes.items() if on]
    if len(given) > 1 and not {*given} <= {"--plan", "--jobs", "--slurm"}:  # the plan of what runs side by side
        raise UsageError(f"{given[0]} and {given[1]}: expected one of them")


def _export(asked: Asked, path: Path, study: studies.Study, root: Path) -> None:
    from mtlfn.run.many import array

    assert study.run.threads is not None
    machines = attrs.evolve(asked.machines.chosen(study.run.threads, None), queue=asked.machines.queue())
    array.export(path, root, studies.nodes(study), node_command(asked, study, root), machines)
    say(f"to queue it: bash {path}")


def node_command(asked: Asked, study: studies.Study, root: Path, apart: bool = True) -> list[str]:
    """What runs a node of the study in another process, less ``--only NODE``.

    ``apart``: Python files of the working folder are not taken for modules.
    """
    data = asked.data_dir and asked.data_dir.resolve()
    flags = set_flags(attrs.evolve(asked, threads=study.run.threads, data_dir=data), TO_NODES)
    own = ["--output-dir", str(root.resolve()), *flags]
    file = asked.study if str(asked.study).startswith(PRESET) else asked.study.resolve()  # a preset has no folder
    return [sys.executable, *(["-P"] if apart else []), "-m", "mtlfn.experiments.study", str(file), *own]


Way = Callable[[Nodes], int]


def _way(asked: Asked, study: studies.Study, root: Path, argv: Sequence[str]) -> Way:
    """How the runs of a plan are made: to their exit code."""
    command = again("study", argv)
    if not asked.machines.several:
        return lambda nodes: execute.execute(root, nodes, command)
    from mtlfn.run.machine import deadline
    from mtlfn.run.many import together

    # A queue has no end of its own; each job has, and leaves in time.
    hours = asked.max_hours if asked.machines.slurm else study.run.max_hours
    ends = None if hours is None else deadline.began() + 3600 * hours
    assert study.run.threads is not None
    machines = asked.machines.chosen(study.run.threads, ends)
    say(f"side by side: {machines.jobs} at a time, {machines.threads} threads each")
    return lambda nodes: together.execute(root, nodes, command, node_command(asked, study, root), machines)


def _all(study: studies.Study, root: Path, way: Way) -> int:
    """Everything up to each look, and the verdict there.

    Seeds beyond those that the study declared were asked for by their number: no look ends it before them.
    """
    code, graph = OK, studies.nodes(study)
    for stage in studies.stages(study) if study.seeds <= studies.declared(study)[-1] else (study,):
        nodes = studies.nodes(stage)
        code = way(nodes)
        decided = False
        if code == OK or (code == BUG and studies.any_finished(root, nodes)):
            decided = _tell(stage, root, nodes, graph, ", of what is finished" if code else "")
        if code != OK:
            break
        if stage.seeds < study.seeds and decided:
            say(f"every task is decided at the look at {stage.seeds} seeds: no more are trained")
            break
    return code


def _conclude(study: studies.Study, root: Path) -> int:
    """The verdict at the last look whose runs are all finished, on these alone; before the first, on what there is."""
    graph = studies.nodes(study)
    for stage in reversed(studies.stages(study)):
        nodes = studies.nodes(stage)
        if all(far == "finished" for far in plan.progress(root, nodes).values()):
            _tell(stage, root, nodes, graph, "")
            return OK
    if not studies.any_finished(root, graph):
        raise UsageError(f"--conclude: no multi-task run in {root} is finished; run some of the study first")
    _tell(study, root, graph, graph, ", of what is finished")
    return OK


def _tell(study: studies.Study, root: Path, nodes: Nodes, graph: Nodes, of: str) -> bool:
    """Verdict and report at a look whose runs are ``nodes`` of the graph; whether every task is decided."""
    own, place = {node.name for node in nodes}, root / studies.REPORT
    if not os.access(place if place.exists() else root, os.W_OK):
        raise UsageError(f"{place}: cannot be written; mtlfn report {root} --output DIR writes a report elsewhere")
    document = studies.conclude(study, root, nodes, [node for node in graph if node.name not in own])
    say(f"everything is in {root / studies.REPORT}{of}")
    return studies.all_decided(document)
