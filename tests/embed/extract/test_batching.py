"""Windows and batches under a budget: nothing lost, nothing over budget, little padding."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.config import RATE
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
WINDOW = 2.0  # seconds: clips of more than 32,000 samples are cut
mixed = st.lists(st.integers(400, 200_000), min_size=1, max_size=20)


def plan(samples: list[int], *, budget: int, window: float = 60.0) -> list[list[Window]]:
    return list(plan_batches(samples, window=window, budget=budget))


def uncut(samples: list[int]) -> list[Window]:
    return [Window(clip=i, begin=0, stop=n) for i, n in enumerate(samples)]


@given(lengths, st.integers(GRID, 600_000), st.sampled_from([WINDOW, 60.0]))
def test_every_window_is_in_one_batch_within_the_budget(samples, budget, window):
    batches = plan(samples, budget=budget, window=window)
    expected = [w for clip, n in enumerate(samples) for w in cut(clip, n, window=window)]
    assert sorted((w for b in batches for w in b), key=lambda w: (w.clip, w.number)) == expected
    for batch in batches:
        width = padded_length(max(w.samples for w in batch))
        assert len(batch) == 1 or len(batch) * width <= budget


@given(lengths)
def test_the_longest_come_first(samples):
    batches = plan(samples, budget=400_000)
    longest = [max(w.samples for w in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


@given(samples=st.integers(1, 5_000_000), window=st.floats(2, 100))
def test_windows_cover_every_sample_once_and_differ_by_at_most_one_sample(samples, window):
    windows = cut(3, samples, window=window)
    assert [(w.clip, w.number, w.count) for w in windows] == [
        (3, i, len(windows)) for i in range(len(windows))
    ]
    assert [w.begin for w in windows] == [0, *(w.stop for w in windows[:-1])]
    assert windows[-1].stop == samples
    lengths = [w.samples for w in windows]
    assert max(lengths) <= window * RATE
    assert max(lengths) - min(lengths) <= 1
    assert len(windows) == 1 or min(lengths) >= RATE


@given(samples=st.integers(1, 32_000))
def test_a_clip_that_fits_in_a_window_is_not_cut(samples):
    assert cut(0, samples, window=WINDOW) == [Window(clip=0, begin=0, stop=samples)]


@pytest.mark.parametrize("window", [1.9, 0, -3, float("nan"), float("inf")])
def test_an_unusable_window_is_refused(window):
    with pytest.raises(InputError, match="give 2 to 1e"):
        cut(0, 100_000, window=window)
    with pytest.raises(InputError, match="give 2 to 1e"):
        plan([100_000], budget=100_000, window=window)


@given(mixed)
def test_windows_of_a_clip_stay_together_and_in_order(samples):
    order = [w for batch in plan(samples, budget=100_000, window=WINDOW) for w in batch]
    for clip in range(len(samples)):
        positions = [i for i, w in enumerate(order) if w.clip == clip]
        assert positions == list(range(positions[0], positions[0] + len(positions)))
        assert [order[i].number for i in positions] == list(range(order[positions[0]].count))


@given(mixed, st.integers(20_000, 200_000), st.data())
def test_the_rest_of_a_plan_is_the_plan_of_the_rest(samples, budget, data):
    batches = plan(samples, budget=budget, window=WINDOW)
    done = data.draw(st.integers(0, len(batches)))
    left = {w.clip for batch in batches[done:] for w in batch}
    begun = {w.clip for batch in batches[:done] for w in batch} & left
    if begun:  # a clip that takes several batches: none of it is stored before its last
        done = next(i for i, batch in enumerate(batches) if batch[0].clip in begun)
        left |= begun
    clips = sorted(left)
    again = plan([samples[clip] for clip in clips], budget=budget, window=WINDOW)
    assert [[replace(w, clip=clips[w.clip]) for w in batch] for batch in again] == batches[done:]


def test_batches_are_indexed_like_a_list():
    batches = plan_batches([8_000, 4_000, 400], window=60.0, budget=8_000)
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
    batches = [uncut([8_000, 6_000]), uncut([4_000])]
    assert padded_samples(batches) == 20_000
    assert padding_share(batches) == pytest.approx(0.1)
    assert padding_share([]) == 0.0


def test_silence_that_a_model_adds_counts_as_computed():
    """With 30 seconds for every clip, two fit into a budget of 60 seconds, however short they are."""
    batches = list(plan_batches([8_000] * 5, window=30.0, budget=60 * RATE, processed=lambda _: 30 * RATE))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert padded_samples(batches, processed=lambda _: 30 * RATE) == 5 * 30 * RATE
    assert padded_samples(batches) == 5 * 8_000
