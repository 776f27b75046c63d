"""Memory for what waits to be written, apart from the heap in which a model's tensors come and go.

A small array that stays among large ones that go leaves holes which no large one fits: over a long run the
heap grows. Here they lie side by side in pages of their own, given back when the last of them is let go.
"""

from __future__ import annotations

import mmap

import numpy as np

SLAB_BYTES = 4 << 20


class Slabs:
    """Copies arrays into large blocks, one after the other. A block lives as long as a copy in it."""

    def __init__(self) -> None:
        self._block = np.empty(0, np.uint8)
        self._used = 0

    def copy(self, array: np.ndarray) -> np.ndarray:
        """The same numbers, C-contiguous."""
        if self._used + array.nbytes > len(self._block):
            pages = mmap.mmap(-1, max(SLAB_BYTES, array.nbytes))
            self._block, self._used = np.frombuffer(pages, np.uint8), 0
        room = self._block[self._used : self._used + array.nbytes]
        self._used += -(-array.nbytes // 8) * 8  # the next one begins where any number may
        out = room.view(array.dtype).reshape(array.shape)
        out[...] = array
        return out
