"""Which clips remain to be computed, and which clips of a table share one key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from layerprobe.cache.common.errors import ClipError
from layerprobe.cache.store import failures
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import KeyedClip
from layerprobe.embed.audio import headers
from layerprobe.embed.audio.headers import LazyRecords
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract import pending as pending_module
from layerprobe.embed.extract.pending import find_pending
from layerprobe.embed.extract.run import embed
from layerprobe.embed.manifest.clips import Clip, read_manifest
from tests.run import write_corpus


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    """Seven: the second is no audio, the fifth its copy, the sixth the first's; the last has no file."""
    made = read_manifest(write_corpus(tmp_path, clips=4))
    made[1].path.write_text("not sound")
    copies = [
        replace(made[of], id=f"copy{of}", file=str(made[of].path.with_name(f"copy{of}.wav"))) for of in (1, 0)
    ]
    for copy, of in zip(copies, (1, 0), strict=True):
        copy.path.write_bytes(made[of].path.read_bytes())
    return [*made, *copies, Clip(id="missing", file=str(tmp_path / "missing.wav"))]


@pytest.fixture
def config(tmp_path: Path) -> EmbedConfig:
    return EmbedConfig(model="mfcc", cache=tmp_path / "features")


@pytest.mark.parametrize("ahead", [1, 2, 512])
def test_clips_to_compute_and_clips_that_failed(
    ahead: int, clips: list[Clip], config: EmbedConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(headers, "AHEAD", ahead)
    pending = find_pending(clips, None, config)
    assert [clip.id for clip in pending.clips] == [clips[i].id for i in (0, 2, 3)]
    assert [len(values) for values in (pending.keys, pending.audio, pending.stamps)] == [3, 3, 3]
    assert [info.rate for info in pending.audio] == [16_000] * 3
    assert [[clip.id for clip in pending.with_copies(i)] for i in range(3)] == [
        [clips[0].id, "copy0"], [clips[2].id], [clips[3].id],
    ]  # fmt: skip
    assert (pending.table_size, pending.cached, pending.copy_count, pending.cached_clips) == (7, 0, 1, [])
    failed = [pending.failures.get(failures.failure_id(clip)) for clip in clips]
    assert [failure is not None for failure in failed] == [False, True, False, False, True, False, True]
    broken, copy = failed[1], failed[4]
    assert broken is not None
    assert copy is not None
    assert broken.key == copy.key != ""
    assert copy.reason == f"has the sound of {clips[1].path}, which failed: {broken.reason}"
    assert all(map(pending.unchanged, range(3)))


def test_cached_clips_include_their_copies(clips: list[Clip], config: EmbedConfig) -> None:
    store = FeatureStore(embed(clips[2:3] + clips[:1], config).store)
    pending = find_pending(clips, store, config)
    assert [clip.id for clip in pending.clips] == [clips[3].id]
    assert {clip.id for clip in pending.cached_clips} == {clips[0].id, "copy0", clips[2].id}
    assert (pending.cached, pending.copy_count, len(pending.failures)) == (2, 1, 3)


def test_the_first_unusable_clip_may_stop_the_run(clips: list[Clip], config: EmbedConfig) -> None:
    with pytest.raises(ClipError, match="cannot be read"):
        find_pending(clips, None, replace(config, on_error="stop"))
    with pytest.raises(ClipError, match="not a sound file"):
        find_pending(clips[:6], None, replace(config, on_error="stop"))


def test_a_changed_file_is_detected(clips: list[Clip], config: EmbedConfig) -> None:
    pending = find_pending(clips, None, config)
    clips[3].path.write_bytes(clips[2].path.read_bytes())
    assert [pending.unchanged(i) for i in range(3)] == [True, True, False]


def test_trailing_zeros_of_keys_and_stamps_are_preserved(
    clips: list[Clip], config: EmbedConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = [clips[i] for i in (0, 2, 3)]
    keys = ["ab" + "00" * 31, "ab" * 31 + "00", "cd" * 32]
    stamps = [b"s" + bytes(23), None, b"s" * 24]
    keyed = list(map(KeyedClip, range(3), keys, stamps))
    monkeypatch.setattr(pending_module, "iter_keys", lambda clips, cache, look: keyed)
    pending = find_pending(used, None, config)
    assert list(pending.keys) == keys
    assert list(pending.stamps) == stamps


def test_lazy_records_are_made_from_rows_on_access():
    records = LazyRecords(np.array([2, 0]), ["a", "b", "c"].__getitem__)
    assert (len(records), list(records), records[0], records[-1]) == (2, ["c", "a"], "c", "a")
    assert records[:1] == ["c"]
    with pytest.raises(IndexError):
        records[2]
