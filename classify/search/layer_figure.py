"""Layer curves as figures: the score over layers, a line for each head of a run, or for each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import EMOBOX, Metric, main_metric
from layerprobe.classify.layer_names import is_single
from layerprobe.classify.plotting import (
    COLOURS,
    DASHED,
    GREY,
    STYLE,
    draw_chance,
    draw_curve,
    layer_ticks,
    legend_below,
    open_frame,
    save,
    save_kinds,
    set_title,
)
from layerprobe.classify.score_names import AXIS_NAMES, SCORE_NAMES

NAME, WEIGHTS_NAME = "layers", "layer_weights"
ALL_LAYERS = "all"  # layer of a fine-tuned model in its summary
SPLITS = {
    "speaker": "speaker-disjoint folds",
    "random": "random folds, which leak speakers",
    "column": "the table's own split",
    "loso": "leave one speaker out",
    "corpus": "trained on one corpus, tested on another",
}
Entries = Sequence[Mapping[str, Any]]


def draw_layers(summary: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw the score over layers from a summary, as SVG, PDF and PNG; returns the files."""
    with matplotlib.rc_context(STYLE):
        return save_kinds(_run_figure(summary), folder, NAME)


def draw_run(summary: Mapping[str, Any], path: Path, *, title: str | None = None) -> Path:
    """Draw the score over the layers of one run, a line for each head; of one layer, a point for each head.

    It is the first score of the run's task: UAR, or CCC of a regression. title: see `plotting.set_title`.
    Returns `path`.
    """
    with matplotlib.rc_context(STYLE):
        return save(_run_figure(summary, title=title), path)


def _run_figure(summary: Mapping[str, Any], *, title: str | None = None) -> Figure:
    entries: Entries = summary["layers"]
    metric = main_metric(summary)
    layers = list(dict.fromkeys(entry["layer"] for entry in entries))
    heads = list(dict.fromkeys(entry["head"] for entry in entries))
    several = len(layers) > 1
    figure = Figure(figsize=(7.2, 4.2) if several else (5.4, 3.8), layout="constrained")
    axes = figure.subplots()
    if several:
        for number, head in enumerate(heads):
            own = [entry for entry in entries if entry["head"] == head]
            _draw_layers(axes, own, layers, number, head, metric=metric)
        layer_ticks(axes, layers)
        legend_below(axes, columns=len(heads))
    else:
        _draw_heads(axes, entries, heads, metric=metric)
    draw_chance(axes, summary["chance"], left=not several)  # scores of points are on their right
    _decorate(axes, metric)
    set_title(axes, _title(summary, several=several), title=title)
    return figure


