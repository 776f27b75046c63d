"""Files of big-endian chunks: AIFF, AIFC, 8SVX and 16SV (Amiga), and Apple's CAF with 64-bit lengths."""

from __future__ import annotations

import struct
from typing import BinaryIO

from layerprobe.embed.audio.integrity.findings import (
    Findings,
    file_size,
    is_unknown_length,
    joined,
    read_at,
    sound_follows,
    truncated,
)

_CHUNK = struct.Struct(">4sI")
_CAF_CHUNK = struct.Struct(">4sq")
_SSND_HEAD = 8  # bytes of offset and block size before AIFF's samples


def check(raw: BinaryIO) -> Findings:
    """Compare the length of an AIFF or SVX file's sound with what the file holds."""
    size, at, declared = file_size(raw), 12, None
    while len(head := read_at(raw, at, 8)) == 8:
        name, length = _CHUNK.unpack(head)
        if name == b"COMM":
            declared = _frame_bytes(raw.read(22))
        if name in (b"SSND", b"BODY"):
            return _check_sound(raw, at + 8, length, size, declared, head=_SSND_HEAD * (name == b"SSND"))
        at += 8 + length + length % 2
    return truncated(at - size) if at > size else Findings()


def _check_sound(
    raw: BinaryIO, begin: int, length: int, size: int, declared: int | None, *, head: int
) -> Findings:
    if is_unknown_length(length, begin):
        return Findings()  # libsndfile reads such a file to its end
    end = begin + length
    if end > size:
        return truncated(end - size)
    if length <= head and size > end + 8:
        return Findings(damage="truncated: its recorder was cut off before it wrote the length")
    if read_at(raw, end + length % 2, 4) == b"FORM":
        return joined("AIFF files")
    if sound_follows(raw, end, _CHUNK):
        what = f"its header declares {length} bytes of sound, and {size - end} bytes follow that are no chunk"
        return Findings(damage=f"damaged: {what}")
    if declared is not None and declared != length - head and abs(declared - (length - head)) > 8:
        what = f"one length in its header is {declared} bytes of sound, another {length - head}"
        return Findings(damage=f"damaged: {what}")
    return Findings()


def _frame_bytes(comm: bytes) -> int | None:
    """Bytes of sound by an AIFF file's common chunk, where its samples are PCM."""
    if len(comm) < 18:
        return None
    channels, frames, bits = struct.unpack_from(">HIH", comm)
    is_pcm = comm[18:22] in (b"", b"NONE", b"sowt", b"twos", b"SSND")
    return channels * frames * -(-bits // 8) if is_pcm and frames else None


def check_caf(raw: BinaryIO) -> Findings:
    """Compare the length of a CAF file's sound with what the file holds; -1 is the rest of the file."""
    size, at = file_size(raw), 8
    while len(head := read_at(raw, at, _CAF_CHUNK.size)) == _CAF_CHUNK.size:
        name, length = _CAF_CHUNK.unpack(head)
        at += _CAF_CHUNK.size
        if name == b"data" and length == -1:
            return Findings()
        if length < 0 or at + length > size:
            return (
                truncated(at + length - size) if length >= 0 else Findings(damage="damaged: a chunk's length")
            )
        at += length
        if name == b"data":
            if sound_follows(raw, at, _CAF_CHUNK, align=1):
                what = f"its header declares {length} bytes of sound, and {size - at} bytes follow"
                return Findings(damage=f"damaged: {what} that are no chunk")
            return Findings()
    return truncated(_CAF_CHUNK.size - len(head)) if head else Findings()
