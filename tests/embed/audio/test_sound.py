from __future__ import annotations

import os
import struct
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import Wav2Vec2FeatureExtractor

from layerprobe.cache.common.errors import ClipError
from layerprobe.embed.audio import sound as audio
from tests.sounds import FORMATS, clip_of, cut_off, noise, sound_file

pytestmark = pytest.mark.slow

RATES = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 44_101)
in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)


def read(clip):
    return audio.read_clip(clip, audio.probe(clip))


# Decoding


@pytest.mark.parametrize(
    ("subtype", "step"),
    [
        ("PCM_U8", 2**-7),
        ("PCM_16", 2**-15),
        ("PCM_24", 2**-23),
        ("PCM_32", 2**-24),
        ("FLOAT", 0),
        ("DOUBLE", 0),
    ],
)
def test_every_sample_format_is_scaled_to_one(tmp_path, subtype, step):
    wave = noise(8_000, level=0.2).clip(-1, 1)
    wave[:4] = (-1, 0, 0.5, -0.25)  # exact in 8 bits
    got = read(sound_file(tmp_path / "a.wav", wave, subtype=subtype))
    assert got.dtype == np.float32
    assert got[:4].tolist() == [-1, 0, 0.5, -0.25]
    np.testing.assert_allclose(got, wave, rtol=0, atol=step)


def test_16_bit_samples_are_divided_by_32768(tmp_path):
    numbers = np.array([-32_768, -1, 0, 1, 32_767] * 100, np.int16)
    soundfile.write(tmp_path / "a.wav", numbers, 16_000, subtype="PCM_16")
    np.testing.assert_array_equal(read(clip_of(tmp_path / "a.wav")), numbers / np.float32(32_768))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_is_read(tmp_path, kind, channels):
    wave = np.sin(2 * np.pi * 440 * np.arange(24_000) / 24_000)[:, None] * np.linspace(0.5, 0.3, channels)
    sound = audio.probe(clip := sound_file(tmp_path / f"a.{kind}", wave.squeeze().astype(np.float32), 24_000))
    assert (sound.rate, sound.channels, sound.samples, sound.seconds) == (24_000, channels, 16_000, 1.0)
    expected = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000) * wave.mean(axis=1).max()
    got = audio.read_clip(clip, sound)
    assert len(got) == 16_000
    # Lossy formats shift and colour a tone a little.
    assert np.corrcoef(got[2_000:-2_000], expected[2_000:-2_000])[0, 1] > 0.98
    assert got[2_000:-2_000].std() == pytest.approx(expected.std(), rel=0.05)


@pytest.mark.parametrize("channels", [2, 3, 6])
def test_channels_are_averaged(tmp_path, channels):
    wave = noise(4_000, channels=channels)
    got = read(sound_file(tmp_path / "a.wav", wave, subtype="FLOAT"))
    np.testing.assert_allclose(got, wave.mean(axis=1), rtol=0, atol=1e-7)


