"""Recordings that are the same but for gain, cut, noise or coding, found without comparing all of them.

Each clip is remembered by what surrounds its loudest moments (landmarks, as in Wang 2003, "An industrial-
strength audio search algorithm"): a patch of its spectrogram, in decibels below the clip's own peak, so that
neither gain nor a shift changes it. Patches are compared by matrix products; the few clips whose patches are
alike are then correlated sample by sample. On speech, two takes of one word by one speaker have patches
alike but are not correlated in every frequency band, while copies are.
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

HOP, WINDOW = 0.01, 0.032  # seconds between and in frames
BANDS = 16  # from 200 to 3,800 Hz, what telephone and microphone have in common
LOW, HIGH = 200.0, 3_800.0
DEPTH = 50.0  # dB below the clip's peak that still count
MOMENTS = 2  # patches per clip
STEPS, FRAMES = 24, 4  # a patch: 24 steps of 4 frames around its moment, 0.96 s
APART = 20  # frames between two moments

ALIKE = 0.93  # cosine of patches from which two clips are correlated; copies lie above 0.96
SAME = 0.9  # correlation, the median over bands, of one recording; other takes stay below 0.82
NEIGHBOURS = 8  # pairs to look at per clip, the most alike first
AROUND = 4.0  # seconds on either side of a moment that are correlated
LEAST = 0.2  # seconds that must overlap
CHECKED_BANDS = 8
BLOCK = 1 << 22  # similarities held at a time


@dataclass(frozen=True, kw_only=True)
class Landmarks:
    """patches: (MOMENTS, STEPS * BANDS) of unit length, zeros where a clip is too short for more moments.

    seconds: (MOMENTS,) where in the clip they are.
    """

    patches: np.ndarray
    seconds: np.ndarray


@dataclass(frozen=True, kw_only=True)
class NearDuplicate:
    """Two clips (row numbers) of one recording; `shift` is by how many seconds `b` starts later in it."""

    a: int
    b: int
    correlation: float
    shift: float


def band_energies(wave: np.ndarray, rate: int) -> np.ndarray:
    """(F, BANDS) float32 energies of (T,) samples at `rate` Hz, a frame every HOP."""
    hop, window, bank = _analysis(rate)
    if len(wave) < len(window):
        wave = np.pad(wave, (0, len(window) - len(wave)))
    frames = np.lib.stride_tricks.sliding_window_view(wave, len(window))[::hop]
    spectra = scipy.fft.rfft(frames * window, scipy.fft.next_fast_len(len(window), real=True))
    power = np.square(spectra.real) + np.square(spectra.imag)
    return power @ bank


def landmarks(energies: np.ndarray) -> Landmarks:
    """The loudest moments of (F, BANDS) and what surrounds them."""
    peak = float(energies.max(initial=0))
    patches = np.zeros((MOMENTS, STEPS * BANDS), np.float32)
    seconds = np.full(MOMENTS, np.nan, np.float32)
    if peak <= 0:
        return Landmarks(patches=patches, seconds=seconds)
    smooth = np.hanning(13)[1:-1]  # 0.1 s
    loudness = np.convolve(energies.sum(1), smooth)[len(smooth) // 2 :][: len(energies)]
    depth = np.maximum(10 * np.log10(np.maximum(energies / peak, 1e-12)) + DEPTH, 0)
    half = STEPS * FRAMES // 2
    depth = np.pad(depth, ((half, half), (0, 0)))
    for i in range(MOMENTS):
        at = int(loudness.argmax())
        if loudness[at] <= 0:
            break
        patch = depth[at : at + 2 * half].reshape(STEPS, FRAMES, BANDS).mean(1)
        patch -= patch.mean()
        patches[i] = (patch / max(float(np.linalg.norm(patch)), 1e-12)).ravel()
        seconds[i] = at * HOP
        loudness[max(0, at - APART) : at + APART + 1] = 0
    return Landmarks(patches=patches, seconds=seconds)


def find_near_duplicates(
    clips: Sequence[Clip], patches: np.ndarray, seconds: np.ndarray, *, workers: int
) -> list[NearDuplicate]:
    """Pairs of clips that hold one recording, `a < b`.

    patches: (N, MOMENTS, STEPS * BANDS); seconds: (N, MOMENTS). Decodes the few clips that look alike, which
    must all be readable: a clip whose patches are zero is compared with none.
    """
    from layerprobe.embed.audio.sound import decoder_pool  # loads torch

    pairs = _alike(np.asarray(patches, np.float32))

    def check(pair: tuple[int, int, int, int]) -> NearDuplicate | None:
        a, b, i, j = pair
        first, begin_a = _around(clips[a], float(seconds[a, i]))
        second, begin_b = _around(clips[b], float(seconds[b, j]))
        correlation, lag = correlate(first, second)
        shift = begin_a - begin_b + lag
        return NearDuplicate(a=a, b=b, correlation=correlation, shift=shift) if correlation >= SAME else None

    with decoder_pool(workers) as pool:
        return [copy for copy in pool.map(check, pairs) if copy is not None]


def correlate(first: np.ndarray, second: np.ndarray, *, rate: int = 16_000) -> tuple[float, float]:
    """How alike two waves are where they fit best, 0 to 1, and by how many seconds `second` starts later.

    The median over bands of the correlation coefficient: a hum that two recordings share fills one band, a
    shared recording all of them.
    """
    a, b = np.diff(first), np.diff(second)  # so that a hum does not decide where they fit
    size = scipy.fft.next_fast_len(len(a) + len(b), real=True)
    likeness = scipy.fft.irfft(scipy.fft.rfft(a, size) * np.conj(scipy.fft.rfft(b, size)), size)
    best = int(np.abs(likeness).argmax())
    lag = best if best < len(a) else best - size
    begin, stop = max(0, lag), min(len(first), len(second) + lag)
    if stop - begin < LEAST * rate:
        return 0.0, lag / rate
    window = np.hanning(stop - begin).astype(np.float32)
    size = scipy.fft.next_fast_len(stop - begin, real=True)
    x = scipy.fft.rfft(first[begin:stop] * window, size)
    y = scipy.fft.rfft(second[begin - lag : stop - lag] * window, size)
    edges = np.geomspace(LOW, HIGH, CHECKED_BANDS + 1) * size / rate

    def over_bands(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, edges.astype(int))[:-1]

    shared = np.abs(over_bands((x * np.conj(y)).real))
    energy = over_bands(np.abs(x) ** 2) * over_bands(np.abs(y) ** 2)
    heard = energy > 0
    return (float(np.median(shared[heard] / np.sqrt(energy[heard]))) if heard.any() else 0.0), lag / rate


def _alike(patches: np.ndarray) -> list[tuple[int, int, int, int]]:
    """(a, b, i, j): patch i of clip a and patch j of clip b are alike, a < b; the best pair of patches."""
    clips, moments, width = patches.shape
    flat = patches.reshape(clips * moments, width)
    step = max(1, BLOCK // max(1, clips * moments**2))
    found: list[tuple[int, int, int, int]] = []
    for begin in range(0, clips, step):
        rows = patches[begin : begin + step]
        cosines = rows.reshape(-1, width) @ flat[begin * moments :].T
        table = cosines.reshape(len(rows), moments, -1, moments).transpose(0, 2, 1, 3)
        best = table.reshape(len(rows), -1, moments**2).max(2)
        best[np.arange(best.shape[1]) <= np.arange(len(rows))[:, None]] = 0  # each pair once
        if best.shape[1] > NEIGHBOURS:
            rest = np.argpartition(-best, NEIGHBOURS, axis=1)[:, NEIGHBOURS:]
            np.put_along_axis(best, rest, 0, axis=1)
        for row, other in np.argwhere(best >= ALIKE):
            i, j = divmod(int(table[row, other].argmax()), moments)
            found.append((begin + int(row), begin + int(other), i, j))
    return found


def _around(clip: Clip, moment: float) -> tuple[np.ndarray, float]:
    """Samples at 16 kHz within AROUND of a moment, and the second at which they begin."""
    from layerprobe.embed.audio.sound import probe, read_clip  # loads torch

    sound = probe(clip)
    begin = max(0, int((moment - AROUND) * RATE))
    stop = min(sound.samples, math.ceil((moment + AROUND) * RATE))
    return read_clip(clip, sound, begin=begin, stop=stop), begin / RATE


@lru_cache(maxsize=16)
def _analysis(rate: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Samples between frames, the window, and (bins, BANDS) which bin belongs to which band."""
    window = np.hanning(round(rate * WINDOW)).astype(np.float32)
    hertz = np.fft.rfftfreq(scipy.fft.next_fast_len(len(window), real=True), 1 / rate)
    edges = np.geomspace(LOW, HIGH, BANDS + 1)
    inside = (hertz[:, None] >= edges[:-1]) & (hertz[:, None] < edges[1:])
    return round(rate * HOP), window, inside.astype(np.float32)
