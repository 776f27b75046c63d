"""Keep freed memory in the process: on a CPU, giving it back to the system costs a fifth of an extraction.

A batch's tensors are tens of megabytes. glibc takes each from the system and gives it back when it is freed,
and the kernel clears every page anew. Told otherwise, it hands out the same pages again and again. Batches
differ in shape, though, and leave holes between them that grow over a run: now and then these are given back.
"""

from __future__ import annotations

import ctypes
import platform

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_NEVER = 2**31 - 1  # bytes; the largest that mallopt takes
_AT_A_TIME = 64 * 2**20


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
