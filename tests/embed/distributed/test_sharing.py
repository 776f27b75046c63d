"""Parts of a table: every clip in exactly one, copies together, equal lengths, the same for everybody."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from layerprobe.embed.distributed import sharing
from layerprobe.embed.extract.batching import plan_batches
from layerprobe.embed.manifest.clips import Clip
from tests.sounds import clip_of, encoded, noise, sound_file

RATE = 16_000


def divide(clips: list[Clip], count: int, *, budget: int = 2 * RATE) -> list[list[Clip]]:
    return sharing.divide(clips, count, window=30.0, budget=budget)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> list[Clip]:
    """Files of 0.1 to 2 seconds, two copies of each of the first three, one that is missing."""
    folder = tmp_path_factory.mktemp("corpus")
    clips = [sound_file(folder / f"{n}.wav", noise(RATE // 10 * (n + 1), seed=n)) for n in range(20)]
    for n in range(3):
        clips.append(clip_of(Path(shutil.copy(clips[n].path, folder / f"copy-{n}.wav"))))
    return [*clips, clip_of(folder / "missing.wav")]


def seconds(part: list[Clip]) -> float:
    return sum(float(clip.path.stat().st_size - 44) / 2 / RATE for clip in part if clip.path.exists())


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_clip_is_in_one_part_and_copies_are_together(corpus, count):
    parts = divide(corpus, count)
    assert len(parts) == count
    assert sorted(clip.id for part in parts for clip in part) == sorted(clip.id for clip in corpus)
    order = {clip.id: row for row, clip in enumerate(corpus)}
    part_of = {clip.path.name: number for number, part in enumerate(parts) for clip in part}
    for part in parts:
        assert [order[clip.id] for clip in part] == sorted(order[clip.id] for clip in part)
    for n in range(3):
        assert part_of[f"copy-{n}.wav"] == part_of[f"{n}.wav"]


def test_parts_have_about_the_same_length(corpus):
    lengths = [seconds(part) for part in divide(corpus[:20], 4)]
    assert max(lengths) - min(lengths) < 2.0  # a batch, of 21 seconds in all


def test_a_part_consists_of_the_batches_of_the_complete_plan(corpus):
    """So a clip shares its batch with the same clips, whoever computes it: its states are bit-identical."""
    clips = corpus[:20]

    def batches(of: list[Clip]) -> list[list[str]]:
        samples = [round(seconds([clip]) * RATE) for clip in of]
        plan = plan_batches(samples, window=30.0, budget=2 * RATE)
        return [[of[window.clip].id for window in batch] for batch in plan]

    parts = divide(clips, 3)
    assert [batch for part in parts for batch in batches(part)] == batches(clips)


def test_files_that_differ_between_the_blocks_that_are_read_are_no_reason_to_lose_one(tmp_path):
    """They are taken for copies here, and stay two clips of one part."""
    wave = noise(RATE)
    other = wave.copy()
    other[5_000] += 0.01
    clips = [sound_file(tmp_path / "a.wav", wave), sound_file(tmp_path / "b.wav", other)]
    assert sorted(map(len, divide(clips, 2))) == [0, 2]


def test_segments_are_divided_by_their_own_length(tmp_path):
    path = sound_file(tmp_path / "long.flac", noise(60 * RATE)).path
    clips = [
        clip_of(path, start=float(start), end=start + (3.0 if start == 0 else 0.5)) for start in range(59)
    ]
    parts = divide(clips, 2)
    lengths = [sum((clip.end or 0.0) - (clip.start or 0.0) for clip in part) for part in parts]
    assert lengths == pytest.approx([16.0, 16.0], abs=2.0)


def test_segments_that_are_not_in_their_file_are_somewhere(tmp_path):
    path = sound_file(tmp_path / "a.wav", noise(RATE)).path
    clips = [clip_of(path, start=5.0, end=6.0), clip_of(path, start=0.5, end=0.2), clip_of(path)]
    assert sum(map(len, divide(clips, 2))) == 3


def length(clip: Clip) -> float:
    file = sharing._inspect(clip.file)
    return file.frames / file.rate


def test_lengths_of_compressed_files_come_from_their_headers(tmp_path):
    short = clip_of(encoded(tmp_path / "a.m4a", noise(44_100), kind="m4a"))
    long = clip_of(encoded(tmp_path / "b.mp3", noise(4 * 44_100), kind="ffmpeg.mp3"))
    assert length(short) == pytest.approx(1.0, abs=0.15)
    assert length(long) == pytest.approx(4.0, abs=0.15)


def test_a_file_that_no_library_opens_counts_by_its_size(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"no sound" * 8_000)
    assert length(clip_of(tmp_path / "a.wav")) == pytest.approx(2.0)
