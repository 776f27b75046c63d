"""Pages of an Ogg file (RFC 3533), and what a walk over all of them finds wrong.

libogg drops a page whose checksum is wrong, and libsndfile goes on with the next as though nothing had been
there: all later sound moves forward, and a file that lost its last pages is only shorter.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_MAGIC = b"OggS\0"  # and the version
_HEAD = 27  # bytes, up to the table of lengths
_LARGEST = 65_307  # bytes
_CHECKSUM = slice(22, 26)
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class Page:
    """What a page's header tells.

    continued: begins within a packet. first, last: of its stream. granule: samples up to the last packet that
    ends here, or -1. serial: of its stream. number: in its stream.
    """

    begin: int
    size: int
    continued: bool
    first: bool
    last: bool
    granule: int
    serial: int
    number: int

    @property
    def end(self) -> int:
        return self.begin + self.size


def page_at(raw: BinaryIO, at: int) -> Page | None:
    """The page that begins at byte `at` by its own account: it may end beyond the file, or be damaged."""
    raw.seek(at)
    head = raw.read(_HEAD + 255)
    if len(head) < _HEAD or not head.startswith(_MAGIC):
        return None
    flags, granule, serial, number = struct.unpack("<BqII", head[5:22])
    count = head[26]
    size = _HEAD + count + sum(head[_HEAD : _HEAD + count])
    return Page(at, size, bool(flags & 1), bool(flags & 2), bool(flags & 4), granule, serial, number)


def page_after(raw: BinaryIO, at: int) -> Page | None:
    """The first page that begins at byte `at` or later and is whole. Four letters may stand in sound, too."""
    while True:
        raw.seek(at)
        data = raw.read(_LARGEST)
        place = data.find(_MAGIC)
        while place >= 0:
            if (page := _whole(raw, at + place)) is not None:
                return page
            place = data.find(_MAGIC, place + 1)
        if len(data) < _LARGEST:
            return None
        at += len(data) - len(_MAGIC) + 1


def broken(path: Path) -> str | None:
    """What is wrong with an Ogg file, or None. Reads all of it, a page at a time.

    Bytes after the end of all streams are no fault, nor is what other programs put before the first page.
    """
    with path.open("rb") as raw:
        size = raw.seek(0, os.SEEK_END)
        raw.seek(0)
        led = not raw.read(len(_MAGIC)).startswith(b"OggS")
        at, ended = 0, False
        due: dict[int, int] = {}  # stream that has not ended → number of its next page
        while at < size:
            page = _whole(raw, at)
            if page is None:
                page = page_after(raw, at + 1)
                if page is None:
                    break
                if at or not led:
                    return f"damaged: bytes {at} to {page.begin} of {size} are no whole Ogg page"
            wanted = page.number if page.first else due.get(page.serial)
            if page.number != wanted:
                missing = "its first page" if wanted is None else f"page {wanted} of its stream"
                return f"damaged: at byte {at} of {size}, {missing} is missing (there is page {page.number})"
            due[page.serial] = page.number + 1
            if page.last:
                del due[page.serial]
                ended = True
            at = page.end
        return None if ended and not due else _without_end(raw, at, size)


def _without_end(raw: BinaryIO, at: int, size: int) -> str:
    """What has become of the end of a file whose last whole page ends at byte `at`."""
    page = page_at(raw, at)
    if page is not None and page.end > size:
        return f"truncated: its header tells of {page.end - size} more bytes than there are"
    raw.seek(at)
    if len(rest := raw.read(_HEAD)) < _HEAD and b"OggS".startswith(rest[:4]):
        return "truncated: the last page of its Ogg stream is missing"
    return f"damaged: from byte {at} of {size} to the file's end there is no whole Ogg page"


def _whole(raw: BinaryIO, at: int) -> Page | None:
    """The page that begins at byte `at`, if all its bytes are there and give the checksum that it carries."""
    page = page_at(raw, at)
    if page is None:
        return None
    raw.seek(at)
    data = raw.read(page.size)
    return page if len(data) == page.size and data[_CHECKSUM] == _checksum(data) else None


def _checksum(page: bytes) -> bytes:
    """The four bytes that a page should carry: CRC-32 of the whole, its own field taken for zeros.

    Ogg's CRC is zlib's for bits in the other order, and it begins with zero and ends without a complement.
    """
    blank = page[: _CHECKSUM.start] + b"\0\0\0\0" + page[_CHECKSUM.stop :]
    told = zlib.crc32(blank.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return told.to_bytes(4, "big").translate(_REVERSED)
