"""Layer curves as figures: UAR over layers, a line for each head of one run, or for each of several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from layerprobe.classify.config import MIX
from layerprobe.classify.plotting import (
    COLOURS,
    KINDS,
    MARKS,
    MOST_TICKS,
    STYLE,
    choose_title,
    format_chance,
    save,
)

NAME = "layers"
SPLITS = {
    "speaker": "speaker-disjoint folds",
    "random": "random folds, which leak speakers",
    "column": "the table's own split",
    "loso": "leave one speaker out",
    "corpus": "trained on one corpus, tested on another",
}
Entries = Sequence[Mapping[str, Any]]


def draw_layers(summary: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw UAR over layers from a summary, as SVG, PDF and PNG; returns the files."""
    entries: Entries = summary["layers"]
    layers = list(dict.fromkeys(entry["layer"] for entry in entries))
    heads = list(dict.fromkeys(entry["head"] for entry in entries))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.2) if len(layers) > 1 else (5.4, 3.8), layout="constrained")
        axes = figure.subplots()
        if len(layers) > 1:
            _draw_curves(axes, entries, layers, heads)
        else:
            _draw_heads(axes, entries, heads)
        _decorate(axes, summary, layers)
        return [save(figure, folder / f"{NAME}.{kind}") for kind in KINDS]


def draw_layer_curves(
    summaries: Mapping[str, Mapping[str, Any]], path: Path, *, title: str | None = None
) -> Path:
    """Draw the layer curves of several runs into one figure, and return its path.

    summaries: run folder → its summary. Each run is a line with a band, of the head that its folds selected
    most often. Runs with the same layers share their names on the axis; else it is the relative depth.
    """
    curves = {run: _curve(summary) for run, summary in summaries.items()}
    names = [[entry["layer"] for entry in entries] for entries in curves.values()]
    names = [layers for layers in names if len(layers) > 1] or names[:1]
    same = all(layers == names[0] for layers in names)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.subplots()
        for number, (run, entries) in enumerate(curves.items()):
            colour, mark = COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)]
            places = [
                float(place) if same else place / max(len(entries) - 1, 1) for place in range(len(entries))
            ]
            values = [entry["uar"]["value"] for entry in entries]
            label = f"{run} ({summaries[run]['model']}, {summaries[run]['selected']['head']})"
            if len(entries) == 1:  # no depth, such as mfcc: a level to compare with
                axes.axhline(values[0], color=colour, linestyle=":", linewidth=1.6, label=label)
                continue
            axes.plot(places, values, color=colour, marker=mark, markersize=5, linewidth=1.6, label=label)
            draw_band(axes, places, entries, colour)
        for chance in sorted({summary["chance"] for summary in summaries.values()}):
            _draw_chance(axes, chance, edge=1, side="right")
        if same:
            _name_layers(axes, names[0])
        axes.set_xlabel("layer" if same else "relative depth (0: first layer, 1: last)")
        axes.set_ylabel("unweighted average recall")
        _open_frame(axes)
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14))
        targets = ", ".join(sorted({summary["target"] for summary in summaries.values()}))
        default = f"{targets} by layer; bands: 95 % over speakers"
        axes.set_title(choose_title(title, default), fontsize=10, loc="left")
        return save(figure, path)


