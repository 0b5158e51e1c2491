"""From a study's folder to its report: a page, the same as Markdown, pictures, and the verdict as JSON, CSV and LaTeX.

    report.html         everything in one file
    report.md           the same, with figures/<name>.png
    verdict.json, .csv  what the report rests on (``outcome``)
    verdict.tex         the verdict table for a paper

The same study gives the same bytes: no dates, and no path but from the study's folder on.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import attrs
from attrs import frozen

from mtlfn.analysis import looks, outcome, rules
from mtlfn.analysis.reporting import html, markdown, sections_asked, sections_pairs, sections_result, sections_runs
from mtlfn.analysis.reporting.blocks import Report, Section, Text
from mtlfn.analysis.runs import cells, records
from mtlfn.run import documents
from mtlfn.run.disk import make_folder, write_file
from mtlfn.run.documents import typed
from mtlfn.run.errors import UsageError

TITLE = "Knowledge transfer, or more text?"
ABOUT = (
    "A multi-task model is compared with single-task models (S1) of the same settings: one that trained on "
    "exactly as many tokens in all (token-controlled S1), and one that trained {plain} as the "
    "multi-task model did (plain S1). Only a gain over the first is knowledge from the other tasks; a gain over the "
    "second alone comes from more text."
)


def build(root: Path, runs: cells.Found, document: Mapping[str, Any]) -> Report:
    """The report on the studies in a folder.

    Args:
        runs: ``cells.find([root])``.
        document: ``outcome.judge(runs, …)``.
    """
    tidy = partial(_tidy, root=root)
    several = len(document["studies"]) > 1
    sections: list[Section] = []
    for number, (study, verdicts) in enumerate(zip(runs.studies, document["studies"], strict=True), 1):
        for part in _sections(study, verdicts, document["settings"], root, f"s{number}-" if several else ""):
            title = f"{part.title} ({verdicts['name']})" if several else part.title
            sections.append(Section(part.anchor, title, part.blocks))
    sections.append(sections_result.absent("missing", document, document["studies"], tidy))
    summaries = [Text(sections_result.summary(verdicts)) for verdicts in document["studies"]] if several else []
    folders = list(dict.fromkeys(folder for study in runs.studies for folder in rules.folders(study)))
    for folder in folders:
        if looked := looks.words(looks.taken(folder)):
            summaries.append(Text(looked if len(folders) == 1 else f"{folder.name}: {looked}"))
    by_updates = any(verdicts.get("plain") == "updates" for verdicts in document["studies"])
    about = ABOUT.format(plain="for as many updates" if by_updates else "on as many tokens of its task")
    return Report(TITLE, (Text(about), *summaries), tuple(sections))


def _sections(
    study: cells.Study, verdicts: Mapping[str, Any], settings: Mapping[str, Any], root: Path, prefix: str
) -> list[Section]:
    runs = records.of_study(study, root)
    return [
        sections_result.answers(f"{prefix}verdict", verdicts, settings, runs),
        sections_result.differences(f"{prefix}differences", verdicts, settings["margin"]),
        sections_result.power(f"{prefix}power", verdicts, settings),
        sections_result.learning(f"{prefix}curves", verdicts, runs),
        sections_runs.tokens(f"{prefix}tokens", runs),
        sections_runs.lacking(f"{prefix}data", runs),
        sections_result.exclusion(f"{prefix}exclusion", verdicts, runs),
        *sections_asked.shuffled(f"{prefix}shuffled", verdicts),
        sections_pairs.conflicts(f"{prefix}conflicts", study.tasks, runs),
        sections_pairs.transfers(f"{prefix}transfer", study, runs),
        sections_runs.weights(f"{prefix}sigma", runs),
        sections_runs.parity(f"{prefix}parity", runs),
        *sections_asked.learning_rates(f"{prefix}rates", verdicts),
        sections_runs.hyper_parameters(f"{prefix}settings", runs, tuned=bool(verdicts.get("trials"))),
        sections_runs.repeat(f"{prefix}repeat", runs),
        sections_runs.cost(f"{prefix}cost", runs),
    ]


def write(root: Path, runs: cells.Found, document: Mapping[str, Any], folder: Path) -> None:
    """All files of the report; each is there in full or not at all. UsageError where the folder cannot be written."""
    report = build(root, runs, document)
    outcome.write(document, folder)
    try:
        make_folder(folder / "figures")
        for figure in report.figures:
            write_file(folder / "figures" / f"{figure.name}.png", figure.png)
        write_file(folder / "report.md", markdown.text(report).encode())
        write_file(folder / "verdict.tex", markdown.latex(document).encode())
        write_file(folder / "report.html", html.page(report).encode())
    except OSError as error:
        raise UsageError(f"--output {folder}: cannot be written ({error.strerror}); name another folder") from None


@frozen
class Settings:
    """By which rule a verdict was given."""

    margin: float
    alpha: float
    draws: int


@frozen
class Given:
    """The part of ``verdict.json`` that the next verdict on the same runs goes by."""

    FILE: ClassVar[str] = documents.VERDICT

    settings: Settings


def recorded(folder: Path) -> dict[str, Any]:
    """Margin, alpha and draws of a verdict that was given before; empty where there is none."""
    given = typed.attempt(folder, Given)
    return {} if given is None else attrs.asdict(given.settings)


def _tidy(text: str, root: Path) -> str:
    """A message without the place of the study."""
    return text.replace(f"{root.resolve()}/", "").replace(f"{root}/", "")
