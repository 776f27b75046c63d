"""A synthetic corpus of voices in BAVED's layout: sound to try everything on where no real speech is at hand.

A source-filter synthesiser (Fant 1960, *Acoustic Theory of Speech Production*; Klatt 1980, "Software for a
cascade/parallel formant synthesizer", JASA 67(3)): a train of glottal pulses and breath noise go through a
cascade of formant resonators. Arousal moves what it moves in people (Scherer 2003, "Vocal communication of
emotion", Speech Communication 40): pitch and its range, loudness, tempo, the slope of the spectrum, breath.

Speakers differ in all of that too, and follow the intended level more or less, so that the level can be
learnt but not read off. All is drawn from the seed: on one machine the same call gives the same bytes, on
another one a Fourier transform may round a sample differently.
"""

from __future__ import annotations

import wave
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from layerprobe.cache.common.errors import InputError

RATE = 16_000

# F1, F2, F3 in Hz of men's vowels (Peterson & Barney 1952); F4 and F5 are the same for all vowels.
VOWELS = {
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (270, 2290, 3010),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}
HIGH_FORMANTS = (3300, 3750)  # Klatt 1980
BANDWIDTHS = (50, 70, 110, 250, 200)  # Hz, Klatt 1980
WORDS = ("aei", "uoa", "iau", "oie", "eua", "iou", "aoi")  # at most the seven that BAVED's names allow
LEVELS = 3
EYASE_AROUSAL = {"ang": 1.3, "hap": 0.5, "neu": -0.2, "sad": -1.2}

FRAME = 320  # samples a formant frame lasts: 20 ms
HOP = 80
SPECTRUM = 512  # longer than a frame, for the resonators ring on


@dataclass(frozen=True)
class Voice:
    """What stays the same from one utterance of a speaker to the next."""

    gender: str
    age: int
    pitch: float  # Hz
    tract: float  # scale of the formants: shorter vocal tracts have higher ones
    open_quotient: float  # share of a glottal cycle in which the folds are open
    cutoff: float  # Hz above which the source loses a further 6 dB an octave
    breath: float  # noise against pulses, in amplitude
    jitter: float  # relative spread of cycle lengths
    shimmer: float  # relative spread of cycle amplitudes
    tempo: float  # vowels a second
    expression: float  # how far the speaker follows the level asked for
    microphone: float  # slope of the recording chain, in powers of frequency
    noise: float  # dB of the room's noise below the voice

    @classmethod
    def draw(cls, rng: np.random.Generator, *, female: bool) -> Voice:
        return cls(
            gender="f" if female else "m",
            age=int(rng.integers(18, 60)),
            pitch=(205.0 if female else 120.0) * 2 ** rng.normal(0, 0.2),
            tract=(1.16 if female else 1.0) * 2 ** rng.normal(0, 0.06),
            open_quotient=rng.uniform(0.5, 0.7),
            cutoff=2000 * 2 ** rng.normal(0, 0.3),
            breath=0.04 * 2 ** rng.normal(0, 0.7),
            jitter=rng.uniform(0.004, 0.012),
            shimmer=rng.uniform(0.02, 0.08),
            tempo=4.0 * 2 ** rng.normal(0, 0.12),
            expression=rng.uniform(0.8, 1.5),
            microphone=rng.normal(0, 0.08),
            noise=rng.uniform(30, 45),
        )


def make_corpus(
    folder: Path,
    *,
    speakers: int = 12,
    words: int = 5,
    levels: int = LEVELS,
    takes: int = 1,
    seed: int = 0,
) -> Path:
    """Write speakers × words × levels × takes WAV files (16 kHz, 16 bit, mono, about a second each).

    They are named and laid out as BAVED's: `WORD/speaker-gender-age-word-level-record.wav`. Men and women
    take turns. The same call writes the same bytes, also over what an earlier one left. Returns `folder`.

    Raises InputError for numbers that the names cannot hold, and for a folder that holds other sound.
    """
    for name, value, most in [
        ("speakers", speakers, None),
        ("words", words, len(WORDS)),
        ("levels", levels, LEVELS),
        ("takes", takes, None),
    ]:
        if value < 1 or (most is not None and value > most):
            raise InputError(
                f"{name} = {value}", do=f"give {'at least 1' if most is None else f'1 to {most}'}"
            )
    files: dict[Path, tuple[Voice, tuple[int, int, int, int]]] = {}
    for speaker in range(speakers):
        voice = Voice.draw(np.random.default_rng([seed, speaker]), female=speaker % 2 == 1)
        for word, level, take in np.ndindex(words, levels, takes):
            name = f"{speaker}-{voice.gender}-{voice.age}-{word}-{level}-{len(files)}.wav"
            files[folder / str(word) / name] = (voice, (speaker, word, level, take))
    sounds = (
        (
            path,
            utter(voice, WORDS[drawn[1]], arousal=drawn[2] - 1.0, rng=np.random.default_rng([seed, *drawn])),
        )
        for path, (voice, drawn) in files.items()
    )
    return _write_all(folder, set(files), sounds)


