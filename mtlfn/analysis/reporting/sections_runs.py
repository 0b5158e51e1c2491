"""The report's grounds: which tokens were equal, parameters, task weights, what it takes to repeat it, what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mtlfn.analysis.reporting import figures
from mtlfn.analysis.reporting.blocks import Block, Cell, Figures, Items, Missing, Section, Table, Text
from mtlfn.analysis.reporting.sections_result import MISSING, count
from mtlfn.analysis.runs import cells
from mtlfn.analysis.runs.records import Runs, values
from mtlfn.run.config import listed
from mtlfn.run.documents.data import TaskData
from mtlfn.run.documents.environment import Environment
from mtlfn.run.storage.run_record import RunRecord
from mtlfn.run.terminal import some

PARITY = 5.0  # per cent
COUNTS = {"per_task": "input tokens", "loss": "loss tokens", "padded": "slots computed"}


def tokens(anchor: str, runs: Runs) -> Section:
    """Which tokens were equal, on both sides, and which were not held equal."""
    controlled, rest, pairs, unequal, by_updates = [], [], 0, [], False
    order = next(iter(runs.multi.values())).tasks
    for (control, task, seed), run in sorted(
        runs.controls.items(), key=lambda item: (order.index(item[0][1]), item[0])
    ):
        parent = runs.multi[seed]
        whole = control == "total"
        there = parent.tokens.total if whole else parent.tokens.per_task[task]
        here, side = run.tokens.total, cells.CONTROLS[control]
        if run.result.match is not None and run.result.match.control == cells.UPDATES:
            there, here, side, by_updates = parent.result.steps, run.result.steps, f"{side}: updates", True
        pairs += 1
        if there != here:
            unequal.append(f"{cells.CONTROLS[control]} of {task}, seed {seed}")
        controlled.append((task, str(seed), side, f"{there:,}", f"{here:,}", _less(there, here)))
        for name, shown in COUNTS.items():
            one, other = ((getattr(side.tokens, name) or {}).get(task) for side in (parent, run))
            if one is not None and other is not None:
                numbers = (f"{one:,}", f"{other:,}", _less(one, other))
                rest.append((task, str(seed), cells.CONTROLS[control], shown, *numbers))
    title = "Which tokens were equal"
    if not controlled:
        return Section(anchor, title, (Missing("token counts", "no control has finished"),))
    said = (
        Text(f"NOT equal: {'; '.join(unequal)}.", "alarm")
        if unequal
        else Text(f"All {count(pairs, 'pair')} of runs agree to the token: the difference is 0 in each.", "good")
    )
    if by_updates and not unequal:
        said = Text(
            f"All {count(pairs, 'pair')} of runs agree to the token, or to the update, in what is held equal.", "good"
        )
    text = Text(
        "Input tokens (attended positions, special tokens included, after truncation) are what is held equal: "
        "for token-controlled S1 the total of the multi-task run, for plain S1 "
        + ("nothing: there the optimiser updates are." if by_updates else "this task's share of it.")
    )
    return Section(anchor, title, (said, text, *_token_tables(controlled, rest, by_updates)))


def _token_tables(
    controlled: Sequence[tuple[str, ...]], rest: Sequence[tuple[str, ...]], by_updates: bool
) -> tuple[Table, Table]:
    columns = ("task", "seed", "S1 run", "multi-task", "S1", "difference")
    return (
        Table(
            columns,
            tuple(controlled),
            f"Input tokens{' or updates' * by_updates} that are held equal: the difference must be 0.",
            numeric=(1, 3, 4, 5),
            folded=len(controlled) > 12,
        ),
        Table(
            (*columns[:3], "counted", *columns[3:]),
            tuple(rest),
            "Counts of this task on both sides that are not held equal as such: its own input tokens, tokens that "
            "carry a label, and slots computed (padding included).",
            numeric=(1, 4, 5, 6),
            folded=True,
        ),
    )


def lacking(anchor: str, runs: Runs) -> Section:
    """What the data of the tasks lack: labels that training never shows, splits with nothing to find, unread words."""
    title = "What the data lack"
    notices: dict[tuple[str, str], None] = {}
    looked = False
    for run in runs.all:
        for task, about in (run.data.tasks if run.data else {}).items():
            looked |= about.notices is not None
            notices |= {(task, line): None for line in about.notices or ()}
    if not looked:
        return Section(anchor, title, (Missing("notices", "no data.json has any; older versions did not look"),))
    if not notices:
        return Section(
            anchor, title, (Text("Every label occurs in training, every split has something to find.", "good"),)
        )
    return Section(anchor, title, (Table(("task", "what is lacking"), tuple(notices), "Told before training."),))


def _less(there: int, here: int) -> str:
    return f"{there - here:+,}".replace("-", "−") if there != here else "0"


def weights(anchor: str, runs: Runs) -> Section:
    """Sigma over time, where the tasks' weights are learnt."""
    title = "Learnt task weights (sigma)"
    used = [run for run in runs.multi.values() if any(step.sigma for step in run.steps)]
    weighted = values(runs.multi.values(), "weighting")
    if "uncertainty" not in weighted or not used:
        said = f"the multi-task runs use {', '.join(weighted) or 'unknown'} weights; sigma is learnt with uncertainty"
        return Section(anchor, title, (Missing("sigma over time", said),))
    series: dict[str, list[list[tuple[float, float]]]] = {}
    for run in used:
        for task in run.tasks:
            points = [(float(step.tokens), step.sigma[task]) for step in run.steps if task in step.sigma]
            if points:
                series.setdefault(task, []).append(points)
    ends = ", ".join(f"{task} {sum(s[-1][1] for s in seeds) / len(seeds):.3f}" for task, seeds in series.items())
    alt = f"Sigma of every task against input tokens, one line a seed. At the end: {ends}."
    text = Text(
        "Each task's loss is weighted with 1 / (2 sigma squared), and sigma is learnt: a larger sigma is a smaller "
        "weight (uncertainty weighting, Kendall et al. 2018). It begins at 1."
    )
    return Section(anchor, title, (text, Figures((figures.lines(anchor, title, alt, "sigma", series),))))


