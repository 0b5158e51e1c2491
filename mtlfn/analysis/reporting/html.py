"""A report as one HTML page: no script, nothing from elsewhere, readable from 320 pixels on and on paper."""

from __future__ import annotations

import html

from mtlfn.analysis.reporting.blocks import Block, Cell, Figure, Figures, Items, Missing, Report, Section, Table, Text
from mtlfn.run.terminal import shown

STYLE = """
:root { color-scheme: light; --ink: #1a1a1a; --soft: #555; --line: #d5d5d5; --pale: #f5f5f3; --link: #00548a; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 1rem; max-width: 68rem; background: #fff; color: var(--ink);
  font: 1rem/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .5rem; padding-top: .5rem; border-top: 2px solid var(--ink); }
a { color: var(--link); }
p { max-width: 46rem; margin: .6rem 0; }
nav { background: var(--pale); padding: .6rem 1rem; margin: 1rem 0; }
nav ol { margin: 0; padding-left: 1.4rem; columns: 17rem; }
nav a { display: inline-block; padding: .2rem 0; }
.good, .alarm, .missing { padding: .4rem .7rem; border-left: .3rem solid #009e73; background: #eef7f3; }
.alarm { border-color: #a02c2c; background: #fbeeee; font-weight: 600; }
.missing { border-color: #767676; background: var(--pale); }
dl { max-width: 46rem; margin: .8rem 0; }
dt { font-weight: 600; margin-top: .5rem; }
dd { margin: 0 0 0 1rem; }
.scroll { overflow-x: auto; margin: 0 0 .8rem; }
.scroll:focus-visible { outline: 2px solid var(--link); }
table { border-collapse: collapse; font-size: .93rem; width: 100%; overflow-wrap: normal; }
.caption { color: var(--soft); margin: 1rem 0 .2rem; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid var(--line); }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
thead th, thead th.number { border-bottom: 2px solid var(--ink); vertical-align: bottom; white-space: normal; }
tbody th { font-weight: 600; }
code { font: .85rem ui-monospace, Consolas, monospace; overflow-wrap: anywhere; word-break: break-all; }
td code { display: inline-block; min-width: 17rem; }
td span { display: inline-block; white-space: nowrap; }
.gone { color: var(--soft); font-style: italic; }
.verdict { display: inline-block; padding: .05rem .5rem; border-radius: .3rem; border: 2px solid;
  font-weight: 600; white-space: normal; }
.genuine-transfer { border-color: #009e73; background: #e6f5f0; }
.data-exposure-only { border-color: #e69f00; background: #fdf4e0; }
.no-effect { border-color: #0072b2; background: #e6f1f8; }
.negative-transfer, .worse-than-its-own-share { border-color: #a02c2c; background: #fbeeee; }
.dilution, .helps-less-than-as-much-own-text { border-color: #aa4499; background: #f9eef7; }
.control-over-trained { border-color: #8a7a00; background: #f8f6e3; }
.inconclusive, .not-learnt { border-color: #767676; background: #f2f2f2; }
@media (min-width: 46rem) {
  dl { display: grid; grid-template-columns: fit-content(18rem) 1fr; gap: .4rem 1rem; max-width: 56rem; }
  dt { margin: 0; }
  dd { margin: 0; }
}
details { margin: .8rem 0; }
summary { cursor: pointer; color: var(--link); padding: .3rem 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(23rem, 100%), 1fr)); gap: 1.2rem; }
figure { margin: 0; min-width: 0; max-width: 30rem; }
figure svg { display: block; width: 100%; height: auto; }
figcaption { font-weight: 600; font-size: .93rem; margin-bottom: .2rem; }
@media (max-width: 46rem) {
  table { font-size: .86rem; }
  th, td { padding: .35rem .35rem; }
  .cards, .cards tbody, .cards tr, .cards th, .cards td { display: block; }
  .cards thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .cards tr { border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .7rem; margin: .6rem 0; }
  .cards th, .cards td { border: 0; padding: .15rem 0; text-align: left; }
  .cards tbody th { font-size: 1.1rem; }
  .cards td::before { content: attr(data-label); display: block; color: var(--soft); font-size: .82rem; }
}
@media print { body { max-width: none; } details > *, details { display: block; } figure { break-inside: avoid; } }
"""


