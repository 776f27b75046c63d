"""Ogg from the middle: a file's headers, and after them its pages from shortly before a place on.

libsndfile's own seeking in Ogg can end up hundreds of samples off (its issue 885). What is spliced here it
reads from front to back, like a stream that somebody tuned in to. Where that begins is told twice, by the
pages' granules and by how much shorter libsndfile finds it than the file; if the two disagree it is not used.
"""

from __future__ import annotations

import io
import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

_LONGEST_BLOCK = 8192  # samples of Vorbis; the first block only serves to decode the second
_OPUS_RATE = 48_000  # Hz that Opus' granules count in, whatever the sound's own rate
# Before a place, in granules. RFC 7845 asks for 80 ms of Opus to be decoded ahead; of what libsndfile writes
# the very same bits come out after 0.7 s.
_RUN_UP = {"VORBIS": 2 * _LONGEST_BLOCK, "OPUS": 2 * _OPUS_RATE}
_MAGIC = {"VORBIS": b"\x01vorbis", "OPUS": b"OpusHead"}
_HEADERS = {"VORBIS": 3, "OPUS": 2}  # packets
_LOOK = 1 << 17  # bytes searched for the next page: two of the largest (RFC 3533)
_NEAR = 1 << 17  # bytes that bisection leaves to be walked through page by page


@dataclass(frozen=True)
class _Page:
    begin: int
    size: int
    granule: int  # samples up to the last packet that ends here; -1 where none does
    serial: int

    @property
    def end(self) -> int:
        return self.begin + self.size


class Spliced(io.RawIOBase):
    """`head`, and after it the bytes of `raw` from `begin` on; to be read and sought in.

    granule: of the last page before `begin`. skip: granules at the file's start that are no sound of it.
    """

    def __init__(self, raw: BinaryIO, head: bytes, begin: int, *, granule: int, skip: int) -> None:
        self._raw, self._head, self._begin, self._granule, self._skip = raw, head, begin, granule, skip
        self._size = len(head) + raw.seek(0, os.SEEK_END) - begin
        self._at = 0

    def first(self, lacking: int, rate: int) -> int | None:
        """The place in the file of the first sample read, in samples at `rate`; None where that is in doubt.

        lacking: by how many samples libsndfile finds it shorter than the file.
        """
        if self._head[28:].startswith(_MAGIC["VORBIS"]):
            return lacking if 0 <= lacking - self._granule <= _LONGEST_BLOCK else None
        return lacking if lacking * (_OPUS_RATE // rate) == self._granule - self._skip else None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        wanted = len(buffer)
        data = self._head[self._at : self._at + wanted]
        if len(data) < wanted:
            self._raw.seek(self._begin + self._at + len(data) - len(self._head))
            data += self._raw.read(wanted - len(data))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def spliced(raw: BinaryIO, codec: str, sample: int, rate: int) -> Spliced | None:
    """The headers and the pages that are needed from `sample` on, at the sound's own `rate`.

    None where it does not pay, or the file is not one stream of that codec from its first page to its last.
    """
    first, heads = _page(raw, 0), _headers(raw, codec) if codec in _HEADERS else None
    if first is None or heads is None:
        return None
    wanted = (sample * _OPUS_RATE // rate if codec == "OPUS" else sample) - _RUN_UP[codec]
    low, high, granule = heads, raw.seek(0, os.SEEK_END), 0
    while high - low > _NEAR:
        middle = (low + high) // 2
        page = _ending_a_packet(raw, middle, first.serial)
        if page is None:
            return None
        if page.granule <= wanted:
            low, granule = page.end, page.granule
        else:
            high = middle
    while (page := _page(raw, low)) is not None and page.granule <= wanted:
        if page.serial != first.serial:
            return None
        granule, low = max(granule, page.granule), page.end
    if granule <= 0:
        return None
    raw.seek(0)
    head, skip = raw.read(heads), 0
    if codec == "OPUS":
        head, skip = _without_skip(head)
    return Spliced(raw, head, low, granule=granule, skip=skip)


def _headers(raw: BinaryIO, codec: str) -> int | None:
    """Where the first page with sound begins: a codec's headers are on pages of their own."""
    at, packets = 0, 0
    while packets < _HEADERS[codec]:
        page = _page(raw, at)
        if page is None or page.granule > 0:
            return None
        raw.seek(at)
        head = raw.read(27 + 255)
        if at == 0 and not head[28:].startswith(_MAGIC[codec]):
            return None
        packets += sum(length < 255 for length in head[27 : 27 + head[26]])
        at = page.end
    return at if packets == _HEADERS[codec] else None


def _without_skip(head: bytes) -> tuple[bytes, int]:
    """Headers of Opus that ask for no granules to be left out at the start, and how many they asked for."""
    (skip,) = struct.unpack("<H", head[38:40])
    end = 28 + head[27]  # of the first page, which holds one packet
    page = bytearray(head[:end])
    page[22:26] = bytes(4)  # the checksum is taken over zeros in its own place
    page[38:40] = bytes(2)
    page[22:26] = _checksum(bytes(page)).to_bytes(4, "little")
    return bytes(page) + head[end:], int(skip)


def _checksum(page: bytes) -> int:
    """Ogg's CRC-32: its bits go from high to low, and it begins with zero (RFC 3533)."""
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value >> 31 else value << 1) & 0xFFFFFFFF
    return value


def _ending_a_packet(raw: BinaryIO, at: int, serial: int) -> _Page | None:
    """The next page of the stream, from byte `at` on, whose granule tells a place."""
    page = _next(raw, at)
    while page is not None and page.granule < 0:
        page = _page(raw, page.end)
    return page if page is not None and page.serial == serial else None


def _next(raw: BinaryIO, at: int) -> _Page | None:
    """The first page that begins at byte `at` or later."""
    raw.seek(at)
    data = raw.read(_LOOK)
    place = data.find(b"OggS\0")
    while place >= 0:
        page = _page(raw, at + place)
        # Four letters may stand in the sound, too: after a page there is another, or the file's end.
        if page is not None and (_page(raw, page.end) is not None or page.end == raw.seek(0, os.SEEK_END)):
            return page
        place = data.find(b"OggS\0", place + 1)
    return None


def _page(raw: BinaryIO, at: int) -> _Page | None:
    """The page that begins at byte `at`."""
    raw.seek(at)
    head = raw.read(27 + 255)
    if len(head) < 27 or head[:5] != b"OggS\0":
        return None
    granule, serial = struct.unpack("<qI", head[6:18])
    count = head[26]
    return _Page(at, 27 + count + sum(head[27 : 27 + count]), granule, serial)
