"""WAV files: where their samples are, and whether some are missing.

libsndfile reads what is left of a truncated file as if it were complete.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

# What ffmpeg and SoX write for the length of data sent to a pipe, where they cannot return to fill it in.
_UNKNOWN_LENGTHS = (0xFFFFFFFF, 0x7FFFF000)


def find_data(raw: BinaryIO) -> tuple[int, int] | None:
    """The first byte of a WAV file's samples and their length in bytes by its header; None for others."""
    raw.seek(0)
    start = raw.read(12)
    if start[:4] != b"RIFF" or start[8:] != b"WAVE":
        return None
    at = len(start)
    while len(head := raw.read(8)) == 8:
        name, length = struct.unpack("<4sI", head)
        if name == b"data":
            return at + len(head), length
        at = raw.seek(at + len(head) + length + length % 2)
    return None


def find_damage(path: Path) -> str | None:
    """What is wrong with a WAV file, or None; None for any other file, too."""
    with path.open("rb") as raw:
        data = find_data(raw)
        size = raw.seek(0, os.SEEK_END)
    if data is None or data[1] in _UNKNOWN_LENGTHS:
        return None
    missing = sum(data) - size
    return f"truncated: its header declares {missing} more bytes than the file has" if missing > 0 else None
