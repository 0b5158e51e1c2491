"""A real Slurm of one node on this machine, with its own keys, ports and folder.

Only its configuration is named where Slurm looks for it, as long as it is there: jobs of Snakemake know no other place.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

DAEMONS = ("munged", "slurmctld", "slurmd")
PLACE, FILES = Path("/etc/slurm"), ("slurm.conf", "gres.conf", "cgroup.conf")
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def lacking() -> str:
    """Why there can be no Slurm here; empty where there can."""
    if missing := [name for name in (*DAEMONS, "sbatch") if shutil.which(name, path=PATH) is None]:
        return f"{missing[0]} is not installed (Debian: slurmctld slurmd slurm-client munge)"
    if os.getuid() != 0:
        return "slurmd starts jobs as root alone"
    own = next((name for name in FILES if (PLACE / name).exists()), None)
    return "" if own is None else f"this machine has a Slurm of its own ({PLACE / own})"


def _ports(count: int) -> list[int]:
    """Free ones."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _configure(folder: Path) -> str:
    """Writes what the daemons read; the name of the node."""
    host, (one, two) = socket.gethostname().split(".")[0], _ports(2)
    for name in ("state", "spool", "log"):
        (folder / name).mkdir()
    for number in range(2):
        (folder / f"gpu{number}").touch()
    megabytes = psutil.virtual_memory().total // 2**20 - 500
    (folder / "slurm.conf").write_text(
        "\n".join(
            (
                "ClusterName=tests",
                f"SlurmctldHost={host}(127.0.0.1)",
                "SlurmUser=root",
                "SlurmdUser=root",
                f"SlurmctldPort={one}",
                f"SlurmdPort={two}",
                "AuthType=auth/munge",
                f"AuthInfo=socket={folder}/munge.socket",
                "CredType=cred/munge",
                "ProctrackType=proctrack/linuxproc",
                "TaskPlugin=task/none",
                "SwitchType=switch/none",
                "MpiDefault=none",
                "ReturnToService=2",
                "SchedulerType=sched/builtin",
                "SelectType=select/cons_tres",
                "SelectTypeParameters=CR_Core",
                "JobAcctGatherType=jobacct_gather/none",
                "AccountingStorageType=accounting_storage/none",
                "GresTypes=gpu",
                "KillWait=10",
                "MinJobAge=600",
                f"StateSaveLocation={folder}/state",
                f"SlurmdSpoolDir={folder}/spool",
                f"SlurmctldPidFile={folder}/slurmctld.pid",
                f"SlurmdPidFile={folder}/slurmd.pid",
                f"SlurmctldLogFile={folder}/log/slurmctld.log",
                f"SlurmdLogFile={folder}/log/slurmd.log",
                f"NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory={megabytes} Gres=gpu:2 State=UNKNOWN",
                f"PartitionName=main Nodes={host} Default=YES MaxTime=600 State=UP",
                "",
            )
        )
    )
    (folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File={folder}/gpu[0-1] Flags=nvidia_gpu_env\n")
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
    return host


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """The variables with which sbatch and the like reach it; it ends with the block."""
    folder.chmod(0o755)
    host = _configure(folder)
    own = {**os.environ, "PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")}
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o600)
    places = {name: folder / f"munge.{name}" for name in ("socket", "pid", "log", "seed")}
    munge = ["munged", "--foreground", "--force", "--key-file", folder / "munge.key"]
    flags = {"socket": "--socket", "pid": "--pid-file", "log": "--log-file", "seed": "--seed-file"}
    munge += [word for name, flag in flags.items() for word in (flag, places[name])]
    PLACE.mkdir(exist_ok=True)
    for name in FILES:
        (PLACE / name).unlink(missing_ok=True)  # a link into a folder that is gone
        (PLACE / name).symlink_to(folder / name)
    daemons = [munge, ["slurmctld", "-D"], ["slurmd", "-D", "-N", host]]
    processes = []
    try:
        for words in daemons:
            with (folder / "log" / f"{words[0]}.out").open("wb") as output:
                processes.append(subprocess.Popen(list(map(str, words)), env=own, stdout=output, stderr=output))
            time.sleep(1)
        _wait(own, folder)
        yield own
    finally:
        subprocess.run(["scancel", "--full", "--user=root"], env=own, timeout=20, check=False)
        for name in FILES:
            (PLACE / name).unlink(missing_ok=True)
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(own: dict[str, str], folder: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            ended = subprocess.run(["srun", "true"], env=own, timeout=15, capture_output=True, check=False)
        except subprocess.TimeoutExpired:
            continue
        if ended.returncode == 0:
            return
        time.sleep(1)
    logs = {path.name: path.read_text(errors="replace")[-500:] for path in (folder / "log").iterdir()}
    raise RuntimeError(f"no job ran: {logs}")
