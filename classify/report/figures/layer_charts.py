"""Charts over the layers: scores of the heads, and controls; None where a run has nothing to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from layerprobe.classify.config import BASELINES, task_of
from layerprobe.classify.layer_names import FUSION, is_single
from layerprobe.classify.report.figures.charts import (
    Bars,
    Chart,
    Curves,
    Grid,
    Reference,
    score_bars,
    score_series,
    with_deviation,
)
from layerprobe.classify.report.run_data import RunData
from layerprobe.classify.score_names import AXIS_NAMES, SCORE_NAMES
from layerprobe.classify.scores.results import system_label


def references(run: RunData) -> tuple[Reference, ...]:
    """Chance and the controls of a run, as lines in a figure of the score."""
    metric, controls = run.metric, run.summary["controls"]
    lines = [Reference(name="chance", value=run.summary["chance"])]
    if "shuffled" in controls:
        lines.append(Reference(name="shuffled labels", value=controls["shuffled"][metric]["value"]))
    baselines = [Reference(name=one["model"], value=one[metric]["value"]) for one in controls.get("runs", ())]
    return (*lines, *baselines)


def layer_curves(run: RunData) -> Chart | None:
    """The score over layers, a line with its band for each head; what has no depth, as the mix, is last."""
    entries: Sequence[Mapping[str, Any]] = run.summary["layers"]
    layers = _layers(entries)
    if run.record.get("kind") == FUSION:
        return _system_bars(run)
    if len(layers) < 2:
        return _head_bars(run) if len(entries) > 1 else None
    series = []
    for head in dict.fromkeys(entry["head"] for entry in entries):
        own = [entry for entry in entries if entry["head"] == head]
        for apart, points in groupby(
            own, key=lambda entry: "" if is_single(entry["layer"]) else entry["layer"]
        ):
            name = f"{head}, {apart}" if apart else head
            of_name = list(points)
            places = [layers.index(point["layer"]) for point in of_name]
            series.append(score_series(name, places, [point[run.metric] for point in of_name]))
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
        **score_bars([entry[run.metric] for entry in entries]),
        references=references(run),
    )


def _system_bars(run: RunData) -> Chart:
    """Of several models: each alone, and their fusions."""
    entries = run.summary["layers"]
    return Bars(
        name="layers",
        title="UAR of the models alone, and of their fusions",
        alt="Unweighted average recall of each model and each fusion with its 95 % interval.",
        x_label=AXIS_NAMES["uar"],
        names=tuple(system_label(entry["layer"], entry["head"]) for entry in entries),
        **score_bars([entry["uar"] for entry in entries]),
        references=references(run),
    )


def layer_weights(run: RunData) -> Chart | None:
    """The weights that a head learnt for the layers."""
    learnt = run.summary.get("layer_weights")
    if learnt is None:
        return None
    entries, folds = learnt["layers"], len(learnt["folds"])
    over = f"mean of {folds} outer folds" if folds > 1 else "one outer fold"
    return Curves(
        name="layer_weights",
        title=f"Weights of layers that {learnt['head']} learnt, {over}",
        alt="The learnt weight of each layer, with its 95 % interval over outer folds.",
        x_label="layer",
        y_label="weight",
        series=(score_series("weight", list(range(len(entries))), [entry["weight"] for entry in entries]),),
        ticks=tuple(entry["layer"] for entry in entries),
        references=(Reference(name="all alike", value=1 / len(entries)),),
    )


def layer_grid(run: RunData) -> Chart | None:
    """Layers × heads as a heat map of the score."""
    entries = run.summary["layers"]
    layers, heads = _layers(entries), list(dict.fromkeys(entry["head"] for entry in entries))
    if len(layers) < 2 or len(heads) < 2 or run.record.get("kind") == FUSION:
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
    baseline, name = BASELINES[task_of(run.summary)]
    rows = {
        "selected system": run.summary["selected"][metric],
        **{one["model"]: one[metric] for one in found.get("runs", ())},
        "shuffled labels": with_deviation(found["shuffled"][metric]),
        name: found[baseline][metric],
    }
    return Bars(
        name="controls",
        title="The score and its controls",
        alt=f"The {AXIS_NAMES[metric]} of the selected system and of each control.",
        x_label=AXIS_NAMES[run.metric],
        names=tuple(rows),
        **score_bars(list(rows.values())),
        references=(Reference(name="chance", value=run.summary["chance"]),),
    )


def _layers(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The layers in their order, what has no depth last."""
    names = dict.fromkeys(entry["layer"] for entry in entries)
    return sorted(names, key=lambda layer: not is_single(layer))
