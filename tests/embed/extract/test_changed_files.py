"""Files that change during a run: a clip's states are never stored under the key of other content."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from layerprobe.cache.identity import hashing
from layerprobe.cache.store import failures
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import clip_key
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract import run as extract
from layerprobe.embed.extract.run import ExtractionSummary, embed
from layerprobe.embed.manifest.clips import Clip, read_manifest
from tests.run import tone, write_corpus


@pytest.fixture
def clips(tmp_path) -> list[Clip]:
    """Three files: of one window and, with windows of two seconds, of three; and a segment of the last."""
    clips = read_manifest(write_corpus(tmp_path / "speech", clips=2))
    soundfile.write(tmp_path / "speech" / "long.wav", tone(5.2, seed=7), 16_000)
    long = replace(clips[0], id="long", file=str(tmp_path / "speech" / "long.wav"))
    return [*clips, long, replace(long, id="segment", start=0.5, end=4.9)]


@pytest.fixture
def once_hashed(monkeypatch):
    """Run an action after the files were hashed and before any is decoded."""

    def at_once(act) -> None:
        find = extract.find_pending

        def spy(*arguments):
            pending = find(*arguments)
            act()
            monkeypatch.setattr(extract, "find_pending", find)
            return pending

        monkeypatch.setattr(extract, "find_pending", spy)

    return at_once


def key(clip: Clip) -> str:
    return clip_key(hashlib.sha256(clip.path.read_bytes()).hexdigest(), start=clip.start, end=clip.end)


def refill(path: Path, seed: int) -> None:
    length = soundfile.info(path).frames / 16_000
    soundfile.write(path, tone(length, seed=seed), 16_000, subtype="PCM_16")


def states(summary: ExtractionSummary, clips: list[Clip]) -> list[np.ndarray]:
    store = FeatureStore(summary.store)
    keys = [key(clip) for clip in clips]
    if store.extraction.stats == ("frame",):
        return [store.frames("mfcc", k) for k in keys]
    return list(store.layer("mfcc", keys))


@pytest.mark.parametrize("frames", [False, True], ids=["pooled", "frames"])
@pytest.mark.parametrize("changed", [0, 2], ids=["short", "long"])
def test_states_of_a_file_that_changes_during_the_run_are_not_stored(
    clips, once_hashed, tmp_path, changed, frames
):
    config = EmbedConfig(model="mfcc", cache=tmp_path / "features", window=2.0, frames=frames)
    path, before = clips[changed].path, [key(clip) for clip in clips]
    once_hashed(lambda: refill(path, seed=99))
    summary = embed(clips, config)
    hit = [clip for clip in clips if clip.path == path]
    assert summary.embedded == len(clips) - len(hit)
    assert set(summary.failures.values()) == {"was changed during the run; embed it again"}
    store = FeatureStore(summary.store)
    assert store.missing(before) == [k for k, clip in zip(before, clips, strict=True) if clip in hit]
    again = embed(clips, config)
    assert (again.embedded, again.cached, again.failures) == (len(hit), len(clips) - len(hit), {})
    assert failures.read(summary.store) == {}
    fresh = embed(clips, replace(config, cache=tmp_path / "fresh"))
    for ours, theirs in zip(states(again, clips), states(fresh, clips), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_file_that_was_only_touched_or_replaced_by_its_copy_is_stored(
    clips, once_hashed, monkeypatch, tmp_path
):
    monkeypatch.setattr(hashing, "SETTLED", -1)  # files this new are otherwise not recognised by their stamp

    def act() -> None:
        clips[0].path.touch()
        copy = shutil.copy(clips[2].path, tmp_path / "copy.wav")
        clips[2].path.unlink()
        Path(copy).rename(clips[2].path)

    once_hashed(act)
    summary = embed(clips, EmbedConfig(model="mfcc", cache=tmp_path / "features", window=2.0))
    assert (summary.embedded, summary.failures) == (4, {})


def test_files_that_do_not_change_are_hashed_once(clips, monkeypatch, tmp_path):
    monkeypatch.setattr(hashing, "SETTLED", -1)
    hashed: list[Path] = []
    real = hashing.read_file

    def spy(path: str, look: hashing.Look | None = None) -> hashing.ReadFile:
        hashed.append(Path(path))
        return real(path, look)

    monkeypatch.setattr(hashing, "read_file", spy)
    assert embed(clips, EmbedConfig(model="mfcc", cache=tmp_path / "features")).embedded == 4
    assert sorted(hashed) == sorted({clip.path for clip in clips})
