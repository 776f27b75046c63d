"""What a run of `classify` took: its own search, and its share of the extraction it stands on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch

from layerprobe.cache.common.metering import Cost
from layerprobe.classify.runs.folder import PARTIAL_RESULTS, read_json, write_json
from layerprobe.embed.models.device import DeviceMeter

FILE = "cost.json"  # in the run folder until the run is whole

SPENT = "spent.json"


class Watch:
    """Seconds of work on a run, those of earlier sittings included as far as they were saved."""

    def __init__(self, out: Path) -> None:
        self._file = out / PARTIAL_RESULTS / SPENT
        self._before = float(read_json(self._file)["seconds"]) if self._file.is_file() else 0.0
        self._began = time.monotonic()

    def seconds(self) -> float:
        return self._before + time.monotonic() - self._began

    def save(self) -> None:
        """Write down the seconds so far, for a sitting that goes on after this one was killed."""
        self._file.parent.mkdir(exist_ok=True)
        write_json(self._file, {"seconds": self.seconds()})


class Spending:
    """Measures from the moment that it is made, on top of what earlier sittings of the run saved."""

    def __init__(self, out: Path, device: torch.device) -> None:
        self._file = out / FILE
        self._before: Cost | None = None
        if self._file.is_file():
            self._before = Cost(**json.loads(self._file.read_text(encoding="utf-8")))
        self._meter = DeviceMeter(device)

    def read(self) -> Cost:
        now = self._meter.read()
        return now if self._before is None else joined(self._before, now)

    def save(self) -> None:
        """For a sitting that goes on after this one was killed."""
        write_json(self._file, asdict(self.read()))

    def close(self) -> None:
        self._file.unlink(missing_ok=True)


def joined(one: Cost, other: Cost) -> Cost:
    """Two sittings as one: times and energy add up, peaks do not; what one does not know is not known."""

    def both(name: str, how: Callable[[tuple[float, float]], float]) -> float | None:
        a, b = getattr(one, name), getattr(other, name)
        return None if a is None or b is None else how((a, b))

    def most(name: str) -> int | None:
        peak = both(name, max)
        return None if peak is None else int(peak)

    return replace(
        other,
        wall_s=one.wall_s + other.wall_s,
        device=", ".join(dict.fromkeys((one.device, other.device))),
        device_s=both("device_s", sum),
        energy_j=both("energy_j", sum),
        peak_memory_bytes=most("peak_memory_bytes"),
        peak_device_bytes=most("peak_device_bytes"),
    )
