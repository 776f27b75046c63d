from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layerprobe.cache.common.errors import ClipError
from layerprobe.embed.audio import containers
from layerprobe.embed.audio import sound as audio
from layerprobe.embed.audio.decoding import open_decoder
from tests.sounds import FORMATS, clip_of, noise, ogg_pages, sound_file, without_first_mp3_frame

LENGTH = 90_000
RATE = 24_000
ROUNDING = 4e-6  # by which FFmpeg and libsndfile differ in MP3; others are equal to the last bit or two


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Format → clip and its samples as one uninterrupted read gives them, channels averaged."""
    folder = tmp_path_factory.mktemp("formats")
    made = {}
    for kind in FORMATS:
        wave = noise(LENGTH, channels=2, level=0.3)
        clip = sound_file(folder / f"a.{kind}", wave, RATE, mode="VARIABLE" if kind == "mp3" else None)
        made[kind] = clip, soundfile.read(clip.path, dtype="float32")[0].mean(axis=1)
    return made


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Kind of Ogg → the bytes of a short file and its samples."""
    folder = tmp_path_factory.mktemp("small")
    made = {}
    for kind in ("ogg", "opus"):
        path = sound_file(folder / f"a.{kind}", noise(RATE), RATE).path
        made[kind] = path.read_bytes(), soundfile.read(path, dtype="float32")[0]
    return made


