"""The commands and their options as a script for bash, zsh or fish.

The parser writes the script; here stands which options each command has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Union

import tyro
from attrs import frozen

from mtlfn.analysis.command import Report, Study, Verdict
from mtlfn.run.commands import options
from mtlfn.run.commands.command import Check, Init, Predict, Push, Replay, Track, answer
from mtlfn.run.commands.plan_command import MimicExclusion, TokenControlled
from mtlfn.run.errors import OK


@frozen
class Completion:
    """For which shell."""

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]
    """Whose script goes to standard output."""


KINDS: dict[str, Any] = {
    "mimic-exclusion": options.flags(MimicExclusion),
    "token-controlled": TokenControlled,
    "study": Study,
    "verdict": Verdict,
    "report": Report,
    "replay": Replay,
    "data": Annotated[Check, tyro.conf.subcommand("check", prefix_name=False)]
    | Annotated[Init, tyro.conf.subcommand("init", prefix_name=False)],
    "predict": Predict,
    "track": Track,
    "push": Push,
    "completion": Completion,
    **dict.fromkeys(("s1", "s2", "s3a", "s3b", "doctor"), options.flags(None)),
}


def completion(commands: Mapping[str, str], argv: Sequence[str] | None = None) -> int:
    """Prints the script for the commands, each with what it does; returns the exit code."""

    def write(asked: Completion) -> int:
        print(script(asked.shell, commands))
        return OK

    about = "Prints the shell's completion of the command mtlfn: mtlfn completion bash > FILE, and source FILE."
    return answer(Completion, "mtlfn.completion", about, argv, write)


def script(shell: str, commands: Mapping[str, str]) -> str:
    """The completion of ``mtlfn`` for a shell."""
    from contextlib import redirect_stdout
    from io import StringIO

    parts = [
        Annotated[KINDS[name], tyro.conf.subcommand(name, description=about, prefix_name=False)]
        for name, about in commands.items()
    ]
    text = StringIO()
    with redirect_stdout(text):
        cli_of: Any = Union[tuple(parts)]  # noqa: UP007 - there is no other spelling for types in a list
        try:
            tyro.cli(cli_of, prog="mtlfn", args=["--tyro-write-completion", shell, "-"])
        except SystemExit as end:
            if end.code:
                raise
    return text.getvalue()
