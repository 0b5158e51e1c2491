"""Studies of a tiny model in tests: their file, and what a command of theirs says."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from mtlfn.analysis.command import study as command

TASKS = ("bc5cdr_disease", "ddi")
RUN = {
    "tasks": list(TASKS),
    "budget_tokens": 400,
    "micro_batch_tokens": 64,
    "max_length": 64,
    "quick_eval_examples": 0,
    "threads": 1,
    "skip_smoke_test": True,
}


def write(folder: Path, run: Mapping[str, object], **settings: object) -> Path:
    """The file of a study of two seeds in a folder; ``run``: what its runs have beside ``RUN``."""

    def lines(table: Mapping[str, object]) -> str:
        return "".join(f"{name} = {json.dumps(value)}\n" for name, value in table.items())

    path = folder / "study.toml"
    settings = {"strategy": "s2", "seeds": 2, "margin": 0.02, "draws": 4000, **settings}
    path.write_text(f"{lines(settings)}\n[run]\n{lines({**RUN, **run})}")
    return path


def ended(capsys, *argv: object, run: Callable = command) -> tuple[int, str]:
    """The exit code of a command, by default that of a study, and all that was said, on one line."""
    capsys.readouterr()
    words = list(map(str, argv))
    code = run("A test.", words) if run is command else run(words)
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, " ".join((said.out + said.err).split())
