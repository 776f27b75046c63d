"""A meter for work on a device of torch: which GPU to ask for its energy, and what it held at most."""

from __future__ import annotations

import ctypes
import platform
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import torch

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.metering import Cost, Meter

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_NEVER = 2**31 - 1  # bytes; the largest that mallopt takes
_AT_A_TIME = 64 * 2**20


class DeviceMeter:
    """Measures work on a device. began: `time.perf_counter()` of its start, if that is before now."""

    def __init__(self, device: torch.device, *, began: float | None = None) -> None:
        self._cuda = device if device.type == "cuda" else None
        name, gpu = device.type, None
        if self._cuda is not None:
            torch.cuda.reset_peak_memory_stats(self._cuda)
            known = torch.cuda.get_device_properties(self._cuda)
            name, gpu = known.name, f"GPU-{known.uuid}"
        self._meter = Meter(device=name, gpu=gpu, began=began)

    def read(self) -> Cost:
        """What the work took so far."""
        held = None if self._cuda is None else torch.cuda.max_memory_reserved(self._cuda)
        return self._meter.read(peak_device_bytes=held)


def find_device(name: str) -> torch.device:
    """`auto` is the first GPU, else the CPU. Raises InputError for a device that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # `meta` is a device to torch, but holds no numbers
    except (RuntimeError, AssertionError) as error:  # torch asserts when it was built without a backend
        why = re.split(r"[.\n]", str(error).strip())[0]
        raise InputError(f"--device {name} cannot be used ({why})", do="try --device auto or cpu") from error
    return device


def find_precision(name: str, device: torch.device) -> str:
    """`auto` is fp32 on a CPU, bf16 on a GPU that computes in it."""
    if name != "auto":
        return name
    has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if has_bf16 else "fp32"


def describe_device(device: torch.device) -> str:
    """What a person would call the machine."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{cpu_name()}, {torch.get_num_threads()} threads"


def cpu_name() -> str:
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions() -> Mapping[str, str]:
    """Versions of what computes: recorded with the states, no part of their fingerprint."""
    names = ("torch", "torchaudio", "transformers", "h5py", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def keep_freed_memory() -> bool:
    """Ask the C library to reuse what is freed; whether it can. Holds for the rest of the process."""
    if not _glibc():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_MMAP_THRESHOLD, _NEVER), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _AT_A_TIME))
    return all(mallopt(parameter, value) for parameter, value in settings)


def give_back_holes() -> bool:
    """Give the system what is free at the moment; whether there was any. Takes some milliseconds."""
    return _glibc() and bool(ctypes.CDLL(None).malloc_trim(0))


def _glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
