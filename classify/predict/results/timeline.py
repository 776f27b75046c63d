"""The figure of `predict --window`: probabilities, or a number, over the time of a recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from layerprobe.cache.common.options import check_figure
from layerprobe.cache.common.text import format_duration, printable
from layerprobe.classify.plotting import COLOURS, GREY, STYLE, open_frame, save, set_title

MOST_RECORDINGS = 12  # in one figure
WIDTH, HEIGHT = 7.2, 1.7  # inches of one recording
LINES = ("-", "--", ":")  # of the first six classes, the next six, …
STRIP = 0.12  # height of the strip of labels, in units of probability


def draw_timeline(
    rows: Sequence[Mapping[str, Any]], labels: Sequence[str], path: Path, *, title: str | None = None
) -> int:
    """Draw the rows of `table.as_rows` of windows, a panel for each recording; how many were left out.

    A line for each class, at the middle of each window; above them, a strip in the colour of each window's
    label, grey where it has none. Of a regression one line, named `labels[0]`. title: see
    `plotting.set_title`. Raises InputError for a path that cannot be drawn to.
    """
    check_figure(path)
    recordings: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        channel = f" (channel {row['channel']})" if "channel" in row else ""
        recordings.setdefault(row["file"] + channel, []).append(row)
    drawn = list(recordings.items())[:MOST_RECORDINGS]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.7 + HEIGHT * len(drawn)), layout="constrained")
        panels = figure.subplots(len(drawn), 1, squeeze=False)[:, 0]
        for axes, (file, windows) in zip(panels, drawn, strict=True):
            _draw_recording(axes, windows, labels)
            name = printable(Path(file).name)
            set_title(axes, name, title=title if len(drawn) == 1 else None)
        panels[-1].set_xlabel("time (h:min:s)" if _is_long(drawn) else "time (s)")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, frameon=False, loc="outside lower center", ncols=min(6, len(names)))
        save(figure, path)
    return len(recordings) - len(drawn)


def _draw_recording(axes: Axes, windows: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> None:
    windows = sorted(windows, key=lambda window: float(window["start"]))
    begin, end, middles = _times(windows)
    for number, label in enumerate(labels):
        axes.plot(
            middles,
            [
                window["number"] if "number" in window else window["probabilities"][label]
                for window in windows
            ],
            color=COLOURS[number % len(COLOURS)],
            linestyle=LINES[number // len(COLOURS) % len(LINES)],
            marker="o" if len(windows) < 60 else None,
            markersize=3,
            linewidth=1.3,
            label=printable(label),
        )
    axes.set_xlim(begin, end)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8))
    if _is_long([("", list(windows))]):
        axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: format_duration(seconds)))
    open_frame(axes)
    axes.set_ylabel(printable(labels[0]) if "number" in windows[0] else "probability")
    if "label" in windows[0]:
        _draw_strip(axes, windows, labels)


def _times(windows: Sequence[Mapping[str, Any]]) -> tuple[float, float, list[float]]:
    """The begin of the first window, the end of the last, and the middle of each, in seconds."""
    times = [(float(window["start"]), float(window["end"])) for window in windows]
    return times[0][0], times[-1][1], [(start + end) / 2 for start, end in times]


def _draw_strip(axes: Axes, windows: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> None:
    """Above the probabilities, each window's label as a colour."""
    begin, end, middles = _times(windows)
    # The strip has no gaps or overlaps: a window's share ends halfway to the next window's middle.
    edges = [begin, *((a + b) / 2 for a, b in pairwise(middles)), end]
    for window, left, right in zip(windows, edges[:-1], edges[1:], strict=True):
        label = window["label"]
        colour = GREY if label is None else COLOURS[labels.index(label) % len(COLOURS)]
        axes.broken_barh(
            [(left, right - left)], (1.03, STRIP), facecolor=colour, alpha=0.3 if label is None else 0.9
        )
    axes.set_ylim(0, 1.03 + STRIP)
    axes.set_yticks([0, 0.5, 1])


def _is_long(recordings: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> bool:
    """Whether times are clearer as hours, minutes and seconds."""
    return any(float(window["end"]) >= 300 for _, windows in recordings for window in windows)
