"""What filling a store took: FOLDER/costs.csv, a line for each run that computed states."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from layerprobe.cache.common.disk import locked, write_atomically
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.common.metering import Cost

FILE_NAME = "costs.csv"
LOCK = ".costs.lock"


@dataclass(frozen=True, kw_only=True)
class ExtractionCost:
    """One run over `clips` of `seconds` of sound, and what it took."""

    clips: int
    seconds: float
    cost: Cost


_COST = [field.name for field in fields(Cost) if field.name != "trained_parameters"]
COLUMNS = ["clips", "seconds", *_COST]


def append(folder: Path, spent: ExtractionCost) -> None:
    """Add a line, to a damaged table as its first; atomic among many processes.

    Raises StoreError where it cannot be written.
    """
    try:
        with locked(folder / LOCK):
            before: list[ExtractionCost] = []
            with suppress(StoreError):  # what was spent is a memory: a run that has ended well does not fail
                before = read(folder)
            write_atomically(folder / FILE_NAME, _text([*before, spent]))
    except OSError as error:
        raise StoreError(f"cannot be written ({error.strerror})", where=str(folder / FILE_NAME)) from error


def read(folder: Path) -> list[ExtractionCost]:
    """Every line, the oldest first; empty where nothing was told. StoreError for a damaged table."""
    table = folder / FILE_NAME
    try:
        header, *rows = csv.reader(io.StringIO(table.read_text(encoding="utf-8"), newline=""), strict=True)
        if header != COLUMNS:
            raise ValueError(f"its columns are {', '.join(header)}")
        return [_spent(dict(zip(COLUMNS, row, strict=True))) for row in rows]
    except FileNotFoundError:
        return []
    except (OSError, csv.Error, ValueError) as error:
        raise StoreError(f"not a table of costs ({error})", where=str(table), do="delete it") from error


def prorated_cost(folder: Path, *, seconds: float) -> Cost | None:
    """What `seconds` of the store's sound took, at the mean rate of the runs told; None where none is.

    Peaks are the highest of the runs; energy is None unless all runs told theirs.
    """
    told = read(folder)
    total = sum(spent.seconds for spent in told)
    if not total:
        return None
    costs = [spent.cost for spent in told]
    of_device = [cost.device_s for cost in costs if cost.device_s is not None]
    energy = [cost.energy_j for cost in costs if cost.energy_j is not None]
    memory = [cost.peak_memory_bytes for cost in costs if cost.peak_memory_bytes is not None]
    on_device = [cost.peak_device_bytes for cost in costs if cost.peak_device_bytes is not None]
    part = seconds / total
    return Cost(
        wall_s=part * sum(cost.wall_s for cost in costs),
        device=", ".join(dict.fromkeys(cost.device for cost in costs)),
        device_s=part * sum(of_device) if len(of_device) == len(costs) else None,
        peak_memory_bytes=max(memory, default=None),
        peak_device_bytes=max(on_device, default=None),
        energy_j=part * sum(energy) if len(energy) == len(costs) else None,
    )


def _text(told: Sequence[ExtractionCost]) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for spent in told:
        cost = asdict(spent.cost)
        writer.writerow(
            [spent.clips, spent.seconds, *("" if cost[name] is None else cost[name] for name in _COST)]
        )
    return out.getvalue()


def _spent(row: dict[str, str]) -> ExtractionCost:
    def number(name: str) -> float | None:
        return float(row[name]) if row[name] else None

    def whole(name: str) -> int | None:
        return int(row[name]) if row[name] else None

    return ExtractionCost(
        clips=int(row["clips"]),
        seconds=float(row["seconds"]),
        cost=Cost(
            wall_s=float(row["wall_s"]),
            device=row["device"],
            device_s=number("device_s"),
            peak_memory_bytes=whole("peak_memory_bytes"),
            peak_device_bytes=whole("peak_device_bytes"),
            energy_j=number("energy_j"),
        ),
    )
