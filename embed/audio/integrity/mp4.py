"""MP4, M4A, MOV and 3GP: boxes, of which one indexes the sound (ISO/IEC 14496-12)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from layerprobe.embed.audio.integrity.findings import Findings, file_size, joined, read_at, truncated

_INDEX = b"moov"
_FIRST = b"ftyp"
# Boxes that a box of the index must contain; without one of them, players guess.
_PARTS = {
    b"trak": (b"mdia",),
    b"mdia": (b"mdhd", b"hdlr", b"minf"),
    b"minf": (b"stbl",),
    b"stbl": (b"stsd", b"stts", b"stsc"),
}


class _NoBoxError(Exception):
    """What is no box. at: its byte."""

    def __init__(self, at: int) -> None:
        self.at = at


def check(raw: BinaryIO) -> Findings:
    """Follow the boxes at the top level, and those of the index that say when which sound is played."""
    size, end, names = file_size(raw), 0, set[bytes]()
    try:
        for name, at, end in _boxes(raw, 0, size):
            if name in names and name in (_FIRST, _INDEX):
                return joined("MP4 files")
            names.add(name)
            if name == _INDEX and end <= size and (missing := _missing(raw, at, end)):
                return Findings(damage=f"damaged: its index lacks the box {missing}")
    except _NoBoxError as error:
        # What other programs put after the last box is no damage.
        if not (error.at == end and {_INDEX, b"mdat"} <= names):
            return Findings(damage=f"damaged: no box at byte {error.at} of {size}")
    if end > size:
        return truncated(end - size)
    if _INDEX not in names:
        return Findings(damage="truncated: its index (box moov) is missing, which is written last")
    return Findings()


def _boxes(raw: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, begin of the content and end of each box from byte `at` to `end`."""
    while at < end:
        head = read_at(raw, at, 16)
        if len(head) < 8 or end - at < 8:
            return
        length, name = struct.unpack_from(">I4s", head)
        begin = at + 8
        if not (name.isascii() and name.decode().isprintable()):
            raise _NoBoxError(at)
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack_from(">Q", head, 8)
            begin += 8
        elif length == 0:
            length = end - at  # the rest
        if length < begin - at:
            raise _NoBoxError(at)
        yield name, begin, at + length
        at += length


def _missing(raw: BinaryIO, at: int, end: int) -> str | None:
    """The name of a box that the tracks of an index lack. Raises _NoBoxError."""
    for name, begin, stop in _boxes(raw, at, end):
        if name not in _PARTS:
            continue
        if stop > end:
            raise _NoBoxError(begin)
        inside = {part for part, _, _ in _boxes(raw, begin, stop)}
        for part in _PARTS[name]:
            if part not in inside:
                return part.decode()
        if (missing := _missing(raw, begin, stop)) is not None:
            return missing
    return None
