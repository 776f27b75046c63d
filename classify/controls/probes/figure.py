"""Probes over layers as a figure: scores of classes, compression of their labels, R² of acoustic targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layerprobe.classify.controls.probes.tables import joined, over_chance
from layerprobe.classify.plotting import (
    COLOURS,
    DASHED,
    GREY,
    STYLE,
    draw_curve,
    draw_points,
    layer_ticks,
    legend_below,
    open_frame,
    save,
    save_kinds,
    set_title,
)

Targets = Sequence[Mapping[str, Any]]
PANEL = (7.2, 4.4)  # inches


def draw_probes(probes: Mapping[str, Any], model: str, path: Path, *, title: str | None = None) -> None:
    """A figure in the format of the path's suffix: a panel for each measure that the targets have.

    probes: result of `columns.probe_columns`, whose targets may be joined by those of `acoustics` and
    `frames`. title: of the first panel, see `plotting.set_title`.
    """
    with matplotlib.rc_context(STYLE):
        figure = _panels(probes["targets"], model, title=title)
        save(figure, path)


def write_probes_figure(summary: Mapping[str, Any], folder: Path) -> None:
    """probes.svg, .pdf, .png of a run with controls."""
    controls = summary["controls"]
    targets = joined(*(controls[name] for name in ("probes", "acoustics") if name in controls))["targets"]
    with matplotlib.rc_context(STYLE):
        figure = _panels(targets, summary["model"], title=None)
        save_kinds(figure, folder, "probes")


def title_of(model: str) -> str:
    """Title of the panel of scores."""
    return f"{model}: score of a linear probe, with 95 % intervals\n0 is chance, 1 is perfect"


def plot_scores(axes: Axes, targets: Targets) -> None:
    """(UAR - chance) / (1 - chance) of each target, since chances differ: over layers, or of one layer."""
    scaled = [
        [over_chance(entry["uar"], target["chance"]) for entry in target["layers"]] for target in targets
    ]
    _plot(axes, targets, scaled, label="(UAR - chance) / (1 - chance)", zero=0.0, meaning="chance")


def _panels(targets: Targets, model: str, *, title: str | None) -> Figure:
    classes = [target for target in targets if "uar" in target["layers"][0]]
    coded = [target for target in classes if "compression" in target["layers"][0]]
    numbers = [target for target in targets if "r2" in target["layers"][0]]
    panels: list[tuple[Targets, Callable[[Axes, Targets], None], str]] = [
        (classes, plot_scores, title_of(model)),
        (coded, _plot_compression, f"{model}: compression of the labels, with 95 % intervals\n1 is no gain"),
        (
            numbers,
            _plot_r2,
            f"{model}: R² of a linear probe, 95 % intervals\n0 is no gain, 1 is perfect",
        ),
    ]
    drawn = [panel for panel in panels if panel[0]] or panels[:1]
    figure = Figure(figsize=(PANEL[0] * (0.5 + 0.5 * len(drawn)), PANEL[1]), layout="constrained")
    all_axes = figure.subplots(1, len(drawn), squeeze=False)[0]
    for number, (axes, (own, plot, default)) in enumerate(zip(all_axes, drawn, strict=True)):
        plot(axes, own)
        if number == 0 or title is None:
            set_title(axes, default, title=title)
    return figure


def _plot_compression(axes: Axes, targets: Targets) -> None:
    scores = [[entry["compression"] for entry in target["layers"]] for target in targets]
    label = "uniform code / code with the layer"
    _plot(axes, targets, scores, label=label, zero=1.0, meaning="uniform code")


def _plot_r2(axes: Axes, targets: Targets) -> None:
    scores = [[entry["r2"] for entry in target["layers"]] for target in targets]
    _plot(axes, targets, scores, label="R²", zero=0.0, meaning="the mean")


def _plot(
    axes: Axes,
    targets: Targets,
    scores: Sequence[Sequence[Mapping[str, Any]]],
    *,
    label: str,
    zero: float,
    meaning: str,
) -> None:
    """A curve over layers for each target; of a single layer, a point for each. zero: value without gain."""
    layers = [entry["layer"] for entry in targets[0]["layers"]] if targets else []
    if len(layers) == 1:
        rows = zip([target["target"] for target in targets], scores, strict=True)
        draw_points(axes, [(name, own[0], COLOURS[n > 0]) for n, (name, own) in enumerate(rows)], decimals=2)
        axes.axvline(zero, color=GREY, linestyle=DASHED, linewidth=1)
        axes.set_xlabel(f"{label} on layer {layers[0]} (dashed: {meaning})")
        return
    for number, (target, own) in enumerate(zip(targets, scores, strict=True)):
        width = 2.4 if number == 0 else 1.3
        draw_curve(axes, range(len(layers)), own, number=number, label=target["target"], width=width)
    axes.axhline(zero, color=GREY, linestyle=DASHED, linewidth=1)
    layer_ticks(axes, layers)
    axes.set_ylabel(label)
    open_frame(axes)
    if targets:
        legend_below(axes, columns=3)
