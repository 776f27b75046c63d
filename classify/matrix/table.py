"""A matrix of corpora as a table: on the console, and as CSV with a row for each pair."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerprobe.cache.common.console import print_table, say
from layerprobe.classify.config import METRICS, Metric, TaskName, main_metric, task_of
from layerprobe.classify.runs.run_folder import write_csv
from layerprobe.classify.score_names import SCORE_NAMES, score_interval, score_text

ALL_OTHERS = "all others"
PRINTED: Mapping[TaskName, tuple[Metric, ...]] = {
    "classification": ("uar",),
    "regression": ("ccc", "pearson", "rmse"),
    "ordinal": ("qwk", "uar"),
}


def trained_on(cell: Mapping[str, Any]) -> str:
    """The row of a cell."""
    return ALL_OTHERS if cell["kind"] == "without" else str(cell["train"][0])


def print_matrix(result: Mapping[str, Any], out: Path) -> None:
    """Print scores with their intervals, a row for each training corpus and a column for each tested one."""
    main = main_metric(result)
    for metric in PRINTED[task_of(result)]:
        title = f"{SCORE_NAMES[metric]} for {result['target']}, tested on the corpora of the columns"
        print_table(_grid(result, metric), title=title)
        if metric == main:
            _print_chance(result)
        print()
    print_table(
        [
            {
                "trained on": trained_on(cell),
                "tested on": cell["test"],
                "minus within": cell["minus_within"]["value"],
                "95 % interval": score_interval(cell["minus_within"]),
                "layer": cell["layer"],
                "head": cell["head"],
            }
            for cell in result["cells"]
            if cell["minus_within"] is not None
        ],
        title=f"{SCORE_NAMES[main]} minus that of speaker-disjoint folds within the tested corpus",
    )
    for note in result["notes"]:
        say(f"note: {note}")
    print(f"\nmatrix  {out}")


def _grid(result: Mapping[str, Any], metric: Metric) -> list[dict[str, object]]:
    names = [size["name"] for size in result["corpora"]]
    rows: dict[str, dict[str, object]] = {}
    for cell in result["cells"]:
        name, score = trained_on(cell), cell[metric]
        row = rows.setdefault(name, {"trained on": name, **dict.fromkeys(names, "")})
        known = score["value"] is not None and score["value"] == score["value"]
        row[cell["test"]] = score_text(score) if known else "undefined"
    return list(rows.values())


def _print_chance(result: Mapping[str, Any]) -> None:
    chances = sorted({cell["chance"] for cell in result["cells"]})
    print(f"chance {' to '.join(f'{chance:.3f}' for chance in dict.fromkeys([chances[0], chances[-1]]))}")


def write_table(result: Mapping[str, Any], path: Path) -> None:
    """Write a row for each cell as CSV. Raises InputError."""
    suffixes = ("value", "low", "high")
    header = ["train", "test", "kind", "clips", "chance", "layer", "head", "run"]
    scored = (*METRICS[task_of(result)], "minus_within")
    for name in scored:
        header += [name, f"{name}_low", f"{name}_high"]
    rows = []
    for cell in result["cells"]:
        scores = [cell[name] or dict.fromkeys(suffixes, "") for name in scored]
        numbers = [score[suffix] for score in scores for suffix in suffixes]
        rows.append(
            [
                *("+".join(cell["train"]), cell["test"], cell["kind"], cell["clips"], cell["chance"]),
                *(cell["layer"], cell["head"], cell["run"]),
                *("" if number is None or number != number else number for number in numbers),
            ]
        )
    write_csv(path, header, rows)