def escape(value: str) -> str:
    """Plain text as HTML that shows it as it is, also where the page is printed on a console."""
    return html.escape(shown(value, "\n\t"))


def page(report: Report) -> str:
    """The page."""
    style = STYLE.strip()
    # The policy holds the promise: no script, nothing from elsewhere, even where an escape were forgotten.
    allowed = "default-src 'none'; style-src 'unsafe-inline'"
    contents = "\n".join(f'<li><a href="#{s.anchor}">{escape(s.title)}</a></li>' for s in report.sections)
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{allowed}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(report.title)}</title>",
            f"<style>{style}</style>",
            "</head>",
            "<body>",
            "<header>",
            f"<h1>{escape(report.title)}</h1>",
            *map(block, report.summary),
            "</header>",
            f'<nav aria-label="Contents">\n<ol>\n{contents}\n</ol>\n</nav>',
            "<main>",
            *map(section, report.sections),
            "</main>",
            "</body>",
            "</html>",
            "",
        ]
    )


def section(part: Section) -> str:
    """A heading and its blocks."""
    inside = "\n".join(map(block, part.blocks))
    heading = f'<h2 id="{part.anchor}-h">{escape(part.title)}</h2>'
    return f'<section id="{part.anchor}" aria-labelledby="{part.anchor}-h">\n{heading}\n{inside}\n</section>'


def block(content: Block) -> str:
    """Any block."""
    match content:
        case Text():
            dressed = "" if content.tone == "plain" else f' class="{content.tone}"'
            return f"<p{dressed}>{escape(content.text)}</p>"
        case Missing():
            return f'<p class="missing"><strong>Missing: {escape(content.what)}</strong> – {escape(content.why)}</p>'
        case Items():
            inside = "\n".join(f"<dt>{escape(a)}</dt>\n<dd>{escape(b)}</dd>" for a, b in content.items)
            return f"<dl>\n{inside}\n</dl>"
        case Table():
            return table(content)
        case Figures():
            return '<div class="figures">\n' + "\n".join(map(figure, content.figures)) + "\n</div>"


def table(content: Table) -> str:
    """A table; what is folded stands in a ``details``."""
    heads = "".join(f'<th scope="col"{_number(content, i)}>{escape(c)}</th>' for i, c in enumerate(content.columns))
    rows = "\n".join(
        f"<tr>{''.join(_cell(content, i, cell) for i, cell in enumerate(row))}</tr>" for row in content.rows
    )
    dressed = ' class="cards"' if content.cards else ""
    # Outside of what scrolls, so that it is read whole.
    caption = "" if content.folded else f'<p class="caption">{escape(content.caption)}</p>\n'
    # Named and reachable by keyboard, since it may scroll.
    out = (
        f'{caption}<div class="scroll" tabindex="0" role="region" aria-label="{escape(content.caption)}">\n'
        f'<table aria-label="{escape(content.caption)}"{dressed}>\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table>\n</div>"
    )
    return f"<details>\n<summary>{escape(content.caption)}</summary>\n{out}\n</details>" if content.folded else out


def _cell(content: Table, i: int, cell: Cell | str) -> str:
    cell = cell if isinstance(cell, Cell) else Cell(cell)
    text, (kind, _, rest) = escape(cell.text), cell.kind.partition(" ")
    if kind == "verdict":
        text = f'<span class="verdict {escape(rest.replace(",", "").replace(" ", "-"))}">{text}</span>'
    elif kind == "code":
        text = f"<code>{text}</code>"
    elif kind == "interval":
        text = f"{text.partition(' ')[0]} <span>{text.partition(' ')[2]}</span>"
    elif kind == "missing":
        text = f'<span class="gone">{text}</span>'
    if i == 0:
        return f'<th scope="row">{text}</th>'
    return f'<td data-label="{escape(content.columns[i])}"{_number(content, i)}>{text}</td>'


def _number(content: Table, i: int) -> str:
    return ' class="number"' if i in content.numeric else ""


def figure(content: Figure) -> str:
    """The picture, inline."""
    picture = shown(content.svg, "\n\t")
    return f"<figure>\n<figcaption>{escape(content.title)}</figcaption>\n{picture}\n</figure>"
