"""The flags that say where the runs of a plan are to run, and what they come to."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
import tyro
from attrs import field, frozen
from attrs.validators import ge, optional

from mtlfn.run.errors import UsageError

if TYPE_CHECKING:
    from mtlfn.run.many import slurm, together

AT_A_TIME = 100  # jobs in a cluster's queue, unless --jobs says otherwise
QUEUED = ("partition", "account", "constraint", "minutes", "memory", "slurm_args")


@frozen(kw_only=True)
class Machines:
    """Several runs at a time, on this machine or on a cluster. By default one after the other, in this process."""

    jobs: int | None = field(default=None, validator=optional(ge(1)))
    """Run so many at a time on this machine; with --slurm, have at most so many jobs in the queue."""

    gpus: int | None = field(default=None, validator=optional(ge(0)))
    """With --jobs: GPUs of this machine, of which each run gets one. With --slurm: GPUs of each run. Default: 0, which
    asks for none."""

    snakemake: Path | None = None
    """The program snakemake, or the environment that has it. Default: $MTLFN_SNAKEMAKE, or the environment that
    scripts/setup_cluster.sh makes."""

    slurm: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Run each as a job of a Slurm cluster; give the command where sbatch is."""

    partition: str | None = None
    """With --slurm: the partition."""

    account: str | None = None
    """With --slurm: the account."""

    constraint: str | None = None
    """With --slurm: features of the nodes; runs of one study need one kind of node, or they do not repeat."""

    minutes: int | None = field(default=None, validator=optional(ge(5)))
    """With --slurm: the time of each job. A run that takes longer leaves in time and is queued again. Default: half as
    much again as the plan expects, and ten."""

    memory: int | None = field(default=None, validator=optional(ge(1)))
    """With --slurm: the memory of each job in MB. Default: what the plan expects."""

    slurm_args: str | None = None
    """With --slurm: further options of sbatch, in one pair of quotes."""

    export_slurm: Path | None = None
    """Run nothing: write a script that queues the study with sbatch alone, for a cluster without Snakemake."""

    @property
    def several(self) -> bool:
        """Whether runs are to run side by side."""
        return self.jobs is not None or self.slurm

    def check(self) -> None:
        """UsageError where flags are given that go with another one."""
        flags = {name: getattr(self, name) for name in QUEUED}
        lone = next((name for name, value in flags.items() if value is not None), None)
        if lone is not None and not (self.slurm or self.export_slurm):
            raise UsageError(f"{_flag(lone)} {flags[lone]}: goes with --slurm or --export-slurm; give that too")
        if self.gpus is not None and not (self.several or self.export_slurm):
            raise UsageError(f"--gpus {self.gpus}: goes with --jobs, --slurm or --export-slurm; give one of them too")
        if self.export_slurm and self.several:
            raise UsageError("--export-slurm: runs nothing; leave --jobs and --slurm out")

    def threads(self, asked: int | None) -> int:
        """CPU threads of a run: as asked for, else the share of a job in the cores of this machine; 4 of a cluster."""
        if asked is not None:
            return asked
        if self.slurm or self.export_slurm:
            return 4
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores // (self.jobs or 1))

    def chosen(self, threads: int, ends: float | None) -> together.Machines:
        """What the flags come to. ``ends``: when this start's time is over, in seconds since the epoch."""
        from mtlfn.run.many import together

        return together.Machines(
            jobs=self.jobs or AT_A_TIME,
            gpus=self.gpus or 0,
            threads=threads,
            snakemake=self.snakemake,
            ends=ends,
            queue=self.queue() if self.slurm else None,
        )

    def queue(self) -> slurm.Queue:
        """What each job asks a cluster for."""
        from mtlfn.run.many import slurm

        return slurm.Queue(
            partition=self.partition,
            account=self.account,
            constraint=self.constraint,
            minutes=self.minutes,
            memory_mb=self.memory,
            extra=tuple(shlex.split(self.slurm_args or "")),
        )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def set_flags(values: attrs.AttrsInstance, names: tuple[str, ...]) -> list[str]:
    """The flags of these fields, as far as they are set."""
    out: list[str] = []
    for name in names:
        value = getattr(values, name)
        if value is True:
            out.append(_flag(name))
        elif value is not None and value is not False:
            out += [_flag(name), str(value)]
    return out
