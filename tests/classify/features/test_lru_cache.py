from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.classify.features.lru_cache import LruCache


def test_the_least_recently_used_value_is_dropped_first() -> None:
    cache, made = LruCache(100), []

    def get(name: str, size: int) -> None:
        def make() -> np.ndarray:
            made.append(name)
            return np.zeros(size, np.uint8)

        cache.get(name, make)

    get("a", 60)
    get("b", 30)
    get("a", 60)
    get("c", 30)  # b has waited longest
    get("a", 60)
    get("b", 30)
    assert made == ["a", "b", "c", "b"]
    get("huge", 1000)  # larger than the budget, and cached for now all the same
    get("huge", 1000)
    assert made[4:] == ["huge"]


def test_sections_have_separate_keys_and_one_budget() -> None:
    cache = LruCache(100)
    one, other = cache.section("one"), cache.section("other")
    assert one.get("a", lambda: "one's", size=60) == "one's"
    assert other.get("a", lambda: "other's", size=30) == "other's"
    assert one.get("a", lambda: "recomputed") == "one's"
    one.section("other").get("a", lambda: "of a section of a section", size=60)
    assert other.get("a", lambda: "recomputed") == "recomputed"


def test_make_room_drops_values_until_there_is_room() -> None:
    cache = LruCache(100)
    for name in "abc":
        cache.get(name, str, size=30)
    cache.make_room(50)
    assert [cache.get(name, lambda: "recomputed", size=0) for name in "abc"] == [
        "recomputed",
        "recomputed",
        "",
    ]


def test_sizes_are_of_arrays_tuples_or_as_passed() -> None:
    cache = LruCache(100)
    pair = cache.get("pair", lambda: (np.zeros(40, np.uint8), np.zeros(40, np.uint8)))
    cache.get("object", object, size=30)
    assert cache.get("pair", lambda: "recomputed") == "recomputed"
    assert len(pair) == 2


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 60)), max_size=40))
def test_it_returns_the_value_of_the_key(requests: list[tuple[int, int]]) -> None:
    cache = LruCache(100)
    for key, size in requests:
        value = cache.get(key, lambda key=key, size=size: np.full(size, key))  # type: ignore[misc]
        assert set(value) == {key}
