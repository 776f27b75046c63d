"""Ogg from the middle: the same samples as from the start, and little decoded for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from layerprobe.cache.common.errors import ClipError
from layerprobe.embed.audio.decoding import Decoder, open_decoder
from layerprobe.embed.audio.ogg import Spliced, spliced
from layerprobe.embed.manifest.clips import Clip
from tests.sounds import noise, sound_file

SECONDS = 90


def whole_of(clip: Clip) -> np.ndarray:
    samples, _ = soundfile.read(clip.path, dtype="float32", always_2d=True)
    return np.asarray(samples.mean(1))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many samples are decoded at a time."""
    counts: list[int] = []
    decode = Decoder._decode

    def counting(decoder: Decoder, count: int) -> np.ndarray:
        counts.append(count)
        return decode(decoder, count)

    monkeypatch.setattr(Decoder, "_decode", counting)
    return counts


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (16_000, 2), (48_000, 1)])
def test_a_place_holds_what_it_holds_in_the_whole(
    tmp_path: Path, rate: int, channels: int, decoded: list[int]
) -> None:
    length = SECONDS * rate + 123
    wave = noise(length, channels=channels, level=0.3)
    wave[length // 4 : length // 3] = 0
    clip = sound_file(tmp_path / "a.ogg", wave, rate)
    whole = whole_of(clip)
    rng = np.random.default_rng(0)
    places = [*rng.integers(0, length - 700, 25).tolist(), length - 700, 0]
    for place in places:
        with open_decoder(clip) as decoder:
            for begin in (place, int(rng.integers(0, length - 700))):
                got = decoder.read(begin, 700)
                np.testing.assert_allclose(got, whole[begin : begin + 700], rtol=0, atol=2e-7)
    each = sum(decoded) / len(places) / 2
    assert each < 15 * rate, "from the start it would be half the file"


def test_segments_of_many_bits_are_found_too(tmp_path: Path) -> None:
    """Packets that go on from page to page."""
    wave = noise(300_000, channels=2, level=0.9)
    path = tmp_path / "a.ogg"
    with soundfile.SoundFile(path, "w", 44_100, 2, "VORBIS", format="OGG", compression_level=0.0) as file:
        for at in range(0, len(wave), 8_000):
            file.write(wave[at : at + 8_000])
    clip = Clip(id="a", file=str(path))
    whole = whole_of(clip)
    for begin in range(150_000, 300_000 - 500, 9_973):
        with open_decoder(clip) as decoder:
            np.testing.assert_allclose(decoder.read(begin, 500), whole[begin : begin + 500], atol=2e-7)


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("level", [0.3, 0.9, 1.0])
def test_the_end_of_a_file_is_in_its_place(tmp_path: Path, rate: int, level: float) -> None:
    """The last page tells more samples than the stream has; how many differs from file to file."""
    rng = np.random.default_rng(0)
    for length in rng.integers(20 * rate, 24 * rate, 4).tolist():
        path = tmp_path / f"{length}.ogg"
        with soundfile.SoundFile(path, "w", rate, 1, "VORBIS", format="OGG", compression_level=level) as file:
            wave = noise(length, level=0.3)
            for at in range(0, length, 8_000):
                file.write(wave[at : at + 8_000])
        clip = Clip(id="a", file=str(path))
        whole = whole_of(clip)
        for back in rng.integers(600, rate, 6).tolist():
            with open_decoder(clip) as decoder:
                got = decoder.read(length - back, 500)
                np.testing.assert_allclose(got, whole[length - back :][:500], rtol=0, atol=2e-7)


def opened_at(clip: Clip, sample: int) -> Spliced | None:
    with clip.path.open("rb") as raw:
        return spliced(raw, sample)


def test_near_the_start_it_does_not_pay(tmp_path: Path) -> None:
    clip = sound_file(tmp_path / "a.ogg", noise(40 * 16_000))
    assert opened_at(clip, 16_000) is None
    assert opened_at(clip, 30 * 16_000) is not None


def test_opus_is_left_to_be_read_from_its_start(tmp_path: Path) -> None:
    """Its decoder hears what came long before."""
    clip = sound_file(tmp_path / "a.opus", noise(40 * 16_000))
    assert opened_at(clip, 30 * 16_000) is None


def test_streams_one_after_the_other_are_refused(tmp_path: Path) -> None:
    one, other = (
        sound_file(tmp_path / f"{name}.ogg", noise(60 * 16_000, seed=seed))
        for seed, name in enumerate(("one", "other"))
    )
    one.path.write_bytes(one.path.read_bytes() + other.path.read_bytes())
    assert opened_at(one, 90 * 16_000) is None
    with (
        open_decoder(one) as decoder,
        pytest.raises(ClipError, match="several streams, of which only the first"),
    ):
        decoder.length()


def test_a_stream_that_was_tuned_in_to_is_read_from_its_start(tmp_path: Path, decoded: list[int]) -> None:
    """Its pages count from the start of a broadcast that the file does not have."""
    clip = sound_file(tmp_path / "a.ogg", noise(SECONDS * 16_000))
    with clip.path.open("rb") as raw:
        part = spliced(raw, 30 * 16_000)
        assert part is not None
        data = part.readall()
    clip.path.write_bytes(data)
    whole = whole_of(clip)
    begin = len(whole) - 20_000
    with open_decoder(clip) as decoder:
        np.testing.assert_allclose(decoder.read(begin, 500), whole[begin : begin + 500], atol=2e-7)
    assert sum(decoded) > begin


def test_what_is_spliced_can_be_sought_in(tmp_path: Path) -> None:
    clip = sound_file(tmp_path / "a.ogg", noise(60 * 16_000))
    with clip.path.open("rb") as raw:
        part = spliced(raw, 40 * 16_000)
        assert part is not None
        data = part.readall()
        for begin, count in ((0, 100), (3_000, 5_000), (len(data) - 10, 50), (len(data) + 5, 3)):
            part.seek(begin)
            assert part.read(count) == data[begin : begin + count]
            assert part.tell() == begin + len(data[begin : begin + count])
        assert part.seek(-4, 2) == len(data) - 4
        assert part.read() == data[-4:]
