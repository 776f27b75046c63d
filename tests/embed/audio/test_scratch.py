"""Segments of files that can only be decoded from their start: one decoding each, in bounded space."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from layerprobe.cache.common.errors import ClipError
from layerprobe.embed.audio import scratch, sources
from layerprobe.embed.audio import sound as audio
from layerprobe.embed.audio.decoding import open_decoder
from tests.sounds import COMPRESSED, clip_of, encoded, noise, sound_file

SECONDS = 40
KINDS = ("ogg", "opus", "mp3", "m4a", "webm")


def recording(folder, kind: str, seconds: int = SECONDS, channels: int = 1):
    if kind in COMPRESSED:
        rate = COMPRESSED[kind][2]
        return encoded(folder / f"a.{kind}", noise(seconds * rate, channels=channels, level=0.3), kind=kind)
    return sound_file(folder / f"a.{kind}", noise(seconds * 16_000, channels=channels, level=0.3)).path


def read(path, start, end):
    clip = clip_of(path, start=start, end=end)
    return audio.read_clip(clip, audio.probe(clip))


@pytest.fixture
def decoded(monkeypatch):
    """Samples that each of the decoders has decoded."""
    counts = {"samples": 0}
    for kind in (sources.SoundFileSource, sources.FFmpegSource):

        def counting(self, count, *, original=kind.read):
            samples = original(self, count)
            counts["samples"] += len(samples)
            return samples

        monkeypatch.setattr(kind, "read", counting)
    return counts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 2])
def test_segments_in_any_order_are_those_of_the_complete_file(tmp_path, kind, channels):
    path = recording(tmp_path, kind, channels=channels)
    with open_decoder(clip_of(path)) as decoder:
        rate, length = decoder.rate, decoder.length()
        complete = decoder.read(0, length).copy()
    rng = np.random.default_rng(0)
    for begin in [length - 900, 0, *rng.integers(0, length - 900, 20).tolist()]:
        with open_decoder(clip_of(path)) as decoder:
            np.testing.assert_array_equal(decoder.read(begin, 900), complete[begin : begin + 900])
            other = int(rng.integers(0, length - 900))
            np.testing.assert_array_equal(decoder.read(other, 900), complete[other : other + 900])
    assert length == pytest.approx(SECONDS * rate, abs=4_096)


@pytest.mark.parametrize("kind", KINDS)
def test_segments_cost_one_decoding_however_many_they_are(tmp_path, kind, decoded):
    path = recording(tmp_path, kind)
    with scratch.scratch_space(1 << 30, tmp_path), ThreadPoolExecutor(4) as pool:
        read(path, 39, 39.5)
        first = decoded["samples"]
        spans = np.random.default_rng(0).permutation(np.arange(11, 39, 0.25))
        list(pool.map(lambda start: read(path, start, start + 0.5), spans))
    rate = audio.probe(clip_of(path)).rate
    assert first >= SECONDS * rate - 1
    assert decoded["samples"] <= first + SECONDS * rate  # and once more where only decoding tells the length


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("budget", [0, 1 << 20])
def test_without_space_segments_are_decoded_from_the_start(tmp_path, kind, budget):
    path = recording(tmp_path, kind, seconds=20)
    expected = read(path, 15, 16)
    with scratch.scratch_space(budget, tmp_path):
        space = scratch.current()
        for _ in range(2):
            np.testing.assert_array_equal(read(path, 15, 16), expected)
        assert space._used <= budget


def test_space_is_used_again_after_a_file_that_did_not_fit(tmp_path):
    long, short = recording(tmp_path, "mp3", seconds=60), recording(tmp_path, "opus", seconds=12)
    with scratch.scratch_space(3 << 20, tmp_path):
        read(long, 50, 51)  # 3.8 MB
        read(short, 11, 12)
        kept = [entry for entry in scratch.current()._entries.values() if entry.extents]
    assert len(kept) == 1


def test_the_space_is_free_afterwards_and_never_visible(tmp_path):
    path = recording(tmp_path, "mp3")
    before = sorted(tmp_path.iterdir()), len(list(Path("/proc/self/fd").iterdir()))
    with scratch.scratch_space(1 << 30, tmp_path):
        read(path, 30, 31)
        assert sorted(tmp_path.iterdir()) == before[0]
        assert scratch.current()._used > 0
    assert (sorted(tmp_path.iterdir()), len(list(Path("/proc/self/fd").iterdir()))) == before


def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path):
    path = recording(tmp_path, "mp3")
    with scratch.scratch_space(1 << 30, tmp_path / "missing"):
        assert len(read(path, 30, 31)) == 16_000


def test_a_changed_file_is_decoded_again(tmp_path):
    path = sound_file(tmp_path / "a.mp3", noise(20 * 16_000)).path
    with scratch.scratch_space(1 << 30, tmp_path):
        first = read(path, 15, 16)
        sound_file(path, noise(20 * 16_000, seed=1))
        os.utime(path, (1, 1))
        assert np.abs(read(path, 15, 16) - first).max() > 0.01


def test_a_file_that_cannot_be_decoded_fails_once_for_all_its_segments(tmp_path, decoded):
    path = recording(tmp_path, "m4a", seconds=30)
    clip = clip_of(path, start=25, end=26)
    info = audio.probe(clip)
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + len(data) // 3
    data[middle : middle + 3_000] = np.random.default_rng(0).bytes(3_000)
    path.write_bytes(data)
    with scratch.scratch_space(1 << 30, tmp_path):
        for _ in range(3):
            with pytest.raises(ClipError, match="truncated or damaged: decoding fails"):
                audio.read_clip(clip, info)
            after = decoded["samples"]
    assert decoded["samples"] == after


def test_a_forked_process_has_its_own_space(tmp_path):
    path = recording(tmp_path, "mp3")
    expected = read(path, 30, 31)
    with scratch.scratch_space(1 << 30, tmp_path):
        read(path, 20, 21)
        space = scratch.current()
        space._process = -1  # as after a fork
        descriptor = space._descriptor
        np.testing.assert_array_equal(read(path, 30, 31), expected)
        assert space._descriptor != descriptor
        os.close(descriptor)
