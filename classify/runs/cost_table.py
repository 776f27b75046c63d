"""The bill: what runs took in time, memory, energy and euros; how many trials one fine-tuning pays for."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.runs.folder import RESULTS

FINETUNE = "finetune"


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Euros for an hour of a GPU and of a machine without one; None for no price."""

    gpu_hour: float | None = None
    cpu_hour: float | None = None

    def __post_init__(self) -> None:
        for option, price in (("hour", self.gpu_hour), ("cpu-hour", self.cpu_hour)):
            if price is not None and not price >= 0:
                raise InputError(f"--euros-per-{option} {price:g}", do="give 0 or more")


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """What one run took; None is not known, or does not apply.

    own_s: seconds of its search or training. extraction_s: seconds that its clips' states took; 0 for a
    fine-tuning, which needs none. wall_s: both. device_s: seconds for which a GPU was held. Memory is the
    most at a time; energy is the GPU's.
    """

    kind: str
    device: str | None
    own_s: float | None
    extraction_s: float | None
    wall_s: float | None
    device_s: float | None
    peak_memory_bytes: int | None
    peak_device_bytes: int | None
    trained_parameters: int | None
    energy_j: float | None
    euros: float | None


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """In the wall time of one fine-tuning: how many trials of heads, their extraction paid first.

    made: trials that the heads' run made. extraction_known: whether the extraction could be counted.
    times: the fine-tuning's wall time over the heads' run's.
    """

    finetuned: str
    heads: str
    made: int
    seconds_per_trial: float
    trials: int
    times: float
    extraction_known: bool


def run_cost(told: Mapping[str, Any], prices: Prices) -> RunCost:
    """From a run.json; one without `cost`, of an earlier version, tells its seconds and memory at least."""
    kind = str(told.get("kind", ""))
    own = dict(told.get("cost") or _early(told))
    extraction = own.pop("extraction", None)
    parts: list[Mapping[str, Any] | None] = [own] if kind == FINETUNE else [own, extraction]
    known = [part for part in parts if part is not None]
    wall = [None if part is None else part.get("wall_s") for part in parts]
    on_gpu = [part for part in known if _gpu(part)]
    devices = dict.fromkeys(str(part["device"]) for part in reversed(known) if part.get("device"))
    return RunCost(
        kind=kind,
        device=" + ".join(devices) or None,
        own_s=wall[0],
        extraction_s=0.0 if kind == FINETUNE else wall[1],
        wall_s=_sum(wall),
        device_s=_sum([part.get("device_s") for part in on_gpu]) if on_gpu else None,
        peak_memory_bytes=_most(known, "peak_memory_bytes"),
        peak_device_bytes=_most(known, "peak_device_bytes"),
        trained_parameters=own.get("trained_parameters"),
        energy_j=_sum([part.get("energy_j") for part in on_gpu]) if on_gpu else None,
        euros=_euros(parts, prices),
    )


def break_even(runs: Sequence[tuple[Path, RunCost]]) -> list[BreakEven]:
    """Each fine-tuning against each run of heads, as far as their times are known."""
    found = []
    for tuned, cost in runs:
        for run, heads in runs:
            if cost.kind != FINETUNE or heads.kind == FINETUNE or not cost.wall_s or not heads.own_s:
                continue
            made = _trials(run)
            if made:
                each = heads.own_s / made
                first = heads.extraction_s or 0.0
                found.append(
                    BreakEven(
                        finetuned=str(tuned),
                        heads=str(run),
                        made=made,
                        seconds_per_trial=each,
                        trials=max(0, int((cost.wall_s - first) / each)),
                        times=cost.wall_s / (first + heads.own_s),
                        extraction_known=heads.extraction_s is not None,
                    )
                )
    return found


def remarks(runs: Sequence[tuple[Path, Mapping[str, Any], RunCost]], prices: Prices) -> list[str]:
    """What to keep in mind when reading the bills."""
    notes = []
    unknown = [str(run) for run, _, bill in runs if bill.own_s is not None and bill.extraction_s is None]
    if unknown:
        notes.append(f"what the extraction took is not known for {', '.join(unknown)}: it is not in the bill")
    machines = {str(told.get("hardware")) for _, told, _ in runs if told.get("hardware")}
    if len(machines) > 1:
        notes.append("the runs were made on different machines: their times do not compare")
    priced = prices.gpu_hour is not None and prices.cpu_hour is None
    if priced and any(bill.euros is not None or bill.device_s is None for _, _, bill in runs):
        notes.append("time without a GPU costs nothing here: --euros-per-cpu-hour gives it a price")
    return notes


def _early(told: Mapping[str, Any]) -> dict[str, Any]:
    seconds, memory = told.get("seconds") or {}, told.get("peak_memory") or {}
    held = [value for value in memory.values() if value]
    return {
        "wall_s": seconds.get("search"),
        "peak_memory_bytes": max(held, default=None),
    }


def _gpu(part: Mapping[str, Any]) -> bool:
    return part.get("peak_device_bytes") is not None


def _euros(parts: Sequence[Mapping[str, Any] | None], prices: Prices) -> float | None:
    """None where a part's time is not known or no part has a price."""
    total, priced = 0.0, False
    for part in parts:
        if part is None:
            return None
        price = prices.gpu_hour if _gpu(part) else prices.cpu_hour
        seconds = part.get("device_s") if _gpu(part) else part.get("wall_s")
        if price is not None:
            if seconds is None:
                return None
            total, priced = total + price * seconds / 3600, True
    return total if priced else None


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _most(parts: Sequence[Mapping[str, Any]], name: str) -> int | None:
    return max((part[name] for part in parts if part.get(name) is not None), default=None)


def _trials(run: Path) -> int:
    """Trials of a run by its results.csv; 0 where it tells none."""
    try:
        with (run / RESULTS).open(encoding="utf-8", newline="") as file:
            return sum(int(row["trials"]) for row in csv.DictReader(file))
    except (OSError, KeyError, ValueError, TypeError, csv.Error):
        return 0
