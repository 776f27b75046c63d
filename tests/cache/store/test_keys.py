"""Keys of clips: by the content of the file and the segment."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from layerprobe.cache.identity import digests, hashing
from layerprobe.cache.identity.hashing import file_stamp
from layerprobe.cache.store.keys import clip_key, clip_keys, is_unchanged, iter_keys
from layerprobe.embed.manifest.clips import Clip


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    """Five of three files, those of one file apart from one another; the last file is not there."""
    for name in "ba":
        (tmp_path / name).write_text(name)
    parts = (("b", None), ("gone", None), ("a", 1.0), ("b", 2.0), ("a", None))
    return [Clip(id=str(i), file=str(tmp_path / name), start=start) for i, (name, start) in enumerate(parts)]


@pytest.mark.parametrize("batch", [1, 2, 512])
def test_each_clip_gets_its_key_in_any_order_of_files(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(digests, "BATCH", batch)
    expected = [
        clip_key(hashlib.sha256(clip.path.name.encode()).hexdigest(), start=clip.start, end=None)
        for clip in clips
    ]
    for _ in range(2):  # hashed, then remembered
        found = clip_keys(clips, tmp_path / "cache")
        assert isinstance(found[1], FileNotFoundError)
        assert [*found[:1], *found[2:]] == [*expected[:1], *expected[2:]]


def test_clips_of_one_file_come_together(clips: list[Clip], tmp_path: Path) -> None:
    assert [clip.row for clip in iter_keys(clips, tmp_path / "cache")] == [2, 4, 0, 3, 1]
    assert list(iter_keys([], tmp_path / "cache")) == []


WHOLE = hashlib.sha256(b"speech").hexdigest()


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, WHOLE),
        (0.0, None, "|0.0|"),
        (None, 1.5, "|0.0|1.5"),
        (0.0, 1.5, "|0.0|1.5"),
        (0, 2, "|0.0|2.0"),
        (1.25, None, "|1.25|"),
        (1.25, 2.5, "|1.25|2.5"),
        (0.1 + 0.2, 1e-7, "|0.30000000000000004|1e-07"),
    ],
)
def test_a_key_is_the_files_digest_or_a_hash_of_it_and_the_times(
    start: float | None, end: float | None, expected: str
) -> None:
    if expected != WHOLE:
        expected = hashlib.sha256(f"{WHOLE}{expected}".encode()).hexdigest()
    assert clip_key(WHOLE, start=start, end=end) == expected


@pytest.mark.parametrize("start", [None, 1.0])
def test_a_file_is_unchanged_as_long_as_its_stamp_or_its_content_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: float | None
) -> None:
    monkeypatch.setattr(hashing, "SETTLED", -(10**12))  # a file of this moment has a stamp
    clip = Clip(id="a", file=str(tmp_path / "a.wav"), start=start)
    clip.path.write_bytes(b"speech")
    key, stamp = clip_key(WHOLE, start=start, end=None), file_stamp(clip.path)
    assert stamp is not None
    assert is_unchanged(clip, key, stamp)
    assert is_unchanged(clip, key, None)
    assert is_unchanged(clip, "by its stamp, without reading it", stamp)
    os.utime(clip.path, ns=(0, 0))
    assert is_unchanged(clip, key, stamp)
    clip.path.write_bytes(b"Speech")
    assert not is_unchanged(clip, key, stamp)
    assert not is_unchanged(clip, key, None)
    clip.path.unlink()
    assert not is_unchanged(clip, key, stamp)


def test_segments_of_one_file_have_keys_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"speech")
    times = [(None, None), (None, 1.0), (1.0, None), (1.0, 2.0), (1.0, 3.0), (0.5, 2.0)]
    clips = [
        Clip(id=str(row), file=str(tmp_path / "a.wav"), start=start, end=end)
        for row, (start, end) in enumerate(times)
    ]
    keys = clip_keys(clips, tmp_path / "cache")
    assert len(set(map(str, keys))) == len(times)
    assert keys[0] == WHOLE
