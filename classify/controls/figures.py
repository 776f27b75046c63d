"""The figures of the controls: what each layer gives away, and the score for fewer training speakers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from layerprobe.classify.plotting import COLOURS, KINDS, MARKS, MOST_TICKS, STYLE, save

GREY = "#555555"
Targets = Sequence[Mapping[str, Any]]
Rows = Sequence[tuple[str, Mapping[str, Any], str]]  # what it is, its score, its colour


def draw_probes(probes: Mapping[str, Any], title: str, path: Path) -> None:
    """Linear probes over layers alone; `path` has the ending of the kind wanted."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.4), layout="constrained")
        axes = figure.subplots()
        _draw_targets(axes, probes["targets"])
        axes.set_title(title, fontsize=10, loc="left")
        save(figure, path)


def draw_controls(summary: Mapping[str, Any], folder: Path) -> None:
    """Linear probes over layers, and the selected system beside what it has to beat."""
    controls = summary["controls"]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 4.4), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        _draw_targets(left, controls["probes"]["targets"])
        left.set_title(
            f"{summary['model']}: what a linear probe reads\n0 is chance, 1 is all of it",
            fontsize=10,
            loc="left",
        )
        _draw_rows(right, _rows(summary), summary["chance"])
        right.set_title(f"{summary['target']}: the score and its controls", fontsize=10, loc="left")
        for kind in KINDS:
            save(figure, folder / f"controls.{kind}")


def draw_learning_curve(summary: Mapping[str, Any], folder: Path) -> None:
    """UAR against the share of training speakers."""
    economy = summary["controls"]["economy"]
    points = economy["points"]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.subplots()
        shares = [point["share"] for point in points]
        values = [point["uar"]["value"] for point in points]
        spread = [point["uar"]["sd"] or 0.0 for point in points]
        axes.errorbar(shares, values, yerr=spread, color=COLOURS[0], marker="o", linewidth=1.6, capsize=3)
        for point in points:
            counted = point[economy["of"]]
            axes.annotate(
                f"{counted:.0f}", (point["share"], point["uar"]["value"]), (6, 5),
                textcoords="offset points", fontsize=8.5, color=GREY,
            )  # fmt: skip
        _chance(axes, summary["chance"])
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlim(0, 1.05)
        axes.margins(y=0.15)
        axes.set_xlabel(f"share of the training {economy['of']} (numbers: how many a fold has)")
        axes.set_ylabel("unweighted average recall")
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(
            f"{summary['model']}: {summary['target']} with fewer {economy['of']} to train on\n"
            "mean over draws; bars: one standard deviation",
            fontsize=10,
            loc="left",
        )
        for kind in KINDS:
            save(figure, folder / f"economy.{kind}")


def _draw_targets(axes: Axes, targets: Targets) -> None:
    """(UAR − chance) / (1 − chance) of each target over the layers, since they have different chances."""
    layers = [entry["layer"] for entry in targets[0]["layers"]] if targets else []
    for number, target in enumerate(targets):
        colour, mark = COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)]
        chance = target["chance"]
        shift = (number - (len(targets) - 1) / 2) * 0.08
        places = [place + shift for place in range(len(layers))]

        def scaled(value: float | None, chance: float = chance) -> float:
            return float("nan") if value is None else (value - chance) / (1 - chance)

        scores = [entry["uar"] for entry in target["layers"]]
        axes.plot(
            places,
            [scaled(score["value"]) for score in scores],
            color=colour,
            marker=mark,
            markersize=5.5,
            linewidth=2.2 if number == 0 else 1.2,
            label=target["target"],
            zorder=4 if number == 0 else 3,
        )
        axes.vlines(
            places,
            [scaled(score["low"]) for score in scores],
            [scaled(score["high"]) for score in scores],
            color=colour,
            linewidth=1,
            alpha=0.4,
        )
    axes.axhline(0, color=GREY, linestyle=(0, (4, 3)), linewidth=1)
    step = max(1, -(-len(layers) // MOST_TICKS))
    axes.set_xticks(range(0, len(layers), step), layers[::step])
    axes.set_xlabel("layer")
    axes.set_ylabel("(UAR - chance) / (1 - chance)")
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.14))


def _rows(summary: Mapping[str, Any]) -> Rows:
    controls = summary["controls"]
    shuffled = controls["shuffled"]["uar"]
    spread = {
        "value": shuffled["value"],
        "low": shuffled["value"] - shuffled["sd"],
        "high": shuffled["value"] + shuffled["sd"],
    }
    return [
        ("selected", summary["selected"]["uar"], COLOURS[0]),
        *((run["model"], run["uar"], COLOURS[1]) for run in controls.get("runs", ())),
        ("shuffled labels", spread, GREY),
        ("majority", controls["majority"]["uar"], GREY),
    ]


def _draw_rows(axes: Axes, rows: Rows, chance: float) -> None:
    for place, (_, score, colour) in enumerate(rows):
        axes.plot(score["value"], place, "o", color=colour, markersize=7, zorder=3)
        if score.get("low") is not None:
            axes.hlines(place, score["low"], score["high"], color=colour, linewidth=2, alpha=0.6)
        axes.annotate(
            f"{score['value']:.3f}", (score["value"], place), (0, 8), textcoords="offset points", ha="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    axes.axvline(chance, color=GREY, linestyle=(0, (4, 3)), linewidth=1)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.6)
    axes.margins(x=0.1)
    axes.set_xlabel(
        "unweighted average recall (dashed: chance)\nbars: 95 % over speakers; of shuffled labels one s.d."
    )
    axes.spines[["top", "right"]].set_visible(False)


def _chance(axes: Axes, chance: float) -> None:
    axes.axhline(chance, color=GREY, linestyle=(0, (4, 3)), linewidth=1)
    axes.annotate(
        f"chance {chance:.2f}", (1, chance), (-2, 3), xycoords=("axes fraction", "data"),
        textcoords="offset points", ha="right", fontsize=8.5, color=GREY,
    )  # fmt: skip
