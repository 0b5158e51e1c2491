"""What a start of many runs shows: a line a run that ended, a bar over tokens, and what runs now."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtlfn.run import documents
from mtlfn.run.many import launch
from mtlfn.run.many.launch import Launch, Outcome
from mtlfn.run.terminal import shown, some

WORDS = {"finished": "finished", "failed": "failed", "left": "left, to go on later", "not begun": "failed"}
NAMES = 3  # of runs, that the bar has room for


class View:
    """Reads the folder of a start and tells what changed; changes nothing."""

    def __init__(self, start: Path, what: Launch, finished: int, say: Callable[[str], None]) -> None:
        """``finished``: how many runs of the plan were, before."""
        self._start, self._what, self._say = start, what, say
        self._before, self._began = finished, set[int]()
        self.ended: dict[int, Outcome] = {}
        self._bar = self._make_bar() if sys.stdout.isatty() else None

    def update(self) -> None:
        """Tells what ended, and on no terminal what began."""
        for number in _numbers(self._start / launch.DONE):
            if number not in self.ended and (outcome := launch.told(self._start, number)) is not None:
                self.ended[number] = outcome
                self._tell(number, outcome)
        running = self._running()
        for number, said in running.items():
            if number not in self._began and number not in self.ended:
                self._began.add(number)
                if self._bar is None:
                    gpu = f", GPU {said['gpu']}" if said.get("gpu") else ""
                    self._say(f"{self._place()} {said['name']}: {self._what.runs[number].tokens:,} tokens{gpu}")
        if self._bar is not None:
            self._show(running)

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def say(self, text: str) -> None:
        """A line, above the bar where there is one."""
        if self._bar is None:
            self._say(text)
        else:
            self._bar.console.print(shown(text), highlight=False, markup=False, soft_wrap=True)

    def _place(self) -> str:
        done = self._before + sum(outcome.state == "finished" for outcome in self.ended.values())
        return f"[{done}/{self._before + len(self._what.runs)}]"

    def _tell(self, number: int, outcome: Outcome) -> None:
        item = self._what.runs[number]
        took = f" in {outcome.seconds / 60:.1f} min" if outcome.state == "finished" else f": {outcome.why}"
        self.say(f"{self._place()} {item.name}: {WORDS[outcome.state]}{took}")

    def _running(self) -> dict[int, dict[str, Any]]:
        out = {}
        for number in _numbers(self._start / launch.RUNNING):
            try:
                out[number] = documents.read(self._start / launch.RUNNING / launch.name(number))
            except (OSError, ValueError):  # ended just now
                continue
        return out

    def _show(self, running: dict[int, dict[str, Any]]) -> None:
        done = sum(self._what.runs[n].tokens for n, outcome in self.ended.items() if outcome.state == "finished")
        now = [number for number in running if number not in self.ended]
        for number in now:
            item = self._what.runs[number]
            done += min(launch.tokens(Path(self._what.root) / item.name), item.tokens)
        names = [shown(self._what.runs[number].name) for number in now]
        assert self._bar is not None
        self._bar.update(self._row, completed=done, place=self._place(), now=some(names, NAMES))

    def _make_bar(self) -> Any:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        bar = Progress(
            TextColumn("{task.fields[place]}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:,}/{task.total:,} tokens", markup=False),
            TimeRemainingColumn(),
            TextColumn("{task.fields[now]}", markup=False),
            speed_estimate_period=600,
        )
        bar.start()
        total = sum(item.tokens for item in self._what.runs)
        self._row = bar.add_task("", total=total, place=self._place(), now="")
        return bar


def _numbers(folder: Path) -> list[int]:
    """The numbers of the runs that have a file there."""
    try:
        return sorted(int(path.stem) for path in folder.iterdir() if path.stem.isdigit() and path.suffix == ".json")
    except FileNotFoundError:
        return []


def pause(seconds: float = 0.25) -> None:
    """Between two looks."""
    time.sleep(seconds)
