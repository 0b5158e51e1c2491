"""What the bits of a run depend on outside its configuration, and the numeric canary that no version string replaces.

``must_match``: a difference may change bits, so a run goes on only if the change is accepted, and its state says so
from then on. ``told``: a difference is said and changes nothing. ``informational``: recorded, never compared.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import attrs
import torch

from mtlfn.core.state import digest
from mtlfn.run.documents.environment import Environment
from mtlfn.run.machine import source
from mtlfn.run.machine.memory import driver_version
from mtlfn.run.one.prepare import Prepared

PACKAGE = Path(__file__).parents[2]
NUMERIC = ("torch", "transformers", "peft", "tokenizers", "safetensors", "numpy")
OTHERS = ("mtlfn", "datasets", "accelerate")
# Variables that change numerics where no figure above shows it.
SWITCHES = ("CUBLAS_WORKSPACE_CONFIG", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA")
THREADING = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_PROC_BIND", "ATEN_CPU_CAPABILITY", "PYTHONHASHSEED")
# What fingerprints of older versions do not have: the canary, which they have, speaks for it.
LATER = ("source", "hashes.backbone_settings", "products")


@cache
def _source() -> str:
    """Of the code that this process has read, once, however many runs it trains."""
    return source.digest(PACKAGE)


def environment(prepared: Prepared, processes: int = 1) -> Environment:
    """The fingerprint of this process, one of so many, as written to ``env.json``. Runs one training step."""
    device, fp32 = prepared.model.device, prepared.model.precision == torch.float32
    gpu = _gpu(device)
    must_match = {
        "packages": {name: _version(name) for name in NUMERIC},
        "torch_commit": torch.version.git_version,
        "libraries": _libraries(),
        "source": _source(),
        "device": device.type,
        **({} if gpu is None else {"gpu": gpu}),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        # A CPU with AMX and one without are of one capability.
        **({} if fp32 else {"products": str(prepared.model.products).removeprefix("torch.")}),
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "switches": {
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "matmul_precision": torch.get_float32_matmul_precision(),
            "tf32": torch.backends.cuda.matmul.allow_tf32,
            "mkldnn": torch.backends.mkldnn.enabled,
        },
        "variables": {name: os.environ.get(name) for name in SWITCHES},
        "hashes": {
            "config": prepared.identity_hash,
            "backbone": prepared.identity["backbone_digest"],
            "backbone_settings": prepared.model.backbone.settings,
            "tokenizer": prepared.identity["tokenizer_digest"],
            "data": {t: splits["train"] for t, splits in prepared.identity["data"].items()},
        },
        "canary": canary(prepared),
    }
    told = {"processor": _processor(), "host": platform.node(), "processes": processes}
    if gpu is not None:
        told |= {"gpus": torch.cuda.device_count(), "driver": driver_version()}
    informational = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: _version(name) for name in OTHERS},
        "commit": _commit(),
        "variables": {name: os.environ.get(name) for name in THREADING},
        "backbone": attrs.asdict(prepared.proof),
    }
    return Environment(must_match=must_match, told=told, informational=informational)


def canary(prepared: Prepared) -> str:
    """Digest of the run's first step from its first state: the same wherever the arithmetic is the same."""
    start = prepared.start()
    return digest(prepared.step(start, prepared.stream(start)))


def differences(before: Environment, now: Environment, part: Literal["must_match", "told"] = "must_match") -> list[str]:
    """What differs between the same parts of two fingerprints, a line each.

    What an older version recorded and this one does not has no say: what matters of it is in what is recorded now.
    """
    old, new = _flat(getattr(before, part)), _flat(getattr(now, part))
    return [
        f"{name}: {old.get(name)} before, {value} now"
        for name, value in new.items()
        if old.get(name) != value
        and not (name == "source" and old.get(name) in source.SAME_BITS)
        and (name in old or (part == "must_match" and name not in LATER))
    ]


def _flat(tree: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in tree.items():
        out |= _flat(value, f"{path}{name}.") if isinstance(value, Mapping) else {path + name: value}
    return out


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _libraries() -> list[str]:
    """The lines with which torch names its mathematics libraries."""
    lines = [line.strip(" -") for line in torch.__config__.show().splitlines()]
    return [line for line in lines if line.startswith(("Intel", "OpenMP", "oneDNN", "OpenBLAS", "CUDA", "CuDNN"))]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _gpu(device: torch.device) -> dict[str, Any] | None:
    if device.type != "cuda":
        return None
    about = torch.cuda.get_device_properties(device)
    return {
        "name": about.name,
        "capability": f"{about.major}.{about.minor}",
        "multiprocessors": about.multi_processor_count,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def _commit() -> str | None:
    """The commit of the working tree that the code runs from, if it does, and whether it was changed."""
    root = PACKAGE.parent
    if not (root / ".git").exists():
        return None
    try:
        words = [
            subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, timeout=10, check=True).stdout
            for command in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    return words[0].strip() + (" and changes" if words[1].strip() else "")
