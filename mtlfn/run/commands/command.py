"""The command line of an experiment: flags to a configuration, errors to one message and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import attrs
import tyro
from attrs import field, frozen
from attrs.validators import ge, le

from mtlfn.run import terminal
from mtlfn.run.commands import options
from mtlfn.run.commands.guard import guarded, guarded_together
from mtlfn.run.config import Config
from mtlfn.run.errors import OK, UsageError
from mtlfn.run.machine import processes
from mtlfn.run.preset import PRESET, from_toml, presets

T = TypeVar("T")

CONSOLE = ("mtlfn ", "python -m mtlfn ")  # what sys.argv[0] begins with where the one command `mtlfn` was given


def main(
    strategy: str,
    description: str,
    argv: Sequence[str] | None = None,
    after: Callable[[Path, Callable[[str], None]], None] = lambda folder, say: None,
) -> int:
    """Parses the flags, trains, and returns the exit code.

    ``after``: what is done with the directory of a run that has ended, such as its page; it may not fail.
    """
    argv = list(sys.argv[1:] if argv is None else argv)

    def train(everyone: processes.Processes) -> int:
        config = parse(f"mtlfn.experiments.{strategy}", description, argv)
        if isinstance(config, int):
            return config
        options.check_levels(strategy, config)
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

        code = loop.run(strategy, config, command, processes=everyone)
        if code == OK and everyone.rank == 0:
            from mtlfn.run.one import directory

            after(directory.resolve(config, strategy), terminal.say)
        return code

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

    def work(asked: Replay) -> int:
        from mtlfn.run.one import replay

        moved = {"data_dir": asked.data_dir, "cache_dir": asked.cache_dir, "backbone": asked.backbone}
        return replay.replay(
            asked.run, asked.from_, asked.to, asked.all, **{k: v for k, v in moved.items() if v is not None}
        )

    about = (
        "Takes the steps of a run again, from its checkpoints or from its beginning, and compares every digest "
        "with the ledger. Without options: from the last checkpoint but one to the end."
    )
    return answer(Replay, "mtlfn.replay", about, argv, work)


def predict(argv: Sequence[str] | None = None) -> int:
    """Predictions of a trained model for the rows of a file; returns the exit code."""

    def work(asked: Predict) -> int:
        from mtlfn.run.commands import predict
        from mtlfn.run.one import predictor

        with predictor.added_up(lambda line: print(line, file=sys.stderr)):
            return predict.predict(asked)

    about = (
        "What a trained model says of the rows of a file, or of the texts of a folder: JSON lines, CoNLL columns, "
        "brat's annotation, or an official task's own files."
    )
    return answer(Predict, "mtlfn.predict", about, argv, work)


def track(argv: Sequence[str] | None = None) -> int:
    """Sends what a run or study writes to trackers; returns the exit code."""

    def work(asked: Track) -> int:
        from mtlfn.run.commands import track

        return track.track(asked)

    about = (
        "Sends the metrics of a run, or of all runs of a study, to trackers, from a process of its own that the "
        "run cannot notice. Each line is sent once, however often the run is stopped, or this command."
    )
    return answer(Track, "mtlfn.track", about, argv, work)


def push(argv: Sequence[str] | None = None) -> int:
    """Shares an export on the Hugging Face Hub; returns the exit code."""

    def work(asked: Push) -> int:
        from mtlfn.run.commands import push

        return push.push(asked)

    about = (
        "Uploads the export of a task (adapter, head, card) to the Hugging Face Hub, as a private model unless "
        "--public; with --dry-run only writes what would be there."
    )
    return answer(Push, "mtlfn.push", about, argv, work)


def data(argv: Sequence[str] | None = None) -> int:
    """``mtlfn data check`` and ``init``: what a data set holds, and a first configuration of files."""
    argv = list(sys.argv[1:] if argv is None else argv)

    def work() -> int:
        if argv[:1] == ["init"]:
            about = "Looks at a folder of data, or a file, and writes a configuration that reads it; then reads it."
            drafted = cli(Init, argv[1:], None, "mtlfn.data init", about)
            if isinstance(drafted, int):
                return drafted
            from mtlfn.run.commands import init

            return init.init(drafted.folder, drafted.output)
        if argv[:1] != ["check"] and argv[:1] not in ([], ["--help"], ["-h"]):
            raise UsageError(
                f"{door('mtlfn.data')} {argv[0]}: expected {door('mtlfn.data')} check DIR --task NAME, check --config "
                "FILE, or init FOLDER"
            )
        about = (
            "Reads a data set and says what it holds, what was skipped or repaired, and what its splits share. (For a "
            "first configuration of your files: mtlfn data init FOLDER)"
        )
        asked = cli(Check, argv[1:] or ["--help"], Check(), "mtlfn.data check", about)
        if isinstance(asked, int):
            return asked
        from mtlfn.run.commands import check

        config = None if asked.config is None else from_toml(asked.config)
        return check.check(asked.dir, config, asked.task, asked.backbone, asked.strict)

    return guarded(work)


@frozen
class Init:
    """What to look at, and where to write."""

    folder: tyro.conf.Positional[Path]
    """A folder of data in one format, a folder of such folders, or a file."""

    output: Path = Path("my.toml")
    """The file to write; one that exists is not written over."""


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
    """With DIR and the --task of an official task: the first thing that is not as it should be is an error."""


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
class Track:
    """What to follow, and where to send it."""

    run: tyro.conf.Positional[Path]
    """The directory of a run that has begun, or of a study."""

    to: str
    """tensorboard, wandb, trackio, mlflow, or several, separated by commas."""

    follow: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on until the run, or the study, has ended."""

    every: float = field(default=5.0, validator=[ge(0.1), le(3600)])
    """With --follow: seconds between two looks."""

    project: str = "mtlfn"
    """What the tracker calls what belongs together."""

    output: Path | None = None
    """Folder for what was sent (cursors), and for what trackers write on this machine. Default: track in the run."""


