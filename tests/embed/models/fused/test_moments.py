"""Moments over each clip's own frames, merged from the frames that all clips have and the others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.embed.models.fused.moments import TailMask, clip_moments, merge_moments

CPU = torch.device("cpu")


@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    padding=st.integers(0, 5),
    offset=st.sampled_from([0.0, 7.0, -500.0]),
    layers=st.integers(1, 3),
    seed=st.integers(0, 999),
)
def test_moments_are_those_of_the_definition(counts, padding, offset, layers, seed):
    rng = np.random.default_rng(seed)
    states = rng.standard_normal((layers, len(counts), 4, max(counts) + padding)) + offset
    for clip, count in enumerate(counts):
        states[:, clip, :, count:] = rng.choice([np.nan, np.inf, 1e30])
    tail = TailMask(torch.tensor(counts), states.shape[-1], device=CPU)
    found = [clip_moments(torch.from_numpy(of_layer).float(), tail) for of_layer in states]
    mean, variance = merge_moments(found, tail)
    scale = 1 + abs(offset)
    for clip, count in enumerate(counts):
        own = states[:, clip, :, :count].astype(np.float32).astype(np.float64)
        np.testing.assert_allclose(mean[:, clip], own.mean(-1), rtol=2e-6, atol=2e-6 * scale)
        np.testing.assert_allclose(variance[:, clip].sqrt(), own.std(-1), rtol=2e-6, atol=2e-6 * scale)


def test_clips_of_one_length_need_no_mask():
    tail = TailMask(torch.tensor([4, 4]), 9, device=CPU)
    assert tail.beyond is None
    states = torch.randn(2, 3, 9)
    mean, _ = merge_moments([clip_moments(states, tail)], tail)
    torch.testing.assert_close(mean[0], states[..., :4].mean(-1))


@pytest.mark.parametrize("counts", [[0, 3], [2, 10]])
def test_counts_that_no_clip_can_have_are_refused(counts):
    with pytest.raises(ValueError, match="frames in 9"):
        TailMask(torch.tensor(counts), 9, device=CPU)
