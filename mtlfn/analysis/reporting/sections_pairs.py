"""The report on pairs of tasks (RQ4): transfer matrix, conflicts in all and over time, overlap and its correlation."""

from __future__ import annotations

from collections.abc import Sequence

from mtlfn.analysis.reporting import figures, transfer
from mtlfn.analysis.reporting.blocks import Block, Figures, Missing, Section, Table, Text
from mtlfn.analysis.reporting.sections_result import MISSING, count, signed
from mtlfn.analysis.reporting.transfer import Met, Pair
from mtlfn.analysis.runs import cells
from mtlfn.analysis.runs.records import Runs

MOST = 30  # rows of a picture over time


def transfers(anchor: str, study: cells.Study, runs: Runs) -> Section:
    """The matrix, the overlaps, and how they go together."""
    matrix = transfer.matrix(runs)
    title = "Transfer between pairs of tasks"
    blocks: list[Block] = []
    tasks = list(study.tasks)
    if matrix:
        means = transfer.means(matrix)
        places = {(tasks.index(s), tasks.index(t)): value for (s, t), value in means.items()}
        said = "; ".join(f"{s} to {t} {signed(value)}" for (s, t), value in means.items())
        drawn = figures.heat(
            f"{anchor}-matrix", "Transfer matrix", f"Transfer matrix, source to target: {said}.", tasks, tasks, places,
            labels=("trained with", "scored on"), diverging=True,
            limit=max(max(map(abs, places.values())), 0.05), form="{:+.3f}",
        )  # fmt: skip
        alone = "on as many of its own tokens"
        if study.plain == "updates":
            alone = "for as many updates as the run of all tasks took"
        text = Text(
            "How much a task's test score changes when it is trained together with one other task instead of alone, "
            f"{alone}: above 0 the other task helps, below 0 it hurts. Mean over "
            f"{count(len({seed for seeds in matrix.values() for seed in seeds}), 'seed')}; no interval, so read small "
            "numbers as noise."
        )
        blocks += [text, Figures((drawn,))]
    else:
        blocks.append(Missing("transfer matrix", "the study trained no pairs of tasks (pairwise = true in its file)"))
    run = next(iter(runs.multi.values()))
    labels = transfer.overlaps(transfer.labels(study))
    words, why = transfer.vocabulary(run)
    vocabulary = transfer.overlaps(words)
    rows = [
        (f"{a} – {b}", *(MISSING if (v := table.get((a, b))) is None else f"{v:.2f}" for table in (labels, vocabulary)))
        for i, a in enumerate(tasks)
        for b in tasks[i + 1 :]
    ]
    blocks.append(
        Table(("tasks", "label names", "words of the training texts"), tuple(rows),
              "Overlap of two tasks: shared divided by all (Jaccard). Tasks without labels (ranking) have none.",
              numeric=(1, 2), folded=len(rows) > 12)
    )  # fmt: skip
    if why:
        blocks.append(Missing("overlap of words", why))
    blocks.append(_correlations(runs, matrix, labels, vocabulary))
    return Section(anchor, title, tuple(blocks))


def _correlations(
    runs: Runs, matrix: dict[Pair, dict[int, float]], labels: dict[Pair, float], vocabulary: dict[Pair, float]
) -> Block:
    if not matrix:
        return Missing("rank correlation with transfer", "there is no transfer matrix")
    means, met = transfer.means(matrix), transfer.conflicts(list(runs.multi.values()))
    signals = {
        "overlap of label names": labels,
        "overlap of words": vocabulary,
        "frequency of conflict": {pair: m.frequency for pair, m in met.items()},
        "mean cosine of gradients": {pair: m.mean_cosine for pair, m in met.items()},
    }
    rows = []
    for name, signal in signals.items():
        got = transfer.correlation(signal, means)
        rows.append((name, MISSING if got.rho is None else signed(got.rho), str(got.pairs)))
    return Table(
        ("likeness of two tasks", "rank correlation with transfer", "ordered pairs"),
        tuple(rows),
        f"Spearman's rho, shown from {transfer.LEAST_PAIRS} pairs on where both sides vary. Pairs share tasks and are "
        "not independent, so there is no p-value.",
        numeric=(1, 2),
    )


