"""Monitors raise each alarm once, and none on an honest run; readings, losses and clocks are made up."""

from __future__ import annotations

import gc
import math
import platform
import subprocess
import sys

import attrs
import pytest

from mtlfn.core.state import Last, NonFinite
from mtlfn.run.machine import memory
from mtlfn.run.machine.memory import Reading, probe
from mtlfn.run.watch import monitors
from tests.core import tiny

MB = 2**20


def at(step: int, loss: float = 1.0, in_a_row: int = 0):
    begun = tiny.begin()
    last = Last(dict.fromkeys(tiny.TASKS, loss), dict.fromkeys(tiny.TASKS, loss))
    return attrs.evolve(begun, step=step, last=last, nonfinite=NonFinite(in_a_row, in_a_row))


def raised(observe, states) -> None:
    for state in states:
        observe(state, tiny.batch(0))


@pytest.mark.parametrize(
    ("used", "leak"),
    [
        (lambda i: 1000 * MB, False),
        (lambda i: (1000 + 30 * i) * MB, True),
        (lambda i: (1000 + 400 * (1 - math.exp(-i / 2))) * MB, False),  # warms up, then stands
        (lambda i: (1000 + 300 * (i % 2)) * MB, False),  # waves
        (lambda i: (1000 + i) * MB, False),  # too little to matter
    ],
)
def test_a_leak_is_told_by_its_slope_once(used, leak):
    said, written, now = [], [], [0]

    def read() -> Reading:
        now[0] += 1
        beside = 2000 * MB * (now[0] % 3)  # another process on the device, which takes and frees
        return Reading(int(used(now[0])) + beside, 16_000 * MB, 0, int(used(now[0])))

    observe = monitors.memory(read, written.append, lambda *alert: said.append(alert), every=1)
    raised(observe, map(at, range(1, 41)))
    assert [line["event"] for line in written] == ["memory"] * 40
    assert {"used", "total", "resident", "own", "step"} <= set(written[0])
    assert len(said) == leak
    if leak:
        step, kind, message = said[0]
        assert (step, kind) == (monitors.WINDOW, "memory")
        assert "570 MB" in message


def test_memory_is_read_every_fifty_steps():
    written = []
    observe = monitors.memory(lambda: Reading(1, 2, 1, 1), written.append, lambda *_: None)
    raised(observe, map(at, range(1, 201)))
    assert [line["step"] for line in written] == [50, 100, 150, 200]


def test_the_growth_is_the_slope_of_most_pairs_not_of_an_outlier():
    assert monitors.growth([0, 1, 2, 3, 4]) == 4
    assert monitors.growth([0, 1, 2, 300, 4]) == pytest.approx(4, rel=0.5)


def test_an_explosion_is_told_once_and_rare_large_losses_are_none():
    for losses, expected in (
        ([1.0] * 200 + [20.0] * 40, 1),
        ([0.02, 0.02, 0.02, 4.0] * 60, 0),  # a rare label in every fourth step
        ([2.0 / (1 + i) for i in range(200)], 0),
        ([math.nan] * 50, 0),
    ):
        said = []
        raised(monitors.losses(lambda *alert, to=said: to.append(alert)), (at(i, v) for i, v in enumerate(losses)))
        assert len(said) == expected, losses[:5]
        assert all(kind == "explosion" for _, kind, _ in said)


def test_each_stretch_that_is_not_finite_is_told_once():
    said = []
    rows = [0, 1, 2, 0, 0, 1, 0]
    raised(monitors.losses(lambda *alert: said.append(alert)), (at(i, 1.0, n) for i, n in enumerate(rows)))
    assert [(step, kind) for step, kind, _ in said] == [(1, "nonfinite"), (5, "nonfinite")]


def test_an_alert_goes_to_the_metrics_and_the_console():
    written, said = [], []
    monitors.alerts(written.append, said.append)(7, "memory", "grew")
    assert written == [{"step": 7, "event": "alert", "kind": "memory", "message": "grew"}]
    assert "ALERT" in said[0]
    assert "step 7" in said[0]


def test_the_probe_of_a_cpu_reads_this_process():
    import torch

    found = probe(torch.device("cpu"))()
    assert 10 * MB < found.used == found.resident < found.total


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep what is freed")
def test_freed_memory_is_kept():
    """200 MB, filled and freed, are still resident, as they are not without having asked."""
    code = """
import numpy, psutil
from mtlfn.run.machine import memory
def kept():
    before = psutil.Process().memory_info().rss
    block = numpy.ones(25_000_000)
    del block
    return (psutil.Process().memory_info().rss - before) // 2**20
print(kept()); memory.keep_freed(); print(kept())
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    without, kept = map(int, ended.stdout.split())
    assert without < 20
    assert 170 < kept < 210


def test_what_lives_is_not_collected_until_the_end():
    gc.unfreeze()
    with memory.uncollected():
        assert gc.get_freeze_count() > 1000
    assert gc.get_freeze_count() == 0
    with pytest.raises(KeyboardInterrupt), memory.uncollected():
        raise KeyboardInterrupt
    assert gc.get_freeze_count() == 0


def test_elsewhere_nothing_is_asked_of_the_allocator(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    monkeypatch.setattr(memory.ctypes, "CDLL", None)
    memory.keep_freed()
