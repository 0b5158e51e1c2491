"""How far a step is from its matrix products: the time of an S3b PCGrad step over that of the bare products in it.

One step runs under a recorder that notes the operands of every matrix product, forward and backward, adapters, heads,
PCGrad's Gram matrices and weighted sums included. The floor repeats the products in their order on operands of equal
shapes, strides and types, with results written into tensors that are there already; operands of equal layout share
memory. Attention counts as two batched products forward and four backward: what its fused kernel computes again is
the kernel's own affair (but the bare products write their scores to memory, which the kernel does not). The recorded
work is compared with torch's own count of floating point operations before anything is timed.

Then a profile says which operations the rest of the step goes to. Profiling slows small operations and Python down:
its times are for comparison among themselves. On a GPU the bare products are launched one by one: where they are small,
the floor is what their launches take the host.

    python scripts/bench_floor.py [--shapes 8x64,2x32] [--rounds 15] [--tasks 5] [--json FILE]
                                  [--device cuda] [--model bert-base]
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import bench_parts as parts
import bench_setup
import torch
from attrs import frozen
from bench_setup import CPU, HERE, Setup, setup
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

ATEN = torch.ops.aten
# Operation -> its name here, and where its two operands stand among its arguments.
PRODUCTS = {
    ATEN.mm: ("mm", 0),
    ATEN.addmm: ("mm", 1),
    ATEN.bmm: ("bmm", 0),
    ATEN.baddbmm: ("bmm", 1),
    ATEN.mv: ("mv", 0),
    ATEN.addmv: ("mv", 1),
    ATEN.dot: ("dot", 0),
}
KERNELS = ("flash_attention_for_cpu", "flash_attention", "efficient_attention", "cudnn_attention")
ATTENTION = [getattr(ATEN, f"_scaled_dot_product_{kernel}") for kernel in KERNELS]
ATTENTION_BACKWARD = [getattr(ATEN, f"_scaled_dot_product_{kernel}_backward") for kernel in KERNELS]
NAMES = {f"aten::{name}" for name in ("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "addmv_", "dot")} | {
    f"aten::{packet.__name__}" for packet in (*ATTENTION, *ATTENTION_BACKWARD)
}
NAMES |= {f"aten::_{kernel}_{way}" for kernel in KERNELS for way in ("forward", "backward")}  # under these on a GPU
REST = 16  # operations that the profile lists


@frozen
class Layout:
    """What decides the time of an operand."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> Layout:
        return cls(tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype)

    @classmethod
    def plain(cls, dtype: torch.dtype, *shape: int) -> Layout:
        """Contiguous."""
        return cls.of(torch.empty(shape, dtype=dtype, device="meta"))

    def turned(self) -> Layout:
        """With its last two dimensions exchanged."""
        (*head, a, b), (*steps, c, d) = self.shape, self.strides
        return Layout((*head, b, a), (*steps, d, c), self.dtype)

    def tensor(self, device: torch.device) -> Tensor:
        """Random numbers in this layout."""
        size = 1 + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        return torch.randn(size, dtype=self.dtype, device=device).as_strided(self.shape, self.strides)


@frozen
class Product:
    """A matrix product: "mm", "bmm", "mv" or "dot" of two operands; whether it is part of attention."""

    name: str
    left: Layout
    right: Layout
    attention: bool = False

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        return 2 * math.prod(self.left.shape) * (self.right.shape[-1] if "mm" in self.name else 1)


class Recorder(TorchDispatchMode):
    """Notes every matrix product that runs below it."""

    def __init__(self) -> None:
        super().__init__()
        self.products: list[Product] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        packet = operation.overloadpacket
        if packet in PRODUCTS:
            name, at = PRODUCTS[packet]
            self.products.append(Product(name, Layout.of(args[at]), Layout.of(args[at + 1])))
        elif packet in ATTENTION:
            self.products += attention(*args[:3])
        elif packet in ATTENTION_BACKWARD:
            self.products += attention_backward(*args[1:4])
        return operation(*args, **(kwargs or {}))


def _heads(query: Tensor, key: Tensor, value: Tensor) -> tuple[Layout, Layout, Layout, Layout]:
    """Layouts of [rows x heads, ...]: query, key, value and scores."""
    batch, dtype = query.shape[0] * query.shape[1], query.dtype
    flat = (Layout.plain(dtype, batch, *t.shape[2:]) for t in (query, key, value))
    return *flat, Layout.plain(dtype, batch, query.shape[2], key.shape[2])


def attention(query: Tensor, key: Tensor, value: Tensor) -> list[Product]:
    """Scores, and what they mix."""
    q, k, v, scores = _heads(query, key, value)
    return [Product("bmm", q, k.turned(), True), Product("bmm", scores, v, True)]


