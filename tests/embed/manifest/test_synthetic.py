"""The synthetic corpus: BAVED's layout, reproducible bytes, a task that can be learnt."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import torchaudio
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.manifest.corpora import CORPORA, Corpus
from layerprobe.embed.manifest.synthetic import RATE, make_corpus

baved = CORPORA["baved"]

SMALL: dict[str, Any] = {"speakers": 2, "words": 2, "levels": 2}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    return baved(make_corpus(tmp_path_factory.mktemp("synthetic")))


@pytest.fixture(scope="module")
def waves(corpus) -> list[np.ndarray]:
    return [soundfile.read(clip.path, dtype="float32")[0] for clip in corpus.clips]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(folder.rglob("*.wav"))
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def labels(corpus: Corpus, name: str) -> np.ndarray:
    return np.array([clip.labels[name] for clip in corpus.clips])


def test_it_reads_as_baved(corpus):
    assert (corpus.notes, corpus.left_out) == ([], {})
    assert len(corpus.clips) == 12 * 5 * 3
    assert Counter(clip.speaker for clip in corpus.clips) == {str(speaker): 15 for speaker in range(12)}
    assert Counter(labels(corpus, "emotion")) == {"0": 60, "1": 60, "2": 60}
    assert Counter(labels(corpus, "word")) == {str(word): 36 for word in range(5)}
    assert Counter(labels(corpus, "gender")) == {"m": 90, "f": 90}
    assert len(set(labels(corpus, "record"))) == 180


def test_the_files_are_ordinary_wav(corpus, waves):
    info = soundfile.info(corpus.clips[0].path)
    assert (info.samplerate, info.channels, info.subtype, info.format) == (RATE, 1, "PCM_16", "WAV")
    seconds = np.array([len(wave) / RATE for wave in waves])
    assert seconds.min() > 0.5
    assert seconds.max() < 1.4
    peaks = np.array([np.abs(wave).max() for wave in waves])
    assert peaks.min() > 0.01
    assert peaks.max() < 0.9


def test_women_speak_higher_and_arousal_raises_pitch_and_loudness(corpus, waves):
    pitch = np.array([_pitch(wave) for wave in waves])
    loudness = np.array([20 * np.log10(np.std(wave)) for wave in waves])
    gender, level = labels(corpus, "gender"), labels(corpus, "emotion")
    assert 1.4 < np.median(pitch[gender == "f"]) / np.median(pitch[gender == "m"]) < 2.2
    for low, high in (("0", "1"), ("1", "2")):
        assert np.median(pitch[level == high]) > np.median(pitch[level == low])
        assert loudness[level == high].mean() > loudness[level == low].mean() + 2


def test_the_level_can_be_learnt_across_speakers_but_not_perfectly(corpus, waves):
    mfcc = torchaudio.transforms.MFCC(RATE, 20, melkwargs={"n_fft": 400, "hop_length": 160, "n_mels": 40})
    frames = [mfcc(torch.from_numpy(wave)) for wave in waves]
    features = torch.stack([torch.cat([f.mean(1), f.std(1)]) for f in frames]).numpy()
    level, speaker = labels(corpus, "emotion"), [clip.speaker for clip in corpus.clips]
    shuffled = np.random.default_rng(0).permutation(level)
    model, folds = make_pipeline(StandardScaler(), SVC()), GroupKFold(6)
    uar = {
        name: balanced_accuracy_score(y, cross_val_predict(model, features, y, groups=speaker, cv=folds))
        for name, y in (("true", level), ("shuffled", shuffled))
    }
    assert 0.7 < uar["true"] < 0.95
    assert 0.2 < uar["shuffled"] < 0.45


def test_the_same_seed_gives_the_same_bytes_in_another_process(tmp_path):
    module = "layerprobe.embed.manifest.synthetic"
    code = f"import pathlib, {module} as s; s.make_corpus(pathlib.Path('b'), **{SMALL})"
    root = Path(__file__).parents[3]
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    ours = digests(make_corpus(tmp_path / "a", **SMALL))
    assert len(set(ours.values())) == 8
    assert ours == digests(tmp_path / "b")


def test_another_seed_gives_other_voices(tmp_path):
    ours = digests(make_corpus(tmp_path / "a", **SMALL))
    others = digests(make_corpus(tmp_path / "b", seed=1, **SMALL))
    assert not set(ours.values()) & set(others.values())


def test_takes_differ_and_a_larger_corpus_contains_the_smaller_one(tmp_path):
    small = digests(make_corpus(tmp_path / "a", **SMALL))
    large = digests(make_corpus(tmp_path / "b", speakers=3, words=7, levels=3, takes=2))
    assert len(set(large.values())) == len(large) == 126
    assert set(small.values()) < set(large.values())


def test_making_it_again_repairs_truncated_files(tmp_path):
    intact = digests(make_corpus(tmp_path, **SMALL))
    victim = next(tmp_path.rglob("*.wav"))
    victim.write_bytes(victim.read_bytes()[:100])
    assert digests(make_corpus(tmp_path, **SMALL)) == intact


def test_a_folder_with_other_sound_is_refused(tmp_path):
    make_corpus(tmp_path, **SMALL)
    before = digests(tmp_path)
    with pytest.raises(InputError, match="other sound"):
        make_corpus(tmp_path, seed=1, **SMALL)
    assert digests(tmp_path) == before


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be written"):
        make_corpus(tmp_path / "file", **SMALL)


@pytest.mark.parametrize(
    "numbers", [{"speakers": 0}, {"words": 0}, {"words": 8}, {"levels": 4}, {"levels": 0}, {"takes": 0}]
)
def test_numbers_that_do_not_fit_the_names(tmp_path, numbers):
    ((name, value),) = numbers.items()
    with pytest.raises(InputError, match=f"{name} = {value}"):
        make_corpus(tmp_path / "new", **numbers)
    assert not (tmp_path / "new").exists()


def _pitch(wave: np.ndarray) -> float:
    """The lag between 70 and 450 Hz at which the autocorrelation of the middle is highest, as Hz."""
    middle = wave[len(wave) // 3 : 2 * len(wave) // 3]
    power = np.abs(np.fft.rfft(middle, 2 * len(middle))) ** 2
    correlation = np.fft.irfft(power)[RATE // 450 : RATE // 70]
    return RATE / (RATE // 450 + int(correlation.argmax()))
