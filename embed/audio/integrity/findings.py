"""What a check of a file's container reports, and what the checks share."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from struct import Struct
from typing import BinaryIO

_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")
_STRAY = 16  # bytes after the sound that are too few to be any
_BLOCK = 1 << 20
# Lengths written by programs that could not return to fill them in: ffmpeg, arecord, GStreamer, SoX (WAV,
# AIFF).
_UNKNOWN_LENGTHS = (0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 0x7FFF0000, 0x7FFFF000, 0x7F000000)


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What is known of a file.

    damage: what is wrong with it. samples: per channel, where its frames count them. sound: the bytes (begin,
    end) with sound, where the file's own lengths do not say so.
    """

    damage: str | None = None
    samples: int | None = None
    sound: tuple[int, int] | None = None


def file_size(raw: BinaryIO) -> int:
    return raw.seek(0, os.SEEK_END)


def read_at(raw: BinaryIO, at: int, count: int) -> bytes:
    """Up to `count` bytes from byte `at` on, which a damaged length may put beyond any file."""
    if at > sys.maxsize:
        return b""
    raw.seek(at)
    return raw.read(count)


def truncated(missing: int) -> Findings:
    return Findings(damage=f"truncated: its header declares {missing} more bytes than the file has")


def is_unknown_length(length: int, header: int) -> bool:
    """A 32-bit length that stands for "unknown": one of these values, some less the bytes of the header.

    header: bytes up to the sound. 16 bytes more allow for rounding to complete samples of all channels.
    """
    return any(0 <= unknown - length <= header + 16 for unknown in _UNKNOWN_LENGTHS)


def joined(what: str) -> Findings:
    return Findings(damage=f"damaged: several {what} are joined in it, of which only the first can be read")


def is_tag(raw: BinaryIO, at: int) -> bool:
    return read_at(raw, at, 16).startswith(_TAGS)


def has_zeros_only(raw: BinaryIO, at: int) -> bool:
    """Nothing but zeros follows byte `at`."""
    raw.seek(at)
    while block := raw.read(_BLOCK):
        if block.count(0) < len(block):
            return False
    return True


def sound_follows(raw: BinaryIO, at: int, chunk: Struct, *, align: int = 2) -> bool:
    """What follows byte `at`, where the sound should end, is neither chunks, a tag, zeros nor stray bytes.

    chunk: name and length at the head of a chunk.
    """
    size = file_size(raw)
    if size - at < _STRAY or is_tag(raw, at):
        return False
    for begin in {at, at - at % align + (align if at % align else 0)}:
        head = read_at(raw, begin, chunk.size)
        if len(head) == chunk.size:
            name, length = chunk.unpack(head)
            if name.isascii() and name.decode().isprintable() and 0 <= length <= size - begin - chunk.size:
                return False
    return not has_zeros_only(raw, at)
