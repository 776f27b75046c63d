"""Ogg Vorbis from the middle: a file's headers, and after them its pages from shortly before a place on.

libsndfile's own seeking in Ogg can end up hundreds of samples off (its issue 885). What is spliced here it
reads from front to back, like a stream that somebody tuned in to. Where that begins is told twice, by the
pages' granules and by how much shorter libsndfile finds it than the file; if the two disagree it is not used.

Not for Opus: its decoder hears what came before for up to half a minute.
"""

from __future__ import annotations

import io
import os
from itertools import pairwise
from typing import BinaryIO

from layerprobe.embed.audio.ogg_pages import Page, page_after, page_at

_RUN_UP = 1 << 14  # samples ahead of a place: two of Vorbis' longest blocks
_MAGIC = b"\x01vorbis"
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
        if at == 0 and not head[28:].startswith(_MAGIC):
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
