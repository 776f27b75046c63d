"""Memory for what waits to be written, apart from the heap in which a model's tensors come and go.

Anything small that stays among large blocks that go leaves holes which no large one fits: over a long run the
heap grows. Here it lies side by side in pages of its own, given back when the last of them is let go. Not
even an array object is kept for it: its shape would lie on the heap.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

BLOCK_BYTES = 4 << 20
ALIGNED = 8  # bytes: where any number may begin

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PackedArrays:
    """Copies of arrays that all have `rows` rows, side by side in a block from byte `begin` on."""

    block: np.ndarray
    begin: int
    rows: int
    nbytes: int

    def array(self, place: int, shapes: Sequence[Shape], dtype: np.dtype) -> np.ndarray:
        """The array at a place, given the shapes of all arrays' rows."""
        sizes = [self.rows * prod(shape) * dtype.itemsize for shape in shapes[: place + 1]]
        begin = self.begin + sum(map(_aligned, sizes[:-1]))
        return self.block[begin : begin + sizes[-1]].view(dtype).reshape(self.rows, *shapes[place])


class ArrayPacker:
    """Copies arrays into large blocks, one after the other. A block lives as long as a copy in it."""

    def __init__(self) -> None:
        self._block = np.empty(0, np.uint8)
        self._used = 0

    def pack(self, arrays: Sequence[np.ndarray]) -> PackedArrays:
        """The same numbers, C-contiguous, of arrays of one type with equally many rows."""
        nbytes = sum(_aligned(array.nbytes) for array in arrays)
        if self._used + nbytes > len(self._block):
            pages = mmap.mmap(-1, max(BLOCK_BYTES, nbytes))
            self._block, self._used = np.frombuffer(pages, np.uint8), 0
        packed = PackedArrays(self._block, self._used, len(arrays[0]), nbytes)
        self._used += nbytes
        shapes = [array.shape[1:] for array in arrays]
        for place, array in enumerate(arrays):
            packed.array(place, shapes, array.dtype)[...] = array
        return packed


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNED) * ALIGNED
