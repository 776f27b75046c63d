"""Shards that are read one after another: the next ones are downloaded while one is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

AHEAD = 4  # shards at most
SHARE = 4  # part of the size of all local copies: what will be read must not displace what is being read


class ReadAhead:
    """Fetches files in the order in which they will be read, a few ahead; a context manager.

    Leaving it waits for the transfers that have begun.
    """

    def __init__(
        self, names: Sequence[str], fetch: Callable[[str], None], *, sizes: Sequence[int], limit: int
    ) -> None:
        """names: in the order of `wait`, each once. sizes: their bytes. limit: bytes ahead at most."""
        self._names, self._fetch, self._sizes, self._limit = list(names), fetch, list(sizes), limit
        self._position = {name: number for number, name in enumerate(self._names)}
        self._begun = 0  # names whose transfer has begun
        self._futures: dict[str, Future[None]] = {}
        self._pool = ThreadPoolExecutor(1 + AHEAD, "read-ahead")

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def wait(self, name: str) -> None:
        """Return once this file is there, while the next ones are fetched. Raises what `fetch` raises."""
        position = self._position[name]
        ahead = 0
        for number in range(position, min(position + 1 + AHEAD, len(self._names))):
            ahead += self._sizes[number] if number > position else 0
            if number >= self._begun and ahead <= self._limit:
                following = self._names[number]
                self._futures[following] = self._pool.submit(self._fetch, following)
                self._begun = number + 1
        self._futures.pop(name).result()
