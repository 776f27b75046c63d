"""A matrix of corpora as a heat map: matrix.svg, .pdf, .png."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from layerprobe.classify.config import main_metric
from layerprobe.classify.matrix.table import trained_on
from layerprobe.classify.plotting import STYLE, save_kinds, set_title
from layerprobe.classify.score_names import AXIS_NAMES

CELL = (1.7, 0.8)  # inches
DARK = 0.55  # share of the colour scale below which text is white


def draw_matrix(result: Mapping[str, Any], folder: Path) -> None:
    """The first score of the task in each cell, its interval below it.

    Cells are framed where training and test are of one corpus.
    """
    main = main_metric(result)
    columns = [size["name"] for size in result["corpora"]]
    rows = list(dict.fromkeys(trained_on(cell) for cell in result["cells"]))
    values = np.full((len(rows), len(columns)), np.nan)
    for cell in result["cells"]:
        values[rows.index(trained_on(cell)), columns.index(cell["test"])] = cell[main]["value"]
    low = min(np.nanmin(values), *(cell["chance"] for cell in result["cells"]))
    high = max(np.nanmax(values), low + 0.01)
    with matplotlib.rc_context(STYLE):
        size = (CELL[0] * len(columns) + 2.4, CELL[1] * len(rows) + 1.5)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(values, cmap="viridis", vmin=low, vmax=high, aspect="auto")
        figure.colorbar(image, ax=axes, label=AXIS_NAMES[main])
        for cell in result["cells"]:
            row, column = rows.index(trained_on(cell)), columns.index(cell["test"])
            score = cell[main]
            text = f"{score['value']:.3f}" if score["value"] == score["value"] else "undefined"
            if score["low"] is not None and not np.isnan(score["low"]):
                text += f"\n[{score['low']:.3f}, {score['high']:.3f}]"
            colour = "white" if (score["value"] - low) / (high - low) < DARK else "black"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
            if cell["kind"] == "within":
                edge = Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, fill=False, lw=2, ec="white")
                axes.add_patch(edge)
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_xlabel("tested on")
        axes.set_ylabel("trained on")
        title = f"{result['model']}: {result['target']} across corpora"
        set_title(axes, f"{title}\n95 % over test speakers; framed: folds within one corpus")
        save_kinds(figure, folder, "matrix")