def conflicts(anchor: str, names: Sequence[str], runs: Runs) -> Section:
    """How gradients met, in all and over the training."""
    title = "Conflicts between tasks"
    multi, tasks = list(runs.multi.values()), list(names)
    met = {pair: m for pair, m in transfer.conflicts(multi).items() if m.met and set(pair) <= set(tasks)}
    if not met:
        why = "no two tasks that train the same tensors met in a step of the multi-task runs"
        return Section(anchor, title, (Missing("conflicts", why),))
    total = Met(sum(m.met for m in met.values()), sum(m.negative for m in met.values()))
    worst = max(met, key=lambda pair: met[pair].frequency or 0.0)
    frequency = {(tasks.index(i), tasks.index(j)): m.frequency for (i, j), m in met.items() if m.frequency is not None}
    cosine = {(tasks.index(i), tasks.index(j)): m.mean_cosine for (i, j), m in met.items() if m.mean_cosine is not None}
    text = Text(
        "Two tasks conflict in a step where, on some group of tensors that both train, the gradient of the first has a "
        "negative inner product with the second's: under PCGrad what is left of it after the tasks it met before, "
        "otherwise all of it. Cosines are those of the whole gradients. The first conflicted with the second in "
        f"{total.frequency:.0%} of the meetings; most often {worst[0]} with {worst[1]}: "
        f"{met[worst].frequency:.0%}, mean cosine {signed(met[worst].mean_cosine or 0.0)}."
    )
    said = "; ".join(f"{i} against {j} {m.frequency:.0%}" for (i, j), m in met.items())
    angles = "; ".join(f"{i} with {j} {signed(m.mean_cosine or 0.0)}" for (i, j), m in met.items())
    limit = max(max(map(abs, cosine.values())), 0.1)
    axes = ("gradient of", "against the gradient of")
    drawn = [
        figures.heat(f"{anchor}-frequency", "How often two tasks conflict",
                     f"Share of steps in conflict: {said}.", tasks, tasks, frequency,
                     labels=axes, diverging=False, limit=1.0, form="{:.0%}"),
        figures.heat(f"{anchor}-cosine", "Mean cosine of two tasks' gradients",
                     f"Mean cosine of gradients: {angles}.", tasks, tasks, cosine,
                     labels=axes, diverging=True, limit=limit, form="{:+.2f}"),
    ]  # fmt: skip
    blocks: list[Block] = [text, Figures(tuple(drawn))]
    return Section(anchor, title, (*blocks, *_over_time(anchor, runs, tasks)))


def _over_time(anchor: str, runs: Runs, tasks: list[str]) -> list[Block]:
    conflicts = transfer.over_time(list(runs.multi.values()))
    conflicts = {pair: row for pair, row in conflicts.items() if any(m.met for m in row) and set(pair) <= set(tasks)}
    if not conflicts:
        return [Missing("conflicts over time", "metrics.jsonl of the multi-task runs is missing or without conflicts")]
    # A pair whose mirror image met in the same way is shown once.
    alike = all(conflicts.get((j, i)) == row for (i, j), row in conflicts.items())
    shown = [p for p in conflicts if not alike or tasks.index(p[0]) < tasks.index(p[1])]
    often = sorted(shown, key=lambda p: -sum(m.negative for m in conflicts[p]) / sum(m.met for m in conflicts[p]))[
        :MOST
    ]
    # Two names have to stand beside a row: what all names begin with is left out.
    same = _beginning(tasks)
    names = [f"{figures.short(i[len(same) :], 11)} > {figures.short(j[len(same) :], 11)}" for i, j in often]
    columns = [str(part + 1) for part in range(transfer.PARTS)]
    text = Text(
        "Over the training, in tenths of its tokens, most conflicts first"
        + ("; both directions of a pair are alike" if alike else "")
        + (f"; names without {same!r}" if same else "")
        + (f"; the {MOST} of {len(shown)} pairs with most conflicts" if len(shown) > MOST else "")
        + "."
    )
    drawn = []
    for name, title, measure in (
        ("frequency", "Steps in conflict, in per cent, over the training", lambda m: m.frequency and 100 * m.frequency),
        (
            "cosine",
            "Mean cosine of gradients, in hundredths, over the training",
            lambda m: m.mean_cosine and 100 * m.mean_cosine,
        ),
    ):
        cells_ = {
            (i, k): value
            for i, pair in enumerate(often)
            for k, m in enumerate(conflicts[pair])
            if (value := measure(m)) is not None
        }
        signed_ = name == "cosine"
        limit = max(max(map(abs, cells_.values())), 10.0) if signed_ else 100.0
        ends = "; ".join(
            f"{pair[0]} and {pair[1]} from {round(cells_[i, first])} to {round(cells_[i, last])}"
            for i, pair in enumerate(often)
            for first, last in [[min(at), max(at)] for at in [[k for r, k in cells_ if r == i]]]
        )
        drawn.append(
            figures.heat(f"{anchor}-{name}-time", title, f"{title}, first to last tenth: {ends}.", names, columns,
                         cells_, labels=("", "tenth of the training"), diverging=signed_, limit=limit,
                         form="{:.0f}")
        )  # fmt: skip
    return [text, Figures(tuple(drawn))]


def _beginning(names: list[str]) -> str:
    """What all the names begin with, if it is worth leaving out and leaves something of each."""
    first, last = min(names), max(names)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(map(len, names)))
    return first[:length] if 3 < length < min(map(len, names)) else ""
