"""Figures of the controls: what each layer encodes, the score next to its controls, the learning curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from layerprobe.classify.plotting import COLOURS, KINDS, MARKS, MOST_TICKS, STYLE, format_chance, save

GREY = "#555555"


def draw_probes(probes: Mapping[str, Any], title: str, path: Path) -> None:
    """Linear probes over layers, as one figure in the format of the path's suffix."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.4), layout="constrained")
        axes = figure.subplots()
        _plot_targets(axes, probes["targets"])
        axes.set_title(title, fontsize=10, loc="left")
        save(figure, path)


def draw_controls(summary: Mapping[str, Any], folder: Path) -> None:
    """controls.svg, .pdf, .png: linear probes over layers, and the selected system next to its controls."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 4.4), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        _plot_targets(left, summary["controls"]["probes"]["targets"])
        title = f"{summary['model']}: score of a linear probe\n0 is chance, 1 is perfect"
        left.set_title(title, fontsize=10, loc="left")
        _plot_scores(right, summary)
        right.set_title(f"{summary['target']}: the score and its controls", fontsize=10, loc="left")
        for kind in KINDS:
            save(figure, folder / f"controls.{kind}")


def draw_learning_curve(summary: Mapping[str, Any], folder: Path) -> None:
    """learning_curve.svg, .pdf, .png: UAR against the share of training speakers."""
    curve = summary["controls"]["learning_curve"]
    of, points = curve["of"], curve["points"]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.subplots()
        shares = [point["share"] for point in points]
        values = [point["uar"]["value"] for point in points]
        spread = [point["uar"]["sd"] or 0.0 for point in points]
        axes.errorbar(shares, values, yerr=spread, color=COLOURS[0], marker="o", linewidth=1.6, capsize=3)
        label: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8.5, "color": GREY}
        for point, share, value in zip(points, shares, values, strict=True):
            axes.annotate(f"{point[of]:.0f}", (share, value), (6, 5), **label)
        chance = summary["chance"]
        axes.axhline(chance, color=GREY, linestyle=(0, (4, 3)), linewidth=1)
        label |= {"xycoords": ("axes fraction", "data"), "ha": "right"}
        axes.annotate(format_chance(chance), (1, chance), (-2, 3), **label)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlim(0, 1.05)
        axes.margins(y=0.15)
        axes.set_xlabel(f"share of the training {of} (numbers: how many per fold)")
        axes.set_ylabel("unweighted average recall")
        _open_frame(axes)
        title = f"{summary['model']}: {summary['target']}, learning curve over training {of}"
        axes.set_title(f"{title}\nmean over draws; bars: one standard deviation", fontsize=10, loc="left")
        for kind in KINDS:
            save(figure, folder / f"learning_curve.{kind}")


def _plot_targets(axes: Axes, targets: Sequence[Mapping[str, Any]]) -> None:
    """(UAR - chance) / (1 - chance) of each target over the layers, since the chances differ."""
    layers = [entry["layer"] for entry in targets[0]["layers"]] if targets else []
    single = len(layers) == 1  # then the targets are next to each other
    for number, target in enumerate(targets):
        colour, chance = COLOURS[number % len(COLOURS)], target["chance"]
        scores = [[entry["uar"][name] for name in ("value", "low", "high")] for entry in target["layers"]]
        value, low, high = (np.array(scores, float).T - chance) / (1 - chance)
        shift = number if single else (number - (len(targets) - 1) / 2) * 0.08
        places = np.arange(len(layers)) + shift
        axes.plot(
            places,
            value,
            color=colour,
            marker=MARKS[number % len(MARKS)],
            markersize=5.5,
            linewidth=2.2 if number == 0 else 1.2,
            label=target["target"],
            zorder=4 if number == 0 else 3,
        )
        axes.vlines(places, low, high, color=colour, linewidth=1, alpha=0.4)
    axes.axhline(0, color=GREY, linestyle=(0, (4, 3)), linewidth=1)
    axes.set_ylabel("(UAR - chance) / (1 - chance)")
    _open_frame(axes)
    if single:
        axes.set_xticks(range(len(targets)), [target["target"] for target in targets])
        axes.set_xlim(-0.6, len(targets) - 0.4)
        axes.set_xlabel(f"target of the probe (layer {layers[0]})")
        return
    step = max(1, -(-len(layers) // MOST_TICKS))
    axes.set_xticks(range(0, len(layers), step), layers[::step])
    axes.set_xlabel("layer")
    axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.14))


def _plot_scores(axes: Axes, summary: Mapping[str, Any]) -> None:
    """UAR of the selected system and of each control, one below the other."""
    controls = summary["controls"]
    value, sd = controls["shuffled"]["uar"]["value"], controls["shuffled"]["uar"]["sd"]
    rows = [
        ("selected", summary["selected"]["uar"], COLOURS[0]),
        *((run["model"], run["uar"], COLOURS[1]) for run in controls.get("runs", ())),
        ("shuffled labels", {"value": value, "low": value - sd, "high": value + sd}, GREY),
        ("majority", controls["majority"]["uar"], GREY),
    ]
    for place, (_, score, colour) in enumerate(rows):
        axes.plot(score["value"], place, "o", color=colour, markersize=7, zorder=3)
        if score.get("low") is not None:
            axes.hlines(place, score["low"], score["high"], color=colour, linewidth=2, alpha=0.6)
        axes.annotate(
            f"{score['value']:.3f}", (score["value"], place), (0, 8), textcoords="offset points", ha="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    axes.axvline(summary["chance"], color=GREY, linestyle=(0, (4, 3)), linewidth=1)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.6)
    axes.margins(x=0.1)
    axes.set_xlabel(
        "unweighted average recall (dashed: chance)\nbars: 95 % over speakers; shuffled labels: one s.d."
    )
    axes.spines[["top", "right"]].set_visible(False)


def _open_frame(axes: Axes) -> None:
    """Horizontal grid lines, and no frame at the top and right."""
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
