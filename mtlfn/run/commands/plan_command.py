"""The command lines of the experiments that are made of several runs: token control and the exclusion control."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
import tyro
from attrs import field, frozen
from attrs.validators import optional

from mtlfn.run.commands import options
from mtlfn.run.commands.command import again, cli, parse_with
from mtlfn.run.commands.guard import guarded
from mtlfn.run.config import Config, check_names, listed, task_names
from mtlfn.run.errors import UsageError

PUBLIC = "semeval2017_t3,semeval2021_t6"  # the tasks of the five that have no clinical text


@frozen(kw_only=True)
class Machine:
    """Where and how runs that inherit everything else are to run."""

    data_dir: Path | None = None
    """Where the data are now, if not where they were."""

    cache_dir: Path | None = None
    """Where tokenised data are kept now."""

    backbone: str | None = None
    """Where the backbone is now. Its content must be the same."""

    device: str | None = None
    """"auto", "cpu", "cuda" or "cuda:N". Default: as in the matched run."""

    threads: int | None = field(default=None, validator=attrs.fields(Config).threads.validator)
    """CPU threads. Default: as in the matched run."""

    max_hours: float | None = field(default=None, validator=optional(attrs.fields(Config).max_hours.validator))
    """Stop, resumable, before so many hours have passed since the process began. Default: as in the matched run."""

    skip_smoke_test: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Begin without the smoke test, also where the matched run began with it."""

    accept_environment: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on although the environment changed. The change stays on record."""

    def changes(self) -> dict[str, Any]:
        """What was asked for."""
        return {name: value for name, value in attrs.asdict(self).items() if value is not None and value is not False}


@frozen(kw_only=True)
class TokenControlled:
    """What to match."""

    match: Path
    """Directory of the finished multi-task run."""

    tasks: str = ""
    """Tasks of that run, separated by commas. Default: all of them."""

    control: Literal["total", "per-task", "updates"] = "total"
    """Train on as many tokens as the whole run saw, on as many as it gave the task (plain S1), or for as many optimiser
    updates (plain S1, too)."""

    output_dir: Path | None = None
    """Folder of the runs, one a task. Default: results/token-controlled-<run>/<control>."""

    machine: tyro.conf.OmitArgPrefixes[Machine] = field(factory=Machine)


@frozen(kw_only=True)
class MimicExclusion:
    """The run to compare with, and what to leave out of its shared slot."""

    strategy: Literal["s3a", "s3b"] = "s3b"
    """The multi-task strategy."""

    keep: str = PUBLIC
    """Tasks that train the shared slot, separated by commas; it is then frozen for the others."""


def token_controlled(description: str, argv: Sequence[str] | None = None) -> int:
    """S1 on each task of a multi-task run with exactly as many tokens; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)

    def match() -> int:
        asked = cli(TokenControlled, argv, None, "mtlfn.experiments.token_controlled", description)
        if isinstance(asked, int):
            return asked
        from mtlfn.run.many import execute, plan
        from mtlfn.run.one import matched
        from mtlfn.run.storage import kaggle

        run = matched.finished(asked.match)
        tasks = listed(asked.tasks) or tuple(run.tokens)
        if unknown := [task for task in tasks if task not in run.tokens]:
            raise UsageError(f"--tasks {asked.tasks}: {unknown[0]} is none of that run's, {', '.join(run.tokens)}")
        check_names(tasks, f"--tasks {asked.tasks}")
        if len(run.tokens) == 1:
            raise UsageError(f"--match {asked.match}: it has one task; match a multi-task run")
        total, changes = sum(run.tokens.values()), asked.machine.changes()
        nodes = plan.controls(lambda _: asked.match, total, tasks, asked.control, asked.control, **changes)
        root = asked.output_dir or kaggle.results() / f"token-controlled-{run.result.identity[:8]}"
        return execute.execute(root, nodes, again("token_controlled", argv))

    return guarded(match)


def mimic_exclusion(description: str, argv: Sequence[str] | None = None) -> int:
    """A full run, and one whose shared slot never saw the excluded tasks; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)

    def exclude() -> int:
        parsed = parse_with(MimicExclusion, "mtlfn.experiments.mimic_exclusion", description, argv)
        if isinstance(parsed, int):
            return parsed
        asked, run = parsed
        options.check_levels(asked.strategy, run)
        from mtlfn.run.many import execute, plan

        tasks, keep = task_names(run), listed(asked.keep)
        root = plan.folder(f"mimic-exclusion-{asked.strategy}", run, keep=sorted(keep))
        nodes: tuple[plan.Node, ...] = ()
        for i in range(run.seeds):
            seed = run.seed + i
            full = plan.multi(asked.strategy, attrs.evolve(run, seed=seed, seeds=1), f"full/seed-{seed}")
            nodes += (full, *plan.exclusion(asked.strategy, full, tasks, keep, f"exclusion/seed-{seed}"))
        return execute.execute(root, nodes, again("mimic_exclusion", argv))

    return guarded(exclude)
