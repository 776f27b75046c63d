"""A memory with a budget: what was not used for longest goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any


class LruCache:
    """Values by key, together at most `budget` bytes, or a single one that is larger."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._held: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()  # value, bytes
        self._part: tuple[Hashable, ...] = ()

    def part(self, name: Hashable) -> LruCache:
        """The same memory under the same budget, for one that has keys of its own."""
        other = LruCache(self.budget)
        other._held, other._part = self._held, (*self._part, name)
        return other

    def get(self, key: Hashable, make: Callable[[], Any], *, size: int | None = None) -> Any:
        """What `make` gave for `key` before, or gives now; `size` in bytes of what is no array."""
        key = (self._part, key)
        if key not in self._held:
            value = make()
            size = _size(value) if size is None else size
            self.make_room(size)
            self._held[key] = value, size
        self._held.move_to_end(key)
        return self._held[key][0]

    def make_room(self, nbytes: int) -> None:
        """Let go of what was not used for longest, until `nbytes` more are within the budget."""
        total = sum(held for _, held in self._held.values())
        while self._held and total + nbytes > self.budget:
            total -= self._held.popitem(last=False)[1][1]


def _size(value: Any) -> int:
    if isinstance(value, tuple):
        return sum(_size(part) for part in value)
    return int(getattr(value, "nbytes", 0))
