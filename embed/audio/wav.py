"""WAV files whose recorder was cut off: the header gives their sound no length, and the sound is there.

libsndfile takes such a file for an empty one, where players play it to its end.
"""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import BinaryIO

_MOST = 0xFFFFFFFE  # bytes that a WAV file's lengths can tell of


class Closed(io.RawIOBase):
    """`raw` with other bytes in a few places, to be read and sought in."""

    def __init__(self, raw: BinaryIO, patches: dict[int, bytes]) -> None:
        self._raw, self._patches = raw, patches
        raw.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._raw.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._raw.seek(offset, whence)

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        begin = self._raw.tell()
        data = bytearray(self._raw.read(len(buffer)))
        for at, patch in self._patches.items():
            low, high = max(at, begin), min(at + len(patch), begin + len(data))
            if low < high:
                data[low - begin : high - begin] = patch[low - at : high - at]
        buffer[: len(data)] = data
        return len(data)


def closed(raw: BinaryIO) -> Closed | None:
    """The file as its recorder would have left it; None for any other file. Moves `raw`.

    An empty file that was closed, with notes behind its sound, counts them in its first length.
    """
    size = raw.seek(0, os.SEEK_END)
    raw.seek(0)
    start = raw.read(12)
    if start[:4] != b"RIFF" or start[8:] != b"WAVE":
        return None
    at = len(start)
    while len(head := raw.read(8)) == 8:
        name, length = struct.unpack("<4sI", head)
        if name == b"data":
            begin = at + len(head)
            counted = 8 + struct.unpack("<I", start[4:8])[0]
            if length or size == begin or begin < counted <= size:
                return None
            whole, sound = (struct.pack("<I", min(n, _MOST)) for n in (size - 8, size - begin))
            return Closed(raw, {4: whole, at + 4: sound})
        at = raw.seek(at + len(head) + length + length % 2)
    return None


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
