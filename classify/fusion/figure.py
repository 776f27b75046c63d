"""The figure of a fusion: single models and fusions, one below the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from layerprobe.classify.plotting import COLOURS, DASHED, GREY, STYLE, draw_points, save_kinds, set_title
from layerprobe.classify.scores.results import SELECTED

NAME = "fusion"


def draw_fusion(summary: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw the UAR of single models and fusions, one below the other, as SVG, PDF and PNG; the files."""
    fusion = summary["fusion"]
    singles = [entry for entry in summary["layers"] if entry["head"] == SELECTED]
    rows = [(entry["layer"], entry["uar"], COLOURS[1]) for entry in singles]
    rows.append(("best single", fusion["best_single"]["uar"], GREY))
    rows += [(f"{entry['kind']} fusion", entry["uar"], COLOURS[0]) for entry in fusion["kinds"]]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 1.4 + 0.4 * len(rows)), layout="constrained")
        axes = figure.subplots()
        draw_points(axes, rows)
        axes.axvline(summary["chance"], color=GREY, linestyle=DASHED, linewidth=1)
        axes.set_xlabel(f"unweighted average recall (dashed: chance {summary['chance']:.3g})")
        set_title(axes, f"{summary['model']}: {summary['target']}\nbars: 95 %")
        return save_kinds(figure, folder, NAME)
