"""WAV files whose recorder was cut off: the header gives their sound no length, and the sound is there.

libsndfile takes such a file for an empty one, where players play it to its end.
"""

from __future__ import annotations

import io
import os
import struct
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
