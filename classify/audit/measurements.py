"""What can be measured of each clip's sound, and remembered: length, level, silence, clipping, landmarks."""

from __future__ import annotations

import hashlib
import math
import os
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from layerprobe.cache.common.disk import open_temporary, publish
from layerprobe.cache.common.errors import ClipError
from layerprobe.cache.maintenance.catalog import AUDIT
from layerprobe.classify.audit.near_duplicates import (
    BANDS,
    MOMENTS,
    STEPS,
    band_energies,
    find_near_duplicates,
    landmarks,
)
from layerprobe.embed.manifest.clips import Clip

if TYPE_CHECKING:
    from layerprobe.embed.audio.decoding import Decoder
    from layerprobe.embed.audio.sound import AudioInfo

VERSION = 1  # raised whenever a measure comes to mean something else
QUIET = -40.0  # dB below a clip's loudest frame: below it a frame counts as silent
FRAME = 0.02  # seconds of the frames whose level is taken
FULL_SCALE = 0.9999
RUN = 3  # samples in a row at the peak that count as clipped
BLOCK = 30  # seconds decoded at a time


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """Of N clips, NaN or 0 where `broken` gives a reason.

    seconds: (N,). level: (N,) dB of the frames that are not silent, below full scale. silence: (N,) share of
    frames more than 40 dB below the clip's loudest. clipped: (N,) share of samples that lie, three or more in
    a row, at the clip's peak or at full scale. rate: (N,) Hz, channels: (N,), encoding: (N,) of the file.
    broken: (N,) why a clip cannot be used, or "".

    copies: (P, 2) row numbers of clips that hold one recording but are not identical, of identical clips the
    first; correlation: (P,) how alike they are, shift: (P,) by how many seconds the second starts later.
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


_UNKNOWN: dict[str, Any] = {
    "seconds": math.nan,
    "level": math.nan,
    "silence": math.nan,
    "clipped": math.nan,
    "rate": 0,
    "channels": 0,
    "encoding": "",
    "patches": np.zeros((MOMENTS, STEPS * BANDS), np.float16),
    "moments": np.full(MOMENTS, math.nan, np.float32),
    "broken": "",
}


def measure(clips: Sequence[Clip], keys: Sequence[str], *, cache: Path) -> Measurements:
    """Measure every clip, or remember it: the same keys are measured once per cache.

    keys: what identifies each clip's sound, "" where its file cannot be read. Memory does not grow with a
    clip's length. A cache that cannot be written only loses the memory.
    """
    name = hashlib.sha256("\n".join([str(VERSION), *keys]).encode()).hexdigest()[:16]
    held = cache / AUDIT / f"{name}.npz"
    measures = _recall(held)
    if measures is None:
        measures = _measure_all(clips, keys)
        _remember(held, measures)
    return measures


def workers() -> int:
    """Threads to decode in: one for each core this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _measure_all(clips: Sequence[Clip], keys: Sequence[str]) -> Measurements:
    from layerprobe.embed.audio.sound import decoder_pool  # loads torch

    with decoder_pool(workers()) as pool:
        rows = list(pool.map(_measure_one, clips))
    columns = {name: np.array([row[name] for row in rows]) for name in _UNKNOWN}
    patches, moments = columns.pop("patches"), columns.pop("moments")
    first: dict[str, int] = {}
    for row, key in enumerate(keys):
        if key and not columns["broken"][row]:
            first.setdefault(key, row)
    single = list(first.values())
    copies = find_near_duplicates(
        [clips[row] for row in single], patches[single], moments[single], workers=workers()
    )
    return Measurements(
        **columns,
        copies=np.array([(single[pair.a], single[pair.b]) for pair in copies], np.int64).reshape(-1, 2),
        correlation=np.array([pair.correlation for pair in copies]),
        shift=np.array([pair.shift for pair in copies]),
    )


def _measure_one(clip: Clip) -> dict[str, Any]:
    from layerprobe.embed.audio.decoding import open_decoder
    from layerprobe.embed.audio.sound import probe  # loads torch

    try:
        sound = probe(clip)
        with open_decoder(clip) as decoder:
            return _UNKNOWN | _listen(clip, sound, decoder)
    except ClipError as error:
        return _UNKNOWN | {"broken": error.reason}


def _listen(clip: Clip, sound: AudioInfo, decoder: Decoder) -> dict[str, Any]:
    """One clip's measures, from each block read once at the file's own rate: resampling hides clipping."""
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
        whole = wave[: len(wave) // frame * frame] if len(wave) >= frame else wave
        powers.append(np.square(whole.reshape(-1, min(frame, len(whole)))).mean(1))
        highest = min(float(np.abs(wave).max()), FULL_SCALE)
        if highest >= peak:
            clipped = _flat(wave, highest) + (clipped if highest == peak else 0)
            peak = highest
    heard = Moments(
        count=sound.samples,
        mean=math.nan,
        variance=math.nan,
        finite=decoder.finite,
        constant=decoder.constant,
    )
    heard.check(clip)
    power = np.concatenate(powers)
    loud = power > power.max() * 10 ** (QUIET / 10)
    found = landmarks(np.concatenate(energies))
    return {
        "seconds": sound.seconds,
        "level": 10 * math.log10(power[loud].mean()),
        "silence": 1 - float(loud.mean()),
        "clipped": clipped / length,
        "rate": sound.rate,
        "channels": sound.channels,
        "encoding": f"{decoder.file.format} {decoder.file.subtype}",
        "patches": found.patches.astype(np.float16),
        "moments": found.seconds,
    }


def _flat(wave: np.ndarray, peak: float) -> int:
    """Samples at the peak or above it that have RUN or more of their kind in a row."""
    at = np.flatnonzero(np.abs(wave) >= peak)
    if len(at) < RUN:
        return 0
    starts = np.flatnonzero(np.diff(at, prepend=-2) != 1)
    lengths = np.diff(np.append(starts, len(at)))
    return int(lengths[lengths >= RUN].sum())


def _recall(path: Path) -> Measurements | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            return Measurements(**{field.name: held[field.name] for field in fields(Measurements)})
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None  # not there, or damaged: measured again


def _remember(path: Path, measures: Measurements) -> None:
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        file, temporary = open_temporary(path.parent)
        try:
            with file:
                np.savez(
                    file, **{field.name: getattr(measures, field.name) for field in fields(Measurements)}
                )
                publish(file, temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
