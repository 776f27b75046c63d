"""What runs cost in time, memory, energy and euros; how many trials of heads one fine-tuning pays for."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.runs.run_folder import RESULTS

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
    """The cost of one run; None is unknown, or does not apply.

    own_s: seconds of its search or training. extraction_s: seconds of its clips' extraction; 0 for a
    fine-tuning, which needs none. wall_s: both. device_s: seconds on a GPU. Memory is the peak; energy is the
    GPU's.
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
    """How many trials of heads, after their extraction, fit into the wall time of one fine-tuning.

    made: trials of the heads' run. extraction_known: whether the extraction is counted. times: wall time of
    the fine-tuning over that of the heads' run.
    """

    finetuned: str
    heads: str
    made: int
    seconds_per_trial: float
    trials: int
    times: float
    extraction_known: bool


def run_cost(record: Mapping[str, Any], prices: Prices) -> RunCost:
    """The cost of a run.json. Early versions wrote no `cost`, but seconds and memory."""
    kind = str(record.get("kind", ""))
    own = dict(record.get("cost") or _early_cost(record))
    extraction = own.pop("extraction", None)
    stages: list[Mapping[str, Any] | None] = [own] if kind == FINETUNE else [own, extraction]
    known = [stage for stage in stages if stage is not None]
    wall = [None if stage is None else stage.get("wall_s") for stage in stages]
    on_gpu = [stage for stage in known if _used_gpu(stage)]
    devices = dict.fromkeys(str(stage["device"]) for stage in reversed(known) if stage.get("device"))
    return RunCost(
        kind=kind,
        device=" + ".join(devices) or None,
        own_s=wall[0],
        extraction_s=0.0 if kind == FINETUNE else wall[1],
        wall_s=_sum(wall),
        device_s=_sum([stage.get("device_s") for stage in on_gpu]),
        peak_memory_bytes=_largest(known, "peak_memory_bytes"),
        peak_device_bytes=_largest(known, "peak_device_bytes"),
        trained_parameters=own.get("trained_parameters"),
        energy_j=_sum([stage.get("energy_j") for stage in on_gpu]),
        euros=_euros(stages, prices),
    )


def break_even(runs: Sequence[tuple[Path, RunCost]]) -> list[BreakEven]:
    """Each fine-tuning against each run of heads whose times are known."""
    pairs = []
    for tuned, cost in runs:
        for run, heads in runs:
            if cost.kind != FINETUNE or heads.kind == FINETUNE or not cost.wall_s or not heads.own_s:
                continue
            if made := _count_trials(run):
                seconds, extraction = heads.own_s / made, heads.extraction_s or 0.0
                pairs.append(
                    BreakEven(
                        finetuned=str(tuned),
                        heads=str(run),
                        made=made,
                        seconds_per_trial=seconds,
                        trials=max(0, int((cost.wall_s - extraction) / seconds)),
                        times=cost.wall_s / (extraction + heads.own_s),
                        extraction_known=heads.extraction_s is not None,
                    )
                )
    return pairs


def cost_notes(runs: Sequence[tuple[Path, Mapping[str, Any], RunCost]], prices: Prices) -> list[str]:
    """What limits the comparison of costs. runs: folder, run.json and cost."""
    notes = []
    unknown = [str(run) for run, _, cost in runs if cost.own_s is not None and cost.extraction_s is None]
    if unknown:
        notes.append(f"the cost of the extraction is unknown for {', '.join(unknown)}, and not included")
    machines = {str(record.get("hardware")) for _, record, _ in runs if record.get("hardware")}
    if len(machines) > 1:
        notes.append("the runs were made on different machines: their times are not comparable")
    priced = prices.gpu_hour is not None and prices.cpu_hour is None
    if priced and any(cost.euros is not None or cost.device_s is None for _, _, cost in runs):
        notes.append("time without a GPU costs nothing here: --euros-per-cpu-hour gives it a price")
    return notes


def _early_cost(record: Mapping[str, Any]) -> dict[str, Any]:
    peaks = [value for value in (record.get("peak_memory") or {}).values() if value]
    seconds = (record.get("seconds") or {}).get("search")
    return {"wall_s": seconds, "peak_memory_bytes": max(peaks, default=None)}


def _used_gpu(stage: Mapping[str, Any]) -> bool:
    return stage.get("peak_device_bytes") is not None


def _euros(stages: Sequence[Mapping[str, Any] | None], prices: Prices) -> float | None:
    """None if the time of a stage is unknown or no stage has a price."""
    total, priced = 0.0, False
    for stage in stages:
        if stage is None:
            return None
        price = prices.gpu_hour if _used_gpu(stage) else prices.cpu_hour
        seconds = stage.get("device_s" if _used_gpu(stage) else "wall_s")
        if price is not None:
            if seconds is None:
                return None
            total, priced = total + price * seconds / 3600, True
    return total if priced else None


def _sum(values: Sequence[float | None]) -> float | None:
    """None if there is no value, or one is unknown."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _largest(stages: Sequence[Mapping[str, Any]], name: str) -> int | None:
    return max((stage[name] for stage in stages if stage.get(name) is not None), default=None)


def _count_trials(run: Path) -> int:
    """TrialStorage of a run by its results.csv; 0 if that does not tell."""
    try:
        with (run / RESULTS).open(encoding="utf-8-sig", newline="") as file:
            return sum(int(row["trials"]) for row in csv.DictReader(file))
    except (OSError, KeyError, ValueError, TypeError, csv.Error):
        return 0
