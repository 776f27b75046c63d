"""Tables of a report on layers and models together: learnt weights of layers, and what a fusion gains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layerprobe.cache.common.text import format_interval
from layerprobe.classify.report.run_data import RunData
from layerprobe.classify.report.tables import Cell, Table

INTERVAL = "95 % interval"


def layer_weights(run: RunData) -> Table | None:
    """The weights that a head learnt for the layers."""
    learnt = run.summary.get("layer_weights")
    if learnt is None:
        return None
    rows: list[list[Cell]] = [
        [entry["layer"], entry["weight"]["value"], _interval(entry["weight"])] for entry in learnt["layers"]
    ]
    return Table(
        name="layer_weights",
        title=f"Weights of layers that {learnt['head']} learnt",
        columns=("layer", "weight", INTERVAL),
        rows=rows,
        note="Means over outer folds. Intervals are over folds, corrected for the overlap of their training "
        "partitions (Nadeau & Bengio 2003).",
    )


def fusion(run: RunData) -> Table | None:
    """The fusions of several models, and what they gain over the best single one."""
    found = run.summary.get("fusion")
    if found is None:
        return None
    best = found["best_single"]["uar"]
    rows: list[list[Cell]] = [["best single model", best["value"], _interval(best), ""]]
    for entry in found["kinds"]:
        gain = entry["minus_best_single"]
        difference = f"{gain['value']:+.3f} {_interval(gain)}".rstrip()
        rows.append([f"{entry['kind']} fusion", entry["uar"]["value"], _interval(entry["uar"]), difference])
    return Table(
        name="fusion",
        title="What fusion gains over the best single model",
        columns=("system", "UAR", INTERVAL, "minus the best single"),
        rows=rows,
        note="The best single model of each outer fold is the one with the best inner score.",
    )


def _interval(score: Mapping[str, Any]) -> str:
    return format_interval(score.get("low"), score.get("high"))
