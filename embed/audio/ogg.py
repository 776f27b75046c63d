"""Ogg Vorbis from the middle: a file's headers, and after them its pages from shortly before a place on.

libsndfile's own seeking in Ogg can end up hundreds of samples off (its issue 885). What is spliced here it
reads from front to back, like a stream that somebody tuned in to. Where that begins is told twice, by the
pages' granules and by how much shorter libsndfile finds it than the file; if the two disagree it is not used.

Not for Opus: its decoder hears what came before for up to half a minute.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

_PAGE_MAGIC = b"OggS\0"  # and the version
_HEAD = 27  # bytes, up to the table of lengths
_LARGEST = 65_307  # bytes
_CHECKSUM = slice(22, 26)
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

_RUN_UP = 1 << 14  # samples ahead of a place: two of Vorbis' longest blocks
_VORBIS_MAGIC = b"\x01vorbis"
_HEADERS = 3  # packets
_NEAR = 1 << 17  # bytes that bisection leaves to be walked through page by page


class Spliced(io.RawIOBase):
    """`head`, and after it the bytes of `raw` from the end of page `before` on; to be read and sought in."""

    def __init__(self, raw: BinaryIO, head: bytes, before: Page, first: Page) -> None:
        self._raw, self._head, self._before, self._first = raw, head, before, first
        self._size = len(head) + raw.seek(0, os.SEEK_END) - first.begin
        self._at = 0

    def first(self, lacking: int) -> int | None:
        """The place in the file of the first sample read; None where that is in doubt.

        lacking: by how many samples libsndfile finds it shorter than the file. Those are the samples up to
        the first page, and what its first packet would have completed: half of two blocks' halves, which are
        short or long. Where the rest of a packet comes before, that packet is lost as well.
        """
        short, long = (1 << power for power in (self._head[56] & 15, self._head[56] >> 4))
        blocks = {short // 2, (short + long) // 4, long // 2}
        lost = {a + b for a in blocks for b in blocks} if self._first.continued else blocks
        return lacking if lacking - self._before.granule in lost else None

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
            self._raw.seek(self._first.begin + self._at + len(data) - len(self._head))
            data += self._raw.read(wanted - len(data))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def spliced(raw: BinaryIO, sample: int) -> Spliced | None:
    """The headers and the pages that are needed from `sample` on.

    None where it does not pay, or the file is not one stream of Vorbis from its first page to its last.
    """
    first, heads = page_at(raw, 0), _headers(raw)
    if first is None or heads is None:
        return None
    wanted = sample - _RUN_UP
    low, high = heads, raw.seek(0, os.SEEK_END)
    before: Page | None = None
    while high - low > _NEAR:
        middle = (low + high) // 2
        page = _ending_a_packet(raw, middle, first.serial)
        if page is None:
            return None
        if page.granule <= wanted:
            low, before = page.end, page
        else:
            high = middle
    pages = _walk(raw, low, wanted)
    for page, begin in pairwise(pages):
        if 0 < page.granule <= wanted:
            before, low = page, begin.begin
    begin_page = page_at(raw, low)
    if before is None or begin_page is None or any(page.serial != first.serial for page in pages):
        return None
    if page_at(raw, begin_page.end) is None:
        return None  # the last page alone is not cut to the stream's length
    raw.seek(0)
    return Spliced(raw, raw.read(heads), before, begin_page)


def _walk(raw: BinaryIO, at: int, wanted: int) -> list[Page]:
    """Pages from byte `at` on, up to the first one beyond the granule `wanted`."""
    pages: list[Page] = []
    while (page := page_at(raw, at)) is not None:
        pages.append(page)
        at = page.end
        if page.granule > wanted:
            break
    return pages


def _headers(raw: BinaryIO) -> int | None:
    """Where the first page with sound begins: Vorbis' headers are on pages of their own."""
    at, packets = 0, 0
    while packets < _HEADERS:
        page = page_at(raw, at)
        if page is None or page.granule > 0:
            return None
        raw.seek(at)
        head = raw.read(27 + 255)
        if at == 0 and not head[28:].startswith(_VORBIS_MAGIC):
            return None
        packets += sum(length < 255 for length in head[27 : 27 + head[26]])
        at = page.end
    return at if packets == _HEADERS else None


def _ending_a_packet(raw: BinaryIO, at: int, serial: int) -> Page | None:
    """The next page of the stream, from byte `at` on, whose granule tells a place."""
    page = page_after(raw, at)
    while page is not None and page.granule < 0:
        page = page_at(raw, page.end)
    return page if page is not None and page.serial == serial else None


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
    if len(head) < _HEAD or not head.startswith(_PAGE_MAGIC):
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
        place = data.find(_PAGE_MAGIC)
        while place >= 0:
            if (page := _whole(raw, at + place)) is not None:
                return page
            place = data.find(_PAGE_MAGIC, place + 1)
        if len(data) < _LARGEST:
            return None
        at += len(data) - len(_PAGE_MAGIC) + 1


def find_damage(path: Path) -> str | None:
    """What is wrong with an Ogg file, or None. Reads all of it, a page at a time.

    Bytes after the end of all streams are no fault, nor is what other programs put before the first page.
    """
    with path.open("rb") as raw:
        size = raw.seek(0, os.SEEK_END)
        raw.seek(0)
        led = not raw.read(len(_PAGE_MAGIC)).startswith(b"OggS")
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
