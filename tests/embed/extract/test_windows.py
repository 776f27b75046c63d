from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.extract.batching import windows
from layerprobe.embed.extract.pooling import STATS, Merger, pool


@given(
    samples=st.integers(1, 5_000_000),
    window=st.floats(2, 100),
    rate=st.sampled_from([8_000, 16_000]),
)
def test_windows_cover_every_sample_once_and_none_is_a_scrap(samples, window, rate):
    cuts = windows(samples, window=window, rate=rate)
    assert cuts[0][0] == 0
    assert cuts[-1][1] == samples
    assert all(before[1] == after[0] for before, after in pairwise(cuts))
    lengths = [stop - begin for begin, stop in cuts]
    assert max(lengths) <= window * rate
    assert max(lengths) - min(lengths) <= 1
    assert len(cuts) == 1 or min(lengths) >= rate


@given(samples=st.integers(1, 32_000))
def test_what_fits_is_left_whole(samples):
    assert windows(samples, window=2, rate=16_000) == [(0, samples)]


@pytest.mark.parametrize("window", [1.9, 0, -3, float("nan"), float("inf")])
def test_a_window_that_cannot_be_cut_is_refused(window):
    with pytest.raises(InputError, match="at least 2 seconds"):
        windows(100_000, window=window, rate=16_000)


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=8),
    offset=st.sampled_from([0.0, 5.0, -300.0]),
    scale=st.sampled_from([1e-3, 1.0, 50.0]),
    stats=st.sampled_from([STATS, ("mean",), ("mean", "std"), ("min", "std", "mean"), ("max", "min")]),
    seed=st.integers(0, 2**32 - 1),
)
def test_merged_windows_equal_all_frames_at_once(lengths, offset, scale, stats, seed):
    rng = np.random.default_rng(seed)
    parts = [rng.standard_normal((n, 6)) * scale + offset for n in lengths]
    merger = Merger(stats)
    for part in parts:
        pooled = pool(torch.from_numpy(part)[None], torch.tensor([len(part)]), stats)[0]
        merger.add(pooled.numpy(), frames=len(part))
    whole = np.concatenate(parts)
    expected = np.stack([getattr(whole, stat)(axis=0) for stat in stats])
    assert merger.frames == len(whole)
    np.testing.assert_allclose(merger.result(), expected, rtol=2e-6, atol=2e-6 * (scale + abs(offset)))
    assert merger.result().dtype == np.float32


def test_adding_leaves_the_given_values_alone():
    merger = Merger(("mean", "max"))
    values = np.ones((2, 3), np.float32)
    merger.add(values, frames=1)
    merger.add(values * 5, frames=1)
    np.testing.assert_array_equal(values, 1)


def test_std_without_mean_cannot_be_merged():
    with pytest.raises(ValueError, match="mean"):
        Merger(("std",))
