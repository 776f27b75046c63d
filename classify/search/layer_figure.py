"""The layer curve as a figure: UAR over layers, a line for each head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from layerprobe.classify.config import MIX
from layerprobe.classify.plotting import COLOURS, KINDS, MARKS, MOST_TICKS, STYLE, save

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
        _draw_bars(axes, places, points, colour)
    step = max(1, -(-len(layers) // MOST_TICKS))
    axes.set_xticks(range(0, len(layers), step), layers[::step])
    axes.set_xlim(-0.6, len(layers) - 0.4)
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
    data, chance = summary["data"], summary["chance"]
    axes.axhline(chance, color="#555555", linestyle=(0, (4, 3)), linewidth=1, zorder=1)
    edge, side = (1, "right") if len(layers) > 1 else (0.01, "left")  # the scores are right of the points
    axes.annotate(
        f"chance {chance:.2f}", (edge, chance), (-2, 3), xycoords=("axes fraction", "data"),
        textcoords="offset points", ha=side, fontsize=8.5, color="#555555",
    )  # fmt: skip
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7))
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
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


def _split(name: str) -> str:
    return SPLITS.get(name, f"protocol {name}")
