"""What a run leaves on the disk to go on from: its checkpoints, and the ledger that says what they should be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
from attrs import define, field, frozen

from mtlfn.core.state import State, combined, leaf_digests
from mtlfn.run import documents
from mtlfn.run.disk import REAL, Disk, sweep
from mtlfn.run.storage import checkpoint, ledger
from mtlfn.run.storage.checkpoint import Saved


class Diverged(Exception):
    """A step came to another digest than the ledger has for it: the run did not repeat."""


@frozen
class Place:
    """Where a run keeps its state, and what it belongs to (the hash of its configuration)."""

    folder: Path
    identity: str
    disk: Disk = REAL

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def ledger(self) -> Path:
        return self.folder / documents.LEDGER


@define
class Archive:
    """The open archive of a run: the one that writes it holds the lines of its ledger."""

    place: Place
    entries: tuple[ledger.Entry, ...] = ()
    ahead: dict[int, ledger.Entry] = field(factory=dict)  # steps the run has been at before, beyond where it is now

    def save(self, state: State) -> Saved:
        """A verified checkpoint, then its line in the ledger."""
        saved = checkpoint.save(self.place.checkpoints, state, self.place.identity, self.place.disk)
        if saved.digest not in ledger.digests(self.entries).get(state.step, ()):
            self._write(ledger.entry(state, self._last(), saved.leaves))
        return saved

    def check(self, state: State) -> None:
        """Compares a state with the line that an earlier attempt wrote at this step, if one did."""
        there = self.ahead.pop(state.step, None)
        if there is None:
            return
        leaves = leaf_digests(state)
        if (reached := combined(leaves)) != there.digest:
            raise Diverged(
                f"step {state.step} was reached before with digest {there.digest} and now with {reached}; the first "
                f"tensor or field that differs is {ledger.first_difference(there, leaves)}. What was there is as it was"
            )

    def accept(self, state: State, change: str) -> State:
        """The state with a change of environment in its lineage; the ledger has it from now on."""
        state = _broken(state, change)
        self._write(ledger.entry(state, self._last(), accepted=change))
        self.ahead = {}
        return state

    def best(self, state: State, like: State) -> State:
        """The state of the best full evaluation up to a state; checkpoint.Damaged where it cannot be used."""
        place = self.place
        return checkpoint.load_best(place.checkpoints, state, like, place.identity, ledger.digests(self.entries))

    def seal(self, state: State, result: str) -> None:
        """The last line: the SHA-256 of the result that was made of the last state."""
        self._write(ledger.entry(state, self._last(), result=result))

    def _last(self) -> str:
        return self.entries[-1].hash if self.entries else self.place.identity

    def _write(self, new: ledger.Entry) -> None:
        self.entries = ledger.write(self.place.ledger, self.entries, new, self.place.disk)


def restore(
    place: Place,
    start: State,
    warn: Callable[[str], None],
    most: int | None = None,
    with_best: bool = False,
) -> tuple[Archive, State | None]:
    """The archive, cleared of what an interrupted writer left, and the newest state in it that is intact.

    ``most``: the steps of which there is a record; a later state is passed over. ``with_best``: so is one whose best
    state is not intact. ledger.Broken where the ledger was altered.
    """
    sweep(place.folder)
    sweep(place.checkpoints)
    entries = ledger.read(place.ledger, place.identity)
    known = ledger.digests(entries)
    state = checkpoint.load_newest(place.checkpoints, start, place.identity, warn, known, most, with_best)
    archive = Archive(place, entries)
    reached = -1 if state is None else state.step
    archive.ahead = {step: e for step, e in ledger.current(entries).items() if step > reached}
    if state is None:
        return archive, None
    if missing := [p.name for p in checkpoint.steps(place.checkpoints) if checkpoint.step_of(p) not in known]:
        warn(
            f"{place.ledger.name} has no line for {', '.join(missing)}: the run was killed between the two, or lines "
            "were cut. What such a checkpoint holds is what it says itself; replay --all proves it"
        )
    if state.step not in known:
        archive._write(ledger.entry(state, archive._last()))
    return archive, with_breaks(state, entries)


def with_breaks(state: State, entries: tuple[ledger.Entry, ...]) -> State:
    """The state with the changes of environment that were accepted at its step, where it lacks them."""
    for change in ledger.breaks(entries).get(state.step, ()):
        if change not in state.lineage.breaks:
            state = _broken(state, change)
    return state


def _broken(state: State, change: str) -> State:
    return attrs.evolve(state, lineage=attrs.evolve(state.lineage, breaks=(*state.lineage.breaks, change)))
