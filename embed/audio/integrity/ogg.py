"""Ogg files: their pages (RFC 3533), and whether some are damaged or missing.

Decoders skip pages that they cannot use, without a message, and all later sound moves forward.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from layerprobe.embed.audio.integrity.findings import Findings, file_size, joined, read_at, truncated

HEADER = 27  # bytes of a page before its table of segment lengths
MAX_TABLE = 255  # bytes

_MAGIC = b"OggS\0"  # and the version
_MAX_PAGE = 65_307  # bytes
_CHECKSUM = slice(22, 26)
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class Page:
    """The header of a page.

    begin, end: bytes of the file. first, last: of its stream. stream: serial number. number: of the page in
    its stream.
    """

    begin: int
    end: int
    first: bool
    last: bool
    stream: int
    number: int


def page_at(raw: BinaryIO, at: int) -> Page | None:
    """The page whose header is at byte `at`. It may be damaged, or end beyond the file."""
    head = read_at(raw, at, HEADER + MAX_TABLE)
    if len(head) < HEADER or not head.startswith(_MAGIC):
        return None
    flags, _, stream, number = struct.unpack("<BqII", head[5:22])
    count = head[26]
    end = at + HEADER + count + sum(head[HEADER : HEADER + count])
    return Page(at, end, bool(flags & 2), bool(flags & 4), stream, number)


def page_after(raw: BinaryIO, at: int) -> Page | None:
    """The first intact page at byte `at` or later. `OggS` alone may also occur within compressed sound."""
    while True:
        data = read_at(raw, at, _MAX_PAGE)
        match = data.find(_MAGIC)
        while match >= 0:
            if (page := _intact_page(raw, at + match)) is not None:
                return page
            match = data.find(_MAGIC, match + 1)
        if len(data) < _MAX_PAGE:
            return None
        at += len(data) - len(_MAGIC) + 1


def check(raw: BinaryIO) -> Findings:
    """Follow the pages of an Ogg file to its end, one at a time.

    Bytes after the end of all streams are ignored, and so is what other programs put before the first page.
    """
    size = file_size(raw)
    has_prefix = read_at(raw, 0, 4) != b"OggS"
    at, ended = 0, False
    next_numbers: dict[int, int] = {}  # of each stream that has not ended: its next page
    while at < size:
        page = _intact_page(raw, at)
        if page is None:
            page = page_after(raw, at + 1)
            if page is None:
                break
            if at or not has_prefix:
                return _damaged(f"no complete Ogg page in bytes {at} to {page.begin} of {size}")
        if page.first and ended and not next_numbers:
            return joined("Ogg files")
        expected = page.number if page.first else next_numbers.get(page.stream)
        if page.number != expected:
            missing = "its first page" if expected is None else f"page {expected} of its stream"
            return _damaged(f"at byte {at} of {size}, {missing} is missing (page {page.number} follows)")
        next_numbers[page.stream] = page.number + 1
        if page.last:
            del next_numbers[page.stream]
            ended = True
        at = page.end
    return Findings() if ended and not next_numbers else _missing_end(raw, at, size)


def _missing_end(raw: BinaryIO, at: int, size: int) -> Findings:
    """Why the streams of a file do not end, whose last intact page ends at byte `at`."""
    page = page_at(raw, at)
    if page is not None and page.end > size:
        return truncated(page.end - size)
    if len(rest := read_at(raw, at, HEADER)) < HEADER and b"OggS".startswith(rest[:4]):
        return Findings(damage="truncated: the last page of its Ogg stream is missing")
    return _damaged(f"no complete Ogg page from byte {at} of {size} to the end")


def _damaged(what: str) -> Findings:
    return Findings(damage=f"damaged: {what}")


def _intact_page(raw: BinaryIO, at: int) -> Page | None:
    """The page at byte `at`, if it is complete and has the checksum in its header."""
    page = page_at(raw, at)
    if page is None:
        return None
    data = read_at(raw, at, page.end - at)
    return page if len(data) == page.end - at and data[_CHECKSUM] == _checksum(data) else None


def _checksum(page: bytes) -> bytes:
    """The CRC-32 of a page, computed with zeros in the checksum's own field.

    Ogg's CRC is zlib's with all bits in reverse order, without the complements at its start and end.
    """
    blank = page[: _CHECKSUM.start] + b"\0\0\0\0" + page[_CHECKSUM.stop :]
    crc = zlib.crc32(blank.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return crc.to_bytes(4, "big").translate(_REVERSED_BITS)
