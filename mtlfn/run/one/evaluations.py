"""Full evaluations, task by task: what was predicted stays in the run directory until the run's result is there.

So a run that is killed or has to leave while it evaluates repeats one task at most, and the time limit is asked
between tasks. What stays is named by the digest of the parameters: predictions are a function of them. Several
processes take tasks side by side, in rounds that last as long as the round's largest task.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from mtlfn.core.ranks import shares
from mtlfn.core.state import State, digest
from mtlfn.run import documents
from mtlfn.run.disk import TEMPORARY, make_folder
from mtlfn.run.documents import Altered
from mtlfn.run.machine.deadline import Deadline
from mtlfn.run.machine.processes import Processes
from mtlfn.run.one.evaluate import Jobs, Through, straight

FOLDER = "evaluation"
Progress = Callable[[str, str, int], Callable[[int], None]]
Tasks = tuple[str, ...]


class Leaving(Exception):
    """No time is left for another task; what was evaluated stays."""


@frozen(eq=False)
class Evaluations:
    """Where a run leaves them, what says how far they are, and the limit that is asked between them.

    Attributes:
        folder: the run directory.
        limit: asked before each task, and fed with what each took.
        progress: (split, task, number of examples) -> what is told how many are done.
        stop: why to leave before another task, if there is a reason; the same in every process.
        processes: those that share the tasks out; the first reads and writes.
    """

    folder: Path
    limit: Deadline
    progress: Progress
    stop: Callable[[], str | None]
    processes: Processes

    def through(self, state: State, split: str) -> Through:
        """What a full evaluation of a state on a split goes through."""
        params = digest(state.params)

        def predictions(jobs: Jobs) -> dict[str, list]:
            there: dict[str, list] = self.processes.share_json(self._there(jobs, split, params))
            slots = {task: job.slots for task, job in jobs.items() if task not in there}
            for turn in rounds(slots, self.processes.size):
                if why := self.stop():
                    raise Leaving(why)
                own = {}
                for task in turn[self.processes.rank]:
                    with self.limit.timing("evaluation"):
                        own[task] = jobs[task].make(self.progress(split, task, jobs[task].examples))
                new = _merged(self.processes.gather_json(own))
                if self.processes.first:
                    self._write(new, split, params)
                there |= new
            return {task: there[task] for task in jobs}

        return predictions

    def forget(self) -> None:
        """Takes them away: the result is there."""
        gone = self.folder / f"{FOLDER}{TEMPORARY}gone"
        with suppress(FileNotFoundError):
            (self.folder / FOLDER).rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def _path(self, split: str, task: str) -> Path:
        return self.folder / FOLDER / f"{split}-{task}.json"

    def _there(self, jobs: Jobs, split: str, params: str) -> dict[str, list]:
        """What an earlier attempt has left of these predictions; nothing in the processes that do not read."""
        predictions = {}
        for task in jobs if self.processes.first else ():
            with suppress(OSError, Altered, KeyError):
                document = documents.read(self._path(split, task))
                if document["params"] == params:
                    predictions[task] = document["predictions"]
        return predictions

    def _write(self, predictions: Mapping[str, list], split: str, params: str) -> None:
        for task, of_task in predictions.items():
            path = self._path(split, task)
            make_folder(path.parent)
            documents.write(path, {"params": params, "predictions": of_task})


def rounds(slots: Mapping[str, int], size: int) -> list[tuple[Tasks, ...]]:
    """Rounds of tasks for each of ``size`` processes. In a round nobody has more to do than its largest task.

    One process takes a task a round, in the order given. A pure function.
    """
    if size == 1:
        return [((task,),) for task in slots]
    left = sorted(slots, key=lambda task: -slots[task])
    out = []
    while left:
        loads, turn, later = [0] * size, [[] for _ in range(size)], []
        for task in left:
            rank = loads.index(min(loads))
            if loads[rank] + slots[task] > slots[left[0]]:
                later.append(task)
                continue
            loads[rank] += slots[task]
            turn[rank].append(task)
        out.append(tuple(map(tuple, turn)))
        left = later
    return out


def side_by_side(processes: Processes) -> Through:
    """What a quick evaluation goes through: the tasks shared out among the processes, nothing left on the disk."""
    if processes.size == 1:
        return straight

    def predictions(jobs: Jobs) -> dict[str, list]:
        own = shares({task: job.slots for task, job in jobs.items()}, processes.size)[processes.rank]
        gathered = _merged(processes.gather_json(straight({task: jobs[task] for task in own})))
        return {task: gathered[task] for task in jobs}

    return predictions


def _merged(parts: list[dict[str, list]]) -> dict[str, list]:
    return {task: predictions for part in parts for task, predictions in part.items()}
