"""Facts of many clips in few bytes each: a run holds them beside the table to its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, TypeVar, overload

import numpy as np

T = TypeVar("T")


class Records(Sequence[T]):
    """Rows of an array as the things they tell of, each made when it is asked for.

    An object of a few numbers takes five times as much as these, and leaves holes among a model's tensors.
    """

    def __init__(self, rows: np.ndarray, make: Callable[[Any], T]) -> None:
        self._rows, self._make = rows, make

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self._make(row) for row in self._rows[index]]
        return self._make(self._rows[index])


class Numbers(Records[T]):
    """Instances of a dataclass whose two or more fields are whole numbers, put in one after the other."""

    def __init__(self, kind: type[T], *, most: int) -> None:
        names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
        self._values = attrgetter(*names)
        self._all = np.empty((most, len(names)), np.int64)

        def make(row: np.ndarray) -> T:
            values: dict[str, Any] = dict(zip(names, row.tolist(), strict=True))
            return kind(**values)

        super().__init__(self._all[:0], make)

    def append(self, thing: T) -> None:
        self._all[len(self)] = self._values(thing)
        self._rows = self._all[: len(self) + 1]
