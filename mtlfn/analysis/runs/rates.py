"""The learning rates that were tried on each side, what they scored on dev, and whether each side has its best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mtlfn.analysis.runs import cells
from mtlfn.run.documents import typed
from mtlfn.run.documents.result import Result
from mtlfn.run.many import trials


def table(study: cells.Study) -> list[dict[str, Any]]:
    """A row a trial, as in ``verdict.json``: side, task ("" for multi-task), learning rate, seed, dev score, whether it
    is the best of its side, and whether the side's runs have it."""
    sides: dict[tuple[str, str], dict[float, cells.Run]] = {}
    for run in study.trials:
        sides.setdefault(_side(run), {})[float(run.setting("learning_rate"))] = run
    out = []
    for (side, task), runs in sides.items():
        scores = {rate: trials.dev_score(typed.read(run.path, Result)) for rate, run in sorted(runs.items())}
        best, used = trials.best(scores), _used(study, side, task)
        out += [
            {"side": side, "task": task, "learning_rate": rate, "seed": runs[rate].seed, "dev": dev,
             "best": rate == best, "used": rate in used}
            for rate, dev in scores.items()
        ]  # fmt: skip
    return out


def _side(run: cells.Run) -> tuple[str, str]:
    if run.match is None:
        return cells.MULTI, ""
    control = cells.PLAIN if run.match.control == cells.UPDATES else run.match.control
    return cells.CONTROLS[control], run.match.task


def _used(study: cells.Study, side: str, task: str) -> set[float]:
    """The learning rates of a side's runs."""
    runs = list(study.multi.values())
    if side != cells.MULTI:
        runs = [run for (c, t, _), run in study.controls.items() if (cells.CONTROLS.get(c), t) == (side, task)]
    return {run.setting("learning_rate") for run in runs}


def words(rows: list[Mapping[str, Any]]) -> list[str]:
    """What is not as equal trials have it, a sentence each."""
    sides: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        sides.setdefault((row["side"], row["task"]), []).append(row)
    tried = {side: tuple(row["learning_rate"] for row in own) for side, own in sides.items()}
    out = []
    if len(set(tried.values())) > 1:
        out.append("not every side has the same trials of its learning rate")
    for (side, task), own in sides.items():
        if [row["used"] for row in own] != [row["best"] for row in own]:
            of = f"{side} of {task}" if task else side
            out.append(f"{of}: its runs do not have the learning rate with the best dev score of its trials")
    return out
