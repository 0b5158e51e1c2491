"""Slurm: what each job asks it for, how its queue is asked, and how jobs that wait in it are taken back."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from attrs import frozen

from mtlfn.run.errors import UsageError
from mtlfn.run.many import launch

RULE = "rule_one"  # of the Snakefile
FUTILE = 3  # jobs of a run that did not begin
TIMEOUT = 60.0  # seconds for an answer of the controller


@frozen(kw_only=True)
class Queue:
    """What every job asks a Slurm cluster for; None is left to the cluster, or to the plan.

    Attributes:
        minutes: longest time of a job; a run that needs more leaves before it is over, and is queued again.
        memory_mb: of a job.
        extra: options of sbatch, as they are.
    """

    partition: str | None = None
    account: str | None = None
    constraint: str | None = None
    minutes: int | None = None
    memory_mb: int | None = None
    extra: tuple[str, ...] = ()


def check() -> None:
    """UsageError where jobs cannot be queued from here."""
    if shutil.which("sbatch") is None:
        raise UsageError(
            "--slurm: sbatch is not on this machine; give the command on a login node of the cluster, or have several "
            "runs at a time on this machine with --jobs"
        )


def job_name(start: Path) -> str:
    """The beginning of the names of a start's jobs."""
    return f"mtlfn-{start.name}"


def options(queue: Queue, name: str) -> list[str]:
    """The queue as options of Snakemake."""
    named = {"slurm_partition": queue.partition, "slurm_account": queue.account, "constraint": queue.constraint}
    given = [f"{field}={value}" for field, value in named.items() if value is not None]
    out = ["--default-resources", "tasks=1", *given, "--slurm-jobname-prefix", name]
    out += [] if queue.account else ["--slurm-no-account"]
    return out + ([] if _accounts() else ["--slurm-status-command", "squeue"])


def _accounts() -> bool:
    """Whether the cluster keeps accounts of jobs that ended, which are asked for how they did; else its queue is."""
    said = _answer("scontrol", "show", "config")
    return "accounting_storage/none" not in said


def cancel(name: str) -> None:
    """Takes back the jobs of a start that wait in the queue; those that run leave by themselves."""
    lines = (line.split() for line in _answer("squeue", "--me", "--noheader", "--format=%i %T %j").splitlines())
    waiting = [words[0] for words in lines if len(words) == 3 and words[1] == "PENDING" and words[2].startswith(name)]
    if waiting:
        _answer("scancel", *waiting)


def unbegun(start: Path) -> Path | None:
    """The log of a job that ended again and again before its run began: Slurm or Snakemake cannot run it there."""
    for folder in (start / ".snakemake" / "slurm_logs" / RULE).glob("*"):
        logs = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime)
        begun = any((start / part / f"{folder.name}.json").exists() for part in (launch.TRIES, launch.DONE))
        if len(logs) > FUTILE and not begun:
            return logs[-2]  # the last one may still go on
    return None


def _answer(*words: str) -> str:
    """What a command of Slurm says; nothing where it does not answer."""
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
