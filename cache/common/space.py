"""How many bytes a run will write, and whether the disk can hold them."""

from __future__ import annotations

import shutil
from math import ceil
from pathlib import Path

from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.identity.extraction import FRAME, Extraction

TABLE_BYTES = 256  # of a clip's key, path, counts and checksums, rounded up
SLACK = 1.02  # chunk padding and HDF5's own records


def estimate_bytes(extraction: Extraction, *, clips: int, seconds: float) -> int:
    """Bytes that so many clips, `seconds` long together, take on disk."""
    rows = ceil(seconds * extraction.frame_rate) if extraction.stats == (FRAME,) else clips
    return ceil(SLACK * (rows * extraction.bytes_per_row() + clips * TABLE_BYTES))


def free_bytes(folder: Path) -> int:
    """Bytes free where a folder is, or will be. Raises StoreError."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        return shutil.disk_usage(there).free
    except OSError as error:
        raise StoreError(f"its free space cannot be read ({error.strerror})", where=str(there)) from error


ELSEWHERE = "free some space, choose fewer --layers or --stats, or another --cache"


def require_space(folder: Path, nbytes: int, *, do: str = ELSEWHERE) -> None:
    """Raises StoreError where the disk cannot hold so many bytes more."""
    free = free_bytes(folder)
    if nbytes > free:
        raise StoreError(
            f"needs {human(nbytes)}, but {human(free)} are free",
            where=str(folder),
            do=do,
        )


def human(nbytes: float) -> str:
    """Bytes as people read them: `1.5 GB`."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if nbytes < 999.5 or unit == "TB":
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.3g} {unit}"
        nbytes /= 1000
    raise AssertionError("unreachable")
