"""Memory that is freed or runs out, and the GPU whose work is waited for."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch

from layerprobe.embed.models.device import is_out_of_memory, record_event
from tests.run import ROOT

SCRIPT = """
import ctypes, os
from pathlib import Path
from layerprobe.embed.models.device import release_free_memory, keep_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
size = 4 << 20
blocks = [libc.malloc(size) for _ in range(32)]
for block in blocks:
    ctypes.memset(block, 1, size)
full = resident()
for block in blocks[::2]:  # each between two that stay allocated
    libc.free(block)
after_free = resident()
assert release_free_memory()
print(full - after_free, full - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="tests glibc's allocator")
def test_freed_memory_is_reused_until_it_is_released():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    freed, released = map(int, done.stdout.split())
    assert abs(freed) < 4 << 20
    assert released > 15 * (4 << 20) - (4 << 20)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
        RuntimeError("MPS backend out of memory (MPS allocated: 5.92 GB, other allocations: 1.00 GB)"),
        RuntimeError("HIP out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA driver error: out of memory"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you "
            "tried to allocate 4000000000000 bytes. Error code 12 (Cannot allocate memory)"
        ),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 40 bytes."
        ),
        OSError(12, "Cannot allocate memory"),
    ],
    ids=lambda error: str(error)[:40],
)
def test_every_text_of_an_out_of_memory_error_is_recognised(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
    ],
    ids=str,
)
def test_other_errors_are_no_lack_of_memory(error):
    assert not is_out_of_memory(error)


def test_the_allocators_own_error_is_recognised():
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**60)
    assert is_out_of_memory(error.value)


def test_an_event_waits_for_the_gpu_that_was_used(monkeypatch):
    """On `cuda:1`, the current GPU's stream would be that of `cuda:0`."""
    recorded = []

    class Event:
        def record(self, stream: object = "the current GPU's stream") -> None:
            recorded.append(stream)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: f"stream of {device}")
    record_event(torch.device("cuda:1"))
    assert recorded == ["stream of cuda:1"]
    assert record_event(torch.device("cpu")) is None
