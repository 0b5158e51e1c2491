"""The order of training: a pure function of the data and the state, exact to the token, resumed in O(1).

A pass over a task's data is planned as a whole from (key, task, pass): examples are shuffled, grouped by similar
length inside windows of the shuffled order, filled into micro-batches by padded slots, and the micro-batches are
shuffled again. A cursor is (pass, micro-batch); nothing before it is replayed. Micro-batches never cross a pass.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from attrs import Factory, evolve, field, frozen

from mtlfn.core import tokens
from mtlfn.core.batch import Batch, Cursor, MicroBatch
from mtlfn.core.keys import Key, fold, numpy_generator
from mtlfn.core.state import State
from mtlfn.data.tokens.collate import collate
from mtlfn.data.tokens.sampler import Sampling, draw, per_step
from mtlfn.data.tokens.store import Corpus

Stream = Callable[[State], Batch]
Cursors = Mapping[str, Cursor]
Choice = Callable[[Key, int, Cursors], tuple[list[tuple[str, np.ndarray]], dict[str, Cursor]]]


@frozen(kw_only=True)
class StreamConfig:
    """How batches are made.

    Attributes:
        budget_tokens: input tokens of the whole run, met exactly.
        micro_batch_tokens: padded slots a micro-batch may have (one longer example still makes one of its own).
        sampling, temperature: which tasks a step draws.
        micro_batches: micro-batches a step for random sampling; 0: as many as tasks.
        among: task -> size, of all tasks that random sampling draws from where only some have a corpus: what is drawn
            of the others is left out, and so is a step of nothing else. Empty: the corpora and their tokens.
        window: examples of the shuffled order that are grouped by length together; more where micro-batches are
            larger, so that a window makes enough of them to choose neighbours of equal length.
        unpad: the model computes no padding, so none is counted.
    """

    budget_tokens: int
    micro_batch_tokens: int = 128
    sampling: Sampling = "uniform"
    temperature: float = 2.0
    micro_batches: int = 0
    among: Mapping[str, int] = field(factory=dict)
    window: int = field(default=Factory(lambda self: max(256, 2 * self.micro_batch_tokens), takes_self=True))
    unpad: bool = False


def example_sizes(corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
    """Per example its number of sequences and the length of its longest, int64 [examples] each."""
    lengths = np.diff(corpus.starts)
    return np.diff(corpus.examples), np.maximum.reduceat(lengths, corpus.examples[:-1])


def plan(
    rows: np.ndarray, longest: np.ndarray, key: Key, task: str, epoch: int, window: int, slots: int
) -> tuple[np.ndarray, ...]:
    """The micro-batches of one pass: example numbers, every example exactly once.

    ``rows``, ``longest``: as from ``example_sizes``. ``slots``: the most padded slots of a micro-batch.
    """
    generator = numpy_generator(fold(key, "order", task, epoch))
    shuffled = generator.permutation(len(rows))
    batches: list[np.ndarray] = []
    for at in range(0, len(shuffled), window):
        inside = shuffled[at : at + window]
        inside = inside[np.argsort(longest[inside], kind="stable")]
        batches += fill(inside, rows, longest, slots)
    return tuple(batches[i] for i in generator.permutation(len(batches)))


def fill(examples: np.ndarray, rows: np.ndarray, longest: np.ndarray, slots: int) -> list[np.ndarray]:
    """Consecutive examples, sorted by length, cut into micro-batches of at most ``slots`` padded slots."""
    out, start, height = [], 0, 0
    for i, example in enumerate(examples):
        if i > start and (height + rows[example]) * longest[example] > slots:
            out.append(examples[start:i])
            start, height = i, 0
        height += int(rows[example])
    return [*out, examples[start:]] if len(examples) else out


def build(config: StreamConfig, corpora: Mapping[str, Corpus]) -> Stream:
    """The stream over the training corpora, in canonical task order."""
    choose = _choice(config, corpora)

    def stream(state: State) -> Batch:
        drawn, cursors = choose(state.key, state.step, state.cursors)
        chosen = [(corpora[task], examples) for task, examples in drawn]
        micro_batches = exact(chosen, config.budget_tokens - state.input_tokens)
        return Batch(tuple(map(_unpadded, micro_batches)) if config.unpad else micro_batches, cursors)

    return stream


def tokens_of(config: StreamConfig, corpora: Mapping[str, Corpus], key: Key, steps: int) -> int:
    """Input tokens of the first so many steps of a run, none of them cut: the budget is not looked at."""
    choose, cursors = _choice(config, corpora), {task: Cursor() for task in corpora}
    lengths = {task: np.diff(corpus.starts[corpus.examples]) for task, corpus in corpora.items()}
    total = 0
    for step in range(steps):
        drawn, cursors = choose(key, step, cursors)
        total += sum(int(lengths[task][examples].sum()) for task, examples in drawn)
    return total


def _choice(config: StreamConfig, corpora: Mapping[str, Corpus]) -> Choice:
    """(key, step, cursors) -> the examples of the step's micro-batches, each with its task, and the cursors after it.

    The newest plans are kept, for speed alone: they are functions of key, task and pass.
    """
    sizes = {task: example_sizes(corpus) for task, corpus in corpora.items()}
    volumes = config.among or {task: corpus.tokens for task, corpus in corpora.items()}
    count = per_step(config.sampling, config.micro_batches, len(volumes))
    found: dict[Key, tuple[list[tuple[str, ...]], Iterator[int]]] = {}
    newest: dict[str, tuple[tuple[Key, int], tuple[np.ndarray, ...]]] = {}

    def planned(key: Key, task: str, epoch: int) -> tuple[np.ndarray, ...]:
        if task not in newest or newest[task][0] != (key, epoch):
            batches = plan(*sizes[task], key, task, epoch, config.window, config.micro_batch_tokens)
            newest[task] = (key, epoch), batches
        return newest[task][1]

    def drawn(key: Key, step: int) -> tuple[str, ...]:
        return draw(config.sampling, volumes, config.temperature, count, key, step)

    def own(key: Key, step: int) -> tuple[str, ...]:
        """What is drawn of the corpora's tasks, in the step of that number among those that draw any."""
        steps, beyond = found.setdefault(key, ([], itertools.count()))
        while len(steps) <= step:
            if tasks := tuple(task for task in drawn(key, next(beyond)) if task in corpora):
                steps.append(tasks)
        return steps[step]

    def choose(key: Key, step: int, cursors: Cursors) -> tuple[list[tuple[str, np.ndarray]], dict[str, Cursor]]:
        after, chosen = dict(cursors), []
        for task in (own if config.among else drawn)(key, step):
            examples, after[task] = _next(planned, key, task, after[task])
            chosen.append((task, examples))
        return chosen, after

    return choose


