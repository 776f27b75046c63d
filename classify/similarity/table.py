"""A `Similarity` as rows: for a CSV file, for JSON, and for the console."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.cache.common.text import format_interval
from layerprobe.classify.runs.run_folder import write_csv
from layerprobe.classify.similarity.layers import Similarity

HEADER = (
    "model", "layer", "other_model", "other_layer", "measure", "value", "low", "high", "clips", "speakers",
)  # fmt: skip


def rows(result: Similarity) -> list[dict[str, Any]]:
    """One row for each pair of layers; None for what is not known."""
    table = []
    for i, layer in enumerate(result.layers[0]):
        for j, other in enumerate(result.layers[1]):
            value, low, high = (
                None if np.isnan(array[i, j]) else float(array[i, j])
                for array in (result.value, result.low, result.high)
            )
            cells = (result.models[0], layer, result.models[1], other, result.measure, value, low, high)
            table.append(dict(zip(HEADER, (*cells, result.clips, result.speakers), strict=True)))
    return table


def write_table(result: Similarity, path: Path) -> None:
    """Write `rows` as CSV. Raises InputError."""
    cells = [["" if cell is None else cell for cell in row.values()] for row in rows(result)]
    write_csv(path, HEADER, cells)


def closest(result: Similarity) -> list[dict[str, object]]:
    """For each layer of the first model, the most similar layer of the second: rows for the console.

    The models are named in the title: with their names, the rows would not fit into 80 columns. A layer is
    not compared with itself. For two models with layers of the same name, the similarity of these is in a
    column of its own.
    """
    table: list[dict[str, object]] = []
    own_column = not result.one_model and bool(set(result.layers[0]) & set(result.layers[1]))
    for i, layer in enumerate(result.layers[0]):
        values = result.value[i].copy()
        if result.one_model:
            values[i] = np.nan
        row: dict[str, object] = {"layer": layer}
        known = not np.isnan(values).all()
        j = int(np.nanargmax(values)) if known else 0
        row["most similar"] = result.layers[1][j] if known else ""
        row[result.measure] = float(values[j]) if known else ""
        row["95 % interval"] = format_interval(result.low[i, j], result.high[i, j]) if known else ""
        if own_column:
            same = result.layers[1].index(layer) if layer in result.layers[1] else None
            row["same layer"] = "" if same is None else float(result.value[i, same])
            row["its 95 % interval"] = (
                "" if same is None else format_interval(result.low[i, same], result.high[i, same])
            )
        table.append(row)
    return table
