"""Several runs as a plan: what there is to run, what each needs, and how far it is. The runs themselves are ordinary.

A plan is data: it can be printed before anything runs (run/many/execute.py runs it).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Literal

import attrs
from attrs import frozen

from mtlfn.run import documents
from mtlfn.run.config import Config, folder_name
from mtlfn.run.errors import UsageError
from mtlfn.run.one import directory, matched
from mtlfn.run.storage import kaggle, seal

Progress = Literal["finished", "damaged", "begun", "to do"]


@frozen(kw_only=True)
class Node:
    """One run of a plan.

    Attributes:
        name: its folder below that of the plan.
        experiment: the strategy.
        tokens: its budget, as far as it is known before the runs that it needs are finished.
        at_most: the most that it can be, where what those runs drew decides; None where ``tokens`` is it.
        config: makes its configuration, from the folder of the plan, once these are finished.
        needs: names of other nodes.
    """

    name: str
    experiment: str
    tokens: int
    config: Callable[[Path], Config]
    needs: tuple[str, ...] = ()
    at_most: int | None = None


def seeds(strategy: str, config: Config) -> tuple[Node, ...]:
    """One run for each of ``config.seeds`` seeds."""
    return tuple(
        multi(strategy, attrs.evolve(config, seed=config.seed + i, seeds=1), f"seed-{config.seed + i}")
        for i in range(config.seeds)
    )


def multi(strategy: str, config: Config, name: str) -> Node:
    """A run with a configuration of its own."""
    return Node(name=name, experiment=strategy, tokens=config.budget_tokens, config=lambda _: config)


def controls(
    parent: Callable[[Path], Path],
    tokens: int,
    tasks: Sequence[str],
    kind: matched.Control,
    name: str,
    needs: tuple[str, ...] = (),
    **changes: object,
) -> tuple[Node, ...]:
    """S1 on each task, matched with a multi-task run; ``tokens``: all that the parent trains on."""

    def config(task: str) -> Callable[[Path], Config]:
        return lambda root: matched.control(matched.finished(parent(root)), task, kind, **changes)

    share = tokens if kind == "total" else -(-tokens // len(tasks))
    # As many updates are at most as many slots as the parent's, of which it fills the half at least.
    most = {"total": None, "per-task": tokens, "updates": 2 * tokens}[kind]
    return tuple(
        Node(name=f"{name}/{task}", experiment="s1", tokens=share, config=config(task), needs=needs, at_most=most)
        for task in tasks
    )


def exclusion(
    strategy: str, full: Node, tasks: Sequence[str], keep: Collection[str], name: str, **changes: object
) -> tuple[Node, ...]:
    """The two halves of the exclusion control: ``keep`` trains the shared slot, which is then frozen for the others."""
    check_kept(tasks, keep)
    first, second = f"{name}/kept", f"{name}/excluded"
    share = -(-full.tokens // len(tasks))

    def run(root: Path) -> matched.Finished:
        return matched.finished(root / full.name)

    def half(root: Path) -> Config:
        return matched.excluded(run(root), matched.finished(root / first), keep, ("shared",), **changes)

    return (
        Node(
            name=first,
            experiment=strategy,
            tokens=share * len(set(keep)),
            config=lambda root: matched.kept(run(root), keep, **changes),
            needs=(full.name,),
            at_most=full.tokens,
        ),
        Node(
            name=second,
            experiment=strategy,
            tokens=share * (len(tasks) - len(set(keep))),
            config=half,
            needs=(full.name, first),
            at_most=full.tokens,
        ),
    )


def pairs(strategy: str, full: Node, tasks: Sequence[str], name: str, **changes: object) -> tuple[Node, ...]:
    """The strategy on every two of the tasks, with the tokens that the full run gave them."""

    def config(two: tuple[str, str]) -> Callable[[Path], Config]:
        return lambda root: matched.pair(matched.finished(root / full.name), two, **changes)

    share = -(-full.tokens // len(tasks))
    return tuple(
        Node(
            name=f"{name}/{'+'.join(two)}",
            experiment=strategy,
            tokens=2 * share,
            config=config(two),
            needs=(full.name,),
            at_most=full.tokens,
        )
        for two in itertools.combinations(tasks, 2)
    )


def shuffled(strategy: str, full: Node, tasks: Sequence[str], name: str, **changes: object) -> tuple[Node, ...]:
    """For each task the full run again, with the training labels of all other tasks shuffled."""

    def config(task: str) -> Callable[[Path], Config]:
        return lambda root: matched.shuffled(matched.finished(root / full.name), task, **changes)

    return tuple(
        Node(name=f"{name}/{task}", experiment=strategy, tokens=full.tokens, config=config(task), needs=(full.name,))
        for task in tasks
    )


def check_kept(tasks: Sequence[str], keep: Collection[str]) -> None:
    """UsageError unless some of the tasks are kept, and not all."""
    if unknown := [t for t in keep if t not in tasks]:
        raise UsageError(f"--keep {','.join(keep)}: {unknown[0]} is none of the tasks {', '.join(tasks)}")
    if not keep or len(set(keep)) == len(tasks):
        raise UsageError(f"--keep {','.join(keep)}: name some of the tasks {', '.join(tasks)}, and not all of them")


def progress(root: Path, nodes: Iterable[Node]) -> dict[str, Progress]:
    """Node -> how far its run is. A run is finished where its result is as it was sealed and is the one of the plan.

    Raises:
        Mismatch: a node's folder holds something else than its run.
    """
    far: dict[str, Progress] = {}
    for node in nodes:
        folder = root / node.name
        if all(far[name] == "finished" for name in node.needs):  # else its configuration is not known yet
            directory.check_settings(folder, node.config(root), node.experiment)
        if (folder / documents.RESULT).is_file():
            far[node.name] = "damaged" if seal.verify(folder, exports=False).problems else "finished"
        else:
            far[node.name] = "begun" if (folder / documents.CONFIG).is_file() else "to do"
    return far


def check_needs(nodes: Sequence[Node]) -> None:
    """ValueError unless names are unique and every node comes after what it needs."""
    seen: set[str] = set()
    for node in nodes:
        if node.name in seen:
            raise ValueError(f"two nodes of the plan are called {node.name}")
        if missing := [name for name in node.needs if name not in seen]:
            raise ValueError(f"{node.name} needs {missing[0]}, which does not come before it")
        seen.add(node.name)


def folder(name: str, config: Config, **more: object) -> Path:
    """The folder of a plan: as asked for, or named by the settings that decide it."""
    if config.output_dir is not None:
        return config.output_dir
    return kaggle.results() / folder_name(name, config, **more)
