"""What `classify` prints of a fusion before its scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layerprobe.cache.common.console import print_table
from layerprobe.classify.score_names import score_interval, score_text

GAIN = "minus the best single"


def print_gain(summary: Mapping[str, Any]) -> None:
    """Print each fusion next to the best single model, and what it is made of in each outer fold."""
    fusion = summary["fusion"]
    best = fusion["best_single"]
    rows = [
        {
            "system": "best single model",
            "UAR": best["uar"]["value"],
            "95 % interval": score_interval(best["uar"]),
            GAIN: "",
        }
    ]
    for entry in fusion["kinds"]:
        gain = entry["minus_best_single"]
        rows.append(
            {
                "system": f"{entry['kind']} fusion",
                "UAR": entry["uar"]["value"],
                "95 % interval": score_interval(entry["uar"]),
                GAIN: score_text(gain, sign="+"),
            }
        )
    print_table(rows, title="The best single model of each fold is that of its inner folds:")
    print()
    folds = [{"fold": number, "best single": name} for number, name in enumerate(best["folds"])]
    for entry in fusion["kinds"]:
        for row, fold in zip(folds, entry["folds"], strict=True):
            row |= {entry["kind"]: _of_fold(fold)}
    print_table(folds)
    print()


def _of_fold(fold: Mapping[str, Any]) -> str:
    """The weights of a late fusion, or the layers and the head of an early one."""
    if "weights" in fold:
        return ", ".join(f"{name} {weight:.2f}" for name, weight in fold["weights"].items())
    return f"{fold['by']} on {fold['joined']}"
