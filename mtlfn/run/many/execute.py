"""Runs a plan: what is finished is skipped, what is not is resumed, and what fails takes only its dependants along.

A plan that was killed goes on with the same command.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path

import attrs

from mtlfn.data.example import DataError
from mtlfn.models.families import first_line
from mtlfn.run import documents, terminal
from mtlfn.run.disk import PASSING
from mtlfn.run.errors import BUG, OK, RESUMABLE, UsageError
from mtlfn.run.many import launch, lease, plan
from mtlfn.run.one import directory, loop
from mtlfn.run.one.summary import going_on
from mtlfn.run.storage import seal


def execute(
    root: Path, nodes: Sequence[plan.Node], command: Sequence[str], say: Callable[[str], None] = terminal.say
) -> int:
    """Runs what is not finished, in order; 0 where all is, 75 where it was stopped, 1 where runs failed, with a list.

    Raises:
        UsageError, DataError: what was given cannot be used, and nothing of the plan is finished.
        Mismatch: a folder of the plan holds something else.
    """
    check_folder(root, nodes)
    launch.sweep(root)
    far = plan.progress(root, nodes)
    done = {name for name, state in far.items() if state == "finished"}
    beside = next((root / node.name for node in nodes if node.name in done and not node.needs), None)
    failed: dict[str, str] = {}
    for number, node in enumerate(nodes, 1):
        where = f"[{number}/{len(nodes)}] {node.name}"
        if node.name in done:
            say(f"{where}: finished")
            continue
        if lacking := [name for name in node.needs if name in failed]:
            failed[node.name] = f"not begun: it needs {lacking[0]}"
            continue
        say(f"{where}: {node.experiment}, {node.tokens:,} tokens")
        try:
            config = attrs.evolve(node.config(root), output_dir=root / node.name)
            code = loop.run(node.experiment, config, command, beside if config.parent is None else None)
        except (UsageError, DataError) as error:
            if not done:
                raise
            failed[node.name] = str(error)
        except Exception as error:
            code = getattr(error, "exit_code", None)
            if code == RESUMABLE or (isinstance(error, OSError) and error.errno in PASSING):
                raise  # the next run would meet the same
            if code is None:  # a bug; one run's bug is not the end of the others
                traceback.print_exc()
            failed[node.name] = first_line(error) if code is None else str(error)
        else:
            if code != OK:
                left = [n.name for n in nodes if n.name not in done and n.name not in failed]
                say(f"mtlfn: {len(left)} of {len(nodes)} runs are left: {', '.join(left)}")
                tell(failed, nodes, command, say)
                return code
            done.add(node.name)
            if beside is None and not node.needs:
                beside = root / node.name
    tell(failed, nodes, command, say)
    return BUG if failed else OK


def check_folder(root: Path, nodes: Sequence[plan.Node]) -> None:
    """UsageError where the folder is that of a single run; ValueError where the plan is none."""
    plan.check_needs(nodes)
    if (root / documents.CONFIG).is_file():
        raise UsageError(f"--output-dir {root}: is the folder of one run, and this makes several; name another folder")


def only(
    root: Path,
    nodes: Sequence[plan.Node],
    names: Sequence[str],
    command: Sequence[str],
    say: Callable[[str], None] = terminal.say,
) -> int:
    """Runs some nodes of a plan in turn, whose needs must be finished; others may run in other processes meanwhile.

    Returns:
        0: they are finished now, or were before; 75: one was stopped, and the same command goes on.

    Raises:
        UsageError: there is no such node, or something that it needs is not finished.
        Whatever a run raises (``loop.run``), with the exit code of each.
    """
    check_folder(root, nodes)
    for node in [_named(nodes, name) for name in names]:
        if (code := _only(root, nodes, node, command, say)) != OK:
            return code
        say(launch.FINISHED.format(node.name))
    return OK


def _only(
    root: Path, nodes: Sequence[plan.Node], node: plan.Node, command: Sequence[str], say: Callable[[str], None]
) -> int:
    name = node.name
    if lacking := [need for need in node.needs if not (root / need / documents.RESULT).is_file()]:
        raise UsageError(f"--only {name}: needs {lacking[0]}, which is not finished; give --only {lacking[0]} first")
    config = attrs.evolve(node.config(root), output_dir=root / node.name)
    lease.check(config.device)
    directory.check_settings(root / node.name, config, node.experiment)
    if (root / node.name / documents.RESULT).is_file() and not seal.verify(root / node.name, exports=False).problems:
        return OK
    first = (n.name for n in nodes if not n.needs and n is not node and (root / n.name / documents.RESULT).is_file())
    beside = next(first, None) if config.parent is None else None
    return loop.run(node.experiment, config, command, None if beside is None else root / beside)


def _named(nodes: Sequence[plan.Node], name: str) -> plan.Node:
    for node in nodes:
        if node.name == name:
            return node
    near = get_close_matches(name, [node.name for node in nodes], 1, 0.0)
    raise UsageError(f"--only {name}: is no run of the study; did you mean {near[0]}? --plan lists all {len(nodes)}")


def tell(
    failed: dict[str, str], nodes: Sequence[plan.Node], command: Sequence[str], say: Callable[[str], None]
) -> None:
    """What failed and why, runs of one reason together, and the command that goes on."""
    if not failed:
        return
    say(f"mtlfn: {len(failed)} of {len(nodes)} runs failed:")
    for why in dict.fromkeys(failed.values()):
        say(f"  {', '.join(name for name, said in failed.items() if said == why)}: {why}")
    say(f"{launch.GOING_ON}{going_on(command)}")
