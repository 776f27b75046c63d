"""MP3 files frame by frame: samples that nobody counted, and places where frames are broken.

libsndfile passes over what it cannot decode, and all later sound moves forward. MP3 has no checksum of its
sound, so what is found is what breaks the chain of frames: each tells in its header where the next begins.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

# Layer III: kbit/s by bitrate index, Hz by version and rate index (ISO/IEC 11172-3 and 13818-3).
_KBPS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)
_KBPS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
_RATES = {3: (44_100, 48_000, 32_000, 0), 2: (22_050, 24_000, 16_000, 0), 0: (11_025, 12_000, 8_000, 0)}

_CHAIN = 3  # frames in a row that no accident makes
_LEAD = 1 << 16  # bytes searched for the first frame
_BLOCK = 1 << 16  # bytes searched at a time
_ANY = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]")  # layer III of each version, with and without a CRC


@dataclass(frozen=True)
class _Frame:
    """size: bytes. samples: per channel. A decoder stops where rate or channels change."""

    size: int
    samples: int
    rate: int
    mono: bool

    def fits(self, other: _Frame) -> bool:
        """Both may be of one stream."""
        return self.rate == other.rate and self.mono == other.mono


@dataclass(frozen=True)
class Mp3Scan:
    """samples: per channel, if no header counts them for libsndfile. fault: what is wrong, in words."""

    samples: int | None
    fault: str | None


def scan_frames(path: Path) -> Mp3Scan:
    """Follow all frames of an MP3 file. Reads their headers alone, however long it is.

    Where a file has no Xing, Info or VBRI header, libsndfile guesses its length from the first frame's bit
    rate. Neither samples nor a fault are told where frames cannot be followed (layers I and II, free bit
    rate). Tags are no fault, nor is what comes before the first frame or after the last.
    """
    with path.open("rb", buffering=_BLOCK) as raw:
        size = raw.seek(0, os.SEEK_END)
        at, broken = _start(raw)
        first = _frame(raw, at)
        if first is None:
            return Mp3Scan(None, None)
        if broken:
            return Mp3Scan(None, "damaged: its first frame is broken")
        raw.seek(at)
        counted, told = _counted(raw.read(200))
        count = samples = 0
        while at < size:
            frame = _frame(raw, at)
            if frame is None or not frame.fits(first):
                if tag := _tag(raw, at):
                    at += tag
                    continue
                if not _goes_on(raw, at, first):
                    break  # padding, or what other programs put there
                place = f"about {samples / first.rate:.1f} s from its start (byte {at} of {size})"
                return Mp3Scan(None, f"damaged: frames of MP3 are broken {place}")
            if at + frame.size > size:
                return Mp3Scan(None, f"truncated: its last frame lacks {at + frame.size - size} bytes")
            count, samples, at = count + 1, samples + frame.samples, at + frame.size
    if not counted:
        return Mp3Scan(samples, None)
    # Some encoders count the frame that holds the header, others do not.
    if told is not None and count < told:
        return Mp3Scan(None, f"truncated: its header tells of {told} frames, {count - 1} are there")
    # Files that were joined without a new header: libsndfile hears the first of them alone.
    if told is not None and (count - 1 - told) * first.samples > first.rate:
        return Mp3Scan(None, f"damaged: its header tells of {told} frames, {count - 1} are there")
    return Mp3Scan(None, None)


def _start(raw: BinaryIO) -> tuple[int, bool]:
    """Where the first frame begins, or should; and whether another one before it is broken."""
    at = 0
    while tag := _tag(raw, at):
        at += tag
    raw.seek(at)
    lead = raw.read(_LEAD)
    frame = _parsed(lead[:4])
    if frame is not None and _chained(raw, at, frame, to_end=True):
        return at, False
    for place in _ANY.finditer(lead, 1):
        begin = place.start()
        later = _frame(raw, at + begin)
        if later is None or not _chained(raw, at + begin, later):
            continue
        if frame is not None and frame.fits(later):
            break  # it is the second frame that is broken, or the third
        flipped = int.from_bytes(lead[:2], "big") ^ int.from_bytes(place[0], "big")
        return at + begin, flipped.bit_count() <= 1 or _counted(lead[:begin])[0]
    return at, False


def _counted(start: bytes) -> tuple[bool, int | None]:
    """Whether the file's first frame holds a header instead of sound, and how many frames it tells of."""
    for name in (b"Xing", b"Info"):
        if (at := start.find(name)) >= 0:
            flags, frames = struct.unpack(">II", start[at + 4 : at + 12].ljust(8, b"\0"))
            return True, frames if flags & 1 else None
    if (at := start.find(b"VBRI")) >= 0:
        return True, struct.unpack(">I", start[at + 14 : at + 18].ljust(4, b"\0"))[0]
    return False, None


def _tag(raw: BinaryIO, at: int) -> int:
    """Bytes of the tag (ID3, APE) that begins at byte `at`; 0 where there is none."""
    raw.seek(at)
    head = raw.read(32)
    if head.startswith(b"TAG"):
        return 128
    if head.startswith(b"ID3") and len(head) >= 10:
        a, b, c, d = head[6:10]
        footer = 10 if head[5] & 0x10 else 0
        return 10 + (a << 21 | b << 14 | c << 7 | d) + footer
    if head.startswith(b"APETAGEX") and len(head) == 32:
        size, _, flags = struct.unpack("<III", head[12:24])
        return 32 + size if flags & 1 << 29 else 32  # its header, or its footer alone
    return 0


def _goes_on(raw: BinaryIO, at: int, like: _Frame) -> bool:
    """Frames of this kind follow somewhere after byte `at`, or several of another."""
    while True:
        raw.seek(at)
        data = raw.read(_BLOCK)
        for place in _ANY.finditer(data):
            frame = _frame(raw, at + place.start())
            if frame is not None and _chained(raw, at + place.start(), frame, to_end=frame.fits(like)):
                return True
        if len(data) < _BLOCK:
            return False
        at += len(data) - 1


def _chained(raw: BinaryIO, at: int, like: _Frame, *, to_end: bool = False) -> bool:
    """Several frames of this kind begin at byte `at`; with `to_end`, fewer up to the file's end or a tag."""
    for _ in range(_CHAIN):
        frame = _frame(raw, at)
        if frame is None or not frame.fits(like):
            return False
        at += frame.size
        if to_end and (at == os.fstat(raw.fileno()).st_size or _tag(raw, at)):
            return True
    return True


def _frame(raw: BinaryIO, at: int) -> _Frame | None:
    """The layer III frame that begins at byte `at`."""
    raw.seek(at)
    return _parsed(raw.read(4))


@lru_cache(maxsize=1024)  # a file's frames begin with few different bytes
def _parsed(head: bytes) -> _Frame | None:
    """The frame with these first four bytes."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version = head[1] >> 3 & 3
    kbps = (_KBPS_1 if version == 3 else _KBPS_2)[head[2] >> 4]
    rate = _RATES.get(version, (0, 0, 0, 0))[head[2] >> 2 & 3]
    if not kbps or not rate:
        return None
    samples = 1152 if version == 3 else 576
    size = samples // 8 * kbps * 1000 // rate + (head[2] >> 1 & 1)
    return _Frame(size, samples, rate, head[3] >> 6 == 3)
