"""MP4 box by box: intact files pass, and a track whose index lacks a box is damaged, not shorter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from layerprobe.embed.audio.integrity import mp4
from tests.sounds import COMPRESSED, encoded, noise, piped

KINDS = ("m4a", "mp4", "mov", "alac", "3gp")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("mp4")
    waves = {kind: noise(COMPRESSED[kind][2] // 2, level=0.3) for kind in KINDS}
    return {kind: encoded(folder / kind, wave, kind=kind).read_bytes() for kind, wave in waves.items()}


def damage(path: Path, data: bytes) -> str | None:
    path.write_bytes(data)
    with path.open("rb") as raw:
        return mp4.check(raw).damage


@pytest.mark.parametrize("kind", KINDS)
def test_intact_files_pass(tmp_path, files, kind):
    assert damage(tmp_path / "a", files[kind]) is None
    assert damage(tmp_path / "a", files[kind] + b"\0\0\0\0padding") is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("box", [b"mdia", b"mdhd", b"hdlr", b"minf", b"stbl", b"stsd", b"stts", b"stsc"])
def test_a_box_whose_name_is_destroyed_is_missed(tmp_path, files, kind, box):
    data = files[kind]
    # `hdlr` also occurs in metadata, behind the tracks.
    assert f"its index lacks the box {box.decode()}" in str(
        damage(tmp_path / "a", data.replace(box, b"xxxx", 1))
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_box_that_is_longer_than_the_one_around_it(tmp_path, files, kind):
    data = bytearray(files[kind])
    at = data.index(b"mdia") - 4
    data[at + 1] ^= 0x10
    assert "damaged: no box at byte" in str(damage(tmp_path / "a", bytes(data)))


def test_fragments_are_no_damage(tmp_path):
    wave = noise(16_000, level=0.3)
    data = piped(wave, form="ismv", codec="aac", rate=16_000)
    assert b"moof" in data
    assert damage(tmp_path / "a", data) is None


def test_two_files_in_one(tmp_path, files):
    assert "several MP4 files are joined" in str(damage(tmp_path / "a", files["m4a"] * 2))


def test_random_boxes_end(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(50):
        damage(tmp_path / "a", b"\0\0\0\x20ftypM4A " + rng.bytes(500))
