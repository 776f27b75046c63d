"""The similarity of all pairs of layers as a heat map, and of some pairs as a curve with intervals."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layerprobe.classify.plotting import (
    MOST_TICKS,
    STYLE,
    draw_curve,
    layer_ticks,
    open_frame,
    save,
    set_title,
)
from layerprobe.classify.similarity.layers import Similarity

NAMES = {"cka": "linear CKA (unbiased)", "svcca": "SVCCA"}


def draw_similarity(result: Similarity, path: Path, *, title: str | None = None) -> Path:
    """Draw the figure in the format of the path's suffix. title: see `plotting.set_title`."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 4.6), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1))
        _draw_map(left, result)
        _draw_curve(right, result)
        models = result.models[0] if result.one_model else f"{result.models[0]} and {result.models[1]}"
        set_title(left, f"{models}: {NAMES[result.measure]}", title=title)
        return save(figure, path)


def _draw_map(axes: Axes, result: Similarity) -> None:
    image = axes.imshow(result.value, vmin=0, vmax=1, cmap="viridis", origin="lower", aspect="auto")
    image.axes.figure.colorbar(image, ax=axes, label=NAMES[result.measure])
    layer_ticks(axes, result.layers[1])
    axes.set_xlim(-0.5, len(result.layers[1]) - 0.5)
    step = max(1, -(-len(result.layers[0]) // MOST_TICKS))
    axes.set_yticks(range(0, len(result.layers[0]), step), result.layers[0][::step])
    axes.set_xlabel(f"layer of {result.models[1]}")
    axes.set_ylabel(f"layer of {result.models[0]}")


def _draw_curve(axes: Axes, result: Similarity) -> None:
    names, pairs, label = curve_pairs(result)
    scores = [
        {
            name: None if np.isnan(array[pair]) else float(array[pair])
            for name, array in (("value", result.value), ("low", result.low), ("high", result.high))
        }
        for pair in pairs
    ]
    draw_curve(axes, range(len(names)), scores, number=0, label=label)
    layer_ticks(axes, names)
    axes.set_ylim(min(0.0, axes.get_ylim()[0]), 1.02)
    axes.set_ylabel(NAMES[result.measure])
    over = "clips" if result.speakers is None else f"{result.speakers} speakers"
    axes.set_title(f"{label}\n{result.clips} clips; band: 95 % over {over}", fontsize=10, loc="left")
    open_frame(axes)


def curve_pairs(result: Similarity) -> tuple[list[str], list[tuple[int, int]], str]:
    """Layers on the axis, the pair (row, column) of each, and what the curve shows.

    One model: each layer and the next. Two models: layers of the same name; if they share fewer than two
    names, each layer of the model with more layers and the layer of the other that is most similar to it.
    """
    first, second = result.layers
    if result.one_model and len(first) > 1:
        pairs = [(i, i + 1) for i in range(len(first) - 1)]
        return list(first[:-1]), pairs, "each layer and the next"
    shared = [name for name in first if name in second]
    if len(shared) > 1 or result.one_model:
        return shared, [(first.index(n), second.index(n)) for n in shared], "layers of the same name"
    values = np.nan_to_num(result.value, nan=-2.0)
    if len(first) > len(second):
        pairs = [(i, int(j)) for i, j in enumerate(values.argmax(1))]
        return list(first), pairs, f"layers of {result.models[0]}, with the closest of {result.models[1]}"
    pairs = [(int(i), j) for j, i in enumerate(values.argmax(0))]
    return list(second), pairs, f"layers of {result.models[1]}, with the closest of {result.models[0]}"