@pytest.mark.parametrize("kind", FORMATS)
def test_the_length_is_what_can_be_read(files, kind):
    clip, complete = files[kind]
    with open_decoder(clip) as decoder:
        assert decoder.length() == len(complete) == LENGTH


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    kind=st.sampled_from(FORMATS),
    spans=st.lists(st.tuples(st.integers(0, LENGTH - 1), st.integers(0, 20_000)), min_size=1, max_size=6),
)
def test_reads_in_any_order_give_the_samples_of_the_complete_file(files, kind, spans):
    clip, complete = files[kind]
    with open_decoder(clip) as decoder:
        for begin, count in spans:
            count = min(count, LENGTH - begin)
            got = decoder.read(begin, count)
            assert got.dtype == np.float32
            np.testing.assert_allclose(got, complete[begin : begin + count], rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("overlap", [0, 300])
def test_consecutive_blocks_join_without_a_seam(files, kind, overlap):
    clip, complete = files[kind]
    joined = []
    with open_decoder(clip) as decoder:
        for begin in range(0, LENGTH, 7_001):
            start = max(0, begin - overlap)
            count = min(7_001, LENGTH - begin)
            joined.append(decoder.read(start, begin - start + count)[begin - start :])
    np.testing.assert_allclose(np.concatenate(joined), complete, rtol=0, atol=ROUNDING)


def test_positions_in_a_file_without_seeking_are_reached_by_reading(tmp_path):
    clip = sound_file(tmp_path / "telephone.wav", noise(8_000), 8_000, subtype="GSM610")
    with open_decoder(clip) as decoder:
        complete = decoder.read(0, 8_000)
    with open_decoder(clip) as decoder:
        np.testing.assert_array_equal(decoder.read(5_000, 1_000), complete[5_000:6_000])


def test_ogg_pages_are_found_although_libsndfile_may_miss_them(tmp_path):
    """In a file like this one, two seeks in five miss their position."""
    rng = np.random.default_rng(0)
    wave = rng.standard_normal((48_000, 2)).astype(np.float32) * 0.1
    clip = sound_file(tmp_path / "a.ogg", wave, 44_100)
    complete = soundfile.read(clip.path, dtype="float32")[0].mean(axis=1)
    with open_decoder(clip) as decoder:
        for begin in rng.integers(0, 48_000 - 500, 30):
            np.testing.assert_allclose(
                decoder.read(int(begin), 500), complete[begin : begin + 500], atol=ROUNDING
            )


def test_low_bit_rates_of_mp3_reach_far_back(tmp_path):
    """At 8 kbit/s a frame borrows from many before it, the most that the format allows."""
    path = tmp_path / "a.mp3"
    wave = noise(8 * RATE, level=0.3)
    with soundfile.SoundFile(
        path, "w", RATE, 1, "MPEG_LAYER_III", format="MP3", bitrate_mode="CONSTANT", compression_level=0.98
    ) as file:
        file.write(wave)
    complete, _ = soundfile.read(path, dtype="float32")
    rng = np.random.default_rng(0)
    with open_decoder(clip_of(path)) as decoder:
        for begin in rng.integers(0, len(complete) - 500, 40):
            got = decoder.read(int(begin), 500)
            np.testing.assert_allclose(got, complete[begin : begin + 500], rtol=0, atol=ROUNDING)


def test_the_extension_does_not_matter(tmp_path):
    wave = noise(8_000)
    clip = sound_file(tmp_path / "a.wav", wave, subtype="FLOAT")
    for name in ("a.raw", "a.mp3", "a"):
        other = clip_of(clip.path.rename(tmp_path / name))
        with open_decoder(other) as decoder:
            np.testing.assert_array_equal(decoder.read(0, 8_000), wave)
        clip = other


def test_a_flac_stream_of_unknown_length_is_counted(tmp_path):
    clip = sound_file(tmp_path / "a.flac", noise(300_001))
    data = bytearray(clip.path.read_bytes())
    data[21] &= 0xF0  # the 36 bits of the number of samples in STREAMINFO, as a pipe leaves them
    data[22:26] = b"\0\0\0\0"
    complete, _ = soundfile.read(clip.path, dtype="float32")
    clip.path.write_bytes(data)
    with open_decoder(clip) as decoder:
        assert decoder.length() == 300_001
    with open_decoder(clip) as decoder:
        np.testing.assert_array_equal(decoder.read(123_456, 10_000), complete[123_456:133_456])
        np.testing.assert_array_equal(decoder.read(1_000, 10_000), complete[1_000:11_000])


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_an_mp3_file_without_a_count_is_as_long_as_its_frames(tmp_path, rate):
    clip = sound_file(tmp_path / "a.mp3", noise(3 * rate), rate, mode="CONSTANT")
    without_first_mp3_frame(clip.path)
    with open_decoder(clip) as decoder:
        length = decoder.length()
    assert abs(length - 3 * rate) < 3 * 1_152
    with open_decoder(clip) as decoder:
        assert len(decoder.read(0, length)) == length


def test_an_mp3_file_of_variable_bit_rate_without_a_count_is_read_to_its_end(tmp_path):
    wave = noise(10 * 16_000, level=0.5)
    wave[80_000:] *= 1e-4  # loud first, so that the first frames' bit rate makes the file seem short
    clip = sound_file(tmp_path / "a.mp3", wave, mode="VARIABLE")
    with open_decoder(clip) as decoder:
        counted = decoder.read(0, decoder.length())
    without_first_mp3_frame(clip.path)
    with open_decoder(clip) as decoder:
        got = decoder.read(0, length := decoder.length())
    assert 160_000 < length < 160_000 + 4 * 1_152
    shift = 529 + 576  # samples of delay, which the first frame would declare
    np.testing.assert_allclose(got[shift:][:160_000], counted, rtol=0, atol=ROUNDING)


def damaged(data: bytes, how: str, at: int) -> bytes:
    """The bytes of a file, some of them changed from byte `at` on."""
    noisy = np.random.default_rng(0).bytes(2_000)
    return {
        "flipped": data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :],
        "zeroed": data[:at] + bytes(2_000) + data[at + 2_000 :],
        "random": data[:at] + noisy + data[at + 2_000 :],
        "removed": data[:at] + data[at + 2_001 :],
    }[how]


@pytest.mark.parametrize("how", ["flipped", "zeroed", "random", "removed"])
@pytest.mark.parametrize("kind", ["ogg", "opus", "mp3", "mp3 without a count"])
def test_a_damaged_file_is_refused_with_all_its_segments(tmp_path, kind, how):
    """libsndfile drops what is damaged, and what follows moves forward."""
    path = tmp_path / f"a.{kind[:4].strip()}"
    sound_file(path, noise(10 * RATE, level=0.3), RATE, mode="CONSTANT" if "mp3" in kind else None)
    if "without" in kind:
        without_first_mp3_frame(path)
    data = path.read_bytes()
    begins = [found.start() for found in re.finditer(re.escape(data[:2]), data)] if "mp3" in kind else []
    for share in (0.2, 0.5, 0.9):
        at = int(len(data) * share)
        if begins:  # MP3 has no checksum of its sound, only a chain of headers
            at = min(begin for begin in begins if begin >= at) + (how == "removed")
        other = tmp_path / f"{share}"
        other.write_bytes(damaged(data, how, at))
        for start, end in ((None, None), (0.1, 0.9), (4, 4.5), (8, 9)):
            with pytest.raises(ClipError, match=f"{share}: (damaged|truncated): .*; copy it again"):
                audio.probe(clip_of(other, start=start, end=end))
    assert audio.probe(clip_of(path, start=8, end=9)).seconds == 1


