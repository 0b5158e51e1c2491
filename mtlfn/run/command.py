"""The command line of an experiment: flags to a configuration, errors to one message and an exit code.

Exit codes: 0 finished, 75 stopped but resumable, 2 usage, 3 preflight failed, 4 another configuration or data, 1 a bug.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

from mtlfn.data.task import DataError
from mtlfn.run.config import Config, UsageError, from_toml

OK, BUG, USAGE, PREFLIGHT, MISMATCH, RESUMABLE = 0, 1, 2, 3, 4, 75


def main(strategy: str, description: str, argv: Sequence[str] | None = None) -> int:
    """Parses the flags, trains, and returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        config = parse(strategy, description, argv)
        if isinstance(config, int):
            return config
        from mtlfn.run import loop

        return loop.run(strategy, config, argv)
    except (UsageError, DataError) as error:
        return _complain(error, USAGE)
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if code is None:
            raise
        return _complain(error, code)


def parse(strategy: str, description: str, argv: Sequence[str]) -> Config | int:
    """The configuration, or the exit code with which the parser ended (0 for --help, 2 for a wrong flag)."""
    argv, preset = list(argv), Config()
    for i, flag in enumerate(argv):
        if flag == "--config" or flag.startswith("--config="):
            value = flag.partition("=")[2] if "=" in flag else (argv[i + 1] if i + 1 < len(argv) else "")
            if not value:
                raise UsageError("--config: expected the path of a TOML file")
            preset = from_toml(Path(value))
            del argv[i : i + (1 if "=" in flag else 2)]
            break
    try:
        return tyro.cli(
            Config,
            args=argv,
            default=preset,
            prog=f"python -m mtlfn.experiments.{strategy}",
            description=f"{description}\n\n--config FILE.toml gives defaults that the other flags override.",
        )
    except SystemExit as end:
        return int(end.code or 0)


def _complain(error: Exception, code: int) -> int:
    print(f"mtlfn: {error}", file=sys.stderr)
    return code
