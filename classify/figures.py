"""The figure over layers: how well each layer tells the classes apart, a line for each head."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from classify.runfolder import replace_bytes

NAME = "layers"
KINDS = ("svg", "pdf", "png")
METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}  # same run, same file
# Okabe & Ito (2008): told apart with every common kind of colour blindness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKS = ("o", "s", "^", "D", "v", "P")
SPLIT_WORDS = {
    "speaker": "speaker-disjoint folds",
    "random": "random folds (speakers leak)",
    "column": "the table's own split",
    "loso": "leave one speaker out",
}


def draw_layers(summary: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw UAR over layers from a summary, as SVG, PDF and PNG; returns the files."""
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    entries = summary["layers"]
    layers = list(dict.fromkeys(entry["layer"] for entry in entries))
    heads = list(dict.fromkeys(entry["head"] for entry in entries))
    for number, head in enumerate(heads):
        points = [entry for entry in entries if entry["head"] == head]
        _draw_head(axes, points, layers, number=number, heads=len(heads))
    _decorate(axes, summary, layers)
    folder.mkdir(exist_ok=True)
    return [_save(figure, folder / f"{NAME}.{kind}") for kind in KINDS]


def _draw_head(
    axes: Axes, points: list[Mapping[str, Any]], layers: list[str], *, number: int, heads: int
) -> None:
    colour, mark = COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)]
    shift = (number - (heads - 1) / 2) * (0.12 if len(layers) > 1 else 0.2)  # bars side by side, not on top
    x = [layers.index(p["layer"]) + shift for p in points]
    value = [p["uar"]["value"] for p in points]
    low = [v if p["uar"]["low"] is None else p["uar"]["low"] for p, v in zip(points, value, strict=True)]
    high = [v if p["uar"]["high"] is None else p["uar"]["high"] for p, v in zip(points, value, strict=True)]
    if len(layers) > 1:
        axes.plot(x, value, color=colour, linewidth=1.6, zorder=3)
    axes.vlines(x, low, high, color=colour, linewidth=1.2, alpha=0.55, zorder=2)
    axes.plot(x, value, mark, color=colour, markersize=5.5, label=points[0]["head"], zorder=4)


def _decorate(axes: Axes, summary: Mapping[str, Any], layers: list[str]) -> None:
    chance = summary["chance"]
    axes.axhline(
        chance, color="#555555", linestyle=(0, (4, 3)), linewidth=1, label=f"chance {chance:.2f}", zorder=1
    )
    step = max(1, -(-len(layers) // 26))
    axes.set_xticks(range(0, len(layers), step), layers[::step])
    margin = 0.5 if len(layers) > 1 else 1.0
    axes.set_xlim(-margin, len(layers) - 1 + margin)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7))
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("layer" if len(layers) > 1 else "features")
    axes.set_ylabel(
        "UAR (bars: 95 %, resampling speakers)" if summary["data"]["speakers"] else "UAR (bars: 95 %)"
    )
    data = summary["data"]
    who = f", {data['speakers']} speakers" if data["speakers"] else ""
    axes.set_title(
        f"{summary['model']}: {summary['target']} by layer\n"
        f"{SPLIT_WORDS[summary['selected']['split']]}; "
        f"{data['clips']} clips{who}, {len(data['classes'])} classes",
        fontsize=10.5,
        loc="left",
    )
    axes.legend(frameon=False, fontsize=9, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.14))


def _save(figure: Figure, path: Path) -> Path:
    drawn = io.BytesIO()
    kind = path.suffix[1:]
    figure.savefig(drawn, format=kind, dpi=160, metadata=METADATA.get(kind))
    replace_bytes(path, drawn.getvalue())
    return path
