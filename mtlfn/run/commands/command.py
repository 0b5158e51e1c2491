"""The command line of an experiment: flags to a configuration, errors to one message and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import attrs
import tyro
from attrs import field, frozen

from mtlfn.data.example import DataError
from mtlfn.run import terminal
from mtlfn.run.config import Config
from mtlfn.run.errors import RESUMABLE, USAGE, UsageError
from mtlfn.run.machine import processes
from mtlfn.run.preset import from_toml

T = TypeVar("T")

HINT = "--config FILE.toml gives defaults that the other flags override."


def main(strategy: str, description: str, argv: Sequence[str] | None = None) -> int:
    """Parses the flags, trains, and returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)

    def train(everyone: processes.Processes) -> int:
        config = parse(f"mtlfn.experiments.{strategy}", description, argv)
        if isinstance(config, int):
            return config
        command = again(strategy, argv)
        if everyone.size > 1:
            from mtlfn.run.one import together

            together.check(strategy, config, everyone)
            everyone = processes.on_device(everyone, config.device)
            if not everyone.first:
                from mtlfn.run.one import follow

                follow.follow(strategy, config, everyone)
        if config.seeds > 1:
            from mtlfn.run.many import execute, plan

            nodes = plan.seeds(strategy, config)
            return execute.execute(plan.folder(f"{strategy}-seeds", config), nodes, command)
        from mtlfn.run.one import loop

        return loop.run(strategy, config, command, processes=everyone)

    return guarded_together(train)


def doctor(argv: Sequence[str] | None = None) -> int:
    """The preflight of S3b with the options of a run; returns the exit code."""

    def examine() -> int:
        config = parse(
            "mtlfn.doctor",
            "Looks at what a run needs: device, memory, disk, a timed checkpoint, a step of each task.",
            list(sys.argv[1:] if argv is None else argv),
        )
        if isinstance(config, int):
            return config
        from mtlfn.run.one import doctor

        return doctor.examine("s3b", config)

    return guarded(examine)


def replay(argv: Sequence[str] | None = None) -> int:
    """Takes the steps of a run again and compares; returns the exit code."""

    def again() -> int:
        asked = cli(
            Replay,
            list(sys.argv[1:] if argv is None else argv),
            None,
            "mtlfn.replay",
            "Takes the steps of a run again, from its checkpoints or from its beginning, and compares every digest "
            "with the ledger. Without options: from the last checkpoint but one to the end.",
        )
        if isinstance(asked, int):
            return asked
        from mtlfn.run.one import replay

        moved = {"data_dir": asked.data_dir, "cache_dir": asked.cache_dir, "backbone": asked.backbone}
        return replay.replay(
            asked.run, asked.from_, asked.to, asked.all, **{k: v for k, v in moved.items() if v is not None}
        )

    return guarded(again)


def predict(argv: Sequence[str] | None = None) -> int:
    """Predictions of a trained model for the rows of a file; returns the exit code."""

    def work() -> int:
        asked = cli(
            Predict,
            list(sys.argv[1:] if argv is None else argv),
            None,
            "mtlfn.predict",
            "What a trained model says of the rows of a file: a JSON line each, with id and prediction.",
        )
        if isinstance(asked, int):
            return asked
        from mtlfn.run.commands import predict

        return predict.predict(asked)

    return guarded(work)


def data(argv: Sequence[str] | None = None) -> int:
    """What a data set holds, as ``python -m mtlfn.data check`` prints it; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)

    def check() -> int:
        if argv[:1] != ["check"] and argv[:1] not in ([], ["--help"], ["-h"]):
            raise UsageError(
                f"python -m mtlfn.data {argv[0]}: expected python -m mtlfn.data check DIR --task NAME, or check "
                "--config FILE"
            )
        about = "Reads a data set and says what it holds, what was skipped or repaired, and what its splits share."
        asked = cli(Check, argv[1:] or ["--help"], Check(), "mtlfn.data check", about)
        if isinstance(asked, int):
            return asked
        from mtlfn.run.commands import check

        config = None if asked.config is None else from_toml(asked.config)
        return check.check(asked.dir, config, asked.task, asked.backbone, asked.strict)

    return guarded(check)


@frozen(kw_only=True)
class Check:
    """What to look at."""

    dir: tyro.conf.Positional[Path | None] = None
    """The folder of the data set, or the data folder that it lies in."""

    config: Path | None = None
    """A TOML file with tasks, which are read as a run of it would."""

    task: str | None = None
    """The name of the task: in a folder it decides the format, of a file it chooses one task."""

    backbone: str = "minilm"
    """Whose tokenizer measures lengths."""

    strict: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """The first thing that is not as it should be is an error."""


@frozen
class Replay:
    """What to replay."""

    run: tyro.conf.Positional[Path]
    """Directory of the run."""

    from_: Annotated[int | None, tyro.conf.arg(name="from")] = None
    """First step: one that the ledger has, or 0."""

    to: int | None = None
    """Last step: one that the ledger has. Default: its last."""

    all: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Every segment, from the very first step."""

    data_dir: Path | None = None
    """Where the data are now, if not where they were."""

    cache_dir: Path | None = None
    """Where tokenised data are kept now."""

    backbone: str | None = None
    """Where the backbone is now. Its content must be the same."""


