"""Measurements of every clip's audio, cached: duration, level, silence, clipping, format, near-duplicates."""

from __future__ import annotations

import hashlib
import io
import math
import os
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from layerprobe.cache.common.disk import write_atomically
from layerprobe.cache.common.errors import ClipError
from layerprobe.cache.common.places import local_cache
from layerprobe.cache.maintenance.catalog import AUDIT_FOLDER
from layerprobe.classify.audit.near_duplicates import (
    BANDS,
    LANDMARKS,
    STEPS,
    band_energies,
    find_landmarks,
    find_near_duplicates,
)
from layerprobe.embed.config import FIRST_TRACK
from layerprobe.embed.manifest.clips import Clip

if TYPE_CHECKING:
    from layerprobe.embed.audio.decoding import Decoder
    from layerprobe.embed.audio.sound import AudioInfo

VERSION = 1  # raise whenever the meaning of a measurement changes
SILENCE = -40.0  # dB relative to a clip's loudest frame, below which a frame is silent
FRAME = 0.02  # seconds
FULL_SCALE = 0.9999
CLIPPED_RUN = 3  # consecutive samples at the peak that count as clipped
BLOCK = 30  # seconds decoded at a time


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """Measurements of N clips; NaN, 0 or "" where `broken` gives a reason.

    seconds: (N,). level: (N,) dB below full scale, of the frames that are not silent. silence: (N,) share of
    frames more than 40 dB below the clip's loudest. clipped: (N,) share of samples in runs of three or more
    at the clip's peak or at full scale. rate: (N,) Hz, channels: (N,), encoding: (N,) of the file. broken:
    (N,) why a clip cannot be used, or "".

    copies: (P, 2) row numbers of clips of one recording that are not identical, of identical clips the first.
    correlation: (P,) of the two. shift: (P,) seconds by which the second starts later.
    """

    seconds: np.ndarray
    level: np.ndarray
    silence: np.ndarray
    clipped: np.ndarray
    rate: np.ndarray
    channels: np.ndarray
    encoding: np.ndarray
    broken: np.ndarray
    copies: np.ndarray
    correlation: np.ndarray
    shift: np.ndarray


_UNREADABLE: dict[str, Any] = {
    **dict.fromkeys(("seconds", "level", "silence", "clipped"), math.nan),
    **dict.fromkeys(("rate", "channels"), 0),
    **dict.fromkeys(("encoding", "broken"), ""),
    "patches": np.zeros((LANDMARKS, STEPS * BANDS), np.float16),
    "times": np.full(LANDMARKS, math.nan, np.float32),
}


def measure(clips: Sequence[Clip], keys: Sequence[str], *, cache: Path) -> Measurements:
    """Measure every clip, or load the measurements of an earlier audit of the same clips.

    keys: content key of each clip, "" for an unreadable file. Memory does not grow with clip length. Where
    `cache` cannot be written, nothing is saved.
    """
    selections = {f"track {clip.track}, channel {clip.channel}" for clip in clips}
    parts = [str(VERSION), *keys, *sorted(selections - {f"track {FIRST_TRACK}, channel None"})]
    name = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    path = local_cache(cache) / AUDIT_FOLDER / f"{name}.npz"
    measures = _load(path)
    if measures is None:
        measures = _measure_all(clips, keys)
        _save(path, measures)
    return measures


def unmeasured(clips: int) -> Measurements:
    """Measurements of clips whose audio is not read."""
    columns = {name: np.array([value] * clips) for name, value in _UNREADABLE.items()}
    pairs = {"copies": np.empty((0, 2), np.int64), "correlation": np.empty(0), "shift": np.empty(0)}
    return Measurements(**{field.name: (columns | pairs)[field.name] for field in fields(Measurements)})


