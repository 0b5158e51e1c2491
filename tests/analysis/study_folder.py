"""A study's folder of straw: every file that a report reads, written by hand, for three tasks and two seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtlfn.data import units
from mtlfn.data.task import Task

HOSTILE = "$\\x_{2}$<img src=x onerror=alert(1)>&\"'|*#%~^\\"
TASKS = ("mentions", "answers", HOSTILE)
LABELS = {"mentions": ("Drug", "Effect"), "answers": ("Drug", "Other"), HOSTILE: ("yes",)}
SHARE, UNITS, STEPS = 100, 40, 20
TOTAL = SHARE * len(TASKS)
SEEDS = (0, 1)


def write(root: Path, *, weighting: str = "uncertainty", pairs: bool = True, exclusion: bool = True) -> Path:
    """The study: multi-task runs, both controls, and, if asked for, pairs and the exclusion control."""
    for seed in SEEDS:
        at, multi = root / f"seed-{seed}", f"multi{seed}"
        run(at / "multi", multi, seed, TASKS, SHARE, 0.6, weighting=weighting)
        for i, task in enumerate(TASKS):
            run(
                at / "total" / f"t{i}",
                f"total{seed}{i}",
                seed,
                [task],
                TOTAL,
                0.5,
                match=(multi, "total"),
                weighting=weighting,
            )
            run(
                at / "per-task" / f"t{i}",
                f"plain{seed}{i}",
                seed,
                [task],
                SHARE,
                0.4,
                match=(multi, "per-task"),
                weighting=weighting,
            )
        if pairs:
            for i, two in enumerate(((0, 1), (0, 2), (1, 2))):
                names = [TASKS[k] for k in two]
                score = 0.4 + 0.1 * (i - 1)  # transfer: -0.1 in the first pair, 0 in the second, +0.1 in the third
                run(
                    at / "pairs" / f"p{i}",
                    f"pair{seed}{i}",
                    seed,
                    names,
                    SHARE,
                    score,
                    match=(multi, "pair"),
                    weighting=weighting,
                )
        if exclusion:
            kept, rest = f"kept{seed}", at / "exclusion" / "excluded"
            run(
                at / "exclusion" / "kept", kept, seed, TASKS[:1], SHARE, 0.5, match=(multi, "kept"), weighting=weighting
            )
            run(rest, f"excluded{seed}", seed, TASKS[1:], SHARE, 0.5, match=(kept, "exclusion"), weighting=weighting)
    return root


def run(
    folder: Path,
    digest: str,
    seed: int,
    tasks: Sequence[str],
    tokens: int,
    score: float,
    *,
    match: tuple[str, str] | None = None,
    weighting: str = "equal",
) -> None:
    """One run with ``tokens`` of each task. ``match``: digest of the parent, control."""
    total = tokens * len(tasks)
    each = dict.fromkeys(tasks, tokens)
    pairs = [(i, j) for i in tasks for j in tasks if i != j]
    experiment = "s3b" if len(tasks) > 1 else "s1"
    data = {task: {"train": f"sha of {task}"} for task in tasks}
    save(
        folder / "result.json",
        {
            "experiment": experiment,
            "digest": digest,
            "seed": seed,
            "steps": STEPS,
            "match": match
            and {
                "parent": {"digest": match[0], "seed": seed, "path": str(folder.parent / "multi")},
                "control": match[1],
                "tasks": list(tasks),
                "tokens": total,
            },
            "slots": {"shared": "the same shared slot"},
            "tokens": {
                "total": total,
                "per_task": each,
                "loss": {task: tokens // 2 + seed for task in tasks},
                "padded": {task: tokens + 7 for task in tasks},
            },
            "scores": {task: {"metric": "micro_f1", "test": value(task, score, seed), "dev": score} for task in tasks},
            "parameters": {"active_adapter": dict.fromkeys(tasks, 1000)},
            "conflicts": conflicts(pairs, STEPS),
            "nonfinite_steps": 0,
            "environment_breaks": [],
            "training_seconds": 6.0,
        },
    )
    identity = {"seed": seed, "weighting": weighting, "data": data}
    save(
        folder / "config.json",
        {
            "experiment": experiment,
            "identity": identity | {"backbone_digest": "sha of tiny"},
            "hash": "c0",
            "settings": {"backbone": "/somewhere/on/a/disk/tiny"},
        },
    )
    save(
        folder / "env.json",
        {
            "must_match": {
                "packages": {"torch": "2.13.0"},
                "threads": 1,
                "canary": digest,
                "hashes": {"config": digest, "data": data, "backbone": "sha of tiny"},
            },
            "informational": {"python": "3.11.7", "system": "Linux", "processor": "A processor", "commit": "abc"},
        },
    )
    save(folder / "data.json", {t: {"source": "made up", "train": {"examples": 9, "tokens": tokens}} for t in tasks})
    lines: list[dict[str, Any]] = []
    for step in range(1, STEPS + 1):
        sigma = {task: 1 + 0.01 * step for task in tasks} if weighting == "uncertainty" else {}
        at = total * step // STEPS
        lines.append({"step": step, "tokens": at, "sigma": sigma, "conflicts": conflicts(pairs, step)})
        if step % 5 == 0:
            scores = {task: {"micro_f1": score * step / STEPS} for task in tasks}
            lines.append({"step": step, "event": "full" if step == STEPS else "quick", "scores": scores})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for task in tasks:
        path = folder / "predictions" / f"{task}.test.units.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(scored(task, score, seed))


def conflicts(pairs: Sequence[tuple[str, str]], steps: int) -> dict[str, dict[str, float]]:
    """Every step a meeting; a conflict in every step of the first half, with a cosine of -0.5, then +0.25."""
    early = min(steps, STEPS // 2)
    cosine = (-0.5 * early + 0.25 * (steps - early)) / steps
    row = {"met": steps, "negative": early, "frequency": early / steps, "cosine": cosine}
    return {f"{i} > {j}": row for i, j in pairs}


def value(task: str, score: float, seed: int) -> float:
    """The score of these statistics."""
    kind, found = units.from_json(scored(task, score, seed), "here")
    return float(units.value(kind, found.values.sum(0)))


def scored(task: str, score: float, seed: int) -> str:
    """Unit statistics of a multi-label task of the given score; each seed is right in other units."""
    right = np.arange(UNITS) % 10 < round(10 * score)
    right[[seed, -1 - seed]] = right[[-1 - seed, seed]]
    values = np.stack([right, np.ones(UNITS), right, np.ones(UNITS)], axis=1).astype(float)
    named = tuple(f"unit {i}" for i in range(UNITS))
    kind = Task(name=task, kind="multilabel", level=2, labels=LABELS[task])
    return units.to_json(kind, units.UnitStatistics(named, values, gold=named))


def save(path: Path, document: Any) -> None:
    """A JSON file, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def edit(path: Path, **changes: Any) -> None:
    """Some values of a JSON file, replaced."""
    save(path, {**json.loads(path.read_text()), **changes})