def test_ogg_without_its_last_pages_is_refused(tmp_path):
    for kind in ("ogg", "opus"):
        path = sound_file(tmp_path / f"a.{kind}", noise(10 * RATE), RATE).path
        data = path.read_bytes()
        for begin, _ in ogg_pages(data)[3:]:
            path.write_bytes(data[:begin])
            with (
                open_decoder(clip_of(path)) as decoder,
                pytest.raises(ClipError, match=r"last page .* is missing"),
            ):
                decoder.length()


@pytest.mark.parametrize("kind", ["ogg", "opus", "mp3"])
def test_bytes_after_the_sound_are_ignored(tmp_path, kind):
    clip = sound_file(tmp_path / f"a.{kind}", noise(5 * RATE, level=0.3), RATE)
    complete, _ = soundfile.read(clip.path, dtype="float32")
    clip.path.write_bytes(clip.path.read_bytes() + np.random.default_rng(0).bytes(3_000))
    with open_decoder(clip) as decoder:
        assert decoder.length() == len(complete) == 5 * RATE
        np.testing.assert_allclose(decoder.read(0, len(complete)), complete, rtol=0, atol=ROUNDING)


def test_a_file_is_checked_once_for_all_its_segments_and_again_when_it_changes(tmp_path, monkeypatch):
    checked = []
    check = containers._CHECKS["OGG"]

    def counting(raw):
        checked.append(raw.name)
        return check(raw)

    monkeypatch.setitem(containers._CHECKS, "OGG", counting)
    clip = sound_file(tmp_path / "a.ogg", noise(10 * RATE), RATE)
    data = clip.path.read_bytes()
    for start in range(9):
        audio.probe(clip_of(clip.path, start=start, end=start + 1))
    assert len(checked) == 1
    clip.path.write_bytes(damaged(data, "flipped", len(data) // 2))
    os.utime(clip.path, (1, 1))  # a clock may stand still between two writes
    with pytest.raises(ClipError, match="damaged"):
        audio.probe(clip)
    clip.path.write_bytes(data)
    os.utime(clip.path, (2, 2))
    audio.probe(clip)
    assert len(checked) == 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(data=st.data(), kind=st.sampled_from(["ogg", "opus"]))
def test_one_flipped_bit_of_ogg_is_refused_or_changes_nothing(small, data, kind, tmp_path):
    complete, samples = small[kind]
    bit = data.draw(st.integers(0, 8 * len(complete) - 1))
    clip = clip_of(tmp_path / f"{kind}{bit}")
    clip.path.write_bytes(
        complete[: bit // 8] + bytes([complete[bit // 8] ^ 1 << bit % 8]) + complete[bit // 8 + 1 :]
    )
    try:
        with open_decoder(clip) as decoder:
            got = decoder.read(0, decoder.length())
    except ClipError:
        return
    np.testing.assert_array_equal(got, samples)


def test_nan_and_infinity_are_detected_at_any_position(tmp_path):
    for value in (np.nan, np.inf, -np.inf):
        wave = noise(30_000)
        wave[20_000] = value
        with open_decoder(sound_file(tmp_path / "a.wav", wave, subtype="FLOAT")) as decoder:
            decoder.read(0, 20_000)
            assert decoder.finite
            decoder.read(20_000, 5_000)
            assert not decoder.finite
            decoder.read(25_000, 5_000)
            assert not decoder.finite


def test_threads_may_decode_concurrently(files):
    def decode_all(kind: str) -> np.ndarray:
        with open_decoder(files[kind][0]) as decoder:
            return np.concatenate([decoder.read(at, 3_000) for at in range(0, LENGTH, 3_000)])

    kinds = list(FORMATS) * 4
    with ThreadPoolExecutor(8) as pool:
        for kind, got in zip(kinds, pool.map(decode_all, kinds), strict=True):
            np.testing.assert_allclose(got, files[kind][1], rtol=0, atol=ROUNDING)
