"""The command lines of the analyses: flags to settings; errors and exit codes as ``mtlfn.run.command`` has them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import attrs
import tyro
from attrs import field, frozen
from attrs.validators import optional

from mtlfn.run.command import BUG, OK, again, cli, guarded
from mtlfn.run.config import Config
from mtlfn.run.terminal import say


@frozen
class Verdict:
    """What to judge."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Directories of finished runs, or folders that hold some: multi-task runs and their controls."""

    margin: float | None = None
    """Differences within it count as none, in the unit of the metrics. Fix it before looking at any score. Default, as
    for alpha and draws: what the study fixed when it began; for runs of no study 0.01, 0.05 and 10,000."""

    alpha: float | None = None
    """Level of the tests; Holm's correction runs over the tasks."""

    draws: int | None = None
    """Replicates of the bootstrap."""

    output: Path = Path(".")
    """Folder for verdict.json and verdict.csv."""


@frozen
class Study:
    """What to run."""

    study: tyro.conf.Positional[Path]
    """A TOML file; see experiments/study-cpu.toml."""

    output_dir: Path | None = None
    """Folder of the study. Default: that of the file, else results/study-<hash of the settings>."""

    plan: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Only print what there is to run, how long it should take and how far it is."""

    seeds: int | None = field(default=None, validator=optional(attrs.fields(Config).seeds.validator))
    """Another number of seeds than the file's. A larger one adds to what is there."""

    threads: int | None = field(default=None, validator=attrs.fields(Config).threads.validator)
    """CPU threads of the runs. Another number gives other bits."""

    max_hours: float | None = field(default=None, validator=optional(attrs.fields(Config).max_hours.validator))
    """Stop, resumable, before so many hours have passed since the process began."""

    skip_smoke_test: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Begin runs without the smoke test. Which ones stays on record."""

    accept_environment: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on although the environment of begun runs changed. The change stays on record."""


@frozen
class Report:
    """What to report on."""

    study: tyro.conf.Positional[Path]
    """Folder of a study: finished multi-task runs and their controls lie in it."""

    output: Path | None = None
    """Folder for the report. Default: report/ in the study."""

    margin: float | None = None
    """Margin of the verdict. Default, as for alpha and draws: what the study fixed when it began, else what its last
    report had, else that of python -m mtlfn.verdict."""

    alpha: float | None = None
    """Level of the tests."""

    draws: int | None = None
    """Replicates of the bootstrap."""


def study(description: str, argv: Sequence[str] | None = None) -> int:
    """Runs what a study needs and is not finished, then gives the verdict; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)

    def work() -> int:
        asked = cli(Study, argv, None, "mtlfn.experiments.study", description)
        if isinstance(asked, int):
            return asked
        from mtlfn.analysis import study as studies

        made = studies.read(asked.study)
        names = ("output_dir", "threads", "max_hours", "skip_smoke_test", "accept_environment")
        changes = {name: getattr(asked, name) for name in names}
        run = attrs.evolve(made.run, **{name: value for name, value in changes.items() if value})
        made = attrs.evolve(made, run=run, seeds=made.seeds if asked.seeds is None else asked.seeds)
        nodes, root = studies.nodes(made), studies.folder(made)
        studies.check(made, root, more_seeds=asked.seeds is not None)
        for line in studies.lines(made, root, nodes):
            say(line)
        if asked.plan:
            return OK
        from mtlfn.run import execute

        studies.claim(made, root)
        code = execute.execute(root, nodes, again("study", argv))
        if code == OK or (code == BUG and studies.any_finished(root, nodes)):
            studies.conclude(made, root, nodes)
            say(f"everything is in {root / studies.REPORT}" + (", of what is finished" if code else ""))
        return code

    return guarded(work)


def verdict(argv: Sequence[str] | None = None) -> int:
    """Says of every task whether its gain is transfer or more text; returns the exit code."""

    def tell() -> int:
        asked = cli(
            Verdict,
            list(sys.argv[1:] if argv is None else argv),
            None,
            "mtlfn.verdict",
            "Knowledge transfer, or more text? Compares multi-task runs with the S1 runs that saw as many tokens, in "
            "all (token-controlled) and of the task (plain), by a paired bootstrap over test units and seeds.",
        )
        if isinstance(asked, int):
            return asked
        from mtlfn.analysis import cells, outcome, study

        document = outcome.judge(cells.find(asked.runs), study.rule(asked, asked.runs))
        outcome.write(document, asked.output)
        outcome.show(document)
        say(f"everything is in {asked.output / 'verdict.json'} and {asked.output / 'verdict.csv'}")
        return OK

    return guarded(tell)


def report(argv: Sequence[str] | None = None) -> int:
    """Writes the report on a study; returns the exit code."""

    def tell() -> int:
        asked = cli(
            Report,
            list(sys.argv[1:] if argv is None else argv),
            None,
            "mtlfn.report",
            "The report on a study: verdict, differences, learning curves, token counts, conflicts, transfer, hashes "
            "and cost, as a page (report.html), Markdown, pictures, and the verdict as JSON, CSV and LaTeX.",
        )
        if isinstance(asked, int):
            return asked
        from mtlfn.analysis import cells, outcome, report, study

        folder = asked.output or asked.study / study.REPORT
        found = cells.find([asked.study])
        document = outcome.judge(found, study.rule(asked, [asked.study]))
        report.write(asked.study, found, document, folder)
        say(f"the report is {folder / 'report.html'}")
        return OK

    return guarded(tell)
