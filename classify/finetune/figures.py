"""Training curves as curves.csv and as a figure: losses and validation score over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from layerprobe.classify.plotting import COLOURS, STYLE, open_frame, save_kinds
from layerprobe.classify.runs.run_folder import write_csv

if TYPE_CHECKING:
    from layerprobe.classify.finetune.checkpoints import TrainingCurve

NAME = "curves"
METRIC_NAMES = {"uar": "unweighted average recall", "accuracy": "accuracy", "macro_f1": "macro F1"}


def write_curves(out: Path, curves: Sequence[TrainingCurve]) -> None:
    """Write curves.csv: one row per fold and epoch. curves: one per fold."""
    names = list(dict.fromkeys(name for curve in curves for entry in curve for name in entry))
    rows = (
        [fold, *(entry.get(name, "") for name in names)]
        for fold, curve in enumerate(curves)
        for entry in curve
    )
    write_csv(out / f"{NAME}.csv", ["fold", *names], rows)


def draw_curves(
    curves: Sequence[TrainingCurve], best: Sequence[float], *, metric: str, title: str, folder: Path
) -> list[Path]:
    """Draw the curves as SVG, PDF and PNG, one colour per fold; a dot marks the fold's `best` epoch."""
    score = f"validation_{metric}"
    validated = any(score in entry for curve in curves for entry in curve)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 3.9) if validated else (5.4, 3.8), layout="constrained")
        panels: list[Axes] = list(figure.subplots(1, 1 + validated, squeeze=False)[0])
        for fold, (curve, epoch) in enumerate(zip(curves, best, strict=True)):
            style: dict[str, Any] = {"color": COLOURS[fold % len(COLOURS)], "linewidth": 1.5}
            panels[0].plot(*_points(curve, "loss"), **style, label=f"fold {fold}")
            if validated:
                panels[0].plot(*_points(curve, "validation_loss"), **style, linestyle=(0, (4, 3)))
                marked = [index for index, x in enumerate(_points(curve, score)[0]) if x == epoch]
                panels[1].plot(*_points(curve, score), **style, marker="o", markersize=5, markevery=marked)
        panels[0].set_ylabel("loss: training —, validation - -" if validated else "training loss")
        if len(curves) <= len(COLOURS):
            panels[0].legend(frameon=False, fontsize=8.5)
        if validated:
            panels[1].set_ylabel(f"validation: {METRIC_NAMES[metric]}")
        for axes in panels:
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            open_frame(axes)
        panels[0].set_title(title, fontsize=10, loc="left")
        folder.mkdir(exist_ok=True)
        return save_kinds(figure, folder, NAME)


def _points(curve: TrainingCurve, name: str) -> tuple[list[float], list[float]]:
    """Epochs and values, where the curve has the value."""
    entries = [entry for entry in curve if name in entry]
    return [entry["epoch"] for entry in entries], [entry[name] for entry in entries]
