"""The preflight: what a run needs of the machine, looked at before a night is spent on it. Nothing is left behind."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from attrs import frozen

from mtlfn.core.batch import Batch
from mtlfn.core.state import digest
from mtlfn.run import terminal
from mtlfn.run.config import Config
from mtlfn.run.errors import OK, PREFLIGHT
from mtlfn.run.machine import memory
from mtlfn.run.one import directory
from mtlfn.run.one import summary as texts
from mtlfn.run.one.loop import load
from mtlfn.run.one.prepare import Prepared
from mtlfn.run.storage import checkpoint

CHECKPOINTS = 4  # the newest two, the best, and the one being written
SPARE_BYTES = 200 * 2**20  # exports, predictions, logs


@frozen
class Finding:
    """One line of the preflight."""

    name: str
    good: bool
    detail: str


def examine(strategy: str, config: Config, say: Callable[[str], None] = terminal.say) -> int:
    """Looks at everything, line by line, and returns the exit code."""
    prepared = load(strategy, config)
    folder = directory.resolve(config, strategy)
    failed = 0
    for finding in findings(prepared, folder):
        failed += not finding.good
        say(f"{'ok  ' if finding.good else 'FAIL'}  {finding.name:<12} {finding.detail}")
    say("this run can start" if not failed else f"{failed} of these stand in the way of the run")
    return PREFLIGHT if failed else OK


def findings(prepared: Prepared, folder: Path) -> Iterator[Finding]:
    """What is found, one after the other."""
    yield _device(prepared)
    yield Finding("backbone", True, texts.backbone(prepared))
    yield _memory(prepared)
    place = nearest(folder)
    try:
        with tempfile.TemporaryDirectory(prefix=".mtlfn-doctor-", dir=place) as scratch:
            yield Finding("writing", True, f"{place} can be written")
            size, finding = _save(prepared, Path(scratch))
            yield finding
    except OSError as error:
        yield Finding("writing", False, f"{place} cannot be written ({error.strerror}); name another --output-dir")
        size = 0
    yield space(place, size * CHECKPOINTS + SPARE_BYTES)
    yield from _tasks(prepared)


def nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    folder = folder.resolve()
    return next(p for p in (folder, *folder.parents) if p.is_dir())


def space(place: Path, needed: int) -> Finding:
    """Whether the disk has room for the run's checkpoints and exports."""
    free = shutil.disk_usage(place).free
    return Finding("disk", free >= needed, f"{free / 2**20:,.0f} MB free in {place}, {needed / 2**20:,.0f} MB needed")


def _device(prepared: Prepared) -> Finding:
    device = prepared.model.device
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        return Finding("device", True, f"{device} ({name}), {prepared.config.precision}, deterministic")
    about = f"{torch.get_num_threads()} threads of {os.cpu_count()}, {torch.backends.cpu.get_cpu_capability()}"
    about += f", {prepared.config.precision}, deterministic"
    hidden = " (a CUDA device is there: --device cuda)" if torch.cuda.is_available() else ""
    return Finding("device", True, f"cpu, {about}{hidden}")


def _memory(prepared: Prepared) -> Finding:
    free = memory.free(prepared.model.device)
    needed = 3 * sum(t.numel() * 4 for tensors in prepared.start().params.values() for t in tensors.values())
    return Finding("memory", free > needed, f"{free / 2**20:,.0f} MB free, the state takes {needed / 2**20:,.0f} MB")


def _save(prepared: Prepared, scratch: Path) -> tuple[int, Finding]:
    """A real checkpoint, timed, and its size in bytes."""
    start = prepared.start()
    began = time.monotonic()
    saved = checkpoint.save(scratch, start, prepared.identity_hash)
    written = time.monotonic()
    same = digest(checkpoint.load(saved.path, start, prepared.identity_hash)) == saved.digest
    size = sum(path.stat().st_size for path in saved.path.iterdir())
    detail = f"{size / 2**20:.1f} MB in {written - began:.2f} s, read back in {time.monotonic() - written:.2f} s"
    return size, Finding("checkpoint", same, detail + ("" if same else ", and not what was written"))


def _tasks(prepared: Prepared) -> Iterator[Finding]:
    """One step of each task alone."""
    start = prepared.start()
    batch = prepared.stream(start)
    for task in prepared.tasks:
        part = batch.only(task.name)
        if not part.micro_batches:
            yield Finding("step", True, f"{task.name}: not in the first batch")
            continue
        began = time.monotonic()
        after = prepared.step(start, Batch(part.micro_batches, start.cursors))
        good = after.nonfinite.total == 0
        detail = f"{task.name}: loss {after.last.loss[task.name]:.3f}, {time.monotonic() - began:.2f} s"
        yield Finding("step", good, detail if good else f"{task.name}: loss or gradient not finite")
