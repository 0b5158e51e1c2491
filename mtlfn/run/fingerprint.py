"""What the bits of a run depend on outside its configuration, and the numeric canary that no version string replaces.

``must_match``: a difference may change bits, so a run goes on only if the change is accepted, and its state says so
from then on. ``informational``: recorded, never compared.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import attrs
import torch

import mtlfn
from mtlfn.core.state import digest
from mtlfn.run.prepare import Prepared

NUMERIC = ("torch", "transformers", "peft", "tokenizers", "safetensors", "numpy")
OTHERS = ("mtlfn", "datasets", "accelerate", "scikit-learn", "seqeval")
# Variables that change numerics where no figure above shows it.
SWITCHES = ("CUBLAS_WORKSPACE_CONFIG", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA")
THREADING = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_PROC_BIND", "ATEN_CPU_CAPABILITY", "PYTHONHASHSEED")
# What fingerprints of older versions do not have.
LATER = ("hashes.backbone_settings",)
# The rooms that decide bits, and the modules of another one that decide what is evaluated when, and with what.
SOURCES = ("core/**/*.py", "models/**/*.py", "data/**/*.py", "run/prepare.py", "run/walk.py", "run/evaluate.py")


def environment(prepared: Prepared) -> dict[str, dict[str, Any]]:
    """The fingerprint of this process, as written to ``env.json``. Runs one training step."""
    device = prepared.model.device
    gpu = _gpu(device)
    processor = _processor()
    must_match = {
        "packages": {name: _version(name) for name in NUMERIC},
        "torch_commit": torch.version.git_version,
        "libraries": _libraries(),
        "code": _code(),
        "device": device.type,
        **({} if gpu is None else {"gpu": gpu}),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        **({"processor": processor} if gpu is None else {}),
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
    informational = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": processor,
        "packages": {name: _version(name) for name in OTHERS},
        "commit": _commit(),
        "variables": {name: os.environ.get(name) for name in THREADING},
        "backbone": attrs.asdict(prepared.proof),
    }
    return {"must_match": must_match, "informational": informational}


def canary(prepared: Prepared) -> str:
    """Digest of the run's first step from its first state: the same wherever the arithmetic is the same."""
    start = prepared.start()
    return digest(prepared.step(start, prepared.stream(start)))


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between the ``must_match`` parts of two fingerprints, a line each."""
    old, new = _flat(before.get("must_match", {})), _flat(now["must_match"])
    new = {name: value for name, value in new.items() if name in old or name not in LATER}
    return [
        f"{name}: {old.get(name)} before, {new.get(name)} now"
        for name in [*old, *(n for n in new if n not in old)]
        if old.get(name) != new.get(name)
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
    from mtlfn.run.memory import driver_version

    return {
        "name": about.name,
        "capability": f"{about.major}.{about.minor}",
        "multiprocessors": about.multi_processor_count,
        "count": torch.cuda.device_count(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "driver": driver_version(),
    }


def _code() -> str:
    """SHA-256 over the source that decides bits."""
    root = Path(mtlfn.__file__).parent
    h = hashlib.sha256()
    for path in sorted(p for pattern in SOURCES for p in root.glob(pattern)):
        h.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return h.hexdigest()


def _commit() -> str | None:
    """The commit of the working tree that the code runs from, if it does, and whether it was changed."""
    root = Path(mtlfn.__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        found = [
            subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, timeout=10, check=True).stdout
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    return found[0].strip() + (" and changes" if found[1].strip() else "")
