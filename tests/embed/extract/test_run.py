"""Extraction runs: what reaches the store for any batches, windows, failures and interruptions."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from layerprobe.cache.common.errors import ClipError, InputError, StoreError
from layerprobe.cache.store import failures
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import clip_key
from layerprobe.embed.config import RATE, EmbedConfig
from layerprobe.embed.doctor.model import layer_states
from layerprobe.embed.extract import batching
from layerprobe.embed.extract import run as extract
from layerprobe.embed.extract.run import ExtractionSummary, embed
from layerprobe.embed.manifest.clips import Clip, read_manifest
from layerprobe.embed.models.backbones import ModelPlan, TransformerBackbone, open_backbone
from tests.run import ROOT, tone, write_corpus
from tests.tiny import save_tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(save_tiny(tmp_path_factory.mktemp("model"), "hubert-group"))


@pytest.fixture
def config(model, tmp_path) -> EmbedConfig:
    return EmbedConfig(model=model, cache=tmp_path / "features", dtype="float32", device="cpu")


def states_of(summary: ExtractionSummary, clips: list[Clip], layer: str) -> np.ndarray:
    """(N, S*D) of the clips, by the hashes of their files."""
    import hashlib

    keys = [
        clip_key(hashlib.sha256(c.path.read_bytes()).hexdigest(), start=c.start, end=c.end) for c in clips
    ]
    return FeatureStore(summary.store).layer(layer, keys)


def test_pooled_states_are_those_of_each_clip_alone(config, tmp_path):
    """From file to store: equal to a plain batch-1 loop over transformers' own model."""
    from transformers import AutoModel

    clips = read_manifest(write_corpus(tmp_path, clips=9))
    summary = embed(clips, config)
    assert (summary.clips, summary.embedded, summary.cached, len(summary.failures)) == (9, 9, 0, 0)
    plain = AutoModel.from_pretrained(config.model).eval()
    for layer in ("0", "1", "2", "3"):
        stored = states_of(summary, clips, layer)
        for row, clip in zip(stored, clips, strict=True):
            wave, _ = soundfile.read(clip.path, dtype="float32")
            wave = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
            with torch.inference_mode():
                out = plain(torch.from_numpy(wave)[None], output_hidden_states=True)
            states = out.hidden_states[int(layer)][0].double().numpy()
            expected = np.concatenate([states.mean(0), states.std(0)])
            np.testing.assert_allclose(row, expected, rtol=0, atol=1e-5 * np.abs(states).max())


def test_batch_size_does_not_change_the_states(config, tmp_path):
    clips = read_manifest(write_corpus(tmp_path, clips=9))
    small = embed(clips, replace(config, batch_seconds=0.1))
    large = embed(clips, replace(config, batch_seconds=100.0, cache=tmp_path / "other"))
    assert small.fingerprint == large.fingerprint
    for layer in ("0", "3"):
        one, other = states_of(small, clips, layer), states_of(large, clips, layer)
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(one).max())


def test_a_second_run_computes_nothing_and_a_larger_table_only_its_new_clips(config, tmp_path):
    clips = read_manifest(write_corpus(tmp_path, clips=8))
    first = embed(clips[:5], config)
    again = embed(clips[:5], config)
    assert (first.embedded, again.embedded, again.cached) == (5, 0, 5)
    grown = embed(clips, config)
    assert (grown.embedded, grown.cached) == (3, 5)
    assert len(FeatureStore(grown.store).keys()) == 8


def test_a_run_with_nothing_to_compute_writes_nothing(config, tmp_path):
    """A cache may be shared with users who cannot write to it."""
    clips = read_manifest(write_corpus(tmp_path, clips=4))
    store = embed(clips, config).store
    locks = sorted(store.glob(".*.lock"))
    assert locks
    for lock in locks:
        lock.unlink()
    before = {path: path.stat().st_mtime_ns for path in (store, *store.iterdir())}
    again = embed(clips, config)
    assert (again.embedded, again.cached) == (0, 4)
    assert {path: path.stat().st_mtime_ns for path in (store, *store.iterdir())} == before


def test_a_damaged_list_of_failures_is_reported_before_anything_is_computed(config, tmp_path):
    clips = read_manifest(write_corpus(tmp_path, clips=4))
    store = embed(clips[:2], config).store
    for text in ("garbage", ""):
        (store / "failures.csv").write_text(text)
        with pytest.raises(StoreError, match="not a table of failures"):
            embed(clips, config)
    (store / "failures.csv").unlink()
    assert embed(clips, config).embedded == 2


