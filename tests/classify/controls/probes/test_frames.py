"""Probes of frames: labels of a made TextGrid, states that hold them, bounded reading, faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.identity.digests import DigestCache
from layerprobe.cache.identity.extraction import FRAME
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import clip_key
from layerprobe.classify.controls.probes import frames as module
from layerprobe.classify.controls.probes.frame_targets import frame_targets
from layerprobe.classify.controls.probes.frames import frame_states, probe_frames
from layerprobe.classify.data.dataset import join_unlabelled
from layerprobe.embed.manifest.clips import Clip
from tests.embed.manifest.annotations.test_segments import textgrid
from tests.embed.models.test_prosody import RATE, voice
from tests.stores import extraction

PHONES = ("a", "i", "u", "s")
SECONDS, RATE_OF_FRAMES, FIRST = 1.2, 50.0, 0.0125
Corpus = tuple[list[Clip], FeatureStore, dict[str, list[tuple[float, float, str]]]]


def made_corpus(folder: Path, *, speakers: int = 5, each: int = 3, signal: float = 4.0) -> Corpus:
    """Voices with a TextGrid beside each, and frames of two layers: the second holds the phone."""
    rng = np.random.default_rng(0)
    of = extraction(layers=("0", "1"), widths=(8, 8), stats=(FRAME,), dtype="float32", notes={})
    store = FeatureStore.create(folder / "cache", of)
    clips, grids = [], {}
    for number in range(speakers * each):
        name = f"{number}.wav"
        half = int(SECONDS * RATE / 2)
        wave = np.concatenate([voice(np.full(half, 100 + 10.0 * number)), 1e-4 * rng.standard_normal(half)])
        soundfile.write(folder / name, wave, RATE)
        ends = np.sort(rng.uniform(0.1, SECONDS - 0.1, 5))
        spans = [
            (round(float(a), 4), round(float(b), 4), PHONES[(number + k) % 4])
            for k, (a, b) in enumerate(zip([0.0, *ends], [*ends, SECONDS], strict=True))
        ]
        spans[3] = (*spans[3][:2], "")  # a pause
        grids[str(folder / name)] = spans
        (folder / f"{number}.TextGrid").write_text(textgrid({"phones": spans}, end=SECONDS))
        clips.append(Clip(id=name, file=str(folder / name), speaker=f"s{number % speakers}"))
    centres = rng.standard_normal((4, 8))
    with DigestCache(store.cache) as digests, store.writer() as writer:
        found = digests.hash_files([clip.path for clip in clips])
        for clip in clips:
            count = 59
            states = rng.standard_normal((2, count, 8))
            for frame in range(count):
                label = expected_label(grids[clip.file], FIRST + frame / RATE_OF_FRAMES)
                if label:
                    states[1, frame] += signal * centres[PHONES.index(label)]
            digest = found[clip.path]
            assert isinstance(digest, str)
            by_layer = {name: own.astype(np.float32) for name, own in zip(of.layers, states, strict=True)}
            key = clip_key(digest, start=None, end=None)
            writer.add(key, by_layer, frames=count, seconds=SECONDS, path=str(clip.path))
    return clips, store, grids


def expected_label(spans: list[tuple[float, float, str]], time: float) -> str:
    return next((text for start, end, text in spans if start <= time < end), "")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return made_corpus(tmp_path_factory.mktemp("frames"))


def probed(corpus: Corpus, **changes: Any) -> dict[str, Any]:
    clips, store, _ = corpus
    options: dict[str, Any] = {
        "tiers": ("phones",), "names": (), "annotations": None, "max_frames": 10_000, "jobs": 1, "seed": 0,
    }  # fmt: skip
    return probe_frames(store, join_unlabelled(clips, store), clips, **{**options, **changes})


def test_a_frame_has_the_label_of_the_interval_around_its_centre(corpus: Corpus) -> None:
    clips, store, grids = corpus
    data = join_unlabelled(clips, store)
    found, notes = frame_targets(store, data, clips, tiers=("phones",), names=(), annotations=None)
    assert notes == []
    assert len(found.clip) == 59 * len(clips)
    for clip, frame, label in zip(found.clip, found.frame, found.labels["phones"], strict=True):
        expected = expected_label(grids[clips[clip].file], FIRST + frame / RATE_OF_FRAMES)
        assert (label or "") == expected


def test_segments_of_a_file_have_the_labels_of_their_time(corpus: Corpus) -> None:
    """The times of a TextGrid are those of the file, those of frames begin with the segment."""
    clips, store, grids = corpus
    part = Clip(id="part", file=clips[0].file, start=0.3, end=1.5, speaker="s0")
    data = join_unlabelled(clips[:1], store)  # the key is not needed: the states stay those of the file
    found, _ = frame_targets(store, data, [part], tiers=("phones",), names=(), annotations=None)
    expected = [expected_label(grids[part.file], 0.3 + FIRST + frame / RATE_OF_FRAMES) for frame in range(59)]
    assert [label or "" for label in found.labels["phones"]] == expected


def test_the_layer_that_holds_the_phones_predicts_them(corpus: Corpus) -> None:
    result = probed(corpus)
    (target,) = result["targets"]
    assert (target["target"], target["classes"]) == ("phones", 4)
    assert target["frames"] == result["frames"] == result["known_frames"]
    silent, held = target["layers"]
    assert held["uar"]["low"] > 0.9
    assert held["compression"]["value"] > 3
    assert held["compression"]["low"] > 1
    assert silent["uar"]["low"] < 0.3
    assert held["selectivity"]["low"] > 0.5


def test_frames_are_drawn_up_to_the_limit(corpus: Corpus) -> None:
    result = probed(corpus, max_frames=200)
    assert result["frames"] == result["targets"][0]["frames"] == 200
    assert result["known_frames"] > 500
    assert probed(corpus, max_frames=200) == result
    assert probed(corpus, max_frames=200, seed=1)["targets"] != result["targets"]


def test_clips_without_speakers_are_not_divided_between_training_and_test(corpus: Corpus) -> None:
    clips, store, grids = corpus
    unnamed = [Clip(id=clip.id, file=clip.file) for clip in clips]
    (target,) = probed((unnamed, store, grids))["targets"]
    assert target["layers"][1]["uar"]["low"] > 0.9


def test_voicing_and_pitch_come_from_the_sound(corpus: Corpus) -> None:
    """The first half of each clip is a voice, the second hardly audible noise."""
    clips, store, _ = corpus
    data = join_unlabelled(clips, store)
    found, _ = frame_targets(store, data, clips, tiers=(), names=("f0", "voiced"), annotations=None)
    times = FIRST + found.frame / RATE_OF_FRAMES
    inside = (times > 0.03) & (times < SECONDS / 2 - 0.03)
    assert set(found.labels["voiced"][inside]) == {"voiced"}
    assert set(found.labels["voiced"][(times > SECONDS / 2 + 0.03) & (times < SECONDS - 0.03)]) == {
        "unvoiced"
    }
    assert found.f0 is not None
    pitch = 12 * np.log2((100 + 10.0 * found.clip) / 27.5)
    np.testing.assert_allclose(found.f0[inside], pitch[inside], atol=0.1)
    assert np.isnan(found.f0[found.labels["voiced"] == "unvoiced"]).all()
    result = probed(corpus, tiers=(), names=("f0", "voiced"))
    assert [target["target"] for target in result["targets"]] == ["voiced", "f0"]
    assert "r2" in result["targets"][1]["layers"][0]


def test_states_are_read_a_few_clips_at_a_time_and_in_order(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, store, _ = corpus
    keys = join_unlabelled(clips, store).keys
    rng = np.random.default_rng(0)
    clip = np.sort(rng.integers(0, len(clips), 100))
    frame = rng.integers(0, 59, 100)
    expected = np.stack([store.frames("1", keys[c])[f] for c, f in zip(clip, frame, strict=True)])
    for at_once in (1, 130, 10**6):
        monkeypatch.setattr(module, "AT_ONCE", at_once)
        np.testing.assert_array_equal(frame_states(store, "1", keys, clip, frame), expected)


def test_files_without_the_tier_are_named_in_one_line(tmp_path: Path) -> None:
    corpus = made_corpus(tmp_path, each=2)
    (tmp_path / "1.TextGrid").write_text(textgrid({"words": [(0.0, 1.0, "w")]}, end=SECONDS))
    (tmp_path / "2.TextGrid").unlink()
    notes = probed(corpus)["notes"]
    assert notes == [
        f"1 of 10 recordings has no annotation: {tmp_path / '2.wav'} has no annotation file",
        f"1 of 10 recordings has no tier 'phones': {tmp_path / '1.wav'}",
    ]


def test_a_tier_that_no_file_has_is_an_error(corpus: Corpus) -> None:
    with pytest.raises(InputError, match=r"no recording has a tier 'phonemes'; there are phones$"):
        probed(corpus, tiers=("phonemes",))


def test_too_few_speakers_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"frames of 2 speakers have a label; .* need 3 speakers or more"):
        probed(made_corpus(tmp_path, speakers=2))


def test_a_draw_that_is_too_small_is_an_error(corpus: Corpus) -> None:
    with pytest.raises(
        InputError, match=r"--max-frames 2 drew frames of \d speakers? only; .* need 3 speakers"
    ):
        probed(corpus, max_frames=2)


def test_rare_labels_are_named(tmp_path: Path) -> None:
    corpus = made_corpus(tmp_path, each=2)
    (tmp_path / "3.TextGrid").write_text(textgrid({"phones": [(0.0, 1.0, "zh")]}, end=SECONDS))
    assert "rare labels of 'phones' are left out: zh" in probed(corpus)["notes"]
