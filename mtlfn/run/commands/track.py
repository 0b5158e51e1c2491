"""``mtlfn track``: what a run writes into ``metrics.jsonl``, sent to trackers from a process of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define, evolve

from mtlfn.run import documents, terminal
from mtlfn.run.disk import PASSING, make_folder
from mtlfn.run.documents import Altered, typed
from mtlfn.run.documents.configuration import Configuration
from mtlfn.run.errors import OK, UsageError
from mtlfn.run.storage import lock
from mtlfn.run.track import follow, points
from mtlfn.run.track.trackers import TRACKERS, Run, Sink

if TYPE_CHECKING:
    from mtlfn.run.commands.command import Track

FOLDER = "track"  # of a run or study: cursors, and what trackers write on this machine
OPEN = {"inconclusive", "not learnt"}  # verdicts with which a study goes on to its next look
TOGETHER = 500  # lines that are sent at once

Say = Callable[[str], None]


def track(asked: Track, say: Say = terminal.say) -> int:
    """Sends what was not sent; with ``follow`` until the runs have ended. UsageError where there is nothing to follow.

    Nothing of a run is written, or locked: it cannot notice.
    """
    names = [name.strip() for name in asked.to.split(",") if name.strip()]
    unknown = [name for name in names if name not in TRACKERS]
    if unknown or not names:
        wrong = unknown[0] if unknown else asked.to
        raise UsageError(f"--to {wrong}: is no tracker, expected some of {', '.join(TRACKERS)}, parted by commas")
    if not _runs(asked.run):
        raise UsageError(f"{asked.run}: is no run (with {documents.CONFIG}), and no study with one")
    folder = asked.output or asked.run / FOLDER
    with ExitStack() as stack:
        try:
            make_folder(folder)
            stack.enter_context(lock.held(folder / "lock", say))
        except lock.Busy:
            raise UsageError(f"{folder}: is in use by another mtlfn track; wait for it, or stop it") from None
        except OSError as error:
            if error.errno in PASSING:
                raise
            raise UsageError(
                f"{folder}: cannot be written ({error.strerror}); name another folder with --output"
            ) from None
        _follow(asked, names, folder, stack, say)
    return OK


def _follow(asked: Track, names: Sequence[str], folder: Path, stack: ExitStack, say: Say) -> None:
    streams: dict[tuple[Path, str], _Stream] = {}
    counts = dict.fromkeys(names, 0)
    while True:
        ended = _ended(asked.run)  # looked at before the lines are: what a run wrote last is then there
        for path in _runs(asked.run):
            for name in names:
                if (path, name) not in streams:
                    streams[path, name] = _opened(asked, path, name, folder)
                    stack.callback(streams[path, name].close)
                counts[name] += streams[path, name].pump()
                if not asked.follow:
                    streams[path, name].close()
        if not asked.follow or ended:
            break
        time.sleep(asked.every)
    for name, count in counts.items():
        say(f"{name}: {count:,} lines of {len({path for path, _ in streams}):,} run(s) sent")


@define
class _Stream:
    """A run on its way to a tracker; which is opened when there is something to send."""

    tail: follow.Tail
    place: Path
    cursor: follow.Cursor
    open: Callable[[str], Sink]
    sink: Sink | None = None

    def pump(self) -> int:
        """Sends what is new; how many lines. The cursor goes first, so that nothing is sent twice."""
        count = 0
        for lines in _together(self.tail.lines(self.cursor.last)):
            if self.sink is None:
                self.sink = self.open(self.cursor.name)
            self.cursor = evolve(self.cursor, last=lines[-1][0], name=self.sink.key)
            follow.write_cursor(self.place, self.cursor)
            self.sink.send([(line["step"], points.points(line), points.message(line)) for _, line in lines])
            count += len(lines)
        return count

    def close(self) -> None:
        if self.sink is not None:
            self.sink.close()
            self.sink = None


def _together(lines: Iterator) -> Iterator[list]:
    batch = []
    for line in lines:
        batch.append(line)
        if len(batch) == TOGETHER:
            yield batch
            batch = []
    if batch:
        yield batch


def _opened(asked: Track, path: Path, name: str, folder: Path) -> _Stream:
    try:
        configuration = typed.read(path, Configuration)
    except (OSError, Altered) as error:
        raise UsageError(f"{path / documents.CONFIG}: cannot be used ({error}); give the run's command again") from None
    of_study = path.resolve() != asked.run.resolve()
    shown = path.relative_to(asked.run).as_posix() if of_study else path.resolve().name
    digest = configuration.hash or documents.CONFIG
    place = folder / name / f"{shown.replace('/', '+')}.json"
    cursor = follow.read_cursor(place)
    if cursor.digest not in ("", digest):
        raise UsageError(f"{place}: belongs to another run that lay at {path}; remove it to send this one")
    facts = {"experiment": configuration.experiment, **configuration.identity}
    group = asked.run.resolve().name if of_study else ""
    run = Run(name=shown, group=group, facts=facts, key=digest[:16], folder=folder)
    return _Stream(
        follow.Tail(path / documents.METRICS),
        place,
        evolve(cursor, digest=digest),
        lambda key: TRACKERS[name](run, key, asked.project),
    )


def _runs(path: Path) -> list[Path]:
    """The run, or the runs of a study, that have begun."""
    if (path / documents.CONFIG).is_file():
        return [path]
    return sorted(found.parent for found in path.rglob(documents.CONFIG) if (found.parent / documents.DATA).is_file())


def _ended(path: Path) -> bool:
    """A run has a result. A study has a verdict, of its last look or on every task, and nothing has gone on since."""
    if (path / documents.CONFIG).is_file():
        return (path / documents.RESULT).is_file()
    try:
        told = path / documents.REPORT / documents.VERDICT
        document, when = json.loads(told.read_bytes()), told.stat().st_mtime_ns
        metrics = [run / documents.METRICS for run in _runs(path)]
        if any(file.is_file() and file.stat().st_mtime_ns > when for file in metrics):
            return False
        last, studies = document["settings"]["looks"][-1], document["studies"]
        rows = [row for study in studies for row in study["tasks"].values()]
        decided = not any(study["exploratory"] for study in studies) and not {row["verdict"] for row in rows} & OPEN
        return decided or all(len(study["seeds"]) >= last for study in studies)
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return False  # not written yet, or not to the end
