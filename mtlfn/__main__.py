"""``mtlfn NAME [options]``, or ``python -m mtlfn NAME``: the one command that opens every other one.

Each name stands for a module, which is loaded and run only when it is asked for.
"""

from __future__ import annotations

import difflib
import os
import runpy
import sys
from collections.abc import Sequence

COMMANDS = {
    "s1": ("mtlfn.experiments.s1", "trains one private adapter for one task, the single-task baseline"),
    "s2": ("mtlfn.experiments.s2", "trains one shared adapter for all tasks, plain gradient sum"),
    "s3a": ("mtlfn.experiments.s3a", "trains a shared adapter and a private one a task, PCGrad"),
    "s3b": ("mtlfn.experiments.s3b", "trains hierarchical adapters with cross-level attention, PCGrad"),
    "token-controlled": (
        "mtlfn.experiments.token_controlled",
        "single-task baselines on exactly as many tokens as a run",
    ),
    "mimic-exclusion": ("mtlfn.experiments.mimic_exclusion", "a shared adapter that never saw the excluded tasks"),
    "study": ("mtlfn.experiments.study", "the whole comparison from one file, with its verdict and report"),
    "verdict": ("mtlfn.verdict", "transfer, or more text? Judges finished runs"),
    "report": ("mtlfn.report", "the report on a study, as a page"),
    "replay": ("mtlfn.replay", "takes the steps of a run again and compares"),
    "doctor": ("mtlfn.doctor", "looks at the machine before a long run"),
    "data": ("mtlfn.data", "what data sets hold, before anything is trained on them"),
    "predict": ("mtlfn.predict", "predictions of a trained model for the rows of a file"),
    "track": ("mtlfn.track", "hands what runs log to a tracker, while they run or after"),
    "push": ("mtlfn.push", "puts a trained model on a model hub"),
    "completion": ("mtlfn.completion", "prints the shell's completion of these commands"),
}
USAGE = 2
INTERRUPTED = 130  # as shells say it


def main() -> int:
    """Runs the command that is named first; returns the exit code of its own words, where it names none."""
    argv = sys.argv[1:]
    if not argv or argv[0] in ("-h", "--help"):
        print(overview())
        return 0
    if argv[0] in ("-V", "--version"):
        from mtlfn import __version__

        print(f"mtlfn {__version__}")
        return 0
    name = argv[0].replace("_", "-")
    if name not in (known := names()):
        print(f"mtlfn: {argv[0]}: {unknown(name, known)}", file=sys.stderr)
        return USAGE
    # What the module reads as its own command line; `mtlfn.run.commands.command.door` gives it back in messages.
    given = "python -m mtlfn" if os.path.basename(sys.argv[0]) == "__main__.py" else "mtlfn"
    sys.argv = [f"{given} {name}", *argv[1:]]
    try:
        runpy.run_module(COMMANDS[name][0], run_name="__main__")
    except KeyboardInterrupt:  # while modules load: what is stopped later, a command ends itself
        print(f"mtlfn {name}: stopped before it began", file=sys.stderr)
        return INTERRUPTED
    return 0


def names() -> list[str]:
    """The commands, in the order in which they are shown."""
    return list(COMMANDS)


def overview() -> str:
    """What ``mtlfn --help`` prints."""
    lines = [f"  {name:<18}{COMMANDS[name][1]}" for name in names()]
    return "\n".join(
        (
            "usage: mtlfn COMMAND [options]",
            "",
            "Token-controlled multi-task fine-tuning: knowledge transfer between tasks, or only more text?",
            "",
            *lines,
            "",
            "mtlfn COMMAND --help lists the options of one. --config FILE.toml, or --config preset:NAME for one that",
            "comes with mtlfn, gives defaults to the commands that train. To begin with: mtlfn s3b",
        )
    )


def unknown(name: str, known: Sequence[str]) -> str:
    """What is said of a name that is no command."""
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]}? There are " if close else "expected one of "
    return f"is no command; {hint}{', '.join(known)}"


if __name__ == "__main__":
    try:
        code = main()
    except BrokenPipeError:  # a reader of the overview that leaves
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
