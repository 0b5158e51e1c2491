"""The largest micro-batch that fits into memory, found once before training with accelerate's helper.

The size decides bits, so what is found is part of the run's identity, and a run that resumes never searches again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import psutil
import torch

from mtlfn.core.batch import Batch
from mtlfn.core.state import State
from mtlfn.core.step import Step
from mtlfn.data.tokens.collate import collate
from mtlfn.data.tokens.store import Corpus
from mtlfn.data.tokens.stream import evaluation_batches, example_sizes
from mtlfn.run.errors import UsageError
from mtlfn.run.machine import memory

MARGIN = 0.10  # of the device's memory stays free
LEAST = 32  # slots; below, single examples decide

Try = Callable[[int], float]  # runs a step with so many slots; the share of memory that stayed free


class NoMargin(RuntimeError):
    """It fits, but too tightly. In words that accelerate's helper takes for an out-of-memory error."""


def search(attempt: Try, start: int) -> int:
    """``start`` slots, or half as many, again and again, until a step fits with the margin.

    UsageError where not even the least does.
    """
    from accelerate.utils import find_executable_batch_size

    size = start

    def halved() -> int:
        nonlocal size
        size = size // 2 if size // 2 >= min(LEAST, start) else 0
        return size

    def fits(batch_size: int) -> int:
        if (free := attempt(batch_size)) < MARGIN:
            raise NoMargin(f"{free:.0%} of the memory stays free: out of memory.")
        return batch_size

    try:
        return find_executable_batch_size(fits, starting_batch_size=start, reduce_batch_size_fn=halved)()
    except RuntimeError as error:
        if "No executable batch size" not in str(error):
            raise
        raise UsageError(
            f"--micro-batch-tokens: a step of {max(LEAST, 1)} slots a task does not fit into memory; "
            "try --engine loop, a smaller --max-length or a smaller --backbone"
        ) from None


def heaviest(corpora: Mapping[str, Corpus], slots: int, cursors: Mapping) -> Batch:
    """A batch with the micro-batch of every task that has most padded slots, of its longest examples."""
    micro_batches = []
    for corpus in corpora.values():
        _, longest = example_sizes(corpus)
        chosen = np.argsort(-longest, kind="stable")[: max(slots, 1)]
        micro_batches.append(
            max((collate(corpus, e.tolist()) for e in evaluation_batches(corpus, chosen.tolist(), slots)), key=_padded)
        )
    return Batch(tuple(micro_batches), cursors)


def attempt(step: Step, start: State, corpora: Mapping[str, Corpus], device: torch.device) -> Try:
    """Runs one step of the heaviest batch on the device and measures what it took at its peak."""
    process = psutil.Process()

    def run(slots: int) -> float:
        batch = heaviest(corpora, slots, start.cursors)
        if device.type == "cuda":
            torch.cuda.empty_cache()  # what an earlier try that did not fit has left
            torch.cuda.reset_peak_memory_stats(device)
            step(start, batch)
            total = torch.cuda.get_device_properties(device).total_memory
            return 1 - torch.cuda.max_memory_reserved(device) / total
        memory.give_back()  # what an earlier try took and freed
        fresh = memory.reset_peak()
        before, resident, peak = psutil.virtual_memory(), process.memory_info().rss, memory.peak_resident()
        step(start, batch)
        # The peak of the process, where it was in this step; otherwise what is kept of it now.
        now = memory.peak_resident()
        grown = (now if fresh or now > peak else process.memory_info().rss) - resident
        return (before.available - grown) / before.total

    return run


def _padded(micro_batch) -> int:
    return micro_batch.tokens.padded
