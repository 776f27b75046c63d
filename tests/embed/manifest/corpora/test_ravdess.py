"""RAVDESS's videos: those without sound, and those of takes that are there as audio, are no clips."""

from __future__ import annotations

from pathlib import Path

import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.manifest.corpora.ravdess import RAVDESS
from tests.trees import touch

SPEECH, SONG = RAVDESS


def test_silent_videos_and_videos_of_recorded_takes_are_left_out(tmp_path: Path) -> None:
    root = touch(
        tmp_path, "Actor_01/03-01-05-01-02-01-01.wav", "Video/01-01-05-01-02-01-01.mp4",
        "Video/02-01-05-01-02-01-01.mp4", "Video/01-01-05-01-02-02-01.mp4", "Video/02-01-05-01-02-02-01.mp4",
    )  # fmt: skip
    corpus = SPEECH.read(root)
    kept = ["Actor_01/03-01-05-01-02-01-01.wav", "Video/01-01-05-01-02-02-01.mp4"]
    assert sorted(clip.id for clip in corpus.clips) == kept
    assert corpus.left_out == {
        "Video/01-01-05-01-02-01-01.mp4": "is a video of the same take as Actor_01/03-01-05-01-02-01-01.wav",
        "Video/02-01-05-01-02-01-01.mp4": "is a video without sound",
        "Video/02-01-05-01-02-02-01.mp4": "is a video without sound",
    }


def test_a_song_and_a_spoken_take_are_not_the_same(tmp_path: Path) -> None:
    root = touch(tmp_path, "03-01-05-01-02-01-01.wav", "01-02-05-01-02-01-01.mp4")
    assert [clip.id for clip in SONG.read(root).clips] == ["01-02-05-01-02-01-01.mp4"]


def test_a_folder_of_silent_videos_only_is_one_line(tmp_path: Path) -> None:
    root = touch(tmp_path, "02-01-05-01-02-01-01.mp4")
    with pytest.raises(InputError, match=r"no sound file can be used \(02-.*\.mp4 is a video without"):
        SPEECH.read(root)
