"""Memory for states that wait to be written, separate from the heap that a model's tensors use.

Small long-lived blocks among large short-lived ones fragment the heap, which then grows over a long run.
Here arrays are packed into pages of their own, which are freed with the last array in them. No array object
is stored per clip either: its shape would be on the heap.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod

import numpy as np

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
    """Copies arrays into large blocks, one behind another. A block lives as long as any copy in it."""

    def __init__(self, layout: RowLayout) -> None:
        self._layout = layout
        self._block = np.empty(0, np.uint8)
        self._used = 0

    def pack(self, arrays: Sequence[np.ndarray]) -> PackedArrays:
        """C-contiguous copies of the layout's arrays, each with the same number of rows."""
        rows = len(arrays[0])
        nbytes = -(-rows * self._layout.row_bytes // ALIGNMENT) * ALIGNMENT
        if self._used + nbytes > len(self._block):
            pages = mmap.mmap(-1, max(BLOCK_BYTES, nbytes))
            self._block, self._used = np.frombuffer(pages, np.uint8), 0
        packed = PackedArrays(self._block, self._used, rows, nbytes)
        self._used += nbytes
        for index, array in enumerate(arrays):
            packed.array(index, self._layout)[...] = array
        return packed
