"""Workarounds for libsndfile: reading without seeking, WAV without lengths, Ogg Vorbis from the middle."""

from __future__ import annotations

import io
import os
import struct
from typing import BinaryIO

import soundfile

from layerprobe.embed.audio.ogg import HEADER, MAX_TABLE, Page, page_after, page_at
from layerprobe.embed.audio.wav import find_data

_MAX_WAV_LENGTH = 0xFFFFFFFE  # bytes

_RUN_UP = 1 << 14  # samples decoded ahead of a position: two of Vorbis' longest blocks
_VORBIS_MAGIC = b"\x01vorbis"
_VORBIS_HEADERS = 3  # packets
_NEAR = 1 << 17  # bytes that bisection leaves to be searched page by page


class ForwardSoundFile(soundfile.SoundFile):
    """A sound file that is read strictly forwards, without seeking.

    After each read of a seekable file, soundfile seeks to where the read has just ended. In MP3 that drops
    the bits that the next frame borrows from earlier ones, so that reading in blocks differs from reading at
    once by up to full scale; in FLAC it costs a search.
    """

    def seekable(self) -> bool:
        return False


class SplicedFile(io.RawIOBase):
    """A seekable file of the bytes `head`, followed by those of `raw` from byte `rest` on."""

    def __init__(self, raw: BinaryIO, head: bytes, rest: int) -> None:
        self._raw, self._head, self._rest = raw, head, rest
        self._size = len(head) + raw.seek(0, os.SEEK_END) - rest
        self._at = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        wanted = len(buffer)
        data = self._head[self._at : self._at + wanted]
        if len(data) < wanted:
            self._raw.seek(self._rest + self._at + len(data) - len(self._head))
            data += self._raw.read(wanted - len(data))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def with_wav_lengths(raw: BinaryIO) -> SplicedFile | None:
    """A WAV file whose recorder was cut off before it wrote the lengths, with these filled in.

    libsndfile reads such a file as empty; players play it to its end. None for any other file, also for an
    empty one with lengths: if other chunks follow its samples, its first length counts them. Moves `raw`.
    """
    data = find_data(raw)
    size = raw.seek(0, os.SEEK_END)
    if data is None or data[1] or data[0] == size:
        return None
    begin, _ = data
    raw.seek(0)
    head = bytearray(raw.read(begin))
    declared_end = 8 + struct.unpack_from("<I", head, 4)[0]
    if begin < declared_end <= size:
        return None
    for at, length in ((4, size - 8), (begin - 4, size - begin)):
        struct.pack_into("<I", head, at, min(length, _MAX_WAV_LENGTH))
    return SplicedFile(raw, bytes(head), begin)


class VorbisTail(SplicedFile):
    """The headers `head` of an Ogg Vorbis file and its pages from `first` on, which follows `before`."""

    def __init__(self, raw: BinaryIO, head: bytes, before: Page, first: Page) -> None:
        super().__init__(raw, head, first.begin)
        self._before, self._first = before, first

    def first_sample(self, missing: int) -> int | None:
        """The position in the complete file of the first sample decoded; None where it is in doubt.

        missing: by how many samples libsndfile finds this shorter than the complete file. They are those up
        to the first page, and what its first packet would have completed: half of two blocks' halves, which
        are short or long. Where the page begins within a packet, that packet is lost as well. So the position
        is known twice; where the two disagree it is in doubt.
        """
        short, long = (1 << power for power in (self._head[56] & 15, self._head[56] >> 4))
        blocks = {short // 2, (short + long) // 4, long // 2}
        lost = {a + b for a in blocks for b in blocks} if self._first.continued else blocks
        return missing if missing - self._before.granule in lost else None


def vorbis_tail(raw: BinaryIO, sample: int) -> VorbisTail | None:
    """What is needed of an Ogg Vorbis file to decode it from shortly before `sample` on.

    libsndfile's own seeking in Ogg can be hundreds of samples off (its issue 885); this it decodes from front
    to back. None near the file's start, and for files that are not a single Vorbis stream from their first
    page to their last. Not for Opus, whose decoder depends on up to half a minute of sound before.
    """
    first, headers_end = page_at(raw, 0), _end_of_headers(raw)
    if first is None or headers_end is None:
        return None
    wanted = sample - _RUN_UP
    low, high = headers_end, raw.seek(0, os.SEEK_END)
    before: Page | None = None
    while high - low > _NEAR:
        middle = (low + high) // 2
        page = page_after(raw, middle)
        while page is not None and page.granule < 0:
            page = page_at(raw, page.end)
        if page is None or page.stream != first.stream:
            return None
        if page.granule <= wanted:
            low, before = page.end, page
        else:
            high = middle
    page = start = page_at(raw, low)
    while page is not None and page.stream == first.stream and page.granule <= wanted:
        following = page_at(raw, page.end)
        if page.granule > 0 and following is not None:
            before, start = page, following
        page = following
    if before is None or start is None or (page is not None and page.stream != first.stream):
        return None
    if page_at(raw, start.end) is None:
        return None  # libsndfile does not cut a last page alone to the stream's length
    raw.seek(0)
    return VorbisTail(raw, raw.read(headers_end), before, start)


def _end_of_headers(raw: BinaryIO) -> int | None:
    """Where the first page with sound begins: Vorbis' headers are on pages of their own."""
    at, packets = 0, 0
    while packets < _VORBIS_HEADERS:
        page = page_at(raw, at)
        if page is None or page.granule > 0:
            return None
        raw.seek(at)
        head = raw.read(HEADER + MAX_TABLE)
        if at == 0 and not head[28:].startswith(_VORBIS_MAGIC):
            return None
        packets += sum(length < 255 for length in head[HEADER : HEADER + head[26]])
        at = page.end
    return at if packets == _VORBIS_HEADERS else None