def make_eyase(folder: Path, *, speakers: int = 4, takes: int = 3, seed: int = 0) -> Path:
    """The same voices in EYASE's layout: speakers × four emotions × takes, `fm01_hap (3).wav`.

    Emotions differ in arousal alone: it is a stand-in for the corpus's layout, not for its emotions. Raises
    InputError for a folder that holds other sound.
    """
    files: dict[Path, tuple[int, int, int]] = {}
    for speaker, number, take in np.ndindex(speakers, len(EYASE_AROUSAL), takes):
        name = f"{('ml', 'fm')[speaker % 2]}{speaker // 2 + 1:02}"
        files[folder / f"{name}_{list(EYASE_AROUSAL)[number]} ({take + 1}).wav"] = (speaker, number, take)

    def sound(speaker: int, number: int, take: int) -> np.ndarray:
        voice = Voice.draw(np.random.default_rng([seed, 1, speaker]), female=speaker % 2 == 1)
        rng = np.random.default_rng([seed, 1, speaker, number, take])
        return utter(voice, WORDS[take % len(WORDS)], arousal=list(EYASE_AROUSAL.values())[number], rng=rng)

    return _write_all(folder, set(files), ((path, sound(*drawn)) for path, drawn in files.items()))


def _write_all(folder: Path, ours: set[Path], sounds: Iterable[tuple[Path, np.ndarray]]) -> Path:
    """Write every (path, samples) below `folder`, which may hold no other sound than `ours`."""
    strangers = sorted(set(folder.rglob("*.wav")) - ours)
    if strangers:
        raise InputError(
            f"holds other sound ({strangers[0].name})", where=str(folder), do="give a new folder"
        )
    try:
        for path, samples in sounds:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_wav(path, samples)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", where=str(folder)) from error
    return folder


def utter(voice: Voice, vowels: str, *, arousal: float, rng: np.random.Generator) -> np.ndarray:
    """One word as float samples (T,) at RATE, within ±1. Arousal is -1 low, 0 neutral, 1 high."""
    felt = voice.expression * arousal + rng.normal(0, 0.15)
    duration = len(vowels) / (voice.tempo * 2 ** (0.12 * felt + rng.normal(0, 0.06)))
    time = np.arange(round(duration * RATE)) / RATE
    place = time / duration  # 0 at the start of the word, 1 at its end

    pitch = voice.pitch * 2 ** (0.25 * felt + rng.normal(0, 0.06) + _melody(time, place, felt, rng))
    breath = voice.breath * 2 ** (-0.8 * felt)
    source = _source(voice, pitch, voice.open_quotient - 0.05 * felt, breath, rng)
    source *= _envelope(place, len(vowels), rng)
    cutoff = voice.cutoff * 2 ** (0.8 * felt)
    sound = _filter(source, _formants(voice, vowels, felt), cutoff, voice.microphone)

    loudness = -30 + 4 * felt + rng.normal(0, 1.5)  # dB below full scale
    sound *= 10 ** (loudness / 20) / np.sqrt(np.mean(sound**2))
    sound = np.pad(sound, round(0.05 * RATE))
    sound += 10 ** ((loudness - voice.noise) / 20) * rng.standard_normal(len(sound))
    return np.clip(sound, -1, 1)


def _melody(time: np.ndarray, place: np.ndarray, felt: float, rng: np.random.Generator) -> np.ndarray:
    """Octaves of pitch around its mean: declination, one accent, and flutter (Klatt & Klatt 1990)."""
    accent = np.exp(-(((place - rng.uniform(0.2, 0.6)) / 0.2) ** 2))
    beats = sum(np.sin(2 * np.pi * hertz * time + rng.uniform(0, 2 * np.pi)) for hertz in (12.7, 7.1, 4.7))
    return 2 ** (0.6 * felt) * (0.2 * accent - 0.15 * (place - 0.5)) + 0.008 * beats


