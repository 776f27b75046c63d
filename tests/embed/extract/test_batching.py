"""Batches under a budget: nothing lost, nothing over, little padding."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.embed.extract.batching import (
    GRID,
    Window,
    cut,
    padded_length,
    padded_samples,
    padding_share,
    plan_batches,
)

lengths = st.lists(st.integers(400, 200_000), max_size=60)
RATE, WINDOW = 16_000, 2.0  # seconds: clips of more than 32,000 samples are cut
mixed = st.lists(st.integers(400, 200_000), min_size=1, max_size=20)


def plan(samples: list[int], *, budget: int, window: float = 60.0) -> list[list[Window]]:
    return list(plan_batches(samples, window=window, rate=RATE, budget=budget))


def whole(samples: list[int]) -> list[Window]:
    return [Window(clip=i, begin=0, stop=n) for i, n in enumerate(samples)]


@given(lengths, st.integers(GRID, 600_000), st.sampled_from([WINDOW, 60.0]))
def test_every_window_is_in_one_batch_within_the_budget(samples, budget, window):
    batches = plan(samples, budget=budget, window=window)
    expected = [w for clip, n in enumerate(samples) for w in cut(clip, n, window=window, rate=RATE)]
    assert sorted((w for b in batches for w in b), key=lambda w: (w.clip, w.number)) == expected
    for batch in batches:
        width = padded_length(max(w.samples for w in batch))
        assert len(batch) == 1 or len(batch) * width <= budget


@given(lengths)
def test_the_longest_come_first(samples):
    batches = plan(samples, budget=400_000)
    longest = [max(w.samples for w in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


@given(st.integers(1, 10**6))
def test_a_clip_is_cut_without_gaps(samples):
    pieces = cut(3, samples, window=WINDOW, rate=RATE)
    assert [(w.clip, w.number, w.count) for w in pieces] == [(3, i, len(pieces)) for i in range(len(pieces))]
    assert [w.begin for w in pieces] == [0, *(w.stop for w in pieces[:-1])]
    assert pieces[-1].stop == samples
    assert max(w.samples for w in pieces) <= WINDOW * RATE


@given(mixed)
def test_windows_of_a_clip_stay_together_and_in_order(samples):
    order = [w for batch in plan(samples, budget=100_000, window=WINDOW) for w in batch]
    for clip in range(len(samples)):
        places = [i for i, w in enumerate(order) if w.clip == clip]
        assert places == list(range(places[0], places[0] + len(places)))
        assert [order[i].number for i in places] == list(range(order[places[0]].count))


@given(mixed, st.integers(20_000, 200_000), st.data())
def test_what_is_left_of_a_plan_is_the_plan_of_what_is_left(samples, budget, data):
    batches = plan(samples, budget=budget, window=WINDOW)
    done = data.draw(st.integers(0, len(batches)))
    left = {w.clip for batch in batches[done:] for w in batch}
    begun = {w.clip for batch in batches[:done] for w in batch} & left
    if begun:  # a clip that takes several batches: none of it is kept before its last
        done = next(i for i, batch in enumerate(batches) if batch[0].clip in begun)
        left |= begun
    names = sorted(left)
    again = plan([samples[clip] for clip in names], budget=budget, window=WINDOW)
    assert [[replace(w, clip=names[w.clip]) for w in batch] for batch in again] == batches[done:]


def test_a_batch_is_had_by_its_number():
    batches = plan_batches([8_000, 4_000, 400], window=60.0, rate=RATE, budget=8_000)
    assert [batches[i] for i in range(len(batches))] == list(batches)
    assert [[w.clip for w in batch] for batch in batches] == [[0], [1, 2]]
    assert [batches[-2], batches[-1]] == batches[:] == list(batches)
    for beyond in (len(batches), -len(batches) - 1):
        with pytest.raises(IndexError):
            batches[beyond]


@given(st.integers(1, 10**7))
def test_padded_lengths_are_on_the_grid(samples):
    assert padded_length(samples) % GRID == 0
    assert 0 <= padded_length(samples) - samples < GRID


def test_padding_share():
    batches = [whole([8_000, 6_000]), whole([4_000])]
    assert padded_samples(batches) == 20_000
    assert padding_share(batches) == pytest.approx(0.1)
    assert padding_share([]) == 0.0
