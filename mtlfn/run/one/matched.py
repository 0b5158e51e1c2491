"""Runs that are matched with a finished one: exactly as many tokens, the same settings, and one thing different.

Token-controlled S1 sees as many tokens of its one task as the parent saw of all tasks, in as many steps of as many
micro-batches; plain S1 sees as many as the parent gave this task, a micro-batch a step. Both follow the parent's
schedule: the horizon of plain S1 is shortened as its budget is. Plain S1 by updates takes as many steps as the parent,
each with as many micro-batches of its task as the parent's steps had, on average, where they drew it: with uniform
sampling that is plain S1 but for the cut at the end, and with random sampling it mostly sees more text than that.
Controls of a hierarchical strategy have its layers too: level-1 heads read the same layer and level-2 heads look back
at it, so that a task meets as many adapter parameters on both sides. In the exclusion control some tasks are kept in
the shared slot and the others are tuned beside it, each task with the tokens that it had in the full run, as in a run
on a pair of them: with random sampling its micro-batches are those of the full run, in the same order. With
shuffled labels the whole run is trained again, and of all tasks but one only the texts are what they were.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
from attrs import frozen
from torch import Tensor

from mtlfn.core import keys, state
from mtlfn.core.state import Tree
from mtlfn.data.tokens import sampler
from mtlfn.run import documents
from mtlfn.run.config import Config, Parent, Role, listed
from mtlfn.run.documents import Altered, typed
from mtlfn.run.documents.configuration import Configuration
from mtlfn.run.documents.data import Data
from mtlfn.run.documents.environment import Environment
from mtlfn.run.documents.result import Result
from mtlfn.run.errors import UsageError
from mtlfn.run.storage import checkpoint, seal

Control = Literal["total", "per-task", "updates"]
FACTS = {
    "backbone_digest": "another backbone",
    "tokenizer_digest": "another tokenizer",
    "max_length": "another maximal length",
}


@frozen
class Finished:
    """A finished run: where it lies, its ``config.json`` and its ``result.json``, and the length of its schedule."""

    path: Path
    config: Configuration
    result: Result
    schedule: int

    @property
    def tokens(self) -> Mapping[str, int]:
        """Task -> input tokens that the run trained on."""
        return self.result.tokens.per_task

    def parent(self, role: Role) -> Parent:
        """What a run that is matched with this one says of it."""
        return Parent(
            role=role,
            path=str(self.path.resolve()),
            experiment=self.result.experiment,
            seed=self.result.seed,
            identity=self.result.identity,
            digest=self.result.digest,
        )


def finished(run: Path, flag: str = "--match") -> Finished:
    """The finished run in a directory; UsageError where there is none."""
    if not (run / documents.CONFIG).is_file():
        raise UsageError(
            f"{flag} {run}: is no run of mtlfn (it has no {documents.CONFIG}); name the folder of a finished run"
        )
    if not (run / documents.RESULT).is_file():
        raise UsageError(
            f"{flag} {run}: the run is not finished (it has no {documents.RESULT}); give its command again first"
        )
    if problems := seal.verify(run, exports=False).problems:
        raise UsageError(
            f"{flag} {run}: it is not as it was when it finished: {problems[0]}; give the command of that run again, "
            "which makes it anew"
        )
    try:
        config, result = typed.read(run, Configuration), typed.read(run, Result)
        if result.schedule is None:
            raise Altered("schedule is missing")
    except (OSError, Altered) as error:
        raise UsageError(
            f"{flag} {run}: {documents.CONFIG} or {documents.RESULT} cannot be used ({error}); it may be of an older "
            "version: train that run again"
        ) from None
    return Finished(run, config, result, result.schedule)


def control(run: Finished, task: str, kind: Control, **changes: Any) -> Config:
    """The configuration of S1 on one task, matched with a multi-task run; ``changes`` come on top."""
    tokens = sum(run.tokens.values()) if kind == "total" else run.tokens[task]
    if not tokens:
        raise UsageError(f"--match {run.path}: it gave no token to {task}; leave the task out")
    like = _like(run, [task], tokens, **changes)
    count = sampler.per_step(like.sampling, like.micro_batches, len(run.tokens))
    if kind != "total":
        count = _drawn(run, task, like, count) if kind == "updates" else 1
    return attrs.evolve(
        like,
        # Random sampling of one task is the way to have several micro-batches of it a step.
        sampling="proportional" if kind == "total" or count > 1 else "uniform",
        micro_batches=count if kind == "total" or count > 1 else 0,
        updates=run.result.steps if kind == "updates" else None,
        gradients=None,
        fusion="sum",
        detach_level1=False,
        parent=run.parent(kind),
    )


def _drawn(run: Finished, task: str, settings: Config, count: int) -> int:
    """How many micro-batches of a task a step of the run had where it had one: the mean, rounded."""
    if settings.sampling == "uniform":
        return 1
    sizes, key, of = _sizes(run), keys.root(run.result.seed), settings.temperature
    drawn = [
        sampler.draw(settings.sampling, sizes, of, count, key, step).count(task) for step in range(run.result.steps)
    ]
    return max(1, round(sum(drawn) / max(1, sum(n > 0 for n in drawn))))


def _sizes(run: Finished) -> dict[str, int]:
    """Task -> tokens of its training split, which random sampling goes by; UsageError where an older version made it,
    which did not say."""
    tasks = typed.read(run.path, Data).tasks
    found = {t: n for t in run.tokens if (n := tasks[t].splits["train"].tokens) is not None}
    if missing := [t for t in run.tokens if t not in found]:
        raise UsageError(
            f"{run.path}: its {documents.DATA} does not say how many tokens {missing[0]} has, as it is of an older "
            "version; train that run again"
        )
    return found


def kept(run: Finished, keep: Collection[str], **changes: Any) -> Config:
    """The first half of the exclusion control: the strategy on the kept tasks, with the tokens they had.

    UsageError where it or the second half would have no token: before either is trained.
    """
    _group(run, [t for t in run.tokens if t not in keep])
    group = _group(run, [t for t in run.tokens if t in keep], **changes)
    return attrs.evolve(group, parent=run.parent("kept"))


def excluded(run: Finished, half: Finished, keep: Collection[str], slots: Sequence[str], **changes: Any) -> Config:
    """The second half: ``slots`` of the first one stay as they are, the rest is tuned on the excluded tasks."""
    group = _group(run, [t for t in run.tokens if t not in keep], **changes)
    return attrs.evolve(group, parent=half.parent("exclusion"), frozen_slots=tuple(slots))


def pair(run: Finished, tasks: Sequence[str], **changes: Any) -> Config:
    """The strategy on two of the tasks, with the tokens that they had."""
    return attrs.evolve(_group(run, tasks, **changes), parent=run.parent("pair"))


def shuffled(run: Finished, task: str, **changes: Any) -> Config:
    """The run again, the training labels of all tasks but one shuffled: what is left of the others is their text."""
    again = _group(run, tuple(run.tokens), **changes)
    others = ",".join(t for t in run.tokens if t != task)
    return attrs.evolve(again, shuffled_tasks=others, parent=run.parent("shuffled"))


def _group(run: Finished, tasks: Sequence[str], **changes: Any) -> Config:
    """The strategy on some of the tasks, with the tokens that they had; UsageError where they had none."""
    if not (tokens := sum(run.tokens[t] for t in tasks)):
        raise UsageError(
            f"{run.path}: it gave no token to {', '.join(tasks)}, and a run on as many needs one; leave the task out, "
            "or draw it more often (--sampling, --temperature, --micro-batches)"
        )
    like = _like(run, tasks, tokens, **changes)
    if like.sampling == "uniform" or len(tasks) == len(run.tokens):
        return like
    return attrs.evolve(like, drawn_among=",".join(f"{task}={size}" for task, size in _sizes(run).items()))


def _like(run: Finished, tasks: Sequence[str], tokens: int, **changes: Any) -> Config:
    """The run's own configuration on other tasks and tokens, at the same pace through its schedule.

    What concerned the run's process alone is set back; ``changes`` come on top.
    """
    horizon = round(run.schedule * tokens / sum(run.tokens.values()))
    fresh = {"max_steps": None, "accept_environment": False, "seeds": 1, "max_epochs": None}
    budget = {"budget_tokens": tokens, "schedule_tokens": max(horizon, 1)}
    settings = run.config.config()
    beside = [t for t in (*run.tokens, *listed(settings.held_out_tasks)) if t not in tasks]
    named = {"tasks": ",".join(tasks), "held_out_tasks": ",".join(beside)}
    return attrs.evolve(settings, **{**named, **fresh, **budget, **changes})


def check(path: Path, facts: Mapping[str, Any], backbone_settings: str) -> None:
    """UsageError that names the first difference in what a run must have in common with the one it is compared with.

    Without that one's directory nothing is compared: a run that has begun was compared when it did.
    """
    if not (path / documents.CONFIG).is_file():
        return
    there = typed.read(path, Configuration)
    for name, what in FACTS.items():
        if there.identity.get(name) != facts[name]:
            raise UsageError(
                f"{path}: cannot be compared with this run: {what}: {name} is {there.identity.get(name)!r} there and "
                f"{facts[name]!r} here"
            )
    settings = typed.read(path, Environment).backbone_settings
    if settings is not None and settings != backbone_settings:
        raise UsageError(
            f"{path}: cannot be compared with this run: another configuration of the backbone: backbone_settings "
            f"is {settings!r} there and {backbone_settings!r} here"
        )
    for task, splits in facts["data"].items():
        for split in sorted({*splits, *there.data.get(task, splits)}):
            if splits.get(split) != there.data.get(task, splits).get(split):
                raise UsageError(
                    f"{path}: cannot be compared with this run: other data: {task}, split {split}, has the hash "
                    f"{there.data[task].get(split)} there and {splits.get(split)} here"
                )


def _exported(path: Path, last: Path, parent: Parent) -> dict[str, dict[str, Tensor]]:
    """The tensors of the state that a run is scored by; UsageError where its checkpoint is not what it was."""
    result = typed.attempt(path, Result)
    if result is None:
        raise UsageError(f"{path}: {documents.RESULT} of the parent run cannot be read; give that run's command again")
    target, which = last, "last"
    if (selected := result.selected) is not None:
        target, which = checkpoint.place(last.parent, selected.step), "selected"
    try:
        digest, params = checkpoint.load_params(target, parent.identity)
    except checkpoint.Damaged as error:
        raise UsageError(f"{path}: the {which} state of the parent run cannot be used: {error}") from None
    expected = parent.digest
    if selected is not None:
        digest, expected = state.digest(params), selected.digest
    if digest != expected:
        raise UsageError(f"{path}: its {which} state has the digest {digest}, expected {expected}: it was changed")
    return params


def carried(parent: Parent | None, params: Tree, frozen_slots: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """The tensors at the start of a run that goes on from another: every slot that both have is the parent's.

    Heads start afresh. UsageError where the parent, its last checkpoint or a frozen slot is missing.
    """
    path = Path(parent.path if parent else "")
    saved = checkpoint.steps(path / "checkpoints")
    if parent is None or not saved:
        raise UsageError(f"{path}: the checkpoints of the parent run are needed to begin from it, and there are none")
    there = _exported(path, saved[-1], parent)
    if missing := [slot for slot in frozen_slots if slot not in there]:
        raise UsageError(f"{path}: the parent run has no slot {missing[0]!r}")
    out = {}
    for slot, tensors in params.items():
        taken = there.get(slot, {}) if not slot.startswith("head/") else {}
        out[slot] = {name: taken[name].to(v.device) if name in taken else v for name, v in tensors.items()}
    return out
