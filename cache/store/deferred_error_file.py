"""A file for HDF5 to write to that never fails in front of it.

HDF5 (2.0 and before) brings the whole process down when a write fails and the file is then closed: on a full
disk, a run would end in a segmentation fault. Behind a spool it ends in an OSError.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class DeferredErrorFile(io.RawIOBase):
    """A file object for HDF5 that never fails: after its first error it keeps in memory what is written.

    The shard's writer asks `check` after each step and gives up, so that little is ever kept.
    """

    def __init__(self, handle: int) -> None:
        self._handle, self._position, self._end = handle, 0, 0
        self._error: OSError | None = None
        self._kept: list[tuple[int, bytes]] = []

    def check(self) -> None:
        """Raise the first error there was, if there was one."""
        if self._error is not None:
            raise self._error

    def write(self, data: ReadableBuffer, /) -> int:
        view = memoryview(data).cast("B")
        start, done = self._position, 0
        try:
            while self._error is None and done < len(view):
                done += os.pwrite(self._handle, view[done:], start + done)
        except OSError as error:
            self._error = error
        if self._error is not None:
            self._kept.append((start, bytes(view)))
        self._position = start + len(view)
        self._end = max(self._end, self._position)
        return len(view)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        start, size = self._position, len(view)
        try:
            view[:] = os.pread(self._handle, size, start).ljust(size, b"\0")
        except OSError as error:
            self._error = self._error or error
            view[:] = bytes(size)
        for offset, kept in self._kept:
            low, high = max(start, offset), min(start + size, offset + len(kept))
            if low < high:
                view[low - start : high - start] = kept[low - offset : high - offset]
        self._position += size
        return size

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._position = offset + (self._end if whence == os.SEEK_END else 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def truncate(self, size: int | None = None, /) -> int:
        self._end = self._position if size is None else size
        try:
            if self._error is None:
                os.ftruncate(self._handle, self._end)
        except OSError as error:
            self._error = error
        return self._end