@frozen
class Push:
    """What to share, and where."""

    run: tyro.conf.Positional[Path]
    """A finished run's directory, or the folder of an export."""

    to: str
    """Name of the model on the Hub: OWNER/NAME, or NAME for your own."""

    task: str | None = None
    """Which task of the run. May be left out where it has one."""

    dry_run: Path | None = None
    """A folder for what would be uploaded; nothing is sent."""

    public: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """A model that is created is one that all can see. The terms of the training data have to allow it."""


@frozen
class Predict:
    """What to predict, with which model."""

    model: tyro.conf.Positional[Path]
    """A finished run's directory, or the folder of an export."""

    input: Path
    """A file or folder. Its ending says the format, if --format does not: JSON Lines (.jsonl, .jsonl.gz) or a JSON
    list (.json) with the columns of the task's kind, CoNLL columns (.conll, .iob2, …), a folder of texts (.txt), with
    brat's annotation (.ann) or without; another file: a text a line, but for tables (CSV, TSV, Parquet, XML)."""

    task: str | None = None
    """Which task of the run. May be left out where it has one."""

    output: Path | None = None
    """File to write, or for brat and official a folder; whole or not at all. Default (but for official): standard
    output. A name that ends in .jsonl asks for JSON lines, whatever else than official is read."""

    format: Literal["jsonl", "text", "conll", "brat", "official"] | None = None
    """Of the input; official: a folder of the organisers' files of a SemEval task, whose prediction files are
    written."""

    pairs: str = ""
    """Relations in brat: which types of head and tail to look at, as Drug:Disease,Drug:Drug. Default: all."""

    backbone: str | None = None
    """Where the backbone is now, if not where it was. Its weights must be the same."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""

    batch_tokens: int = field(default=2048, validator=[ge(1), le(2**20)])
    """Padded tokens that are computed together: more use a GPU better, and take more memory. Other numbers may give
    other last bits."""

    threads: int | None = field(default=None, validator=attrs.fields(Config).threads.validator)
    """CPU threads."""


def again(experiment: str, argv: Sequence[str]) -> list[str]:
    """The command of an experiment, as it can be given again."""
    return processes.command([*door(f"mtlfn.experiments.{experiment}").split(), *argv])


def door(module: str) -> str:
    """How the command of a module was given: as ``mtlfn NAME``, or by ``python -m``. Words after the module stay."""
    name, *words = module.split()
    return " ".join((sys.argv[0] if sys.argv[0].startswith(CONSOLE) else f"python -m {name}", *words))


def answer(kind: type[T], module: str, description: str, argv: Sequence[str] | None, work: Callable[[T], int]) -> int:
    """Parses the flags of a command (by default those it was given), does its work, and returns the exit code."""

    def parsed() -> int:
        asked = cli(kind, list(sys.argv[1:] if argv is None else argv), None, module, description)
        return asked if isinstance(asked, int) else work(asked)

    return guarded(parsed)


def parse(module: str, description: str, argv: Sequence[str]) -> Config | int:
    """The configuration, or the exit code with which the parser ended (0 for --help, 2 for a wrong flag)."""
    preset, argv = with_preset(argv)
    asked = cli(options.flags(None), argv, options.defaults(preset, None), module, description)
    return asked if isinstance(asked, int) else options.config_of(asked, preset)


def parse_with(own: type[T], module: str, description: str, argv: Sequence[str]) -> tuple[T, Config] | int:
    """A command's own options, and the configuration beside them; or an exit code, as in ``parse``."""
    preset, argv = with_preset(argv)
    asked = cli(options.flags(own), argv, options.defaults(preset, own), module, description)
    return asked if isinstance(asked, int) else (options.own_of(asked, own), options.config_of(asked, preset))


def with_preset(argv: Sequence[str]) -> tuple[Config, list[str]]:
    """The configuration in the file of ``--config``, or the default one, and the other flags."""
    files, rest, words = [], list[str](), iter(argv)
    for word in words:
        flag, given, value = word.partition("=")
        if flag != "--config":
            rest.append(word)
            continue
        if not (value := value if given else next(words, "")):
            raise UsageError(f"--config: expected the path of a TOML file, or {PRESET}NAME ({', '.join(presets())})")
        files.append(value)
    if len(files) > 1:
        raise UsageError(
            f"--config {files[1]}: is given beside --config {files[0]}, expected one file; put into one what you want "
            "of both, or give flags"
        )
    return from_toml(Path(files[0])) if files else Config(), rest


def cli(kind: type[T], argv: Sequence[str], default: T | None, module: str, description: str) -> T | int:
    """The parsed flags, or the exit code with which the parser ended."""
    try:
        return tyro.cli(
            kind,
            args=argv,
            default=tyro.MISSING_NONPROP if default is None else default,
            prog=door(module),
            description=description,
        )
    except SystemExit as end:
        return int(end.code or 0)
