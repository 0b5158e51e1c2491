"""The finished runs of a study as they described themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

from attrs import frozen

from mtlfn.analysis import cells
from mtlfn.run import documents, record

RESUMED = "resume    step "  # how train.log begins a line where a run went on


@frozen(eq=False)
class Record:
    """A finished run; what a file does not say, or a missing file, is an empty mapping or list.

    Attributes:
        name: its folder, as seen from the folder of the study.
        result, config, environment, data, smoke: result.json, config.json, env.json, data.json, smoke.json.
        steps, evaluations: lines of metrics.jsonl.
        resumes: how often it went on from a checkpoint; None where train.log is missing.
        replay: replay.json, where the run was replayed.
    """

    name: str
    path: Path
    result: Mapping[str, Any]
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    data: Mapping[str, Any]
    smoke: Mapping[str, Any]
    steps: tuple[Mapping[str, Any], ...]
    evaluations: tuple[Mapping[str, Any], ...]
    resumes: int | None
    replay: Mapping[str, Any]

    @property
    def seed(self) -> int:
        return self.result["seed"]

    @property
    def tokens(self) -> Mapping[str, Any]:
        """Counts of tokens: "total", and task -> count under "per_task", "loss", "padded"."""
        return self.result["tokens"]

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(self.tokens["per_task"])


@frozen(eq=False)
class Runs:
    """The runs of one study.

    Attributes:
        multi: seed -> multi-task run.
        controls: (control, task, seed) -> S1 run; controls as in ``cells.CONTROLS``.
        kept, excluded: seed -> the halves of the exclusion control.
        pairs: (two tasks, seed) -> the strategy on these two alone.
        shuffled: (task, seed) -> the multi-task run with the labels of all other tasks shuffled.
        trials: the runs by which learning rates were chosen.
    """

    multi: Mapping[int, Record]
    controls: Mapping[tuple[str, str, int], Record]
    kept: Mapping[int, Record]
    excluded: Mapping[int, Record]
    pairs: Mapping[tuple[tuple[str, str], int], Record]
    shuffled: Mapping[tuple[str, int], Record]
    trials: tuple[Record, ...]

    @property
    def groups(self) -> dict[str, tuple[Record, ...]]:
        """What kind of run -> the runs."""
        of = {
            name: tuple(r for (c, *_), r in self.controls.items() if c == control)
            for control, name in cells.CONTROLS.items()
        }
        return {
            cells.MULTI: tuple(self.multi.values()),
            **of,
            "exclusion, first half": tuple(self.kept.values()),
            "exclusion, second half": tuple(self.excluded.values()),
            "pairs of tasks": tuple(self.pairs.values()),
            **({"other tasks' labels shuffled": tuple(self.shuffled.values())} if self.shuffled else {}),
            **({"trials of learning rates": self.trials} if self.trials else {}),
        }

    @property
    def all(self) -> tuple[Record, ...]:
        return tuple(run for group in self.groups.values() for run in group)


def read(folder: Path, root: Path) -> Record:
    """The run of a folder whose result.json ``cells.read_run`` accepts."""
    lines = list(record.lines(folder / documents.METRICS))
    log = folder / "train.log"
    return Record(
        name=_name(folder, root),
        path=folder,
        result=documents.read(folder / documents.RESULT),
        config=_document(folder / "config.json"),
        environment=_document(folder / "env.json"),
        data=_document(folder / "data.json"),
        smoke=_document(folder / "smoke.json"),
        steps=tuple(line for line in lines if "event" not in line),
        evaluations=tuple(line for line in lines if line.get("event") in ("quick", "full")),
        resumes=log.read_text(errors="replace").count(RESUMED) if log.is_file() else None,
        replay=_document(folder / "replay.json"),
    )


def of_study(study: cells.Study, root: Path) -> Runs:
    """The records of a study's runs."""
    excluded = {seed: run for (control, _, seed), run in study.controls.items() if control == cells.EXCLUSION}
    return Runs(
        multi={seed: read(run.path, root) for seed, run in study.multi.items()},
        controls={key: read(run.path, root) for key, run in study.controls.items() if key[0] in cells.CONTROLS},
        kept={seed: read(run.path, root) for seed, run in study.kept.items()},
        excluded={seed: read(run.path, root) for seed, run in excluded.items()},
        pairs={((a, b), seed): read(run.path, root) for ((a, b), seed), run in study.pairs.items()},
        shuffled={(t, s): read(run.path, root) for (c, t, s), run in study.controls.items() if c == cells.SHUFFLED},
        trials=tuple(read(run.path, root) for run in study.trials),
    )


def get(document: Any, *names: str) -> Any:
    """What lies under the names, or None."""
    return reduce(lambda found, name: found.get(name) if isinstance(found, Mapping) else None, names, document)


def values(runs: Iterable[Record], *names: str) -> list[Any]:
    """The different things that the configurations' identities hold under the names, in order of appearance."""
    out: list[Any] = []
    for run in runs:
        found = get(run.config, "identity", *names)
        if found is not None and found not in out:
            out.append(found)
    return out


def test_score(run: Record, task: str) -> float | None:
    """The primary metric on the test split."""
    return get(run.result, "scores", task, "test")


def _name(folder: Path, root: Path) -> str:
    name = folder.resolve().relative_to(root.resolve()).as_posix()
    return folder.resolve().name if name == "." else name


def _document(path: Path) -> Mapping[str, Any]:
    try:
        return documents.read(path)
    except (OSError, ValueError):
        return {}
