"""Snakemake, which schedules the runs: where it is, and how it is called. It lives in an environment of its own.

It is asked for nothing but the order, the number of jobs at a time and, on a cluster, the queue.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import mtlfn
from mtlfn.run.errors import UsageError

WHERE, ENVIRONMENT = "MTLFN_SNAKEMAKE", "MTLFN_CLUSTER_VENV"
OLDEST = 9  # whose command line and profiles these are
WORKFLOW = Path(__file__).parent / "workflow"
# What is meant for the interpreter of the runs, and would reach into the one of Snakemake.
OURS = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV")
CACHE = "XDG_CACHE_HOME"  # below which it makes folders as soon as it begins; the home may be one to read only
HELP = (
    "bash scripts/setup_cluster.sh makes an environment that has it, or pip install 'mtlfn[cluster]' into one of its "
    f"own; then name its program with --snakemake or {WHERE}. Without --jobs and --slurm a study needs none of it: its "
    "runs go one after the other"
)


def program(asked: Path | None) -> Path:
    """The program, of a version that takes our commands; UsageError says how to have one."""
    for path, flag in _places(asked):
        if not path.exists():  # a name alone is looked for as a shell does
            path = Path(shutil.which(path) or path)
        path = path.absolute()  # it is begun in another folder
        if path.is_dir():
            path = path / "bin" / "snakemake"
        if flag or path.is_file():
            _check(path, flag or str(path))
            return path
    raise UsageError(f"--jobs, --slurm: Snakemake is not installed. {HELP}")


def _places(asked: Path | None) -> Iterator[tuple[Path, str]]:
    """Where to look, in this order; those that were named, with what named them."""
    if asked is not None:
        yield asked, f"--snakemake {asked}"
    if named := os.environ.get(WHERE):
        yield Path(named), f"{WHERE}={named}"
    if venv := os.environ.get(ENVIRONMENT):
        yield Path(venv), f"{ENVIRONMENT}={venv}"
    yield Path(mtlfn.__file__).parent.parent / ".venv-cluster", ""
    yield Path(sys.executable).parent / "snakemake", ""
    if on_path := shutil.which("snakemake"):
        yield Path(on_path), ""


def _check(path: Path, named: str) -> None:
    try:
        said = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=120, env=environment(), check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{named}: cannot be run ({error}). {HELP}") from None
    version = re.match(r"(\d+)\.\d+", said.stdout.strip())
    if said.returncode or version is None:
        last = (said.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UsageError(f"{named}: is no Snakemake that runs ({last}). {HELP}")
    if int(version[1]) < OLDEST:
        raise UsageError(f"{named}: is Snakemake {said.stdout.strip()}, expected {OLDEST} or newer. {HELP}")


def environment(start: Path | None = None) -> dict[str, str]:
    """The variables that it gets: ours, less what is meant for our interpreter; with the folder of a start, its cache
    there."""
    out = {name: value for name, value in os.environ.items() if name not in OURS}
    return out if start is None else {**out, CACHE: str(start / "cache")}


def given_back(words: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """What calls our code below it, with what of the environment was meant for that."""
    named = [f"{name}={value}" for name, value in environment.items() if name in OURS]
    cache = ["-u", CACHE] if CACHE not in os.environ else [f"{CACHE}={os.environ[CACHE]}"]
    return ["env", *cache, *named, *words]


def ours() -> dict[str, str]:
    """What of the variables the runs get back, and where our code is if it was not installed."""
    out = {name: os.environ[name] for name in OURS if name in os.environ}
    package = Path(mtlfn.__file__).parent.parent
    if "site-packages" not in package.parts:
        out["PYTHONPATH"] = os.pathsep.join([str(package), *filter(None, [out.get("PYTHONPATH")])])
    return out


def command(path: Path, start: Path, jobs: int, gpus: int | None, profile: str, more: Sequence[str] = ()) -> list[str]:
    """What makes the runs of a start. ``gpus``: how many there are, of which each run takes one; None: not counted."""
    return [
        str(path),
        *("--snakefile", str(WORKFLOW / "Snakefile")),
        *("--profile", str(WORKFLOW / profile)),
        *("--directory", str(start)),
        *(("--cores" if profile == "local" else "--jobs"), str(jobs)),
        *(() if gpus is None else ("--resources", f"gpu={gpus}")),
        *more,
    ]
