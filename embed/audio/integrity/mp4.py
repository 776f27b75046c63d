"""MP4, M4A, MOV and 3GP: boxes, of which one indexes the sound (ISO/IEC 14496-12)."""

from __future__ import annotations

import struct
from typing import BinaryIO

from layerprobe.embed.audio.integrity.findings import Findings, file_size, joined, read_at, truncated

_INDEX = b"moov"
_FIRST = b"ftyp"


def check(raw: BinaryIO) -> Findings:
    """Follow the boxes at the top level."""
    at, size, names = 0, file_size(raw), set()
    while at < size:
        head = read_at(raw, at, 16)
        if len(head) < 8:
            break
        length, name = struct.unpack_from(">I4s", head)
        if not (name.isascii() and name.decode().isprintable()):
            if _INDEX in names and b"mdat" in names:
                break  # what other programs put after the last box
            return Findings(damage=f"damaged: no box at byte {at} of {size}")
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack_from(">Q", head, 8)
        elif length == 0:
            length = size - at  # the rest of the file
        if length < 8:
            return Findings(damage=f"damaged: no box at byte {at} of {size}")
        if name in names and name in (_FIRST, _INDEX):
            return joined("MP4 files")
        names.add(name)
        at += length
    if at > size:
        return truncated(at - size)
    if _INDEX not in names:
        return Findings(damage="truncated: its index (box moov) is missing, which is written last")
    return Findings()
