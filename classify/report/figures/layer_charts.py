"""Charts over the layers: scores of the heads, and controls; None where a run has nothing to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from layerprobe.classify.config import AXIS_NAMES, BASELINES, MIX, SCORE_NAMES, task_of
from layerprobe.classify.report.figures.charts import Bars, Chart, Curves, Grid, Reference, Series
from layerprobe.classify.report.run_data import RunData


def references(run: RunData) -> tuple[Reference, ...]:
    """Chance and the controls of a run, as lines in a figure of the score."""
    metric, controls = run.metric, run.summary["controls"]
    lines = [Reference(name="chance", value=run.summary["chance"])]
    if "shuffled" in controls:
        lines.append(Reference(name="shuffled labels", value=controls["shuffled"][metric]["value"]))
    baselines = [Reference(name=one["model"], value=one[metric]["value"]) for one in controls.get("runs", ())]
    return (*lines, *baselines)


def layer_curves(run: RunData) -> Chart | None:
    """The score over layers, a line with its band for each head; the mix, which has no depth, is last."""
    entries: Sequence[Mapping[str, Any]] = run.summary["layers"]
    layers = _layers(entries)
    if len(layers) < 2:
        return _head_bars(run) if len(entries) > 1 else None
    series = []
    for head in dict.fromkeys(entry["head"] for entry in entries):
        own = [entry for entry in entries if entry["head"] == head]
        for mixed, points in groupby(own, key=lambda entry: entry["layer"] == MIX):
            name = f"{head}, mix" if mixed else head
            series.append(_scores(name, [(layers.index(p["layer"]), p[run.metric]) for p in points]))
    return Curves(
        name="layers",
        title=f"{SCORE_NAMES[run.metric]} over layers",
        alt=f"The {AXIS_NAMES[run.metric]} of each head on each layer, with 95 % intervals, and controls.",
        x_label="layer",
        y_label=AXIS_NAMES[run.metric],
        series=tuple(series),
        ticks=tuple(layers),
        references=references(run),
    )


def _head_bars(run: RunData) -> Chart:
    """A single layer has no curve: its heads side by side."""
    entries = run.summary["layers"]
    return Bars(
        name="layers",
        title=f"{SCORE_NAMES[run.metric]} of the heads on layer {entries[0]['layer']}",
        alt=f"The {AXIS_NAMES[run.metric]} of each head with its 95 % interval, and the controls.",
        x_label=AXIS_NAMES[run.metric],
        names=tuple(entry["head"] for entry in entries),
        **_bounds([entry[run.metric] for entry in entries]),
        references=references(run),
    )


def layer_grid(run: RunData) -> Chart | None:
    """Layers × heads as a heat map of the score."""
    entries = run.summary["layers"]
    layers, heads = _layers(entries), list(dict.fromkeys(entry["head"] for entry in entries))
    if len(layers) < 2 or len(heads) < 2:
        return None
    value = {(entry["head"], entry["layer"]): entry[run.metric]["value"] for entry in entries}
    values = tuple(tuple(value.get((head, layer)) for layer in layers) for head in heads)
    return Grid(
        name="layers_by_heads",
        title=f"{SCORE_NAMES[run.metric]} of each layer and head",
        alt=f"A heat map of the {AXIS_NAMES[run.metric]}, heads by layers.",
        x_label="layer",
        y_label="head",
        rows=tuple(heads),
        columns=tuple(layers),
        values=values,
        texts=tuple(tuple("" if v is None else f"{v:.2f}".removeprefix("0") for v in row) for row in values),
        colour_label=SCORE_NAMES[run.metric],
        low=min(value.values()),
        high=max(value.values()),
    )


def controls(run: RunData) -> Chart | None:
    """The selected system next to its controls."""
    found, metric = run.summary["controls"], run.metric
    if "shuffled" not in found:
        return None
    shuffled, (baseline, name) = found["shuffled"][metric], BASELINES[task_of(run.summary)]
    spread = {"low": shuffled["value"] - shuffled["sd"], "high": shuffled["value"] + shuffled["sd"]}
    rows = {
        "selected system": run.summary["selected"][metric],
        **{one["model"]: one[metric] for one in found.get("runs", ())},
        "shuffled labels": {**shuffled, **spread},
        name: found[baseline][metric],
    }
    return Bars(
        name="controls",
        title="The score and its controls",
        alt=f"The {AXIS_NAMES[metric]} of the selected system and of each control.",
        x_label=AXIS_NAMES[run.metric],
        names=tuple(rows),
        **_bounds(list(rows.values())),
        references=(Reference(name="chance", value=run.summary["chance"]),),
    )


def _layers(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The layers in their order, the mix last."""
    return sorted(dict.fromkeys(entry["layer"] for entry in entries), key=lambda layer: layer == MIX)


def _scores(name: str, points: Sequence[tuple[float, Mapping[str, Any]]]) -> Series:
    """A series of (x, score with its interval)."""
    y, low, high = ([score.get(key) for _, score in points] for key in ("value", "low", "high"))
    return Series(name=name, x=[x for x, _ in points], y=y, low=low, high=high)


def _bounds(scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "values": tuple(score["value"] for score in scores),
        "low": tuple(score.get("low") for score in scores),
        "high": tuple(score.get("high") for score in scores),
    }
