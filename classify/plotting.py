"""What all figures share: style, colours, curves, titles, and saving the same bytes for the same run."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from layerprobe.cache.common.disk import write_atomically
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import FIGURE_KINDS

RUN_KINDS: Sequence[str] = FIGURE_KINDS  # what a run folder has of each of its figures
# No dates or random ids, so that the same run gives the same files.
METADATA: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
STYLE = {
    "svg.hashsalt": "layerprobe",
    "svg.fonttype": "none",  # text stays text
    "pdf.fonttype": 42,  # TrueType, embedded: journals refuse Type 3
    "text.parse_math": False,  # a $ in a name is no formula
    "font.size": 10,
}
# Okabe & Ito (2008): distinguishable with all common kinds of colour blindness; marks, without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKS = ("o", "s", "^", "D", "v", "P")
GREY = "#555555"
DASHED = (0, (4, 3))
MOST_TICKS = 26
NO_TITLE = "none"  # as typed for --title

Score = Mapping[str, Any]  # value, low, high; the last two may be None


def draw_curve(
    axes: Axes,
    places: Sequence[float],
    scores: Sequence[Score],
    *,
    number: int,
    label: str,
    width: float = 1.6,
) -> None:
    """A line of scores in the colour and mark of its number, with its interval as a band.

    The band has edges, so that bands remain distinct where they overlap. A single score has a bar.
    """
    colour, mark = COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)]
    values, low, high = (
        [float("nan") if score[name] is None else score[name] for score in scores]
        for name in ("value", "low", "high")
    )
    axes.plot(
        places,
        values,
        mark,
        linestyle="-",
        color=colour,
        linewidth=width,
        markersize=5,
        label=label,
        zorder=4,
    )
    if len(scores) == 1:
        axes.vlines(places, low, high, color=colour, linewidth=1.2, alpha=0.6, zorder=2)
        return
    axes.fill_between(places, low, high, color=colour, alpha=0.12, linewidth=0, zorder=1)
    for edge in (low, high):
        axes.plot(places, edge, color=colour, linewidth=0.7, alpha=0.6, zorder=2)


def draw_points(axes: Axes, rows: Sequence[tuple[str, Score, str]], *, decimals: int = 3) -> None:
    """Scores one below the other, each with its name on the axis, its value and its interval as a bar.

    rows: name, score and colour of each.
    """
    for place, (_, score, colour) in enumerate(rows):
        axes.plot(score["value"], place, "o", color=colour, markersize=7, zorder=3)
        if score.get("low") is not None:
            axes.hlines(place, score["low"], score["high"], color=colour, linewidth=2, alpha=0.6)
        axes.annotate(
            f"{score['value']:.{decimals}f}", (score["value"], place), (0, 8), textcoords="offset points",
            ha="center", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.6)
    axes.margins(x=0.1)
    axes.spines[["top", "right"]].set_visible(False)


def draw_chance(axes: Axes, chance: float, *, left: bool = False) -> None:
    """A dashed line at the chance level with its value, at the right end or at the left."""
    axes.axhline(chance, color=GREY, linestyle=DASHED, linewidth=1, zorder=1)
    edge, side = (0.01, "left") if left else (1, "right")
    axes.annotate(
        f"chance {chance:.3g}", (edge, chance), (-2, 3), xycoords=("axes fraction", "data"),
        textcoords="offset points", ha=side, fontsize=8.5, color=GREY,
    )  # fmt: skip


def use_log_x(axes: Axes) -> None:
    """A logarithmic x axis with ticks at 1, 2, 5, 10, …"""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def open_frame(axes: Axes) -> None:
    """Horizontal grid lines, and no frame at the top and right."""
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def layer_ticks(axes: Axes, layers: Sequence[str]) -> None:
    """Names of the layers at 0, 1, …; of many, not every one."""
    step = max(1, -(-len(layers) // MOST_TICKS))
    axes.set_xticks(range(0, len(layers), step), layers[::step])
    axes.set_xlim(-0.6, len(layers) - 0.4)
    axes.set_xlabel("layer")


def legend_below(axes: Axes, *, columns: int) -> None:
    axes.legend(frameon=False, ncols=columns, loc="upper center", bbox_to_anchor=(0.5, -0.14))


def set_title(axes: Axes, default: str, *, title: str | None = None) -> None:
    """The title of a figure: as the user gave it, `none` for no title, or else the default."""
    if title != NO_TITLE:
        axes.set_title(default if title is None else title, fontsize=10, loc="left")


def save_kinds(figure: Figure, folder: Path, name: str, *, kinds: Sequence[str] | None = None) -> list[Path]:
    """Write a figure as NAME.KIND of each kind, by default of RUN_KINDS; returns the files.

    The layout of the first file is that of all. Raises InputError if the folder is not writable.
    """
    written = []
    for kind in kinds or RUN_KINDS:
        written.append(save(figure, folder / f"{name}.{kind}"))
        figure.set_layout_engine("none")
    return written


def save(figure: Figure, path: Path) -> Path:
    """Write a figure in the format of its suffix. Raises InputError if the folder is not writable."""
    drawn, kind = io.BytesIO(), path.suffix[1:]
    figure.savefig(drawn, format=kind, dpi=160, metadata=METADATA.get(kind))
    try:
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, drawn.getvalue())
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror})", where=str(path), do="choose another folder"
        ) from error
    return path
