"""Where a PCGrad step of S3b spends its time: launches, gaps, host time, bytes copied, waits, and what costs most.

    python scripts/profile_step.py [--shapes 8x64,16x128] [--steps 3] [--tasks 5] [--json FILE] [--trace FOLDER]
                                   [--device cuda] [--model bert-base] [--precision bf16] [--checkpointing]

On a GPU: *launches* are kernels, copies and fills a step; *busy* is the time in which one of them ran, *gaps* the rest
of the step; *waits* are the places at which the host waited for the GPU, as torch itself warns of them, once a step
being the transfer of losses and Gram matrices. On a CPU: operations a step instead of launches, and Python's share
instead of gaps. *Python* is what our own functions take on the host by Python's profiler, what they call included, and
*calls* what the host spends in single functions. Profiling slows small operations down: the times are for comparison
among themselves, and the step without a profiler stands beside them.
"""

from __future__ import annotations

import cProfile
import pstats
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import bench_parts as parts
import bench_setup
import torch
from bench_setup import HERE, Setup, setup
from torch.profiler import ProfilerActivity, profile

WARM = 3  # steps before any that counts
LISTED = 16


def waits(step: Callable[[], object], device: torch.device) -> dict[str, int]:
    """Where a step waits for the GPU -> how often; nothing on a CPU."""
    if device.type != "cuda":
        return {}
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step()
    finally:
        torch.cuda.set_sync_debug_mode(before)
    places = (f"{Path(w.filename).name}:{w.lineno}" for w in caught if "synchronizing" in str(w.message))
    return dict(Counter(places).most_common())


def on_gpu(profiled: Any, plain: float, steps: int) -> dict[str, Any]:
    """Launches, busy time and copies of a step, from the events of the device, and the gaps in a step of ``plain``
    seconds that is not profiled."""
    events = [e for e in profiled.events() if str(e.device_type).endswith("CUDA")]
    spans = sorted((e.time_range.start, e.time_range.end) for e in events)
    busy, until = 0.0, float("-inf")
    for start, end in spans:
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    copies = [e for e in events if "memcpy" in e.name.lower()]
    averages = [e for e in profiled.key_averages() if "Synchronize" not in e.key]
    host = sum(e.self_cpu_time_total for e in averages) / 1e3 / steps
    return {
        "launches": len(events) / steps,
        "busy (ms)": busy / 1e3 / steps,
        "gaps (ms)": max(plain * 1e3 - busy / 1e3 / steps, 0.0),
        "host, in torch (ms)": host,
        "copies": len(copies) / steps,
        "copied by kind": {name: count / steps for name, count in Counter(e.name for e in copies).items()},
    }


def on_cpu(profiled: Any, seconds: float, steps: int) -> dict[str, Any]:
    """Operations of a step, and the time between them."""
    averages = profiled.key_averages()
    busy = sum(e.self_cpu_time_total for e in averages) / 1e3 / steps
    calls = sum(e.count for e in averages if e.key.startswith("aten::"))
    return {
        "operations": calls / steps,
        "busy (ms)": busy,
        "between operations (ms)": max(seconds * 1e3 / steps - busy, 0.0),
    }


def host(step: Callable[[], object], steps: int) -> dict[str, dict[str, float]]:
    """Milliseconds a step by Python's profiler: of our functions with what they call, and of any function alone."""
    profiler = cProfile.Profile()
    for _ in range(steps):
        profiler.runcall(step)
    ours, alone = {}, {}
    for (file, line, name), (_, calls, own, within, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        place = f"{'/'.join(Path(file).parts[-2:])}:{line} {name}, {calls / steps:.0f} x"
        alone[place] = own * 1e3 / steps
        if "mtlfn" in Path(file).parts:
            ours[place] = within * 1e3 / steps
    return {"Python (ms)": _largest(ours, 2 * LISTED), "calls (ms)": _largest(alone, 2 * LISTED)}


def _largest(costs: dict[str, float], count: int) -> dict[str, float]:
    return dict(sorted(costs.items(), key=lambda item: -item[1])[:count])


def unprofiled(rows: int, width: int, count: int, on: Setup = HERE) -> tuple[Callable[[], object], float]:
    """A step of a shape, and the seconds it takes; before anything is profiled, since a profiler's hooks may stay."""
    problem = parts.problem(rows, width, count, setup=on)
    step = partial(problem.step("merged", "pcgrad"), problem.state, problem.batch)
    return step, min(bench_setup.seconds(step, on.device) for _ in range(WARM))


def measure(
    step: Callable[[], object], plain: float, steps: int, on: Setup = HERE, trace: Path | None = None
) -> dict[str, Any]:
    """The figures of a step that takes so many seconds unprofiled; a trace is written to that file."""
    there = on.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if there else [])]
    with profile(activities=activities):
        step()  # the first profiled step of a process pays for the start of the profiler
    held = 0
    if there:
        torch.cuda.reset_peak_memory_stats(on.device)
        held = torch.cuda.memory_allocated(on.device)
    with profile(activities=activities, profile_memory=False) as profiled:
        seconds = sum(bench_setup.seconds(step, on.device) for _ in range(steps))
    own = "self_device_time_total" if there else "self_cpu_time_total"
    costs = {e.key: getattr(e, own) / 1e3 / steps for e in profiled.key_averages()}
    if trace is not None:
        trace.parent.mkdir(parents=True, exist_ok=True)
        profiled.export_chrome_trace(str(trace))
    figures = on_gpu(profiled, plain, steps) if there else on_cpu(profiled, seconds, steps)
    peak = {"peak (MB)": (torch.cuda.max_memory_allocated(on.device) - held) / 2**20} if there else {}
    return {
        "step (ms)": plain * 1e3,
        "step, profiled (ms)": seconds * 1e3 / steps,
        **figures,
        **peak,
        "waits": waits(step, on.device),
        "costs (ms)": _largest(costs, LISTED),
        **host(step, steps),
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = parts.parser(__doc__, rounds=1, shapes="8x64,16x128")
    parser.add_argument("--steps", type=int, default=3, help="steps that are profiled")
    parser.add_argument("--trace", type=Path, help="folder for traces that chrome://tracing and Perfetto read")
    arguments = parser.parse_args(argv)
    on = setup(arguments)
    machine, figures = parts.begin(arguments.threads, device=on.device), {}
    shapes = parts.shapes_of(arguments.shapes)
    made = {shape: unprofiled(rows, width, arguments.tasks, on) for shape, rows, width in shapes}
    for shape, (step, plain) in made.items():
        trace = arguments.trace and arguments.trace / f"{on.model}-{on.precision}-{shape}.json"
        figures[shape] = found = measure(step, plain, arguments.steps, on, trace)
        print(f"\nS3b, {on.told}, {arguments.tasks} tasks of {shape} tokens: one merged PCGrad step")
        for name, value in found.items():
            if isinstance(value, dict):
                print(f"  {name}{'' if value else ': none'}")
                for what, cost in value.items():
                    print(f"    {what[:70]:<70} {cost:10,.2f}")
            else:
                print(f"  {name:<26} {value:10,.1f}", flush=True)
        parts.write(arguments.json, machine, figures)


if __name__ == "__main__":
    main()
