"""The curves of a fine-tuning: training and validation loss, validation score, over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from layerprobe.classify.plotting import COLOURS, KINDS, STYLE, save
from layerprobe.classify.runs.folder import write_csv

NAME = "curves"
Curve = Sequence[Mapping[str, float]]  # an entry for each epoch
TITLES = {"uar": "unweighted average recall", "accuracy": "accuracy", "macro_f1": "macro F1"}


def write_curves(out: Path, curves: Sequence[Curve]) -> None:
    """curves.csv: a line for each fold and epoch. curves: one for each fold."""
    names = list(dict.fromkeys(name for curve in curves for entry in curve for name in entry))
    lines = (
        [fold, *(entry.get(name, "") for name in names)]
        for fold, curve in enumerate(curves)
        for entry in curve
    )
    write_csv(out / f"{NAME}.csv", ["fold", *names], lines)


def draw_curves(
    curves: Sequence[Curve], kept: Sequence[float], *, metric: str, title: str, folder: Path
) -> list[Path]:
    """Draw them as SVG, PDF and PNG, a colour for each fold; a dot marks the epoch that was `kept`."""
    score = f"validation_{metric}"
    judged = any(score in entry for curve in curves for entry in curve)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 3.9) if judged else (5.4, 3.8), layout="constrained")
        panels: list[Axes] = list(figure.subplots(1, 1 + judged, squeeze=False)[0])
        for fold, (curve, epoch) in enumerate(zip(curves, kept, strict=True)):
            colour = COLOURS[fold % len(COLOURS)]
            _draw(panels[0], curve, "loss", colour, label=f"fold {fold}")
            if judged:
                _draw(panels[0], curve, "validation_loss", colour, dashed=True)
                _draw(panels[1], curve, score, colour, kept=epoch)
        panels[0].set_ylabel("loss: training —, validation - -" if judged else "training loss")
        if len(curves) <= len(COLOURS):
            panels[0].legend(frameon=False, fontsize=8.5)
        if judged:
            panels[1].set_ylabel(f"validation: {TITLES[metric]}")
        for axes in panels:
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
        panels[0].set_title(title, fontsize=10, loc="left")
        folder.mkdir(exist_ok=True)
        return [save(figure, folder / f"{NAME}.{kind}") for kind in KINDS]


def _draw(
    axes: Axes,
    curve: Curve,
    name: str,
    colour: str,
    *,
    label: str | None = None,
    dashed: bool = False,
    kept: float | None = None,
) -> None:
    points = [(entry["epoch"], entry[name]) for entry in curve if name in entry]
    if not points:
        return
    style = (0, (4, 3)) if dashed else "-"
    axes.plot(*zip(*points, strict=True), color=colour, linestyle=style, linewidth=1.5, label=label)
    chosen = [point for point in points if point[0] == kept]
    if chosen:
        axes.plot(*zip(*chosen, strict=True), "o", color=colour, markersize=5)
