"""Sound files for tests: any format, intact or damaged."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile

from layerprobe.embed.manifest.clips import Clip

FORMATS = ("wav", "flac", "ogg", "opus", "mp3")


def noise(samples: int, *, seed: int = 0, channels: int = 1, level: float = 0.1) -> np.ndarray:
    """(samples,) or (samples, channels) float32 noise whose loudness rises and falls like that of speech."""
    rng = np.random.default_rng(seed)
    swell = np.abs(np.sin(np.arange(samples) * 0.0007)) ** 3 + 0.001
    wave = (rng.standard_normal((samples, channels)) * swell[:, None] * level).astype(np.float32)
    return wave[:, 0] if channels == 1 else wave


def sound_file(
    path: Path,
    wave: np.ndarray,
    rate: int = 16_000,
    *,
    subtype: str | None = None,
    mode: str | None = None,
    start: float | None = None,
    end: float | None = None,
) -> Clip:
    """Write `wave` in the format of the path's extension; `mode`: an MP3's bit rate, CONSTANT or VARIABLE."""
    kinds = {".opus": ("OGG", "OPUS"), ".ogg": ("OGG", "VORBIS"), ".mp3": ("MP3", "MPEG_LAYER_III")}
    kind, usual = kinds.get(path.suffix, (path.suffix[1:].upper(), None))
    channels = 1 if wave.ndim == 1 else wave.shape[1]
    with soundfile.SoundFile(
        path,
        "w",
        rate,
        channels,
        subtype or usual,
        format=kind,
        bitrate_mode=mode,
        compression_level=None if mode is None else 0.5,
    ) as file:
        # libsndfile's Vorbis encoder overflows its stack on long single writes.
        for at in range(0, len(wave), 8_000):
            file.write(wave[at : at + 8_000])
    return clip_of(path, start=start, end=end)


def clip_of(path: Path, *, start: float | None = None, end: float | None = None) -> Clip:
    return Clip(id=path.name, file=str(path), start=start, end=end)


def cut_off(path: Path, *, keep: float) -> Path:
    """Truncate a file to a share of its bytes, as an interrupted copy does."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def without_first_mp3_frame(path: Path) -> Path:
    """Remove the frame in which the encoder wrote how many follow."""
    data = path.read_bytes()
    second = data.index(data[:2], 4)
    path.write_bytes(data[second:])
    return path


def ogg_pages(data: bytes) -> list[tuple[int, int]]:
    """Where each page of an intact Ogg file begins and ends."""
    begins = [match.start() for match in re.finditer(b"OggS\0", data)]
    return list(pairwise([*begins, len(data)]))