def attention_backward(query: Tensor, key: Tensor, value: Tensor) -> list[Product]:
    """The gradients of values, scores, query and key."""
    q, k, v, scores = _heads(query, key, value)
    mixed = Layout.plain(query.dtype, *q.shape[:2], v.shape[2])
    return [
        Product("bmm", scores.turned(), mixed, True),
        Product("bmm", mixed, v.turned(), True),
        Product("bmm", scores, k, True),
        Product("bmm", scores.turned(), q, True),
    ]


def record(step: Callable[[], object]) -> list[Product]:
    """The products of one step."""
    with Recorder() as recorder:
        step()
    return recorder.products


def check(products: Sequence[Product], step: Callable[[], object]) -> int:
    """Floating point operations of the products; Mismatch where torch counts others outside of attention."""
    with FlopCounterMode(display=False) as counter:
        step()
    counted = counter.get_flop_counts()["Global"]
    expected = sum(counted.get(packet, 0) for packet in PRODUCTS)
    # torch counts no products with a vector.
    recorded = sum(p.flops for p in products if "mm" in p.name and not p.attention)
    if expected != recorded:
        raise parts.Mismatch(f"recorded products of {recorded:,} operations, torch counts {expected:,}")
    if not any(p.attention for p in products):
        raise parts.Mismatch("no attention was recorded: this processor runs it by an operation that is not known here")
    return sum(p.flops for p in products)


def bare(products: Sequence[Product], device: torch.device = CPU) -> Callable[[], None]:
    """What runs the products alone."""
    held: dict[tuple[str, Layout], Tensor] = {}

    def there(role: str, layout: Layout) -> Tensor:
        return held.setdefault((role, layout), layout.tensor(device))

    calls = []
    for p in products:
        left, right, run = there("left", p.left), there("right", p.right), getattr(torch, p.name)
        calls.append((run, left, right, there("out", Layout.of(run(left, right)))))

    def floor() -> None:
        for run, left, right, out in calls:
            run(left, right, out=out)

    return floor


def rest(step: Callable[[], object], device: torch.device = CPU, steps: int = 3) -> dict[str, float]:
    """Milliseconds of a profiled step outside of its products, by operation; the largest first. On a GPU those of its
    kernels."""
    there = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if there else [])]) as profiled:
        took = sum(bench_setup.seconds(step, device) for _ in range(steps)) / steps
    if there:  # the profiler slows the host
        took = min(bench_setup.seconds(step, device) for _ in range(steps))
    time_of = "self_device_time_total" if there else "self_cpu_time_total"
    events = [e for e in profiled.key_averages() if not there or e.key.startswith("aten::")]  # not the kernels again
    own = {event.key: getattr(event, time_of) / 1e3 / steps for event in events}
    out = {name: value for name, value in own.items() if name not in NAMES}
    out["idle: the host is behind" if there else "between operations (Python)"] = max(
        took * 1e3 - sum(own.values()), 0.0
    )
    return dict(sorted(out.items(), key=lambda item: -item[1]))


def measure(rows: int, width: int, count: int, rounds: int, on: Setup = HERE) -> dict[str, Any]:
    """Medians, the ratio of a step to its products, and where the rest goes."""
    problem = parts.problem(rows, width, count, setup=on)
    step = partial(problem.step("merged", "pcgrad"), problem.state, problem.batch)
    products = record(step)
    flops, floor = check(products, step), bare(products, on.device)
    seconds = parts.interleaved({"step": step, "products": floor}, rounds, on.device)
    return {
        "step (s)": statistics.median(seconds["step"]),
        "products (s)": statistics.median(seconds["products"]),
        "ratio": parts.ratio(seconds["step"], seconds["products"]),
        "products": len(products),
        "flops": flops,
        "rest (ms)": rest(step, on.device),
    }


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parts.parser(__doc__, rounds=15, shapes="8x64,2x32").parse_args(argv)
    on = setup(arguments)
    machine, figures = parts.begin(arguments.threads, device=on.device), {}
    for shape, rows, width in parts.shapes_of(arguments.shapes):
        figures[shape] = found = measure(rows, width, arguments.tasks, arguments.rounds, on)
        print(f"\nS3b, {on.told}, {arguments.tasks} tasks of {shape} tokens: one merged PCGrad step")
        print(f"  step               {found['step (s)'] * 1e3:8.1f} ms")
        speed = found["flops"] / found["products (s)"] / 1e9
        bare_ms = found["products (s)"] * 1e3
        print(f"  bare products      {bare_ms:8.1f} ms  {found['products']:,} at {speed:.0f} GFLOP/s")
        print(f"  step / products    {found['ratio']:8.2f}")
        whole = sum(found["rest (ms)"].values())
        print(f"  outside of the products, as profiled: {whole:.1f} ms a step")
        for name, value in list(found["rest (ms)"].items())[:REST]:
            print(f"    {name[:44]:<44} {value:8.2f} ms  {value / whole:6.1%}", flush=True)
        parts.write(arguments.json, machine, figures)


if __name__ == "__main__":
    main()
