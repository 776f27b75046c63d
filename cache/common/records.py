"""Objects made on access from the rows of an array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

import numpy as np

T = TypeVar("T")


class LazyRecords(Sequence[T]):
    """Objects made on access from the rows of an array.

    An object of a few numbers needs five times the memory of its row, and fragments the memory in which a
    model's tensors are allocated.
    """

    def __init__(self, rows: np.ndarray, make: Callable[[Any], T]) -> None:
        self.rows, self._make = rows, make

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self._make(row) for row in self.rows[index]]
        return self._make(self.rows[index])
