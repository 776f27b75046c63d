"""Results of probes as tables: on the console, and as CSV with every layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from layerprobe.cache.common.console import print_table, say
from layerprobe.classify.score_names import score_interval

Entry = Mapping[str, Any]
MEASURES = ("uar", "control", "selectivity", "bits_per_label", "compression", "r2")


def print_probes(probes: Mapping[str, Any]) -> None:
    """Print tables with one row for each target: scores, selectivity, description length, R²."""
    targets = probes["targets"]
    classes = [target for target in targets if "uar" in target["layers"][0]]
    numbers = [target for target in targets if "r2" in target["layers"][0]]
    printed = [
        [_score_row(target) for target in classes],
        [_selectivity_row(target) for target in classes if "selectivity" in target["layers"][0]],
        [_length_row(target) for target in classes if "compression" in target["layers"][0]],
        [_number_row(target) for target in numbers],
    ]
    for place, rows in enumerate([rows for rows in printed if rows] or [[]]):
        if place:
            print()
        print_table(rows)
    for name, reason in probes["left_out"].items():
        say(f"note: no probe for {name}: {reason}")
    for note in probes.get("notes", ()):
        say(f"note: {note}")


def joined(*results: Mapping[str, Any]) -> dict[str, Any]:
    """Results of several kinds of probes as one: all targets, and all that were left out."""
    left_out = {name: reason for result in results for name, reason in result["left_out"].items()}
    targets = [target for result in results for target in result["targets"]]
    merged = {name: value for result in reversed(results) for name, value in result.items()}
    return {**merged, "targets": targets, "left_out": left_out}


def over_chance(score: Mapping[str, float | None], chance: float) -> dict[str, float | None]:
    """(UAR - chance) / (1 - chance), of the score and its interval."""
    return {k: None if v is None else (v - chance) / (1 - chance) for k, v in score.items()}


def best_layer(target: Mapping[str, Any], measure: str) -> Entry:
    """The entry of the layer with the highest value of a measure."""
    best: Entry = max(target["layers"], key=lambda entry: entry[measure]["value"])
    return best


def _ends(target: Mapping[str, Any], measure: str) -> dict[str, object]:
    """First, last and best layer."""
    layers, best = target["layers"], best_layer(target, measure)
    return {
        f"layer {layers[0]['layer']}": layers[0][measure]["value"],
        f"layer {layers[-1]['layer']}": layers[-1][measure]["value"],
        "best": best[measure]["value"],
        "95 % interval": score_interval(best[measure]),
        "on layer": best["layer"],
    }


def _score_row(target: Mapping[str, Any]) -> dict[str, object]:
    own = {"linear probe for": target["target"], "classes": target["classes"], "chance": target["chance"]}
    return {**own, **_ends(target, "uar")}


def _selectivity_row(target: Mapping[str, Any]) -> dict[str, object]:
    best = best_layer(target, "uar")
    return {
        "selectivity for": target["target"],
        "UAR": best["uar"]["value"],
        "shuffled labels": best["control"]["value"],
        "selectivity": best["selectivity"]["value"],
        "95 % interval": score_interval(best["selectivity"]),
        "on layer": best["layer"],
    }


def _length_row(target: Mapping[str, Any]) -> dict[str, object]:
    best = best_layer(target, "compression")
    return {
        "compression of": target["target"],
        "bits per label": best["bits_per_label"]["value"],
        **_ends(target, "compression"),
    }


def _number_row(target: Mapping[str, Any]) -> dict[str, object]:
    return {"R² for": target["target"], **_ends(target, "r2")}


def write_table(probes: Mapping[str, Any], path: Path) -> None:
    """Write a row for each target and layer as CSV; a measure that a target does not have is empty.

    Raises InputError where the file cannot be written.
    """
    from layerprobe.classify.runs.run_folder import write_csv  # imports numpy

    scored = [name for name in MEASURES if name not in ("uar", "control")]
    header = ["target", "layer", "uar", "low", "high", "chance", "classes", "clips", "frames"]
    header += ["control", "bits"]
    header += [f"{name}{suffix}" for name in scored for suffix in ("", "_low", "_high")]
    rows = [
        [
            *(target["target"], entry["layer"], *_bounds(entry, "uar")),
            *(target.get(name, "") for name in ("chance", "classes", "clips", "frames")),
            *(_bounds(entry, "control")[0], entry.get("bits", "")),
            *(cell for name in scored for cell in _bounds(entry, name)),
        ]
        for target in probes["targets"]
        for entry in target["layers"]
    ]
    write_csv(path, header, rows)


def _bounds(entry: Entry, measure: str) -> Sequence[object]:
    score = entry.get(measure, {})
    numbers = [score.get(name) for name in ("value", "low", "high")]
    return ["" if number is None or math.isnan(number) else number for number in numbers]
