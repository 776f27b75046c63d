"""A part of a file, or a file with another beginning, as a seekable file."""

from __future__ import annotations

import io
import os
from typing import BinaryIO


class Section(io.RawIOBase):
    """The bytes `head`, followed by bytes `begin` to `end` (the file's end if omitted) of `raw`."""

    def __init__(self, raw: BinaryIO, begin: int, end: int | None = None, *, head: bytes = b"") -> None:
        self._raw, self._head, self._begin = raw, head, begin
        end = raw.seek(0, os.SEEK_END) if end is None else end
        self._size = len(head) + max(0, end - begin)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        wanted = max(0, min(len(buffer), self._size - self._at))
        data = self._head[self._at : self._at + wanted]
        if len(data) < wanted:
            self._raw.seek(self._begin + self._at + len(data) - len(self._head))
            data += self._raw.read(wanted - len(data))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
