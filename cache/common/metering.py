"""What a stretch of work took: time, memory, and a GPU's energy where its driver tells it."""

from __future__ import annotations

import ctypes
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

NVML = "libnvidia-ml.so.1"  # comes with NVIDIA's driver
STATUS = Path("/proc/self/status")
CPU = "cpu"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What some work took; None is not known, never nothing.

    device: `cpu`, or a GPU's name. device_s: seconds for which that device was held. peak_memory_bytes: the
    most that the process held at a time. energy_j: joules of the GPU.
    """

    wall_s: float
    device: str = CPU
    device_s: float | None = None
    peak_memory_bytes: int | None = None
    peak_device_bytes: int | None = None
    trained_parameters: int | None = None
    energy_j: float | None = None


class Meter:
    """Measures from the moment that it is made.

    device: `cpu`, or a GPU's name. gpu: the GPU's UUID as NVIDIA's driver writes it, for its energy. began:
    `time.perf_counter()` of the work's start, if that is before now.
    """

    def __init__(self, *, device: str = CPU, gpu: str | None = None, began: float | None = None) -> None:
        self._device = device
        self._energy = None if gpu is None else energy_counter(gpu)
        self._joules = self._energy() if self._energy else None
        self._began = time.perf_counter() if began is None else began

    def read(self, *, peak_device_bytes: int | None = None) -> Cost:
        """What it took so far."""
        wall = time.perf_counter() - self._began
        now = self._energy() if self._energy else None
        return Cost(
            wall_s=wall,
            device=self._device,
            device_s=wall,
            peak_memory_bytes=peak_memory(resource.RUSAGE_SELF),
            peak_device_bytes=peak_device_bytes,
            energy_j=None if now is None or self._joules is None else now - self._joules,
        )


def peak_memory(who: int) -> int:
    """The most bytes that `resource.RUSAGE_SELF`, or any one of RUSAGE_CHILDREN, held at a time."""
    if who == resource.RUSAGE_SELF and STATUS.exists():
        # getrusage begins with the peak of whoever started this process; Linux itself does not.
        told = dict(line.split(":", 1) for line in STATUS.read_text().splitlines() if ":" in line)
        if "VmHWM" in told:
            return int(told["VmHWM"].split()[0]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(who).ru_maxrss * unit


def energy_counter(gpu: str) -> Callable[[], float | None] | None:
    """A function that tells the joules a GPU has used since its driver was loaded; None where none can.

    gpu: its UUID (`GPU-…`). Asks NVML, NVIDIA's management library: nvmlDeviceGetTotalEnergyConsumption.
    """
    try:
        nvml = ctypes.CDLL(NVML)
        handle = ctypes.c_void_p()
        if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByUUID(gpu.encode(), ctypes.byref(handle)):
            return None
        ask = nvml.nvmlDeviceGetTotalEnergyConsumption
    except (OSError, AttributeError):
        return None

    def joules() -> float | None:
        millijoules = ctypes.c_ulonglong()
        return None if ask(handle, ctypes.byref(millijoules)) else millijoules.value / 1000

    return joules if joules() is not None else None
