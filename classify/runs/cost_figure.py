"""The figure of score against cost: each run a point, with its score's interval."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.plotting import COLOURS, STYLE, check_figure, save
from layerprobe.classify.runs.compare import Comparison, Entry
from layerprobe.classify.runs.cost_table import FINETUNE, RunCost

WIDE = 8.0  # the costliest over the cheapest, from which on the axis is logarithmic
TITLES = {
    "uar": "unweighted average recall",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
}


def draw_cost(found: Comparison, path: Path) -> Path:
    """Draw euros where every run has a price, else minutes of wall time. Returns `path`.

    Raises InputError for a path that cannot be drawn to, and where fewer than two runs tell their time.
    """
    check_figure(path)
    priced = all(bill.euros is not None for bill in found.bills)
    points = [
        (entry, bill, cost)
        for entry, bill in zip(found.entries, found.bills, strict=True)
        if (cost := _cost(bill, priced)) is not None
    ]
    if len(points) < 2:
        raise InputError("fewer than two of the runs tell what they took", do="leave --figure out")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.subplots()
        for entry, bill, cost in points:
            _draw_point(axes, entry, cost, found, tuned=bill.kind == FINETUNE)
        costs = [cost for _, _, cost in points]
        if min(costs) > 0 and max(costs) > WIDE * min(costs):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.3, y=0.12)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=7))
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("euros" if priced else "minutes, extraction and all trials together")
        axes.set_ylabel(TITLES[found.metric])
        over = "clips" if found.speakers is None else f"{found.speakers} speakers"
        axes.set_title(
            f"score against cost\n{found.clips} clips; bars: 95 % over {over}", fontsize=10, loc="left"
        )
        return save(figure, path)


def _cost(bill: RunCost, priced: bool) -> float | None:
    if priced:
        return bill.euros
    seconds = bill.own_s if bill.wall_s is None else bill.wall_s
    return None if seconds is None else seconds / 60


def _draw_point(axes: Axes, entry: Entry, cost: float, found: Comparison, *, tuned: bool) -> None:
    score = entry.scores[found.metric]
    colour = COLOURS[1] if tuned else COLOURS[0]
    if score.low is not None and score.low == score.low:
        axes.vlines(cost, score.low, score.high, color=colour, linewidth=1.2, alpha=0.5)
    axes.plot([cost], [score.value], "s" if tuned else "o", color=colour, markersize=7)
    name = f"{Path(entry.run).name}\n{'fine-tuned' if tuned else 'heads on frozen'} {entry.model}"
    axes.annotate(name, (cost, score.value), (8, 0), textcoords="offset points", fontsize=8, va="center")
