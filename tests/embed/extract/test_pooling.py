"""Statistics of clips over their own frames, and of clips cut into windows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.embed.config import STATS
from layerprobe.embed.extract.pooling import Pooling, WindowMerger, pool


def pool_launched(states: torch.Tensor, frames: torch.Tensor, stats: Sequence[str]) -> torch.Tensor:
    """As on a GPU, where the last steps are taken for all layers together; here with two."""
    pooling = Pooling(stats)
    pooling.add(states, frames)
    pooling.add(2 * states, frames)
    here, doubled = pooling.result()
    torch.testing.assert_close(2 * here, doubled, rtol=0, atol=0, equal_nan=True)
    return here


WAYS = pytest.mark.parametrize("pool", [pool, pool_launched], ids=["cpu", "gpu"])


def reference(states: np.ndarray, frames: list[int], stats: tuple[str, ...]) -> np.ndarray:
    own = [clip[:count].astype(np.float64) for clip, count in zip(states, frames, strict=True)]
    return np.stack([[getattr(clip, stat)(axis=0) for stat in stats] for clip in own])


@WAYS
@given(
    frames=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    padding=st.integers(0, 9),
    padding_value=st.sampled_from([0.0, 1e30, float("nan"), float("inf"), float("-inf")]),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    offset=st.sampled_from([0.0, 30.0, -200.0]),
    stats=st.lists(st.sampled_from(STATS), min_size=1, max_size=4, unique=True).map(tuple),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_statistic_is_that_of_the_clips_own_frames(
    pool, frames, padding, padding_value, dtype, offset, stats, seed
):
    rng = np.random.default_rng(seed)
    states = torch.from_numpy(rng.standard_normal((len(frames), max(frames) + padding, 5)) + offset).to(dtype)
    for clip, count in enumerate(frames):
        states[clip, count:] = padding_value
    before = states.clone()
    pooled = pool(states, torch.tensor(frames), stats)
    assert pooled.dtype == torch.float32
    assert pooled.shape == (len(frames), len(stats), 5)
    expected = reference(states.float().numpy(), frames, stats)
    np.testing.assert_allclose(pooled.numpy(), expected, rtol=2e-6, atol=2e-6 * (1 + abs(offset)))
    assert torch.equal(states.nan_to_num(), before.nan_to_num())


@WAYS
@given(
    count=st.integers(1, 60), others=st.integers(0, 4), padding=st.integers(0, 100), seed=st.integers(0, 99)
)
def test_other_clips_in_the_batch_change_nothing(pool, count, others, padding, seed):
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(1 + others, count + padding, 16, generator=generator) + 3
    frames = torch.full((1 + others,), count + padding)
    frames[0] = count
    together = pool(states, frames, STATS)[0]
    alone = pool(states[:1, :count], frames[:1], STATS)[0]
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-6)


@WAYS
def test_a_large_mean_costs_the_deviation_no_precision(pool):
    states = 10_000 + torch.tensor([-1.0, 1.0]).repeat(500)[None, :, None]
    assert pool(states, torch.tensor([1000]), ("std",)).item() == pytest.approx(1, rel=1e-5)


@WAYS
def test_a_single_frame_has_no_spread(pool):
    states = torch.randn(2, 3, 4)
    pooled = pool(states, torch.tensor([1, 1]), ("std", "mean"))
    assert torch.equal(pooled[:, 0], torch.zeros(2, 4))
    assert torch.equal(pooled[:, 1], states[:, 0])


@WAYS
def test_nan_within_a_clip_propagates(pool):
    states = torch.ones(2, 4, 3)
    states[0, 1, 2] = torch.nan
    pooled = pool(states, torch.tensor([4, 4]), STATS)
    assert pooled[0, :, 2].isnan().all()
    assert pooled[0, :, :2].isfinite().all()
    assert pooled[1].isfinite().all()


@WAYS
def test_sums_ignore_autocast(pool):
    states = torch.randn(3, 50, 8, dtype=torch.bfloat16)
    frames = torch.tensor([50, 20, 1])
    plain = pool(states, frames, STATS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(pool(states, frames, STATS), plain)


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=8),
    offset=st.sampled_from([0.0, 5.0, -300.0]),
    scale=st.sampled_from([1e-3, 1.0, 50.0]),
    stats=st.sampled_from([STATS, ("mean",), ("mean", "std"), ("min", "std", "mean"), ("max", "min")]),
    seed=st.integers(0, 2**32 - 1),
)
def test_merged_windows_equal_all_frames_at_once(lengths, offset, scale, stats, seed):
    rng = np.random.default_rng(seed)
    windows = [rng.standard_normal((n, 6)) * scale + offset for n in lengths]
    merger = WindowMerger(stats)
    for window in windows:
        pooled = pool(torch.from_numpy(window)[None], torch.tensor([len(window)]), stats)[0]
        merger.add(pooled.numpy(), frames=len(window))
    frames = np.concatenate(windows)
    expected = np.stack([getattr(frames, stat)(axis=0) for stat in stats])
    assert merger.frames == len(frames)
    np.testing.assert_allclose(merger.result(), expected, rtol=2e-6, atol=2e-6 * (scale + abs(offset)))
    assert merger.result().dtype == np.float32


def test_merging_leaves_the_added_values_unchanged():
    merger = WindowMerger(("mean", "max"))
    values = np.ones((2, 3), np.float32)
    merger.add(values, frames=1)
    merger.add(values * 5, frames=1)
    np.testing.assert_array_equal(values, 1)


def test_std_without_mean_cannot_be_merged():
    with pytest.raises(ValueError, match="mean"):
        WindowMerger(("std",))
