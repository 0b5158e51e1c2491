"""A plan as a script for Slurm alone: arrays of jobs, one for the runs that need nothing, one for those that need them.

For clusters on which Snakemake may not be installed. The script is plain and can be read, changed and given again.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from mtlfn.run.disk import make_folder, write_file
from mtlfn.run.errors import UsageError
from mtlfn.run.many import estimate, launch, lease, plan, snakemake
from mtlfn.run.many.together import Machines, allotted

LARGEST = 1000  # jobs of an array: what Slurm takes unless it is set up otherwise

BODY = snakemake.WORKFLOW / "array.sh"  # what comes after the names below


def levels(nodes: Sequence[plan.Node]) -> list[list[plan.Node]]:
    """The nodes by how long a way leads to them: each needs only what is in levels before its own."""
    depth: dict[str, int] = {}
    for node in nodes:
        depth[node.name] = 1 + max((depth[need] for need in node.needs), default=-1)
    return [[n for n in nodes if depth[n.name] == d] for d in range(max(depth.values(), default=-1) + 1)]


def script(
    path: Path,
    root: Path,
    nodes: Sequence[plan.Node],
    command: Sequence[str],
    machines: Machines,
    environment: Mapping[str, str],
) -> str:
    """The text of the script at ``path``; ``command``: what runs a node, less ``--only NODE``."""
    expected, queue = estimate.estimate(root, nodes), machines.queue
    assert queue is not None
    memory = queue.memory_mb or max(map(expected.memory_mb, nodes))
    named = {"partition": queue.partition, "account": queue.account, "constraint": queue.constraint}
    options = [f"--{name}={value}" for name, value in named.items() if value is not None]
    options += [f"--gpus={machines.gpus}"] if machines.gpus else []
    lines = [
        "#!/usr/bin/env bash",
        f"# A study of {len(nodes)} runs for Slurm, written by mtlfn: `bash {path.name}` queues them, and the verdict",
        "# after them. Give it again for what was not finished; what is finished ends at once.",
        "set -uo pipefail",
        "",
        f"runs=({shlex.join(command)})",
        f"conclude=({shlex.join([*command, '--conclude'])})",
        f"folder={shlex.quote(str(root.resolve()))}",
        f"logs={shlex.quote(str(root.resolve() / launch.LOGS))}",
        f"working={shlex.quote(str(Path.cwd()))}",
        *(f"export {name}={shlex.quote(value)}" for name, value in environment.items()),
        f"options=({shlex.join([*options, *queue.extra])})",
        f"threads={machines.threads}",
        f"memory={memory} # MB",
        f"largest={LARGEST} # jobs of an array",
        f"margin={launch.MARGIN_MINUTES} # minutes of a job, that are left to its end",
        f"level_count={len(levels(nodes))}",
    ]
    for number, level in enumerate(levels(nodes)):
        minutes = queue.minutes or max(allotted(expected.minutes(node)) for node in level)
        lines += [f"minutes_{number}={minutes}", f"level_{number}=({shlex.join(node.name for node in level)})"]
    return "\n".join(lines) + "\n" + BODY.read_text(encoding="utf-8")


def export(path: Path, root: Path, nodes: Sequence[plan.Node], command: Sequence[str], machines: Machines) -> None:
    """Writes the script; UsageError where it cannot be written."""
    text = script(path, root, nodes, command, machines, {**snakemake.ours(), **lease.queued(machines.gpus)})
    try:
        make_folder(path.parent)
        write_file(path, text.encode())
    except OSError as error:
        raise UsageError(f"--export-slurm {path}: cannot be written ({error.strerror}); name another file") from None
