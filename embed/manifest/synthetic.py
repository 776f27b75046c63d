"""Synthetic corpora of voices in the layouts of BAVED and EYASE, for trying everything without real speech.

Speakers differ in everything that arousal changes, and express it more or less, so that it can be learnt but
not read off. All is drawn from the seed: on one machine the same call writes the same bytes; on another, a
Fourier transform may round a sample differently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from scipy.io import wavfile

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.config import RATE
from layerprobe.embed.manifest.recording import record
from layerprobe.embed.manifest.synthesiser import Voice, synthesise

WORDS = ("aei", "uoa", "iau", "oie", "eua", "iou", "aoi")  # at most the seven that BAVED's names allow
LEVELS = 3
EYASE_AROUSAL = {"ang": 1.3, "hap": 0.5, "neu": -0.2, "sad": -1.2}


def make_corpus(
    folder: Path,
    *,
    speakers: int = 12,
    words: int = 5,
    levels: int = LEVELS,
    takes: int = 1,
    varied: bool = False,
    seed: int = 0,
) -> Path:
    """Write speakers × words × levels × takes WAV files (16 kHz, 16 bit, mono, about a second each).

    varied: each clip is recorded by another device in another room (see `recording`).

    Names and layout are BAVED's: `WORD/speaker-gender-age-word-level-record.wav`. Men and women alternate.
    The same call writes the same bytes, also over an existing corpus of its own. Returns `folder`.

    Raises InputError for numbers that the names cannot hold, and for a folder that holds other sound.
    """
    for name, value, limit in [
        ("speakers", speakers, None),
        ("words", words, len(WORDS)),
        ("levels", levels, LEVELS),
        ("takes", takes, None),
    ]:
        if value < 1 or (limit is not None and value > limit):
            do = "give at least 1" if limit is None else f"give 1 to {limit}"
            raise InputError(f"{name} = {value}", do=do)
    voices = _voices(speakers, seed)
    utterances = {}
    for number, (speaker, word, level, take) in enumerate(np.ndindex(speakers, words, levels, takes)):
        voice = voices[speaker]
        name = f"{speaker}-{voice.gender}-{voice.age}-{word}-{level}-{number}.wav"
        rng = np.random.default_rng([seed, speaker, word, level, take])
        utterances[folder / str(word) / name] = partial(
            _utter, voice, WORDS[word], arousal=level - 1.0, varied=varied, rng=rng
        )
    return _write(folder, utterances)


def make_eyase(folder: Path, *, speakers: int = 4, takes: int = 3, seed: int = 0) -> Path:
    """Write speakers × four emotions × takes WAV files in EYASE's layout, `fm01_hap (3).wav`.

    Emotions differ in arousal alone: the layout is EYASE's, the emotions are not. Returns `folder`. Raises
    InputError for a folder that holds other sound.
    """
    voices = _voices(speakers, seed, 1)
    utterances = {}
    for speaker, number, take in np.ndindex(speakers, len(EYASE_AROUSAL), takes):
        emotion, arousal = list(EYASE_AROUSAL.items())[number]
        name = f"{('ml', 'fm')[speaker % 2]}{speaker // 2 + 1:02}_{emotion} ({take + 1}).wav"
        rng = np.random.default_rng([seed, 1, speaker, number, take])
        word = WORDS[take % len(WORDS)]
        utterances[folder / name] = partial(synthesise, voices[speaker], word, arousal=arousal, rng=rng)
    return _write(folder, utterances)


def _utter(voice: Voice, word: str, *, arousal: float, varied: bool, rng: np.random.Generator) -> np.ndarray:
    sound = synthesise(voice, word, arousal=arousal, rng=rng)
    return record(sound, rng) if varied else sound


def _voices(speakers: int, *seed: int) -> list[Voice]:
    """Voices of men and women in turn."""
    return [
        Voice(np.random.default_rng([*seed, speaker]), female=speaker % 2 == 1) for speaker in range(speakers)
    ]


def _write(folder: Path, utterances: Mapping[Path, Callable[[], np.ndarray]]) -> Path:
    """Synthesise and write every utterance to its path in `folder`, which may hold no other sound."""
    foreign = sorted(set(folder.rglob("*.wav")) - set(utterances))
    if foreign:
        raise InputError(f"holds other sound ({foreign[0].name})", where=str(folder), do="give a new folder")
    try:
        for path, utterance in utterances.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            wavfile.write(path, RATE, np.round(utterance() * 32_767).astype("<i2"))
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", where=str(folder)) from error
    return folder