def _measure_all(clips: Sequence[Clip], keys: Sequence[str]) -> Measurements:
    from layerprobe.embed.audio.sound import DecoderThreads  # loads torch

    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with DecoderThreads(threads) as pool:
        rows = list(pool.map(_measure_one, clips))
    columns = {name: np.array([row[name] for row in rows]) for name in _UNREADABLE}
    patches, times = columns.pop("patches"), columns.pop("times")
    first_row: dict[str, int] = {}
    for row, key in enumerate(keys):
        if key and not columns["broken"][row]:
            first_row.setdefault(key, row)
    distinct = np.array(list(first_row.values()), np.int64)
    pairs = find_near_duplicates(
        [clips[row] for row in distinct], patches[distinct], times[distinct], threads=threads
    )
    return Measurements(
        **columns,
        copies=distinct[np.array([(pair.a, pair.b) for pair in pairs], np.int64).reshape(-1, 2)],
        correlation=np.array([pair.correlation for pair in pairs]),
        shift=np.array([pair.shift for pair in pairs]),
    )


def _measure_one(clip: Clip) -> dict[str, Any]:
    from layerprobe.embed.audio.decoding import open_decoder
    from layerprobe.embed.audio.sound import probe  # loads torch

    try:
        sound = probe(clip)
        with open_decoder(clip) as decoder:
            return _UNREADABLE | _measure_samples(clip, sound, decoder)
    except ClipError as error:
        return _UNREADABLE | {"broken": error.reason}


def _measure_samples(clip: Clip, sound: AudioInfo, decoder: Decoder) -> dict[str, Any]:
    """Measure at the file's own rate, since resampling hides clipping; each block is decoded once."""
    from layerprobe.embed.audio.sound import Moments  # loads torch

    rate, length = sound.rate, sound.stop - sound.begin
    frame = round(rate * FRAME)
    powers, energies = [], []
    peak, clipped = 0.0, 0
    for begin in range(0, length, BLOCK * rate):
        wave = decoder.read(sound.begin + begin, min(BLOCK * rate, length - begin))
        if not decoder.finite:
            break
        energies.append(band_energies(wave, rate))
        frames = wave[: len(wave) // frame * frame] if len(wave) >= frame else wave
        powers.append(np.square(frames.reshape(-1, min(frame, len(frames)))).mean(1))
        highest = min(float(np.abs(wave).max()), FULL_SCALE)
        if highest >= peak:
            clipped = _clipped_samples(wave, highest) + (clipped if highest == peak else 0)
            peak = highest
    Moments(
        count=sound.samples,
        mean=math.nan,
        variance=math.nan,
        finite=decoder.finite,
        constant=decoder.constant,
        cancelled=decoder.cancelled,
    ).check(clip)
    power = np.concatenate(powers)
    loud = power > power.max() * 10 ** (SILENCE / 10)
    landmarks = find_landmarks(np.concatenate(energies))
    return {
        "seconds": sound.seconds,
        "level": 10 * math.log10(power[loud].mean()),
        "silence": 1 - float(loud.mean()),
        "clipped": clipped / length,
        "rate": sound.rate,
        "channels": sound.channels,
        "encoding": decoder.encoding,
        "patches": landmarks.patches.astype(np.float16),
        "times": landmarks.seconds,
    }


def _clipped_samples(wave: np.ndarray, peak: float) -> int:
    """Number of samples in runs of CLIPPED_RUN or more that reach the peak."""
    at_peak = np.flatnonzero(np.abs(wave) >= peak)
    starts = np.flatnonzero(np.diff(at_peak, prepend=-2) != 1)
    lengths = np.diff(np.append(starts, len(at_peak)))
    return int(lengths[lengths >= CLIPPED_RUN].sum())


def _load(path: Path) -> Measurements | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return Measurements(**{field.name: arrays[field.name] for field in fields(Measurements)})
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None  # missing or damaged: measured again


def _save(path: Path, measures: Measurements) -> None:
    content = io.BytesIO()
    np.savez(content, **vars(measures))
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content.getvalue())