@frozen
class Predict:
    """What to predict, with which model."""

    model: tyro.conf.Positional[Path]
    """A finished run's directory, or the folder of an export."""

    input: Path
    """JSON Lines (.jsonl, .jsonl.gz) with the columns of the task's kind, or any other text file: a text a line."""

    task: str | None = None
    """Which task of the run. May be left out where it has one."""

    output: Path | None = None
    """File to write, whole or not at all. Default: standard output."""

    backbone: str | None = None
    """Where the backbone is now, if not where it was. Its weights must be the same."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""

    threads: int | None = field(default=None, validator=attrs.fields(Config).threads.validator)
    """CPU threads."""


def again(experiment: str, argv: Sequence[str]) -> list[str]:
    """The command of an experiment, as it can be given again."""
    return processes.command(["python", "-m", f"mtlfn.experiments.{experiment}", *argv])


def guarded(command: Callable[[], int]) -> int:
    """Runs a command of one process; what the user did wrong becomes one message and an exit code."""
    with terminal.lasting(), terminal.interruptible():
        try:
            if processes.several():
                if processes.rank() > 0:
                    return USAGE  # the first process says why
                raise UsageError("torchrun: this command is of one process; only s2, s3a and s3b take several")
            return command()
        except (Exception, KeyboardInterrupt) as error:
            if (known := _answer(error)) is None:
                raise
            return _complain(*known)


def guarded_together(command: Callable[[processes.Processes], int]) -> int:
    """As ``guarded``, for a command that several processes may take part in: one speaks, all end with one code."""
    if not processes.several():
        return guarded(lambda: command(processes.ALONE))
    with terminal.lasting(), terminal.interruptible(), processes.quiet(processes.rank()):
        try:
            code = processes.run_together(processes.join(), command, _answer, lambda line: _complain(line, 0))
            processes.leave()
            return code
        except processes.Gone as gone:
            return _complain(str(gone), RESUMABLE)


def _answer(error: BaseException) -> tuple[str, int] | None:
    """What to say of an error, and the exit code; None where it is a bug."""
    if isinstance(error, UsageError | DataError):
        return str(error), USAGE
    if isinstance(error, KeyboardInterrupt):
        return "stopped; what was saved stands, and the same command goes on from it", RESUMABLE
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; mend it, or move it away", USAGE
    code = getattr(error, "exit_code", None)
    return None if code is None else (str(error), code)


def parse(module: str, description: str, argv: Sequence[str]) -> Config | int:
    """The configuration, or the exit code with which the parser ended (0 for --help, 2 for a wrong flag)."""
    preset, argv = with_preset(argv)
    return cli(Config, argv, preset, module, f"{description}\n\n{HINT}")


def with_preset(argv: Sequence[str]) -> tuple[Config, list[str]]:
    """The configuration in the file of ``--config``, or the default one, and the other flags."""
    argv = list(argv)
    for i, flag in enumerate(argv):
        if flag == "--config" or flag.startswith("--config="):
            value = flag.partition("=")[2] if "=" in flag else (argv[i + 1] if i + 1 < len(argv) else "")
            if not value:
                raise UsageError("--config: expected the path of a TOML file")
            del argv[i : i + (1 if "=" in flag else 2)]
            return from_toml(Path(value)), argv
    return Config(), argv


def cli(kind: type[T], argv: Sequence[str], default: T | None, module: str, description: str) -> T | int:
    """The parsed flags, or the exit code with which the parser ended."""
    try:
        return tyro.cli(
            kind,
            args=argv,
            default=tyro.MISSING_NONPROP if default is None else default,
            prog=f"python -m {module}",
            description=description,
        )
    except SystemExit as end:
        return int(end.code or 0)


def _complain(message: str, code: int) -> int:
    print(f"mtlfn: {terminal.shown(message)}", file=sys.stderr)
    return code