def test_a_failing_clip_and_its_copies_each_count_as_a_failure(config, tmp_path):
    clips = read_manifest(write_corpus(tmp_path, clips=4))
    wave, rate = soundfile.read(clips[0].path)
    soundfile.write(clips[0].path, wave * 0 + 0.5, rate)  # constant: detected when it is decoded
    copies = []
    for of in (0, 1):
        path = tmp_path / f"copy{of}.wav"
        path.write_bytes(clips[of].path.read_bytes())
        copies.append(replace(clips[of], id=path.name, file=str(path)))
    reports: list[extract.ExtractionProgress] = []
    summary = embed([*clips, *copies], config, report=reports.append)
    assert (summary.clips, summary.embedded, summary.copies, len(summary.failures)) == (6, 3, 1, 2)
    assert reports[-1].done + reports[-1].failed == reports[-1].total == 5
    copied = next(reason for (path, *_), reason in summary.failures.items() if "copy0" in path)
    assert copied.startswith(f"has the sound of {clips[0].path}, which failed: ")


def test_free_memory_is_returned_to_the_system_on_a_cpu(config, tmp_path, monkeypatch):
    clips = read_manifest(write_corpus(tmp_path, clips=4))
    times: list[int] = []
    monkeypatch.setattr(extract, "RELEASE_SECONDS", -1.0)
    monkeypatch.setattr(extract, "release_free_memory", lambda: times.append(1))
    reports: list[extract.ExtractionProgress] = []
    embed(clips, replace(config, batch_seconds=0.1), report=reports.append)  # a clip a batch
    assert len(reports) == len(times) == 4


def test_a_copied_file_is_embedded_once_and_a_changed_one_again(config, tmp_path):
    clips = read_manifest(write_corpus(tmp_path, clips=3))
    copy = tmp_path / "copy.wav"
    copy.write_bytes(clips[0].path.read_bytes())
    summary = embed([*clips, replace(clips[0], id="copy", file=str(copy))], config)
    assert (summary.embedded, summary.copies) == (3, 1)
    soundfile.write(clips[0].path, tone(0.5, seed=99), 16_000)
    assert embed(clips, config).embedded == 1


def test_a_renamed_file_is_not_embedded_again(config, tmp_path):
    folder = tmp_path / "before"
    clips = read_manifest(write_corpus(folder, clips=3))
    assert embed(clips, config).embedded == 3
    folder.rename(tmp_path / "after")
    moved = [replace(clip, file=str(tmp_path / "after" / f"new-{clip.path.name}")) for clip in clips]
    for before, after in zip(clips, moved, strict=True):
        (tmp_path / "after" / before.path.name).rename(after.path)
    again = embed(moved, config)
    assert (again.embedded, again.cached) == (0, 3)


def test_a_full_disk_is_reported_before_anything_is_computed(config, tmp_path, monkeypatch):
    clips = read_manifest(write_corpus(tmp_path, clips=3))
    full = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr("shutil.disk_usage", lambda path: full)
    monkeypatch.setattr(extract, "compute_pending", lambda *args, **options: pytest.fail("it computed"))
    with pytest.raises(StoreError, match=r"needs .* but 100 B are free"):
        embed(clips, config)


def test_a_cached_table_needs_no_model(config, tmp_path, monkeypatch):
    clips = read_manifest(write_corpus(tmp_path, clips=3))
    first = embed(clips, config)
    (tmp_path / "gone.wav").touch()
    unusable = Clip(id="gone", file=str(tmp_path / "gone.wav"))
    monkeypatch.setattr(ModelPlan, "load", lambda _: pytest.fail("the model was loaded"))
    again = embed([*clips, unusable], config)
    assert (again.store, again.fingerprint) == (first.store, first.fingerprint)
    assert (again.clips, again.embedded, again.cached, len(again.failures)) == (4, 0, 3, 1)
    assert "gone.wav" in (again.store / "failures.csv").read_text()
    soundfile.write(tmp_path / "new.wav", tone(0.5, seed=9), 16_000)
    with pytest.raises(pytest.fail.Exception, match="the model was loaded"):
        embed([*clips, Clip(id="new", file=str(tmp_path / "new.wav"))], config)