def draw_layer_weights(summary: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw the weights that a head learnt for the layers, as SVG, PDF and PNG; returns the files."""
    learnt = summary["layer_weights"]
    names = [entry["layer"] for entry in learnt["layers"]]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.4, 3.2), layout="constrained")
        axes = figure.subplots()
        draw_curve(axes, range(len(names)), [e["weight"] for e in learnt["layers"]], number=0, label="_")
        axes.axhline(1 / len(names), color=GREY, linestyle=DASHED, linewidth=1)
        axes.set_ylim(bottom=0)
        layer_ticks(axes, names)
        axes.set_ylabel("weight (dashed: all alike)")
        open_frame(axes)
        folds = len(learnt["folds"])
        spread = f"mean of {folds} outer folds; band: 95 % over folds" if folds > 1 else "one outer fold"
        set_title(axes, f"{summary['model']}: {summary['target']}, learnt weights of layers\n{spread}")
        return save_kinds(figure, folder, WEIGHTS_NAME)


def draw_layer_curves(
    summaries: Mapping[str, Mapping[str, Any]], path: Path, *, title: str | None = None
) -> Path:
    """Draw the layer curves of several runs into one figure, and return its path.

    summaries: run folder → its summary. Each run is a line with a band, of the head that its inner folds
    selected most often: no test score chooses it. Runs with the same layers share their names on the axis;
    else it is the relative depth. A run of one layer, such as mfcc or a fine-tuned model, is a dotted level.
    Raises InputError for runs of different tasks.
    """
    metrics = {main_metric(summary) for summary in summaries.values()}
    if len(metrics) > 1:
        both = " and ".join(sorted(SCORE_NAMES[name] for name in metrics))
        raise InputError(f"the runs have different scores, {both}", do="draw runs of one task")
    (metric,) = metrics
    curves = {run: _curve(summary) for run, summary in summaries.items()}
    names = [[entry["layer"] for entry in entries] for entries in curves.values()]
    names = [layers for layers in names if len(layers) > 1] or names[:1]
    same = all(layers == names[0] for layers in names)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.6), layout="constrained")
        axes = figure.subplots()
        for number, (run, entries) in enumerate(curves.items()):
            head = summaries[run]["selected"]["head"]
            system = "fine-tuned" if entries[0]["layer"] == ALL_LAYERS else head
            label = f"{run} ({summaries[run]['model']}, {system})"
            if len(entries) == 1:
                level, colour = entries[0][metric]["value"], COLOURS[number % len(COLOURS)]
                axes.axhline(level, color=colour, linestyle=":", linewidth=1.6, label=label)
                continue
            places = [place / (1 if same else len(entries) - 1) for place in range(len(entries))]
            draw_curve(axes, places, [entry[metric] for entry in entries], number=number, label=label)
        for chance in sorted({summary["chance"] for summary in summaries.values()}):
            draw_chance(axes, chance)
        if same:
            layer_ticks(axes, names[0])
        else:
            axes.set_xlabel("relative depth (0: first layer, 1: last)")
        _decorate(axes, metric)
        legend_below(axes, columns=1)
        first, *_ = summaries.values()
        targets = ", ".join(sorted({summary["target"] for summary in summaries.values()}))
        set_title(axes, f"{targets} by layer; bands: 95 % {_over(first)}", title=title)
        return save(figure, path)


def _curve(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The single layers of a run, in order, with the head that was selected most often.

    A head that reads layers only together has one entry, that of the mix.
    """
    own = [entry for entry in summary["layers"] if entry["head"] == summary["selected"]["head"]]
    return [entry for entry in own if is_single(entry["layer"])] or own[:1] or summary["layers"][:1]


def _draw_layers(
    axes: Axes, points: Entries, layers: Sequence[str], number: int, label: str, *, metric: Metric
) -> None:
    """A line over layers. What has no depth, such as the mix, is a point of its own."""
    line = [point for point in points if is_single(point["layer"])]
    places = [layers.index(p["layer"]) for p in line]
    draw_curve(axes, places, [p[metric] for p in line], number=number, label=label)
    for place, point in enumerate(point for point in points if not is_single(point["layer"])):
        name = "_" if line or place else label  # no second entry of the legend
        draw_curve(axes, [layers.index(point["layer"])], [point[metric]], number=number, label=name)


def _draw_heads(axes: Axes, entries: Entries, heads: list[str], *, metric: Metric) -> None:
    """A point for each head, for a single layer."""
    for number, point in enumerate(entries):
        draw_curve(axes, [number], [point[metric]], number=number, label=point["head"])
        value = point[metric]["value"]
        axes.annotate(
            f"{value:.3f}", (number, value), (9, -3), textcoords="offset points",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
    axes.set_xticks(range(len(heads)), heads)
    axes.set_xlim(-0.6, len(heads) - 0.4)
    axes.set_xlabel("head")


def _decorate(axes: Axes, metric: Metric) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7))
    axes.set_ylabel(AXIS_NAMES[metric])
    open_frame(axes)


def _title(summary: Mapping[str, Any], *, several: bool) -> str:
    data = summary["data"]
    what = f"{summary['target']} by layer" if several else summary["target"]
    speakers = f", {data['speakers']} speakers" if data["speakers"] else ""
    marks = "bands" if several else "bars"
    classes = f", {len(data['classes'])} classes" if data["classes"] else ""
    return (
        f"{summary['model']}: {what}\n"
        f"{_split(summary['selected']['split'])}\n"
        f"{data['clips']} clips{speakers}{classes}; {marks}: 95 % {_over(summary)}"
    )


def _over(summary: Mapping[str, Any]) -> str:
    return f"over {'speakers' if summary['data']['speakers'] else 'clips'}"


def _split(name: str) -> str:
    if name.startswith(EMOBOX):
        return f"EmoBox's folds of {name.removeprefix(EMOBOX)}"
    return SPLITS.get(name, name if name.startswith("splits of ") else f"protocol {name}")