def parity(anchor: str, runs: Runs) -> Section:
    """Adapter parameters that are active for a task: the multi-task run and the S1 runs it is compared with."""
    title = "Parameter parity"
    rows, apart = [], []
    for task in next(iter(runs.multi.values())).tasks:
        both = [
            {n for run in side if (n := run.result.parameters.active_adapter.get(task)) is not None}
            for side in (runs.multi.values(), (r for (_, t, _), r in runs.controls.items() if t == task))
        ]
        numbers = set().union(*both)
        shown = [", ".join(f"{n:,}" for n in sorted(sizes)) or MISSING for sizes in both]
        spread = 100 * (max(numbers) / min(numbers) - 1) if all(both) else None
        rows.append((task, *shown, MISSING if spread is None else f"{spread:.1f} %"))
        if spread is not None and spread > PARITY:
            apart.append(task)
    if not any(isinstance(cell, str) for row in rows for cell in row[1:]):
        return Section(anchor, title, (Missing("parameters", "no result.json counts them"),))
    text = (
        Text(
            f"MORE than {PARITY:g} % apart: {', '.join(apart)}. A difference between the two sides may come from the "
            "size. In S3b, tasks of level 1 read from a lower layer and do not meet the adapters above it.",
            "alarm",
        )
        if apart
        else Text(f"Both sides of every comparison agree within {PARITY:g} %, as far as they are there.", "good")
    )
    table = Table(
        ("task", "multi-task", "S1", "apart"),
        tuple(rows),
        "Adapter parameters that are active for a task; heads, fusion and cross-level attention come on top.",
        numeric=(1, 2, 3),
    )
    return Section(anchor, title, (text, table))


