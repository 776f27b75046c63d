"""A file object for HDF5 whose errors are raised later, outside HDF5.

HDF5 (2.0 and before) crashes the process when a write fails and the file is then closed: on a full disk, a
run would end in a segmentation fault. With this file it ends in an OSError.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class DeferredErrorFile(io.RawIOBase):
    """Writes to a file descriptor; from its first error on, it keeps in memory what is written.

    Call `check` after each step and give up if it raises, so that little accumulates.
    """

    def __init__(self, handle: int) -> None:
        self._handle, self._position, self._end = handle, 0, 0
        self._error: OSError | None = None
        self._unwritten: list[tuple[int, bytes]] = []  # offset and content

    def check(self) -> None:
        """Raise the first error, if there was one."""
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
            self._unwritten.append((start, bytes(view)))
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
        for offset, data in self._unwritten:
            low, high = max(start, offset), min(start + size, offset + len(data))
            if low < high:
                view[low - start : high - start] = data[low - offset : high - offset]
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
