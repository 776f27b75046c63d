"""Figures of the controls: what each layer encodes, the score next to its controls, the learning curve."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from layerprobe.classify.config import BASELINES, main_metric, task_of
from layerprobe.classify.controls.probes.figure import plot_scores, title_of
from layerprobe.classify.plotting import (
    COLOURS,
    DASHED,
    GREY,
    STYLE,
    draw_chance,
    draw_points,
    open_frame,
    save_kinds,
    set_title,
)
from layerprobe.classify.score_names import AXIS_NAMES


def draw_controls(summary: Mapping[str, Any], folder: Path) -> None:
    """controls.svg, .pdf, .png: linear probes over layers, and the selected system next to its controls."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 4.4), layout="constrained")
        targets = summary["controls"]["probes"]["targets"]
        one_layer = all(len(target["layers"]) == 1 for target in targets)
        left, right = figure.subplots(1, 2, width_ratios=(1, 1) if one_layer else (3, 2))
        plot_scores(left, targets)
        set_title(left, title_of(summary["model"]))
        _plot_scores(right, summary)
        set_title(right, f"{summary['target']}: the score and its controls")
        save_kinds(figure, folder, "controls")


def draw_learning_curve(summary: Mapping[str, Any], folder: Path) -> None:
    """learning_curve.svg, .pdf, .png: the score against the share of training speakers."""
    curve, metric = summary["controls"]["learning_curve"], main_metric(summary)
    of, points = curve["of"], curve["points"]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.subplots()
        shares = [point["share"] for point in points]
        values = [point[metric]["value"] for point in points]
        spread = [point[metric]["sd"] or 0.0 for point in points]
        axes.errorbar(shares, values, yerr=spread, color=COLOURS[0], marker="o", linewidth=1.6, capsize=3)
        for point, share, value in zip(points, shares, values, strict=True):
            axes.annotate(
                f"{point[of]:.0f}",
                (share, value),
                (6, 5),
                textcoords="offset points",
                fontsize=8.5,
                color=GREY,
            )
        draw_chance(axes, summary["chance"])
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlim(0, 1.05)
        axes.margins(y=0.15)
        axes.set_xlabel(f"share of the training {of} (numbers: how many per fold)")
        axes.set_ylabel(AXIS_NAMES[metric])
        open_frame(axes)
        title = f"{summary['model']}: {summary['target']}, learning curve over training {of}"
        set_title(axes, f"{title}\nmean over draws; bars: one standard deviation")
        save_kinds(figure, folder, "learning_curve")


def draw_few_shot(summary: Mapping[str, Any], folder: Path) -> None:
    """few_shot.svg, .pdf, .png: UAR with few training clips, and with few clips of the tested speakers."""
    found = summary["controls"]["few_shot"]
    curves = {
        "clips": ("training clips of each class", found["clips"]),
        "own_clips": (
            "clips of each class of a test speaker,\nbeside all training clips",
            found["own_clips"],
        ),
    }
    drawn = [(label, points) for label, points in curves.values() if points]
    if not drawn:
        return
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.4 * len(drawn), 3.8), layout="constrained")
        for number, (axes, (label, points)) in enumerate(
            zip(figure.subplots(1, len(drawn), sharey=True, squeeze=False)[0], drawn, strict=True)
        ):
            values, spread = ([point["uar"][key] for point in points] for key in ("value", "sd"))
            places = range(len(points))
            axes.errorbar(places, values, yerr=spread, color=COLOURS[number], marker="o", capsize=3)
            axes.set_xticks(places, [str(point["shots"]) for point in points])
            axes.set_xlabel(label)
            draw_chance(axes, summary["chance"])
            open_frame(axes)
            if number == 0:
                axes.set_ylabel("unweighted average recall")
                title = f"{summary['model']}: {summary['target']}, few-shot curves"
                set_title(axes, f"{title}\nmean over draws; bars: one standard deviation")
        save_kinds(figure, folder, "few_shot")


def _plot_scores(axes: Axes, summary: Mapping[str, Any]) -> None:
    """The score of the selected system and of each control, one below the other."""
    controls, metric = summary["controls"], main_metric(summary)
    value, sd = (controls["shuffled"][metric][name] for name in ("value", "sd"))
    baseline, _ = BASELINES[task_of(summary)]
    rows = [
        ("selected", summary["selected"][metric], COLOURS[0]),
        *((run["model"], run[metric], COLOURS[1]) for run in controls.get("runs", ())),
        ("shuffled labels", {"value": value, "low": value - sd, "high": value + sd}, GREY),
        (baseline, controls[baseline][metric], GREY),
    ]
    draw_points(axes, rows)
    axes.axvline(summary["chance"], color=GREY, linestyle=DASHED, linewidth=1)
    axes.set_xlabel(
        f"{AXIS_NAMES[metric]} (dashed: chance {summary['chance']:.3g})\n"
        "bars: 95 % over speakers; shuffled labels: one s.d."
    )
