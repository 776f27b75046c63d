"""MP3 files frame by frame: samples that no header counts, and places where the frames are broken.

Decoders skip what they cannot decode, and all later sound moves forward. MP3 has no checksum of its sound,
so what can be found is what breaks the chain of frames: each header says where the next frame begins.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

from layerprobe.embed.audio.integrity.findings import Findings, file_size, has_zeros_only, read_at

# Layer III: kbit/s by bit rate index, Hz by version and rate index (ISO/IEC 11172-3 and 13818-3).
_KBPS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)
_KBPS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
_RATES = {3: (44_100, 48_000, 32_000, 0), 2: (22_050, 24_000, 16_000, 0), 0: (11_025, 12_000, 8_000, 0)}

_XING_FIELDS = {1: 4, 2: 4, 4: 100, 8: 4}  # bytes of the parts of its header, by flag
_DECODER_DELAY = 529  # samples
_CHAIN = 3  # consecutive frames that do not occur by chance
_UNCOUNTED = 2  # frames that a header may leave out
_MAX_PADDING = 8192  # zeros after the last frame that may be padding, whatever the file's size
_BLOCK = 1 << 16  # bytes searched at a time, and searched for the first frame
_SYNC = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]")  # layer III of each version, with and without a CRC


@dataclass(frozen=True)
class _Frame:
    size: int  # bytes
    samples: int  # per channel
    rate: int  # Hz
    mono: bool

    def continues(self, other: _Frame) -> bool:
        """Both may be of one stream: a decoder stops where the rate or the channels change."""
        return self.rate == other.rate and self.mono == other.mono


def check(raw: BinaryIO) -> Findings:
    """Follow the frames of an MP3 file by their headers, and count its samples where no header does.

    Without a Xing, Info or VBRI header a decoder guesses the length from the first frame's bit rate. Neither
    samples nor damage are known where frames cannot be followed (layers I and II, free bit rate). Tags are no
    damage, nor is what comes before the first frame or after the last.
    """
    size = file_size(raw)
    if (damage := _tag_damage(raw)) is not None:
        return Findings(damage=damage)
    first_at, broken = _first_frame(raw)
    at = first_at
    first = _frame_at(raw, at)
    if first is None:
        return Findings()
    if broken:
        return Findings(damage="damaged: its first frame is broken")
    has_count, declared = _frame_count(read_at(raw, at, 200))
    count = samples = 0
    while at < size:
        frame = _frame_at(raw, at)
        if frame is None or not frame.continues(first):
            if tag := tag_size(raw, at):
                at += tag
                continue
            if not _frames_follow(raw, at, first):
                break  # padding, or what other programs put there
            where = f"about {samples / first.rate:.1f} s from its start (byte {at} of {size})"
            return Findings(damage=f"damaged: MP3 frames are broken {where}")
        if at + frame.size > size:
            return Findings(damage=f"truncated: its last frame lacks {at + frame.size - size} bytes")
        count, samples, at = count + 1, samples + frame.samples, at + frame.size
    if not has_count:
        if size - at > max(_MAX_PADDING, size // 4) and has_zeros_only(raw, at):
            return Findings(damage=f"truncated: its last {size - at} of {size} bytes are zeros")
        return Findings(samples=samples)
    if declared is None:
        declared = count - 1
    else:
        what = f"its header declares {declared} frames, the file has {count - 1}"
        if count < declared:  # some encoders count the frame that holds the header, others do not
            return Findings(damage=f"truncated: {what}")
        if count - 1 - declared > _UNCOUNTED:
            return Findings(damage=f"damaged: {what}")  # joined files: a decoder ends after the first
    begin, end = _padding(read_at(raw, first_at, 200))
    return Findings(samples=max(0, declared * first.samples - begin - end))


def _tag_damage(raw: BinaryIO) -> str | None:
    """Why the length of a tag before the sound is wrong: it would hide frames."""
    at = 0
    while tag := tag_size(raw, at):
        end = at + tag
        if end > file_size(raw):
            return "truncated or damaged: its tag is longer than the file"
        content = read_at(raw, at, tag)
        for match in _SYNC.finditer(content, 10):
            begin = at + match.start()
            frame = _frame_at(raw, begin)
            if frame is None or not _chain_at(raw, begin, frame):
                continue
            while begin < end and (following := _frame_at(raw, begin)) and following.continues(frame):
                begin += following.size
            if begin >= end:
                return f"damaged: its tag of {tag} bytes ends amid the sound"
        at = end
    return None


def is_mp3(raw: BinaryIO) -> bool:
    """A frame is where the first should be, or several in a row begin a little later."""
    return _frame_at(raw, _first_frame(raw)[0]) is not None


def _first_frame(raw: BinaryIO) -> tuple[int, bool]:
    """Where the first frame begins, or should; and whether another one before it is broken."""
    at = 0
    while tag := tag_size(raw, at):
        at += tag
    lead = read_at(raw, at, _BLOCK)
    frame = _parse(lead[:4])
    if frame is not None and _chain_at(raw, at, frame, or_end=True):
        return at, False
    for match in _SYNC.finditer(lead, 1):
        begin = match.start()
        later = _frame_at(raw, at + begin)
        if later is None or not _chain_at(raw, at + begin, later):
            continue
        if frame is not None and frame.continues(later):
            break  # it is the second frame that is broken, or the third
        flipped = int.from_bytes(lead[:2], "big") ^ int.from_bytes(match[0], "big")
        return at + begin, flipped.bit_count() <= 1 or _frame_count(lead[:begin])[0]
    return at, False


def _frame_count(start: bytes) -> tuple[bool, int | None]:
    """Whether the file's first frame holds a header instead of sound, and the frames that it declares."""
    for name in (b"Xing", b"Info"):
        if (at := start.find(name)) >= 0:
            flags, frames = struct.unpack(">II", start[at + 4 : at + 12].ljust(8, b"\0"))
            return True, frames if flags & 1 else None
    if (at := start.find(b"VBRI")) >= 0:
        return True, struct.unpack(">I", start[at + 14 : at + 18].ljust(4, b"\0"))[0]
    return False, None


