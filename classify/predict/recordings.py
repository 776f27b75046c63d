"""The recordings that a user names: files, folders and tables; and windows over long ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from layerprobe.cache.common.errors import ClipError, InputError
from layerprobe.embed.audio.sound import probe
from layerprobe.embed.manifest.audio_files import find_audio_files
from layerprobe.embed.manifest.clips import Clip, read_manifest
from layerprobe.embed.manifest.tables import SUFFIXES

SHORTEST = 0.1  # seconds of a window


def find_recordings(
    inputs: Sequence[Path], *, path_column: str | None = None, speaker_column: str | None = None
) -> list[Clip]:
    """The clips of all inputs, in order. A file that cannot be used fails later, on its own.

    Raises InputError for no input, a folder without recordings, and a table that cannot be read.
    """
    clips: list[Clip] = []
    for path in inputs:
        if path.is_dir():
            clips += [_clip(path / name) for name in find_audio_files(path).paths]
        elif path.suffix.lower() in SUFFIXES:
            clips += read_manifest(
                path, path_column=path_column, speaker_column=speaker_column, must_exist=False
            )
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


def check_windows(window: float | None, hop: float | None, *, stream: bool) -> None:
    """Raise InputError for a window or hop that cannot be used. stream: whether there are always windows."""
    for option, value in (("--window", window), ("--hop", hop)):
        if value is not None and not SHORTEST <= value < 1e6:
            raise InputError(f"{option} {value:g}", do=f"give seconds, {SHORTEST:g} or more")
    if hop is not None and window is None and not stream:
        raise InputError("--hop is the step between windows", do="give --window too")


def _clip(path: Path) -> Clip:
    return Clip(id=str(path), file=str(path))
