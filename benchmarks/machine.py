"""The machine a measurement was taken on, and what every benchmark prints with."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from typing import Any

import torch

from layerprobe.cache.common.metering import peak_memory
from layerprobe.embed.models.device import describe_device, versions


def gemm_gflops(device: torch.device, dtype: torch.dtype = torch.float32, *, seconds: float = 3.0) -> float:
    """The machine's rate at matrix products of a block's shape, in GFLOP/s: the median of runs."""
    size = (2_000, 768, 3_072) if device.type == "cpu" else (16_384, 4_096, 4_096)
    rows, inner, columns = size
    a = torch.randn(rows, inner, device=device, dtype=dtype)
    b = torch.randn(inner, columns, device=device, dtype=dtype)
    rates: list[float] = []
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        took = timed(lambda: a @ b, device=device)
        rates.append(2 * rows * inner * columns / took / 1e9)
    return sorted(rates)[len(rates) // 2]


def timed(work: Callable[[], Any], *, device: torch.device) -> float:
    """Seconds of wall time, the device's queue emptied before and after."""
    _synchronise(device)
    started = time.perf_counter()
    work()
    _synchronise(device)
    return time.perf_counter() - started


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_mb() -> float:
    """The largest resident memory of this process so far."""
    return peak_memory(resource.RUSAGE_SELF) / 1e6


def report(name: str, values: dict[str, Any], *, device: torch.device) -> None:
    """One JSON line on stdout, the machine in it."""
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}
    told = {"benchmark": name, **rounded, "machine": describe_device(device), "versions": dict(versions())}
    print(json.dumps(told), flush=True)