def _padding(start: bytes) -> tuple[int, int]:
    """Samples that the coder puts before the sound and after it, by LAME's part of the header."""
    at = max(start.find(b"Xing"), start.find(b"Info"))
    if at < 0:
        return 0, 0
    (flags,) = struct.unpack_from(">I", start.ljust(200, b"\0"), at + 4)
    at += 8 + sum(size for bit, size in _XING_FIELDS.items() if flags & bit)
    if start[at : at + 4] not in (b"LAME", b"Lavf", b"Lavc"):
        return 0, 0
    delays = int.from_bytes(start[at + 21 : at + 24], "big")
    return (delays >> 12) + _DECODER_DELAY, max(0, (delays & 0xFFF) - _DECODER_DELAY)


def tag_size(raw: BinaryIO, at: int) -> int:
    """Bytes of the tag (ID3, APE) that begins at byte `at`; 0 where there is none."""
    head = read_at(raw, at, 32)
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


def _frames_follow(raw: BinaryIO, at: int, like: _Frame) -> bool:
    """Frames of this stream follow somewhere after byte `at`, or several of another."""
    while True:
        data = read_at(raw, at, _BLOCK)
        for match in _SYNC.finditer(data):
            begin = at + match.start()
            frame = _frame_at(raw, begin)
            if frame is not None and _chain_at(raw, begin, frame, or_end=frame.continues(like)):
                return True
        if len(data) < _BLOCK:
            return False
        at += len(data) - 1


def _chain_at(raw: BinaryIO, at: int, like: _Frame, *, or_end: bool = False) -> bool:
    """`_CHAIN` frames of this stream begin at byte `at`; with `or_end`, or fewer up to a tag or the end."""
    for _ in range(_CHAIN):
        frame = _frame_at(raw, at)
        if frame is None or not frame.continues(like):
            return False
        at += frame.size
        if or_end and (at == file_size(raw) or tag_size(raw, at)):
            return True
    return True


def _frame_at(raw: BinaryIO, at: int) -> _Frame | None:
    """The layer III frame that begins at byte `at`."""
    return _parse(read_at(raw, at, 4))


@lru_cache(maxsize=1024)  # a file's frames begin with few different bytes
def _parse(head: bytes) -> _Frame | None:
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
