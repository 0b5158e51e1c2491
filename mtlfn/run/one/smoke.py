"""The smoke test: 50 real steps on 100 examples, to find in half a minute what would spoil a night.

Nothing of it enters the run: it begins from the run's first state and its last state is thrown away.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

import attrs

from mtlfn.core import state as states
from mtlfn.core.batch import Batch, MicroBatch
from mtlfn.core.gradients import Reach
from mtlfn.core.schedule import Schedule
from mtlfn.core.state import State
from mtlfn.core.step import Step
from mtlfn.data.tokens.collate import collate
from mtlfn.data.tokens.store import Corpus
from mtlfn.data.tokens.stream import evaluation_batches
from mtlfn.models.proof import Proof
from mtlfn.run.documents.smoke import Check, Smoke
from mtlfn.run.machine.memory import Probe
from mtlfn.run.one.evaluate import quick_subset
from mtlfn.run.one.prepare import Prepared

STEPS = 50
EXAMPLES = 100  # of all tasks together
SLOTS = 128  # padded slots of a micro-batch, at most
SEEN_AGAIN = 10  # the first so many batches are looked at again in the end ...
FALL = 0.05  # ... where their mean loss must be lower by this share: more than dropout moves it
GROWTH = 0.25  # memory may grow by this share after the first steps ...
GROWTH_BYTES = 256 * 2**20  # ... or by so much


def smoke(prepared: Prepared, probe: Probe) -> tuple[Check, ...]:
    """The smoke test of a prepared run, at its own learning rate without warm-up or decay."""
    rate = Schedule(peak=prepared.schedule.peak, schedule_tokens=1, warmup_ratio=0.0, decay="constant")
    slots = min(SLOTS, prepared.config.micro_batch_tokens or SLOTS)
    batches = tiny_batches(prepared.train, slots)
    reach = prepared.model.reach
    return proven(prepared.proof), *check(prepared.step_with(rate), prepared.start(), batches, reach, probe)


def proven(proof: Proof) -> Check:
    """What was proven of the backbone before anything else was done; a run whose backbone is wrong never comes here."""
    detail = f"{proof.way} rows of up to {proof.length} tokens, by {proof.difference:.1e} of the largest number at most"
    return Check("the backbone gives what stock transformers gives", True, detail)


def tiny_batches(corpora: Mapping[str, Corpus], slots: int) -> Callable[[int], Batch]:
    """Step -> a batch with a micro-batch of every task, of ``EXAMPLES`` examples that come round again and again."""
    each = max(EXAMPLES // len(corpora), 1)
    rounds = {
        task: [_collated(c, e.tolist()) for e in evaluation_batches(c, quick_subset(task, len(c), each), slots)]
        for task, c in corpora.items()
    }

    def batch(step: int) -> Batch:
        return Batch(tuple(of_task[step % len(of_task)] for of_task in rounds.values()), {})

    return batch


def _collated(corpus: Corpus, examples: Sequence[int]) -> MicroBatch:
    micro_batch = collate(corpus, examples)
    assert micro_batch is not None, "what training draws from has tokens"
    return micro_batch


def check(
    step: Step, start: State, batches: Callable[[int], Batch], reach: Reach, probe: Probe, steps: int = STEPS
) -> tuple[Check, ...]:
    """Steps through the batches and looks at everything; ``reach`` names the tensors that must get a gradient."""
    before = states.digest(start)
    state, losses, memory = start, [], []
    for i in range(steps):
        batch = batches(i)
        state = step(state, attrs.evolve(batch, cursors=state.cursors))
        losses.append(_losses(state))
        if i in (steps // 5, steps - 1):
            memory.append(probe().own)
    late = [_losses(step(state, attrs.evolve(batches(i), cursors=state.cursors))) for i in range(SEEN_AGAIN)]
    again = step(start, attrs.evolve(batches(0), cursors=start.cursors))
    once_more = step(start, attrs.evolve(batches(0), cursors=start.cursors))
    return (
        _finite(state, losses),
        _falling(losses[:SEEN_AGAIN], late),
        _reached(state, reach),
        Check(
            "the step is pure",
            states.digest(start) == before and states.digest(again) == states.digest(once_more),
            "the first state is as it was, and the first step gives the same state again",
        ),
        _round_trip(state),
        _flat(memory),
    )


def verdict(checks: tuple[Check, ...]) -> str | None:
    """What failed, in words; None where nothing did."""
    failed = [f"{c.name}: {c.detail}" for c in checks if not c.passed]
    return "; ".join(failed) or None


def _finite(state: State, losses: list[list[float]]) -> Check:
    wrong = state.nonfinite.total
    good = wrong == 0 and all(math.isfinite(v) for row in losses for v in row)
    detail = f"{wrong} of {len(losses)} steps were not, expected 0"
    return Check("losses and gradients are finite", good, detail)


def _losses(state: State) -> list[float]:
    return [v for v in state.last.loss.values() if v is not None]


def _falling(early: list[list[float]], late: list[list[float]]) -> Check:
    first, last = (sum(map(sum, rows)) / max(sum(map(len, rows)), 1) for rows in (early, late))
    if not math.isfinite(first + last):
        return Check("the loss falls", False, "it was not finite")
    bar = (1 - FALL) * first
    expected = f"expected {bar:.4g} or less, {FALL:.0%} lower, after {STEPS} steps"
    return Check("the loss falls", last <= bar, f"from {first:.4g} to {last:.4g} on the same examples, {expected}")


def _reached(state: State, reach: Reach) -> Check:
    squares = state.optimizer.square
    names = [(slot, name) for slot, tensors in reach.items() for name, tasks in tensors.items() if tasks]
    dead = [f"{slot}|{name}" for slot, name in names if not bool((squares[slot][name] != 0).any())]
    detail = f"{len(names) - len(dead)} of {len(names)}" + (f", not {', '.join(islice(dead, 3))}" if dead else "")
    return Check("every trainable tensor gets a gradient", not dead, detail)


def _round_trip(state: State) -> Check:
    began = time.monotonic()
    same = states.digest(states.decode(states.encode(state), state)) == states.digest(state)
    return Check("saved and loaded, the state is the same", same, f"in {time.monotonic() - began:.2f} s")


def _flat(memory: list[int]) -> Check:
    early, late = memory[0], memory[-1]
    bar = early + max(GROWTH * early, GROWTH_BYTES)
    detail = f"{early / 2**20:,.0f} MB, then {late / 2**20:,.0f} MB, expected {bar / 2**20:,.0f} MB or less"
    return Check("memory is flat", late <= bar, detail)


def document(checks: tuple[Check, ...]) -> Smoke:
    """What ``smoke.json`` says."""
    return Smoke(skipped=False, passed=verdict(checks) is None, checks=checks)
