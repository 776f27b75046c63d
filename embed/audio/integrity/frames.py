"""AMR and AAC (ADTS): streams of frames, each of which says where the next begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from layerprobe.embed.audio.integrity.findings import Findings, file_size, is_tag, read_at

AMR_MAGIC = {
    b"#!AMR-WB\n": (17, 23, 32, 36, 40, 46, 50, 58, 60, 5),
    b"#!AMR\n": (12, 13, 15, 17, 19, 20, 26, 31, 5),
}
_NO_DATA = 15  # type of a frame without sound; 14 in AMR-WB is one that was lost
_ADTS_HEAD = 7
_BLOCK = 1 << 20


def check_amr(raw: BinaryIO) -> Findings:
    """Follow the frames of 20 ms of an AMR file."""
    start = read_at(raw, 0, 9)
    magic = next(magic for magic in AMR_MAGIC if start.startswith(magic))
    sizes = AMR_MAGIC[magic]

    def frame(head: bytes) -> int:
        kind = head[0] >> 3 & 15
        if head[0] & 0x83:
            return 0
        if kind < len(sizes):
            return 1 + sizes[kind]
        return 1 if kind == _NO_DATA or (kind == _NO_DATA - 1 and len(sizes) == 10) else 0

    return _follow(raw, len(magic), frame, "AMR")


def check_adts(raw: BinaryIO, begin: int = 0) -> Findings:
    """Follow the frames of an AAC file; begin: byte of its first, after a tag."""
    first = read_at(raw, begin, _ADTS_HEAD)

    def frame(head: bytes) -> int:
        same = len(head) == _ADTS_HEAD and head[0] == 0xFF and head[1] == first[1]
        if not same or head[2] != first[2] or (head[3] ^ first[3]) & 0xC0:
            return 0
        return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5

    return _follow(raw, begin, frame, "AAC")


def is_adts(head: bytes) -> bool:
    """MPEG-2 or 4, layer 0, a known rate and a frame longer than its header."""
    if len(head) < _ADTS_HEAD or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return False
    return ((head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5) > _ADTS_HEAD


def _follow(raw: BinaryIO, at: int, size_of: Callable[[bytes], int], kind: str) -> Findings:
    """size_of: bytes of the frame with this head, 0 where it is none."""
    end = file_size(raw)
    while at < end:
        step = size_of(read_at(raw, at, _ADTS_HEAD))
        if not step:
            if is_tag(raw, at) or not read_at(raw, at, _BLOCK).strip(b"\0"):
                break
            return Findings(damage=f"damaged: {kind} frames are broken at byte {at} of {end}")
        at += step
    if at > end:
        return Findings(damage=f"truncated: its last frame lacks {at - end} bytes")
    return Findings()
