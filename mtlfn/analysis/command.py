"""The command lines of the analyses: flags to settings; errors and exit codes are those of
``mtlfn.run.commands.command``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import attrs
import tyro
from attrs import field, frozen
from attrs.validators import optional

from mtlfn.data.example import short
from mtlfn.run import documents
from mtlfn.run.commands.command import answer
from mtlfn.run.commands.machines import Machines
from mtlfn.run.config import Config
from mtlfn.run.errors import OK, UsageError
from mtlfn.run.terminal import say

MOST = 10_000  # seeds, tasks, or standard deviations that a study is planned for


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

    power: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Only say what differences a study can show, and the seeds that others take: from the variances of these runs as a
    pilot, or from those given. Nothing is decided, and no look goes on record."""

    unit_sd: float | None = None
    """With --power: standard error that the test units give the difference, in the unit of the metric."""

    seed_sd: float | None = None
    """With --power: standard deviation of the difference between seeds."""

    seeds: int | None = None
    """With --power: seeds of the study to plan. Default: 3, or as many as the pilot has."""

    tasks: int = 1
    """With --power and given variances: tasks that share the level."""


@frozen
class Study:
    """What to run."""

    study: tyro.conf.Positional[Path]
    """A TOML file, or preset:NAME for one that comes with mtlfn (preset:study-cpu)."""

    output_dir: Path | None = None
    """Folder of the study. Default: that of the file, else results/study-<hash of the settings>."""

    data_dir: Path | None = None
    """Folder of the tasks' files, where they lie now. What they hold decides the bits, and not where."""

    plan: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Only print what there is to run, how long it should take and how far it is."""

    seeds: int | None = field(default=None, validator=optional(attrs.fields(Config).seeds.validator))
    """Another number of seeds than the file's. A larger one adds to what is there."""

    threads: int | None = field(default=None, validator=attrs.fields(Config).threads.validator)
    """CPU threads of the runs. Another number gives other bits."""

    max_hours: float | None = field(default=None, validator=optional(attrs.fields(Config).max_hours.validator))
    """Stop, resumable, before so many hours have passed since the process began. Default: as in [run], there 11.5; with
    --slurm none."""

    skip_smoke_test: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Begin runs without the smoke test. Which ones stays on record."""

    accept_environment: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on although the environment of begun runs changed. The change stays on record."""

    only: str | None = None
    """Run this node of the study, as --plan names it, or several in turn, separated by commas. 0: finished, 75: the
    same command goes on."""

    conclude: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Run nothing: verdict and report of what is finished."""

    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """With --plan: the graph of the runs as JSON, for other programs."""

    machines: tyro.conf.OmitArgPrefixes[Machines] = field(factory=Machines)


@frozen
class Report:
    """What to report on."""

    study: tyro.conf.Positional[Path]
    """Folder of a study: finished multi-task runs and their controls lie in it. Or the directory of one finished
    run."""

    output: Path | None = None
    """Folder for the report. Default: report/ in the study."""

    margin: float | None = None
    """Margin of the verdict. Default, as for alpha and draws: what the study fixed when it began, else what its last
    report had, else that of mtlfn verdict."""

    alpha: float | None = None
    """Level of the tests."""

    draws: int | None = None
    """Replicates of the bootstrap."""


def study(description: str, argv: Sequence[str] | None = None) -> int:
    """Runs what a study needs and is not finished, then gives the verdict; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)

    def work(asked: Study) -> int:
        from mtlfn.analysis import study_command

        return study_command.run(asked, argv)

    return answer(Study, "mtlfn.experiments.study", description, argv, work)


def verdict(argv: Sequence[str] | None = None) -> int:
    """Says of every task whether its gain is transfer or more text; returns the exit code."""

    def tell(asked: Verdict) -> int:
        from mtlfn.analysis import outcome, study

        if asked.power:
            for line in _power(asked):
                say(line)
            return OK
        document = study.judge(asked.runs, **_rule(asked))
        outcome.write(document, asked.output)
        outcome.show(document)
        say(f"everything is in {asked.output / documents.VERDICT} and {asked.output / 'verdict.csv'}")
        return OK

    about = (
        "Knowledge transfer, or more text? Compares multi-task runs with the S1 runs that saw as many tokens, in "
        "all (token-controlled) and of the task (plain), by a paired bootstrap over test units, widened by what the "
        "seeds vary by."
    )
    return answer(Verdict, "mtlfn.verdict", about, argv, tell)