@in_one_folder
@given(rate=st.sampled_from(RATES), extra=st.integers(0, 500))
def test_probe_gives_the_number_of_samples(tmp_path, rate, extra):
    clip = sound_file(tmp_path / "a.wav", noise(rate // 20 + extra), rate)
    sound = audio.probe(clip)
    assert (
        len(audio.read_clip(clip, sound))
        == sound.samples
        == int(np.ceil((rate // 20 + extra) * 16_000 / rate))
    )


# Segments and windows


@in_one_folder
@given(
    rate=st.sampled_from(RATES),
    kind=st.sampled_from(FORMATS),
    segment=st.tuples(st.floats(0, 0.2), st.floats(0.3, 0.5)),
    window=st.tuples(st.floats(0, 0.999), st.floats(0, 1)),
)
def test_a_window_is_that_slice_of_the_clip(tmp_path, rate, kind, segment, window):
    if kind == "opus":
        rate = 48_000  # one of the few rates it knows
    elif kind == "mp3" and rate == 44_101:
        rate = 44_100
    path = tmp_path / f"{rate}.{kind}"
    if not path.exists():
        sound_file(path, noise(int(rate * 0.503)), rate)
    clip = clip_of(path, start=segment[0], end=segment[1])
    sound = audio.probe(clip)
    complete = audio.read_clip(clip, sound)
    begin, stop = sorted(round(share * sound.samples) for share in window)
    stop = max(stop, begin + 1)
    got = audio.read_clip(clip, sound, begin=begin, stop=stop)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, complete[begin:stop], rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate", RATES)
def test_a_segment_equals_a_file_of_its_own(tmp_path, rate):
    wave = noise(rate)
    complete = sound_file(tmp_path / "a.wav", wave, rate, subtype="FLOAT", start=0.25, end=0.75)
    cut = sound_file(tmp_path / "b.wav", wave[round(0.25 * rate) : round(0.75 * rate)], rate, subtype="FLOAT")
    np.testing.assert_allclose(read(complete), read(cut), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_a_segment_is_read_without_decoding_the_complete_file(tmp_path, monkeypatch, kind):
    complete = sound_file(tmp_path / f"a.{kind}", noise(60 * 16_000))
    decoded = 0
    original = soundfile.SoundFile.read

    def counted(self, *arguments, **options):
        nonlocal decoded
        got = original(self, *arguments, **options)
        decoded += len(got)
        return got

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    clip = clip_of(complete.path, start=40.0, end=41.0)
    assert len(audio.read_clip(clip, audio.probe(clip))) == 16_000
    assert decoded == 16_000


def test_start_or_end_may_be_given_alone(tmp_path):
    wave = noise(16_000)
    clip = sound_file(tmp_path / "a.wav", wave, subtype="FLOAT")
    np.testing.assert_array_equal(read(replace(clip, start=0.6)), wave[9_600:])
    np.testing.assert_array_equal(read(replace(clip, end=0.6)), wave[:9_600])


def test_times_fall_on_the_nearest_sample(tmp_path):
    clip = sound_file(tmp_path / "a.wav", noise(24_000), 24_000, start=0.009, end=0.072)
    sound = audio.probe(clip)  # 0.009 × 24,000 is a hair under 216 in floats
    assert (sound.begin, sound.stop) == (216, 1_728)


@pytest.mark.parametrize("kind", FORMATS)
def test_consecutive_windows_join_to_the_clip(tmp_path, kind):
    rate = 48_000
    clip = sound_file(tmp_path / f"a.{kind}", noise(3 * rate), rate)
    sound = audio.probe(clip)
    spans = [(0, 17_000), (17_000, 30_001), (30_001, sound.samples)]
    parts = list(audio.read_windows(clip, sound, spans))
    np.testing.assert_allclose(np.concatenate(parts), audio.read_clip(clip, sound), rtol=0, atol=1e-6)


def test_an_end_rounded_up_in_the_table_is_the_end_of_the_file(tmp_path):
    clip = sound_file(tmp_path / "a.wav", noise(16_005), end=1.001)
    assert audio.probe(clip).stop == 16_005
    clip = replace(clip, end=1.004)
    assert audio.probe(clip).stop == 16_005
    with pytest.raises(ClipError, match=r"ends at 1\.01 s, but the file lasts 1\.000 s"):
        audio.probe(replace(clip, end=1.01))


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (2.0, None, r"starts at 2 s, but the file lasts 1\.000 s"),
        (1.0, None, r"starts at 1 s, but the file lasts 1\.000 s"),
        (-0.5, None, r"starts at -0\.5 s"),
        (0.5, 0.5, r"ends at 0\.5 s, not after its start at 0\.5 s"),
        (0.5, 0.2, r"ends at 0\.2 s, not after its start"),
        (None, 7.0, r"ends at 7 s, but the file lasts"),
        (0.5, 0.52, r"too short: lasts 20\.0 ms"),
    ],
)
def test_a_segment_outside_its_file_is_reported_with_both_times(tmp_path, start, end, message):
    clip = sound_file(tmp_path / "a.wav", noise(16_000), start=start, end=end)
    with pytest.raises(ClipError, match=message):
        audio.probe(clip)


# Faults


def _set(path, at, form, value):
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, at, value)
    path.write_bytes(data)


def _header_alone(path):
    path.write_bytes(path.read_bytes()[:40] + b"\0\0\0\0")


FAULTS = {
    "empty": (lambda path: path.write_bytes(b""), r"empty \(zero bytes\)"),
    "text": (lambda path: path.write_text("not sound" * 50), "not a sound file"),
    "half a header": (lambda path: path.write_bytes(path.read_bytes()[:20]), "not a sound file"),
    "header without data": (_header_alone, r"holds no samples \(a header without data\)"),
    "truncated": (lambda path: cut_off(path, keep=0.6), "truncated: .* more bytes than the file has"),
    "no channels": (lambda path: _set(path, 22, "<H", 0), "Channel count is zero"),
    "rate of zero": (lambda path: _set(path, 24, "<I", 0), "not a sound file"),
    "rate of one": (lambda path: _set(path, 24, "<I", 1), "sample rate of 1 Hz"),
    "rate of megahertz": (lambda path: _set(path, 24, "<I", 3_000_000), "sample rate of 3000000 Hz"),
    "deleted": (lambda path: path.unlink(), "cannot be read .*no such file"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_file_is_reported_with_its_reason(tmp_path, name):
    damage, message = FAULTS[name]
    clip = sound_file(tmp_path / "a.wav", noise(16_000))
    damage(clip.path)
    with pytest.raises(ClipError, match=message) as caught:
        audio.probe(clip)
    assert caught.value.where == str(clip.path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("keep", [0.35, 0.8])
def test_a_truncated_file_of_any_format_is_refused(tmp_path, kind, keep):
    clip = sound_file(tmp_path / f"a.{kind}", noise(64_000))
    cut_off(clip.path, keep=keep)
    with pytest.raises(ClipError, match="truncated"):
        read(clip)


def test_a_folder_and_a_pipe_are_not_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    for path in (tmp_path, tmp_path / "pipe.wav"):
        with pytest.raises(ClipError, match="is not a file"):
            audio.probe(clip_of(path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_reported(tmp_path):
    clip = sound_file(tmp_path / "a.wav", noise(16_000))
    clip.path.chmod(0)
    with pytest.raises(ClipError, match="permission denied"):
        audio.probe(clip)


def test_a_file_that_shrinks_after_its_header_was_read_is_truncated(tmp_path):
    clip = sound_file(tmp_path / "a.wav", noise(16_000))
    sound = audio.probe(clip)
    cut_off(clip.path, keep=0.5)
    with pytest.raises(ClipError, match=r"truncated: \d+( of \d+)? samples can be read"):
        audio.read_clip(clip, sound)
    with pytest.raises(ClipError, match="truncated"):
        audio.measure_moments(clip, sound)
    clip.path.unlink()
    with pytest.raises(ClipError, match="no such file"):
        audio.read_clip(clip, sound)


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_400_samples_at_16_khz_are_the_minimum(tmp_path, rate):
    least = rate // 40
    sound = audio.probe(sound_file(tmp_path / "a.wav", noise(least), rate))
    assert sound.samples == audio.MIN_SAMPLES
    with pytest.raises(ClipError, match="too short"):
        audio.probe(sound_file(tmp_path / "a.wav", noise(least - rate // 16_000 - 1), rate))


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("value", [0.0, 0.5, -0.25])
def test_a_constant_file_is_silent_at_any_rate(tmp_path, rate, value):
    clip = sound_file(tmp_path / "a.wav", np.full(rate, value, np.float32), rate, subtype="FLOAT")
    sound = audio.probe(clip)
    with pytest.raises(ClipError, match="silent"):
        audio.read_clip(clip, sound)
    assert audio.measure_moments(clip, sound).constant


def test_a_silent_window_of_a_clip_with_speech_is_accepted(tmp_path):
    wave = noise(48_000)
    wave[16_000:32_000] = 0
    clip = sound_file(tmp_path / "a.wav", wave)
    assert not audio.read_clip(clip, audio.probe(clip), begin=16_000, stop=32_000).any()
    assert not audio.measure_moments(clip, audio.probe(clip)).constant


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinite_samples_are_refused(tmp_path, rate, value):
    wave = noise(rate)
    wave[rate // 2] = value
    clip = sound_file(tmp_path / "a.wav", wave, rate, subtype="FLOAT")
    with pytest.raises(ClipError, match="NaN or infinite"):
        read(clip)
    moments = audio.measure_moments(clip, audio.probe(clip))
    assert not moments.finite
    with pytest.raises(ClipError, match="NaN or infinite"):
        moments.check(clip)


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (np.zeros(0), "too short"),
        (noise(399), "too short: lasts 24.9 ms, a model needs 25 ms"),
        (np.full(400, 0.1), "silent"),
        (np.where(np.arange(500) == 499, np.nan, 0.1), "NaN"),
        (np.where(np.arange(500) == 0, np.inf, 0.1), "NaN or infinite"),
    ],
)
def test_check_refuses_samples_that_no_model_can_use(tmp_path, wave, message):
    with pytest.raises(ClipError, match=message):
        audio.check_samples(wave.astype(np.float32), clip_of(tmp_path / "a.wav"))


def test_check_accepts_other_samples(tmp_path):
    audio.check_samples(noise(400), clip_of(tmp_path / "a.wav"))
    audio.check_samples(
        np.where(np.arange(400) == 7, 1e-6, 0).astype(np.float32), clip_of(tmp_path / "a.wav")
    )


# Moments and normalisation


@pytest.mark.parametrize("rate", [16_000, 22_050])
@pytest.mark.parametrize("offset", [0.0, 0.7])
def test_streamed_moments_equal_those_of_the_complete_clip(tmp_path, rate, offset):
    wave = noise(65 * rate, level=0.05) + np.float32(offset)
    clip = sound_file(tmp_path / "a.wav", wave, rate, subtype="FLOAT", start=0.5)
    sound = audio.probe(clip)
    complete = audio.read_clip(clip, sound).astype(np.float64)
    moments = audio.measure_moments(clip, sound)
    assert moments.count == len(complete) == sound.samples
    assert moments.finite
    assert not moments.constant
    assert moments.mean == pytest.approx(complete.mean(), abs=1e-9)
    assert moments.variance == pytest.approx(complete.var(), rel=1e-6)


def test_moments_of_a_long_clip_need_no_more_memory_than_a_block(tmp_path):
    clip = sound_file(tmp_path / "a.flac", noise(8_000 * 600), 8_000)
    sound = audio.probe(clip)
    tracemalloc.start()
    audio.measure_moments(clip, sound)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * sound.samples  # bytes: half of the complete clip in float64


def test_normalisation_equals_that_of_transformers():
    wave = noise(9_000) * 3 + np.float32(0.2)
    theirs = Wav2Vec2FeatureExtractor(do_normalize=True)(wave, sampling_rate=16_000).input_values[0]
    ours = audio.normalise(wave, float(wave.mean()), float(wave.var()))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)


# Threads


def test_decoder_threads_use_one_core_each_and_leave_the_caller_s_setting(tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with audio.DecoderThreads(3) as pool:
            assert set(pool.map(lambda _: torch.get_num_threads(), range(9))) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


NUMBERS = """
import sys, threading
import torch
from layerprobe.embed.audio.sound import DecoderThreads
if sys.argv[1] == "decode":
    with DecoderThreads(2) as pool:
        list(pool.map(abs, range(9)))
numbers = [torch.get_num_threads()]
later = threading.Thread(target=lambda: numbers.append(torch.get_num_threads()))
later.start(); later.join()
print(numbers)
"""


def test_what_runs_after_decoding_has_as_many_threads_as_without():
    """Fine-tuning on a CPU once trained on one core, since nothing had used torch's threads before."""
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    decoded, alone = (
        subprocess.check_output([sys.executable, "-c", NUMBERS, first], env=environment, text=True)
        for first in ("decode", "nothing")
    )
    assert decoded == alone


def test_many_threads_read_what_one_reads(tmp_path):
    clips = [
        sound_file(tmp_path / f"{i}.{kind}", noise(20_000, seed=i), 8_000)
        for i, kind in enumerate([*FORMATS] * 3)
    ]
    alone = [read(clip) for clip in clips]
    with audio.DecoderThreads(6) as pool:
        for got, expected in zip(pool.map(read, clips), alone, strict=True):
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)
