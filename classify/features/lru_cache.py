"""A memory-bounded cache: the least recently used values are dropped first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any


class LruCache:
    """Values by key, at most `budget` bytes in total, or a single value that is larger."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()  # value, bytes
        self._prefix: tuple[Hashable, ...] = ()

    def section(self, name: Hashable) -> LruCache:
        """The same memory and budget, with a key space of its own."""
        other = LruCache(self.budget)
        other._values, other._prefix = self._values, (*self._prefix, name)
        return other

    def get(self, key: Hashable, make: Callable[[], Any], *, size: int | None = None) -> Any:
        """The value for `key`, computed by `make` unless cached. size: bytes of values other than arrays."""
        key = (self._prefix, key)
        if key not in self._values:
            value = make()
            size = _size(value) if size is None else size
            self.make_room(size)
            self._values[key] = value, size
        self._values.move_to_end(key)
        return self._values[key][0]

    def make_room(self, nbytes: int) -> None:
        """Drop the least recently used values until `nbytes` more fit into the budget.

        Values of no size, such as open files, stay: to drop them frees nothing.
        """
        total = sum(size for _, size in self._values.values())
        for key in [key for key, (_, size) in self._values.items() if size]:
            if total + nbytes <= self.budget:
                return
            total -= self._values.pop(key)[1]


def _size(value: Any) -> int:
    if isinstance(value, tuple):
        return sum(_size(item) for item in value)
    return int(getattr(value, "nbytes", 0))
