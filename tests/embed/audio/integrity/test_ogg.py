"""Ogg page by page: intact files pass, any damage is detected."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layerprobe.embed.audio.integrity import ogg
from layerprobe.embed.audio.integrity.ogg import page_after, page_at
from tests.sounds import noise, ogg_pages, sound_file

KINDS = ("ogg", "opus")
in_one_folder = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Kind → the bytes of an intact file of eight pages or more."""
    folder = tmp_path_factory.mktemp("ogg")
    made = {kind: sound_file(folder / f"a.{kind}", noise(8 * 16_000)).path.read_bytes() for kind in KINDS}
    assert all(len(ogg_pages(data)) >= 8 for data in made.values())
    return made


def find_damage(path: Path) -> str | None:
    with path.open("rb") as raw:
        return ogg.check(raw).damage


def damage(folder: Path, data: bytes) -> str | None:
    path = folder / "other"
    path.write_bytes(data)
    return find_damage(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_intact_files_of_any_length_pass(tmp_path: Path, kind: str, channels: int, rate: int) -> None:
    for length in (rate // 40, rate // 3, 5 * rate + 1, 40 * rate):
        wave = noise(length, channels=channels, level=0.3)
        assert find_damage(sound_file(tmp_path / f"{length}.{kind}", wave, rate).path) is None


def test_a_file_of_minutes_passes(tmp_path: Path) -> None:
    assert find_damage(sound_file(tmp_path / "a.ogg", noise(300 * 16_000)).path) is None


def test_the_largest_pages_and_packets_over_many_pages_pass(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    with soundfile.SoundFile(path, "w", 48_000, 8, "VORBIS", format="OGG", compression_level=0.0) as file:
        for seed in range(10):
            file.write(noise(8_000, seed=seed, channels=8, level=0.9))
    assert find_damage(path) is None


@pytest.mark.parametrize("kind", KINDS)
def test_page_headers_are_parsed(files: dict[str, bytes], kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(files[kind])
    with path.open("rb") as raw:
        pages = [page_at(raw, begin) for begin, _ in ogg_pages(files[kind])]
        assert page_at(raw, 1) is None
    assert [(page.begin, page.end) for page in pages if page] == ogg_pages(files[kind])
    assert [page.number for page in pages if page] == list(range(len(pages)))
    assert [page.first for page in pages if page] == [True] + [False] * (len(pages) - 1)
    assert [page.last for page in pages if page] == [False] * (len(pages) - 1) + [True]


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_page_is_found_from_any_byte(files: dict[str, bytes], kind: str, tmp_path: Path) -> None:
    pages = ogg_pages(files[kind])
    path = tmp_path / "a"
    path.write_bytes(b"OggS\0" * 30_000 + files[kind])
    with path.open("rb") as raw:
        page = page_after(raw, 0)
        assert page is not None
        assert page.begin == 150_000
        for begin, end in pages[:-1]:
            page = page_after(raw, 150_000 + begin + 1)
            assert page is not None
            assert page.begin == 150_000 + end
        assert page_after(raw, 150_000 + pages[-1][0] + 1) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_anywhere_is_detected(files: dict[str, bytes], kind: str, tmp_path: Path) -> None:
    data = files[kind]
    for begin, end in ogg_pages(data):
        for size in (begin + 1, begin + 4, begin + 26, begin + 27, (begin + 27 + end) // 2, end - 1):
            assert str(damage(tmp_path, data[:size])).startswith("truncated: "), (size, begin, end)
        if begin:
            assert damage(tmp_path, data[:begin]) == "truncated: the last page of its Ogg stream is missing"
    size = ogg_pages(data)[-1][1]
    assert (
        damage(tmp_path, data[: size - 9]) == "truncated: its header declares 9 more bytes than the file has"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_or_repeated_page_is_detected(files: dict[str, bytes], kind: str, tmp_path: Path) -> None:
    data = files[kind]
    for number, (begin, end) in enumerate(ogg_pages(data)[:-1]):
        missing = "its first page is" if number == 0 else f"page {number} of its stream is"
        assert re.match(f"damaged: .*{missing} missing", str(damage(tmp_path, data[:begin] + data[end:])))
        if number:
            assert str(damage(tmp_path, data[:end] + data[begin:])).startswith("damaged: ")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.97])
def test_lost_or_overwritten_bytes_are_detected(
    files: dict[str, bytes], kind: str, share: float, tmp_path: Path
) -> None:
    data, noisy = files[kind], np.random.default_rng(0).bytes(3_000)
    at = int(len(data) * share)
    for count in (1, 50, 3_000):
        rest = data[at + count :]
        assert str(damage(tmp_path, data[:at] + rest)).startswith(("damaged: ", "truncated: "))
        assert str(damage(tmp_path, data[:at] + bytes(count) + rest)).startswith("damaged: ")
        assert str(damage(tmp_path, data[:at] + noisy[:count] + rest)).startswith("damaged: ")
        assert str(damage(tmp_path, data[:at] + noisy[:count] + data[at:])).startswith("damaged: ")
    assert str(damage(tmp_path, data[:at] + bytes(len(data) - at))).startswith("damaged: ")


@in_one_folder
@given(data=st.data(), kind=st.sampled_from(KINDS))
def test_any_flipped_bit_is_detected(
    files: dict[str, bytes], data: st.DataObject, kind: str, tmp_path: Path
) -> None:
    damaged = bytearray(files[kind])
    bit = data.draw(st.integers(0, 8 * len(damaged) - 1))
    damaged[bit // 8] ^= 1 << bit % 8
    assert damage(tmp_path, bytes(damaged)) is not None


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_before_the_first_page_and_after_the_last_are_ignored(
    files: dict[str, bytes], kind: str, tmp_path: Path
) -> None:
    noisy = np.random.default_rng(0).bytes(100_000)
    assert damage(tmp_path, files[kind] + noisy) is None
    assert damage(tmp_path, files[kind] + bytes(3)) is None
    assert damage(tmp_path, files[kind] + b"OggS\0" * 100) is None
    assert damage(tmp_path, b"ID3" + noisy + files[kind]) is None


def test_joined_files_are_refused(files: dict[str, bytes], tmp_path: Path) -> None:
    for one, other in (("ogg", "ogg"), ("ogg", "opus"), ("opus", "opus")):
        assert "several Ogg files are joined" in str(damage(tmp_path, files[one] + files[other]))


def test_multiplexed_streams_are_followed(files: dict[str, bytes], tmp_path: Path) -> None:
    one, other = files["ogg"], files["opus"]
    pages_of = [[data[begin:end] for begin, end in ogg_pages(data)] for data in (one, other)]
    mixed = [page for pair in zip(*pages_of, strict=False) for page in pair]
    mixed += [page for pages in pages_of for page in pages[len(mixed) // 2 :]]
    assert damage(tmp_path, b"".join(mixed)) is None
    assert damage(tmp_path, b"".join(mixed[:-1])) is not None
    assert str(damage(tmp_path, b"".join(mixed[:5] + mixed[6:]))).startswith("damaged: ")
    assert str(damage(tmp_path, one + other[ogg_pages(other)[0][1] :])).startswith("damaged: ")


@pytest.mark.parametrize("data", [b"", b"Og", b"hello", b"OggS", b"\0" * 70_000])
def test_files_without_a_page_are_refused(tmp_path: Path, data: bytes) -> None:
    assert damage(tmp_path, data) is not None
