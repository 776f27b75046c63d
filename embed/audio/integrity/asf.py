"""ASF, the container of WMA: objects, each with a length, and the file's size in the first of them."""

from __future__ import annotations

import struct
from typing import BinaryIO

from layerprobe.embed.audio.integrity.findings import Findings, file_size, joined, read_at, truncated

MAGIC = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_BROADCAST = 1  # flag: neither size nor length are known


def check(raw: BinaryIO) -> Findings:
    """Compare the file's size in its header with what it is, and follow its objects."""
    size = file_size(raw)
    start = read_at(raw, 0, 1 << 16)
    at = start.find(_FILE_PROPERTIES)
    if at < 0 or len(start) < at + 92:
        return Findings(damage="truncated or damaged: its header is incomplete")
    (declared,) = struct.unpack_from("<Q", start, at + 40)
    (flags,) = struct.unpack_from("<I", start, at + 88)
    if flags & _BROADCAST:
        return Findings()
    if declared > size:
        return truncated(declared - size)
    at = 0
    while at < (declared or size) and len(head := read_at(raw, at, 24)) == 24:
        (length,) = struct.unpack_from("<Q", head, 16)
        if length < 24:
            return Findings(damage=f"damaged: no object at byte {at} of {size}")
        at += length
    if at > size:
        return truncated(at - size)
    return joined("WMA files") if read_at(raw, at, len(MAGIC)) == MAGIC else Findings()
