"""Freed memory: reused for the next batch, and returned to the system on request."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from tests.run import ROOT

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="tests glibc's allocator")

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


def test_freed_memory_is_reused_until_it_is_released():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    freed, released = map(int, done.stdout.split())
    assert abs(freed) < 4 << 20
    assert released > 15 * (4 << 20) - (4 << 20)
