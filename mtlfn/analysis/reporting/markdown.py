"""A report as Markdown with its pictures beside it, and the verdict table for a paper in LaTeX."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mtlfn.analysis import outcome
from mtlfn.analysis.reporting.blocks import Block, Cell, Figures, Items, Missing, Report, Section, Table, Text
from mtlfn.analysis.reporting.sections_result import signed
from mtlfn.analysis.runs import cells
from mtlfn.analysis.statistics.learnt import mean
from mtlfn.run.terminal import shown

SPECIAL = re.compile(r"([\\`*\[\]|~#])|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "−": "$-$", "–": "--", "\n": " ", "\r": " ",
}  # fmt: skip


def text(report: Report) -> str:
    """The whole."""
    contents = [f"- [{escape(s.title)}](#{_anchor(s.title)})" for s in report.sections]
    parts = [f"# {escape(report.title)}", *map(block, report.summary), "\n".join(contents)]
    return "\n\n".join([*parts, *map(section, report.sections)]) + "\n"


def section(part: Section) -> str:
    """A heading and its blocks."""
    return "\n\n".join([f"## {escape(part.title)}", *map(block, part.blocks)])


def block(content: Block) -> str:
    """Any block."""
    match content:
        case Text():
            return f"**{escape(content.text)}**" if content.tone == "alarm" else escape(content.text)
        case Missing():
            return f"**Missing: {escape(content.what)}** – {escape(content.why)}"
        case Items():
            return "\n".join(f"- **{escape(a)}**: {escape(b)}" for a, b in content.items)
        case Table():
            return table(content)
        case Figures():
            shown = (f"![{escape(f.title)}: {escape(f.alt)}](figures/{f.name}.png)" for f in content.figures)
            return "\n\n".join(shown)


def table(content: Table) -> str:
    """A table under its caption."""
    ends = ["---:" if i in content.numeric else "---" for i in range(len(content.columns))]
    rows = [content.columns, ends, *(tuple(map(_cell, row)) for row in content.rows)]
    drawn = [f"| {' | '.join(row if row is ends else (escape(c) for c in row))} |" for row in rows]
    return f"{escape(content.caption)}\n\n" + "\n".join(drawn)


def _cell(cell: Cell | str) -> str:
    return cell.text if isinstance(cell, Cell) else cell


def escape(value: str) -> str:
    """Plain text as Markdown that shows it as it is, on one line."""
    flat = shown(" ".join(value.split()))
    return SPECIAL.sub(r"\\\g<0>", "".join(ENTITIES.get(c, c) for c in flat))


def _anchor(title: str) -> str:
    """As the common renderers make it of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def latex(document: Mapping[str, Any]) -> str:
    """``verdict.tex``: a table a study, for a document that loads booktabs."""
    settings, out = document["settings"], ["% Needs \\usepackage{booktabs}."]
    for study in document["studies"]:
        rows = []
        for task, row in study["tasks"].items():
            score = mean(row["scores"][cells.MULTI])
            shown = [_difference(row[side]) for side in ("controlled", "plain")]
            fields = [task, row["metric"], "missing" if score is None else f"{score:.3f}", *shown]
            fields += [outcome.called(row, study), row["row"]]
            rows.append(" & ".join(map(tex, fields)) + r" \\")
        seeds = len(study["seeds"])
        out += [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{tex(study['name'])}: multi-task less single-task (S1), with 95\,\% intervals; "
            rf"{seeds} seed{'' if seeds == 1 else 's'}, margin {settings['margin']:g}, "
            rf"level {settings['level']:.3g} after Holm's correction."
            + (rf" Exploratory: {tex('; '.join(study['exploratory']))}." if study["exploratory"] else "")
            + "}",
            r"\begin{tabular}{llrrrll}",
            r"\toprule",
            r"Task & Metric & Multi-task & $-$ token-controlled S1 & $-$ plain S1 & Verdict & RQ5 \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    return "\n".join(out) + "\n"


def _difference(difference: Mapping[str, Any] | None) -> str:
    if difference is None:
        return "missing"
    low, high = difference["interval_95"]
    return f"{signed(difference['estimate'])} [{signed(low)}, {signed(high)}]"


def tex(value: str) -> str:
    """Plain text as LaTeX."""
    return "".join(LATEX.get(c, c) for c in value if c.isprintable() or c in "\n\r")