def _unpadded(m: MicroBatch) -> MicroBatch:
    return evolve(m, tokens=evolve(m.tokens, padded=m.tokens.input))


def _next(
    planned: Callable[[Key, str, int], tuple[np.ndarray, ...]], key: Key, task: str, cursor: Cursor
) -> tuple[np.ndarray, Cursor]:
    """The micro-batch at a cursor and the cursor after it; the end of a pass is the start of the next."""
    batches = planned(key, task, cursor.epoch)
    after = Cursor(cursor.epoch, cursor.position + 1)
    return batches[cursor.position], after if after.position < len(batches) else Cursor(cursor.epoch + 1, 0)


def exact(chosen: Sequence[tuple[Corpus, np.ndarray]], budget: int) -> tuple[MicroBatch, ...]:
    """The micro-batches, cut so that they hold ``budget`` input tokens if they would hold more."""
    lengths = [[c.length(s) for e in examples for s in c.sequences(e)] for c, examples in chosen]
    counts = list(tokens.cut([n for part in lengths for n in part], budget))
    out = []
    for (corpus, examples), part in zip(chosen, lengths, strict=True):
        mine, counts = counts[: len(part)], counts[len(part) :]
        out.append(collate(corpus, examples.tolist(), mine))
    return tuple(micro_batch for micro_batch in out if micro_batch is not None)


def evaluation_batches(corpus: Corpus, examples: Sequence[int], slots: int) -> list[np.ndarray]:
    """The examples sorted by length in micro-batches of at most ``slots`` padded slots."""
    rows, longest = example_sizes(corpus)
    chosen = np.asarray(examples, dtype=np.int64)
    return fill(chosen[np.argsort(longest[chosen], kind="stable")], rows, longest, slots)
