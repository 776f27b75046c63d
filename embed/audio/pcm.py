"""Plain WAV: 16-bit mono PCM at the models' rate, read without a decoder.

Most corpora of speech are just this, and what a decoder and the checks of all other formats cost is then
several times the work itself. A file is taken for plain only where its header leaves no doubt: whatever is
unusual about it, however harmless, is left to `sources.py` and `integrity`, which also say what is wrong.
"""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass

import numpy as np

from layerprobe.cache.identity.hashing import FileStamp, stamp_of
from layerprobe.embed.config import RATE

MOST_SAMPLES = 1 << 22  # of a clip: sums of as many squares of 16 bits are exact in float64
_HEAD = 4_096  # bytes in which the samples must begin
_BYTES = 2  # a sample
_SCALE = 1 << 15  # of the integers, which become floats in [-1, 1)
_PCM, _EXTENSIBLE = 1, 0xFFFE  # format tags
_PCM_GUID = b"\x01\x00\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
_FORMAT = struct.pack("<HIIHH", 1, RATE, RATE * _BYTES, _BYTES, 8 * _BYTES)  # after the tag


@dataclass(frozen=True, slots=True)
class PlainFile:
    """Where a plain file's samples are. begin: their first byte. samples: how many."""

    begin: int
    samples: int


def find_plain(path: str) -> PlainFile | None:
    """None for every file that is not plain, or cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would block
        try:
            status = os.fstat(handle)
            return plain_header(handle, status.st_size) if stat.S_ISREG(status.st_mode) else None
        finally:
            os.close(handle)
    except OSError:
        return None


def plain_header(handle: int, size: int) -> PlainFile | None:
    """As `find_plain`, of an open file of `size` bytes."""
    try:
        return _parse(handle, os.pread(handle, _HEAD, 0), size=size)
    except OSError:
        return None


def _parse(handle: int, head: bytes, *, size: int) -> PlainFile | None:
    """The samples by the header, if the header accounts for every byte of the file."""
    if head[:4] != b"RIFF" or head[8:16] != b"WAVEfmt " or len(head) < 44:
        return None
    length = int.from_bytes(head[16:20], "little")
    if 8 + int.from_bytes(head[4:8], "little") != size or not _is_pcm(head[20 : 20 + length], length):
        return None
    at = 20 + length
    while at + 8 <= len(head):
        name, length = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
        if name == b"data":
            end = at + 8 + length
            whole = length and length % _BYTES == 0 and end <= size
            complete = whole and _only_chunks(handle, end, size=size)
            return PlainFile(at + 8, length // _BYTES) if complete else None
        if name not in (b"LIST", b"fact", b"PEAK", b"bext"):
            return None
        at += 8 + length + length % 2
    return None


def _is_pcm(fmt: bytes, length: int) -> bool:
    tag = int.from_bytes(fmt[:2], "little")
    if fmt[2:16] != _FORMAT:
        return False
    return (tag == _PCM and length in (16, 18)) or (
        tag == _EXTENSIBLE and length == 40 and fmt[16:20] == b"\x16\x00\x10\x00" and fmt[24:40] == _PCM_GUID
    )


def _only_chunks(handle: int, at: int, *, size: int) -> bool:
    """From byte `at` on, chunks without sound follow each other to the file's last byte."""
    while at < size:
        head = os.pread(handle, 8, at)
        if head[:4] not in (b"LIST", b"id3 ", b"ID3 ", b"cue ", b"bext", b"_PMX", b"iXML"):
            return False
        length = int.from_bytes(head[4:8].ljust(4, b"\0"), "little")
        at += 8 + length + length % 2
    return at == size


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """A clip's samples (T,) int16, and the stamp of its file once they were read."""

    values: np.ndarray
    stamp: FileStamp

    @property
    def constant(self) -> bool:
        return bool(self.values.min() == self.values.max())

    def fill(self, row: np.ndarray, *, normalise: bool) -> None:
        """Write the clip into row (T,) float32, as `sound.read_clip` and `sound.normalise` give it.

        The moments are those of the integers, whose sums are exact; scaling by a power of two rounds nothing.
        """
        if not normalise:
            np.multiply(self.values, np.float32(1 / _SCALE), out=row)
            return
        mean, variance = self.moments()
        deviation = np.float32(np.sqrt(variance + 1e-7))
        np.subtract(self.values, np.float32(mean) * np.float32(_SCALE), out=row)
        np.divide(row, deviation * np.float32(_SCALE), out=row)

    def moments(self) -> tuple[float, float]:
        """Mean and population variance of the samples in [-1, 1), exact but for one rounding each."""
        count, wide = len(self.values), self.values.astype(np.float64)
        total = int(wide.sum())
        squares = int(np.einsum("i,i->", wide, wide))  # exact in any order; a BLAS would start threads
        return total / _SCALE / count, (count * squares - total * total) / (count * count) / _SCALE**2


def read_plain(path: str, *, begin: int, samples: int) -> Samples | None:
    """Samples from byte `begin` on; None where there are fewer. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        data = os.pread(handle, _BYTES * samples, begin)
        stamp = stamp_of(os.fstat(handle))  # of what was read, whatever the path names by now
    finally:
        os.close(handle)
    if len(data) != _BYTES * samples:
        return None
    return Samples(np.frombuffer(data, "<i2"), stamp)
