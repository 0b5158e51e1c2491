"""The command lines of the analyses: flags to settings; errors and exit codes as ``mtlfn.run.command`` has them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import tyro
from attrs import frozen

from mtlfn.run.command import OK, cli, guarded


@frozen
class Verdict:
    """What to judge."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Directories of finished runs, or folders that hold some: multi-task runs and their controls."""

    margin: float = 0.01
    """Differences within it count as none, in the unit of the metrics. Fix it before looking at any score."""

    alpha: float = 0.05
    """Level of the tests; Holm's correction runs over the tasks."""

    draws: int = 10_000
    """Replicates of the bootstrap."""

    output: Path = Path(".")
    """Folder for verdict.json and verdict.csv."""


def verdict(argv: Sequence[str] | None = None) -> int:
    """Says of every task whether its gain is transfer or more text; returns the exit code."""

    def say() -> int:
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
        from mtlfn.analysis import outcome

        document = outcome.judge(asked.runs, asked.margin, asked.alpha, asked.draws)
        outcome.write(document, asked.output)
        outcome.show(document)
        print(f"everything is in {asked.output / 'verdict.json'} and {asked.output / 'verdict.csv'}")
        return OK

    return guarded(say)