def _curve(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The single layers of a run, in order, with the head that was selected most often."""
    head = summary["selected"]["head"]
    return [entry for entry in summary["layers"] if entry["head"] == head and entry["layer"] != MIX]


def _draw_curves(axes: Axes, entries: Entries, layers: list[str], heads: list[str]) -> None:
    """A line over layers for each head. The mix, which has no depth, is a point of its own."""
    for number, head in enumerate(heads):
        colour, mark = COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)]
        points = [entry for entry in entries if entry["head"] == head]
        shift = (number - (len(heads) - 1) / 2) * 0.12  # so that bars do not overlap
        places = [layers.index(point["layer"]) + shift for point in points]
        values = [point["uar"]["value"] for point in points]
        line = [i for i, point in enumerate(points) if point["layer"] != MIX]
        axes.plot([places[i] for i in line], [values[i] for i in line], color=colour, linewidth=1.6, zorder=3)
        axes.plot(places, values, mark, color=colour, markersize=5.5, label=head, zorder=4)
        draw_band(axes, [places[i] for i in line], [points[i] for i in line], colour)
        _draw_bars(axes, places, points, colour)
    _name_layers(axes, layers)
    axes.set_xlabel("layer")
    _, labels = axes.get_legend_handles_labels()
    axes.legend(frameon=False, ncols=len(labels), loc="upper center", bbox_to_anchor=(0.5, -0.14))


def _draw_heads(axes: Axes, entries: Entries, heads: list[str]) -> None:
    """A point for each head, for a single layer."""
    for number, point in enumerate(entries):
        colour, mark = COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)]
        axes.plot([number], [point["uar"]["value"]], mark, color=colour, markersize=7, zorder=4)
        _draw_bars(axes, [number], [point], colour)
        value = point["uar"]["value"]
        axes.annotate(
            f"{value:.3f}", (number, value), (9, -3), textcoords="offset points",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
    axes.set_xticks(range(len(heads)), heads)
    axes.set_xlim(-0.6, len(heads) - 0.4)
    axes.set_xlabel("head")


def draw_band(axes: Axes, places: Sequence[float], points: Entries, colour: str) -> None:
    """The interval of each point as a band, which stays readable where those of several lines overlap."""
    scores = [point["uar"] for point in points]
    if len(scores) > 1 and all(uar["low"] is not None for uar in scores):
        low, high = ([uar[name] for uar in scores] for name in ("low", "high"))
        axes.fill_between(places, low, high, color=colour, alpha=0.12, linewidth=0, zorder=1)


def _draw_bars(axes: Axes, places: Sequence[float], points: Entries, colour: str) -> None:
    scores = [point["uar"] for point in points]
    known = [(x, uar) for x, uar in zip(places, scores, strict=True) if uar["low"] is not None]
    axes.vlines(
        [x for x, _ in known],
        [uar["low"] for _, uar in known],
        [uar["high"] for _, uar in known],
        color=colour,
        linewidth=1.2,
        alpha=0.5,
        zorder=2,
    )


def _decorate(axes: Axes, summary: Mapping[str, Any], layers: list[str]) -> None:
    data = summary["data"]
    edge, side = (1.0, "right") if len(layers) > 1 else (0.01, "left")  # the scores are right of the points
    _draw_chance(axes, summary["chance"], edge=edge, side=side)
    _open_frame(axes)
    axes.set_ylabel("unweighted average recall")
    what = f"{summary['target']} by layer" if len(layers) > 1 else summary["target"]
    speakers = f", {data['speakers']} speakers" if data["speakers"] else ""
    bars = "speakers" if data["speakers"] else "clips"
    axes.set_title(
        f"{summary['model']}: {what}\n"
        f"{_split(summary['selected']['split'])}\n"
        f"{data['clips']} clips{speakers}, {len(data['classes'])} classes; bars: 95 % over {bars}",
        fontsize=10,
        loc="left",
    )


def _draw_chance(axes: Axes, chance: float, *, edge: float, side: str) -> None:
    """A dashed line, named at one side. edge: where, as a fraction of the width."""
    axes.axhline(chance, color="#555555", linestyle=(0, (4, 3)), linewidth=1, zorder=1)
    axes.annotate(
        format_chance(chance), (edge, chance), (-2, 3), xycoords=("axes fraction", "data"),
        textcoords="offset points", ha=side, fontsize=8.5, color="#555555",
    )  # fmt: skip


def _name_layers(axes: Axes, layers: Sequence[str]) -> None:
    step = max(1, -(-len(layers) // MOST_TICKS))
    axes.set_xticks(range(0, len(layers), step), layers[::step])
    axes.set_xlim(-0.6, len(layers) - 0.4)


def _open_frame(axes: Axes) -> None:
    """Horizontal grid lines, and no frame at the top and right."""
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7))
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _split(name: str) -> str:
    return SPLITS.get(name, f"protocol {name}")
