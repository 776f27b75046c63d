"""Clips that wait to be written, in memory separate from the heap that a model's tensors use.

Small long-lived blocks among large short-lived ones fragment the heap, which then grows over a long run.
Here arrays are packed into pages of their own, which are freed with the last array in them. No array object
is stored per clip either: its shape would be on the heap.
"""

from __future__ import annotations

import mmap
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import prod

import numpy as np

from layerprobe.cache.store.shard import ClipEntry, ShardWriter

BLOCK_BYTES = 4 << 20
ALIGNMENT = 8  # bytes: where the first array of a block may start, whatever its type

Shape = tuple[int, ...]


class RowLayout:
    """Arrays of one type that are packed behind each other: the shape of one row of each.

    row_bytes: of one row in all arrays.
    """

    def __init__(self, shapes: Sequence[Shape], dtype: np.dtype) -> None:
        self.shapes, self.dtype = tuple(shapes), np.dtype(dtype)
        # Bytes of a row in the arrays before each, and in all of them: reckoned once, not for every clip.
        sizes = (prod(shape) * self.dtype.itemsize for shape in self.shapes)
        self.before = tuple(accumulate(sizes, initial=0))
        self.row_bytes = self.before[-1]


@dataclass(frozen=True, slots=True, eq=False)
class PackedArrays:
    """Copies of arrays that all have `rows` rows, contiguous in a block from byte `begin`."""

    block: np.ndarray
    begin: int
    rows: int
    nbytes: int

    def array(self, index: int, layout: RowLayout) -> np.ndarray:
        """One array, as a view. layout: the one it was packed with."""
        begin = self.begin + self.rows * layout.before[index]
        stop = self.begin + self.rows * layout.before[index + 1]
        return self.block[begin:stop].view(layout.dtype).reshape(self.rows, *layout.shapes[index])


class ArrayPacker:
    """Copies arrays into large blocks, one behind another. A block lives as long as any copy in it.

    Its pages are then used again: the system would have to clear new ones, which takes as long as the copies.
    """

    def __init__(self, layout: RowLayout) -> None:
        self._layout = layout
        self._block = np.empty(0, np.uint8)
        self._used = 0
        self._spare: list[mmap.mmap] = []  # of blocks that were freed; any thread may add to it

    def pack(self, arrays: Sequence[np.ndarray]) -> PackedArrays:
        """C-contiguous copies of the layout's arrays, each with the same number of rows."""
        rows = len(arrays[0])
        nbytes = -(-rows * self._layout.row_bytes // ALIGNMENT) * ALIGNMENT
        if self._used + nbytes > len(self._block):
            self._block, self._used = self._new_block(nbytes), 0
        packed = PackedArrays(self._block, self._used, rows, nbytes)
        self._used += nbytes
        for index, array in enumerate(arrays):
            packed.array(index, self._layout)[...] = array
        return packed

    def _new_block(self, nbytes: int) -> np.ndarray:
        fitting = (number for number, pages in enumerate(self._spare) if len(pages) >= nbytes)
        if (number := next(fitting, None)) is not None:
            pages = self._spare.pop(number)
        else:
            del self._spare[:1]  # so that blocks that have become too small do not accumulate
            pages = mmap.mmap(-1, -(-max(nbytes, 1) // BLOCK_BYTES) * BLOCK_BYTES)
        block = np.frombuffer(pages, np.uint8)
        weakref.finalize(block, self._spare.append, pages).atexit = False
        return block


@dataclass(eq=False, slots=True)
class PendingClip:
    """A clip that is not on disk yet. One larger than a shard gets its own shard, written block by block."""

    key: str
    path: str
    blocks: list[PackedArrays] = field(default_factory=list)  # still in memory; each layer's (R, S, D)
    nbytes: int = 0  # of `blocks`
    rows: int = 0  # of all blocks, written or not
    frames: int = 0
    seconds: float = 0.0
    ended: bool = False  # complete or dropped: no block will follow
    dropped: bool = False
    shard: ShardWriter | None = None

    @property
    def entries(self) -> list[ClipEntry]:
        return [ClipEntry(self.key, self.rows, self.frames, self.seconds, self.path)]


class PendingBatch:
    """Complete clips of one row each, that are not on disk yet."""

    def __init__(self, entries: list[ClipEntry], block: PackedArrays) -> None:
        self.entries, self.blocks, self.nbytes, self.rows = entries, [block], block.nbytes, block.rows
