"""``result.json`` and ``tokens.json``: what a finished run came to. The result is written last, and sealed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from attrs import field, frozen

from mtlfn.run import documents
from mtlfn.run.documents.typed import ABSENT


@frozen(kw_only=True)
class Tokens:
    """``tokens.json``, and part of the result. Counts by task are None where an older version did not count.

    Attributes:
        total: input tokens of all tasks. ``per_task``: of each.
        loss: tokens that carry a label. ``padded``: slots computed. ``examples``: rows.
        input_share_of_slots: input tokens / slots computed.
    """

    FILE: ClassVar[str] = documents.TOKENS

    total: int
    per_task: Mapping[str, int]
    loss: Mapping[str, int] | None = field(default=None, metadata=ABSENT)
    padded: Mapping[str, int] | None = field(default=None, metadata=ABSENT)
    examples: Mapping[str, int] | None = field(default=None, metadata=ABSENT)
    input_share_of_slots: float | None = field(default=None, metadata=ABSENT)


@frozen(kw_only=True)
class Score:
    """The scores of a task: the primary ``metric`` on dev and test, every metric, and trivial baselines on dev."""

    metric: str = ""
    dev: float | None = None
    test: float | None = None
    all: Mapping[str, float] | None = None
    all_test: Mapping[str, float] | None = None
    baselines: Mapping[str, float] = field(factory=dict)


@frozen(kw_only=True)
class MatchedRun:
    """The run that one is matched with: where it lies, what it is, and the digest of its last state."""

    path: str
    experiment: str = ""
    seed: int
    identity: str = ""
    digest: str


@frozen(kw_only=True)
class Match:
    """What a run is matched with, and as what (``config.Role``): its tasks, its tokens, the slots it did not train.

    ``updates``: its steps, where those are held equal; ``shuffled_tasks``: those of its tasks whose labels were.
    """

    parent: MatchedRun
    control: str
    tasks: tuple[str, ...]
    tokens: int
    frozen_slots: tuple[str, ...] = ()
    updates: int | None = field(default=None, metadata=ABSENT)
    shuffled_tasks: tuple[str, ...] | None = field(default=None, metadata=ABSENT)


@frozen(kw_only=True)
class Parameters:
    """Trainable numbers: those of adapters that are active for a task, and all of each slot or head."""

    active_adapter: Mapping[str, int] = field(factory=dict)
    trainable: Mapping[str, int] = field(factory=dict)


@frozen(kw_only=True)
class Conflict:
    """How one task's gradient met another's: steps met, steps in conflict, their share, the mean cosine."""

    met: int
    negative: int
    frequency: float | None = None
    cosine: float | None = None


@frozen(kw_only=True)
class Alert:
    """What a monitor said at a step."""

    step: int
    kind: str
    message: str


@frozen(kw_only=True)
class Selected:
    """The state that the run is scored and exported by, where it chose one of several on dev.

    Attributes:
        step, tokens: where it stood. ``points``: how many states it was chosen from: ten, at equal shares of the
            budget, or fewer where a step came past two of them.
        dev: its mean primary metric on dev. ``digest``: of its trainable tensors.
    """

    step: int
    tokens: int
    points: int
    dev: float
    digest: str


@frozen(kw_only=True)
class Result:
    """``result.json``. What has a default is not in the results of every older version.

    Attributes:
        digest: of the last state. ``identity``: hash of what the run directory belongs to.
        key: root of the random draws. ``schedule``: length of the learning-rate schedule in input tokens.
        slots: digest of each slot of the state that is exported.
        selected: which state that is, where it is not simply the last one.
        conflicts: "i > j" -> how i's gradient met j's.
        environment_breaks: changes of the environment that were accepted.
        files: SHA-256 of every file that a claim rests on; None before the result is sealed, and in older versions.
    """

    FILE: ClassVar[str] = documents.RESULT

    experiment: str
    digest: str
    identity: str = ""
    seed: int
    key: str | None = None
    steps: int = 0
    schedule: int | None = None
    match: Match | None = None
    slots: Mapping[str, str] = field(factory=dict)
    selected: Selected | None = field(default=None, metadata=ABSENT)
    tokens: Tokens
    scores: Mapping[str, Score] = field(factory=dict)
    parameters: Parameters = field(factory=Parameters)
    conflicts: Mapping[str, Conflict] = field(factory=dict)
    nonfinite_steps: int = 0
    alerts: tuple[Alert, ...] = ()
    environment_breaks: tuple[str, ...] = ()
    smoke_test: str = "unknown"
    peak_memory_bytes: Mapping[str, int] = field(factory=dict)
    training_seconds: float = 0.0
    files: Mapping[str, str] | None = field(default=None, metadata=ABSENT)


@frozen
class Seal:
    """The part of a result that seals the run's files, whatever version wrote the rest."""

    FILE: ClassVar[str] = documents.RESULT

    files: Mapping[str, str] | None = None
