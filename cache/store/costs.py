"""Cost of filling a store: FOLDER/costs.csv, one row per run that computed states."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerprobe.cache.common.disk import locked, write_atomically
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.common.metering import Cost

FILE_NAME = "costs.csv"
LOCK = ".costs.lock"
REQUIRED = {"clips": int, "seconds": float, "wall_s": float, "device": str}
OPTIONAL = {"device_s": float, "peak_memory_bytes": int, "peak_device_bytes": int, "energy_j": float}
COLUMNS = [*REQUIRED, *OPTIONAL]


@dataclass(frozen=True, kw_only=True)
class ExtractionCost:
    """Cost of one run over `clips` clips with `seconds` of audio in total."""

    clips: int
    seconds: float
    cost: Cost


def append(folder: Path, run: ExtractionCost) -> None:
    """Add a row; atomic among many processes. A damaged table is replaced, so that a run never fails.

    Raises StoreError where the table cannot be written.
    """
    try:
        with locked(folder / LOCK):
            runs: list[ExtractionCost] = []
            with suppress(StoreError):
                runs = read(folder)
            write_atomically(folder / FILE_NAME, _to_csv([*runs, run]))
    except OSError as error:
        raise StoreError(f"cannot be written ({error.strerror})", where=str(folder / FILE_NAME)) from error


def read(folder: Path) -> list[ExtractionCost]:
    """Every run, oldest first; empty without a table. Raises StoreError for a damaged table."""
    table = folder / FILE_NAME
    try:
        header, *rows = csv.reader(io.StringIO(table.read_text(encoding="utf-8"), newline=""), strict=True)
        if header != COLUMNS:
            raise ValueError(f"its columns are {', '.join(header)}")
        return from_rows(rows)
    except FileNotFoundError:
        return []
    except (OSError, csv.Error, ValueError) as error:
        raise StoreError(f"not a table of costs ({error})", where=str(table), do="delete it") from error


def prorated_cost(folder: Path, *, seconds: float) -> Cost | None:
    """Cost of extracting `seconds` of audio, at the mean rate of the recorded runs; None without any.

    Peaks are the highest of the runs; energy and device seconds are None unless every run recorded them.
    """
    runs = read(folder)
    total = sum(run.seconds for run in runs)
    if not total:
        return None
    costs = [run.cost for run in runs]

    def prorated(name: str) -> float | None:
        values = [getattr(cost, name) for cost in costs]
        return None if None in values else seconds / total * sum(values)

    def highest(name: str) -> int | None:
        values = [getattr(cost, name) for cost in costs]
        return max((value for value in values if value is not None), default=None)

    return Cost(
        wall_s=seconds / total * sum(cost.wall_s for cost in costs),
        device=", ".join(dict.fromkeys(cost.device for cost in costs)),
        device_s=prorated("device_s"),
        peak_memory_bytes=highest("peak_memory_bytes"),
        peak_device_bytes=highest("peak_device_bytes"),
        energy_j=prorated("energy_j"),
    )


def as_rows(runs: Sequence[ExtractionCost]) -> list[list[str]]:
    """The cells of each run, in the order of COLUMNS."""
    return list(csv.reader(io.StringIO(_to_csv(runs), newline="")))[1:]


def from_rows(rows: Iterable[Sequence[str]]) -> list[ExtractionCost]:
    """The runs with these cells. Raises ValueError."""
    return [_from_row(dict(zip(COLUMNS, row, strict=True))) for row in rows]


def _to_csv(runs: Sequence[ExtractionCost]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({**vars(run), **vars(run.cost)} for run in runs)  # None is written as an empty cell
    return text.getvalue()


def _from_row(cells: dict[str, str]) -> ExtractionCost:
    values: dict[str, Any] = {name: kind(cells[name]) for name, kind in REQUIRED.items()}
    values |= {name: kind(cells[name]) if cells[name] else None for name, kind in OPTIONAL.items()}
    clips, seconds = values.pop("clips"), values.pop("seconds")
    return ExtractionCost(clips=clips, seconds=seconds, cost=Cost(**values))
