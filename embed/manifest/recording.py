"""Recordings as people make them: by any device, in any room, with noise, at any level."""

from __future__ import annotations

import numpy as np
from scipy.signal import fftconvolve

from layerprobe.embed.config import RATE

BANDS, EQUALISER = 9, 6.0  # points of a device's frequency response, and their spread in dB
REVERBERATION = (0.1, 0.5)  # seconds until the room's echo has fallen by 60 dB
ECHO = (0.2, 0.8)  # its level relative to the direct sound
NOISE = (5.0, 20.0)  # dB of the voice above the noise
PEAK = (-20.0, -3.0)  # dB below full scale


def record(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The sound (T,) as a random device records it in a random room; (T,) within ±1.

    The room's echo is decaying noise (Moorer 1979, "About this reverberation business", Computer Music
    Journal 3(2)); background noise is pink.
    """
    sound = _equalise(sound, rng)
    sound = _reverberate(sound, rng)
    sound = sound / sound.std() + _pink(len(sound), rng) * 10 ** (-rng.uniform(*NOISE) / 20)
    return sound / np.abs(sound).max() * 10 ** (rng.uniform(*PEAK) / 20)


def _equalise(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A smooth random frequency response, with more detail at low frequencies, as hearing has."""
    spectrum = np.fft.rfft(sound)
    place = np.sqrt(np.linspace(0, 1, len(spectrum)))
    gain = np.interp(place, np.linspace(0, 1, BANDS), rng.normal(0, EQUALISER, BANDS))
    return np.fft.irfft(spectrum * 10 ** (gain / 20), len(sound))


def _reverberate(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    length = round(rng.uniform(*REVERBERATION) * RATE)
    echo = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    echo *= rng.uniform(*ECHO) / np.sqrt(np.sum(echo**2))
    echo[0] += 1  # the direct sound
    return fftconvolve(sound, echo)[: len(sound)]


def _pink(length: int, rng: np.random.Generator) -> np.ndarray:
    """Noise with equal power in each octave, standard deviation 1; (length,)."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    noise = np.fft.irfft(spectrum, length)
    return noise / noise.std()