def repeat(anchor: str, runs: Runs) -> Section:
    """Hashes, versions, resumes, environment breaks."""
    everything = runs.all
    environments = [run.environment for run in everything if run.environment is not None]
    first = environments[0] if environments else Environment()
    blocks: list[Block] = []
    if not environments:
        blocks.append(Missing("environment", "no run has an env.json"))
    else:
        odd = _differences([_shared(environment.must_match) for environment in environments])
        blocks.append(
            Text(f"The runs had different environments: {'; '.join(odd)}.", "alarm")
            if odd
            else Text(f"All {count(len(everything), 'run')} had the same environment.", "good")
        )
    breaks = [f"{run.name}: {each}" for run in everything for each in run.result.environment_breaks]
    items = {
        "backbone": _all({_place(_backbone(run)): None for run in everything}),
        "backbone SHA-256": _all(values(everything, "backbone_digest")),
        "tokenizer SHA-256": _all(values(everything, "tokenizer_digest")),
        "code": f"mtlfn {first.version or 'unknown'}, commit {first.commit or 'not recorded'}",
        "versions": ", ".join(f"{name} {version}" for name, version in first.libraries.items()) or "not recorded",
        "Python": first.python or "not recorded",
        "resumes": _resumes(everything),
        "environment changes that were accepted": "; ".join(breaks) or "none",
        "steps with a loss or gradient that was not finite":
            str(sum(run.result.nonfinite_steps for run in everything)),
        "smoke tests left out":
            some([run.name for run in everything if run.smoke and run.smoke.skipped]) or "none",
        "seals": _seals(everything),
        "replay": _replays(everything),
    }  # fmt: skip
    blocks += [
        Text(f"{run.name}: replay found what is not as it was: {run.replay.mismatches[0]}", "alarm")
        for run in everything
        if run.replay and run.replay.mismatches
    ]
    blocks.append(Items(tuple(items.items())))
    blocks.append(_data(everything))
    rows = tuple(
        (run.name, run.result.experiment, str(run.seed), f"{run.result.steps:,}",
         Cell(run.result.digest, "code"), Cell((run.configuration and run.configuration.hash) or "missing", "code"))
        for run in everything
    )  # fmt: skip
    columns = ("run", "strategy", "seed", "steps", "digest of the final state", "hash of the configuration")
    blocks.append(Table(columns, rows, "Runs: digests of their final states.", numeric=(2, 3), folded=True))
    return Section(anchor, "Reproducibility", tuple(blocks))


def hyper_parameters(anchor: str, runs: Runs, tuned: bool = False) -> Section:
    """What every side was trained with, those first that are not the same on all of them."""
    title = "Hyper-parameters"
    sides = {name: group for name, group in runs.groups.items() if name in (cells.MULTI, *cells.CONTROLS.values())}
    names = {
        name
        for group in sides.values()
        for run in group
        for name in (run.configuration.identity if run.configuration else {})
    }
    names -= {"seed", "tasks"}
    table = {
        name: [", ".join(sorted({_setting(value) for value in values(group, name)})) for group in sides.values()]
        for name in sorted(names)
        if not any(isinstance(value, Mapping) for value in values(runs.all, name)) and not name.endswith("_digest")
    }
    if not table:
        return Section(anchor, title, (Missing("hyper-parameters", "no run has a config.json that names them"),))
    order = sorted(table, key=lambda name: (len(set(table[name])) == 1, name))
    apart = [name for name in order if len(set(table[name])) > 1]
    said = f"Not the same on all sides: {', '.join(apart)}." if apart else "All sides have the same."
    rows = tuple((name, *(value or "–" for value in table[name])) for name in order)
    inherited = "No side was tuned by itself: the controls inherit what the multi-task run was given."
    if tuned:
        inherited = "Each side's learning rate was chosen by itself, from equal trials; all else is inherited."
    return Section(
        anchor,
        title,
        (
            Text(f"{said} {inherited}"),
            Table(("setting", *sides), rows, "Settings that decide a run, over its seeds and tasks.", folded=True),
            *_selected(runs.all),
        ),
    )


def _selected(runs: Iterable[RunRecord]) -> tuple[Block, ...]:
    """The state that each run is scored by, where it chose one on dev."""
    rows = tuple(
        (run.name, f"{at.step:,} of {run.result.steps:,}", f"{at.tokens / run.result.tokens.total:.0%}",
         str(at.points), f"{at.dev:.4f}")
        for run in runs
        if (at := run.result.selected) is not None
    )  # fmt: skip
    if not rows:
        return ()
    columns = ("run", "step", "share of the budget", "points to choose from", "mean on dev")
    caption = "Selected states: every run is scored by its best on dev, of as many points of its budget on all sides."
    return (Table(columns, rows, caption, numeric=(1, 2, 3, 4), folded=True),)


