"""A run directory as its documents: each is read when it is asked for, and once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from attrs import field, frozen

from mtlfn.run import documents
from mtlfn.run.documents import resumes, typed
from mtlfn.run.documents.configuration import Configuration
from mtlfn.run.documents.data import Data
from mtlfn.run.documents.environment import Environment
from mtlfn.run.documents.replay import Replay
from mtlfn.run.documents.result import Conflict, Result, Tokens
from mtlfn.run.documents.smoke import Smoke
from mtlfn.run.storage import record


@frozen
class Step:
    """What ``metrics.jsonl`` says of a step: input tokens so far, sigma of each task, and how gradients met so far."""

    step: int
    tokens: int
    sigma: Mapping[str, float] = field(factory=dict)
    conflicts: Mapping[str, Any] = field(factory=dict)

    @property
    def meetings(self) -> Mapping[str, Conflict]:
        """ "i > j" -> how i's gradient met j's, up to this step."""
        return typed.structure(self.conflicts, dict[str, Conflict])


@frozen
class Scored:
    """An evaluation on dev in ``metrics.jsonl``: after which step, and task -> metric -> value."""

    step: int
    scores: Mapping[str, Mapping[str, float]] = field(factory=dict)


@frozen(eq=False)
class RunRecord:
    """All documents of a finished run. Beside its result, one that is missing or cannot be read is None.

    Attributes:
        path: the run directory. ``name``: how it is called in what is told of it.
    """

    path: Path
    name: str

    @cached_property
    def result(self) -> Result:
        """OSError or Altered where it cannot be read."""
        return typed.read(self.path, Result)

    @cached_property
    def configuration(self) -> Configuration | None:
        return typed.attempt(self.path, Configuration)

    @cached_property
    def environment(self) -> Environment | None:
        return typed.attempt(self.path, Environment)

    @cached_property
    def data(self) -> Data | None:
        return typed.attempt(self.path, Data)

    @cached_property
    def smoke(self) -> Smoke | None:
        return typed.attempt(self.path, Smoke)

    @cached_property
    def replay(self) -> Replay | None:
        return typed.attempt(self.path, Replay)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        return tuple(typed.structure(line, Step) for line in self._lines if "event" not in line)

    @cached_property
    def evaluations(self) -> tuple[Scored, ...]:
        lines = (line for line in self._lines if line.get("event") in ("quick", "full"))
        return tuple(typed.structure(line, Scored) for line in lines)

    @cached_property
    def resumes(self) -> tuple[int, ...] | None:
        """The steps that it went on from, each time it did."""
        return resumes.steps(self.path)

    @property
    def seed(self) -> int:
        return self.result.seed

    @property
    def tokens(self) -> Tokens:
        return self.result.tokens

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that it trained."""
        return tuple(self.tokens.per_task)

    @cached_property
    def _lines(self) -> tuple[record.Line, ...]:
        return tuple(record.lines(self.path / documents.METRICS))
