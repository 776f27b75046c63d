"""The annotation of each recording, and the labels of its tiers at given times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.manifest.annotations.beside import labels_at, read_annotations
from layerprobe.embed.manifest.annotations.tiers import Interval
from tests.embed.manifest.annotations.test_segments import Spans, eaf, textgrid

PHONES: Spans = [(0.0, 0.5, "a"), (0.5, 1.0, ""), (1.0, 3.0, "b")]


def test_the_label_is_that_of_the_interval_around_a_time():
    intervals = [Interval(0.0, 0.5, "a"), Interval(1.0, 3.0, "b")]
    times = np.array([0.0, 0.499, 0.5, 0.999, 1.0, 2.9, 3.0])
    assert labels_at(intervals, times) == ["a", "a", None, None, "b", "b", None]
    assert labels_at([], times[:2]) == [None, None]


def test_files_beside_the_sound_are_found_the_textgrid_first(tmp_path: Path):
    (tmp_path / "x.eaf").write_text(eaf({"phones": [(0.0, 1.0, "wrong")]}))
    (tmp_path / "x.TextGrid").write_text(textgrid({"phones": PHONES}))
    (tmp_path / "y_labels.txt").write_text("0.0\t1.0\tc\n")
    sounds = [str(tmp_path / name) for name in ("x.wav", "y.wav", "z.wav")]
    found = read_annotations(sounds)
    assert found.intervals(sounds[0], "phones", speaker="s") == [
        Interval(0.0, 0.5, "a"),
        Interval(1.0, 3.0, "b"),
    ]
    assert found.intervals(sounds[0], "words", speaker=None) is None
    assert found.intervals(sounds[1], "phones", speaker=None) == [Interval(0.0, 1.0, "c")]
    assert found.without == {sounds[2]: "has no annotation file"}


def test_a_folder_of_annotations_is_searched_by_name(tmp_path: Path):
    for speaker, label in (("anna", "a"), ("ben", "b")):
        (tmp_path / "grids" / speaker).mkdir(parents=True)
        grid = textgrid({"phones": [(0.0, 1.0, label)]})
        (tmp_path / "grids" / speaker / "1.TextGrid").write_text(grid)
    (tmp_path / "grids" / "2.TextGrid").write_text(textgrid({"phones": PHONES}))
    sounds = [str(tmp_path / "wav" / name) for name in ("anna/1.wav", "ben/1.wav", "2.wav", "carl/1.wav")]
    found = read_annotations(sounds, tmp_path / "grids")
    of_speakers = [found.intervals(sound, "phones", speaker=None) for sound in sounds[:2]]
    assert of_speakers == [[Interval(0.0, 1.0, "a")], [Interval(0.0, 1.0, "b")]]
    assert found.intervals(sounds[2], "phones", speaker=None) is not None
    assert list(found.without) == [sounds[3]]
    assert found.without[sounds[3]].startswith("has several annotation files: ")


def test_tiers_of_other_speakers_are_left_out(tmp_path: Path):
    tiers: dict[str, Spans] = {"phones@anna": [(0.0, 1.0, "a")], "phones@ben": [(0.5, 2.0, "b")]}
    (tmp_path / "x.TextGrid").write_text(textgrid(tiers))
    sound = str(tmp_path / "x.wav")
    found = read_annotations([sound])
    assert found.intervals(sound, "phones", speaker="ben") == [Interval(0.5, 2.0, "b")]
    both = found.intervals(sound, "phones", speaker="someone")
    assert both is not None
    assert [interval.text for interval in both] == ["a", "b"]


def test_a_damaged_file_is_a_reason_and_an_empty_folder_an_error(tmp_path: Path):
    (tmp_path / "x.TextGrid").write_text("no grid")
    sound = str(tmp_path / "x.wav")
    assert read_annotations([sound]).without[sound].startswith("is no TextGrid that can be read")
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "gone"):
        with pytest.raises(InputError, match=r"has no annotation files .*--annotations"):
            read_annotations([sound], folder)
