"""The compute device: selecting it and its precision, describing it, metering work on it, freeing memory."""

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

HALF_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_NEVER = 2**31 - 1  # bytes; the largest value mallopt accepts
_GROW_BY = 64 * 2**20  # bytes


class DeviceMeter:
    """Measures work on a device. began: start time (`time.perf_counter()`), if it has already begun."""

    def __init__(self, device: torch.device, *, began: float | None = None) -> None:
        self._cuda = device if device.type == "cuda" else None
        name, gpu = device.type, None
        if self._cuda is not None:
            torch.cuda.reset_peak_memory_stats(self._cuda)
            properties = torch.cuda.get_device_properties(self._cuda)
            name, gpu = properties.name, f"GPU-{properties.uuid}"
        self._meter = Meter(device=name, gpu=gpu, began=began)

    def read(self) -> Cost:
        """The cost so far."""
        peak = None if self._cuda is None else torch.cuda.max_memory_reserved(self._cuda)
        return self._meter.read(peak_device_bytes=peak)


def find_device(name: str) -> torch.device:
    """The device of that name; `auto` is the first GPU, else the CPU.

    Raises InputError if the device is not available.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # torch accepts `meta` as a device, but it stores no numbers
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without that backend
        why = re.split(r"[.\n]", str(error).strip())[0]
        raise InputError(f"--device {name} cannot be used ({why})", do="try --device auto or cpu") from error
    return device


def find_precision(name: str, device: torch.device) -> str:
    """`auto` is fp16 on a GPU, else fp32.

    On trained weights, fp16 moves states by a twentieth of what bf16 does. Its range is smaller: states that
    overflow are computed again in fp32 (`extract.forward`).
    """
    if name != "auto":
        return name
    return "fp16" if device.type == "cuda" else "fp32"


def find_training_precision(name: str, device: torch.device) -> str:
    """`auto` is bf16 on a GPU that supports it, else fp32: gradients need range more than digits."""
    if name != "auto":
        return name
    has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if has_bf16 else "fp32"


def to_device(numbers: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the host on a device, which nobody waits for: a GPU copies it from pinned memory."""
    host = numbers.pin_memory() if device.type == "cuda" else numbers
    return host.to(device, non_blocking=True)


def to_host(values: torch.Tensor) -> torch.Tensor:
    """A tensor of a device on the host; from a GPU not before an event recorded after this."""
    if values.device.type != "cuda":
        return values.cpu()
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return host.copy_(values, non_blocking=True)


def record_event(device: torch.device) -> torch.cuda.Event | None:
    """An event after all work that a GPU was given so far, also if it is not the current GPU; else None."""
    if device.type != "cuda":
        return None
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(device))
    return event


def describe_device(device: torch.device) -> str:
    """The GPU's name, or the processor's name and the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_cpu_name()}, {torch.get_num_threads()} threads"


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def versions() -> Mapping[str, str]:
    """Versions of the libraries that compute: recorded with the states, no part of their fingerprint."""
    names = ("torch", "torchaudio", "transformers", "h5py", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def keep_freed_memory() -> bool:
    """Make the C allocator reuse freed memory for the rest of the process; return whether it can.

    Batches differ in shape: returning memory to the system after each would cost page faults in the next.
    """
    if not _glibc():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_MMAP_THRESHOLD, _NEVER), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _GROW_BY))
    return all(mallopt(parameter, value) for parameter, value in settings)


def release_free_memory() -> bool:
    """Return currently free memory to the system, in milliseconds; return whether there was any."""
    return _glibc() and bool(ctypes.CDLL(None).malloc_trim(0))


def _glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"


# What torch's libraries say when memory is short: on the host, in CUDA, cuBLAS, cuDNN, cuFFT, MPS and HIP.
_OUT_OF_MEMORY = re.compile(
    r"can't allocate memory|cannot allocate memory|not enough memory|out of memory|CU\w+_ALLOC_FAILED"
    r"|cudaErrorMemoryAllocation|hipErrorOutOfMemory|(ROC|HIP)BLAS_STATUS_(MEMORY_ERROR|ALLOC_FAILED)",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a GPU or the machine ran out of memory; torch has an error type for few of these cases."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return bool(_OUT_OF_MEMORY.search(str(error)))
