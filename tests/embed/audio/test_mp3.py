"""MP3 by its frames: what is whole passes, what breaks their chain is told, tags and padding are neither."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from layerprobe.embed.audio.mp3 import Mp3Scan, scan_frames
from tests.sounds import noise, sound_file, without_first_mp3_frame

RATE = 16_000
ID3 = b"ID3\x04\0\0" + bytes([0, 0, 2, 1]) + b"\0" * 257
TAGS = {
    "ID3v1": b"TAG" + b"x" * 125,
    "ID3v2": ID3,
    "ID3v2 with a footer": b"ID3\x04\0\x10" + bytes([0, 0, 0, 9]) + b"y" * 9 + b"3DI\x04\0\x10" + bytes(4),
    "APE": b"APETAGEX" + b"\xd0\7\0\0" + b"\x2c\0\0\0\1\0\0\0" + b"\0\0\0\xa0" + b"z" * 52,
}


@pytest.fixture(scope="module", params=["counted", "uncounted", "constant"])
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole file of four seconds, with or without a header that counts its frames."""
    path = tmp_path_factory.mktemp("mp3") / "a.mp3"
    mode = "CONSTANT" if request.param == "constant" else "VARIABLE"
    sound_file(path, noise(4 * RATE, level=0.3), mode=mode)
    return (path if request.param == "counted" else without_first_mp3_frame(path)).read_bytes()


def frames(folder: Path, data: bytes) -> Mp3Scan:
    path = folder / "other"
    path.write_bytes(data)
    return scan_frames(path)


def fault(folder: Path, data: bytes) -> str:
    return str(frames(folder, data).fault)


def boundaries(data: bytes) -> list[int]:
    """Where frames begin: libsndfile's encoder writes the same first two bytes for each."""
    found = [place.start() for place in re.finditer(re.escape(data[:2]), data)]
    return [at for at in found if data[at + 2] & 0x0C == data[2] & 0x0C and data[at + 3] >> 6 == 3]


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_frames_are_counted_where_nobody_wrote_their_number_down(
    tmp_path: Path, rate: int, channels: int
) -> None:
    path = sound_file(tmp_path / "a.mp3", noise(rate, channels=channels), rate, mode="CONSTANT").path
    assert scan_frames(path) == Mp3Scan(None, None)
    with soundfile.SoundFile(path) as file:
        counted = file.frames
    found = scan_frames(without_first_mp3_frame(path))
    # Encoders pad by a decoder's delay and fill up the last frame.
    assert found.fault is None
    assert found.samples is not None
    assert counted < found.samples <= counted + 3 * 1_152
    assert found.samples % 576 == 0


