"""What every process of a run but the first does: the same walk, without a disk, a console or a clock of its own.

Exchange by exchange this is what the first process does in ``loop.run`` and ``start.run``. It decides when something
ends, and with which exit code; a process that follows can only ask for it (a signal), or end all with an error.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NoReturn

import attrs

from mtlfn.core.batch import Batch
from mtlfn.core.state import State
from mtlfn.models.model import check_params
from mtlfn.run.config import Config
from mtlfn.run.machine import deadline, memory
from mtlfn.run.machine.processes import Processes
from mtlfn.run.one import together
from mtlfn.run.one.evaluations import Evaluations, Leaving, side_by_side
from mtlfn.run.one.fingerprint import environment
from mtlfn.run.one.loop import load
from mtlfn.run.one.prepare import Prepared
from mtlfn.run.one.start import signals
from mtlfn.run.one.surroundings import of_each
from mtlfn.run.one.training import Hooks, train
from mtlfn.run.one.walk import Walk, cadence


def follow(strategy: str, config: Config, processes: Processes) -> NoReturn:
    """Takes part in a run until the first process ends it, which is raised (Ended).

    Raises:
        Mismatch: this process sees another run, another environment, or comes to another state.
    """
    prepared = together.load_in_turn(partial(load, strategy), config, processes)
    prepared = attrs.evolve(prepared, identity=processes.share_json(None))
    together.same_environment(environment(prepared, processes.size), processes)
    with memory.uncollected(), signals() as signalled:
        state = together.share_state(prepared.start(), processes)
        check_params(prepared.model, state.params)

        def stop() -> str | None:
            return together.reason("asked to stop" if signalled() else None, processes)

        limit = deadline.Deadline(deadline.began(), config.max_hours)  # asked by the first process alone
        evaluations = Evaluations(Path(), limit, lambda *_: lambda _: None, stop, processes)
        walk, hooks = _surroundings(prepared, evaluations, processes)
        if not walk.finished(state) and (owed := processes.share_json(None)):
            prepared.predicted(state, "dev", of_each(owed, prepared), side_by_side(processes))
        ended = train(walk, state, hooks)
        if ended.why is None:
            _conclude(prepared, ended.state, evaluations, evaluated=ended.evaluation is not None)
        while True:
            processes.wait()


def _surroundings(prepared: Prepared, evaluations: Evaluations, processes: Processes) -> tuple[Walk, Hooks]:
    """The walk on all processes, and the hooks that answer to those of the first."""
    config, quickly = prepared.config, side_by_side(processes)
    count = of_each(config.quick_eval_examples, prepared)

    def nothing(state: State, of: object) -> None:
        """The first process does it."""

    def due(before: State, after: State) -> bool:
        often = cadence(before.input_tokens, after, prepared.budget, config.save_every_steps)
        return often or processes.agree(False)

    def look(before: State, after: State) -> None:
        if processes.agree(False):
            prepared.predicted(after, "dev", count, quickly)

    hooks = Hooks(
        stop=lambda state, evaluates: evaluations.stop(),
        check=lambda state: None,
        observe=nothing,
        evaluated=nothing,
        due=due,
        look=look,
        save=lambda state: together.same_state(state, processes),
    )
    take = prepared.step_on(processes.ranks)

    def step(state: State, batch: Batch) -> State:
        return take(state, batch)

    def evaluate(state: State):
        return prepared.evaluate(state, through=evaluations.through(state, "dev"))

    return attrs.evolve(prepared.walk, step=step, evaluate=evaluate), hooks


def _conclude(prepared: Prepared, state: State, evaluations: Evaluations, *, evaluated: bool) -> None:
    """This process's part of the last evaluations, of the state that the first has chosen."""
    chosen = state
    if prepared.config.select == "best":
        chosen = together.share_state(state, evaluations.processes)
    try:
        for split in ("test",) if evaluated and chosen.step == state.step else ("dev", "test"):
            prepared.predicted(chosen, split, None, evaluations.through(chosen, split))
    except Leaving:
        return
