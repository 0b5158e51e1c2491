"""The page of one run, ``report/index.html``: scores, curves, how tasks met, tokens. No verdict: one run gives none.

It is made of the run's documents, the same bytes every time, and is not part of what the run seals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from mtlfn.analysis.reporting import figures, html, sections_pairs, sections_runs
from mtlfn.analysis.reporting.blocks import Block, Cell, Figure, Figures, Items, Missing, Report, Section, Table, Text
from mtlfn.analysis.runs.records import Runs
from mtlfn.run import documents
from mtlfn.run.disk import make_folder, write_file
from mtlfn.run.documents.result import Result
from mtlfn.run.storage import record
from mtlfn.run.storage.run_record import RunRecord

FOLDER, PAGE = documents.REPORT, "index.html"
POINTS = 200  # of a curve: more are means of their neighbours
Series = dict[str, list[list[tuple[float, float]]]]  # task -> one list of points


def write(folder: Path) -> Path:
    """Makes the page; OSError or ``documents.Altered`` where the run has no result that can be read."""
    page = html.page(build(folder)).encode()
    make_folder(folder / FOLDER)
    write_file(folder / FOLDER / PAGE, page)
    return folder / FOLDER / PAGE


def attempt(folder: Path, say: Callable[[str], None]) -> None:
    """At the end of a run: the page, if it is not there; what hinders it is told, and hinders nothing else."""
    if not (folder / documents.RESULT).is_file() or (folder / FOLDER / PAGE).exists():
        return
    try:
        say(f"the page of the run is {write(folder)}")
    except Exception as error:  # the run has ended well, whatever a picture lacks
        say(f"no page: {type(error).__name__}: {error}; mtlfn report {folder} makes it again")


def build(folder: Path) -> Report:
    """The page's content."""
    run = RunRecord(folder, folder.resolve().name)
    result = run.result
    runs = Runs(multi={run.seed: run}, controls={}, kept={}, excluded={}, pairs={}, shuffled={}, trials=())
    about = (
        f"{result.experiment}, seed {result.seed}: {result.tokens.total:,} input tokens in {result.steps:,} steps. "
        "Whether training together helped, one run cannot say: a study compares it with its controls."
    )
    warnings = [Text(f"{a.kind} at step {a.step}: {a.message}", "alarm") for a in result.alerts]
    return Report(
        f"Run {run.name}",
        (Text(about), *warnings),
        (
            _scores(result),
            _curves(run),
            _losses(folder),
            sections_pairs.conflicts("conflicts", run.tasks, runs),
            _tokens(result),
            sections_runs.weights("sigma", runs),
            sections_runs.lacking("data", runs),
            _facts(run),
        ),
    )


def _scores(result: Result) -> Section:
    rows = []
    for task, score in result.scores.items():
        trivial = ", ".join(f"{name} {value:.3f}" for name, value in score.baselines.items())
        both = [Cell("none", "missing") if v is None else Cell(f"{v:.4f}") for v in (score.dev, score.test)]
        rows.append((task, score.metric, *both, trivial or "none"))
    columns = ("task", "metric", "dev", "test", "predictions that read nothing (dev)")
    caption = f"The primary metric of each task, of {_scored(result)}."
    return Section("scores", "Scores", (Table(columns, tuple(rows), caption, numeric=(2, 3), cards=True),))


def _scored(result: Result) -> str:
    """The state that the scores are of."""
    if (chosen := result.selected) is None:
        return "the last state"
    return (
        f"the best state on dev: that of step {chosen.step:,}, after {chosen.tokens:,} input tokens, chosen of "
        f"{chosen.points} points of the budget (mean {chosen.dev:.4f})"
    )


def _curves(run: RunRecord) -> Section:
    """The primary metric over the training, as quick and full evaluations saw it."""
    tokens = {0: 0, **{step.step: step.tokens for step in run.steps}}
    series: Series = {}
    for evaluation in run.evaluations:
        for task, scores in evaluation.scores.items():
            metric = run.result.scores[task].metric if task in run.result.scores else ""
            if metric in scores and evaluation.step in tokens:
                series.setdefault(task, [[]])[0].append((float(tokens[evaluation.step]), scores[metric]))
    title = "Learning curves"
    if not series:
        return Section("curves", title, (Missing("curves", "no evaluation was made while it trained"),))
    return Section("curves", title, (Figures((_lines("curves", title, "primary metric on dev", series),)),))


def _losses(folder: Path) -> Section:
    series: Series = {}
    for line in record.lines(folder / documents.METRICS):
        for task, value in line.get("loss", {}).items() if "event" not in line else ():
            if value is not None:  # a step without a loss token of the task
                series.setdefault(task, [[]])[0].append((float(line["tokens"]), value))
    title = "Training losses"
    if not series:
        return Section("losses", title, (Missing("losses", f"{documents.METRICS} is missing or holds none"),))
    smooth = {task: [_thinned(points)] for task, (points,) in series.items()}
    text = Text(
        "Mean loss of each task's micro-batches, before any weight; means of neighbouring steps where many are."
    )
    return Section("losses", title, (text, Figures((_lines("losses", title, "loss", smooth),))))


def _lines(name: str, title: str, label: str, series: Mapping[str, list[list[tuple[float, float]]]]) -> Figure:
    ends = ", ".join(f"{task} {points[-1][1]:.3f}" for task, (points,) in series.items())
    return figures.lines(name, title, f"{label} of every task against input tokens. At the end: {ends}.", label, series)


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most ``POINTS``: means of so many neighbours."""
    size = -(-len(points) // POINTS)
    parts = [points[at : at + size] for at in range(0, len(points), size)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in parts]


def _tokens(result: Result) -> Section:
    counts = result.tokens
    whole = max(counts.total, 1)
    rows = [
        (
            task,
            f"{count:,}",
            f"{count / whole:.1%}",
            *(f"{(per_task or {}).get(task, 0):,}" for per_task in (counts.loss, counts.padded, counts.examples)),
        )
        for task, count in counts.per_task.items()
    ]
    columns = ("task", "input tokens", "share", "loss tokens", "slots computed", "rows")
    caption = f"What each task was given of {counts.total:,} input tokens."
    table: Block = Table(columns, tuple(rows), caption, numeric=(1, 2, 3, 4, 5), cards=True)
    return Section("tokens", "Tokens", (table,))


def _facts(run: RunRecord) -> Section:
    result, configuration = run.result, run.configuration
    facts = [("digest of the last state", result.digest), ("identity", result.identity or "unknown")]
    if result.selected is not None:
        facts.append(("digest of the tensors of the selected state", result.selected.digest))
    facts += [("smoke test", result.smoke_test), ("training", f"{result.training_seconds / 60:.1f} minutes")]
    facts += [("steps that were not finite", f"{result.nonfinite_steps:,}")]
    facts += [("environment changed", change) for change in result.environment_breaks]
    if configuration is not None and configuration.command:
        facts.append(("strategy", configuration.experiment))
    facts.append(("to repeat it", "mtlfn replay RUN --all"))
    return Section("facts", "What it is", (Items(tuple(facts)),))
