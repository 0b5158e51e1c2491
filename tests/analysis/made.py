"""Run directories of straw: what a verdict reads of a run, without a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mtlfn.data import units
from mtlfn.data.task import Task

TASKS = {
    "answers": Task(name="answers", kind="ranking", level=2),
    "mentions": Task(name="mentions", kind="tagging", level=1, labels=("X",)),
}
UNITS = 120
TOTAL, SHARE = 1000, 500


def scored(task: str, shift: float, seed: int, side: str) -> units.UnitStatistics:
    """Statistics with a score of about 0.5 + shift; the same units for every side."""
    base = np.random.default_rng(0).uniform(0.3, 0.7, size=UNITS)
    rng = np.random.default_rng([seed, sum(side.encode()), len(task)])
    if task == "answers":
        values = np.stack([np.clip(base + shift + 0.02 * rng.standard_normal(UNITS), 0, 1), np.ones(UNITS)], axis=1)
    else:
        hits = np.clip(np.round(100 * (base + shift) + rng.standard_normal(UNITS)), 0, 100)
        values = np.stack([hits, np.full(UNITS, 100.0), hits, np.full(UNITS, 100.0)], axis=1)
    return units.UnitStatistics(
        tuple(f"d{i}" for i in range(UNITS)), values, gold=tuple(f"{i:016x}" for i in range(UNITS))
    )


def write_run(folder: Path, experiment: str, seed: int, tokens: dict[str, int], match: dict[str, Any] | None) -> Path:
    """A finished run, without predictions."""
    (folder / "predictions").mkdir(parents=True)
    document: dict[str, Any] = {
        "experiment": experiment,
        "digest": digest(folder),
        "identity": "i",
        "seed": seed,
        "tokens": {"total": sum(tokens.values()), "per_task": tokens},
    }
    document["match"] = match
    (folder / "tokens.json").write_text(json.dumps(document["tokens"]))
    identity = {"seed": seed, "experiment": experiment}
    (folder / "config.json").write_text(json.dumps({"experiment": experiment, "identity": identity, "settings": {}}))
    (folder / "result.json").write_text(json.dumps(document))
    return folder


def digest(folder: Path) -> str:
    return f"digest of {folder.parent.name}/{folder.name}"


def write_units(folder: Path, task: str, shift: float, seed: int, side: str) -> None:
    path = folder / "predictions" / f"{task}.test.units.json"
    path.write_text(units.to_json(TASKS[task], scored(task, shift, seed, side)))


def write_multi(folder: Path, seed: int, shifts: dict[str, float], experiment: str = "s3b") -> Path:
    write_run(folder, experiment, seed, dict.fromkeys(shifts, SHARE), None)
    for task, shift in shifts.items():
        write_units(folder, task, shift, seed, "multi")
    return folder


def write_control(folder: Path, parent: Path, seed: int, control: str, task: str, shift: float) -> Path:
    tokens = TOTAL if control == "total" else SHARE
    named = {"identity": "i", "digest": digest(parent), "experiment": "s3b", "seed": seed, "path": str(parent)}
    match = {"parent": named, "control": control, "tasks": [task], "tokens": tokens, "frozen_slots": []}
    write_run(folder, "token_controlled", seed, {task: tokens}, match)
    write_units(folder, task, shift, seed, control)
    return folder


def write_study(folder: Path, seeds: int = 3, experiment: str = "s3b") -> Path:
    """ "answers": genuine transfer; "mentions": data exposure only."""
    for seed in range(seeds):
        parent = write_multi(folder / f"multi-{seed}", seed, {"answers": 0.1, "mentions": 0.1}, experiment)
        for task, total, plain in (("answers", 0.0, 0.0), ("mentions", 0.1, 0.0)):
            write_control(folder / f"total-{task}-{seed}", parent, seed, "total", task, total)
            write_control(folder / f"plain-{task}-{seed}", parent, seed, "per-task", task, plain)
    return folder


def edit(path: Path, **changes: Any) -> None:
    """Changes a JSON file; keys with dots lead into it."""
    document = json.loads(path.read_text())
    for key, value in changes.items():
        at = document
        *outer, last = key.split("__")
        for name in outer:
            at = at[name]
        at[last] = value
    path.write_text(json.dumps(document))
