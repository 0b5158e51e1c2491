"""A finished run, what it says it is matched with, and whether it has in common with that run what it must."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from mtlfn.run.documents.result import Tokens
from mtlfn.run.errors import UsageError

CONTROLS = {"total": "token-controlled S1", "per-task": "plain S1"}
UPDATES = "updates"  # plain S1 with as many optimiser updates, in the place of the one with as many tokens
TOTAL, PLAIN = "total", "per-task"
SHUFFLED = "shuffled"  # the multi-task run with the labels of all tasks but one shuffled


@frozen(kw_only=True)
class Match:
    """What a run was matched with: digest and path of that run, its role to it, its tasks, its tokens.

    ``shuffled``: those of its tasks whose training labels were shuffled.
    """

    parent: str
    parent_path: str
    control: str
    tasks: tuple[str, ...]
    tokens: int
    shuffled: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        """The task of a control: the one whose labels are its own."""
        return next(task for task in self.tasks if task not in self.shuffled)


@frozen(kw_only=True)
class Run:
    """A finished run. ``settings``: its identity without the seed, as JSON text; "" where config.json is missing.

    ``scores``: task -> its primary metric on the test split, ``learning``: task -> the one on dev and that of the best
    simple baseline there, as far as the result says. ``schedule``: length of the learning-rate schedule in tokens; None
    in older versions. ``sealed``: whether the run is proven to be as it was when it finished; runs of older versions
    are not. ``smoke_test``: "passed", "skipped", or "unknown" where no file tells. ``environment_breaks``: changes of
    the environment that were accepted.
    """

    path: Path
    experiment: str
    seed: int
    digest: str
    tokens: Tokens
    steps: int
    schedule: int | None
    match: Match | None
    settings: str
    scores: Mapping[str, float]
    learning: Mapping[str, tuple[float, float]]
    sealed: bool
    smoke_test: str
    environment_breaks: tuple[str, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that it trained."""
        return tuple(self.tokens.per_task)

    @property
    def trial(self) -> bool:
        """Whether it was there to choose a learning rate by."""
        return bool(self.setting("trial"))

    @property
    def untuned(self) -> str:
        """Its settings without what trials differ in from each other, and from the run that they are for."""
        known = json.loads(self.settings or "{}").items()
        return json.dumps({name: value for name, value in known if name not in ("learning_rate", "trial")})

    def setting(self, name: str) -> Any:
        """One of its settings; None where config.json is missing or does not name it."""
        return json.loads(self.settings or "{}").get(name)


def check(run: Run) -> None:
    """UsageError where a run is not what its match says."""
    match = run.match
    if match is None:
        return
    if match.control == SHUFFLED and len(match.shuffled) != len(match.tasks) - 1:
        raise UsageError(
            f"RUN {run.path}: the labels of {', '.join(match.shuffled) or 'no task'} were shuffled, expected all of "
            f"its tasks but one ({', '.join(match.tasks)})"
        )
    if match.control in (*CONTROLS, UPDATES) and (len(match.tasks) != 1 or run.tasks != match.tasks):
        raise UsageError(
            f"RUN {run.path}: its match says control {match.control!r} of {', '.join(match.tasks)}, and it trained "
            f"{', '.join(run.tasks)}; expected a control of one task that trained that task alone"
        )
    if run.tokens.total != match.tokens:
        raise UsageError(
            f"RUN {run.path}: trained on {run.tokens.total:,} tokens, its match says {match.tokens:,}: not a control"
        )


def check_parity(run: Run, parent: Run) -> None:
    """UsageError where a run has not as much as the multi-task run of what is held equal, tokens or updates, or is
    scored by another rule."""
    match = run.match
    assert match is not None
    shares = [parent.tokens.per_task.get(task) for task in match.tasks]  # of all but the token control
    needed, there, of = None if None in shares else sum(n or 0 for n in shares), match.tokens, "tokens"
    if match.control == TOTAL:
        needed = parent.tokens.total
    elif match.control == UPDATES:
        needed, there, of = parent.steps, run.steps, "updates"
    if needed != there:
        raise UsageError(
            f"RUN {run.path}: trained on {there:,} {of}, the {match.control} control of RUN {parent.path} for task "
            f"{', '.join(match.tasks)} needs {needed}"
        )
    if match.control not in (TOTAL, PLAIN, UPDATES):
        for task, there in run.tokens.per_task.items():
            if there != (needed := parent.tokens.per_task[task]):
                raise UsageError(
                    f"RUN {run.path}: trained on {there:,} tokens of {task}, RUN {parent.path}, which it is compared "
                    f"with, on {needed:,}; older versions held only their sum equal: train it again, or leave it out"
                )
    rules = [each.setting("select") or "last" for each in (run, parent)]
    if run.settings and parent.settings and rules[0] != rules[1]:
        raise UsageError(
            f"RUN {run.path}: is scored by its {rules[0]} state, RUN {parent.path}, which it is compared with, by its "
            f"{rules[1]} one; train both with the same --select"
        )
