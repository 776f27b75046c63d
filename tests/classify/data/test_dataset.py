from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from layerprobe.cache import FeatureStore
from layerprobe.cache.common.errors import InputError, MissingStatesError
from layerprobe.cache.store import failures
from layerprobe.cache.store.failures import Failure
from layerprobe.cache.store.keys import clip_keys
from layerprobe.classify.data.dataset import join_labels
from layerprobe.embed.manifest.clips import Clip
from tests.studies import made_clips, made_store


def test_joins_labels_speakers_and_keys_in_the_tables_order(tmp_path: Path) -> None:
    clips = made_clips(tmp_path / "corpus")
    store = made_store(tmp_path / "cache", clips)
    data = join_labels(clips[::-1], store, target="emotion")
    assert data.ids == tuple(clip.id for clip in clips[::-1])
    assert data.classes == ("a", "b", "c")
    assert [data.classes[k] for k in data.y] == [clip.labels["emotion"] for clip in clips[::-1]]
    assert data.speakers is not None
    assert [data.speaker_names[s] for s in data.speakers] == [clip.speaker for clip in clips[::-1]]
    assert store.missing(data.keys) == []
    assert data.excluded == {}


def list_failed(store: FeatureStore, clips: Sequence[Clip], reason: str) -> None:
    keys = clip_keys(clips, store.cache)
    failed = {failures.failure_id(c): Failure(reason, str(k)) for c, k in zip(clips, keys, strict=True)}
    failures.update(store.folder, failed=failed, succeeded=[])


def test_clips_without_label_and_failed_clips_are_listed_and_left_out(tmp_path: Path) -> None:
    clips = made_clips(tmp_path / "corpus")
    store = made_store(tmp_path / "cache", clips[3:])
    clips[5] = replace(clips[5], labels={})
    clips[6] = replace(clips[6], labels={"emotion": " "})
    list_failed(store, clips[:3], "too short")
    data = join_labels(clips, store, target="emotion", excluded={clips[7].id: "not wanted"})
    assert set(data.excluded) == {clip.id for clip in (*clips[:3], *clips[5:8])}
    assert data.excluded[clips[0].id] == "not embedded: too short"
    assert data.excluded[clips[5].id] == data.excluded[clips[6].id] == "no label in column 'emotion'"
    assert data.excluded[clips[7].id] == "not wanted"
    assert len(data) == len(clips) - 6


def test_what_is_held_has_not_failed_and_what_was_changed_has_not_failed_yet(tmp_path: Path) -> None:
    clips = made_clips(tmp_path / "corpus")
    store = made_store(tmp_path / "cache", clips[1:])
    list_failed(store, clips[:2], "silent")
    assert set(join_labels(clips, store, target="emotion").excluded) == {clips[0].id}
    with clips[0].path.open("ab") as file:
        file.write(b"changed")
    with pytest.raises(MissingStatesError, match=clips[0].id):
        join_labels(clips, store, target="emotion")


def test_clips_never_embedded_are_an_error_that_names_them_and_the_command(tmp_path: Path) -> None:
    clips = made_clips(tmp_path / "corpus")
    store = made_store(tmp_path / "cache", clips[2:])
    with pytest.raises(MissingStatesError, match=f"2 of {len(clips)} clips .*{clips[0].id}") as error:
        join_labels(clips, store, target="emotion")
    assert "python cli.py embed" in str(error.value)
    assert len(error.value.keys) == 2


def test_a_deleted_file_keeps_its_states(tmp_path: Path) -> None:
    clips = made_clips(tmp_path / "corpus")
    store = made_store(tmp_path / "cache", clips)
    before = join_labels(clips, store, target="emotion")
    clips[4].path.unlink()
    assert join_labels(clips, store, target="emotion").keys == before.keys


def test_a_deleted_file_that_was_never_embedded_is_missing(tmp_path: Path) -> None:
    clips = made_clips(tmp_path / "corpus")
    store = made_store(tmp_path / "cache", [*clips[:4], *clips[5:]])
    clips[4].path.unlink()
    with pytest.raises(MissingStatesError, match=clips[4].id):
        join_labels(clips, store, target="emotion")


def test_segments_of_one_file_are_clips_of_their_own(tmp_path: Path) -> None:
    clips = made_clips(tmp_path / "corpus", speakers=2, each=3)
    parts = [
        replace(clip, id=f"{clip.id}#{begin}", start=begin, end=begin + 1.0)
        for clip in clips
        for begin in (0.0, 1.0)
    ]
    store = made_store(tmp_path / "cache", parts)
    data = join_labels(parts, store, target="emotion")
    assert len(set(data.keys)) == 12
    with pytest.raises(MissingStatesError):
        join_labels(clips, store, target="emotion")


def test_another_column_may_be_the_target(tmp_path: Path) -> None:
    clips = [
        replace(clip, labels={"emotion": "a", "word": str(i % 2)})
        for i, clip in enumerate(made_clips(tmp_path / "corpus"))
    ]
    store = made_store(tmp_path / "cache", clips)
    assert join_labels(clips, store, target="word").classes == ("0", "1")
    with pytest.raises(InputError, match="holds only 'a'"):
        join_labels(clips, store, target="emotion")
    with pytest.raises(InputError, match=r"no column 'mood'.*emotion, word"):
        join_labels(clips, store, target="mood")


def test_speakers_are_for_all_clips_or_none(tmp_path: Path) -> None:
    clips = made_clips(tmp_path / "corpus")
    store = made_store(tmp_path / "cache", clips)
    nameless = [replace(clip, speaker=None) for clip in clips]
    assert join_labels(nameless, store, target="emotion").speakers is None
    with pytest.raises(InputError, match=r"1 of 72 clips have no speaker, first s0-2\.wav"):
        join_labels([*clips[:2], nameless[2], *clips[3:]], store, target="emotion")


def test_copies_of_a_file_are_separate_clips_with_one_state(tmp_path: Path) -> None:
    clips = made_clips(tmp_path / "corpus")
    store = made_store(tmp_path / "cache", clips)
    copy = replace(clips[0], id="copy.wav", file=str(tmp_path / "copy.wav"))
    copy.path.write_bytes(clips[0].path.read_bytes())
    data = join_labels([*clips, copy], store, target="emotion")
    assert data.keys[-1] == data.keys[0]
    np.testing.assert_array_equal(*store.layer("0", [data.keys[0], data.keys[-1]]))
