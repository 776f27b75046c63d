"""A synthesiser of emotional voices: glottal pulses and breath noise through a cascade of formant resonators.

The source-filter model of Fant (1960, *Acoustic Theory of Speech Production*) with the resonators of Klatt
(1980, "Software for a cascade/parallel formant synthesizer", JASA 67(3)). Arousal changes what it changes in
people (Scherer 2003, "Vocal communication of emotion", Speech Communication 40): pitch and its range,
loudness, tempo, the slope of the spectrum, breath.
"""

from __future__ import annotations

import numpy as np

from layerprobe.embed.config import RATE

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

FRAME = 320  # samples of a formant frame: 20 ms
HOP = 80
SPECTRUM = 512  # longer than a frame, because the resonators ring on


class Voice:
    """What stays the same from one utterance of a speaker to the next, drawn at random."""

    def __init__(self, rng: np.random.Generator, *, female: bool) -> None:
        self.gender = "f" if female else "m"
        self.age = int(rng.integers(18, 60))
        self.pitch = (205.0 if female else 120.0) * 2 ** rng.normal(0, 0.2)  # Hz
        self.tract = (1.16 if female else 1.0) * 2 ** rng.normal(0, 0.06)  # scale of the formants
        self.open_quotient = rng.uniform(0.5, 0.7)  # share of a glottal cycle in which the folds are open
        self.cutoff = 2000 * 2 ** rng.normal(
            0, 0.3
        )  # Hz above which the source loses a further 6 dB per octave
        self.breath = 0.04 * 2 ** rng.normal(0, 0.7)  # amplitude of noise relative to pulses
        self.jitter = rng.uniform(0.004, 0.012)  # relative spread of cycle lengths
        self.shimmer = rng.uniform(0.02, 0.08)  # relative spread of cycle amplitudes
        self.tempo = 4.0 * 2 ** rng.normal(0, 0.12)  # vowels per second
        self.expression = rng.uniform(0.8, 1.5)  # how strongly the speaker expresses the intended arousal
        self.microphone = rng.normal(0, 0.08)  # slope of the recording chain, in powers of frequency
        self.noise = rng.uniform(30, 45)  # dB of the room's noise below the voice


def synthesise(voice: Voice, vowels: str, *, arousal: float, rng: np.random.Generator) -> np.ndarray:
    """One word as float samples (T,) at RATE, within ±1. Arousal is -1 low, 0 neutral, 1 high."""
    excitement = voice.expression * arousal + rng.normal(0, 0.15)
    duration = len(vowels) / (voice.tempo * 2 ** (0.12 * excitement + rng.normal(0, 0.06)))
    time = np.arange(round(duration * RATE)) / RATE
    position = time / duration  # 0 at the start of the word, 1 at its end

    pitch = voice.pitch * 2 ** (
        0.25 * excitement + rng.normal(0, 0.06) + _melody(time, position, excitement, rng)
    )
    breath = voice.breath * 2 ** (-0.8 * excitement)
    source = _source(voice, pitch, voice.open_quotient - 0.05 * excitement, breath, rng)
    source *= _envelope(position, len(vowels), rng)
    cutoff = voice.cutoff * 2 ** (0.8 * excitement)
    sound = _filter(source, _formants(voice, vowels, excitement), cutoff, voice.microphone)

    loudness = -30 + 4 * excitement + rng.normal(0, 1.5)  # dB below full scale
    sound *= 10 ** (loudness / 20) / np.sqrt(np.mean(sound**2))
    sound = np.pad(sound, round(0.05 * RATE))
    sound += 10 ** ((loudness - voice.noise) / 20) * rng.standard_normal(len(sound))
    return np.clip(sound, -1, 1)


def _melody(
    time: np.ndarray, position: np.ndarray, excitement: float, rng: np.random.Generator
) -> np.ndarray:
    """Octaves of pitch around its mean: declination, one accent, and flutter (Klatt & Klatt 1990)."""
    accent = np.exp(-(((position - rng.uniform(0.2, 0.6)) / 0.2) ** 2))
    beats = sum(np.sin(2 * np.pi * hertz * time + rng.uniform(0, 2 * np.pi)) for hertz in (12.7, 7.1, 4.7))
    return 2 ** (0.6 * excitement) * (0.2 * accent - 0.15 * (position - 0.5)) + 0.008 * beats


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


def _envelope(position: np.ndarray, vowels: int, rng: np.random.Generator) -> np.ndarray:
    """Amplitude over the word: a dip between vowels, soft edges."""
    dips = 1 - rng.uniform(0.5, 0.8) * np.abs(np.cos(np.pi * vowels * position)) ** 6
    return dips * np.minimum(1, np.minimum(position / 0.06, (1 - position) / 0.12))


def _formants(voice: Voice, vowels: str, excitement: float) -> np.ndarray:
    """Formants (vowels, 5) in Hz; an open mouth raises the first one with arousal."""
    targets = np.array([(*VOWELS[vowel], *HIGH_FORMANTS) for vowel in vowels], dtype=float)
    targets[:, 0] *= 1 + 0.05 * excitement
    return targets * voice.tract


def _filter(source: np.ndarray, formants: np.ndarray, cutoff: float, slope: float) -> np.ndarray:
    """Filter (T,) by formants (vowels, 5) that glide from one vowel to the next; (T,).

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
    position = np.clip((starts - FRAME / 2) / len(source), 0, 1) * vowels
    knots = (np.arange(vowels)[:, None] + (0.3, 0.7)).ravel()  # the steady part of each vowel
    tracks = np.stack([np.interp(position, knots, np.repeat(track, 2)) for track in formants.T], axis=1)
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
