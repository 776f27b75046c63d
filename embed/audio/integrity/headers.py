"""Formats whose header says how much sound follows: AU, NIST SPHERE, VOC, AVR, MPC, WVE, MATLAB's."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import BinaryIO

from layerprobe.embed.audio.integrity.findings import (
    Findings,
    file_size,
    has_zeros_only,
    is_tag,
    read_at,
    truncated,
)

_OPEN = 0xFFFFFFFF
_STRAY = 64  # bytes after the sound that are too few to be lost sound
_MAX_SPHERE_HEADER = 1 << 16
_SPHERE_BLOCK = 1_024
# Bytes of a MATLAB 4 number by the tens digit of its matrix's type.
_MAT4_BYTES = {0: 8, 1: 4, 2: 4, 3: 2, 4: 2, 5: 1}
_MAT5_BEGIN = 128


class _DamagedHeaderError(Exception):
    """A header that contradicts itself, in words for a message."""


def check(raw: BinaryIO, find_end: Callable[[BinaryIO], int | None]) -> Findings:
    """Compare the end of the sound by the header with the file's. find_end: one of the functions below."""
    try:
        end = find_end(raw)
    except _DamagedHeaderError as error:
        return Findings(damage=str(error))
    except (struct.error, ValueError):
        return Findings()  # not even a header: libsndfile says what is wrong
    size = file_size(raw)
    if end is None:
        return Findings()
    if end > size:
        return truncated(end - size)
    if (
        size - end >= _STRAY
        and find_end in (au_end, nist_end)
        and not is_tag(raw, end)
        and not has_zeros_only(raw, end)
    ):
        what = f"its header declares {end} bytes, and {size - end} bytes follow"
        return Findings(damage=f"damaged: {what}")
    return Findings()


def au_end(raw: BinaryIO) -> int | None:
    """Sun and NeXT; a length of all ones stands for the rest of the file."""
    head = read_at(raw, 0, 12)
    begin, length = struct.unpack_from(">4xII" if head.startswith(b".snd") else "<4xII", head)
    return None if length == _OPEN else begin + length


def nist_end(raw: BinaryIO) -> int | None:
    """SPHERE (LDC): a header of text lines in blocks of 1,024 bytes. Compressed sound is as long as it is."""
    length = read_at(raw, 8, 8).decode("latin-1").strip()
    begin = int(length) if length.isascii() and length.isdecimal() else 0
    head = read_at(raw, 0, min(begin, _MAX_SPHERE_HEADER)).decode("latin-1")
    if begin % _SPHERE_BLOCK or "end_head" not in head:
        raise _DamagedHeaderError(f"damaged: its header does not end where it says ({length} bytes)")
    if re.search(r"^sample_coding .*embedded-", head, re.MULTILINE):
        return None
    counts = dict(re.findall(r"^(\w+) -i (\d+)", head, re.MULTILINE))
    if "sample_count" not in counts:
        return None
    samples = int(counts["sample_count"]) * int(counts.get("channel_count", 1))
    is_companded = re.search(r"^sample_coding -s\d+ (a-?law|u-?law|mu-?law)", head, re.MULTILINE)
    return begin + samples * (1 if is_companded else int(counts.get("sample_n_bytes", 2)))


def voc_end(raw: BinaryIO) -> int | None:
    """Creative Voice: blocks, each with a length; a block of type 0 ends the file, or the file ends itself.

    libsndfile writes the length of 16-bit sound 8 bytes too short.
    """
    size = file_size(raw)
    (at,) = struct.unpack_from("<H", read_at(raw, 20, 2))
    while size - at > _STRAY // 4 and (head := read_at(raw, at, 4))[0] in range(1, 10):
        at += 4 + int.from_bytes(head[1:], "little")
    return int(at)


def avr_end(raw: BinaryIO) -> int | None:
    stereo, bits, samples = struct.unpack(">Hh10xI", read_at(raw, 12, 18))
    return int(128 + samples * (2 if stereo else 1) * -(-bits // 8))


def mpc_end(raw: BinaryIO) -> int | None:
    """Akai MPC 2000."""
    stereo, samples = struct.unpack("<B8xI", read_at(raw, 21, 13))
    return int(42 + samples * 2 * (2 if stereo else 1))


def wve_end(raw: BinaryIO) -> int | None:
    """Psion."""
    return 32 + int(struct.unpack(">I", read_at(raw, 18, 4))[0])


def mat4_end(raw: BinaryIO) -> int | None:
    """MATLAB 4: matrices, each of a type, rows, columns, an imaginary part, a name and numbers."""
    at, size = 0, file_size(raw)
    order = "<" if read_at(raw, 0, 2) == b"\0\0" else ">"
    while at < size:
        kind, rows, columns, _, name = struct.unpack(order + "5I", read_at(raw, at, 20))
        at += 20 + name + rows * columns * _MAT4_BYTES.get(kind // 10 % 10, 0)
    return at


def mat5_end(raw: BinaryIO) -> int | None:
    """MATLAB 5: elements of a type and a length, both of 4 bytes.

    libsndfile writes a last length that is 8 bytes too long.
    """
    at, size = _MAT5_BEGIN, file_size(raw)
    order = "<" if read_at(raw, 126, 2) == b"IM" else ">"
    while at < size:
        at += 8 + struct.unpack(order + "4xI", read_at(raw, at, 8))[0]
        at += -at % 8 if at < size else 0
    return size if at - size <= 8 else at
