"""FLAC: what the header declares, and where the last frame ends (RFC 9639).

A damaged frame has a wrong checksum, which libFLAC reports when it decodes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO

from layerprobe.embed.audio.integrity.findings import Findings, file_size, joined, read_at

_MAGIC = b"fLaC"
_STREAM = b"fLaC\0\0\0\x22"  # and the head of the first metadata block, which also begins a second file
_LAST_STREAM = b"fLaC\x80\0\0\x22"  # where that block is the only one
_SYNC = re.compile(rb"\xff[\xf8\xf9]")
_MAX_HEADER = 16  # bytes of a frame's header
_NEAR = 1 << 18  # bytes from the end that hold a frame's beginning, even of eight channels of noise
_FAR = 1 << 24
_BLOCK = 1 << 22
_SIZES = {
    1: 192,
    **{code: 576 << code - 2 for code in range(2, 6)},
    **{c: 256 << c - 8 for c in range(8, 16)},
}


@dataclass(frozen=True)
class _Frame:
    variable: bool  # block size; then `number` counts samples, else frames
    format: bytes  # codes of rate and sample size, the same in all frames
    number: int
    samples: int


def check(raw: BinaryIO, begin: int = 0) -> Findings:
    """Compare the number of samples in the header with the file's last frame.

    begin: byte of the stream's start, after a tag. What a damaged header may claim is thus never believed.
    """
    size, sound = file_size(raw), _end_of_metadata(raw, begin)
    info = read_at(raw, begin + 8, 34)
    if sound is None or len(info) < 34:
        return Findings()  # libsndfile says what is wrong
    if sound > size:
        return Findings(damage=f"truncated: its header declares {sound - size} more bytes than the file has")
    if _second_stream(raw, sound):
        return joined("FLAC files")
    declared = int.from_bytes(info[13:18], "big") & (1 << 36) - 1
    first = _parse(read_at(raw, sound, _MAX_HEADER), 0)
    end = None if first is None else _last_sample(raw, sound, size, first)
    if end is None:
        return Findings(damage="truncated or damaged: it has no FLAC frame that can be read")
    if declared > end:
        return Findings(
            damage=f"truncated: its header declares {declared} samples, its last frame ends at {end}"
        )
    if declared and declared < end:
        return Findings(damage=f"damaged: its header declares {declared} samples, its frames hold {end}")
    return Findings(samples=end)


def _end_of_metadata(raw: BinaryIO, begin: int) -> int | None:
    """The first byte after the blocks of metadata."""
    at, is_last = begin + len(_MAGIC), False
    while not is_last:
        head = read_at(raw, at, 4)
        if len(head) < 4:
            return None
        is_last = bool(head[0] & 0x80)
        at += 4 + int.from_bytes(head[1:], "big")
    return at


def _second_stream(raw: BinaryIO, at: int) -> bool:
    overlap = len(_STREAM) - 1
    raw.seek(at)
    end = b""
    while block := raw.read(_BLOCK):
        data = end + block
        if _STREAM in data or _LAST_STREAM in data:
            return True
        end = data[-overlap:]
    return False


def _last_sample(raw: BinaryIO, begin: int, size: int, first: _Frame) -> int | None:
    """The sample after the last one, by the last frame's header."""
    for reach in (_NEAR, _FAR):
        start = max(begin, size - reach)
        data = read_at(raw, start, size - start)
        for match in reversed(list(_SYNC.finditer(data))):
            frame = _parse(data, match.start())
            if frame is None or (frame.variable, frame.format) != (first.variable, first.format):
                continue
            return frame.samples + frame.number * (1 if frame.variable else first.samples)
        if start == begin:
            return None
    return None


def _parse(data: bytes, at: int) -> _Frame | None:
    """The header of a frame, if its checksum is right."""
    head = data[at : at + _MAX_HEADER]
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    number, used = _coded_number(head[4:])
    if number is None:
        return None
    at, size_code, rate_code = 4 + used, head[2] >> 4, head[2] & 15
    samples = _SIZES.get(size_code, 0)
    if size_code in (6, 7):
        samples = 1 + int.from_bytes(head[at : at + size_code - 5], "big")
        at += size_code - 5
    at += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if not samples or rate_code == 15 or len(head) <= at or _crc8(head[:at]) != head[at]:
        return None
    return _Frame(bool(head[1] & 1), bytes([rate_code, head[3] & 0x0E]), number, samples)


def _coded_number(data: bytes) -> tuple[int | None, int]:
    """A number coded like a character of UTF-8, of up to 36 bits, and its bytes."""
    lead = data[0]
    count = 8 - (lead ^ 0xFF).bit_length() if lead & 0x80 else 1
    if count > 7 or (count == 1 and lead & 0x80) or len(data) < count:
        return None, 0
    number = lead & (0x7F >> count if count > 1 else 0x7F)
    for byte in data[1:count]:
        if byte & 0xC0 != 0x80:
            return None, 0
        number = number << 6 | byte & 0x3F
    return number, count


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = _CRC8[crc ^ byte]
    return crc


def _crc8_table() -> bytes:
    table = bytearray()
    for crc in range(256):
        for _ in range(8):
            crc = (crc << 1 ^ (0x07 if crc & 0x80 else 0)) & 0xFF
        table.append(crc)
    return bytes(table)


_CRC8 = _crc8_table()