def test_segments_are_their_own_clips(config, tmp_path):
    path = tmp_path / "long.wav"
    wave = tone(3.0, seed=1)
    soundfile.write(path, wave, 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "cut_out.wav", wave[16_000:32_000], 16_000, subtype="FLOAT")
    segment = Clip(id="segment", file=str(path), start=1.0, end=2.0)
    cut_out = Clip(id="cut_out", file=str(tmp_path / "cut_out.wav"))
    entire_file = Clip(id="entire_file", file=str(path))
    summary = embed([segment, cut_out, entire_file], config)
    assert summary.embedded == 3
    one, other, entire = states_of(summary, [segment, cut_out, entire_file], "3")
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    assert np.abs(one - entire).max() > 1e-3


def test_windows_merge_to_the_statistics_over_all_frames(config, tmp_path):
    """A clip cut into windows equals pooling the concatenated frames of its windows."""
    path = tmp_path / "long.wav"
    wave = tone(7.3, seed=5)
    soundfile.write(path, wave, 16_000, subtype="FLOAT")
    short = tmp_path / "short.wav"
    soundfile.write(short, tone(1.0, seed=6), 16_000, subtype="FLOAT")
    clips = [Clip(id="long", file=str(path)), Clip(id="short", file=str(short))]
    settings = replace(config, window=3.0, stats=("std", "max", "min"))
    summary = embed(clips, settings)
    backbone, _ = open_backbone(settings)
    normal = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
    cuts = [len(wave) * i // 3 for i in range(4)]
    frames = []
    for begin, stop in pairwise(cuts):
        piece = torch.from_numpy(normal[begin:stop])[None]
        frames.append(layer_states(backbone, piece, torch.tensor([stop - begin]))["3"][0].numpy())
    states = np.concatenate(frames).astype(np.float64)
    expected = np.concatenate([states.std(0), states.max(0), states.min(0)])
    stored = states_of(summary, clips[:1], "3")[0]
    np.testing.assert_allclose(stored, expected, rtol=0, atol=1e-5 * np.abs(states).max())


def test_an_hour_needs_no_more_memory_than_a_minute(tmp_path):
    """Clips are decoded, normalised and merged window by window."""
    import subprocess
    import sys

    program = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.run import embed
from layerprobe.embed.manifest.clips import Clip
import resource
path = Path(sys.argv[1])
embed([Clip(id="x", file=str(path))], EmbedConfig(model="mfcc", cache=path.parent / path.stem, device="cpu"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    minute = np.tile(tone(1.0, seed=4, rate=8_000), 60)
    peaks = []
    for name, times in (("minute", 1), ("hour", 60)):
        path = tmp_path / f"{name}.ogg"
        with soundfile.SoundFile(path, "w", 8_000, 1) as file:
            for _ in range(times):
                file.write(minute)
        done = subprocess.run(
            [sys.executable, "-c", program, str(path), str(ROOT)], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 60_000  # kB; the hour at 16 kHz is 230 MB as float32


def test_every_frame_is_stored_on_request(config, tmp_path):
    clips = read_manifest(write_corpus(tmp_path, clips=4))
    long = tmp_path / "long.wav"
    soundfile.write(long, tone(5.0, seed=3), 16_000)
    clips.append(Clip(id="long", file=str(long)))
    pooled = embed(clips, config)
    every_frame = embed(clips, replace(config, frames=True, window=2.0))
    store = FeatureStore(every_frame.store)
    assert every_frame.fingerprint != pooled.fingerprint
    assert store.extraction.frame_rate == 50
    backbone, _ = open_backbone(config)
    for clip, key in _keys(clips[:4]):
        frames = store.frames("2", key)
        assert frames.shape == (backbone.frames(soundfile.info(clip.path).frames), 32)
        expected = states_of(pooled, [clip], "2")[0]
        np.testing.assert_allclose(np.concatenate([frames.mean(0), frames.std(0)]), expected, atol=1e-5)
    ((_, key),) = _keys(clips[4:])
    windows = [80_000 * (i + 1) // 3 - 80_000 * i // 3 for i in range(3)]
    assert len(store.frames("2", key)) == sum(backbone.frames(n) for n in windows)


def _keys(clips: list[Clip]) -> list[tuple[Clip, str]]:
    import hashlib

    return [(clip, hashlib.sha256(clip.path.read_bytes()).hexdigest()) for clip in clips]


def test_some_layers_only(config, tmp_path):
    clips = read_manifest(write_corpus(tmp_path, clips=3))
    every = embed(clips, config)
    some = embed(clips, replace(config, layers="cnn,1-2"))
    assert FeatureStore(some.store).extraction.layers == ("cnn", "1", "2")
    np.testing.assert_array_equal(states_of(some, clips, "2"), states_of(every, clips, "2"))


class TestBrokenClips:
    def broken(self, folder: Path) -> dict[str, str]:
        """Unusable files, each with a word that its reported reason must contain."""
        folder.mkdir(exist_ok=True)
        good = tone(1.0, seed=1)
        soundfile.write(folder / "whole.wav", good, 16_000)
        data = (folder / "whole.wav").read_bytes()
        (folder / "whole.wav").unlink()
        (folder / "truncated.wav").write_bytes(data[: len(data) // 2])
        (folder / "empty.wav").write_bytes(b"")
        (folder / "header.wav").write_bytes(data[:44])
        (folder / "text.wav").write_text("not sound")
        soundfile.write(folder / "short.wav", good[:399], 16_000)
        soundfile.write(folder / "silent.wav", np.zeros(16_000, np.float32), 16_000)
        soundfile.write(folder / "nan.wav", np.full(16_000, np.nan, np.float32), 16_000, subtype="FLOAT")
        long = np.tile(good, 4)
        long[-1] = np.inf
        soundfile.write(folder / "late.wav", long, 16_000, subtype="FLOAT")
        return {
            "truncated.wav": "truncated",
            "empty.wav": "empty",
            "header.wav": "",
            "text.wav": "not a sound file",
            "short.wav": "too short",
            "silent.wav": "silent",
            "nan.wav": "NaN",
            "late.wav": "NaN or infinite",
            "missing.wav": "no such file",
        }

    @pytest.mark.parametrize("frames", [False, True])
    def test_are_listed_and_not_stored(self, config, tmp_path, frames):
        reasons = self.broken(tmp_path / "sound")
        clips = read_manifest(write_corpus(tmp_path / "sound", clips=4))
        bad = [Clip(id=name, file=str(tmp_path / "sound" / name)) for name in reasons]
        summary = embed([*bad, *clips], replace(config, window=2.0, frames=frames))
        assert (summary.clips, summary.embedded, len(summary.failures)) == (13, 4, 9)
        listed = {Path(path).name: f.reason for (path, _, _), f in failures.read(summary.store).items()}
        assert listed.keys() == reasons.keys()
        for name, word in reasons.items():
            assert word.lower() in listed[name].lower(), listed[name]
        assert len(FeatureStore(summary.store).keys()) == 4

    def test_copies_of_a_broken_clip_are_listed_too(self, config, tmp_path):
        clips = read_manifest(write_corpus(tmp_path, clips=2))
        for name in ("one.wav", "other.wav"):
            soundfile.write(tmp_path / name, np.zeros(16_000, np.float32), 16_000)
        silent = [Clip(id=name, file=str(tmp_path / name)) for name in ("one.wav", "other.wav")]
        summary = embed([*silent, *clips], config)
        assert (summary.clips, summary.embedded, len(summary.failures)) == (4, 2, 2)

    def test_are_removed_from_the_list_once_repaired(self, config, tmp_path):
        clips = read_manifest(write_corpus(tmp_path, clips=3))
        good = clips[0].path.read_bytes()
        clips[0].path.write_bytes(good[:2000])
        summary = embed(clips, config)
        assert len(failures.read(summary.store)) == 1
        clips[0].path.write_bytes(good)
        assert embed(clips, config).embedded == 1
        assert failures.read(summary.store) == {}

    def test_stop_the_run_with_on_error_stop(self, config, tmp_path):
        clips = read_manifest(write_corpus(tmp_path, clips=4))
        clips[2].path.write_text("not sound")
        with pytest.raises(ClipError, match=clips[2].path.name):
            embed(clips, replace(config, on_error="stop"))

    def test_nothing_but_broken_clips_is_an_error(self, config, tmp_path):
        bad = tmp_path / "bad.wav"
        bad.write_text("not sound")
        with pytest.raises(InputError, match="none of 1 clips"):
            embed([Clip(id="bad", file=str(bad))], config)


def test_states_that_overflow_the_storage_type_are_rejected(config, tmp_path, monkeypatch):
    clips = read_manifest(write_corpus(tmp_path, clips=3))
    run = TransformerBackbone.run

    def loud(self, waves, lengths, visit):
        run(self, waves, lengths, lambda layer, s, f: visit(layer, s * 1e6 if layer == "2" else s, f))

    monkeypatch.setattr(TransformerBackbone, "run", loud)
    with pytest.raises(
        InputError,
        match=r"clip002\.wav: .*layer 2 has states up to .* too large for float16; .*--dtype float32",
    ):
        embed(clips, replace(config, dtype="float16"))
    assert embed(clips, config).embedded == 3


def test_states_that_are_not_finite_are_rejected(config, tmp_path, monkeypatch):
    clips = read_manifest(write_corpus(tmp_path, clips=3))
    run = TransformerBackbone.run
    wave, _ = soundfile.read(clips[1].path)

    def broken(self, waves, lengths, visit):
        hit = torch.where(lengths == len(wave), torch.nan, 1.0)[:, None, None]
        run(self, waves, lengths, lambda layer, s, f: visit(layer, s * hit if layer == "1" else s, f))

    monkeypatch.setattr(TransformerBackbone, "run", broken)
    summary = embed(clips, config)
    assert summary.embedded == 2
    (((path, _, _), reason),) = summary.failures.items()
    assert path.endswith(clips[1].path.name)
    assert reason == "layer 1 has states that are not finite"


class TestOutOfMemory:
    @pytest.fixture
    def small_device(self, monkeypatch) -> list[int]:
        """A device on which more than 1.5 s of padded sound do not fit; the sizes tried."""
        tried: list[int] = []
        run = TransformerBackbone.run

        def limited(self, waves, lengths, visit):
            tried.append(waves.numel())
            if waves.numel() > 24_000:
                raise torch.OutOfMemoryError("out of memory")
            run(self, waves, lengths, visit)

        monkeypatch.setattr(TransformerBackbone, "run", limited)
        return tried

    def test_halves_the_budget_and_continues(self, config, tmp_path, small_device):
        clips = read_manifest(write_corpus(tmp_path, clips=8, shortest=0.2))
        summary = embed(clips, replace(config, batch_seconds=6.0))
        assert summary.embedded == 8
        assert max(small_device) > 24_000
        assert sum(size > 24_000 for size in small_device) <= 3  # learned at the start, not at every batch

    def test_a_window_that_never_fits_fails_alone(self, config, tmp_path, small_device):
        clips = read_manifest(write_corpus(tmp_path, clips=3, shortest=0.2))
        long = tmp_path / "long.wav"
        soundfile.write(long, tone(4.0, seed=8), 16_000)
        summary = embed([*clips, Clip(id="long", file=str(long))], config)
        assert summary.embedded == 3
        assert "--window" in next(iter(summary.failures.values()))


def test_an_interrupted_run_keeps_finished_clips(config, tmp_path, monkeypatch):
    import signal

    clips = read_manifest(write_corpus(tmp_path, clips=8))

    def interrupt(_progress):
        signal.raise_signal(signal.SIGTERM)

    summary = embed(clips, replace(config, batch_seconds=0.1), report=interrupt)
    assert summary.stopped
    assert 1 <= summary.embedded < 8
    rest = embed(clips, config)
    assert rest.embedded + rest.cached == 8
    assert rest.cached == summary.embedded


@pytest.mark.parametrize("name", ["mfcc", "fbank"])
def test_acoustic_features_are_a_model_like_any_other(config, tmp_path, name):
    clips = read_manifest(write_corpus(tmp_path, clips=4))
    summary = embed(clips, replace(config, model=name))
    store = FeatureStore(summary.store)
    assert store.extraction.layers == (name,)
    assert states_of(summary, clips, name).shape == (4, 2 * store.extraction.width(name))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "float8"}, "--dtype float8"),
        ({"precision": "int4"}, "--precision int4"),
        ({"on_error": "ignore"}, "--on-error ignore"),
        ({"window": 1.0}, "--window 1"),
        ({"stats": ("median",)}, "--stats median"),
        ({"stats": ("mean", "mean")}, "--stats mean,mean"),
        ({"batch_seconds": 0.0}, "--batch-seconds 0"),
    ],
)
def test_invalid_settings_are_rejected(config, change, message):
    with pytest.raises(InputError, match=message):
        replace(config, **change)


def test_missing_devices_and_layers_are_rejected(config, tmp_path):
    clips = read_manifest(write_corpus(tmp_path, clips=2))
    with pytest.raises(InputError, match="--device nosuch cannot be used"):
        embed(clips, replace(config, device="nosuch"))
    with pytest.raises(InputError, match="no layer 17"):
        embed(clips, replace(config, layers="17"))
    assert batching.batch_budget(config, torch.device("cpu")) == batching.BATCH_SECONDS["cpu"] * RATE
