"""Units without the objects that all of them share, which travel to each worker once.

A unit holds its plan: clips, folds and keys, some hundred bytes for each clip. A packed unit has a number in
its place. States are in neither: workers read them from the store, by its path.
"""

from __future__ import annotations

import io
import mmap
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

MAPPED_BYTES = 1 << 20  # arrays of this size are mapped by the processes of a machine, not copied
_ALIGNED = 64


@dataclass(frozen=True)
class PackedUnit:
    """A pickled unit, without shared objects."""

    data: bytes

    def unpack(self, shared: Sequence[Any]) -> Any:
        """The unit. shared: equal to what `pack` was given."""
        return _Unpickler(io.BytesIO(self.data), shared).load()


def pack(unit: Any, shared: Sequence[Any]) -> PackedUnit:
    """Pickle a unit without the objects in `shared`, wherever it refers to them."""
    packed = io.BytesIO()
    _Pickler(packed, shared).dump(unit)
    return PackedUnit(packed.getvalue())


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, shared: Sequence[Any]) -> None:
        super().__init__(file, protocol=5)
        self._numbers = {id(one): number for number, one in enumerate(shared)}

    def persistent_id(self, one: Any) -> int | None:
        return self._numbers.get(id(one))


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, shared: Sequence[Any]) -> None:
        super().__init__(file)
        self._shared = shared

    def persistent_load(self, number: Any) -> Any:
        return self._shared[number]


def write_shared(path: Path, shared: Sequence[Any]) -> None:
    """Write shared objects for the processes of this machine."""
    large: list[memoryview] = []

    def keep_small(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < MAPPED_BYTES:
            return True
        large.append(raw)
        return False

    body = pickle.dumps(list(shared), protocol=5, buffer_callback=keep_small)
    with path.open("wb") as file:
        header = pickle.dumps((len(body), [raw.nbytes for raw in large]))
        file.write(header + body)
        for raw in large:
            file.write(bytes(-file.tell() % _ALIGNED))
            file.write(raw)


@lru_cache(maxsize=1)
def read_shared(path: Path) -> list[Any]:
    """Shared objects; their large arrays are mapped from the file, and cannot be written to."""
    with path.open("rb") as file:
        length, sizes = pickle.load(file)
        body = file.read(length)
        views = []
        if sizes:
            whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            begin = file.tell()
            for size in sizes:
                begin += -begin % _ALIGNED
                views.append(whole[begin : begin + size])
                begin += size
    objects: list[Any] = pickle.loads(body, buffers=views)
    return objects
