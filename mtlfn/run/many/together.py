"""Runs a plan side by side: several runs at a time on this machine, or each as a job of a cluster's queue.

What is finished is read off the runs, as it is one after the other, and what is left is handed to Snakemake as a graph
of jobs (``workflow/Snakefile``), each of which is one process that runs one node (``job``). Nothing of a start is taken
up by the next one, so it does not matter what was killed when.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import frozen

from mtlfn.run import terminal
from mtlfn.run.disk import make_folder, write_file
from mtlfn.run.documents import typed
from mtlfn.run.errors import BUG, OK, RESUMABLE, USAGE, UsageError
from mtlfn.run.many import console, estimate, job, launch, lease, packs, plan, slurm, snakemake, tied
from mtlfn.run.many.execute import check_folder, tell
from mtlfn.run.many.launch import Item, Launch, Outcome
from mtlfn.run.one.directory import Failed
from mtlfn.run.one.summary import going_on
from mtlfn.run.storage import lock

PATIENCE = 5.0  # seconds for a process that just ended to let go of its lock
Say = Callable[[str], None]


@frozen(kw_only=True)
class Machines:
    """Where the runs of a plan are to run.

    Attributes:
        jobs: how many at a time.
        gpus: of this machine, of which each run gets one; of a cluster, of each run. 0: none is asked for.
        threads: of each run.
        snakemake: its program, or its environment, where it is not where it is looked for.
        ends: when this start's time is over, in seconds since the epoch.
        queue: how the jobs of a cluster are asked for; None: this machine.
    """

    jobs: int
    gpus: int = 0
    threads: int = 1
    snakemake: Path | None = None
    ends: float | None = None
    queue: slurm.Queue | None = None


def execute(
    root: Path,
    nodes: Sequence[plan.Node],
    command: Sequence[str],
    node_command: Sequence[str],
    machines: Machines,
    say: Say = terminal.say,
) -> int:
    """Runs what is not finished; 0 where all is, 75 where something was stopped, 1 where runs failed, with a list.

    Args:
        command: what the user gave, to give again.
        node_command: what runs one node, with ``--only NODE`` added, in another process and perhaps on another host.

    Raises:
        UsageError: Snakemake is not there, or no run could use what was given.
        Mismatch: a folder of the plan holds something else.
        Failed: Snakemake itself ended without having begun anything.
        Busy: another start of this plan is under way.
    """
    check_folder(root, nodes)
    far = plan.progress(root, nodes)
    left = [node for node in nodes if far[node.name] != "finished"]
    say(f"{len(nodes) - len(left)} of {len(nodes)} runs are finished")
    if not left:
        launch.sweep(root)
        return OK
    program = snakemake.program(machines.snakemake)
    if machines.queue is not None:
        slurm.check()
    what = launched(root, nodes, left, node_command, machines)
    with _started(root, what, machines) as start:
        view = console.View(start, what, len(nodes) - len(left), say)
        try:
            code, stopped = _watched(program, start, what, machines, view)
        finally:
            view.close()
        view.update()
        begun = stopped or (start / launch.TRIES).is_dir()
        return _concluded(root, nodes, command, what, view.ended, code, begun, say)


def launched(
    root: Path, nodes: Sequence[plan.Node], left: Sequence[plan.Node], command: Sequence[str], machines: Machines
) -> Launch:
    """What the processes of a start are told; ``left``: the nodes that are not finished, of all."""
    expected, queue = estimate.estimate(root, nodes), machines.queue
    numbers = {node.name: number for number, node in enumerate(left)}
    cluster = {} if queue is None else lease.queued(machines.gpus)
    minutes = None if queue is None else queue.minutes
    memory = None if queue is None else queue.memory_mb
    jobs: dict[str, tuple[int, float, int]] = {}  # node -> number, minutes and memory of its job
    for pack in packs.packs(nodes, left, expected.seconds, machines.jobs):
        asked = float(minutes or allotted(sum(map(expected.minutes, pack))))
        about = numbers[pack[0].name], asked, memory or max(map(expected.memory_mb, pack))
        jobs.update({node.name: about for node in pack})
    return Launch(
        root=str(root.resolve()),
        working=os.getcwd(),
        command=tuple(command),
        environment={**snakemake.ours(), **cluster, "OMP_NUM_THREADS": str(machines.threads)},
        gpus=lease.visible(machines.gpus) if queue is None else (),
        ends=machines.ends,
        waits=queue is not None,
        runs=tuple(
            Item(
                name=node.name,
                after=tuple(numbers[need] for need in node.needs if need in numbers),
                job=job,
                tokens=node.tokens,
                minutes=asked,
                memory_mb=memory_mb,
            )
            for node, (job, asked, memory_mb) in ((node, jobs[node.name]) for node in left)
        ),
    )


def allotted(minutes: float) -> int:
    """The minutes to ask for, for a run that should take so many: half as much again, and ten."""
    return round(1.5 * minutes) + 10


@contextmanager
def _started(root: Path, what: Launch, machines: Machines) -> Iterator[Path]:
    """The folder of a new start, the only one of the plan; it is gone when the block ends."""
    place = (root / launch.FOLDER).resolve()
    make_folder(place)
    with ExitStack() as locks:
        _hold(locks, place / launch.LOCK, root)
        launch.clear(place)
        start = place / f"{os.getpid()}-{os.urandom(4).hex()}"
        try:
            for folder in (start, start / launch.DONE, start / launch.RUNNING):
                make_folder(folder)
            (start / launch.LOCK).touch()
            _hold(locks, start / launch.LOCK, root)
            typed.write(start, what)
            write_file(start / "resources.json", json.dumps(_resources(start, what, machines)).encode())
            yield start
        finally:
            shutil.rmtree(start, ignore_errors=True)


def _hold(locks: ExitStack, path: Path, root: Path) -> None:
    """Locks a file until all is over. Busy where another process has it, and does not let go at once."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            locks.enter_context(lock.held(path, terminal.say))
            return
        except lock.Busy:
            if time.monotonic() > until:
                raise lock.Busy(
                    f"--output-dir {root}: another process runs this study; wait for it, or stop it with Ctrl-C"
                ) from None
            time.sleep(0.1)


