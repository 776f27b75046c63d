from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.classify.features.lru_cache import LruCache


def test_what_was_not_used_for_longest_goes_first() -> None:
    kept, made = LruCache(100), []

    def get(name: str, size: int) -> None:
        def make() -> np.ndarray:
            made.append(name)
            return np.zeros(size, np.uint8)

        kept.get(name, make)

    get("a", 60)
    get("b", 30)
    get("a", 60)
    get("c", 30)  # b has waited longest
    get("a", 60)
    get("b", 30)
    assert made == ["a", "b", "c", "b"]
    get("huge", 1000)  # larger than the budget, and kept for now all the same
    get("huge", 1000)
    assert made[4:] == ["huge"]


def test_parts_have_keys_of_their_own_and_one_budget() -> None:
    kept = LruCache(100)
    one, other = kept.section("one"), kept.section("other")
    assert one.get("a", lambda: "one's", size=60) == "one's"
    assert other.get("a", lambda: "other's", size=30) == "other's"
    assert one.get("a", lambda: "anew") == "one's"
    one.section("other").get("a", lambda: "of a part of a part", size=60)
    assert other.get("a", lambda: "anew") == "anew"


def test_room_is_made_before_something_large_is() -> None:
    kept = LruCache(100)
    for name in "abc":
        kept.get(name, str, size=30)
    kept.make_room(50)
    assert [kept.get(name, lambda: "anew", size=0) for name in "abc"] == ["anew", "anew", ""]


def test_sizes_are_of_arrays_tuples_or_as_told() -> None:
    kept = LruCache(100)
    pair = kept.get("pair", lambda: (np.zeros(40, np.uint8), np.zeros(40, np.uint8)))
    kept.get("told", object, size=30)
    assert kept.get("pair", lambda: "made anew") == "made anew"
    assert len(pair) == 2


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 60)), max_size=40))
def test_it_gives_what_was_made_for_the_key(asked: list[tuple[int, int]]) -> None:
    kept = LruCache(100)
    for key, size in asked:
        value = kept.get(key, lambda key=key, size=size: np.full(size, key))  # type: ignore[misc]
        assert set(value) == {key}
