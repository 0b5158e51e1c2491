"""The report's pictures: drawn once each, as SVG for the page and as PNG, the same bytes every time.

Sized for a phone: 3.7 inches wide, so that their text is still read at 360 pixels. Colours are those of Okabe & Ito,
and no picture tells by colour alone. Texts are never read as mathematics: task names come from users.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mtlfn.analysis.reporting.blocks import Figure

BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW = (
    "#0072B2", "#D55E00", "#009E73", "#A02C2C", "#AA4499", "#56B4E9", "#B8A200"
)  # fmt: skip
INK, GREY, PALE = "#1a1a1a", "#767676", "#e6e6e6"
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED, YELLOW, GREY)
DASHES = ("-", "--", ":", "-.")
WIDTH = 3.7  # inches
LONGEST = 20  # characters of a name
STYLE = {
    "text.parse_math": False,
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.dpi": 72,
}


def short(name: str, longest: int = LONGEST) -> str:
    """A name as an axis can bear it: in two lines where it is long, and cut where it is longer."""
    if len(name) <= longest:
        return name
    breaks = [at + 1 for at, sign in enumerate(name) if sign in "_-/ " and at < longest]
    first = name[: max(breaks)] if breaks else ""
    rest = name.removeprefix(first)
    return first + "\n" * bool(first) + (rest if len(rest) <= longest else rest[: longest - 1] + "…")


def draw(name: str, title: str, alt: str, height: float, paint: Callable[[Any], None]) -> Figure:
    """A figure of one axes; ``paint`` draws on it."""
    matplotlib = _matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **STYLE, "svg.hashsalt": name, "backend": "agg"}):
        canvas = Canvas(figsize=(WIDTH, height), layout="constrained")
        paint(canvas.add_subplot())
        svg, png = io.StringIO(), io.BytesIO()
        FigureCanvasSVG(canvas).print_svg(svg, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        canvas.set_dpi(200)
        FigureCanvasAgg(canvas).print_png(png, metadata={"Software": None})
    return Figure(name, title, alt, inline(svg.getvalue(), name, alt), png.getvalue())


def _matplotlib() -> Any:
    """The module; it reads MPLBACKEND once and fails on the backend of a notebook, which a child process inherits."""
    asked = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if asked is not None:
            os.environ["MPLBACKEND"] = asked
    return matplotlib


def inline(svg: str, name: str, alt: str) -> str:
    """The element alone, as a page can hold it: ids made unique by the name, sized by the page, named for readers."""
    from html import escape

    body = svg[svg.index("<svg") :]
    body = re.sub(r"\s*<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'(xlink:href="|url\()#', rf"\g<1>#{name}-", body)
    view = re.search(r'viewBox="[^"]*"', body)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {view and view[0]}'
    labelled = f' role="img" aria-labelledby="{name}-title"><title id="{name}-title">{escape(alt)}</title>'
    return head + labelled + body[body.index(">") + 1 :].strip()


def forest(
    name: str,
    alt: str,
    rows: Sequence[tuple[str, Mapping[str, Any] | None, Mapping[str, Any] | None]],
    margin: float,
    plain: str = "tokens",
) -> Figure:
    """Differences with 95 % intervals and every seed's difference; rows: task, controlled, plain (``verdict.json``).

    ``plain``: what plain S1 has in common with the multi-task run, as in ``FOREST``.
    """

    def paint(axes: Any) -> None:
        axes.axvspan(-margin, margin, color=PALE, zorder=0, label=f"margin ±{margin:g}")
        axes.axvline(0, color=GREY, linewidth=0.8, zorder=1)
        for i, (_, *differences) in enumerate(rows):
            for difference, colour, mark, filled, shift, label in zip(
                differences, (BLUE, ORANGE), "os", (BLUE, "white"), (-0.17, 0.17), FOREST[plain], strict=True
            ):
                y = i + shift
                label = label if i == 0 else ""
                if difference is None:
                    axes.plot([], [], mark, color=colour, markerfacecolor=filled, label=label)
                    place = axes.get_yaxis_transform()
                    axes.text(
                        0.02, y, "missing", color=colour, fontsize=8, va="center", style="italic", transform=place
                    )
                    continue
                low, high = difference["interval_95"]
                axes.plot([low, high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
                seeds = list(difference["per_seed"].values())
                axes.plot(seeds, [y] * len(seeds), "|", color=colour, markersize=8, alpha=0.8)
                axes.plot([difference["estimate"]], [y], mark, color=colour, markerfacecolor=filled, label=label)
        axes.set_yticks(range(len(rows)), [short(task) for task, *_ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("multi-task less S1 (above 0: better)", loc="right")
        handles, labels = axes.get_legend_handles_labels()
        axes.figure.legend(handles, labels, loc="outside upper left")

    return draw(name, "Multi-task less single-task, with 95 % intervals", alt, 1.5 + 0.55 * len(rows), paint)


FOREST = {
    "tokens": ("same tokens in all", "same tokens of the task"),
    "updates": ("same tokens in all", "same number of updates"),
}


def curves(
    name: str, title: str, alt: str, metric: str, sides: Mapping[str, Sequence[Sequence[tuple[int, float]]]]
) -> Figure:
    """Scores against tokens; sides: name -> for every seed the points. Thin: seeds; thick: their mean."""
    import numpy as np

    def paint(axes: Any) -> None:
        for (label, seeds), colour, mark, dash in zip(sides.items(), COLOURS, MARKS, DASHES, strict=False):
            if not seeds:
                continue
            for points in seeds:
                axes.plot(*zip(*points, strict=True), color=colour, linewidth=0.8, alpha=0.4)
            # Seeds are evaluated at slightly different places: between two of its own a seed lies on a straight line.
            at = [x for x, _ in seeds[0]]
            mean = np.mean([np.interp(at, *np.transpose(points)) for points in seeds], axis=0)
            axes.plot(at, mean, dash, color=colour, marker=mark, markersize=4, linewidth=1.8, label=label)
        axes.set_xlabel("input tokens the model has trained on")
        axes.set_ylabel(f"dev {metric}")
        heights = [y for seeds in sides.values() for points in seeds for _, y in points]
        low, high = min(heights), max(heights)
        if 0 <= low <= 0.3 * high or low == high == 0:  # near zero, zero is where the axis begins
            axes.set_ylim(-0.03 * (high or 0.1), 1.05 * (high or 0.1))
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x else "0")
        axes.xaxis.set_major_locator(_few())
        axes.grid(color=PALE, linewidth=0.7)
        axes.figure.legend(loc="outside lower left", ncols=1)

    return draw(name, title, alt, 3.4, paint)


def lines(
    name: str, title: str, alt: str, label: str, series: Mapping[str, Sequence[Sequence[tuple[float, float]]]]
) -> Figure:
    """A quantity of each task against tokens; series: task -> for every seed the points."""

    def paint(axes: Any) -> None:
        for i, (task, seeds) in enumerate(series.items()):
            for j, points in enumerate(seeds):
                axes.plot(
                    *zip(*points, strict=True),
                    DASHES[i // len(COLOURS) % len(DASHES)],
                    color=COLOURS[i % len(COLOURS)],
                    marker=MARKS[i % len(MARKS)],
                    markevery=max(len(points) // 6, 1),
                    markersize=4,
                    linewidth=1.2,
                    label=short(task) if j == 0 else None,
                )
        axes.set_xlabel("input tokens the model has trained on")
        axes.set_ylabel(label)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x else "0")
        axes.xaxis.set_major_locator(_few())
        axes.grid(color=PALE, linewidth=0.7)
        axes.figure.legend(loc="outside lower left", ncols=2)

    return draw(name, title, alt, 3.2 + 0.1 * len(series), paint)


def heat(
    name: str,
    title: str,
    alt: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Mapping[tuple[int, int], float],
    *,
    labels: tuple[str, str],
    diverging: bool,
    limit: float,
    form: str = "{:.2f}",
) -> Figure:
    """A matrix with its numbers in it; cells that are not in ``values`` stay empty.

    Args:
        labels: of the rows' and of the columns' axis.
        diverging: colours for -limit to +limit, else for 0 to limit.
    """
    import numpy as np

    def paint(axes: Any) -> None:
        grid = np.full((len(rows), len(columns)), np.nan)
        for (i, j), value in values.items():
            grid[i, j] = value
        colours = "PuOr" if diverging else "Blues"
        low = -limit if diverging else 0
        # Not imshow: its embedded image would be the page's only one, and blurs where it is enlarged.
        edges = [np.arange(n + 1) - 0.5 for n in (len(columns), len(rows))]
        axes.pcolormesh(*edges, grid, cmap=colours, vmin=low, vmax=limit, edgecolor="white", linewidth=1.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        _numbers(axes, values, form, limit, 8 if len(columns) <= 6 else 6.5)
        _names(axes, rows, columns)
        axes.set_ylabel(labels[0])
        axes.set_xlabel(labels[1])
        for side in axes.spines.values():
            side.set_visible(False)

    return draw(name, title, alt, 0.8 + 0.24 * len(rows) if len(rows) > 8 else 1.4 + 0.36 * max(len(rows), 3), paint)


def _numbers(axes: Any, values: Mapping[tuple[int, int], float], form: str, limit: float, size: float) -> None:
    """The numbers of a matrix in its cells."""
    for (i, j), value in values.items():
        deep = abs(value) > 0.6 * limit
        text = form.format(value).replace("-", "−")
        text = text if re.search("[1-9]", text) else text.lstrip("+−")  # what rounds to zero has no sign
        axes.text(j, i, text, ha="center", va="center", fontsize=size, color="white" if deep else INK)


def _names(axes: Any, rows: Sequence[str], columns: Sequence[str]) -> None:
    """The names of a matrix's rows and columns, those of columns tilted where they are long."""
    axes.set_xticks(range(len(columns)), [short(c) for c in columns])
    if max(map(len, columns)) > 4:
        axes.tick_params(axis="x", rotation=40)
        for tick in axes.get_xticklabels():
            tick.set_horizontalalignment("right")
            tick.set_rotation_mode("anchor")
    axes.set_yticks(range(len(rows)), [short(r, 24) for r in rows])
    axes.tick_params(length=0)


def _few() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5, steps=[1, 2, 5, 10])
