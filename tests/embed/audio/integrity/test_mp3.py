"""MP3 frame by frame: intact files pass, broken chains of frames are reported, tags are ignored."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from layerprobe.embed.audio.integrity import mp3
from layerprobe.embed.audio.integrity.findings import Findings
from tests.sounds import noise, sound_file, without_first_mp3_frame

pytestmark = pytest.mark.slow

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
    """An intact file of four seconds, with or without a header that counts its frames."""
    path = tmp_path_factory.mktemp("mp3") / "a.mp3"
    mode = "CONSTANT" if request.param == "constant" else "VARIABLE"
    sound_file(path, noise(4 * RATE, level=0.3), mode=mode)
    return (path if request.param == "counted" else without_first_mp3_frame(path)).read_bytes()


def frames(folder: Path, data: bytes) -> Findings:
    path = folder / "other"
    path.write_bytes(data)
    return scan_frames(path)


def scan_frames(path: Path) -> Findings:
    with path.open("rb") as raw:
        return mp3.check(raw)


def damage(folder: Path, data: bytes) -> str:
    return str(frames(folder, data).damage)


def frame_starts(data: bytes) -> list[int]:
    """Where frames begin: libsndfile's encoder writes the same first two bytes for each."""
    matches = [match.start() for match in re.finditer(re.escape(data[:2]), data)]
    return [at for at in matches if data[at + 2] & 0x0C == data[2] & 0x0C and data[at + 3] >> 6 == 3]


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_frames_are_counted_where_no_header_counts_them(tmp_path: Path, rate: int, channels: int) -> None:
    path = sound_file(tmp_path / "a.mp3", noise(rate, channels=channels), rate, mode="CONSTANT").path
    with soundfile.SoundFile(path) as file:
        counted = file.frames
    assert scan_frames(path) == Findings(samples=counted)
    scan = scan_frames(without_first_mp3_frame(path))
    # Encoders pad by a decoder's delay and fill up the last frame.
    assert scan.damage is None
    assert scan.samples is not None
    assert counted < scan.samples <= counted + 3 * 1_152
    assert scan.samples % 576 == 0