def _setting(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _shared(must_match: Mapping[str, Any], path: str = "") -> dict[str, str]:
    """What runs of one study must have in common, laid flat: not their configuration, data and first step."""
    out = {}
    for name, value in must_match.items():
        place = f"{path}{name}"
        if place in ("canary", "hashes.config", "hashes.data"):
            continue
        out |= _shared(value, f"{place}.") if isinstance(value, Mapping) else {place: str(value)}
    return out


def _differences(environments: Sequence[Mapping[str, str]]) -> list[str]:
    """Every name that has several values, with how many runs have each."""
    out = []
    for name in sorted({name for each in environments for name in each}):
        counts = Counter(each.get(name, "nothing") for each in environments)
        if len(counts) > 1:
            said = (f"{value[:16]}{'…' * (len(value) > 16)} in {count(n, 'run')}" for value, n in counts.items())
            out.append(f"{name}: {', '.join(said)}")
    return out


def _identity(run: RunRecord) -> Mapping[str, Any]:
    return {} if run.configuration is None else run.configuration.identity


def _resumes(runs: Sequence[RunRecord]) -> str:
    counts = [len(run.resumes) for run in runs if run.resumes]
    unknown = sum(run.resumes is None for run in runs)
    known = f"{sum(counts)}, in {count(len(counts), 'run')}" if counts else "none"
    if unknown == len(runs):
        return "not recorded"
    return known + (f"; not recorded of {count(unknown, 'run')}" if unknown else "")


def _replays(runs: Sequence[RunRecord]) -> str:
    """How many runs were replayed, and how many segments of them gave the same digests."""
    done = [(run, run.replay) for run in runs if run.replay and run.replay.digest == run.result.digest]
    if not done:
        return "not done; mtlfn replay RUN takes a run's steps again and compares digests"
    whole = sum(replay.steps == (0, run.result.steps) for run, replay in done)
    equal = count(sum(replay.equal or 0 for _, replay in done), "segment")
    return (
        f"{len(done)} of {count(len(runs), 'run')}, {whole} of them from the first step to the last; "
        f"equal digests in {equal}"
    )


def _seals(runs: Sequence[RunRecord]) -> str:
    """How many runs are proven to be as they were when they finished."""
    loose = [run.name for run in runs if run.result.files is None]
    if not loose:
        return f"all {count(len(runs), 'run')}: every file is the one that the run's result and ledger name"
    return (
        f"{len(loose)} of {count(len(runs), 'run')} are not sealed, made by an older version and taken as they say: "
        + some(loose)
    )


def _backbone(run: RunRecord) -> str:
    return str(run.configuration and run.configuration.settings.get("backbone"))


def _all(values: Iterable[Any]) -> str:
    return ", ".join(_place(str(each)) for each in values) or "not recorded"


def _place(name: str) -> str:
    """A name, or of a folder its last part: where things lie on a machine is nobody's business."""
    return Path(name).name if Path(name).is_absolute() else name


def _data(runs: Sequence[RunRecord]) -> Block:
    """Source, sizes and hash of every task's splits; more than one hash is an alarm in itself."""
    rows, seen = [], set()
    for run in runs:
        for task, splits in (run.configuration.data if run.configuration else {}).items():
            for split, sha in splits.items():
                if (task, split, sha) in seen:
                    continue
                seen.add((task, split, sha))
                about = (run.data and run.data.tasks.get(task)) or TaskData()
                content = about.splits.get(split)
                counts = (None, None) if content is None else (content.examples, content.tokens)
                size = [MISSING if number is None else f"{number:,}" for number in counts]
                source = _place(about.source or "")
                if split == "train" and task in listed(_identity(run).get("shuffled_tasks", "")):
                    source += f", labels shuffled, seed {run.seed}"
                rows.append((task, split, *size, Cell(sha, "code"), source))
    if not rows:
        return Missing("data hashes", "no run has a config.json")
    return Table(
        ("task", "split", "examples", "tokens", "SHA-256 of the tokenised split", "source"),
        tuple(rows),
        "Data: sizes, hashes and sources.",
        numeric=(2, 3),
        folded=True,
    )


def cost(anchor: str, runs: Runs) -> Section:
    """Runs, tokens, time and hardware."""
    rows = []
    for kind, group in (*runs.groups.items(), ("all", runs.all)):
        if group:
            tokens_ = sum(run.tokens.total for run in group)
            seconds = sum(run.result.training_seconds for run in group)
            rate = f"{tokens_ / seconds:,.0f}" if seconds else "–"
            rows.append((kind, str(len(group)), f"{tokens_:,}", f"{seconds / 60:.1f}", rate))
    hardware = []
    for run in runs.all:
        environment = run.environment or Environment()
        threads = "" if environment.gpu else f", {count(environment.threads or 0, 'thread')}"
        said = environment.gpu or environment.processor
        if said and (line := f"{said}{threads}, {environment.system}") not in hardware:
            hardware.append(line)
    return Section(
        anchor,
        "Cost",
        (
            Table(("runs", "how many", "tokens", "minutes of training", "tokens/s"), tuple(rows),
                  "Training alone: evaluations, saving and loading come on top.", numeric=(1, 2, 3, 4)),
            Items((("hardware", "; ".join(hardware) or "not recorded"),)),
        ),
    )  # fmt: skip
