"""The figure of score against cost: each run a point, with its score's interval."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import check_figure
from layerprobe.classify.config import Metric
from layerprobe.classify.plotting import COLOURS, STYLE, open_frame, save, set_title, use_log_x
from layerprobe.classify.runs.compare import Comparison, Entry
from layerprobe.classify.runs.cost_table import FINETUNE, RunCost
from layerprobe.classify.score_names import AXIS_NAMES

LOG_RATIO = 8.0  # largest over smallest cost above which the axis is logarithmic


def draw_cost(comparison: Comparison, path: Path, *, title: str | None = None) -> Path:
    """Draw score against euros if every run has a price, else against minutes of wall time. Returns `path`.

    title: see `plotting.set_title`.

    Raises InputError for a path that cannot be drawn to, and if the cost of fewer than two runs is known.
    """
    check_figure(path)
    priced = all(cost.euros is not None for cost in comparison.costs)
    points = [
        (entry, cost.kind == FINETUNE, x)
        for entry, cost in zip(comparison.entries, comparison.costs, strict=True)
        if (x := _amount(cost, priced)) is not None
    ]
    if len(points) < 2:
        raise InputError("the cost of fewer than two of the runs is known", do="omit --figure")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.subplots()
        for entry, finetuned, x in points:
            _draw_point(axes, entry, x, comparison.metric, finetuned=finetuned)
        costs = [x for _, _, x in points]
        if min(costs) > 0 and max(costs) > LOG_RATIO * min(costs):
            use_log_x(axes)
        axes.margins(x=0.3, y=0.12)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=7))
        open_frame(axes)
        axes.set_xlabel("euros" if priced else "minutes, extraction and all trials together")
        axes.set_ylabel(AXIS_NAMES[comparison.metric])
        over = "clips" if comparison.speakers is None else f"{comparison.speakers} speakers"
        clips = f"{comparison.clips} clips; bars: 95 % over {over}"
        set_title(axes, f"score against cost\n{clips}", title=title)
        return save(figure, path)


def _amount(cost: RunCost, priced: bool) -> float | None:
    if priced:
        return cost.euros
    seconds = cost.own_s if cost.wall_s is None else cost.wall_s
    return None if seconds is None else seconds / 60


def _draw_point(axes: Axes, entry: Entry, x: float, metric: Metric, *, finetuned: bool) -> None:
    score = entry.scores[metric]
    colour = COLOURS[1] if finetuned else COLOURS[0]
    if score.low == score.low:
        axes.vlines(x, score.low, score.high, color=colour, linewidth=1.2, alpha=0.5)
    axes.plot([x], [score.value], "s" if finetuned else "o", color=colour, markersize=7)
    name = f"{Path(entry.run).name}\n{'fine-tuned' if finetuned else 'heads on frozen'} {entry.model}"
    axes.annotate(name, (x, score.value), (8, 0), textcoords="offset points", fontsize=8, va="center")
