"""The finished runs of a study as they described themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from mtlfn.analysis.runs import cells
from mtlfn.run.storage.run_record import RunRecord


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

    multi: Mapping[int, RunRecord]
    controls: Mapping[tuple[str, str, int], RunRecord]
    kept: Mapping[int, RunRecord]
    excluded: Mapping[int, RunRecord]
    pairs: Mapping[tuple[tuple[str, str], int], RunRecord]
    shuffled: Mapping[tuple[str, int], RunRecord]
    trials: tuple[RunRecord, ...]

    @property
    def groups(self) -> dict[str, tuple[RunRecord, ...]]:
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
    def all(self) -> tuple[RunRecord, ...]:
        return tuple(run for group in self.groups.values() for run in group)


def read(folder: Path, root: Path) -> RunRecord:
    """The run of a folder whose ``result.json`` ``cells.read_run`` accepts, named as seen from the study's folder."""
    name = folder.resolve().relative_to(root.resolve()).as_posix()
    return RunRecord(folder, folder.resolve().name if name == "." else name)


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


def values(runs: Iterable[RunRecord], name: str) -> list[Any]:
    """The different things that the configurations' identities hold under a name, in order of appearance."""
    out: list[Any] = []
    for run in runs:
        value = run.configuration and run.configuration.identity.get(name)
        if value is not None and value not in out:
            out.append(value)
    return out


def test_score(run: RunRecord, task: str) -> float | None:
    """The primary metric on the test split."""
    return run.result.scores[task].test if task in run.result.scores else None
