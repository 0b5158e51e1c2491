"""The report on what only some studies ask for: shuffled labels, and learning rates that were chosen from trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mtlfn.analysis.reporting.blocks import Section, Table, Text
from mtlfn.analysis.reporting.sections_result import difference, score
from mtlfn.analysis.runs import cells, rates


def shuffled(anchor: str, study: Mapping[str, Any]) -> list[Section]:
    """What the labels of the other tasks give; no section where the study has not asked."""
    rows = [(task, row, row[cells.SHUFFLED]) for task, row in study["tasks"].items() if row.get(cells.SHUFFLED)]
    if not rows:
        return []
    text = Text(
        "Is the gain knowledge, or does any second task do? For each task the multi-task run is trained once more, on "
        "the same texts and as many tokens, with the labels of all other tasks shuffled among their training examples: "
        "each label is as often there as before and says nothing of its text. A difference above 0 is what the other "
        "tasks' labels give this one. Where the multi-task model beats S1 and this difference is about 0, its gain "
        "comes from the texts, or from regularisation. It stands beside the verdict and is no part of it."
    )
    table = Table(
        ("task", "multi-task score", "less the run with the other tasks' labels shuffled", "seeds"),
        tuple((task, score(row), difference(effect), ", ".join(effect["per_seed"])) for task, row, effect in rows),
        "Test scores, mean over seeds; 95 % intervals.",
        cards=True,
    )
    return [Section(anchor, "Shuffled labels", (text, table))]


def learning_rates(anchor: str, study: Mapping[str, Any]) -> list[Section]:
    """Every trial of a learning rate; no section where there was no choice."""
    rows = study.get("trials")
    if not rows:
        return []
    seeds = ", ".join(map(str, sorted({row["seed"] for row in rows})))
    text = Text(
        f"Every side was tried at the same learning rates, with seed {seeds}, which takes no part in the verdict; all "
        "its seeds have the one with the best dev score there (multi-task: the mean over the tasks), of equals the "
        "lowest. Test scores were not looked at. Other runs of several tasks have that of the multi-task runs."
    )
    table = Table(
        ("side", "task", "learning rate", "dev score", "chosen"),
        tuple((row["side"], row["task"] or "all", *_tried(row)) for row in rows),
        "All trials.",
        numeric=(2, 3),
        folded=len(rows) > 12,
    )
    return [Section(anchor, "Learning rates", (text, *(Text(f"{w}.", "alarm") for w in rates.words(rows)), table))]


def _tried(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return f"{row['learning_rate']:g}", f"{row['dev']:.3f}", "yes" if row["used"] else ""