def _resources(start: Path, what: Launch, machines: Machines) -> Mapping[str, object]:
    """What every job asks of Snakemake, and the command that it gives."""
    words = snakemake.given_back([sys.executable, "-P", "-m", job.__name__, str(start)], what.environment)
    local = machines.queue is None
    extra = [] if machines.queue is None else [*machines.queue.extra]
    return {
        "command": shlex.join(words),
        "threads": 1 if local else machines.threads,  # of this machine a job is one of so many, whatever it takes
        "gpu": min(machines.gpus, 1) if local else machines.gpus,
        "slurm_extra": " ".join(extra),
    }


def _watched(program: Path, start: Path, what: Launch, machines: Machines, view: console.View) -> tuple[int, bool]:
    """Snakemake's exit code, and whether it was stopped: once, and the runs save and leave; twice, and they are killed.

    Snakemake gets a session of its own, lest Ctrl-C reach it and the runs before they are asked.
    """
    log = launch.log(Path(what.root), "snakemake")
    make_folder(log.parent)
    local = machines.queue is None
    words = snakemake.command(
        program,
        start,
        machines.jobs,
        machines.gpus if local and machines.gpus else None,
        "local" if local else "slurm",
        () if machines.queue is None else slurm.options(machines.queue, slurm.job_name(start)),
    )
    with log.open("wb") as output, _asked() as asked:
        process = subprocess.Popen(
            tied.command(words),
            cwd=start,
            env=snakemake.environment(start),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        futile = ""
        stopped = killed = False
        while process.poll() is None or (local and _still_running(start)):
            if not local and not futile and (futile := _futile(start, Path(what.root))):
                view.say(f"mtlfn: {futile}")
            if (asked() or futile) and not stopped:
                stopped = True
                view.say("stopping: runs save and leave; once more kills them, and what was saved stands")
                (start / launch.STOP).touch()
                process.terminate()
                if not local:
                    slurm.cancel(slurm.job_name(start))
            if asked() > 1 and not killed:
                killed = True
                os.killpg(process.pid, signal.SIGKILL)
            if process.poll() is not None and not stopped:
                (start / launch.STOP).touch()  # it was killed: nobody would take the runs' ends
            view.update()
            console.pause()
    if futile:
        raise Failed(BUG, futile)
    return process.returncode, stopped


def _futile(start: Path, root: Path) -> str:
    """Why jobs of the queue will not come to anything; empty where they may."""
    if (log := slurm.unbegun(start)) is None:
        return ""
    copy = launch.log(root, "slurm")
    shutil.copy(log, copy)
    return f"--slurm: jobs end before their run begins; {copy} is what the last one said: mend that, and begin again"


def _still_running(start: Path) -> bool:
    """Whether a job of this machine has not ended, whatever became of Snakemake."""
    return any(lock.free(path) is False for path in (start / launch.RUNNING).glob("*.lock"))


@contextmanager
def _asked() -> Iterator[Callable[[], int]]:
    """How often this process was asked to stop."""
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]
    with terminal.counted(numbers) as count:
        yield count


def _concluded(
    root: Path,
    nodes: Sequence[plan.Node],
    command: Sequence[str],
    what: Launch,
    ended: Mapping[int, Outcome],
    code: int,
    begun: bool,
    say: Say,
) -> int:
    """The exit code of a start, and what is said at its end; ``begun``: whether a run was, or all were stopped."""
    log = launch.log(root, "snakemake")
    if code > 0 and not ended and not begun:
        raise Failed(BUG, f"Snakemake ended with {code} and began nothing; see {log}")
    failed = {what.runs[n].name: o.why for n, o in ended.items() if o.state in ("failed", "not begun")}
    finished = {what.runs[n].name for n, o in ended.items() if o.state == "finished"}
    left = [item.name for item in what.runs if item.name not in failed and item.name not in finished]
    if left:
        say(f"mtlfn: {len(left)} of {len(nodes)} runs are left: {', '.join(left)}")
        if code < 0:
            say(f"mtlfn: Snakemake ended with {code}; see {log}")
    codes = {o.code for o in ended.values() if o.state == "failed"}
    if codes == {USAGE} and not finished and len(nodes) == len(what.runs):
        raise UsageError(next(iter(failed.values())))
    tell(failed, nodes, command, say)
    if left and not failed:
        say(f"{launch.GOING_ON}{going_on(command)}")
    return RESUMABLE if left else BUG if failed else OK
