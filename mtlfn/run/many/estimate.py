"""What the runs of a plan should take, in minutes and memory: as the finished ones took, else as a small encoder does.

A run is more than its training: it starts, is smoke-tested, evaluates on the way and at the end, and exports. How long
that takes is read off runs that were finished in one go, from the times of their first and last file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from attrs import frozen

from mtlfn.run import documents
from mtlfn.run.documents import resumes, typed
from mtlfn.run.documents.result import Result
from mtlfn.run.many.plan import Node, progress

START = 10.0  # seconds from the command to the first file: libraries, data, backbone
# Of a run of MiniLM on two CPU cores, about, and of the backbone of the planted worlds: what an estimate says before a
# run of the kind was seen.
TOKENS_PER_SECOND, BESIDE_SECONDS = 1500.0, 60.0
PLANTED_TOKENS_PER_SECOND, PLANTED_BESIDE_SECONDS = 20_000.0, 1.0
MINILM_BYTES = 9.1e7  # of its weights
MEMORY_MB = 2500
SPARE = 1.25  # times the memory that was seen


@frozen
class Seen:
    """What a finished run took: training and the rest in seconds, the most memory in bytes."""

    tokens: int
    training: float
    beside: float | None
    resident: int


@frozen
class Estimate:
    """What runs take, by strategy; all together stand for a strategy of which none is finished.

    Attributes:
        by_strategy: strategy -> its finished runs.
        rate, beside: tokens a second, and seconds beside training, where none is finished.
    """

    by_strategy: Mapping[str, tuple[Seen, ...]]
    rate: float = TOKENS_PER_SECOND
    beside: float = BESIDE_SECONDS

    def _of(self, strategy: str) -> tuple[Seen, ...]:
        return self.by_strategy.get(strategy) or tuple(seen for each in self.by_strategy.values() for seen in each)

    def seconds(self, node: Node) -> float:
        """From its first file to its result, if nobody stops it."""
        runs = self._of(node.experiment)
        training = sum(run.training for run in runs)
        rate = sum(run.tokens for run in runs) / training if training else self.rate
        beside = [run.beside for run in runs if run.beside is not None]
        return (node.at_most or node.tokens) / rate + (fmean(beside) if beside else self.beside)

    def minutes(self, node: Node) -> float:
        """From its command to its result, if nobody stops it."""
        return (self.seconds(node) + START) / 60

    def memory_mb(self, node: Node) -> int:
        """Of its process, in units of 10^6 bytes."""
        most = max((run.resident for run in self._of(node.experiment)), default=0)
        return round(SPARE * most / 1e6) if most else MEMORY_MB


def estimate(root: Path, nodes: Iterable[Node]) -> Estimate:
    """From the runs of the plan that are finished."""
    nodes, by_strategy = tuple(nodes), dict[str, tuple[Seen, ...]]()
    for node in nodes:
        if (seen := _seen(root / node.name)) is not None:
            by_strategy[node.experiment] = (*by_strategy.get(node.experiment, ()), seen)
    first = next((node for node in nodes if not node.needs), None)
    backbone = "minilm" if first is None else first.config(root).backbone
    if backbone == "planted":
        return Estimate(by_strategy, PLANTED_TOKENS_PER_SECOND, PLANTED_BESIDE_SECONDS)
    share = _share_of_minilm(backbone)
    return Estimate(by_strategy, TOKENS_PER_SECOND / share, BESIDE_SECONDS * share)


def _share_of_minilm(backbone: str) -> float:
    """How large the weights of a backbone in a folder are, of MiniLM's: of a smaller one, runs are that much shorter.

    1 where it is larger, which a GPU may make up for, and where nothing is known.
    """
    folder = Path(backbone)
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors")) if folder.is_dir() else 0
    return min(1.0, size / MINILM_BYTES) if size else 1.0


def _seen(folder: Path) -> Seen | None:
    """What a run took; None where it is not finished."""
    if (result := typed.attempt(folder, Result)) is None:
        return None
    beside = None
    if resumes.steps(folder) == ():
        first, last = (folder / name for name in (documents.CONFIG, documents.RESULT))
        whole = last.stat().st_mtime - first.stat().st_mtime
        beside = whole - result.training_seconds if whole >= result.training_seconds else None
    return Seen(result.tokens.total, result.training_seconds, beside, result.peak_memory_bytes.get("resident", 0))


def table(root: Path, nodes: Sequence[Node]) -> list[str]:
    """The plan in words: a line a node with its tokens, expected time, needs and how far it is, and the sum."""
    far, expected = progress(root, nodes), estimate(root, nodes)
    width = max(len(node.name) for node in nodes)
    lines, left = [], 0.0
    for node in nodes:
        minutes = expected.minutes(node)
        left += 0.0 if far[node.name] == "finished" else minutes
        after = f"after {', '.join(node.needs)}" if node.needs else ""
        lines.append(
            f"{node.name:<{width}}  {node.experiment:<4} {node.tokens:>11,} tokens  {minutes:>6.1f} min  "
            f"{far[node.name]:<8}  {after}".rstrip()
        )
    open_ = sum(state != "finished" for state in far.values())
    total = sum(node.tokens for node in nodes)
    how = "as the finished ones took" if expected.by_strategy else "a guess until the first is finished"
    lines.append(
        f"{len(nodes)} runs, {total:,} tokens; {open_} not finished, about {left:.0f} min one after the other ({how})"
    )
    return lines


def graph(root: Path, nodes: Iterable[Node], command: Iterable[str]) -> dict[str, Any]:
    """The plan as a document for other programs: what there is to run, what each run needs, takes and is started by.

    It does not change while runs finish, but for what they teach about minutes and memory.

    Args:
        command: of the plan, which with ``--only ID`` runs a node.
    """
    nodes, command = tuple(nodes), list(command)
    expected = estimate(root, nodes)
    return {
        "folder": str(root.resolve()),
        "nodes": [
            {
                "id": node.name,
                "strategy": node.experiment,
                "needs": list(node.needs),
                "command": [*command, "--only", node.name],
                "tokens": node.tokens,
                "tokens_at_most": node.at_most or node.tokens,
                "minutes": round(expected.minutes(node), 1),
                "memory_mb": expected.memory_mb(node),
            }
            for node in nodes
        ],
        "conclude": [*command, "--conclude"],
    }
