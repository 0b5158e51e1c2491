"""Observers see every step and change nothing: ``metrics.jsonl`` is the truth, the console a view."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import attrs
import torch

from mtlfn.core.batch import Batch
from mtlfn.core.schedule import Schedule, learning_rate
from mtlfn.core.state import State
from mtlfn.run.documents.result import Conflict
from mtlfn.run.terminal import shown

SILENCE = 10.0  # seconds that an evaluation says nothing

Observer = Callable[[State, Batch], None]
Clock = Callable[[], float]  # seconds, from any origin, never backwards


class TrainingClock:
    """Seconds spent training: stands still while paused, so that evaluations and saves do not count as steps."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._away = clock, 0.0

    def __call__(self) -> float:
        return self._clock() - self._away

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The time inside does not count."""
        began = self._clock()
        try:
            yield
        finally:
            self._away += self._clock() - began


def metrics_writer(write: Callable[[dict], None], schedule: Schedule, budget: int, clock: Clock) -> Observer:
    """Writes a line a step."""
    began, seen = clock(), -1
    previous = began

    def observe(state: State, batch: Batch) -> None:
        nonlocal previous, seen
        now, total = clock(), state.input_tokens
        if seen < 0:
            seen = total - batch.tokens.input
        rate = (total - seen) / max(now - began, 1e-9)
        line = {
            "step": state.step,
            "tokens": total,
            "tokens_per_task": {t: c.input for t, c in state.tokens.items()},
            "batch_tokens": {t: batch.tokens_of(t).input for t in state.tokens},
            "tasks_in_step": len(batch.present),
            "loss": state.last.loss,
            "weighted": state.last.weighted,
            "sigma": {t: float(torch.exp(s / 2)) for t, s in state.sigma.items()},
            "conflicts": {pair: attrs.asdict(row) for pair, row in conflict_table(state).items()},
            "grad_norm": state.last.grad_norm,
            "learning_rate": learning_rate(schedule, total),
            "nonfinite": state.nonfinite.total,
            "loss_scale": state.scaler.scale,
            "seconds_per_step": now - previous,
            "tokens_per_second": rate,
            "examples_per_second": batch.tokens.examples / max(now - previous, 1e-9),
            "eta_seconds": (budget - total) / rate,
        }
        previous = now
        write(line)

    return observe


def conflict_table(state: State) -> dict[str, Conflict]:
    """Per ordered pair "i > j"."""
    return {
        f"{i} > {j}": Conflict(
            met=c.met,
            negative=c.negative,
            frequency=c.negative / c.met if c.met else None,
            cosine=c.cosine / c.met if c.met else None,
        )
        for i, row in state.conflicts.items()
        for j, c in row.items()
    }


class Reporter:
    """Lines for a person: to the console, and to ``train.log``; a progress bar where the console is a terminal."""

    def __init__(self, log: Path | None, stream: TextIO | None = None) -> None:
        self._log, self._stream = log, stream or sys.stdout
        self._bar: Any = None

    def say(self, text: str = "") -> None:
        """One or more lines."""
        text = shown(text, "\n\t")
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=self._stream, flush=True)
        self.log(text)

    def log(self, text: str) -> None:
        """Lines for the log alone."""
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(shown(text, "\n\t") + "\n")

    def progress(self, budget: int, clock: Clock, lines: int = 20) -> Observer:
        """An observer: a bar on a terminal, otherwise a line every ``1 / lines`` of the budget."""
        if self._stream.isatty():
            return self._show_bar(budget)
        began, start, said, examples = clock(), -1, -1, 0

        def observe(state: State, batch: Batch) -> None:
            nonlocal start, said, examples
            total, examples = state.input_tokens, examples + batch.tokens.examples
            if start < 0:
                start, said = total - batch.tokens.input, (total - batch.tokens.input) * lines // budget
            if (part := total * lines // budget) > said:
                said = part
                seconds = max(clock() - began, 1e-9)
                rate = (total - start) / seconds
                self.say(
                    f"step {state.step:>5}  {total / budget:>4.0%}  {total:>9,} tokens  {_losses(state)}  "
                    f"norm {state.last.grad_norm:.2f}  {rate:,.0f} tokens/s  "
                    f"{examples / seconds:.0f} examples/s  left {_duration((budget - total) / rate)}"
                )

        return observe

    def _show_bar(self, budget: int) -> Observer:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("step {task.fields[step]}"),
            BarColumn(),
            TextColumn("{task.completed:,}/{task.total:,} tokens  {task.fields[losses]}"),
            TimeRemainingColumn(),
        )
        self._bar.start()
        row = self._bar.add_task("", total=budget, step=0, losses="")

        def observe(state: State, batch: Batch) -> None:
            self._bar.update(row, completed=state.input_tokens, step=state.step, losses=_losses(state))

        return observe

    def evaluating(self, split: str, task: str, total: int, clock: Clock = time.monotonic) -> Callable[[int], None]:
        """Told how many of a task's examples are evaluated; says so now and then, if it takes long."""
        began = said = clock()

        def done(count: int) -> None:
            nonlocal said
            if (now := clock()) - said >= SILENCE:
                said = now
                left = _duration((total - count) * (now - began) / count)
                self.say(f"evaluating {split} of {task}  {count / total:>4.0%} of {total:,} examples  left {left}")

        return done

    def close(self) -> None:
        """Takes the bar away; later lines are plain."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _losses(state: State) -> str:
    known = [v for v in state.last.loss.values() if v is not None]
    return f"loss {sum(known) / max(len(known), 1):.3f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