@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_intact_files_of_any_length_pass(tmp_path: Path, rate: int, mode: str) -> None:
    for channels, length in ((1, rate // 40), (2, rate // 3), (2, 5 * rate + 1), (1, 40 * rate)):
        wave = noise(length, channels=channels, level=0.3)
        path = sound_file(tmp_path / f"{length}.mp3", wave, rate, mode=mode).path
        assert scan_frames(path) == Findings(samples=length)
        assert scan_frames(without_first_mp3_frame(path)).damage is None


@pytest.mark.parametrize("tag", TAGS)
def test_tags_and_padding_change_nothing(data: bytes, tmp_path: Path, tag: str) -> None:
    intact = frames(tmp_path, data)
    assert intact.damage is None
    middle = frame_starts(data)[20]
    for other in (
        TAGS[tag] + data,
        data + TAGS[tag],
        data[:middle] + TAGS[tag] + data[middle:],
        data + bytes(5_000) + TAGS[tag],
        TAGS[tag] + ID3 + bytes(700) + data + TAGS[tag],
    ):
        assert frames(tmp_path, other) == intact


def test_bytes_around_the_frames_are_ignored(data: bytes, tmp_path: Path) -> None:
    intact = frames(tmp_path, data)
    for seed in range(5):
        noisy = np.random.default_rng(seed).bytes(70_000)
        assert frames(tmp_path, data + noisy) == intact
        assert frames(tmp_path, noisy[:2_000] + data) == intact


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_lost_or_overwritten_bytes_are_detected(data: bytes, tmp_path: Path, share: float) -> None:
    noisy = np.random.default_rng(0).bytes(2_000)
    at = frame_starts(data)[int(len(frame_starts(data)) * share)] - 100
    for count in (150, 301, 907):
        rest = data[at + count :]
        for left in (rest, bytes(count) + rest, noisy[:count] + rest):
            assert damage(tmp_path, data[:at] + left).startswith("damaged: MP3 frames are broken about ")
        assert damage(tmp_path, data[:at] + noisy[:count] + data[at:]).startswith("damaged: ")


def test_the_position_of_the_damage_is_reported(data: bytes, tmp_path: Path) -> None:
    at = frame_starts(data)[56]  # frames of 36 ms
    assert re.search(r"about 2\.0 s from its start \(byte", damage(tmp_path, data[: at + 2] + data[at + 7 :]))


def test_a_broken_header_of_any_frame_followed_by_sound_is_detected(data: bytes, tmp_path: Path) -> None:
    for at in frame_starts(data)[1:-1]:
        for byte, bit in ((0, 0), (1, 7), (1, 3), (2, 2)):  # sync, sync, version, rate
            damaged = bytearray(data)
            damaged[at + byte] ^= 1 << bit
            assert damage(tmp_path, bytes(damaged)).startswith("damaged: ")


def test_a_change_from_mono_to_stereo_is_detected(data: bytes, tmp_path: Path) -> None:
    """A decoder stops there."""
    damaged = bytearray(data)
    damaged[frame_starts(data)[30] + 3] ^= 0x80
    assert damage(tmp_path, bytes(damaged)).startswith("damaged: ")


def test_a_cut_within_a_frame_is_detected(data: bytes, tmp_path: Path) -> None:
    for lost in (1, 30, 1_001, len(data) // 2 + 1):
        assert damage(tmp_path, data[:-lost]).startswith("truncated: ")
    assert damage(tmp_path, data[:-30]) == "truncated: its last frame lacks 30 bytes"


def test_the_frame_count_of_the_header_must_match(tmp_path: Path) -> None:
    data = sound_file(tmp_path / "a.mp3", noise(4 * RATE)).path.read_bytes()
    starts = frame_starts(data)
    declared = len(starts) - 1
    assert damage(tmp_path, data[: starts[-9]]) == (
        f"truncated: its header declares {declared} frames, the file has {declared - 9}"
    )
    zeroed = data[: starts[20]] + bytes(len(data) - starts[20])
    assert damage(tmp_path, zeroed) == f"truncated: its header declares {declared} frames, the file has 19"
    removed = data[: starts[20]] + data[starts[30] :]
    assert damage(tmp_path, removed).startswith("truncated: ")
    assert damage(tmp_path, data + data) == (
        f"damaged: its header declares {declared} frames, the file has {2 * declared + 1}"
    )


def test_a_broken_header_of_the_first_frame_is_detected(data: bytes, tmp_path: Path) -> None:
    """libsndfile skips the frame, so its count is lost and the sound moves forward."""
    for bit in (*range(15), 20, 21, 24):  # sync, version, layer, rate, channels
        damaged = bytearray(data)
        damaged[bit // 8] ^= 128 >> bit % 8
        assert damage(tmp_path, bytes(damaged)).startswith("damaged: "), bit


def test_a_broken_header_of_the_second_frame_is_detected(data: bytes, tmp_path: Path) -> None:
    at = frame_starts(data)[1]
    assert "about 0.0 s" in damage(tmp_path, data[:at] + bytes(9) + data[at + 9 :])


def test_frames_of_another_rate_that_follow_are_reported(data: bytes, tmp_path: Path) -> None:
    other = sound_file(tmp_path / "other.mp3", noise(4 * 44_100), 44_100).path.read_bytes()
    assert damage(tmp_path, data + other).startswith("damaged: ")


def test_a_single_frame_is_a_file(data: bytes, tmp_path: Path) -> None:
    begin, end = frame_starts(data)[-2:]
    assert frames(tmp_path, data[begin:end]) == Findings(samples=576)
    assert damage(tmp_path, data[begin : end - 1]) == "truncated: its last frame lacks 1 bytes"


def test_only_layer_iii_frames_are_followed(tmp_path: Path) -> None:
    noisy = np.random.default_rng(0).bytes(300_000)
    assert frames(tmp_path, noisy) == frames(tmp_path, b"") == frames(tmp_path, ID3) == Findings()
    second = (b"\xff\xfd\x80\xc0" + bytes(413)) * 40  # layer II
    free = (b"\xff\xfb\x00\xc0" + bytes(413)) * 40
    assert frames(tmp_path, second) == frames(tmp_path, free) == Findings()


def test_a_tag_whose_length_is_damaged_does_not_hide_sound(tmp_path: Path, data: bytes) -> None:
    starts = frame_starts(data)
    assert scan_frames_of(tmp_path, ID3 + data) is None
    for end in (starts[1], starts[5], starts[5] + 100, starts[-2]):  # of the tag, within the sound
        size = len(ID3) - 10 + end
        tag = ID3[:6] + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + ID3[10:]
        assert "ends amid the sound" in str(scan_frames_of(tmp_path, tag + data)), end
    longest = ID3[:6] + b"\x7f" * 4 + ID3[10:]
    assert "its tag is longer than the file" in str(scan_frames_of(tmp_path, longest + data))


def test_a_picture_in_a_tag_is_no_sound(tmp_path: Path, data: bytes) -> None:
    picture = np.random.default_rng(0).bytes(200_000) + data[:4] * 10
    size = bytes(len(picture) >> shift & 0x7F for shift in (21, 14, 7, 0))
    assert scan_frames_of(tmp_path, b"ID3\x04\0\0" + size + picture + data) is None


def scan_frames_of(folder: Path, data: bytes) -> str | None:
    return frames(folder, data).damage
