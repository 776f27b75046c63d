"""Ogg Vorbis from the middle: the same samples as from the start, with little decoding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from layerprobe.cache.common.errors import ClipError
from layerprobe.embed.audio.decoding import Decoder, open_decoder
from layerprobe.embed.audio.libsndfile import VorbisTail, vorbis_tail
from layerprobe.embed.manifest.clips import Clip
from tests.sounds import noise, sound_file

SECONDS = 90


def decode_all(clip: Clip) -> np.ndarray:
    samples, _ = soundfile.read(clip.path, dtype="float32", always_2d=True)
    return np.asarray(samples.mean(1))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Samples of each call that decodes."""
    counts: list[int] = []
    decode = Decoder._decode

    def counting(decoder: Decoder, count: int) -> np.ndarray:
        counts.append(count)
        return decode(decoder, count)

    monkeypatch.setattr(Decoder, "_decode", counting)
    return counts


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (16_000, 2), (48_000, 1)])
def test_any_position_gives_the_samples_of_the_complete_file(
    tmp_path: Path, rate: int, channels: int, decoded: list[int]
) -> None:
    length = SECONDS * rate + 123
    wave = noise(length, channels=channels, level=0.3)
    wave[length // 4 : length // 3] = 0
    clip = sound_file(tmp_path / "a.ogg", wave, rate)
    complete = decode_all(clip)
    rng = np.random.default_rng(0)
    positions = [*rng.integers(0, length - 700, 25).tolist(), length - 700, 0]
    for position in positions:
        with open_decoder(clip) as decoder:
            for begin in (position, int(rng.integers(0, length - 700))):
                got = decoder.read(begin, 700)
                np.testing.assert_allclose(got, complete[begin : begin + 700], rtol=0, atol=2e-7)
    each = sum(decoded) / len(positions) / 2
    assert each < 15 * rate, "from the start it would be half the file"


def test_packets_over_several_pages(tmp_path: Path) -> None:
    wave = noise(300_000, channels=2, level=0.9)
    path = tmp_path / "a.ogg"
    with soundfile.SoundFile(path, "w", 44_100, 2, "VORBIS", format="OGG", compression_level=0.0) as file:
        for at in range(0, len(wave), 8_000):
            file.write(wave[at : at + 8_000])
    clip = Clip(id="a", file=str(path))
    complete = decode_all(clip)
    for begin in range(150_000, 300_000 - 500, 9_973):
        with open_decoder(clip) as decoder:
            np.testing.assert_allclose(decoder.read(begin, 500), complete[begin : begin + 500], atol=2e-7)


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("level", [0.3, 0.9, 1.0])
def test_the_end_of_a_file_is_at_its_position(tmp_path: Path, rate: int, level: float) -> None:
    """The last page declares more samples than the stream has; how many differs from file to file."""
    rng = np.random.default_rng(0)
    for length in rng.integers(20 * rate, 24 * rate, 4).tolist():
        path = tmp_path / f"{length}.ogg"
        with soundfile.SoundFile(path, "w", rate, 1, "VORBIS", format="OGG", compression_level=level) as file:
            wave = noise(length, level=0.3)
            for at in range(0, length, 8_000):
                file.write(wave[at : at + 8_000])
        clip = Clip(id="a", file=str(path))
        complete = decode_all(clip)
        for back in rng.integers(600, rate, 6).tolist():
            with open_decoder(clip) as decoder:
                got = decoder.read(length - back, 500)
                np.testing.assert_allclose(got, complete[length - back :][:500], rtol=0, atol=2e-7)


def tail_at(clip: Clip, sample: int) -> VorbisTail | None:
    with clip.path.open("rb") as raw:
        return vorbis_tail(raw, sample)


def test_near_the_start_files_are_decoded_from_their_start(tmp_path: Path) -> None:
    clip = sound_file(tmp_path / "a.ogg", noise(40 * 16_000))
    assert tail_at(clip, 16_000) is None
    assert tail_at(clip, 30 * 16_000) is not None


def test_opus_is_decoded_from_its_start(tmp_path: Path) -> None:
    """Its decoder depends on sound long before."""
    clip = sound_file(tmp_path / "a.opus", noise(40 * 16_000))
    assert tail_at(clip, 30 * 16_000) is None


def test_chained_streams_are_refused(tmp_path: Path) -> None:
    one, other = (
        sound_file(tmp_path / f"{name}.ogg", noise(60 * 16_000, seed=seed))
        for seed, name in enumerate(("one", "other"))
    )
    one.path.write_bytes(one.path.read_bytes() + other.path.read_bytes())
    assert tail_at(one, 90 * 16_000) is None
    with (
        open_decoder(one) as decoder,
        pytest.raises(ClipError, match="several streams, of which only the first"),
    ):
        decoder.length()


def test_a_recorded_broadcast_is_decoded_from_its_start(tmp_path: Path, decoded: list[int]) -> None:
    """Its pages count from the start of a broadcast whose start is not in the file."""
    clip = sound_file(tmp_path / "a.ogg", noise(SECONDS * 16_000))
    with clip.path.open("rb") as raw:
        tail = vorbis_tail(raw, 30 * 16_000)
        assert tail is not None
        data = tail.readall()
    clip.path.write_bytes(data)
    complete = decode_all(clip)
    begin = len(complete) - 20_000
    with open_decoder(clip) as decoder:
        np.testing.assert_allclose(decoder.read(begin, 500), complete[begin : begin + 500], atol=2e-7)
    assert sum(decoded) > begin


def test_a_spliced_file_is_seekable(tmp_path: Path) -> None:
    clip = sound_file(tmp_path / "a.ogg", noise(60 * 16_000))
    with clip.path.open("rb") as raw:
        tail = vorbis_tail(raw, 40 * 16_000)
        assert tail is not None
        data = tail.readall()
        for begin, count in ((0, 100), (3_000, 5_000), (len(data) - 10, 50), (len(data) + 5, 3)):
            tail.seek(begin)
            assert tail.read(count) == data[begin : begin + count]
            assert tail.tell() == begin + len(data[begin : begin + count])
        assert tail.seek(-4, 2) == len(data) - 4
        assert tail.read() == data[-4:]
