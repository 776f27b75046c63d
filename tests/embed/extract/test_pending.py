"""What is left to compute, and what of a table stands for the same sound."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from layerprobe.cache.common.errors import ClipError
from layerprobe.cache.store import failures
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract import pending as missing
from layerprobe.embed.extract.pending import find_pending
from layerprobe.embed.extract.run import embed
from layerprobe.embed.manifest.clips import Clip, read_manifest
from tests.run import write_corpus


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    """Seven: the second is no sound, the fifth its copy, the sixth the first's; the last has no file."""
    made = read_manifest(write_corpus(tmp_path, clips=4))
    made[1].path.write_text("not sound")
    copies = [
        replace(made[of], id=f"copy{of}", file=str(made[of].path.with_name(f"copy{of}.wav"))) for of in (1, 0)
    ]
    for copy, of in zip(copies, (1, 0), strict=True):
        copy.path.write_bytes(made[of].path.read_bytes())
    return [*made, *copies, Clip(id="gone", file=str(tmp_path / "gone.wav"))]


@pytest.fixture
def config(tmp_path: Path) -> EmbedConfig:
    return EmbedConfig(model="mfcc", cache=tmp_path / "features")


@pytest.mark.parametrize("ahead", [1, 2, 512])
def test_what_is_to_be_computed_and_what_failed(
    ahead: int, clips: list[Clip], config: EmbedConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missing, "AHEAD", ahead)
    todo = find_pending(clips, None, config)
    assert [clip.id for clip in todo.clips] == [clips[i].id for i in (0, 2, 3)]
    assert [len(part) for part in (todo.keys, todo.sounds, todo.stamps)] == [3, 3, 3]
    assert [[clip.id for clip in todo.named(i)] for i in range(3)] == [
        [clips[0].id, "copy0"], [clips[2].id], [clips[3].id],
    ]  # fmt: skip
    assert (todo.clips_asked, todo.cached, todo.copies, todo.held) == (7, 0, 1, [])
    failed = {
        failures.failure_id(clip): failure
        for clip in clips
        for failure in [todo.failures.get(failures.failure_id(clip))]
    }
    assert [failed[failures.failure_id(clip)] is not None for clip in clips] == [
        False, True, False, False, True, False, True,
    ]  # fmt: skip
    broken, copy = (failed[failures.failure_id(clips[i])] for i in (1, 4))
    assert broken is not None
    assert copy is not None
    assert broken.key == copy.key != ""
    assert copy.reason == f"has the sound of {clips[1].path}, which failed: {broken.reason}"
    assert all(map(todo.unchanged, range(3)))


def test_what_is_held_is_told_with_its_copies(clips: list[Clip], config: EmbedConfig) -> None:
    store = FeatureStore(embed(clips[2:3] + clips[:1], config).store)
    todo = find_pending(clips, store, config)
    assert [clip.id for clip in todo.clips] == [clips[3].id]
    assert {clip.id for clip in todo.held} == {clips[0].id, "copy0", clips[2].id}
    assert (todo.cached, todo.copies, len(todo.failures)) == (2, 1, 3)


def test_the_first_clip_that_cannot_be_used_may_stop_all(clips: list[Clip], config: EmbedConfig) -> None:
    with pytest.raises(ClipError, match="cannot be read"):
        find_pending(clips, None, replace(config, on_error="stop"))
    with pytest.raises(ClipError, match="not a sound file"):
        find_pending(clips[:6], None, replace(config, on_error="stop"))


def test_a_file_that_changes_is_seen(clips: list[Clip], config: EmbedConfig) -> None:
    todo = find_pending(clips, None, config)
    clips[3].path.write_bytes(clips[2].path.read_bytes())
    assert [todo.unchanged(i) for i in range(3)] == [True, True, False]


def test_zeros_at_the_end_of_a_key_or_a_stamp_are_part_of_it(
    clips: list[Clip], config: EmbedConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = [clips[i] for i in (0, 2, 3)]
    keys = ["ab" + "00" * 31, "ab" * 31 + "00", "cd" * 32]
    stamps = {used[0].path: b"s" + bytes(23), used[1].path: None, used[2].path: b"s" * 24}
    monkeypatch.setattr(missing, "iter_keys", lambda clips, cache: enumerate(keys))
    monkeypatch.setattr(missing, "file_stamp", stamps.get)
    todo = find_pending(used, None, config)
    assert list(todo.keys) == keys
    assert list(todo.stamps) == list(stamps.values())
