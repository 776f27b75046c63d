"""Reads the model file of CTranslate2: a header, then named arrays, then aliases of names.

Layout of version 6, little-endian (CTranslate2's `model_spec.py`): version u32, specification as text,
revision u32, number of arrays u32; per array its name as text, rank u8, sizes u32 each, type u8, bytes u32,
data; number of aliases u32; per alias its name and the name that it stands for. A text is its length u16,
NUL included, and its bytes.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from layerprobe.cache.common.errors import ModelError

VERSION = 6
TYPES = ("<f4", "i1", "<i2", "<i4", "<f2")  # by their number in the file
MAX_RANK = 4


@dataclass(frozen=True, kw_only=True)
class CTranslate2Model:
    """Contents of a file. arrays: read-only views of it; a scalar has rank 0. aliases: name → name."""

    specification: str
    revision: int
    arrays: dict[str, np.ndarray]
    aliases: dict[str, str]


def read_ctranslate2(path: Path) -> CTranslate2Model:
    """Read a file of version 6. Raises ModelError unless all of it, to the last byte, has this layout."""
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: the file is empty
        raise ModelError(f"cannot be read ({error})", where=str(path)) from error
    reader = _Reader(content, path)
    version = reader.number("I", "version")
    if version != VERSION:
        raise ModelError(f"has version {version} of CTranslate2's format, not {VERSION}", where=str(path))
    specification, revision = reader.text(), reader.number("I", "revision")
    arrays: dict[str, np.ndarray] = {}
    for _ in range(reader.number("I", "number of arrays")):
        name = reader.text()
        if name in arrays:
            raise ModelError(f"has {name} twice", where=str(path))
        arrays[name] = reader.array(name)
    aliases: dict[str, str] = {}
    for _ in range(reader.number("I", "number of aliases")):
        name, target = reader.text(), reader.text()
        if name in arrays or name in aliases or target not in arrays:
            raise ModelError(
                f"has an alias {name} of {target}, which does not fit its arrays", where=str(path)
            )
        aliases[name] = target
    reader.finish()
    return CTranslate2Model(specification=specification, revision=revision, arrays=arrays, aliases=aliases)


class _Reader:
    """A position in the file; every read is checked against its end."""

    def __init__(self, content: mmap.mmap, path: Path) -> None:
        self._content, self._path, self._at = content, path, 0

    def number(self, kind: str, what: str) -> int:
        """An integer of a `struct` format."""
        layout = struct.Struct(f"<{kind}")
        (value,) = layout.unpack_from(self._content, self._skip(layout.size, what))
        return int(value)

    def text(self) -> str:
        length = self.number("H", "length of a name")
        begin = self._skip(length, "name")
        raw = self._content[begin : self._at]
        if not raw.endswith(b"\0") or not raw[:-1].isascii() or b"\0" in raw[:-1] or len(raw) == 1:
            raise ModelError(f"has no name at byte {begin}", where=str(self._path))
        return raw[:-1].decode()

    def array(self, name: str) -> np.ndarray:
        rank = self.number("B", f"rank of {name}")
        if rank > MAX_RANK:
            raise ModelError(f"{name} has {rank} dimensions", where=str(self._path))
        shape = [self.number("I", f"shape of {name}") for _ in range(rank)]
        kind = self.number("B", f"type of {name}")
        if kind >= len(TYPES):
            raise ModelError(f"{name} has the unknown type {kind}", where=str(self._path))
        size = self.number("I", f"size of {name}")
        dtype, count = np.dtype(TYPES[kind]), 1
        for length in shape:  # Python's integers do not overflow
            count *= length
        if count * dtype.itemsize != size:
            what = f"{name} has {size} bytes, and its shape {tuple(shape)} requires {count * dtype.itemsize}"
            raise ModelError(what, where=str(self._path))
        begin = self._skip(size, name)
        return np.frombuffer(self._content, dtype, count=count, offset=begin).reshape(shape)

    def finish(self) -> None:
        """Raise ModelError unless this is the end of the file."""
        if left := len(self._content) - self._at:
            raise ModelError(f"has {left} bytes after its last alias", where=str(self._path))

    def _skip(self, size: int, what: str) -> int:
        """Where the next `size` bytes begin."""
        begin, self._at = self._at, self._at + size
        if self._at > len(self._content):
            raise ModelError(f"ends within its {what}", where=str(self._path))
        return begin
