"""Whether runs have the settings that they must have: those of the study they lie in, and of the run they are matched
with.

Both are compared by what ``config.json`` says that the run directory belongs to, which the seal covers. A setting that
a run does not name (an older version had none) is not compared, but for those whose absence means their default.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mtlfn.analysis.runs.matches import CONTROLS, SHUFFLED, UPDATES, Run
from mtlfn.data.example import short
from mtlfn.models.strategy import STRATEGIES
from mtlfn.run.config import DEFAULTS, LABELS, listed
from mtlfn.run.errors import UsageError

RATE = "learning_rate"  # the one setting that a study may choose for every side by itself
# What the data or the model decide where the study leaves them open.
OPEN: Mapping[str, Any] = {"max_length": None, "micro_batch_tokens": None, "read_out_layer": 0}
# In what a matched run differs from its multi-task run by definition (``run.one.matched``) ...
MATCHED = {"tasks", "budget_tokens", "schedule_tokens", "max_epochs", "parent", "frozen_slots", "data", "experiment",
           "drawn_among"}  # fmt: skip
# ... and S1, which has one task and a strategy of its own, besides.
SINGLE = {"strategy", "gradients", "fusion", "detach_level1", "sampling", "micro_batches", "updates"}
LABELLED = {"shuffled_tasks"}
AGAIN = "train it again with that run's settings, or leave it out"


def known(run: Run) -> dict[str, Any]:
    """What the run says of its settings; nothing where its config.json is missing."""
    return json.loads(run.settings or "{}")


def departures(
    runs: Iterable[Run], declared: Mapping[str, Any], strategy: str, rates: Sequence[float] = ()
) -> list[str]:
    """In what multi-task runs are not those that a study declared, a line a difference.

    Args:
        declared: what the study's folder was claimed for, under "run" in ``study.json``.
        rates: learning rates that it chooses from.
    """
    lines = Counter(
        f"{name} {short(here)} where the study declared {short(there)}"
        for run in runs
        for name, here, there in _departures(run, declared, strategy, rates)
    )
    return [f"{line} ({count} runs)" if count > 1 else line for line, count in lines.items()]


def _departures(
    run: Run, declared: Mapping[str, Any], strategy: str, rates: Sequence[float]
) -> Iterable[tuple[str, Any, Any]]:
    here = known(run)
    if run.experiment != strategy:
        yield "strategy", run.experiment, strategy
    if sorted(run.tasks) != sorted(listed(tasks := declared.get("tasks", ""))):  # their order is the model's
        yield "tasks", ",".join(run.tasks), tasks
    there = {**declared, "gradients": declared.get("gradients") or STRATEGIES[strategy].gradients}
    for name in sorted({*there, *(here.keys() & DEFAULTS.keys())} - {"seed", "tasks", "strategy", *LABELS}):
        before, now = (each.get(name, DEFAULTS.get(name)) for each in (there, here))
        if name == RATE and rates and name in here:
            if now not in rates:
                yield name, now, f"one of {', '.join(f'{rate:g}' for rate in rates)}"
        elif now != before and (name in here or name in DEFAULTS) and not (name in OPEN and before == OPEN[name]):
            yield name, now, before


def check(run: Run, parent: Run) -> None:
    """UsageError where a matched run has not the settings of its multi-task run, other than by what it is.

    Its learning rate is not looked at here: a study may have chosen it (``apart``).
    """
    match, here, there = run.match, known(run), known(parent)
    assert match is not None
    own = MATCHED | LABELS | {RATE, "select"} | (SINGLE if match.control in (*CONTROLS, UPDATES) else set())
    own |= LABELLED if match.control == SHUFFLED else set()
    pair = f"RUN {run.path}: cannot be compared with RUN {parent.path}, with which it is matched"
    for name in sorted({*here, *there} - own):
        if name not in DEFAULTS and not (name in here and name in there):
            continue
        now, before = (each.get(name, DEFAULTS.get(name)) for each in (here, there))
        if now != before:
            raise UsageError(f"{pair}: {name} is {short(now)} in it and {short(before)} there; {AGAIN}")
    for task, splits in here.get("data", {}).items():
        for split, digest in splits.items():
            before = there.get("data", {}).get(task, {}).get(split, digest)
            if digest != before and not (split == "train" and task in match.shuffled):
                raise UsageError(f"{pair}: other data: {split} of {task} is {digest} in it and {before} there; {AGAIN}")
    if run.schedule and parent.schedule:
        pace = parent.schedule * run.tokens.total / parent.tokens.total
        if abs(run.schedule - pace) > max(2, 0.01 * pace):  # as long for its tokens, but for rounding
            raise UsageError(
                f"{pair}: its learning rate falls over {run.schedule:,} tokens, at that run's pace it would over "
                f"{pace:,.0f}; {AGAIN}"
            )


def apart(run: Run, parent: Run) -> str:
    """What to say of a run whose learning rate is not that of its multi-task run; "" where it is, or is not known."""
    here, there = run.setting(RATE), parent.setting(RATE)
    return "" if here is None or there is None or here == there else f"{RATE} {here:g} beside {there:g}"