@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_whole_files_of_any_length_pass(tmp_path: Path, rate: int, mode: str) -> None:
    for channels, length in ((1, rate // 40), (2, rate // 3), (2, 5 * rate + 1), (1, 40 * rate)):
        wave = noise(length, channels=channels, level=0.3)
        path = sound_file(tmp_path / f"{length}.mp3", wave, rate, mode=mode).path
        assert scan_frames(path) == Mp3Scan(None, None)
        assert scan_frames(without_first_mp3_frame(path)).fault is None


@pytest.mark.parametrize("tag", TAGS)
def test_tags_and_padding_change_nothing(data: bytes, tmp_path: Path, tag: str) -> None:
    whole = frames(tmp_path, data)
    assert whole.fault is None
    middle = boundaries(data)[20]
    for other in (
        TAGS[tag] + data,
        data + TAGS[tag],
        data[:middle] + TAGS[tag] + data[middle:],
        data + bytes(5_000) + TAGS[tag],
        TAGS[tag] + ID3 + bytes(700) + data + TAGS[tag],
    ):
        assert frames(tmp_path, other) == whole


def test_what_other_programs_put_around_the_frames_is_no_fault(data: bytes, tmp_path: Path) -> None:
    whole = frames(tmp_path, data)
    for seed in range(5):
        noisy = np.random.default_rng(seed).bytes(70_000)
        assert frames(tmp_path, data + noisy) == whole
        assert frames(tmp_path, noisy[:2_000] + data) == whole


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_bytes_that_were_lost_or_overwritten_are_seen(data: bytes, tmp_path: Path, share: float) -> None:
    noisy = np.random.default_rng(0).bytes(2_000)
    at = boundaries(data)[int(len(boundaries(data)) * share)] - 100
    for count in (150, 301, 907):
        rest = data[at + count :]
        for left in (rest, bytes(count) + rest, noisy[:count] + rest):
            assert fault(tmp_path, data[:at] + left).startswith("damaged: frames of MP3 are broken about ")
        assert fault(tmp_path, data[:at] + noisy[:count] + data[at:]).startswith("damaged: ")


def test_the_place_of_the_damage_is_told(data: bytes, tmp_path: Path) -> None:
    at = boundaries(data)[56]  # frames of 36 ms
    assert re.search(r"about 2\.0 s from its start \(byte", fault(tmp_path, data[: at + 2] + data[at + 7 :]))


def test_a_broken_header_of_any_frame_with_sound_behind_it_is_seen(data: bytes, tmp_path: Path) -> None:
    for at in boundaries(data)[1:-1]:
        for byte, bit in ((0, 0), (1, 7), (1, 3), (2, 2)):  # sync, sync, version, rate
            spoilt = bytearray(data)
            spoilt[at + byte] ^= 1 << bit
            assert fault(tmp_path, bytes(spoilt)).startswith("damaged: ")


def test_a_change_from_mono_to_stereo_is_seen(data: bytes, tmp_path: Path) -> None:
    """A decoder stops there."""
    spoilt = bytearray(data)
    spoilt[boundaries(data)[30] + 3] ^= 0x80
    assert fault(tmp_path, bytes(spoilt)).startswith("damaged: ")


def test_a_cut_within_a_frame_is_seen(data: bytes, tmp_path: Path) -> None:
    for lost in (1, 30, 1_001, len(data) // 2 + 1):
        assert fault(tmp_path, data[:-lost]).startswith("truncated: ")
    assert fault(tmp_path, data[:-30]) == "truncated: its last frame lacks 30 bytes"


def test_what_a_header_counts_must_be_there_and_no_more(tmp_path: Path) -> None:
    data = sound_file(tmp_path / "a.mp3", noise(4 * RATE)).path.read_bytes()
    places = boundaries(data)
    told = len(places) - 1
    assert fault(tmp_path, data[: places[-9]]) == (
        f"truncated: its header tells of {told} frames, {told - 9} are there"
    )
    zeroed = data[: places[20]] + bytes(len(data) - places[20])
    assert fault(tmp_path, zeroed) == f"truncated: its header tells of {told} frames, 19 are there"
    removed = data[: places[20]] + data[places[30] :]
    assert fault(tmp_path, removed).startswith("truncated: ")
    assert fault(tmp_path, data + data) == (
        f"damaged: its header tells of {told} frames, {2 * told + 1} are there"
    )


def test_a_broken_header_of_the_first_frame_is_seen(data: bytes, tmp_path: Path) -> None:
    """Such a frame is passed over: what it counts is not known, and sound moves forward."""
    for bit in (*range(15), 20, 21, 24):  # sync, version, layer, rate, channels
        spoilt = bytearray(data)
        spoilt[bit // 8] ^= 128 >> bit % 8
        assert fault(tmp_path, bytes(spoilt)).startswith("damaged: "), bit


def test_a_broken_header_of_the_second_frame_is_seen(data: bytes, tmp_path: Path) -> None:
    at = boundaries(data)[1]
    assert "about 0.0 s" in fault(tmp_path, data[:at] + bytes(9) + data[at + 9 :])


def test_frames_of_another_rate_that_follow_are_not_lost_without_a_word(data: bytes, tmp_path: Path) -> None:
    other = sound_file(tmp_path / "other.mp3", noise(4 * 44_100), 44_100).path.read_bytes()
    assert fault(tmp_path, data + other).startswith("damaged: ")


def test_a_single_frame_is_a_file(data: bytes, tmp_path: Path) -> None:
    begin, end = boundaries(data)[-2:]
    assert frames(tmp_path, data[begin:end]) == Mp3Scan(576, None)
    assert fault(tmp_path, data[begin : end - 1]) == "truncated: its last frame lacks 1 bytes"


def test_what_is_no_layer_iii_frame_is_not_followed(tmp_path: Path) -> None:
    noisy = np.random.default_rng(0).bytes(300_000)
    assert frames(tmp_path, noisy) == frames(tmp_path, b"") == frames(tmp_path, ID3) == Mp3Scan(None, None)
    second = (b"\xff\xfd\x80\xc0" + bytes(413)) * 40  # layer II
    free = (b"\xff\xfb\x00\xc0" + bytes(413)) * 40
    assert frames(tmp_path, second) == frames(tmp_path, free) == Mp3Scan(None, None)
