"""Memory for states that wait to be written, separate from the heap that a model's tensors use.

Small long-lived blocks among large short-lived ones fragment the heap, which then grows over a long run.
Here arrays are packed into pages of their own, which are freed with the last array in them. No array object
is stored per clip either: its shape would be on the heap.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

BLOCK_BYTES = 4 << 20
ALIGNMENT = 8  # bytes: where any number may start

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PackedArrays:
    """Copies of arrays that all have `rows` rows, contiguous in a block from byte `begin`."""

    block: np.ndarray
    begin: int
    rows: int
    nbytes: int

    def array(self, index: int, shapes: Sequence[Shape], dtype: np.dtype) -> np.ndarray:
        """One array, as a view; `shapes` are the shapes of one row of each array."""
        sizes = [self.rows * prod(shape) * dtype.itemsize for shape in shapes[: index + 1]]
        begin = self.begin + sum(map(_aligned, sizes[:-1]))
        return self.block[begin : begin + sizes[-1]].view(dtype).reshape(self.rows, *shapes[index])


class ArrayPacker:
    """Copies arrays into large blocks, one behind another. A block lives as long as any copy in it."""

    def __init__(self) -> None:
        self._block = np.empty(0, np.uint8)
        self._used = 0

    def pack(self, arrays: Sequence[np.ndarray]) -> PackedArrays:
        """C-contiguous copies of arrays of one type with the same number of rows."""
        nbytes = sum(_aligned(array.nbytes) for array in arrays)
        if self._used + nbytes > len(self._block):
            pages = mmap.mmap(-1, max(BLOCK_BYTES, nbytes))
            self._block, self._used = np.frombuffer(pages, np.uint8), 0
        packed = PackedArrays(self._block, self._used, len(arrays[0]), nbytes)
        self._used += nbytes
        shapes = [array.shape[1:] for array in arrays]
        for index, array in enumerate(arrays):
            packed.array(index, shapes, array.dtype)[...] = array
        return packed


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
