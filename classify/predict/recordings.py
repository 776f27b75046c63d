"""The recordings that a user names: files, folders, tables; and windows over long ones and over streams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from layerprobe.cache.common.errors import ClipError, InputError
from layerprobe.embed.audio.sound import probe
from layerprobe.embed.manifest.audio_files import find_audio_files
from layerprobe.embed.manifest.clips import Clip, read_manifest
from layerprobe.embed.manifest.tables import is_table

TYPE, BYTES = "<i2", 2  # a sample of a stream: 16 bit, signed, little-endian
SHORTEST = 0.1  # seconds of a window


def find_recordings(
    inputs: Sequence[Path], *, path_column: str | None = None, speaker_column: str | None = None
) -> list[Clip]:
    """The clips of all inputs, in order. A file that cannot be used fails later, on its own.

    Raises InputError for no input, a folder without recordings, and a table that cannot be read.
    """
    clips: list[Clip] = []
    for path in inputs:
        if is_table(path):
            clips += read_manifest(
                path, path_column=path_column, speaker_column=speaker_column, must_exist=False
            )
        elif path.is_dir():
            clips += [_clip(path / name) for name in find_audio_files(path).paths]
        else:
            clips.append(_clip(path))
    if not clips:
        raise InputError("nothing to predict", do="name recordings, folders or tables of clips")
    return clips


def spans(seconds: float, *, window: float, hop: float) -> list[tuple[float, float]]:
    """Windows over a recording of that length: one every `hop` seconds, and one that ends with the recording.

    A recording that is not longer than a window is one window.
    """
    if seconds <= window:
        return [(0.0, seconds)]
    count = int((seconds - window + 1e-9) / hop) + 1
    begins = [number * hop for number in range(count)]
    if begins[-1] + window < seconds - 1e-6:
        begins.append(seconds - window)
    return [(round(begin, 6), round(begin + window, 6)) for begin in begins]


def cut_windows(
    clips: Sequence[Clip], *, window: float, hop: float
) -> tuple[list[Clip], dict[str, ClipError]]:
    """Windows over each clip, as clips; and why a clip, by its id, has none."""
    pieces: list[Clip] = []
    faults: dict[str, ClipError] = {}
    for clip in clips:
        try:
            seconds = probe(clip).seconds
        except ClipError as error:
            faults[clip.id] = error
            continue
        offset = clip.start or 0.0
        for begin, end in spans(seconds, window=window, hop=hop):
            name = f"{clip.id}#{begin:g}-{end:g}"
            pieces.append(replace(clip, id=name, start=offset + begin, end=offset + end))
    return pieces, faults


def windows_of(
    stream: BinaryIO, *, rate: int, window: float, hop: float
) -> Iterator[tuple[float, np.ndarray]]:
    """Begin in seconds and samples (T,) int16 of each window, as soon as it is complete.

    As `spans`: one every `hop` seconds, and one that ends with the stream.
    """
    size, step = round(window * rate), round(hop * rate)
    held, first = np.empty(0, TYPE), 0  # the latest samples, and the position of the first of them
    begin, covered = 0, 0  # of the next window; where the last one ended
    while True:
        missing = begin + size - (first + len(held))
        data = stream.read(missing * BYTES)
        held = np.concatenate([held, np.frombuffer(data, TYPE, len(data) // BYTES)])
        end = first + len(held)
        if len(data) < missing * BYTES:
            break
        yield begin / rate, held[begin - first :]
        covered, begin = end, begin + step
        dropped = max(0, min(begin, end - size) - first)
        held, first = held[dropped:], first + dropped
    if end > covered:
        last = max(first, end - size)
        yield last / rate, held[last - first :]


def check_windows(window: float | None, hop: float | None, *, stream: bool) -> None:
    """Raise InputError for a window or hop that cannot be used. stream: whether there are always windows."""
    for option, value in (("--window", window), ("--hop", hop)):
        if value is not None and not SHORTEST <= value < 1e6:
            raise InputError(f"{option} {value:g}", do=f"give seconds, {SHORTEST:g} or more")
    if hop is not None and window is None and not stream:
        raise InputError("--hop is the step between windows", do="give --window too")


def is_recording(value: Any) -> bool:
    """Whether a value is one recording, not several: a path, or the samples of a waveform."""
    return isinstance(value, str | Path) or (
        isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "fi"
    )


def _clip(path: Path) -> Clip:
    return Clip(id=str(path), file=str(path))
