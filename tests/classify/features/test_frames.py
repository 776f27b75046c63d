from __future__ import annotations

import numpy as np
import pytest

import layerprobe.classify.features.frames as frames_module
from layerprobe.cache.common.errors import InputError, MissingStatesError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import Scaling
from layerprobe.classify.data.dataset import Dataset, join_labels
from layerprobe.classify.features.frames import Frames, ScaledFrames, mean_states, read_frames
from tests.studies import made_clips, made_frames

TRAIN = np.arange(12)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureStore, Dataset]:
    folder = tmp_path_factory.mktemp("frames")
    clips = made_clips(folder / "corpus", speakers=4, each=6, classes=2)
    store = made_frames(folder / "cache", clips)
    return store, join_labels(clips, store, target="emotion")


def read(stored: tuple[FeatureStore, Dataset], *, budget: int = 1 << 30) -> Frames:
    store, data = stored
    return read_frames(store, "0", data.keys, budget=budget)


@pytest.mark.parametrize("budget", [0, 1 << 30])
def test_every_clip_has_its_own_frames_in_memory_or_in_a_file(
    budget: int, stored: tuple[FeatureStore, Dataset]
) -> None:
    frames = read(stored, budget=budget)
    assert isinstance(frames.states, np.memmap) == (budget == 0)
    store, data = stored
    for clip, key in enumerate(data.keys):
        own = store.frames("0", key)
        np.testing.assert_array_equal(frames.of(clip), own)
        np.testing.assert_allclose(frames.sums[clip], own.sum(0), rtol=1e-4)


def test_means_are_those_of_each_clips_frames_however_many_are_read_at_once(
    stored: tuple[FeatureStore, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, data = stored
    expected = [store.frames("0", key).mean(0) for key in data.keys]
    for at_once in (7, 1000):
        monkeypatch.setattr(frames_module, "AT_ONCE", at_once)
        np.testing.assert_allclose(mean_states(store, "0", data.keys), expected, atol=1e-5)


def test_memory_mapped_frames_do_not_count_as_memory(stored: tuple[FeatureStore, Dataset]) -> None:
    assert read(stored).nbytes - read(stored, budget=0).nbytes == read(stored).states.nbytes


def test_a_missing_clip_is_an_error(stored: tuple[FeatureStore, Dataset]) -> None:
    with pytest.raises(MissingStatesError):
        read_frames(stored[0], "0", ["e" * 64], budget=1 << 30)


def test_a_batch_is_padded_with_zeros_and_standardised_on_training_clips(
    stored: tuple[FeatureStore, Dataset],
) -> None:
    frames = read(stored)
    scaled = ScaledFrames.fit(frames, train=TRAIN, scaling="standard", speakers=None)
    batch, lengths = scaled.batch(TRAIN)
    real = np.concatenate([clip[:length] for clip, length in zip(batch, lengths, strict=True)])
    assert len(real) == frames.counts[TRAIN].sum()
    np.testing.assert_allclose(real.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(real.std(0), 1, atol=1e-4)
    assert all(not clip[length:].any() for clip, length in zip(batch, lengths, strict=True))
    alone, _ = scaled.batch(TRAIN[3:4])
    np.testing.assert_array_equal(alone[0], batch[3, : lengths[3]])


def test_test_clips_change_no_scale(stored: tuple[FeatureStore, Dataset]) -> None:
    frames = read(stored)
    before, _ = ScaledFrames.fit(frames, train=TRAIN, scaling="standard", speakers=None).batch(TRAIN)
    frames.sums[12:] += 100
    after, _ = ScaledFrames.fit(frames, train=TRAIN, scaling="standard", speakers=None).batch(TRAIN)
    np.testing.assert_array_equal(before, after)


def test_other_ways_of_scaling(stored: tuple[FeatureStore, Dataset]) -> None:
    frames, (_, data) = read(stored), stored

    def real(scaling: Scaling, clips: np.ndarray) -> np.ndarray:
        batch, lengths = ScaledFrames.fit(frames, train=TRAIN, scaling=scaling, speakers=data.speakers).batch(
            clips
        )
        return np.concatenate([clip[:length] for clip, length in zip(batch, lengths, strict=True)])

    np.testing.assert_allclose(real("none", TRAIN).mean(0), 0, atol=1e-4)
    assert real("none", TRAIN).std(0).max() > 1.5
    np.testing.assert_allclose(np.square(real("l2", TRAIN)).mean(1), 1, rtol=1e-4)
    assert data.speakers is not None
    voice = real("speaker", np.flatnonzero(data.speakers == 3))  # a speaker of the test part
    np.testing.assert_allclose(voice.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(voice.std(0), 1, atol=1e-4)
    with pytest.raises(InputError, match="names no speakers"):
        ScaledFrames.fit(frames, train=TRAIN, scaling="speaker", speakers=None)


def test_a_constant_column_stays_finite(stored: tuple[FeatureStore, Dataset]) -> None:
    frames = read(stored)
    frames.sums[:, 0], frames.squares[:, 0] = 3 * frames.counts, 9 * frames.counts
    frames.states[:, 0] = 3
    batch, _ = ScaledFrames.fit(frames, train=TRAIN, scaling="standard", speakers=None).batch(TRAIN)
    assert not batch[..., 0].any()
