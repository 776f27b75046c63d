"""Charts as figures of a paper: SVG and PDF, as wide as one column or two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from layerprobe.classify.plotting import COLOURS, MARKS, MOST_TICKS, STYLE, save_kinds, use_log_x
from layerprobe.classify.report.escape import shorten
from layerprobe.classify.report.figures.charts import (
    Bars,
    Chart,
    Cloud,
    Curves,
    Grid,
    Number,
    Reference,
    Scatter,
    look,
)

WIDTHS = {"one-column": 3.5, "two-columns": 7.2}  # inches
KINDS = ("svg", "pdf")
SIZES = {
    "font.size": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
}
GREY = "#555555"
DASHES = ((0, (4, 3)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (8, 3)))
COLOUR_MAP = "cividis"  # readable with all common kinds of colour blindness (Nuñez et al. 2018)
CHARACTER = 0.055  # inches of a legend's character


def draw(chart: Chart, folder: Path) -> list[Path]:
    """Write NAME-one-column and NAME-two-columns as SVG and PDF into `folder`; returns the files.

    Text stays text in SVG and is embedded as TrueType (Type 42) in PDF. Raises InputError if the folder is
    not writable.
    """
    written = []
    with matplotlib.rc_context({**STYLE, **SIZES}):
        for column, width in WIDTHS.items():
            figure = Figure(figsize=(width, _height(chart, width)), layout="constrained")
            axes = figure.subplots()
            if isinstance(chart, Curves):
                _curves(axes, chart, width)
            elif isinstance(chart, Bars):
                _bars(axes, chart, width)
            elif isinstance(chart, Grid):
                _grid(axes, chart, width)
            elif isinstance(chart, Scatter):
                _scatter(axes, chart, width)
            elif isinstance(chart, Cloud):
                _cloud(axes, chart, width)
            axes.set_xlabel(chart.x_label)
            axes.set_ylabel(chart.y_label)
            written += save_kinds(figure, folder, f"{chart.name}-{column}", kinds=KINDS)
    return written


def _height(chart: Chart, width: float) -> float:
    if isinstance(chart, Bars):
        return 0.9 + 0.2 * (len(chart.names) + len(chart.references) * 0.6)
    if isinstance(chart, Grid) and len(chart.rows) < len(chart.columns):
        return 0.9 + 0.35 * len(chart.rows)
    return min(width, 4.6) * (0.85 if isinstance(chart, Grid) or width < 5 else 0.8)


def _curves(axes: Axes, chart: Curves, width: float) -> None:
    xs = [x for series in chart.series for x in series.x]
    for number, series in enumerate(chart.series):
        colour, mark = _look(number)
        y = [_nan(value) for value in series.y]
        style = {"line": "-", "steps": "-", "points": "none"}[series.style]
        mark = "" if series.style == "steps" else mark
        axes.plot(
            series.x, y, linestyle=style, color=colour, marker=mark, markersize=3.5, linewidth=1.2, zorder=3,
            label=shorten(series.name, longest=60),
        )  # fmt: skip
        low, high = ([_nan(value) for value in bound] for bound in (series.low, series.high))
        if low and (series.style == "points" or len(series.x) == 1):  # a band needs two points
            axes.vlines(series.x, low, high, color=colour, linewidth=1, alpha=0.6)
        elif low:
            axes.fill_between(series.x, low, high, color=colour, alpha=0.15, linewidth=0)
        for x, value, text in zip(series.x, y, series.labels, strict=False):
            axes.annotate(shorten(text), (x, value), (4, 4), textcoords="offset points", fontsize=6.5)
    if chart.diagonal:
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=DASHES[0], label="perfect")
    for number, line in enumerate(chart.references):
        axes.axhline(line.value, label=_reference(line), **_line(number))
    if chart.log_x:
        use_log_x(axes)
    if chart.ticks:
        step = max(1, -(-len(chart.ticks) // (MOST_TICKS if width > 5 else MOST_TICKS // 2)))
        axes.set_xticks(range(0, len(chart.ticks), step), [shorten(t) for t in chart.ticks[::step]])
        axes.set_xlim(-0.4, len(chart.ticks) - 0.6)
    elif not chart.log_x and all(float(x).is_integer() for x in xs):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    _legend(axes, width)


def _bars(axes: Axes, chart: Bars, width: float) -> None:
    places = range(len(chart.names))
    axes.plot(chart.values, places, "o", color=COLOURS[0], markersize=4, zorder=3)
    known = [
        (place, low, high)
        for place, low, high in zip(places, chart.low, chart.high, strict=False)
        if low is not None and high is not None
    ]
    if known:
        rows, low, high = zip(*known, strict=True)
        axes.hlines(rows, low, high, color=COLOURS[0], linewidth=1.6, alpha=0.6)
    for number, line in enumerate(chart.references):
        axes.axvline(line.value, label=_reference(line), **_line(number))
    axes.set_yticks(places, [shorten(name) for name in chart.names])
    axes.set_ylim(len(chart.names) - 0.5, -0.5)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    if chart.references:
        _legend(axes, width)


def _grid(axes: Axes, chart: Grid, width: float) -> None:
    values = [[_nan(value) for value in row] for row in chart.values]
    image = axes.imshow(values, cmap=COLOUR_MAP, vmin=chart.low, vmax=chart.high, aspect="auto")
    room = width / max(1, len(chart.columns))  # inches of a cell
    for place, texts in enumerate(chart.texts if room > 0.2 else ()):
        for column, text in enumerate(texts):
            if text:
                value = values[place][column]
                dark = value < (chart.low + chart.high) / 2
                axes.text(
                    column, place, text if room > 0.55 else text.partition("\n")[0], ha="center", va="center",
                    fontsize=min(7.0, 26 * room) if room < 0.55 else 6.5, color="white" if dark else "black",
                )  # fmt: skip
    short = 10 if width < 5 else 16
    axes.set_xticks(
        range(len(chart.columns)),
        [shorten(name, longest=short) for name in chart.columns],
        rotation=90 if max(map(len, chart.columns)) > 10 * room else 0,
    )
    axes.set_yticks(range(len(chart.rows)), [shorten(name, longest=short) for name in chart.rows])
    axes.tick_params(length=0)
    axes.figure.colorbar(image, ax=axes, label=chart.colour_label, pad=0.01)


def _scatter(axes: Axes, chart: Scatter, width: float) -> None:
    """Points as one picture, so that thousands of them stay a small file."""
    axes.scatter(chart.x, chart.y, s=8, alpha=0.5, linewidths=0, rasterized=True, color=COLOURS[0])
    axes.plot(chart.ends, chart.ends, color=GREY, linewidth=0.8, linestyle=DASHES[0], label="perfect")
    axes.set_aspect("equal")
    axes.set_axisbelow(True)
    axes.grid(color="#DDDDDD", linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    _legend(axes, width)


def _cloud(axes: Axes, chart: Cloud, width: float) -> None:
    """Points as one picture, so that thousands of them stay a small file."""
    for number, name in enumerate(chart.groups):
        rows = chart.group == number
        colour, mark = _look(number)
        axes.scatter(
            chart.x[rows], chart.y[rows], s=7, alpha=0.7, linewidths=0, rasterized=True,
            label=shorten(name), color=colour, marker=mark,
        )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    _legend(axes, width)


def _legend(axes: Axes, width: float) -> None:
    """Below the axes, in as many columns as fit."""
    labels: Sequence[str] = axes.get_legend_handles_labels()[1]
    if labels:
        fitting = int(width / (0.45 + CHARACTER * max(map(len, labels))))
        columns = min(len(labels), max(1, fitting))
        axes.figure.legend(frameon=False, ncols=columns, loc="outside lower center")


def _look(number: int) -> tuple[str, str]:
    colour, mark = look(number)
    return COLOURS[colour], MARKS[mark]


def _reference(line: Reference) -> str:
    return f"{shorten(line.name, longest=40)} {line.value:.3f}"


def _line(number: int) -> dict:
    return {"color": GREY, "linewidth": 0.9, "linestyle": DASHES[number % len(DASHES)], "zorder": 1}


def _nan(value: Number) -> float:
    return float("nan") if value is None else value
