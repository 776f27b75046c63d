"""What libsndfile does not tell about a file's length: bytes that are missing, MP3 frames nobody counted."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

_OGG_PAGE = 65_307  # bytes of the largest Ogg page (RFC 3533)

# MPEG audio, layer III: kbit/s by bitrate index, Hz by version and rate index (ISO/IEC 11172-3 and 13818-3).
_KBPS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)
_KBPS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
_RATES = {3: (44_100, 48_000, 32_000, 0), 2: (22_050, 24_000, 16_000, 0), 0: (11_025, 12_000, 8_000, 0)}


def missing_bytes(path: Path) -> int:
    """Bytes that a WAV file's data chunk or an Ogg file's last page has lost to a cut-off file; 0 if none.

    libsndfile reads what is left of such a file as though it were the whole.
    """
    with path.open("rb") as raw:
        start = raw.read(12)
        if start[:4] == b"RIFF" and start[8:] == b"WAVE":
            end = _riff_end(raw)
        elif start[:4] == b"OggS":
            end = _ogg_end(raw)
        else:
            return 0
        return max(0, end - raw.seek(0, os.SEEK_END))


def _riff_end(raw: BinaryIO) -> int:
    """Where the data chunk ends by its own account; 0 where there is none, or none of known length.

    What writes to a pipe cannot come back to fill the length in: ffmpeg then leaves all bits set, SoX its
    largest round number.
    """
    at = 12
    while len(head := raw.read(8)) == 8:
        name, length = struct.unpack("<4sI", head)
        if name == b"data":
            return 0 if length in (0xFFFFFFFF, 0x7FFFF000) else at + 8 + length
        at = raw.seek(at + 8 + length + length % 2)
    return 0


def _ogg_end(raw: BinaryIO) -> int:
    """Where the last page ends by its own account."""
    size = raw.seek(0, os.SEEK_END)
    begin = raw.seek(max(0, size - _OGG_PAGE))
    tail = raw.read()
    at = max(0, tail.rfind(b"OggS"))
    header = tail[at : at + 27]
    if len(header) < 27:
        return begin + at + 27
    lengths = tail[at + 27 : at + 27 + header[26]]
    return begin + at + 27 + header[26] + sum(lengths)


def uncounted_mp3_samples(path: Path) -> int | None:
    """Samples per channel of an MP3 file without a Xing, Info or VBRI header, counted frame by frame.

    For such a file libsndfile guesses the length from the first frame's bit rate. None where the file has
    such a header, or where its frames cannot be followed (layers I and II, free bit rate).
    """
    with path.open("rb") as raw:
        start = raw.read(10)
        at = 0
        if start[:3] == b"ID3":
            a, b, c, d = start[6:]
            at = 10 + (a << 21 | b << 14 | c << 7 | d)
        raw.seek(at)
        first = raw.read(200)
        if any(tag in first for tag in (b"Xing", b"Info", b"VBRI")):
            return None
        raw.seek(at)
        total = 0
        while frame := _mp3_frame(raw.read(4)):
            length, samples = frame
            raw.seek(length - 4, os.SEEK_CUR)
            total += samples
    return total or None


def _mp3_frame(head: bytes) -> tuple[int, int] | None:
    """Bytes and samples per channel of the layer III frame with these first four bytes."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version = head[1] >> 3 & 3
    kbps = (_KBPS_1 if version == 3 else _KBPS_2)[head[2] >> 4]
    rate = _RATES.get(version, (0, 0, 0, 0))[head[2] >> 2 & 3]
    if not kbps or not rate:
        return None
    samples = 1152 if version == 3 else 576
    return samples // 8 * kbps * 1000 // rate + (head[2] >> 1 & 1), samples
