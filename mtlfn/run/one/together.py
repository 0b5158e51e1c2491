"""What the processes of one run agree on: what it is, where they are, its state, and why it stops.

Every function here is called by all of them at the same place. With one process each of them is a formality.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from mtlfn.core.state import State, combined, decode, encode, leaf_digests
from mtlfn.models.strategy import STRATEGIES
from mtlfn.run.config import LABELS, Config
from mtlfn.run.documents.environment import Environment
from mtlfn.run.errors import UsageError
from mtlfn.run.machine.processes import Processes
from mtlfn.run.one.directory import Mismatch
from mtlfn.run.one.fingerprint import differences
from mtlfn.run.one.prepare import Prepared

MEASURED = ("max_length", "micro_batch_tokens")  # settings whose default the first process finds out, for all


def check(strategy: str, config: Config, processes: Processes) -> None:
    """UsageError where several processes cannot take part in such a run."""
    if processes.size == 1:
        return
    if STRATEGIES[strategy].single:
        raise UsageError(
            f"{strategy} on {processes.size} processes: it trains one task, and whole tasks are what processes share; "
            "start it without torchrun"
        )
    if config.seeds > 1:
        raise UsageError(
            f"--seeds {config.seeds} on {processes.size} processes: makes several runs; start one seed after the "
            "other with --seed, or leave torchrun out"
        )
    if config.engine != "loop":
        raise UsageError(
            f"--engine {config.engine} on {processes.size} processes: its sums depend on which tasks a process has, so "
            "the number of processes would change the bits; give --engine loop"
        )


def load_in_turn(load: Callable[[Config], Prepared], config: Config, processes: Processes) -> Prepared:
    """The run as every process sees it: the first prepares it, and so fills the caches and finds what depends on the
    machine; then the first of every other machine; then the others. Mismatch where one sees another run.
    """
    if processes.size == 1:
        return load(config)
    facts: dict[str, Any] = {}
    prepared: Prepared | None = None
    named, config = config.device, attrs.evolve(config, device=processes.device or config.device)
    for turn in range(3):
        if turn == processes.turn:
            prepared = load(config)
            _same_identity(facts, prepared.identity, processes)
            if turn == 0:
                facts = json.loads(json.dumps(prepared.identity))
        facts = processes.share_json(facts) if turn == 0 else facts
        config = attrs.evolve(config, **{name: facts[name] for name in MEASURED})
        processes.wait()
    assert prepared is not None, "every process has its turn"
    return attrs.evolve(prepared, config=attrs.evolve(prepared.config, device=named))


def _same_identity(facts: Mapping[str, Any], here: Mapping[str, Any], processes: Processes) -> None:
    """Mismatch where this process prepared another run than the first one, whose identity is ``facts``."""
    here = json.loads(json.dumps(here))
    for name in sorted(facts.keys() - LABELS):
        if facts[name] != here.get(name):
            raise Mismatch(
                f"process {processes.rank} sees another run than process 0: {name} is {here.get(name)!r} here and "
                f"{facts[name]!r} there; give both machines the same data, backbone and versions"
            )


def same_environment(now: Environment, processes: Processes) -> None:
    """Mismatch where the processes are not in one environment, so that they would not come to the same bits."""
    first = Environment(must_match=processes.share_json(now.must_match))
    for rank, changed in enumerate(processes.gather_json(differences(first, now))):
        if changed:
            raise Mismatch(
                f"process {rank} is in another environment than process 0, so they may not come to the same bits: "
                f"{'; '.join(changed)} (before: process 0). Start all on machines of one kind, with the same versions"
            )


def share_state(state: State, processes: Processes) -> State:
    """The state of the first process. ``state``: what the others check its names, types and shapes against."""
    if processes.size == 1:
        return state
    files = encode(state) if processes.first else {}
    names = processes.share_json(sorted(files))
    files = {name: processes.share(files.get(name, b"")) for name in names}
    return state if processes.first else decode(files, state)


def same_state(state: State, processes: Processes) -> None:
    """Mismatch, which names the process and the first leaf that differs, where not all have come to the same state."""
    if processes.size == 1:
        return
    leaves = leaf_digests(state)
    digests = processes.gather_json(combined(leaves))
    if len(set(digests)) == 1:
        return
    first = processes.share_json(leaves)
    odd = processes.gather_json(next((path for path in leaves if leaves[path] != first.get(path)), None))
    rank, leaf = next((rank, path) for rank, path in enumerate(odd) if path is not None)
    raise Mismatch(
        f"step {state.step}: process {rank} has come to the digest {digests[rank]} and process 0 to {digests[0]}; the "
        f"first tensor or field that differs is {leaf}. Nothing of this step was saved: look for a machine that does "
        "not repeat (memory, overclocking), and give the same command again"
    )


def reason(own: str | None, processes: Processes) -> str | None:
    """Why all stop here: what the first process that has a reason says; None where none has."""
    if processes.size == 1:
        return own
    return next((said.decode() for said in processes.gather_bytes((own or "").encode()) if said), None)
