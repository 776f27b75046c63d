"""A memory with a budget: what was not used for longest goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any


class Kept:
    """Values by key, together at most `budget` bytes, or a single one that is larger."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._held: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()  # value, bytes

    def get(self, key: Hashable, make: Callable[[], Any], *, size: int | None = None) -> Any:
        """What `make` gave for `key` before, or gives now; `size` in bytes of what is no array."""
        if key not in self._held:
            value = make()
            self._held[key] = value, _size(value) if size is None else size
            total = sum(held for _, held in self._held.values())
            while total > self.budget and len(self._held) > 1:
                total -= self._held.popitem(last=False)[1][1]
        self._held.move_to_end(key)
        return self._held[key][0]


def _size(value: Any) -> int:
    if isinstance(value, tuple):
        return sum(_size(part) for part in value)
    return int(getattr(value, "nbytes", 0))
