"""A matrix of corpora as a table: on the console, and as CSV with a row for each pair."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerprobe.cache.common.console import print_table, say
from layerprobe.cache.common.text import format_interval
from layerprobe.classify.config import METRICS
from layerprobe.classify.runs.run_folder import write_csv

ALL_OTHERS = "all others"
SCORES = METRICS["classification"]


def trained_on(cell: Mapping[str, Any]) -> str:
    """The row of a cell."""
    return ALL_OTHERS if cell["kind"] == "without" else str(cell["train"][0])


def print_matrix(result: Mapping[str, Any], out: Path) -> None:
    """Print UAR with its interval, a row for each training corpus and a column for each tested one."""
    names = [size["name"] for size in result["corpora"]]
    rows: dict[str, dict[str, object]] = {}
    for cell in result["cells"]:
        name = trained_on(cell)
        row = rows.setdefault(name, {"trained on": name, **dict.fromkeys(names, "")})
        row[cell["test"]] = f"{cell['uar']['value']:.3f} {_interval(cell['uar'])}".rstrip()
    print_table(
        list(rows.values()), title=f"UAR for {result['target']}, tested on the corpora of the columns"
    )
    chances = sorted({cell["chance"] for cell in result["cells"]})
    print(f"chance {' to '.join(f'{chance:.3f}' for chance in dict.fromkeys([chances[0], chances[-1]]))}")
    print()
    print_table(
        [
            {
                "trained on": trained_on(cell),
                "tested on": cell["test"],
                "minus within": cell["minus_within"]["value"],
                "95 % interval": _interval(cell["minus_within"]),
                "layer": cell["layer"],
                "head": cell["head"],
            }
            for cell in result["cells"]
            if cell["minus_within"] is not None
        ],
        title="UAR minus that of speaker-disjoint folds within the tested corpus",
    )
    for note in result["notes"]:
        say(f"note: {note}")
    print(f"\nmatrix  {out}")


def write_table(result: Mapping[str, Any], path: Path) -> None:
    """Write a row for each cell as CSV. Raises InputError."""
    suffixes = ("value", "low", "high")
    header = ["train", "test", "kind", "clips", "chance", "layer", "head", "run"]
    for name in (*SCORES, "minus_within"):
        header += [name, f"{name}_low", f"{name}_high"]
    rows = []
    for cell in result["cells"]:
        scores = [cell[name] or dict.fromkeys(suffixes, "") for name in (*SCORES, "minus_within")]
        numbers = [score[suffix] for score in scores for suffix in suffixes]
        rows.append(
            [
                *("+".join(cell["train"]), cell["test"], cell["kind"], cell["clips"], cell["chance"]),
                *(cell["layer"], cell["head"], cell["run"]),
                *("" if number is None or number != number else number for number in numbers),
            ]
        )
    write_csv(path, header, rows)


def _interval(score: Mapping[str, Any]) -> str:
    return format_interval(score.get("low"), score.get("high"))
