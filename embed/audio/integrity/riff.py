"""WAV in all its forms: RIFF, RIFX (big-endian), RF64 and BW64 (64-bit lengths), Wave64; and AVI.

libsndfile reads what is left of a truncated file as if it were complete, and of a file whose recorder was cut
off as much as the header counted last.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
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

W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_W64_TAIL = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"  # of all other chunk names
_W64_CHUNK = struct.Struct("<4s12xQ")
_W64_HEAD = 24  # bytes of name and length, which lengths include
_OPEN = 1 << 62  # 64-bit lengths from here on stand for "unknown"
MPEG_LAYER_2, MPEG_LAYER_3 = 0x50, 0x55  # format tags
_EXTENSIBLE = 0xFFFE  # format tag: the real one begins the sub-format


@dataclass(frozen=True, kw_only=True)
class WavHeader:
    """What a WAV file declares.

    kind: RIFF, RIFX, RF64, BW64 or riff (Wave64). begin: first byte of the samples. length: of the samples in
    bytes. end: of the file by its header. tag: format of the samples (1: PCM). sizes: byte of the 64-bit
    lengths, or 0.
    """

    kind: bytes
    begin: int
    length: int
    end: int
    tag: int
    sizes: int = 0

    @property
    def chunk(self) -> struct.Struct:
        return struct.Struct(">4sI" if self.kind == b"RIFX" else "<4sI")


def read_header(raw: BinaryIO) -> WavHeader | None:
    """None for files that are not WAV, and for those without samples."""
    start = read_at(raw, 0, 40)
    if start.startswith(W64_RIFF) and start[24:28] == b"wave":
        return _read_w64(raw, struct.unpack_from("<Q", start, 16)[0])
    kind = start[:4]
    if kind not in (b"RIFF", b"RIFX", b"RF64", b"BW64") or start[8:12] != b"WAVE":
        return None
    order = ">" if kind == b"RIFX" else "<"
    end = 8 + int(struct.unpack_from(order + "I", start, 4)[0])
    at, tag, sizes, long = 12, 0, 0, 0
    while len(head := read_at(raw, at, 8)) == 8:
        name, length = struct.unpack(order + "4sI", head)
        if name == b"ds64" and length >= 16:
            sizes = at + 8
            riff, long = struct.unpack("<QQ", read_at(raw, sizes, 16).ljust(16, b"\0"))
            end = 8 + riff
        elif name == b"fmt ":
            tag = _format_tag(raw.read(26), order)
        elif name == b"data":
            length = long if sizes and length == 0xFFFFFFFF else length
            return WavHeader(kind=kind, begin=at + 8, length=length, end=end, tag=tag, sizes=sizes)
        at += 8 + length + length % 2
    return None


def _read_w64(raw: BinaryIO, end: int) -> WavHeader | None:
    at, tag = 40, 0
    while len(head := read_at(raw, at, _W64_HEAD)) == _W64_HEAD:
        name, length = head[:4], struct.unpack_from("<Q", head, 16)[0]
        if head[4:16] != _W64_TAIL or length < _W64_HEAD:
            return None
        if name == b"fmt ":
            tag = _format_tag(raw.read(26), "<")
        elif name == b"data":
            return WavHeader(
                kind=b"riff", begin=at + _W64_HEAD, length=length - _W64_HEAD, end=end, tag=tag, sizes=at + 16
            )
        at += length + -length % 8
    return None


def _format_tag(fmt: bytes, order: str) -> int:
    tag = int(struct.unpack_from(order + "H", fmt.ljust(26, b"\0"))[0])
    return int(struct.unpack_from(order + "H", fmt, 24)[0]) if tag == _EXTENSIBLE and len(fmt) == 26 else tag


def check(raw: BinaryIO) -> Findings:
    """Compare the lengths in a WAV file's header with what the file holds.

    A length that stands for "unknown", or that is smaller than what follows while the header's other length
    agrees (its recorder was cut off after it last updated both, or both wrapped round at 4 GiB): the sound
    goes on to the file's end.
    """
    header, size = read_header(raw), file_size(raw)
    if header is None:
        return Findings()
    begin, length = header.begin, header.length
    to_end = Findings(sound=(begin, size))
    if length >= _OPEN or (length >> 32 == 0 and is_unknown_length(length, begin)):
        return to_end
    if length == 0:
        # If other chunks follow, the file's first length counts them.
        return Findings() if begin < header.end <= size or begin == size else to_end
    end = begin + length
    if end > size:
        return truncated(end - size)
    align = 8 if header.kind == b"riff" else 2
    following = read_at(raw, end + -length % align, 12)
    if following.startswith(header.kind) and (header.kind == b"riff" or following.endswith(b"WAVE")):
        return joined("WAV files")
    if not sound_follows(raw, end, header.chunk, align=align):
        what = "damaged: it has several chunks of sound, of which only one can be read"
        return Findings(damage=what if _second_data(raw, end, header) else None)
    if header.end <= end + 8 or is_unknown_length(header.end, begin):
        return to_end
    what = f"its header declares {length} bytes of sound, and {size - end} bytes follow that are no chunk"
    return Findings(damage=f"damaged: {what}")


def _second_data(raw: BinaryIO, at: int, header: WavHeader) -> bool:
    """Another chunk of samples follows the one that ends at byte `at`."""
    chunk, align = (_W64_CHUNK, 8) if header.kind == b"riff" else (header.chunk, 2)
    while len(head := read_at(raw, at + -at % align, chunk.size)) == chunk.size:
        name, length = chunk.unpack(head)
        if name == b"data":
            return True
        at += -at % align + length + chunk.size * (header.kind != b"riff")
        if length <= 0:
            return False
    return False


def with_lengths(raw: BinaryIO, header: WavHeader, size: int) -> bytes:
    """The file's bytes up to its sound, with lengths that extend the sound to byte `size`."""
    head, length = bytearray(read_at(raw, 0, header.begin)), size - header.begin
    if header.kind == b"riff":
        struct.pack_into("<Q", head, 16, size)
        struct.pack_into("<Q", head, header.sizes, length + _W64_HEAD)
    elif header.sizes:
        struct.pack_into("<QQ", head, header.sizes, size - 8, length)
        struct.pack_into("<I", head, header.begin - 4, 0xFFFFFFFF)
    elif size > 0xFFFFFFFF and header.kind == b"RIFF":  # becomes RF64
        head[:8] = b"RF64" + struct.pack("<I", 0xFFFFFFFF)
        struct.pack_into("<I", head, header.begin - 4, 0xFFFFFFFF)
        head[12:12] = struct.pack("<4sIQQQI", b"ds64", 28, size + 36 - 8, length, 0, 0)
    else:
        order = ">I" if header.kind == b"RIFX" else "<I"
        for at, value in ((4, size - 8), (header.begin - 4, length)):
            struct.pack_into(order, head, at, min(value, 0xFFFFFFFE))
    return bytes(head)


def check_avi(raw: BinaryIO) -> Findings:
    """Follow the chunks of an AVI file, also within lists; one of more than a gigabyte has several parts."""
    at, size = 0, file_size(raw)
    while len(head := read_at(raw, at, 8)) == 8 and head.startswith(b"RIFF"):
        (length,) = struct.unpack_from("<I", head, 4)
        end = size if is_unknown_length(length, at + 12) else at + 8 + length
        if end > size:
            return truncated(end - size)
        last = _follow_chunks(raw, at + 12, end)
        if last > end + 1:
            return truncated(last - end)
        if end - last >= 8:
            return Findings(damage=f"damaged: no chunk at byte {last} of {size}")
        at = end + end % 2
    return Findings()


def _follow_chunks(raw: BinaryIO, at: int, end: int) -> int:
    """The byte up to which chunks follow each other from byte `at` on, to `end` if none is damaged."""
    while end - at >= 8:
        name, length = struct.unpack("<4sI", read_at(raw, at, 8))
        if not (name.isascii() and name.decode().isprintable()):
            break
        at += 12 if name in (b"LIST", b"RIFF") else 8 + length + length % 2  # these contain chunks
    return at