def _rule(asked: Any) -> dict[str, Any]:
    return {"margin": asked.margin, "alpha": asked.alpha, "draws": asked.draws}


def _power(asked: Verdict) -> list[str]:
    """What a study can show, from given variances or from a pilot."""
    from mtlfn.analysis import outcome, rules
    from mtlfn.analysis.runs import cells
    from mtlfn.analysis.statistics import planning

    given = {"--unit-sd": asked.unit_sd, "--seed-sd": asked.seed_sd}
    flags = {name: value for name, value in _rule(asked).items() if value is not None}
    outcome.check_rule(rule := rules.Rule(**flags))
    for flag, value, least in (
        *((f, v, 0.0) for f, v in given.items()),
        ("--seeds", asked.seeds, 2),
        ("--tasks", asked.tasks, 1),
    ):
        if value is not None and not least <= value <= MOST:
            raise UsageError(f"{flag} {short(value)}: expected a number from {least:g} to {MOST:,}")
    if asked.runs:
        if any(value is not None for value in given.values()):
            raise UsageError("RUN and --unit-sd, --seed-sd: expected a pilot or variances, not both")
        runs = cells.find(asked.runs)
        rule = rules.rule(flags, runs)
        return planning.plan_lines(outcome.plans(runs, rule, asked.seeds), rule.margin)
    if asked.unit_sd is None or asked.seed_sd is None:
        raise UsageError("--power: expected the runs of a pilot, or --unit-sd and --seed-sd")
    plan = planning.plan(asked.unit_sd**2, asked.seed_sd**2, asked.seeds or 3, rule.margin, rule.alpha / asked.tasks)
    return planning.plan_lines({"given variances": plan}, rule.margin)


def page(folder: Path, say: Callable[[str], None]) -> None:
    """The page of a run that has ended; never fails."""
    from mtlfn.analysis.reporting import run_page

    run_page.attempt(folder, say)


def _page(asked: Report) -> int:
    """The page of one run."""
    given = [name for name in ("output", "margin", "alpha", "draws") if getattr(asked, name) is not None]
    if given:
        raise UsageError(f"--{given[0]}: is of studies; the page of a run is report/index.html in its directory")
    from mtlfn.analysis.reporting import run_page

    try:
        say(f"the page of the run is {run_page.write(asked.study)}")
    except FileNotFoundError:
        raise UsageError(f"{asked.study}: the run is not finished; give its command again") from None
    except documents.Altered as error:
        raise UsageError(f"{asked.study / documents.RESULT}: {error}; give the run's command again") from None
    return OK


def report(argv: Sequence[str] | None = None) -> int:
    """Writes the report on a study; returns the exit code."""

    def tell(asked: Report) -> int:
        if (asked.study / documents.CONFIG).is_file():
            return _page(asked)
        from mtlfn.analysis import outcome, rules, study
        from mtlfn.analysis.reporting import report
        from mtlfn.analysis.runs import cells

        folder = asked.output or asked.study / study.REPORT
        runs = cells.find([asked.study])
        last = report.recorded(asked.study / study.REPORT)
        document = outcome.judge(runs, rules.rule(_rule(asked), runs, last))
        rules.remember(runs, document)
        report.write(asked.study, runs, document, folder)
        say(f"the report is {folder / 'report.html'}")
        return OK

    about = (
        "The report on a study: verdict, differences, learning curves, token counts, conflicts, transfer, hashes "
        "and cost, as a page (report.html), Markdown, pictures, and the verdict as JSON, CSV and LaTeX. Of one "
        "run: its scores, curves, conflicts and tokens, as a page (report/index.html)."
    )
    return answer(Report, "mtlfn.report", about, argv, tell)
