"""Memory in use: NVML on a GPU, the resident set on a CPU. A probe is a function, so that tests bring their own."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import torch
from attrs import frozen

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # parameters of glibc's mallopt (malloc.h)


@frozen
class Reading:
    """Bytes in use and bytes in all, of the device that trains; the resident set of this process beside it.

    ``own``: what this process holds on the device. Others may share it, and what they take or free is no leak of ours.
    """

    used: int
    total: int
    resident: int
    own: int


Probe = Callable[[], Reading]


def probe(device: torch.device) -> Probe:
    """The probe of a device. Without NVML (some containers hide it) torch's own counters stand in."""
    process = psutil.Process()
    if device.type != "cuda":

        def read_cpu() -> Reading:
            resident = process.memory_info().rss
            return Reading(resident, psutil.virtual_memory().total, resident, resident)

        return read_cpu
    handle = _handle(device)

    def read_gpu() -> Reading:
        resident, own = process.memory_info().rss, torch.cuda.memory_allocated(device)
        if handle is None:
            free, total = torch.cuda.mem_get_info(device)
            return Reading(total - free, total, resident, own)
        import pynvml

        about = pynvml.nvmlDeviceGetMemoryInfo(handle)
        return Reading(int(about.used), int(about.total), resident, own)

    return read_gpu


def peak(device: torch.device) -> dict[str, int]:
    """The most that this process held so far: "resident", and on a GPU what torch held of its memory, "allocated"."""
    readings = {"resident": peak_resident()}
    return readings | ({"allocated": torch.cuda.max_memory_allocated(device)} if device.type == "cuda" else {})


def peak_resident() -> int:
    """The largest resident set of this process so far; macOS counts it in bytes, Linux in KiB."""
    with (
        suppress(OSError),
        open("/proc/self/status") as lines,
    ):  # unlike getrusage, not that of the one it was forked from
        for line in lines:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def reset_peak() -> bool:
    """Makes the largest resident set the one of now; False where the system has no such thing (Linux has)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def keep_freed() -> None:
    """Lets this process keep the memory that it frees, to use it again; on other systems than Linux nothing happens.

    glibc gives a large block back to the system as soon as it is freed, and the system fills the next one with zeros,
    page by page: a step of 10,000 tokens took 1.2 to 1.5 times as long. The peak is as high, the resident set stays.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)


def give_back() -> None:
    """Gives the system what this process has freed and kept; on other systems than Linux nothing happens."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


@contextmanager
def uncollected() -> Iterator[None]:
    """What lives at the start is not looked at by the garbage collector until the end.

    Half a million objects of the libraries otherwise took 0.17 s every hundred steps.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def driver_version() -> str | None:
    """The version of the NVIDIA driver, where NVML tells it."""
    import pynvml

    try:
        pynvml.nvmlInit()
        version = pynvml.nvmlSystemGetDriverVersion()
    except pynvml.NVMLError:
        return None
    return version.decode() if isinstance(version, bytes) else str(version)


def _handle(device: torch.device) -> Any:
    """NVML's handle of a CUDA device, found by its UUID: CUDA_VISIBLE_DEVICES renumbers devices, NVML does not."""
    import pynvml

    try:
        pynvml.nvmlInit()
        return pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}".encode())
    except pynvml.NVMLError:
        return None


def exhausted(error: BaseException) -> str | None:
    """What to say of an error that is a want of memory, on a GPU or here; None where it is another one."""
    said = str(error).partition("\n")[0]
    if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and "can't allocate memory" not in said:
        return None
    reason = ". ".join(said.split(". ")[:2]).strip(" .") or type(error).__name__
    return (
        f"out of memory: {reason}. What was saved stands. Less is needed with a smaller --micro-batch-tokens, with "
        "--engine loop or with --gradient-checkpointing, in another --output-dir; or free memory and go on"
    )


def free(device: torch.device) -> int:
    """Bytes that could still be taken on the device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available
