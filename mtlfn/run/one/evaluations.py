"""Full evaluations, task by task: what was predicted is kept until the run's result is there.

So a run that is killed or has to leave while it evaluates repeats one task at most, and the time limit is asked
between tasks. What is kept is named by the digest of the parameters: predictions are a function of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import frozen

from mtlfn.core.state import State, digest
from mtlfn.run import documents
from mtlfn.run.disk import TEMPORARY, make_folder
from mtlfn.run.documents import Altered
from mtlfn.run.machine.deadline import Deadline
from mtlfn.run.one.evaluate import Make, Through

FOLDER = "evaluation"
Progress = Callable[[str, str, int], Callable[[int], None]]


class Leaving(Exception):
    """No time is left for another task; what was evaluated is kept."""


@frozen(eq=False)
class Evaluations:
    """Where a run keeps them, what says how far they are, and the limit that is asked between them.

    Attributes:
        folder: the run directory.
        limit: asked before each task, and fed with what each took.
        progress: (split, task, number of examples) -> what is told how many are done.
        stop: why to leave before another task, if there is a reason.
    """

    folder: Path
    limit: Deadline
    progress: Progress
    stop: Callable[[], str | None]

    def through(self, state: State, split: str) -> Through:
        """What a full evaluation of a state on a split goes through."""
        params = digest(state.params)

        def kept(task: str, count: int, make: Make) -> list[Any]:
            path = self.folder / FOLDER / f"{split}-{task}.json"
            with suppress(OSError, Altered, KeyError):
                found = documents.read(path)
                if found["params"] == params:
                    return found["predictions"]
            if why := self.stop():
                raise Leaving(why)
            with self.limit.timing("evaluation"):
                predictions = make(self.progress(split, task, count))
            make_folder(path.parent)
            documents.write(path, {"params": params, "predictions": predictions})
            return documents.read(path)["predictions"]

        return kept

    def forget(self) -> None:
        """Takes them away: the result is there."""
        gone = self.folder / f"{FOLDER}{TEMPORARY}gone"
        with suppress(FileNotFoundError):
            (self.folder / FOLDER).rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
