"""Measure the cost of a run over all its sessions: an interrupted run adds to what it had saved."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from layerprobe.cache.common.metering import Cost
from layerprobe.classify.runs.run_folder import PARTIAL_RESULTS, read_json, reporting_damage, write_json

if TYPE_CHECKING:
    import torch

COST_FILE = Path("cost.json")  # in the folder of an unfinished fine-tuning
SECONDS_FILE = "spent.json"  # among the partial results of an unfinished search


class RunTimer:
    """Seconds of work on a run, including those that earlier sessions saved."""

    def __init__(self, out: Path) -> None:
        self._file = out / PARTIAL_RESULTS / SECONDS_FILE
        with reporting_damage(self._file):
            self._before = float(read_json(self._file)["seconds"]) if self._file.is_file() else 0.0
        self._began = time.monotonic()

    def seconds(self) -> float:
        return self._before + time.monotonic() - self._began

    def save(self) -> None:
        """Write the seconds so far, for a session that resumes the run."""
        write_json(self._file, {"seconds": self.seconds()})


class CostMeter:
    """Cost of work on a device since the meter was created, plus what earlier sessions saved.

    part: name of this process's part of a run that several processes make.
    """

    def __init__(self, out: Path, device: torch.device, *, part: str = "") -> None:
        self._file = out / (f"{COST_FILE.stem}-{part}{COST_FILE.suffix}" if part else COST_FILE)
        self._before: Cost | None = None
        if self._file.is_file():
            self._before = Cost(**json.loads(self._file.read_text(encoding="utf-8")))
        from layerprobe.embed.models.device import DeviceMeter  # torch, which a search does without

        self._meter = DeviceMeter(device)

    def read(self) -> Cost:
        now = self._meter.read()
        return now if self._before is None else add_costs(self._before, now)

    def save(self) -> None:
        """Write the cost so far, for a session that resumes the run."""
        write_json(self._file, asdict(self.read()))

    def total(self) -> Cost:
        """This cost and what all other parts have saved."""
        cost = self.read()
        for path in self._saved():
            if path != self._file:
                cost = add_costs(Cost(**json.loads(path.read_text(encoding="utf-8"))), cost)
        return cost

    def close(self) -> None:
        """Delete the files of all parts."""
        for path in self._saved():
            path.unlink(missing_ok=True)

    def _saved(self) -> list[Path]:
        return sorted(self._file.parent.glob(f"{COST_FILE.stem}*{COST_FILE.suffix}"))


def add_costs(one: Cost, other: Cost) -> Cost:
    """Two sessions as one: times and energy add up, the larger peak counts; None if one is unknown."""

    def both(name: str, combine: Callable[[list[float]], float]) -> float | None:
        values = [getattr(one, name), getattr(other, name)]
        return None if None in values else combine(values)

    def largest(name: str) -> int | None:
        peak = both(name, max)
        return None if peak is None else int(peak)

    return replace(
        other,
        wall_s=one.wall_s + other.wall_s,
        device=", ".join(dict.fromkeys((one.device, other.device))),
        device_s=both("device_s", sum),
        energy_j=both("energy_j", sum),
        peak_memory_bytes=largest("peak_memory_bytes"),
        peak_device_bytes=largest("peak_device_bytes"),
    )
