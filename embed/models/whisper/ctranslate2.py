"""Reads the model file of CTranslate2: a header, then named arrays, then aliases of names.

Layout of version 6, little-endian (CTranslate2's `model_spec.py`): version u32, specification as text,
revision u32, number of arrays u32; per array its name as text, rank u8, sizes u32 each, type u8, bytes u32,
data; number of aliases u32; per alias its name and the name that it stands for. A text is its length u16,
NUL included, and its bytes.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

import numpy as np

TYPES = ("<f4", "i1", "<i2", "<i4", "<f2")  # by their number in the file


def read_ctranslate2(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file of version 6, by name: read-only views of it; a scalar has rank 0.

    The file is not checked: whoever calls this knows its hash.
    """
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    at = 0

    def read(kinds: str) -> tuple[int, ...]:
        """Integers of a `struct` format."""
        nonlocal at
        layout = struct.Struct(f"<{kinds}")
        begin, at = at, at + layout.size
        return layout.unpack_from(content, begin)

    def text() -> str:
        nonlocal at
        (length,) = read("H")
        begin, at = at, at + length
        return content[begin : at - 1].decode("ascii")

    read("I")  # version
    text()  # specification
    _, count = read("II")  # revision
    arrays: dict[str, np.ndarray] = {}
    for _ in range(count):
        name = text()
        (rank,) = read("B")
        shape = read(f"{rank}I")
        kind, size = read("BI")
        dtype = np.dtype(TYPES[kind])
        array = np.frombuffer(content, dtype, count=size // dtype.itemsize, offset=at)
        arrays[name] = array.reshape(shape)
        at += size
    return arrays
