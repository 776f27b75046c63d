"""Batches under a budget: nothing lost, nothing over, little padding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embed.batching import GRID, Window, padded_length, padded_samples, padding_share, plan_batches

lengths = st.lists(st.integers(400, 200_000), max_size=60)


def whole(samples: list[int]) -> list[Window]:
    return [Window(clip=i, begin=0, stop=n) for i, n in enumerate(samples)]


@given(lengths, st.integers(GRID, 600_000))
def test_every_window_is_in_one_batch_within_the_budget(samples, budget):
    batches = plan_batches(whole(samples), budget=budget)
    assert sorted(w.clip for batch in batches for w in batch) == list(range(len(samples)))
    for batch in batches:
        width = padded_length(max(w.samples for w in batch))
        assert len(batch) == 1 or len(batch) * width <= budget


@given(lengths)
def test_the_longest_come_first(samples):
    batches = plan_batches(whole(samples), budget=400_000)
    longest = [max(w.samples for w in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12))
def test_windows_of_a_clip_stay_together_and_in_order(counts):
    windows = [
        Window(clip=clip, begin=n * 32_000, stop=(n + 1) * 32_000 + clip % 2, number=n, count=count)
        for clip, count in enumerate(counts)
        for n in range(count)
    ]
    order = [w for batch in plan_batches(windows[::-1], budget=100_000) for w in batch]
    for clip in range(len(counts)):
        places = [i for i, w in enumerate(order) if w.clip == clip]
        assert places == list(range(places[0], places[0] + len(places)))
        assert [order[i].number for i in places] == list(range(counts[clip]))


clip_lengths = st.lists(st.tuples(st.integers(1, 5), st.integers(2_000, 60_000)), min_size=1, max_size=15)


@given(clip_lengths, st.integers(20_000, 200_000), st.data())
def test_what_is_left_of_a_plan_is_the_plan_of_what_is_left(clips, budget, data):
    windows = [
        Window(clip=clip, begin=n * length, stop=(n + 1) * length, number=n, count=count)
        for clip, (count, length) in enumerate(clips)
        for n in range(count)
    ]
    batches = plan_batches(windows, budget=budget)
    done = data.draw(st.integers(0, len(batches)))
    left = {w.clip for batch in batches[done:] for w in batch}
    begun = {w.clip for batch in batches[:done] for w in batch} & left
    if begun:  # a clip that takes several batches: none of it is kept before its last
        done = next(i for i, batch in enumerate(batches) if batch[0].clip in begun)
        left |= begun
    again = plan_batches([w for w in windows if w.clip in left], budget=budget)
    assert again == batches[done:]


@given(st.integers(1, 10**7))
def test_padded_lengths_are_on_the_grid(samples):
    assert padded_length(samples) % GRID == 0
    assert 0 <= padded_length(samples) - samples < GRID


def test_padding_share():
    batches = [whole([8_000, 6_000]), whole([4_000])]
    assert padded_samples(batches) == 20_000
    assert padding_share(batches) == pytest.approx(0.1)
    assert padding_share([]) == 0.0
