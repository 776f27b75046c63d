"""Bytes that a WAV file misses by its own header's account, of which libsndfile tells nothing."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO


def missing_bytes(path: Path) -> int:
    """Bytes that a WAV file's data chunk has lost to a cut-off file; 0 if none, or for other files.

    libsndfile reads what is left of such a file as though it were the whole.
    """
    with path.open("rb") as raw:
        start = raw.read(12)
        if start[:4] != b"RIFF" or start[8:] != b"WAVE":
            return 0
        return max(0, _riff_end(raw) - raw.seek(0, os.SEEK_END))


def _riff_end(raw: BinaryIO) -> int:
    """Where the data chunk ends by its own account; 0 where there is none, or none of known length.

    What writes to a pipe cannot come back to fill the length in: ffmpeg then leaves all bits set, SoX its
    largest round number.
    """
    at = 12
    while len(head := raw.read(8)) == 8:
        name, length = struct.unpack("<4sI", head)
        if name == b"data":
            return 0 if length in (0xFFFFFFFF, 0x7FFFF000) else at + 8 + length
        at = raw.seek(at + 8 + length + length % 2)
    return 0