def _source(
    voice: Voice, pitch: np.ndarray, open_quotient: float, breath: float, rng: np.random.Generator
) -> np.ndarray:
    """The flow through the glottis, differentiated for the radiation at the lips; (T,).

    Pulses are Rosenberg's (1971, "Effect of glottal pulse shape on the quality of natural vowels", JASA 49):
    the flow rises as half a cosine for two thirds of the open time and falls as a quarter of one.
    """
    cycle = np.cumsum(pitch / RATE).astype(int)
    lengths = 1 + voice.jitter * rng.standard_normal(cycle[-1] + 2)
    phase = np.cumsum(pitch / RATE / lengths[cycle])
    cycle = phase.astype(int)
    phase -= cycle
    rise, fall = open_quotient * 2 / 3, open_quotient / 3
    flow = np.where(phase < rise, 0.5 - 0.5 * np.cos(np.pi * phase / rise), 0.0)
    falling = (phase >= rise) & (phase < rise + fall)
    flow[falling] = np.cos(np.pi / 2 * (phase[falling] - rise) / fall)
    pulses = flow * (1 + voice.shimmer * rng.standard_normal(cycle[-1] + 1))[cycle]
    noise = breath * (0.3 + flow) * rng.standard_normal(len(flow))
    return np.diff(pulses + noise, prepend=0.0)


def _envelope(place: np.ndarray, vowels: int, rng: np.random.Generator) -> np.ndarray:
    """Amplitude over the word: a dip between vowels, soft edges."""
    dips = 1 - rng.uniform(0.5, 0.8) * np.abs(np.cos(np.pi * vowels * place)) ** 6
    return dips * np.minimum(1, np.minimum(place / 0.06, (1 - place) / 0.12))


def _formants(voice: Voice, vowels: str, felt: float) -> np.ndarray:
    """Formants (vowels, 5) in Hz; an open mouth raises the first one with arousal."""
    targets = np.array([(*VOWELS[vowel], *HIGH_FORMANTS) for vowel in vowels], dtype=float)
    targets[:, 0] *= 1 + 0.05 * felt
    return targets * voice.tract


def _filter(source: np.ndarray, formants: np.ndarray, cutoff: float, slope: float) -> np.ndarray:
    """Send (T,) through formants (vowels, 5) that glide from one vowel to the next; (T,).

    Frame by frame in the frequency domain, overlapped and added: each frame is multiplied by the response of
    Klatt's resonators in cascade, of a low-pass at `cutoff`, and of a recording chain with `slope`.
    """
    count = -(-len(source) // HOP) + FRAME // HOP
    padded = np.zeros((count - 1) * HOP + SPECTRUM)
    padded[FRAME : FRAME + len(source)] = source
    starts = HOP * np.arange(count)
    window = np.hanning(FRAME + 1)[:-1] * (2 * HOP / FRAME)  # overlapping windows add up to one
    spectra = np.fft.rfft(padded[starts[:, None] + np.arange(FRAME)] * window, SPECTRUM)

    vowels = len(formants)
    place = np.clip((starts - FRAME / 2) / len(source), 0, 1) * vowels
    knots = (np.arange(vowels)[:, None] + (0.3, 0.7)).ravel()  # the steady part of each vowel
    tracks = np.stack([np.interp(place, knots, np.repeat(track, 2)) for track in formants.T], axis=1)
    hertz = np.fft.rfftfreq(SPECTRUM, 1 / RATE)
    delay = np.exp(-2j * np.pi * hertz / RATE)
    for track, bandwidth in zip(tracks.T, BANDWIDTHS, strict=True):
        radius = np.exp(-np.pi * bandwidth / RATE)
        b, c = 2 * radius * np.cos(2 * np.pi * track / RATE)[:, None], -(radius**2)
        spectra *= (1 - b - c) / (1 - b * delay - c * delay**2)
    spectra *= np.maximum(hertz, 50) ** slope / (1 + 1j * hertz / cutoff)

    sound = np.zeros_like(padded)
    for start, frame in zip(starts, np.fft.irfft(spectra, SPECTRUM), strict=True):
        sound[start : start + SPECTRUM] += frame
    return sound[FRAME : FRAME + len(source)]


def _write_wav(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.round(samples * 32_767).astype("<i2").tobytes())
