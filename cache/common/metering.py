"""Cost of some work: time, memory, and a GPU's energy where its driver reports it."""

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
    """What some work cost. None means unknown, never zero.

    wall_s: seconds. device: `cpu`, or a GPU's name. device_s: seconds for which that device was in use.
    peak_memory_bytes: highest memory of the process. energy_j: joules of the GPU.
    """

    wall_s: float
    device: str = CPU
    device_s: float | None = None
    peak_memory_bytes: int | None = None
    peak_device_bytes: int | None = None
    trained_parameters: int | None = None
    energy_j: float | None = None


class Meter:
    """Measures the cost of the work since it was created.

    device: `cpu`, or a GPU's name. gpu: the GPU's UUID as NVIDIA's driver writes it, for its energy.
    began: `time.perf_counter()` at the start of the work, if that is earlier.
    """

    def __init__(self, *, device: str = CPU, gpu: str | None = None, began: float | None = None) -> None:
        self._device = device
        self._energy = None if gpu is None else energy_counter(gpu)
        self._initial_energy = self._energy() if self._energy else None
        self._began = time.perf_counter() if began is None else began

    def read(self, *, peak_device_bytes: int | None = None) -> Cost:
        """The cost so far."""
        wall = time.perf_counter() - self._began
        energy = self._energy() if self._energy else None
        return Cost(
            wall_s=wall,
            device=self._device,
            device_s=wall,
            peak_memory_bytes=peak_memory(resource.RUSAGE_SELF),
            peak_device_bytes=peak_device_bytes,
            energy_j=None
            if energy is None or self._initial_energy is None
            else energy - self._initial_energy,
        )


_elsewhere = [0]  # peak memory of the largest worker on a cluster


def peak_memory(who: int) -> int:
    """Highest memory in bytes of this process (`resource.RUSAGE_SELF`) or of one child (RUSAGE_CHILDREN)."""
    if who == resource.RUSAGE_SELF and STATUS.exists():
        # getrusage also counts the memory of the parent before the exec; /proc does not.
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(who).ru_maxrss * unit
    return max(peak, *_elsewhere) if who == resource.RUSAGE_CHILDREN else peak


def count_worker(peak: int) -> None:
    """Let `peak_memory` of children include a worker of a cluster, which is none; peak: its own, in bytes."""
    _elsewhere.append(max(_elsewhere.pop(), peak))


def energy_counter(gpu: str) -> Callable[[], float | None] | None:
    """A function that returns the joules a GPU has used since its driver was loaded; None if unsupported.

    gpu: its UUID (`GPU-…`). Uses nvmlDeviceGetTotalEnergyConsumption of NVML, NVIDIA's management library.
    """
    try:
        nvml = ctypes.CDLL(NVML)
        handle = ctypes.c_void_p()
        if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByUUID(gpu.encode(), ctypes.byref(handle)):
            return None
        query = nvml.nvmlDeviceGetTotalEnergyConsumption
    except (OSError, AttributeError):
        return None

    def joules() -> float | None:
        millijoules = ctypes.c_ulonglong()
        return None if query(handle, ctypes.byref(millijoules)) else millijoules.value / 1000

    return joules if joules() is not None else None
