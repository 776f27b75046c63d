"""Timing, peak memory and JSON output shared by the benchmarks, with a description of the machine."""

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
    """Median rate, in GFLOP/s, of a matrix product shaped like a transformer block's feed-forward layer."""
    rows, inner, columns = (2_000, 768, 3_072) if device.type == "cpu" else (16_384, 4_096, 4_096)
    a = torch.randn(rows, inner, device=device, dtype=dtype)
    b = torch.randn(inner, columns, device=device, dtype=dtype)
    rates: list[float] = []
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        elapsed = timed(lambda: a @ b, device=device)
        rates.append(2 * rows * inner * columns / elapsed / 1e9)
    return sorted(rates)[len(rates) // 2]


def timed(work: Callable[[], Any], *, device: torch.device) -> float:
    """Wall time of `work` in seconds; synchronises the device before and after."""
    _synchronise(device)
    started = time.perf_counter()
    work()
    _synchronise(device)
    return time.perf_counter() - started


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_mb() -> float:
    """Peak resident memory of this process in MB."""
    return peak_memory(resource.RUSAGE_SELF) / 1e6


def report(name: str, values: dict[str, Any], *, device: torch.device) -> None:
    """Print one JSON line: the values, the machine and the library versions."""
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}
    line = {"benchmark": name, **rounded, "machine": describe_device(device), "versions": dict(versions())}
    print(json.dumps(line), flush=True)
