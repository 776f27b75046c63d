"""Near-duplicates: recordings that are the same except for gain, cut, noise or coding.

Clips with similar audio fingerprints are cross-correlated. A fingerprint holds spectrogram patches around the
clip's loudest moments: anchors as in Wang (2003), "An industrial-strength audio search algorithm", energies
in logarithmic bands as in Haitsma & Kalker (2002), "A highly robust audio fingerprinting system". They are in
decibels relative to the clip's peak, so that neither gain nor a shift changes them, and compared by cosine.
On speech, two takes of one word by one speaker have similar patches, but do not correlate in every frequency
band as copies do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft

from layerprobe.embed.config import RATE
from layerprobe.embed.manifest.clips import Clip

HOP, WINDOW = 0.01, 0.032  # seconds between frames and in a frame
BANDS = 16
LOWEST, HIGHEST = 200.0, 3_800.0  # Hz, what telephone and microphone have in common
DEPTH = 50.0  # dB below the clip's peak that are represented
LANDMARKS = 2  # patches per clip
STEPS, FRAMES = 24, 4  # a patch: 24 steps of 4 frames around its moment, 0.96 s
DISTANCE = 20  # frames between two landmarks, at least

SIMILAR = 0.93  # cosine of patches from which two clips are correlated; copies are above 0.96
SAME = 0.9  # correlation of one recording, the median over bands; other takes stay below 0.82
NEIGHBOURS = 8  # pairs per clip that are correlated, the most similar first
CONTEXT = 4.0  # seconds before and after a landmark that are correlated
MIN_OVERLAP = 0.2  # seconds
CHECKED_BANDS = 8
BLOCK = 1 << 22  # similarities in memory at a time


@dataclass(frozen=True, kw_only=True)
class Landmarks:
    """Fingerprint of a clip.

    patches: (LANDMARKS, STEPS * BANDS) of unit length; zeros where the clip is too short for more landmarks.
    seconds: (LANDMARKS,) their times in the clip, NaN where there is none.
    """

    patches: np.ndarray
    seconds: np.ndarray


@dataclass(frozen=True, kw_only=True)
class NearDuplicate:
    """Two clips (row numbers) of one recording; `b` starts `shift` seconds later in it than `a`."""

    a: int
    b: int
    correlation: float
    shift: float


def band_energies(wave: np.ndarray, rate: int) -> np.ndarray:
    """(F, BANDS) float32 energies of (T,) samples at `rate` Hz, one frame every HOP seconds."""
    hop, window, filters = _filterbank(rate)
    if len(wave) < len(window):
        wave = np.pad(wave, (0, len(window) - len(wave)))
    frames = np.lib.stride_tricks.sliding_window_view(wave, len(window))[::hop]
    spectra = scipy.fft.rfft(frames * window, scipy.fft.next_fast_len(len(window), real=True))
    return (np.square(spectra.real) + np.square(spectra.imag)) @ filters


def find_landmarks(energies: np.ndarray) -> Landmarks:
    """The loudest moments of (F, BANDS) energies and the spectrogram around them."""
    peak = float(energies.max(initial=0))
    patches = np.zeros((LANDMARKS, STEPS * BANDS), np.float32)
    seconds = np.full(LANDMARKS, np.nan, np.float32)
    if peak <= 0:
        return Landmarks(patches=patches, seconds=seconds)
    smoothing = np.hanning(13)[1:-1]  # 0.1 s
    loudness = np.convolve(energies.sum(1), smoothing)[len(smoothing) // 2 :][: len(energies)]
    depth = np.maximum(10 * np.log10(np.maximum(energies / peak, 1e-12)) + DEPTH, 0)
    half = STEPS * FRAMES // 2
    depth = np.pad(depth, ((half, half), (0, 0)))
    for i in range(LANDMARKS):
        frame = int(loudness.argmax())
        if loudness[frame] <= 0:
            break
        patch = depth[frame : frame + 2 * half].reshape(STEPS, FRAMES, BANDS).mean(1)
        patch -= patch.mean()
        patches[i] = (patch / max(float(np.linalg.norm(patch)), 1e-12)).ravel()
        seconds[i] = frame * HOP
        loudness[max(0, frame - DISTANCE) : frame + DISTANCE + 1] = 0
    return Landmarks(patches=patches, seconds=seconds)


def find_near_duplicates(
    clips: Sequence[Clip], patches: np.ndarray, seconds: np.ndarray, *, threads: int
) -> list[NearDuplicate]:
    """Pairs of clips of one recording, `a < b`.

    patches: (N, LANDMARKS, STEPS * BANDS); seconds: (N, LANDMARKS). Decodes the clips with similar patches,
    which must be readable; a clip whose patches are zero is compared with none.
    """
    from layerprobe.embed.audio.sound import DecoderThreads  # loads torch

    def check(pair: tuple[int, int, int, int]) -> NearDuplicate | None:
        a, b, i, j = pair
        first, begin_a = _read_around(clips[a], float(seconds[a, i]))
        second, begin_b = _read_around(clips[b], float(seconds[b, j]))
        correlation, lag = correlate(first, second)
        shift = begin_a - begin_b + lag
        return NearDuplicate(a=a, b=b, correlation=correlation, shift=shift) if correlation >= SAME else None

    with DecoderThreads(threads) as pool:
        checked = pool.map(check, _similar_pairs(np.asarray(patches, np.float32)))
        return [pair for pair in checked if pair is not None]


def correlate(first: np.ndarray, second: np.ndarray, *, rate: int = RATE) -> tuple[float, float]:
    """Correlation of two waves where they align best, 0 to 1, and the seconds by which `second` starts later.

    The median over bands of the correlation coefficient: a shared hum fills one band, a shared recording all.
    """
    a, b = np.diff(first), np.diff(second)  # pre-emphasis, so that a hum does not decide the alignment
    size = scipy.fft.next_fast_len(len(a) + len(b), real=True)
    similarity = scipy.fft.irfft(scipy.fft.rfft(a, size) * np.conj(scipy.fft.rfft(b, size)), size)
    best = int(np.abs(similarity).argmax())
    lag = best if best < len(a) else best - size
    begin, stop = max(0, lag), min(len(first), len(second) + lag)
    if stop - begin < MIN_OVERLAP * rate:
        return 0.0, lag / rate
    window = np.hanning(stop - begin).astype(np.float32)
    size = scipy.fft.next_fast_len(stop - begin, real=True)
    x = scipy.fft.rfft(first[begin:stop] * window, size)
    y = scipy.fft.rfft(second[begin - lag : stop - lag] * window, size)
    edges = np.geomspace(LOWEST, HIGHEST, CHECKED_BANDS + 1) * size / rate

    def band_sums(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, edges.astype(int))[:-1]

    shared = np.abs(band_sums((x * np.conj(y)).real))
    energy = band_sums(np.abs(x) ** 2) * band_sums(np.abs(y) ** 2)
    present = energy > 0
    coefficients = shared[present] / np.sqrt(energy[present])
    return (float(np.median(coefficients)) if len(coefficients) else 0.0), lag / rate


def _similar_pairs(patches: np.ndarray) -> list[tuple[int, int, int, int]]:
    """(a, b, i, j): clips a < b with similar patches i of a and j of b, their most similar ones."""
    clips, landmarks, width = patches.shape
    flat = patches.reshape(clips * landmarks, width)
    step = max(1, BLOCK // max(1, clips * landmarks**2))
    pairs: list[tuple[int, int, int, int]] = []
    for begin in range(0, clips, step):
        rows = patches[begin : begin + step]
        cosines = rows.reshape(-1, width) @ flat[begin * landmarks :].T
        table = cosines.reshape(len(rows), landmarks, -1, landmarks).transpose(0, 2, 1, 3)
        best = table.reshape(len(rows), -1, landmarks**2).max(2)
        best[np.arange(best.shape[1]) <= np.arange(len(rows))[:, None]] = 0  # each pair once
        if best.shape[1] > NEIGHBOURS:
            rest = np.argpartition(-best, NEIGHBOURS, axis=1)[:, NEIGHBOURS:]
            np.put_along_axis(best, rest, 0, axis=1)
        for row, other in np.argwhere(best >= SIMILAR):
            i, j = divmod(int(table[row, other].argmax()), landmarks)
            pairs.append((begin + int(row), begin + int(other), i, j))
    return pairs


def _read_around(clip: Clip, moment: float) -> tuple[np.ndarray, float]:
    """Samples at 16 kHz within CONTEXT of a moment, and the second at which they begin."""
    from layerprobe.embed.audio.sound import probe, read_clip  # loads torch

    sound = probe(clip)
    begin = max(0, int((moment - CONTEXT) * RATE))
    stop = min(sound.samples, math.ceil((moment + CONTEXT) * RATE))
    return read_clip(clip, sound, begin=begin, stop=stop), begin / RATE


@lru_cache(maxsize=16)
def _filterbank(rate: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Samples between frames, the window, and (bins, BANDS) the bins of each band as 0 and 1."""
    window = np.hanning(round(rate * WINDOW)).astype(np.float32)
    hertz = np.fft.rfftfreq(scipy.fft.next_fast_len(len(window), real=True), 1 / rate)
    edges = np.geomspace(LOWEST, HIGHEST, BANDS + 1)
    inside = (hertz[:, None] >= edges[:-1]) & (hertz[:, None] < edges[1:])
    return round(rate * HOP), window, inside.astype(np.float32)
